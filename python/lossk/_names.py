"""Names that people know from PyTorch, Keras and scikit-learn, and what they are called here."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

# Ours: theirs. Case, underscores and "loss" at the end do not count, and names that are ours but for that go without.
KNOWN = {
    "SquaredError": "mse mean_squared_error l2",
    "AbsoluteError": "mae mean_absolute_error l1",
    "AbsolutePercentageError": "mape mean_absolute_percentage_error",
    "SquaredLogarithmicError": "msle mean_squared_logarithmic_error mean_squared_log_error",
    "Quantile": "pinball mean_pinball_loss",
    "PoissonNLL": "poisson mean_poisson_deviance half_poisson",
    "Gamma": "mean_gamma_deviance half_gamma",
    "Tweedie": "mean_tweedie_deviance half_tweedie",
    "Logistic": "soft_margin",
    "BinaryCrossEntropy": "bce",
    "BinaryCrossEntropyWithLogits": "bce_with_logits half_binomial sigmoid_cross_entropy_with_logits",
    "Focal": "sigmoid_focal binary_focal_crossentropy",
    "CrossEntropy": "ce log_loss half_multinomial categorical_crossentropy sparse_categorical_crossentropy "
    "softmax_cross_entropy softmax_cross_entropy_with_logits sparse_softmax_cross_entropy_with_logits",
    "MultiMargin": "multiclass_hinge categorical_hinge",
    "KLDivergence": "kl_div kullback_leibler_divergence",
    "JensenShannonDivergence": "jensen_shannon js_divergence",
    "JeffreysDivergence": "jeffreys symmetric_kl",
    "MultiLabelMargin": "multilabel_margin",
    "MultiLabelSoftMargin": "multilabel_soft_margin",
    "CosineEmbedding": "cosine_similarity cosine_distance cosine_proximity",
    "Tversky": "jaccard",
    "LinearCrossEntropy": "fused_linear_cross_entropy",
    "Sigmoid": "expit",
    "SiLU": "swish",
    "logsumexp": "reduce_logsumexp",
    "clip_grad_norm": "clip_by_global_norm",
}
SIMILAR = 0.88  # of 1: as many letters in common as names that differ in one of eight


def _plain(name: str) -> str:
    return name.lower().replace("_", "").removesuffix("loss")


def meant(name: str, public: Mapping[str, Any]) -> str | None:
    """Return what someone means who writes `name`, as a call of a public name; None where there is nothing like it."""
    known = {_plain(word): ours for ours, theirs in KNOWN.items() for word in theirs.split()}
    known |= {_plain(ours): ours for ours in public}
    if name in ("entropy", "kl_divergence"):
        return f"lossk.information.{name}(p{', q' if name == 'kl_divergence' else ''})"
    if name in ("surprisal", "self_information"):
        return "lossk.information.information(p)"
    for close in difflib.get_close_matches(_plain(name), known, n=1, cutoff=SIMILAR):
        thing = public[known[close]]
        return f"lossk.{call_text(thing) if '__call__' in dir(thing) and isinstance(thing, type) else known[close]}"
    return None


def call_text(cls: type) -> str:
    """Return how arrays go to an object of a class."""
    parameters = list(inspect.signature(cls.__call__).parameters.values())[1:]
    wanted = (p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty)
    return f"{cls.__name__}()({', '.join(wanted)})"

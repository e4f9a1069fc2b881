"""The documentation site: ``sphinx-build -W --keep-going -b html docs docs/_build/html``."""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before sphinx-gallery chooses
os.environ["COLUMNS"] = "100"  # of the tables that examples print

from sphinx_gallery.sorting import FunctionSortKey

import lossk
from lossk._parameters import Frozen

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import machines_page
from reference_pages import write_pages

DOCS = Path(__file__).resolve().parent
BUILD = DOCS / "_build"
# Files that are read in the repository, and the pages that include them.
PAGES = {
    DOCS.parent / "ARCHITECTURE.md": "architecture.md",
    DOCS.parent / "CONTRIBUTING.md": "contributing.md",
    DOCS.parent / "bench/README.md": "benchmarks.md",
}

project = "lossk"
author = "The lossk developers"
project_copyright = author
version = release = lossk.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
default_role = "py:obj"  # `Huber` in a docstring is a link; what is no name is shown as code
highlight_language = "none"  # formulas; examples are known by their prompts
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # docstrings say types, shapes and what is converted
numpydoc_show_class_members = False  # templates list them
numpydoc_validation_checks = {"GL06", "GL07", "GL08", "GL10", "PR02", "PR10", "EX01"}
numpydoc_validation_exclude = {r"\.[A-Z]\w*\.", r"\.torch\.[A-Z]"}  # verbs, and torch's modules, need no examples

suppress_warnings = ["config.cache"]  # `example_arguments` cannot be pickled

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def example_arguments(_: dict[str, Any], variables: dict[str, Any]) -> list[str]:
    """Return the command line of an example: its picture goes to the build, and training is short."""
    name = Path(variables["src_file"]).stem
    output = ["--output", f"../docs/_build/{name}.png"]
    return {
        "digits": ["--epochs", "30", *output],
        "torch_lm": ["--steps", "5", *output],
        "distributed_lm": ["--steps", "5", *output],
    }.get(name, [])


# The folders of the gallery, and their pages, in the order in which they are read.
GALLERY = {
    "losses": (
        "which_loss_when",
        "regression_losses",
        "classification_losses",
        "one_hot_cross_entropy",
        "softmax_log_nll",
    ),
    "information": ("information_and_entropy", "maximum_likelihood"),
    "descent": ("learning_rates", "batch_sizes", "momentum", "rmsprop_and_adagrad", "saddle_points"),
    "layers": ("activations", "vanishing_gradients"),
    "linear_models": ("digits_by_losses",),
    "boosting": ("robust_objectives",),
    ".": ("digits", "torch_lm", "distributed_lm"),
}


def place_in_gallery(filename: Any) -> int:
    """Return where a page comes; one that `GALLERY` does not have is an error."""
    return [page for pages in GALLERY.values() for page in pages].index(Path(filename).stem)


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "subsection_order": [f"../examples/{part}" for part in GALLERY if part != "."],
    "within_subsection_order": FunctionSortKey(place_in_gallery),
    "filename_pattern": r"\.py$",
    "backreferences_dir": "reference/backreferences",
    "doc_module": ("lossk",),
    "reset_argv": example_arguments,
    "image_srcset": ["2x"],
    "remove_config_comments": True,
    "show_signature": False,
    "min_reported_time": 10,
    "download_all_examples": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "lossk"
html_static_path = ["_static"]
html_css_files = ["lossk.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": {"**": ["page-toc"], "machines": []},  # its table is wide
}
html_sidebars: dict[str, list[str]] = {"index": [], "machines": []}


def class_signature(_app: Any, _kind: str, _name: str, value: Any, *_: Any) -> tuple[str, str] | None:
    """Return the signature of a loss or an activation by its fields, which ``Frozen.__new__`` hides."""
    if inspect.isclass(value) and issubclass(value, Frozen):
        fields = [p.replace(annotation=p.empty) for p in inspect.signature(value).parameters.values()]
        return str(inspect.Signature(fields)), ""
    return None


def links_of_the_site(_app: Any, path: Path, _page: str, content: list[str]) -> None:
    """Turn an included file's links to files into links to their pages, or into plain text where there is none."""

    def link(match: re.Match[str]) -> str:
        target = (DOCS / path).parent.joinpath(match[2]).resolve()
        page = PAGES.get(target) or (target.relative_to(DOCS) if target.is_relative_to(DOCS) else None)
        return f"[{match[1]}]({page})" if page else match[1]

    content[0] = re.sub(r"\[([^\]]+)\]\((?!\w+:|#)([^)]+)\)", link, content[0])


def setup(app: Any) -> None:
    """Connect what is above."""
    BUILD.mkdir(exist_ok=True)
    write_pages()
    (DOCS / "machines.md").write_text(machines_page.render(machines_page.measured()), encoding="utf-8")
    app.connect("autodoc-process-signature", class_signature)
    app.connect("include-read", links_of_the_site)

"""Losses and optimizers over many processes, on an engine that is there: ``torch.distributed`` or ``mpi4py``."""

from ._agreement import RankError
from ._cross_entropy import VocabParallelCrossEntropy
from ._group import Group, MpiGroup, SingleProcess, TorchGroup, as_group
from ._shards import shard

__all__ = [
    "Group",
    "MpiGroup",
    "RankError",
    "SingleProcess",
    "TorchGroup",
    "VocabParallelCrossEntropy",
    "as_group",
    "shard",
]

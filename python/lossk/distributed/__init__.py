"""Losses and optimizers over many processes, on an engine that is there: ``torch.distributed`` or ``mpi4py``."""

from ._agreement import RankError
from ._cross_entropy import VocabParallelCrossEntropy
from ._gradients import clip_grad_norm, sum_gradients, token_count
from ._group import Group, MpiGroup, SingleProcess, TorchGroup, as_group
from ._linear import VocabParallelLinearCrossEntropy
from ._sharded import ShardedOptimizer
from ._shards import shard

__all__ = [
    "Group",
    "MpiGroup",
    "RankError",
    "ShardedOptimizer",
    "SingleProcess",
    "TorchGroup",
    "VocabParallelCrossEntropy",
    "VocabParallelLinearCrossEntropy",
    "as_group",
    "clip_grad_norm",
    "shard",
    "sum_gradients",
    "token_count",
]

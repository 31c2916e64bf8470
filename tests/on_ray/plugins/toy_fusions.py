"""A third party's fusions, one of each level."""

import numpy as np

from hybrid_ray.fusion.base import DataFusion, DecisionFusion, FeatureFusion, Fused
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import State


@FUSIONS.register("toy_words")
class ToyWords(DataFusion):
    """Columns of words, one after another; ``-`` for one that is missing."""

    takes = frozenset({"text", "categorical"})
    gives = "text"

    class Params(PluginParams):
        mark: str = "-"
        """What stands for a missing part."""

    def combine(self, inputs, kinds):
        self._check_there(kinds, inputs)
        rows = list(zip(*(inputs[name] for name in sorted(kinds)), strict=True))
        values = np.empty(len(rows), object)
        values[:] = [" | ".join(v or self.params.mark for v in row) if any(row) else None for row in rows]
        return Fused(values, {})


class Named:
    """Remembers the names that ``fit`` saw."""

    def __init__(self, params, names=()):
        super().__init__(params)
        self.names = tuple(names)

    def get_state(self):
        return State(meta={"names": list(self.names)})

    @classmethod
    def from_state(cls, params, state):
        return cls(params, state.meta["names"])


@FUSIONS.register("toy_stack")
class ToyStack(Named, FeatureFusion):
    """Blocks side by side, zeros for one that is missing."""

    class Params(PluginParams):
        pass

    def fit(self, inputs, y, task, seed=0):
        self.names = tuple(sorted(inputs))
        return self

    def combine(self, inputs):
        self._check_there(self.names, inputs)
        blocks = [inputs[name] for name in self.names]
        return np.hstack([np.where(block.present[:, None], block.values, np.float32(0)) for block in blocks])

    @classmethod
    def space(cls, trial, dims):
        return {}

    @classmethod
    def portfolio(cls, dims):
        return [{}]


@FUSIONS.register("toy_middle")
class ToyMiddle(Named, DecisionFusion):
    """The median of the members, brought back to a sum of 1."""

    class Params(PluginParams):
        pass

    def fit(self, inputs, y, task, seed=0, metric=None):
        self.names = tuple(sorted(inputs))
        return self

    def combine(self, inputs):
        self._check_there(self.names, inputs)
        middle = np.median([np.asarray(inputs[name], np.float64) for name in self.names], axis=0)
        return middle / middle.sum(axis=1, keepdims=True) if middle.shape[1] > 1 else middle

    @property
    def weights(self):
        return {name: 1 / len(self.names) for name in self.names}

    @classmethod
    def space(cls, trial, n_members, task):
        return {}

    @classmethod
    def portfolio(cls, n_members, task):
        return [{}]

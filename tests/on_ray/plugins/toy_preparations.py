"""A third party's preparation."""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.base import Preparation
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import Block


@PREPARATIONS.register("toy_shrink")
class ToyShrink(Preparation):
    """Every feature a part of what it was; there is nothing to learn."""

    class Params(PluginParams):
        part: float = Field(0.5, gt=0, le=1)
        """What is left of a value."""

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        yield cls.Params()
        yield cls.Params(part=0.25)

    def transform(self, blocks):
        part = np.float32(self.params.part)
        return {
            name: Block(np.where(block.present[:, None], part * block.values, block.values), block.present)
            for name, block in blocks.items()
        }

    @classmethod
    def space(cls, trial, task):
        return {"part": trial.suggest_float("part", 0.1, 1.0)}

    @classmethod
    def portfolio(cls, task):
        return [{"part": 0.5}]

"""A toy extractor: the smallest that keeps the contract. Importing this module registers it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.items import ItemExtractor, Items
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, FloatArray, Kind, State


class HashingParams(PluginParams):
    """Parameters of ``toy_hashing``."""

    width: int = Field(16, ge=1, le=65536)
    """Number of bins."""


@EXTRACTORS.register("toy_hashing")
class HashingExtractor(ItemExtractor):
    """Words counted in hashed bins: the smallest extractor that keeps the contract."""

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(modality="text", kinds=frozenset({"text"}))
    Params: ClassVar[type[PluginParams]] = HashingParams

    def read(self, cells: Sequence[Any]) -> Items:
        """Counts float32 (k, width)."""
        counts = np.zeros((len(cells), self.params.width), np.float32)
        for row, cell in enumerate(cells):
            for word in cell.split():
                counts[row, zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.params.width] += 1
        return Items({"counts": counts})

    @property
    def item_features(self) -> int:
        """Number of bins."""
        return int(self.params.width)

    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """Damped counts."""
        return np.log1p(items["counts"])

    def get_state(self) -> State:
        """Nothing: the parameters say all."""
        return State()

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The same extractor."""
        return cls(params, columns)

"""The pixels themselves: the classical baseline of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.imaging import PIXELS, Stretch, read_images
from hybrid_ray.extractors.items import ItemExtractor, Items
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, FloatArray, Kind, State


class PixelsParams(PluginParams):
    """Parameters of ``pixels``."""

    size: int = Field(16, ge=1, le=256)
    """Side of the square that images are brought to."""
    mode: Literal["grey", "rgb"] = "grey"
    """grey: one number a pixel; rgb: three."""


@EXTRACTORS.register("pixels")
class PixelsExtractor(ItemExtractor):
    """Grey or colour values in [0, 1], row by row, of the image at a small size."""

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(modality="image", kinds=frozenset({"image"}))
    Params: ClassVar[type[PluginParams]] = PixelsParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Grey on one column, colour on two."""
        yield PixelsParams(size=8), {"image": "image"}
        yield PixelsParams(size=4, mode="rgb"), {"front": "image", "back": "image"}

    def read(self, cells: Sequence[Any]) -> Items:
        """Decode and resize: uint8 (k, size, size, channels)."""
        return read_images(cells, Stretch(self.params.size), "RGB" if self.params.mode == "rgb" else "L")

    @property
    def item_features(self) -> int:
        """Pixels times channels."""
        return int(self.params.size**2 * (3 if self.params.mode == "rgb" else 1))

    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """Flattened values."""
        pixels = items[PIXELS]
        return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)

    def get_state(self) -> State:
        """Nothing: the parameters say all."""
        return State()

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The same extractor."""
        return cls(params, columns)

"""Image cells to pixels of one size, on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from hybrid_ray.data.encoded import DecodeError, fetched
from hybrid_ray.data.images import decode
from hybrid_ray.extractors.items import Items

if TYPE_CHECKING:
    from PIL.Image import Image

Interpolation = Literal["nearest", "bilinear", "bicubic"]
PIXELS = "pixels"
"""Name of the array uint8 (k, height, width, channels) that ``read_images`` gives."""


class Framing(Protocol):
    """Brings a decoded image to one size."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what comes out."""

    @property
    def enough(self) -> tuple[int, int]:
        """Width and height above which more pixels would not be seen: lets a JPEG be decoded at a reduced scale."""

    def __call__(self, image: Image) -> Image:
        """The image at ``size``."""


@dataclass(frozen=True)
class ShortSide:
    """The shorter side is brought to ``resize``, then the centre ``crop`` x ``crop`` is kept: torchvision's presets.

    Attributes
    ----------
    resize, crop : int
    interpolation : {"nearest", "bilinear", "bicubic"}
        Antialiased when an image shrinks.
    """

    resize: int
    crop: int
    interpolation: Interpolation = "bilinear"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what comes out."""
        return self.crop, self.crop

    @property
    def enough(self) -> tuple[int, int]:
        """Twice the resized side."""
        return 2 * self.resize, 2 * self.resize

    def __call__(self, image: Image) -> Image:
        """The image at ``size``; an image that is then still smaller than the crop gets a black border."""
        width, height = image.size
        if width <= height:
            target = (self.resize, max(int(self.resize * height / width), 1))
        else:
            target = (max(int(self.resize * width / height), 1), self.resize)
        if target != image.size:
            image = image.resize(target, _filter(self.interpolation))
        left, top = round((target[0] - self.crop) / 2.0), round((target[1] - self.crop) / 2.0)
        return image if target == self.size else image.crop((left, top, left + self.crop, top + self.crop))


@dataclass(frozen=True)
class Stretch:
    """The whole image is brought to ``side`` x ``side``; its proportions are not kept."""

    side: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what comes out."""
        return self.side, self.side

    @property
    def enough(self) -> tuple[int, int]:
        """Twice the side."""
        return 2 * self.side, 2 * self.side

    def __call__(self, image: Image) -> Image:
        """The image at ``size``."""
        return image if image.size == self.size else image.resize(self.size, _filter("bilinear"))


def _filter(name: Interpolation) -> Any:
    from PIL.Image import Resampling

    return Resampling[name.upper()]


def read_images(cells: Sequence[Any], framing: Framing, mode: Literal["RGB", "L"]) -> Items:
    """Decode image cells (bytes, paths or URLs) and bring each to one size: uint8 (k, height, width, channels)."""
    width, height = framing.size
    channels = 3 if mode == "RGB" else 1
    pixels = np.empty((len(cells), height, width, channels), np.uint8)
    errors: dict[int, str] = {}
    k = 0
    for position, cell in enumerate(fetched(cells, "image")):
        try:
            if isinstance(cell, DecodeError):
                raise cell
            image = decode(cell, mode=mode, enough=framing.enough)
        except DecodeError as error:
            errors[position] = str(error)
            continue
        pixels[k] = np.asarray(framing(image)).reshape(height, width, channels)
        k += 1
    return Items({PIXELS: pixels[:k]}, errors)

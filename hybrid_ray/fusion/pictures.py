"""Several image columns of a row at fixed sizes: what data-level fusions of images share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hybrid_ray.extractors.imaging import PIXELS, read_images
from hybrid_ray.types import AnyArray, Batch, BoolArray

if TYPE_CHECKING:
    from PIL.Image import Image

Frame = Literal["pad", "crop", "stretch"]
GREY = 128
"""The middle of the range of a pixel."""


@dataclass(frozen=True)
class Framed:
    """Brings an image to a width and a height.

    Attributes
    ----------
    width, height : int
    frame : {"pad", "crop", "stretch"}
        pad: the whole image, a border of ``fill`` around it; crop: the middle; stretch: proportions are not kept.
    fill : int
        Grey of the border, 0 to 255.
    """

    width: int
    height: int
    frame: Frame = "pad"
    fill: int = GREY

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what comes out."""
        return self.width, self.height

    @property
    def enough(self) -> tuple[int, int]:
        """Twice the longer side: a crop uses a part of the image only."""
        longer = 2 * max(self.size)
        return longer, longer

    def __call__(self, image: Image) -> Image:
        """The image at ``size``."""
        from PIL import Image as images
        from PIL import ImageOps

        how = images.Resampling.BILINEAR
        if image.size == self.size:
            return image
        if self.frame == "stretch":
            return image.resize(self.size, how)
        if self.frame == "crop":
            return ImageOps.fit(image, self.size, how)
        return ImageOps.pad(image, self.size, how, color=(self.fill,) * len(image.getbands()))


@dataclass(frozen=True)
class Pictures:
    """Images of n rows from one column.

    Attributes
    ----------
    pixels : ndarray of uint8 (n, height, width, channels)
        What ``fill`` says where there is none.
    there : ndarray of bool (n,)
    errors : dict of int to str
        Rows whose image could not be read, with the reason.
    """

    pixels: AnyArray
    there: BoolArray
    errors: dict[int, str]


def read_pictures(column: AnyArray, framing: Framed, mode: Literal["RGB", "L"]) -> Pictures:
    """Decode one column of image cells (n,); those that are missing or unreadable are filled."""
    rows = [row for row, cell in enumerate(column) if cell is not None]
    items = read_images([column[row] for row in rows], framing, mode)
    kept = [row for position, row in enumerate(rows) if position not in items.errors]
    found = items.arrays[PIXELS]
    pixels = np.full((len(column), *found.shape[1:]), framing.fill, np.uint8)
    pixels[kept] = found
    there = np.zeros(len(column), bool)
    there[kept] = True
    return Pictures(pixels, there, {rows[position]: why for position, why in items.errors.items()})


def all_errors(pictures: Mapping[str, Pictures]) -> dict[int, str]:
    """What could not be read, by row, each reason with its column."""
    errors: dict[int, str] = {}
    for name, picture in pictures.items():
        for row, why in picture.errors.items():
            errors[row] = "; ".join(filter(None, [errors.get(row), f"{name}: {why}"]))
    return errors


def n_rows(inputs: Batch, names: Sequence[str]) -> int:
    """Rows of a batch."""
    return len(inputs[names[0]]) if names else 0

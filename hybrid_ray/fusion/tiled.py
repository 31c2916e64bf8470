"""Data-level fusion: several images of a row on one canvas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.data.images import encode_raw
from hybrid_ray.fusion.base import DataFusion, Fused
from hybrid_ray.fusion.pictures import GREY, Frame, Framed, all_errors, n_rows, read_pictures
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Batch, Kind


class TiledParams(PluginParams):
    """Parameters of :class:`Tiled`."""

    layout: Literal["grid", "row", "column"] = "grid"
    """grid: as many columns as rows, or one more; row: side by side; column: one below the other."""
    size: int = Field(224, ge=16, le=2048)
    """Side of the square canvas, in pixels. An extractor that crops what it reads (``torchvision``: ``resize`` above
    ``image_size``) crops the canvas."""
    frame: Frame = "pad"
    """How an image is brought to its tile. pad: whole, with a border; crop: its middle; stretch: proportions are not
    kept."""
    fill: int = Field(GREY, ge=0, le=255)
    """Grey of borders and of tiles whose image is missing."""


@FUSIONS.register("tiled")
class Tiled(DataFusion):
    """A tile for each column, in the order of their names, row by row; the tile of a missing image is plain grey."""

    takes: ClassVar[frozenset[Kind]] = frozenset({"image"})
    gives: ClassVar[Kind] = "image"
    Params = TiledParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Every layout, every frame."""
        yield TiledParams(size=32)
        yield TiledParams(layout="row", size=33, frame="crop")
        yield TiledParams(layout="column", size=16, frame="stretch", fill=0)

    def combine(self, inputs: Batch, kinds: Mapping[str, Kind]) -> Fused:
        """Encoded images (n,), all of ``size`` x ``size`` pixels.

        Raises
        ------
        KeyError
            A column is not there.
        """
        self._check_there(kinds, inputs)
        p, names = self.params, sorted(kinds)
        across = {"grid": math.ceil(math.sqrt(len(names))), "row": len(names), "column": 1}[p.layout]
        lefts, tops = _edges(p.size, across), _edges(p.size, math.ceil(len(names) / across))
        n = n_rows(inputs, names)
        canvas = np.full((n, p.size, p.size, 3), p.fill, np.uint8)
        pictures = {}
        for place, name in enumerate(names):
            down, right = divmod(place, across)
            (top, bottom), (left, end) = tops[down : down + 2], lefts[right : right + 2]
            framing = Framed(int(end - left), int(bottom - top), p.frame, p.fill)
            pictures[name] = read_pictures(inputs[name], framing, "RGB")
            canvas[:, top:bottom, left:end] = pictures[name].pixels
        there = np.any([picture.there for picture in pictures.values()], axis=0)
        values = np.empty(n, object)
        values[:] = [encode_raw(pixels) if held else None for pixels, held in zip(canvas, there, strict=True)]
        return Fused(values, all_errors(pictures))


def _edges(size: int, n: int) -> AnyArray:
    """Where n tiles begin and end, (n + 1,)."""
    return np.linspace(0, size, n + 1).round().astype(int)

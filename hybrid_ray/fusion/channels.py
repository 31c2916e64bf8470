"""Data-level fusion: several images of a row, laid upon one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.data.images import encode_raw
from hybrid_ray.fusion.base import DataFusion, Fused
from hybrid_ray.fusion.pictures import GREY, Frame, Framed, Pictures, all_errors, n_rows, read_pictures
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Batch, Kind

CHANNELS = 3


class ChannelsParams(PluginParams):
    """Parameters of :class:`Channels`."""

    how: Literal["stack", "mean"] = "stack"
    """stack: each image in grey is a channel; mean: the average of the colour images."""
    size: int = Field(224, ge=16, le=2048)
    """Side of the square that every image is brought to, in pixels."""
    frame: Frame = "stretch"
    """How an image is brought to the square. pad: whole, with a border; crop: its middle; stretch: proportions are not
    kept."""
    fill: int = Field(GREY, ge=0, le=255)
    """Grey of borders, and of a channel whose images are all missing."""


@FUSIONS.register("channels")
class Channels(DataFusion):
    """Images of one scene (bands, views, moments) as the three channels that pretrained encoders read.

    With ``stack``, columns in the order of their names are the channels: of one, all three; of two, the third is their
    average; more than three are divided into three runs and averaged in each. An average is over the images that are
    there.
    """

    takes: ClassVar[frozenset[Kind]] = frozenset({"image"})
    gives: ClassVar[Kind] = "image"
    Params = ChannelsParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Stacked and averaged."""
        yield ChannelsParams(size=24)
        yield ChannelsParams(how="mean", size=24, frame="pad", fill=0)

    def combine(self, inputs: Batch, kinds: Mapping[str, Kind]) -> Fused:
        """Encoded images (n,), all of ``size`` x ``size`` pixels.

        Raises
        ------
        KeyError
            A column is not there.
        """
        self._check_there(kinds, inputs)
        p, names = self.params, sorted(kinds)
        framing = Framed(p.size, p.size, p.frame, p.fill)
        mode: Literal["RGB", "L"] = "L" if p.how == "stack" else "RGB"
        pictures = {name: read_pictures(inputs[name], framing, mode) for name in names}
        layers = list(pictures.values())
        if p.how == "stack":
            pixels = np.concatenate([self._mean(run) for run in _runs(layers)], axis=-1)
        else:
            pixels = self._mean(layers)
        there = np.any([layer.there for layer in layers], axis=0)
        values = np.empty(n_rows(inputs, names), object)
        values[:] = [encode_raw(each) if held else None for each, held in zip(pixels, there, strict=True)]
        return Fused(values, all_errors(pictures))

    def _mean(self, layers: Sequence[Pictures]) -> AnyArray:
        """uint8 (n, height, width, channels): the average of the images that are there, ``fill`` where none is."""
        if len(layers) == 1:
            return layers[0].pixels
        held = [layer.there[:, None, None, None] for layer in layers]
        total = np.sum([layer.pixels * there for layer, there in zip(layers, held, strict=True)], axis=0, dtype=float)
        count = np.sum(held, axis=0)
        mean = np.where(count > 0, total / np.maximum(count, 1), self.params.fill)
        return mean.round().astype(np.uint8)


def _runs(layers: Sequence[Pictures]) -> list[Sequence[Pictures]]:
    """Which images make each of the three channels."""
    if len(layers) == 1:
        return [layers] * CHANNELS
    if len(layers) == 2:
        return [layers[:1], layers[1:], layers]
    bounds = np.linspace(0, len(layers), CHANNELS + 1).round().astype(int)
    return [layers[start:stop] for start, stop in pairwise(bounds)]

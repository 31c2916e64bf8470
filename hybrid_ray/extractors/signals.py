"""Series as extractors read them: as many channels in every row, and no longer than is worth while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, Batch, FloatArray, Kind


def channels_of(batch: Batch, columns: Sequence[str]) -> int:
    """Channels of the first series that is there; 1 where there is none."""
    cells = (cell for column in columns for cell in batch[column] if cell is not None)
    return next((int(cell.shape[1]) for cell in cells), 1)


class OfChannels:
    """Mix-in of extractors whose parameter ``channels``, left out, is what the rows say."""

    params: Any
    columns: dict[str, Kind]

    @property
    def n_channels(self) -> int:
        """Numbers of a step; 1 as long as nobody has said."""
        return int(self.params.channels or 1)

    @property
    def undecided(self) -> bool:
        """True until the channels are known."""
        return self.params.channels is None

    @property
    def decided_by_rows(self) -> bool:
        """Channels are the rows'."""
        return True

    def resolve(self, batch: Batch, device: str = "cpu") -> PluginParams:
        """The parameters with the channels of the first series."""
        own: PluginParams = self.params
        channels = self.params.channels or channels_of(batch, list(self.columns))
        return type(own).model_validate(own.model_dump() | {"channels": channels})


def read_series(cells: Sequence[Any], channels: int) -> tuple[list[FloatArray], dict[int, str]]:
    """The series that have a number of channels; of the others a reason, by their position."""
    errors = {
        place: f"a series must have {channels} channels; got {cell.shape[1]}"
        for place, cell in enumerate(cells)
        if cell.shape[1] != channels
    }
    return [np.asarray(cell, np.float32) for place, cell in enumerate(cells) if place not in errors], errors


def shortened(steps: FloatArray, most: int) -> FloatArray:
    """A series (t, c) of at most ``most`` steps: means of neighbours, as many in each, the last ones maybe fewer."""
    if len(steps) <= most:
        return steps
    width = -(-len(steps) // most)
    padded = np.pad(steps, ((0, -len(steps) % width), (0, 0)), constant_values=np.nan)
    parts = padded.reshape(-1, width, steps.shape[1])
    there = np.isfinite(parts)
    counts = there.sum(axis=1)
    sums = np.where(there, parts, np.float32(0)).sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


def objects(arrays: Sequence[AnyArray]) -> AnyArray:
    """Arrays of any shapes as one array of objects (k,)."""
    held = np.empty(len(arrays), object)
    for place, array in enumerate(arrays):
        held[place] = array
    return held

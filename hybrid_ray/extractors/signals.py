"""Series as extractors read them: as many channels in every row, and no longer than is worth while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, Batch, FloatArray, Kind


class StepParams(PluginParams):
    """Parameters of every extractor of series: what is read of them, in this order."""

    later: ClassVar[frozenset[str]] = frozenset({"window", "resample", "difference", "lags"})

    channels: int | None = Field(None, ge=1, le=4096)
    """Numbers of a step; left out: as many as the first series has."""
    window: int | None = Field(None, ge=1, le=10_000_000)
    """Steps that are read, the last ones; left out, all."""
    resample: int | None = Field(None, ge=2, le=65536)
    """Steps that every series is brought to, on straight lines between its numbers; left out, they stay as they are."""
    difference: int = Field(0, ge=0, le=4)
    """How often numbers become their change from one step to the next, which takes away levels and trends."""
    lags: tuple[int, ...] = Field((), max_length=64)
    """Steps back, from 1 up: what a channel was so many steps before stands beside it as a channel of its own."""

    @field_validator("lags")
    @classmethod
    def _back(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or any(lag < 1 for lag in value):
            raise ValueError(f"must be different whole numbers from 1 up; got {list(value)}")
        return value


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
    def n_read(self) -> int:
        """Numbers of a step as it is read: each channel, and what it was before."""
        return self.n_channels * (1 + len(self.params.lags))

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


def read_series(cells: Sequence[Any], channels: int, params: StepParams) -> tuple[list[FloatArray], dict[int, str]]:
    """The series that have a number of channels, as ``params`` ask; of the others a reason, by their position."""
    errors = {
        place: f"a series must have {channels} channels; got {cell.shape[1]}"
        for place, cell in enumerate(cells)
        if cell.shape[1] != channels
    }
    kept = [np.asarray(cell, np.float64) for place, cell in enumerate(cells) if place not in errors]
    return [shaped(steps, params).astype(np.float32) for steps in kept], errors


def shaped(steps: AnyArray, params: StepParams) -> AnyArray:
    """What is read of a series (t, c): (t', c x (1 + lags)), t' > 0; the series itself where nothing is asked.

    A difference has a step less, but the last step is never taken: the change of a series of one step is 0. Before the
    first step nothing is known: lagged numbers are missing there.
    """
    if params.window is not None:
        steps = steps[-params.window :]
    if params.resample is not None:
        steps = resampled(steps, params.resample)
    for _ in range(params.difference):
        steps = np.diff(steps, axis=0) if len(steps) > 1 else np.where(np.isnan(steps), steps, 0.0)
    if not params.lags:
        return steps
    before = np.full((len(steps), len(params.lags), steps.shape[1]), np.nan)
    for place, lag in enumerate(params.lags):
        before[lag:, place] = steps[: max(len(steps) - lag, 0)]
    return np.concatenate([steps, before.reshape(len(steps), -1)], axis=1)


def resampled(steps: AnyArray, n: int) -> AnyArray:
    """A series (t, c) as n steps, evenly over it, on straight lines between the numbers that are there."""
    at, wanted = np.arange(len(steps)), np.linspace(0, len(steps) - 1, n)
    other = np.full((n, steps.shape[1]), np.nan)
    for channel in range(steps.shape[1]):
        there = ~np.isnan(steps[:, channel])
        if there.any():
            other[:, channel] = np.interp(wanted, at[there], steps[there, channel])
    return other


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

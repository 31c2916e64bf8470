"""The base of networks that read series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.items import Items
from hybrid_ray.extractors.networks.base import NetworkExtractor, NetworkParams, UnsupervisedParams
from hybrid_ray.extractors.networks.passes import by_length
from hybrid_ray.extractors.signals import OfChannels, StepParams, objects, read_series, shortened
from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    import torch

TAGS = ExtractorTags(
    modality="series", kinds=frozenset({"series"}), trained=True, supervised=True, gpu=True, spreads=True
)
SERIES, STEPS, LENGTHS = "series", "steps", "lengths"
PASS = 50_000
"""Steps, about, of one pass: few long series or many short ones."""
_SUMMED = 256
"""Series that are summed at once: as wide numbers all of them would take several times their memory."""


class SeriesReading(StepParams, UnsupervisedParams):
    """How series are read, and parameters of a training on them."""

    max_steps: int = Field(512, ge=4, le=65536)
    """Steps that are read; of longer series neighbours are put together by their means."""
    jitter: float = Field(0.05, ge=0, le=2)
    """Noise that is added to training series in each pass, in deviations of a channel."""


class SeriesParams(NetworkParams, SeriesReading):
    """Parameters of a network over series that learns from labels."""


class SeriesExtractor(OfChannels, NetworkExtractor):
    """Vectors of series, by a network over their steps.

    Channels are brought to the mean and deviation that they have in the training series; beside each channel the
    network is told where a number is missing. Series of any length are read together: none is cut.
    """

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._mean = np.zeros(self.n_read, np.float32)
        self._std = np.ones(self.n_read, np.float32)

    def read(self, cells: Sequence[Any]) -> Items:
        """Series, float32 (steps, channels) each, of at most ``max_steps``."""
        series, errors = read_series(cells, self.n_channels, self.params)
        return Items({SERIES: objects([shortened(steps, self.params.max_steps) for steps in series])}, errors)

    def look(self, items: Mapping[str, AnyArray]) -> None:
        """Learn each channel's mean and deviation."""
        sums = np.zeros((2, self.n_read))
        for steps in _pieces(items[SERIES]):
            there = np.isfinite(steps)
            sums += np.where(there, steps, 0).sum(axis=0), there.sum(axis=0)
        counts = np.maximum(sums[1], 1)
        mean = sums[0] / counts
        squares = np.zeros(self.n_read)
        for steps in _pieces(items[SERIES]):
            squares += np.where(np.isfinite(steps), (steps - mean) ** 2, 0).sum(axis=0)
        std = np.sqrt(squares / counts)
        self._mean, self._std = mean.astype(np.float32), np.where(std > 0, std, 1).astype(np.float32)

    def seen(self) -> dict[str, Any]:
        """Means and deviations."""
        return {"mean": self._mean.tolist(), "std": self._std.tolist()}

    def see(self, seen: Mapping[str, Any]) -> None:
        """Know means and deviations."""
        self._mean, self._std = np.array(seen["mean"], np.float32), np.array(seen["std"], np.float32)

    def encoded(self, items: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Standardised steps float32 (k, longest, channels), NaN where nothing is, and lengths (k,)."""
        cells = [cell if isinstance(cell, np.ndarray) else None for cell in items[SERIES]]
        lengths = np.array([1 if cell is None else len(cell) for cell in cells], np.int64)
        steps = np.full((len(cells), lengths.max(initial=1), self.n_read), np.nan, np.float32)
        for row, cell in zip(steps, cells, strict=True):
            if cell is not None:
                row[: len(cell)] = (cell - self._mean) / self._std
        return {STEPS: steps, LENGTHS: lengths}

    def collate(self, items: Mapping[str, AnyArray], device: str) -> tuple[torch.Tensor, ...]:
        """Steps float32 (k, longest of these, 2 x channels), numbers and where they are, and lengths, on the CPU."""
        import torch

        lengths = items[LENGTHS]
        steps = items[STEPS][:, : int(lengths.max(initial=1))]
        there = np.isfinite(steps)
        both = np.concatenate([np.where(there, steps, np.float32(0)), there.astype(np.float32)], axis=2)
        return torch.from_numpy(both).to(device), torch.from_numpy(lengths)

    def passes(self, items: Mapping[str, AnyArray]) -> list[AnyArray]:
        """Series of about the same length together."""
        return by_length(items[LENGTHS], PASS)

    @property
    def augmented(self) -> bool:
        """True when noise is added."""
        return bool(self.params.jitter)

    def augment(self, items: Mapping[str, AnyArray], rng: np.random.Generator) -> dict[str, AnyArray]:
        """Series with noise."""
        steps = items[STEPS]
        return {STEPS: steps + np.float32(self.params.jitter) * rng.standard_normal(steps.shape, np.float32)}


def _pieces(series: AnyArray) -> Iterator[AnyArray]:
    """Steps float64 (steps of some series, channels), some series after the others."""
    for start in range(0, len(series), _SUMMED):
        yield np.concatenate(series[start : start + _SUMMED]).astype(np.float64)

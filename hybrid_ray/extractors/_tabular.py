"""Columns of a table as numbers: imputed, scaled, encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import NotFittedError
from hybrid_ray.extractors.base import Extractor, ExtractorTags, FitContext
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Batch, BoolArray, FloatArray, Kind, Prepared, State

NUMERIC, DATES, CATEGORIES = "numeric", "dates", "categories"
_MISSING_DATE = np.iinfo(np.int64).min
_MS_PER_DAY = 86_400_000
_MAX_COUNTED = 10_000
"""Values of one categorical column whose frequency is remembered."""
_LARGEST = float(np.finfo(np.float32).max)
_HIDDEN = 1e4
"""Standard deviations as many times the interquartile range say more of a few values than of the rest."""
_QUARTILES_OF_NORMAL = 1.349
"""Interquartile range of a normal distribution of deviation 1."""
_LINEAR = 3.0
"""Scaled values beyond this are compressed by a logarithm: order is kept, nothing overflows."""


class TabularParams(PluginParams):
    """Parameters of ``tabular``."""

    scale: Literal["standard", "robust", "none"] = "standard"
    """standard: mean and standard deviation, the outer 0.5 % on each side clipped before they are taken; robust: median
    and interquartile range; none: numbers as they are."""
    max_categories: int = Field(32, ge=1, le=4096)
    """Values of a categorical column that get a column of their own, the most frequent first; the others share one, and
    the column's frequencies are added as a number."""
    min_count: int = Field(5, ge=1)
    """Training rows that a value must have for a column of its own."""


@dataclass(frozen=True)
class _Scaler:
    """Centres and scales numbers; fitted a column at a time."""

    fill: AnyArray
    centre: AnyArray
    spread: AnyArray

    @classmethod
    def fit(cls, values: AnyArray, how: str) -> _Scaler:
        """From float64 (m, k), NaN where missing."""
        k = values.shape[1]
        fill, centre, spread = np.zeros(k), np.zeros(k), np.ones(k)
        for j in range(k):
            known = values[~np.isnan(values[:, j]), j]
            if not len(known):
                continue
            fill[j] = np.median(known)
            if how == "none":
                continue
            centre[j], spread[j] = _location(known, how)
        return cls(fill, centre, spread)

    def __call__(self, values: AnyArray, compress: bool) -> AnyArray:
        """Scaled float64 (m, k); missing values are imputed, and far ones compressed when that is asked."""
        filled = np.where(np.isnan(values), self.fill, values)
        with np.errstate(over="ignore"):
            z = (filled - self.centre) / self.spread
        if not compress:
            return z.clip(-_LARGEST, _LARGEST)
        z = np.nan_to_num(z, nan=0.0, posinf=1e300, neginf=-1e300)
        size = np.abs(z)
        return np.where(size <= _LINEAR, z, np.sign(z) * (_LINEAR + np.log1p(np.maximum(size - _LINEAR, 0.0))))


def _location(known: AnyArray, how: str) -> tuple[float, float]:
    """Centre and spread of numbers (m,): of their bulk where a few are so large that they would hide it."""
    low, first, middle, third, high = np.percentile(known, [0.5, 25, 50, 75, 99.5])
    quartiles = float(third - first)
    kept = known.clip(low, high)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(kept.mean()), float(kept.std())
    hidden = not deviation < _HIDDEN * quartiles and quartiles > 0
    if how == "robust" and quartiles > 0:
        return float(middle), quartiles
    if hidden:
        return float(middle), quartiles / _QUARTILES_OF_NORMAL
    plain = np.isfinite(deviation) and deviation > 1e-12 * abs(mean)
    return (mean, deviation) if plain else (float(middle), 1.0)


@dataclass(frozen=True)
class _Vocabulary:
    """Values of one categorical column."""

    kept: tuple[str, ...]
    frequency: Mapping[str, float]
    floor: float

    @classmethod
    def fit(cls, values: AnyArray, limit: int, min_count: int) -> _Vocabulary:
        """From object (m,): ``str`` or None."""
        import pandas as pd

        counts = pd.Series(values, dtype=object).value_counts()
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        kept = tuple(str(value) for value, count in ranked[:limit] if count >= min_count)
        rows = max(len(values), 1)
        beyond = len(ranked) > len(kept)
        frequency = {str(v): float(np.log(count / rows)) for v, count in ranked[:_MAX_COUNTED]} if beyond else {}
        return cls(kept, frequency, float(np.log(0.5 / rows)))

    def __call__(self, values: AnyArray) -> AnyArray:
        """float64 (m, width): one column a kept value, one for all others, one for missing, and the frequency."""
        import pandas as pd

        codes = pd.Index(self.kept, dtype=object).get_indexer(pd.Index(values, dtype=object))
        missing = np.array([v is None for v in values], bool)
        codes = np.where(missing, len(self.kept) + 1, np.where(codes < 0, len(self.kept), codes))
        encoded = np.zeros((len(values), len(self.kept) + 2 + bool(self.frequency)))
        encoded[np.arange(len(values)), codes] = 1.0
        if self.frequency:
            encoded[:, -1] = [self.frequency.get(v, self.floor) for v in values]
        return encoded


def _date_parts(stamps: AnyArray) -> AnyArray:
    """Cyclic float64 (m, 8) of milliseconds (m,): month, day, weekday and hour, each as sine and cosine."""
    dates = stamps.astype("datetime64[ms]")
    days = dates.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    cycles = (
        (months.astype(np.int64) % 12, 12),
        ((days - months.astype("datetime64[D]")).astype(np.int64), 31),
        ((days.astype(np.int64) + 3) % 7, 7),
        ((stamps % _MS_PER_DAY) / (_MS_PER_DAY / 24), 24),
    )
    angles = np.stack([part * (2 * np.pi / period) for part, period in cycles], axis=1)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _date_numbers(stamps: AnyArray) -> AnyArray:
    """float64 (m, 2 k) of milliseconds (m, k): the year and the days since 1970, NaN where missing."""
    dates = np.where(stamps == _MISSING_DATE, 0, stamps).astype("datetime64[ms]")
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970.0
    numbers = np.concatenate([years, dates.astype(np.int64) / _MS_PER_DAY], axis=1)
    return np.where(np.concatenate([stamps, stamps], axis=1) == _MISSING_DATE, np.nan, numbers)


@EXTRACTORS.register("tabular")
class TabularExtractor(Extractor):
    """Numbers imputed by the median with a column that says so, categories one-hot, dates as cycles and elapsed time.

    Fitted on training rows, without labels. Rare values of a category share a column with those never seen; columns
    that were constant in training are left out. A row is present when any of its cells is.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="tabular", kinds=frozenset({"numeric", "categorical", "date"}), trained=True, costly=False
    )
    Params: ClassVar[type[PluginParams]] = TabularParams

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._numbers: _Scaler | None = None
        self._vocabularies: list[_Vocabulary] = []
        self._kept: AnyArray = np.zeros(0, np.int64)

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """All kinds together, and numbers alone."""
        yield TabularParams(min_count=1), {"amount": "numeric", "colour": "categorical", "day": "date"}
        yield TabularParams(scale="robust"), {"amount": "numeric"}

    def _of(self, kind: Kind) -> list[str]:
        return [column for column, held in self.columns.items() if held == kind]

    def prepare(self, batch: Batch) -> Prepared:
        """Columns side by side: numeric float64, dates int64 (milliseconds), categories object."""
        n = len(batch[next(iter(self.columns))])
        numbers = _stack([batch[c].astype(np.float64) for c in self._of("numeric")], n, np.float64)
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        dates = _stack([batch[c].astype("datetime64[ms]").astype(np.int64) for c in self._of("date")], n, np.int64)
        categories = _stack([batch[c] for c in self._of("categorical")], n, object)
        known = [~np.isnan(numbers), dates != _MISSING_DATE, categories != None]  # noqa: E711 - element by element
        present: BoolArray = np.asarray(np.concatenate(known, axis=1).astype(bool).any(axis=1))
        arrays = {NUMERIC: numbers, DATES: dates, CATEGORIES: categories}
        return Prepared({name: values[present] for name, values in arrays.items()}, present)

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Learn medians, scales and categories from training rows; labels are not looked at."""
        arrays = prepared.arrays
        p = self.params
        self._numbers = _Scaler.fit(self._all_numbers(arrays), p.scale)
        self._vocabularies = [_Vocabulary.fit(column, p.max_categories, p.min_count) for column in arrays[CATEGORIES].T]
        everything = self._encode(arrays)
        varies = np.ptp(everything, axis=0) > 0 if len(everything) else np.zeros(everything.shape[1], bool)
        self._kept = np.flatnonzero(varies) if varies.any() else np.arange(min(1, everything.shape[1]))
        return self

    @staticmethod
    def _all_numbers(arrays: Mapping[str, AnyArray]) -> AnyArray:
        return np.concatenate([arrays[NUMERIC], _date_numbers(arrays[DATES])], axis=1)

    def _encode(self, arrays: Mapping[str, AnyArray]) -> AnyArray:
        """Every column that there could be, float64 (m, D)."""
        assert self._numbers is not None
        numbers, dates, categories = self._all_numbers(arrays), arrays[DATES], arrays[CATEGORIES]
        scaled = self._numbers(numbers, compress=self.params.scale != "none")
        parts = [scaled, np.isnan(numbers[:, : numbers.shape[1] - dates.shape[1]]).astype(np.float64)]
        for j in range(dates.shape[1]):
            missing = dates[:, j] == _MISSING_DATE
            cycles = _date_parts(np.where(missing, 0, dates[:, j]))
            parts.append(np.where(missing[:, None], 0.0, cycles))
        parts += [encode(column) for encode, column in zip(self._vocabularies, categories.T, strict=True)]
        return np.concatenate(parts, axis=1)

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """Encoded rows."""
        if self._numbers is None:
            raise NotFittedError("tabular: must be fitted before it extracts; got an unfitted one. Call fit")
        return np.ascontiguousarray(self._encode(arrays)[:, self._kept], np.float32)

    @property
    def n_features(self) -> int:
        """Columns that varied in training."""
        return len(self._kept)

    def get_state(self) -> State:
        """Categories as JSON, numbers as tensors."""
        if self._numbers is None:
            raise NotFittedError("tabular: must be fitted before it has a state; got an unfitted one. Call fit")
        numbers = self._numbers
        values = [{"kept": list(v.kept), "frequency": dict(v.frequency), "floor": v.floor} for v in self._vocabularies]
        tensors = {"fill": numbers.fill, "centre": numbers.centre, "spread": numbers.spread, "kept": self._kept}
        return State(meta={"categories": values}, tensors=tensors)

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The fitted extractor."""
        extractor = cls(params, columns)
        extractor._numbers = _Scaler(state.tensors["fill"], state.tensors["centre"], state.tensors["spread"])
        extractor._vocabularies = [
            _Vocabulary(tuple(v["kept"]), v["frequency"], v["floor"]) for v in state.meta["categories"]
        ]
        extractor._kept = state.tensors["kept"]
        return extractor


def _stack(columns: Sequence[AnyArray], n: int, dtype: Any) -> AnyArray:
    """Columns (n,) as one array (n, k), also for no columns."""
    return np.stack(columns, axis=1) if columns else np.empty((n, 0), dtype)

"""Categories of a table as numbers: one-hot, by order, by frequency, by the label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np

from hybrid_ray.types import AnyArray

Encode = Literal["one_hot", "ordinal", "frequency", "target"]

MAX_COUNTED = 10_000
"""Values of one categorical column that anything is remembered of."""
Role = Literal["number", "flag", "cycle", "value"]
"""What an encoded column is. flag: 1 where a number or a date is missing, else 0; cycle: a sine or a cosine; value: 1
where a category has that value, or one of those that share a column, or none, else 0."""
_UNSEEN, _MISSING = -0.5, -1.0
"""Places of values that are rare or were never seen, and of missing ones, below the order from 0 to 1."""


class Encoder(ABC):
    """What was learned of one column of categories: object (m,), ``str`` or None."""

    @abstractmethod
    def __call__(self, values: AnyArray) -> AnyArray:
        """float64 (m, width)."""

    @property
    @abstractmethod
    def roles(self) -> list[Role]:
        """What each of the ``width`` columns is."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A JSON-able form."""

    @classmethod
    @abstractmethod
    def from_json(cls, form: Mapping[str, Any]) -> Self:
        """The encoder back."""


class OneHot(Encoder):
    """One column a frequent value, one for all others, one for missing, and the frequency where others were."""

    def __init__(self, kept: Sequence[str], frequency: Mapping[str, float], floor: float) -> None:
        self.kept, self.frequency, self.floor = tuple(kept), dict(frequency), floor
        self._places = {value: place for place, value in enumerate(self.kept)}

    @classmethod
    def fit(cls, values: AnyArray, limit: int, min_count: int) -> OneHot:
        """From training rows."""
        ranked = _ranked(values)
        kept = [value for value, count in ranked[:limit] if count >= min_count]
        rows = max(len(values), 1)
        beyond = len(ranked) > len(kept)
        frequency = {v: float(np.log(count / rows)) for v, count in ranked[:MAX_COUNTED]} if beyond else {}
        return cls(kept, frequency, float(np.log(0.5 / rows)))

    @property
    def roles(self) -> list[Role]:
        """Values, and the frequency where there is one."""
        values: list[Role] = ["value"] * (len(self.kept) + 2)
        return [*values, "number"] if self.frequency else values

    def codes(self, values: AnyArray) -> AnyArray:
        """Which column of values holds the 1, int64 (m,)."""
        codes = _codes(values, self._places)
        return np.where(codes == -2, len(self.kept) + 1, np.where(codes < 0, len(self.kept), codes))

    def __call__(self, values: AnyArray) -> AnyArray:
        """float64 (m, kept + 2), or one more."""
        codes = self.codes(values)
        encoded = np.zeros((len(values), len(self.kept) + 2 + bool(self.frequency)))
        encoded[np.arange(len(values)), codes] = 1.0
        if self.frequency:
            encoded[:, -1] = [self.frequency.get(v, self.floor) for v in values]
        return encoded

    def to_json(self) -> dict[str, Any]:
        """Values, frequencies and the frequency of a value that was never seen."""
        return {"kept": list(self.kept), "frequency": self.frequency, "floor": self.floor}

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Self:
        """The encoder back."""
        return cls(form["kept"], form["frequency"], form["floor"])


class Ordinal(Encoder):
    """The place of a value in the order of values, from 0 to 1: by number where all are numbers, else by letters."""

    def __init__(self, kept: Sequence[str]) -> None:
        self.kept = tuple(kept)
        self._places = {value: place for place, value in enumerate(self.kept)}

    @classmethod
    def fit(cls, values: AnyArray, limit: int, min_count: int) -> Ordinal:
        """From training rows; rare values have the place of values that were never seen."""
        return cls(sorted((v for v, count in _ranked(values)[:MAX_COUNTED] if count >= min_count), key=_by_number))

    @property
    def roles(self) -> list[Role]:
        """The place."""
        return ["number"]

    def __call__(self, values: AnyArray) -> AnyArray:
        """float64 (m, 1)."""
        codes = _codes(values, self._places)
        places = codes / max(len(self.kept) - 1, 1)
        return np.where(codes == -2, _MISSING, np.where(codes < 0, _UNSEEN, places))[:, None]

    def to_json(self) -> dict[str, Any]:
        """Values in their order."""
        return {"kept": list(self.kept)}

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Self:
        """The encoder back."""
        return cls(form["kept"])


class Frequency(Encoder):
    """Logarithm of the share of training rows that hold the value, and a column for missing."""

    def __init__(self, frequency: Mapping[str, float], floor: float) -> None:
        self.frequency, self.floor = dict(frequency), floor

    @classmethod
    def fit(cls, values: AnyArray, limit: int, min_count: int) -> Frequency:
        """From training rows."""
        rows = max(len(values), 1)
        counts = {v: float(np.log(count / rows)) for v, count in _ranked(values)[:MAX_COUNTED]}
        return cls(counts, float(np.log(0.5 / rows)))

    @property
    def roles(self) -> list[Role]:
        """The frequency, and whether it is missing."""
        return ["number", "flag"]

    def __call__(self, values: AnyArray) -> AnyArray:
        """float64 (m, 2)."""
        missing = np.array([v is None for v in values], bool)
        shares = np.array([self.frequency.get(v, self.floor) for v in values], np.float64)
        return np.stack([np.where(missing, self.floor, shares), missing], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Frequencies, and that of a value that was never seen."""
        return {"frequency": self.frequency, "floor": self.floor}

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Self:
        """The encoder back."""
        return cls(form["frequency"], form["floor"])


class Target(Encoder):
    """Mean label of the training rows that hold the value, drawn to the mean of all where there are few of them.

    Missing is a value like others.

    References
    ----------
    Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes", SIGKDD Explorations 2001.
    """

    def __init__(self, means: Mapping[str, Sequence[float]], missing: Sequence[float], prior: Sequence[float]) -> None:
        self.means = {value: tuple(mean) for value, mean in means.items()}
        self.missing, self.prior = tuple(missing), tuple(prior)

    @classmethod
    def fit(cls, values: AnyArray, targets: AnyArray, smoothing: float) -> Target:
        """From training rows: targets float64 (m, t), ``smoothing`` rows of the mean of all are added to each value."""
        import pandas as pd

        prior = targets.mean(axis=0) if len(targets) else np.zeros(targets.shape[1])
        codes, kept = pd.factorize(pd.Series(values, dtype=object))
        count = np.bincount(codes + 1, minlength=len(kept) + 1)
        sums = np.stack([np.bincount(codes + 1, t, len(kept) + 1) for t in targets.T], axis=1)
        means = (sums + smoothing * prior) / np.maximum(count + smoothing, 1e-12)[:, None]
        ranked = np.argsort(-count[1:], kind="stable")[:MAX_COUNTED]
        return cls({str(kept[i]): means[i + 1].tolist() for i in ranked}, means[0].tolist(), prior.tolist())

    @property
    def roles(self) -> list[Role]:
        """The means."""
        return ["number"] * len(self.prior)

    def __call__(self, values: AnyArray) -> AnyArray:
        """float64 (m, t)."""
        return np.array(
            [self.missing if v is None else self.means.get(v, self.prior) for v in values], np.float64
        ).reshape(len(values), len(self.prior))

    def to_json(self) -> dict[str, Any]:
        """Means by value."""
        means = {value: list(mean) for value, mean in self.means.items()}
        return {"means": means, "missing": list(self.missing), "prior": list(self.prior)}

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Self:
        """The encoder back."""
        return cls(form["means"], form["missing"], form["prior"])


ENCODERS: Mapping[str, type[OneHot | Ordinal | Frequency | Target]] = {
    "one_hot": OneHot,
    "ordinal": Ordinal,
    "frequency": Frequency,
    "target": Target,
}


def fit_encoder(how: Encode, values: AnyArray, limit: int, min_count: int) -> Encoder:
    """An encoder that looks at no labels, learned from one column (m,) of training rows."""
    plain: Mapping[str, type[OneHot | Ordinal | Frequency]] = {
        "one_hot": OneHot,
        "ordinal": Ordinal,
        "frequency": Frequency,
    }
    return plain[how].fit(values, limit, min_count)


def _ranked(values: AnyArray) -> list[tuple[str, int]]:
    """Values with their counts, the most frequent first, ties by letters; missing ones are not among them."""
    counts = Counter(str(v) for v in values if v is not None)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _codes(values: AnyArray, places: Mapping[str, int]) -> AnyArray:
    """Place of each value, int64 (m,); -1: it has none, -2: missing. O(m), and as cheap for a single row."""
    return np.array([-2 if value is None else places.get(value, -1) for value in values], np.int64)


def _by_number(value: str) -> tuple[bool, float, str]:
    """Numbers first, in their order; then other values by their letters."""
    try:
        number = float(value)
    except ValueError:
        return True, 0.0, value
    return not np.isfinite(number), number if np.isfinite(number) else 0.0, value

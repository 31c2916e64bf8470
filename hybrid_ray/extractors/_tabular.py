"""Columns of a table as numbers: imputed, scaled, encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field

from hybrid_ray.dealing import parts_of_groups
from hybrid_ray.errors import BadInputError, NotFittedError
from hybrid_ray.extractors._tabular_categories import ENCODERS, Encode, Encoder, OneHot, Role, Target, fit_encoder
from hybrid_ray.extractors._tabular_numbers import Impute, Numbers, Scale
from hybrid_ray.extractors.base import Extractor, ExtractorTags, FitContext
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.training.rows import normal_scores
from hybrid_ray.types import AnyArray, Batch, Block, BoolArray, FloatArray, Kind, Prepared, State

NUMERIC, DATES, CATEGORIES = "numeric", "dates", "categories"
_MISSING_DATE = np.iinfo(np.int64).min
_MS_PER_DAY = 86_400_000
_CROSS_FOLDS = 5
"""Parts of the training rows, each of which is encoded by the labels of the others."""


class TableParams(PluginParams):
    """Parameters that extractors of tables share."""

    impute: Impute = "median"
    """What stands for a missing number. median, mean, most_frequent: of the column; constant: ``constant``; knn: the
    mean of the 5 nearest of up to 1,000 training rows; iterative: ridge regressions of each column on the others."""
    constant: float = Field(0.0, ge=-1e30, le=1e30)
    """What ``impute: constant`` puts in."""
    indicator: bool = True
    """True: a column more for every column of numbers that tells where it was missing."""
    clip: float | None = Field(None, gt=0, lt=0.5)
    """Share of the rows on each side of a column of numbers that is brought to the edge of the rest; left out, none."""
    scale: Scale = "standard"
    """standard: mean and standard deviation, the outer 0.5 % on each side clipped before they are taken; robust: median
    and interquartile range; log: skewed columns by log1p from the end that the tail does not lie at, then as standard;
    quantile: normal scores of ranks; none: numbers as they are."""
    dates: Literal["all", "cycles", "elapsed"] = "all"
    """cycles: month, day, weekday and hour as sine and cosine; elapsed: year and days since 1970; all: both."""


class CategoryParams(TableParams):
    """Parameters that extractors of tables share which count the values of categories."""

    max_categories: int = Field(32, ge=1, le=4096)
    """Values of a one-hot column that get a column of their own, the most frequent first; the others share one, and the
    column's frequencies are added as a number."""
    min_count: int = Field(5, ge=1)
    """Training rows that a value must have for a column, or a place, of its own."""


class TabularParams(CategoryParams):
    """Parameters of ``tabular``."""

    encode: Literal["one_hot", "ordinal", "frequency"] = "one_hot"
    """one_hot: a column a value; ordinal: the place of a value in their order; frequency: how often a value was seen.
    ``tabular_target`` encodes by the label."""


class TabularTargetParams(TableParams):
    """Parameters of ``tabular_target``."""

    smoothing: float = Field(10.0, ge=0, le=1e9)
    """Rows with the mean label of all that are added to the rows of each value."""


class Layout(NamedTuple):
    """What the features of a fitted table are.

    Attributes
    ----------
    roles : tuple of Role
        What each feature is.
    columns : ndarray of int (d,)
        The input column that it is made of, by its place.
    """

    roles: tuple[Role, ...]
    columns: AnyArray

    def where(self, *roles: Role) -> AnyArray:
        """Which features are one of these, bool (d,)."""
        return np.array([role in roles for role in self.roles], bool)


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
    """Numbers imputed with a column that says so, categories encoded, dates as cycles and elapsed time.

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
        self._numbers: Numbers | None = None
        self._encoders: list[Encoder] = []
        self._kept: AnyArray = np.zeros(0, np.int64)

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """All kinds together, and numbers alone."""
        kinds: dict[str, Kind] = {"amount": "numeric", "colour": "categorical", "day": "date"}
        yield TabularParams(min_count=1), kinds
        yield TabularParams(scale="robust"), {"amount": "numeric"}
        yield TabularParams(impute="knn", scale="log", encode="ordinal", clip=0.05, min_count=1), kinds
        yield TabularParams(impute="iterative", scale="quantile", encode="frequency", dates="cycles"), kinds
        yield TabularParams(impute="most_frequent", indicator=False, dates="elapsed"), kinds

    def _of(self, kind: Kind) -> list[str]:
        return [column for column, held in self.columns.items() if held == kind]

    def prepare(self, batch: Batch) -> Prepared:
        """Columns side by side: numeric float64, dates int64 (milliseconds), categories object."""
        n = len(batch[next(iter(self.columns))])
        numbers = _stack([batch[c].astype(np.float64) for c in self._of("numeric")], n, np.float64)
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        dates = _stack([batch[c].astype("datetime64[ms]").astype(np.int64) for c in self._of("date")], n, np.int64)
        categories = _stack([batch[c] for c in self._of("categorical")], n, object)
        arrays = {NUMERIC: numbers, DATES: dates, CATEGORIES: categories}
        present: BoolArray = np.asarray(~_nothing(arrays).all(axis=1))
        return Prepared({name: values[present] for name, values in arrays.items()}, present)

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Learn imputation, scales and categories from training rows; labels are not looked at."""
        p = self.params
        numbers = self._all_numbers(prepared.arrays)
        constant = np.full(numbers.shape[1], np.nan)
        constant[: prepared.arrays[NUMERIC].shape[1]] = p.constant  # a date has no constant that is its missing
        self._numbers = Numbers.fit(numbers, p.impute, constant, p.scale, p.clip)
        labels = None if y is None else y[prepared.present]
        self._encoders = self._fit_encoders(prepared.arrays[CATEGORIES], labels, context)
        everything = self._encode(prepared.arrays, self._encoders)
        varies = np.ptp(everything, axis=0) > 0 if len(everything) else np.zeros(everything.shape[1], bool)
        self._kept = np.flatnonzero(varies) if varies.any() else np.arange(min(1, everything.shape[1]))
        return self

    def _fit_encoders(self, categories: AnyArray, labels: AnyArray | None, context: FitContext) -> list[Encoder]:
        """One encoder for each column of object (m, k); ``labels`` (m,) are for those that look at them."""
        p = self.params
        return [fit_encoder(p.encode, column, p.max_categories, p.min_count) for column in categories.T]

    def _all_numbers(self, arrays: Mapping[str, AnyArray]) -> AnyArray:
        """Numeric columns and the numbers of dates, float64 (m, k), NaN where missing."""
        if self.params.dates == "cycles":
            return arrays[NUMERIC]
        return np.concatenate([arrays[NUMERIC], _date_numbers(arrays[DATES])], axis=1)

    def _encode(self, arrays: Mapping[str, AnyArray], encoders: Sequence[Encoder]) -> AnyArray:
        """Every column that there could be, float64 (m, D)."""
        assert self._numbers is not None
        numeric, dates, categories = arrays[NUMERIC], arrays[DATES], arrays[CATEGORIES]
        parts = [self._numbers(self._all_numbers(arrays))]
        if self.params.indicator:
            parts += [np.isnan(numeric).astype(np.float64), (dates == _MISSING_DATE).astype(np.float64)]
        if self.params.dates != "elapsed":
            for stamps in dates.T:
                missing = stamps == _MISSING_DATE
                parts.append(np.where(missing[:, None], 0.0, _date_parts(np.where(missing, 0, stamps))))
        parts += [encode(column) for encode, column in zip(encoders, categories.T, strict=True)]
        return np.concatenate(parts, axis=1)

    # ------------------------------------------------------------------ what networks over tables ask

    def missing(self, arrays: Mapping[str, AnyArray]) -> BoolArray:
        """Which cells are missing, bool (m, columns)."""
        held = [*self._of("numeric"), *self._of("date"), *self._of("categorical")]
        at = {column: number for number, column in enumerate(held)}
        return np.asarray(_nothing(arrays)[:, [at[column] for column in self.columns]])

    def layout(self) -> Layout:
        """What the features are, in the order in which ``extract`` gives them."""
        numeric, dates = self._of("numeric"), self._of("date")
        cycles, elapsed = (self.params.dates != without for without in ("elapsed", "cycles"))
        parts: list[tuple[Role, str]] = [("number", column) for column in [*numeric, *(2 * elapsed * dates)]]
        parts += [("flag", column) for column in [*numeric, *dates] if self.params.indicator]
        parts += [("cycle", column) for column in dates for _ in range(8 * cycles)]
        for encoder, column in zip(self._encoders, self._of("categorical"), strict=True):
            parts += [(role, column) for role in encoder.roles]
        places = {column: place for place, column in enumerate(self.columns)}
        kept = [parts[number] for number in self._kept]
        return Layout(tuple(role for role, _ in kept), np.array([places[column] for _, column in kept], np.int64))

    def _one_hot(self) -> list[OneHot]:
        return [encoder for encoder in self._encoders if isinstance(encoder, OneHot)]

    def codes(self, arrays: Mapping[str, AnyArray]) -> AnyArray:
        """Number of the value of each category, int64 (m, k), where they are encoded one-hot.

        Rare values, as one, and missing ones have numbers too, whether or not ``extract`` has a column for them.
        """
        columns = zip(self._one_hot(), arrays[CATEGORIES].T, strict=True)
        return _stack([encoder.codes(column) for encoder, column in columns], len(arrays[CATEGORIES]), np.int64)

    def sizes(self) -> list[int]:
        """How many numbers ``codes`` has for each category."""
        return [len(encoder.kept) + 2 for encoder in self._one_hot()]

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """Encoded rows."""
        if self._numbers is None:
            raise NotFittedError(f"{self.name}: must be fitted before it extracts; got an unfitted one. Call fit")
        return np.ascontiguousarray(self._encode(arrays, self._encoders)[:, self._kept], np.float32)

    @property
    def n_features(self) -> int:
        """Columns that varied in training."""
        return len(self._kept)

    def get_state(self) -> State:
        """Categories as JSON, numbers as tensors."""
        if self._numbers is None:
            raise NotFittedError(f"{self.name}: must be fitted before it has a state; got an unfitted one. Call fit")
        numbers = self._numbers
        tensors = {"fill": numbers.fill, "centre": numbers.centre, "spread": numbers.spread, "kept": self._kept}
        tensors |= {f"numbers.{name}": values for name, values in numbers.more.items()}
        return State(meta={"categories": [encoder.to_json() for encoder in self._encoders]}, tensors=tensors)

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The fitted extractor."""
        extractor = cls(params, columns)
        p, tensors = extractor.params, state.tensors
        more = {name.removeprefix("numbers."): v for name, v in tensors.items() if name.startswith("numbers.")}
        extractor._numbers = Numbers(p.impute, p.scale, tensors["fill"], tensors["centre"], tensors["spread"], more)
        encoder = ENCODERS[extractor._how()]
        extractor._encoders = [encoder.from_json(form) for form in state.meta["categories"]]
        extractor._kept = tensors["kept"]
        return extractor

    def _how(self) -> Encode:
        """How categories are encoded."""
        how: Encode = self.params.encode
        return how


@EXTRACTORS.register("tabular_target")
class TabularTargetExtractor(TabularExtractor):
    """As ``tabular``, but a category is the mean label of the training rows that hold it.

    A column a class (one for two classes); for numbers the mean of their normal scores. Training rows are encoded by
    the labels of other training rows (five parts, each by the other four): what a learner sees of them is no more
    telling than what it will see of new rows.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="tabular",
        kinds=frozenset({"numeric", "categorical", "date"}),
        trained=True,
        supervised=True,
        costly=False,
    )
    Params: ClassVar[type[PluginParams]] = TabularTargetParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """All kinds together, and a category alone."""
        yield TabularTargetParams(), {"amount": "numeric", "colour": "categorical", "day": "date"}
        yield TabularTargetParams(smoothing=1.0), {"colour": "categorical"}

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Learn from training rows and their labels.

        Raises
        ------
        BadInputError
            There are no labels.
        """
        if y is None:
            raise BadInputError("tabular_target: needs labels; got none. Use tabular")
        return super().fit(prepared, y, context)

    def _fit_encoders(self, categories: AnyArray, labels: AnyArray | None, context: FitContext) -> list[Encoder]:
        assert labels is not None
        targets = _targets(labels, context)
        return [Target.fit(column, targets, self.params.smoothing) for column in categories.T]

    def cross_fitted(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Block | None:
        """The rows of the fit, their categories encoded by the labels of other rows."""
        if y is None:
            return None
        labels, arrays = y[prepared.present], prepared.arrays
        groups = None if context.groups is None else context.groups[prepared.present]
        part = parts_of_groups(groups, _CROSS_FOLDS, context.seed)
        if part is None:
            part = np.random.default_rng(context.seed).permutation(len(labels)) % _CROSS_FOLDS
        features = np.zeros((len(labels), self.n_features), np.float32)
        for each in np.unique(part):
            own, others = part == each, part != each
            encoders = self._fit_encoders(arrays[CATEGORIES][others], labels[others], context)
            rows = {name: values[own] for name, values in arrays.items()}
            features[own] = self._encode(rows, encoders)[:, self._kept]
        values = np.zeros((len(prepared.present), self.n_features), np.float32)
        values[prepared.present] = features
        return Block(values, prepared.present)

    def _how(self) -> Encode:
        return "target"


def _targets(labels: AnyArray, context: FitContext) -> AnyArray:
    """What categories are encoded by, float64 (m, t): shares of the classes, or normal scores of numbers."""
    if context.task == "regression":
        return normal_scores(labels)[:, None].astype(np.float64)
    classes = np.arange(context.n_outputs) if context.n_outputs > 2 else np.array([1])
    return np.asarray(labels[:, None] == classes, np.float64)


def _nothing(arrays: Mapping[str, AnyArray]) -> AnyArray:
    """Which cells are missing, bool (m, columns), in the order of the arrays."""
    gone = arrays[CATEGORIES] == None  # noqa: E711 - element by element
    return np.concatenate([np.isnan(arrays[NUMERIC]), arrays[DATES] == _MISSING_DATE, gone.astype(bool)], axis=1)


def _stack(columns: Sequence[AnyArray], n: int, dtype: Any) -> AnyArray:
    """Columns (n,) as one array (n, k), also for no columns."""
    return np.stack(columns, axis=1) if columns else np.empty((n, 0), dtype)

"""Groups of rows by the values of a column: what a model is scored by, whether it reads the column or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.columns import infer_kinds
from hybrid_ray.errors import DataError
from hybrid_ray.spec import DataSpec
from hybrid_ray.types import ENCODED, AnyArray, BoolArray, Kind

BANDS = 4
"""Bands that a numeric column or a date is cut into, by quantiles of the training rows."""
FEW_VALUES = 8
"""Different numbers up to which each is a group of its own."""
_UNGROUPED: frozenset[Kind] = ENCODED | {"series", "node"}
"""Kinds of columns that name no groups."""
MAX_GROUPS = 12
"""Groups of a column of categories; rarer values are put together."""
LONGEST = 60
"""Letters of a group's label."""
MISSING, OTHERS = "missing", "other values"

_LOOKED_AT = 2000


@dataclass(frozen=True)
class Grouping:
    """The test rows, divided by one column.

    Attributes
    ----------
    column : str
    labels : tuple of str
        Of the groups, each different; those without a test row are there too.
    codes : ndarray of int (n_test,)
        Group of each test row.
    note : str
        How the groups were made; nothing of a redacted column's values.
    """

    column: str
    labels: tuple[str, ...]
    codes: AnyArray
    note: str = ""


def group_rows(
    data: DataSpec, table: pa.Table, training: BoolArray, test: BoolArray, base: str
) -> tuple[Grouping, ...]:
    """The groups of the test rows by each column of ``data.groups``, see also ``check_groups``.

    Which values are groups, and where bands begin, is told by the training rows. A redacted column's groups are
    numbered: its values stand in no label.

    Parameters
    ----------
    data : DataSpec
    table : pa.Table
        All rows, with at least the columns of ``data.groups``.
    training, test : ndarray of bool (n_rows,)
    base : str
        Folder that relative paths of images and sounds start from.

    Returns
    -------
    tuple of Grouping

    Raises
    ------
    DataError
        A column holds what cannot group rows, no value, or names of the rows.
    """
    return tuple(_group(data, name, table.select([name]), training, test, base) for name in data.groups)


def _group(data: DataSpec, name: str, table: pa.Table, training: BoolArray, test: BoolArray, base: str) -> Grouping:
    kind = _kind(data, name, table, base)
    values = coerce(table, {name: kind}, base).batch[name]
    if kind == "date":
        days = np.where(np.isnat(values), np.nan, values.astype("datetime64[D]").astype(np.float64))
        return _banded(data, name, days, training, test, _day)
    if kind == "numeric":
        held = np.unique(values[training & ~np.isnan(values)])
        if len(held) > FEW_VALUES:
            return _banded(data, name, values, training, test, _number)
        values = np.array([None if np.isnan(v) else _number(v) for v in values], object)
        return _named(data, name, values, training, test, [_number(v) for v in held])
    return _named(data, name, values, training, test, None)


def check_groups(data: DataSpec) -> None:
    """Refuse to group by a column that is known to hold images, sounds or series, before it is read.

    Raises
    ------
    DataError
    """
    for name in data.groups:
        if (data.columns or {}).get(name) in _UNGROUPED:
            raise _no_groups(name)


def _no_groups(name: str) -> DataError:
    return DataError(
        f"data.groups: must be columns of categories, numbers or dates; got {name!r}, a column of images, sounds, "
        "series or nodes, or of values that nothing reads. Take it out"
    )


def _kind(data: DataSpec, name: str, table: pa.Table, base: str) -> Kind:
    """The kind that is declared, else what some rows, evenly spaced, seem to be."""
    declared = (data.columns or {}).get(name)
    if declared is not None:
        return declared
    looked = np.unique(np.linspace(0, len(table) - 1, _LOOKED_AT).astype(np.int64))
    guess = infer_kinds(table.take(pa.array(looked)), (), base).get(name)
    if guess is None or guess.kind in _UNGROUPED:
        raise _no_groups(name)
    return guess.kind


def _named(
    data: DataSpec, name: str, values: AnyArray, training: BoolArray, test: BoolArray, order: Sequence[str] | None
) -> Grouping:
    """A group for each value, by size unless an order is given."""
    counts = Counter(value for value in values[training] if value is not None)
    held = sum(counts.values())
    if not held:
        raise DataError(f"data.groups: must be columns with values in the training rows; got {name!r}, which has none")
    if order is None and 2 * len(counts) > held and len(counts) > MAX_GROUPS:
        raise DataError(
            f"data.groups: must be columns whose values many rows share; got {name!r} with {len(counts)} different "
            f"values in {held} training rows. Take it out"
        )
    ranked = order or sorted(counts, key=lambda value: (-counts[value], value))
    kept = {value: code for code, value in enumerate(ranked[:MAX_GROUPS])}
    others, missing = len(kept), len(kept) + 1
    codes = np.array([missing if v is None else kept.get(v, others) for v in values[test]], np.int64)
    hidden = name in data.redact
    labels = [f"group {code + 1}" for code in range(len(kept))] if hidden else [_cut(value) for value in kept]
    merged = len(counts) - len(kept)
    notes = ["its values are redacted"] if hidden else []
    notes += [f"the {len(kept)} largest of {len(counts)} values; {merged} rarer ones together"] if merged > 0 else []
    return Grouping(name, _different([*labels, OTHERS, MISSING]), codes, "; ".join(notes))


def _banded(
    data: DataSpec, name: str, values: AnyArray, training: BoolArray, test: BoolArray, shown: Callable[[float], str]
) -> Grouping:
    """Bands between quantiles of the training rows; a band holds its upper end."""
    known = values[training & ~np.isnan(values)]
    if not len(known):
        raise DataError(f"data.groups: must be columns with values in the training rows; got {name!r}, which has none")
    shares = np.arange(1, BANDS) / BANDS
    ends = np.unique(np.quantile(known, shares, method="inverted_cdf"))
    ends = ends[ends < known.max()]  # the last band is not empty
    held = values[test]
    codes = np.where(np.isnan(held), len(ends) + 1, np.searchsorted(ends, held, side="left"))
    hidden = name in data.redact
    bands = [f"band {i + 1}" for i in range(len(ends) + 1)] if hidden else _bands([shown(end) for end in ends])
    note = "bands by quantiles of the training rows" + ("; its values are redacted" if hidden else "")
    return Grouping(name, _different([*bands, MISSING]), codes.astype(np.int64), note)


def _bands(ends: Sequence[str]) -> list[str]:
    if not ends:
        return ["all values"]
    between = [f"above {low} to {high}" for low, high in pairwise(ends)]
    return [f"up to {ends[0]}", *between, f"above {ends[-1]}"]


def _day(value: float) -> str:
    return str(np.datetime64(int(value), "D"))


def _number(value: float) -> str:
    return str(int(value)) if value == np.rint(value) and abs(value) < 1e15 else f"{value:.6g}"


def _cut(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def _different(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, numbered where the same one stands twice: a value may be called ``missing``."""
    seen: Counter[str] = Counter()
    made = []
    for label in labels:
        seen[label] += 1
        made.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return tuple(made)

"""Contract checks of data-level fusions; :mod:`hybrid_ray.testing.fusions` yields them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from hybrid_ray.data.images import decode
from hybrid_ray.fusion.base import DataFusion, Fused
from hybrid_ray.testing.estimators import stored
from hybrid_ray.testing.fusion_cases import FusionCase, check_key_error
from hybrid_ray.testing.rows import toy_batch
from hybrid_ray.types import AnyArray, Batch, Kind, State

N = 8
EMPTY = 2
"""The toy row that holds nothing."""


def toy_columns(fusion: type[DataFusion]) -> Iterator[dict[str, Kind]]:
    """Columns to put together: one of each kind alone, all kinds, and two and four of each."""
    kinds = sorted(fusion.takes)
    for kind in kinds:
        yield {kind: kind}
    yield {f"{turn}_{kind}": kind for turn in ("b", "a") for kind in kinds}
    yield {f"{turn}_{kind}": kind for turn in ("d", "a", "c", "b") for kind in kinds}


def _combine(fusion: type[DataFusion], case: FusionCase, batch: Batch, columns: Mapping[str, Kind]) -> Fused:
    return fusion(case.params).combine(batch, columns)


def _told(values: Iterable[Any]) -> list[Any]:
    """Values that can be compared: a series by its shape and bytes."""
    return [(v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values]


def _same(got: Fused, expected: Fused) -> None:
    assert _told(got.values) == _told(expected.values)
    assert got.errors == expected.errors


def check_data_column(fusion: type[DataFusion], case: FusionCase) -> None:
    """One column of the kind that it gives: texts that hold something, images that can be decoded, all of one size, or
    series.

    What it gives is a kind that an extractor can read, and what it takes holds at least one kind.
    """
    assert fusion.takes
    assert fusion.gives in ("text", "image", "series")
    sizes = set()
    for columns in toy_columns(fusion):
        fused = _combine(fusion, case, toy_batch(columns, N), columns)
        assert fused.values.shape == (N,)
        assert fused.values.dtype == object
        assert fused.errors == {}
        held = [value for value in fused.values if value is not None]
        if fusion.gives == "text":
            assert all(isinstance(value, str) and value.strip() for value in held)
        elif fusion.gives == "series":
            assert all(value.dtype == np.float32 and np.isfinite(value).any() for value in held)
            assert len({value.shape[1] for value in held}) == 1, "every row must have as many channels"
        else:
            sizes |= {decode(value).size for value in held}
        none = _combine(fusion, case, toy_batch(columns, 0), columns)
        assert none.values.shape == (0,)
    assert len(sizes) <= 1, f"images must be of one size whatever they are made of; got {sorted(sizes)}"


def check_data_order(fusion: type[DataFusion], case: FusionCase) -> None:
    """Names, not positions, decide: reordered columns and columns that were not asked for change nothing."""
    for columns in toy_columns(fusion):
        batch = toy_batch(columns, N)
        expected = _combine(fusion, case, batch, columns)
        turned = {name: batch[name] for name in reversed(list(batch))}
        _same(_combine(fusion, case, turned, dict(reversed(columns.items()))), expected)
        _same(_combine(fusion, case, {"other": np.arange(N)} | turned, columns), expected)


def check_data_rows_alone(fusion: type[DataFusion], case: FusionCase) -> None:
    """A row's value does not depend on the rows beside it; a second call gives the same."""
    for columns in toy_columns(fusion):
        batch = toy_batch(columns, N)
        fused = _combine(fusion, case, batch, columns)
        rows = [{name: values[i : i + 1] for name, values in batch.items()} for i in range(N)]
        alone = [_combine(fusion, case, row, columns).values[0] for row in rows]
        assert _told(alone) == _told(fused.values)
        _same(_combine(fusion, case, batch, columns), fused)


def check_data_missing_parts(fusion: type[DataFusion], case: FusionCase) -> None:
    """A row without any part is missing; a row with one part is not, whichever it is."""
    for columns in toy_columns(fusion):
        batch = toy_batch(columns, N, missing=False)
        assert all(value is not None for value in _combine(fusion, case, batch, columns).values)
        for kept in columns:
            few = {name: values if name == kept else _gone(values) for name, values in batch.items()}
            assert all(value is not None for value in _combine(fusion, case, few, columns).values), f"{kept} is there"
        nothing = {name: _gone(values) for name, values in batch.items()}
        fused = _combine(fusion, case, nothing, columns)
        assert fused.values.tolist() == [None] * N
        assert fused.errors == {}
        assert _combine(fusion, case, toy_batch(columns, N), columns).values[EMPTY] is None


def _gone(values: AnyArray) -> AnyArray:
    if values.dtype == object:
        return np.full(len(values), None, object)
    return np.full(len(values), "NaT" if values.dtype.kind == "M" else np.nan, values.dtype)


def check_data_missing_name(fusion: type[DataFusion], case: FusionCase) -> None:
    """A column that is asked for and not there is named in a KeyError."""
    *_, columns = toy_columns(fusion)
    batch = toy_batch(columns, N)
    name = next(iter(columns))
    less = {other: values for other, values in batch.items() if other != name}
    check_key_error(lambda: _combine(fusion, case, less, columns).values, name)


def check_data_every_part_counts(fusion: type[DataFusion], case: FusionCase) -> None:
    """What any column holds can be seen in what comes out, and so can it that it is missing."""
    for columns in toy_columns(fusion):
        batch, other = toy_batch(columns, N, missing=False), toy_batch(columns, N, seed=5, missing=False)
        expected = _told(_combine(fusion, case, batch, columns).values)
        for name in columns:
            changed = _told(_combine(fusion, case, {**batch, name: other[name]}, columns).values)
            assert changed != expected, f"{name} must count"
            lacking = _told(_combine(fusion, case, {**batch, name: _gone(batch[name])}, columns).values)
            seen = [value != other for value, other in zip(lacking, expected, strict=True)]
            assert all(seen), f"it must be seen that {name} is missing"


def check_data_inputs_kept(fusion: type[DataFusion], case: FusionCase) -> None:
    """Columns may be read-only and are never written to, nor handed out."""
    for columns in toy_columns(fusion):
        batch = toy_batch(columns, N)
        for values in batch.values():
            values.flags.writeable = False
        fused = _combine(fusion, case, batch, columns)
        fused.values[:] = None
        for name, values in toy_batch(columns, N).items():
            np.testing.assert_array_equal(batch[name], values)


def check_data_state(fusion: type[DataFusion], case: FusionCase) -> None:
    """A fusion that was saved and loaded, its parameters through JSON, gives the same; its state is empty."""
    *_, columns = toy_columns(fusion)
    batch = toy_batch(columns, N)
    made = fusion(case.params)
    state = made.get_state()
    assert state == State(), "a data-level fusion learns nothing"
    params = fusion.Params.model_validate_json(case.params.model_dump_json())
    _same(fusion.from_state(params, stored(state)).combine(batch, columns), made.combine(batch, columns))


def check_data_unreadable(fusion: type[DataFusion], case: FusionCase) -> None:
    """A file that cannot be read is missing, and its row is told with the column; other rows are as they were."""
    for columns in toy_columns(fusion):
        batch = toy_batch(columns, N, missing=False)
        expected = _combine(fusion, case, batch, columns)
        for name in columns:
            broken, gone = batch[name].copy(), batch[name].copy()
            broken[3], gone[3] = b"no such file", None
            fused = _combine(fusion, case, {**batch, name: broken}, columns)
            assert set(fused.errors) == {3}
            assert name in fused.errors[3]
            assert _told(fused.values) == _told(_combine(fusion, case, {**batch, name: gone}, columns).values)
            assert _told(np.delete(fused.values, 3)) == _told(np.delete(expected.values, 3))


def check_data_quiet(fusion: type[DataFusion], case: FusionCase) -> None:
    """Nothing warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for columns in toy_columns(fusion):
            _combine(fusion, case, toy_batch(columns, N), columns)

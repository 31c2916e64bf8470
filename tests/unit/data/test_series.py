"""Series in cells: what is read as one, what is told of one that is none, and that equal series are equal rows."""

import json

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.columns import infer_kinds, unreadable
from hybrid_ray.data.generate import generate_rows
from hybrid_ray.data.identity import row_digests
from hybrid_ray.data.series import parse_series, series_cell
from hybrid_ray.store.golden import to_batch, to_cells

LISTS = [[1.0, 2.0, None], [], None, [3.5]]
STEPS = [[[1.0, 10.0], [2.0, None]], None, [[3.0, 30.0]]]


def cells(values, kind=None):
    found, reasons = parse_series(pa.array(values, kind))
    return [None if cell is None else cell.tolist() for cell in found], reasons


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.int64())], ids=str)
def test_lists_are_series_of_one_channel(kind):
    values = LISTS if pa.types.is_floating(kind.value_type) else [[1, 2, None], [], None, [3]]
    found, reasons = parse_series(pa.array(values, kind))
    assert not reasons
    assert [None if cell is None else cell.shape for cell in found] == [(3, 1), None, None, (1, 1)]
    assert found[0].dtype == np.float64
    np.testing.assert_array_equal(found[0][:, 0], [1, 2, np.nan])


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.list_(pa.float64())), pa.large_list(pa.list_(pa.float32(), 2)), pa.large_string()], ids=str
)
def test_lists_of_lists_have_channels(kind):
    values = [None if v is None else json.dumps(v) for v in STEPS] if kind == pa.large_string() else STEPS
    found, reasons = parse_series(pa.array(values, kind))
    assert not reasons
    np.testing.assert_array_equal(found[0], [[1, 10], [2, np.nan]])
    assert found[1] is None
    np.testing.assert_array_equal(found[2], [[3, 30]])


def test_slices_are_read_where_they_stand():
    whole = pa.array(STEPS * 3, pa.list_(pa.list_(pa.float64())))
    expected, _ = parse_series(whole)
    found, _ = parse_series(whole.slice(4, 3))
    assert [None if a is None else a.tolist() for a in found[:2]] == [None, [[3.0, 30.0]]]
    np.testing.assert_array_equal(found[2], expected[6])


def test_what_is_no_series_is_missing_and_told():
    found, reasons = cells([[[1.0, 2.0], [3.0]], [[]], [[1.0]]], pa.list_(pa.list_(pa.float64())))
    assert found == [None, None, [[1.0]]]
    assert set(reasons) == {0, 1}
    texts = ["[1, 2", '["a"]', "{}", "[[1], 2]", "[true]", "", "null", "[]", "[1, null]", "[1e999]"]
    found, reasons = parse_series(pa.array(texts))
    assert set(reasons) == {0, 1, 2, 3, 4, 9}
    assert [cell is None for cell in found] == [True] * 8 + [False, True]
    found, reasons = parse_series(pa.array([1.0, None]))
    assert list(found) == [None, None]
    assert set(reasons) == {0}


def test_infinite_numbers_are_missing_and_told():
    found, reasons = parse_series(pa.array([[1.0, np.inf], [np.nan, 1e300], [np.nan]]))
    np.testing.assert_array_equal(found[0][:, 0], [1, np.nan])
    assert found[1] is None
    assert found[2] is None
    assert set(reasons) == {0, 1}


def test_kinds_are_seen():
    table = pa.table({"a": LISTS, "b": ["[1, 2]", "[[0.5], [1]]", "[-1]", None], "c": ["[sic]", "[1", "x", "y"]})
    guesses = infer_kinds(table, ())
    assert [guesses[name].kind for name in "ab"] == ["series", "series"]
    assert guesses["c"].kind != "series"
    for texts in (["[", "[ "], ["[none]", "[no idea]"], ["[1, 2", "[[1], 2]"]):
        assert infer_kinds(pa.table({"d": texts}), ())["d"].kind != "series"
    assert set(unreadable(pa.table({"d": [["x"]], "e": [[1.0]]}))) == {"d"}


def digests(values):
    batch = coerce(pa.table({"s": pa.array(values, pa.list_(pa.list_(pa.float64())))}), {"s": "series"}).batch
    return [row.tobytes() for row in row_digests(batch, {"s": "series"}, None)]


def test_equal_series_are_equal_rows():
    first = digests([[[1.0, 2.0]], [[1.0], [2.0]], None, [[0.0, None]], [[1.0, 2.0]], [[-0.0, None]]])
    assert first[0] == first[4]
    assert first[3] == first[5]
    assert len({first[0], first[1], first[2], first[3]}) == 4


def test_rows_that_are_generated_tell_of_the_label():
    table = generate_rows({"s": "series"}, "binary", 200, 2, 0, "y")
    batch = coerce(table, {"s": "series"}).batch
    pace = [np.abs(np.diff(cell[:, 0])).mean() for cell in batch["s"]]
    y = np.asarray(table["y"])
    assert np.corrcoef(pace, y)[0, 1] > 0.5


def test_golden_rows_hold_series():
    batch = coerce(pa.table({"s": pa.array(STEPS, pa.list_(pa.list_(pa.float64())))}), {"s": "series"}).batch
    held = json.loads(json.dumps(to_cells(batch, {"s": "series"})))
    back = to_batch(held, {"s": "series"})["s"]
    for cell, expected in zip(back, batch["s"], strict=True):
        np.testing.assert_array_equal(cell, expected)
    assert series_cell(np.arange(5, dtype=np.float32)[:, None], 2) == [[3.0], [4.0]]

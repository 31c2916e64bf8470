"""Rows in whatever form people hold them."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from hybrid_ray.data.columns import to_table
from hybrid_ray.errors import DataError

COLUMNS = {"a": [1, 2, None], "b": ["x", None, "z"], "c": [0.5, 1.5, 2.5]}


@pytest.mark.parametrize(
    "rows",
    [
        pa.table(COLUMNS),
        pa.RecordBatch.from_pydict(COLUMNS),
        pd.DataFrame(COLUMNS),
        pd.DataFrame(COLUMNS).convert_dtypes(),
        pd.DataFrame(COLUMNS).astype(object),
        pl.DataFrame(COLUMNS),
        COLUMNS,
        {"a": np.array([1, 2, np.nan]), "b": pd.Series(["x", None, "z"]), "c": pl.Series([0.5, 1.5, 2.5])},
        {"a": (1, 2, np.nan), "b": np.array(["x", None, "z"], object), "c": pa.array([0.5, 1.5, 2.5])},
        [{"a": 1, "b": "x", "c": 0.5}, {"a": 2, "c": 1.5}, {"b": "z", "c": np.float64(2.5)}],
        [{"a": 1, "b": "x", "c": 0.5}, {"a": 2, "b": pd.NA, "c": 1.5}, {"a": float("nan"), "b": "z", "c": 2.5}],
    ],
    ids=lambda rows: f"{type(rows).__module__}.{type(rows).__name__}",
)
def test_the_same_rows_in_every_form(rows):
    table = to_table(rows)
    assert table.column_names == ["a", "b", "c"]
    assert [v if v == v else None for v in table["a"].to_pylist()] == COLUMNS["a"]
    assert table["b"].to_pylist() == COLUMNS["b"]
    assert table["c"].to_pylist() == COLUMNS["c"]


def test_mixed_values_become_text():
    table = to_table({"m": [1, "one", None, True, 0.5], "ok": [1, 2, 3, 4, 5]})
    assert table["m"].to_pylist() == ["1", "one", None, "true", "0.5"]
    assert table["ok"].type == pa.int64()
    assert to_table(pd.DataFrame({"m": [1, "one"]}))["m"].to_pylist() == ["1", "one"]


def test_images_become_png():
    pixels = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    for images in (pixels, pixels[..., None], [Image.fromarray(p) for p in pixels], np.stack([pixels] * 3, axis=-1)):
        column = to_table({"photo": images})["photo"]
        assert column.type == pa.binary()
        assert all(v.startswith(b"\x89PNG") for v in column.to_pylist())
    assert to_table({"photo": [b"raw", None]})["photo"].to_pylist() == [b"raw", None]


def test_pixels_must_be_bytes():
    with pytest.raises(DataError, match=r"rows.photo: pixels must be uint8 \(0 to 255\); got float64"):
        to_table({"photo": np.zeros((1, 2, 2))})


def test_dates_stay_dates():
    assert pa.types.is_timestamp(to_table(pd.DataFrame({"d": pd.to_datetime(["2020-01-01"])}))["d"].type)
    assert to_table([{"d": dt.date(2020, 1, 1)}])["d"].type == pa.date32()


def test_columns_must_be_equally_long():
    with pytest.raises(DataError, match=r"every column must have the same length; got \{'a': 1, 'b': 2\}"):
        to_table({"a": [1], "b": [1, 2]})


@pytest.mark.parametrize("rows", [5, "a,b", [1, 2], np.zeros((2, 2))])
def test_other_things_are_no_rows(rows):
    with pytest.raises(DataError, match=r"rows: must be a pandas, polars or pyarrow table"):
        to_table(rows)

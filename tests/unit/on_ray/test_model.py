"""Rows for a model: of a table as it lies, or cut from points as the model learned them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.errors import DataError
from hybrid_ray.on_ray.model import open_rows


def written(folder: Path, **columns: list[Any]) -> str:
    path = folder / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return str(path)


def learned_from(**facts: dict[str, Any]) -> Any:
    """What of a graph is looked at."""
    return SimpleNamespace(label="y", info=facts)


WINDOWS = learned_from(windows={"time": "t", "channels": ["a"], "length": 3})


def test_points_are_cut_into_windows_of_which_none_is_held_out(tmp_path: Path) -> None:
    data = written(tmp_path, t=list(range(9)), a=[0.0] * 9, y=[0, 1, 0] * 3, split=["train"] * 6 + ["test"] * 3)
    for training in (True, False):
        rows = open_rows(WINDOWS, data, training=training)
        assert (rows.n_rows, rows.schema.names) == (3, ["t", "window", "y"])


def test_a_table_of_windows_holds_rows_already(tmp_path: Path) -> None:
    rows = open_rows(WINDOWS, written(tmp_path, window=[[[0.0]] * 3] * 2), training=False)
    assert (rows.n_rows, rows.schema.names) == (2, ["window"])


def test_points_to_score_must_have_a_label(tmp_path: Path) -> None:
    data = written(tmp_path, t=list(range(9)), a=[0.0] * 9)
    assert open_rows(WINDOWS, data, training=False).n_rows == 3
    with pytest.raises(DataError, match=r"data.label: must be a column of the points; got 'y'"):
        open_rows(WINDOWS, data, training=True)


def test_a_table_of_histories_holds_rows_already(tmp_path: Path) -> None:
    graph = learned_from(series={"time": "t", "horizon": 2})
    assert open_rows(graph, written(tmp_path, history=[[1.0, 2.0]] * 4), training=False).n_rows == 4
    assert open_rows(graph, written(tmp_path, t=[1, 2, 3], y=[1.0, 2.0, 3.0]), training=False).n_rows == 1


def test_other_models_read_tables_as_they_lie(tmp_path: Path) -> None:
    data = written(tmp_path, t=[1, 2, 3], a=[0.0] * 3)
    assert open_rows(learned_from(), data, training=False).schema.names == ["t", "a"]

"""Rows for a model: of a table as it lies, or cut from points as the model learned them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.rows import read_columns, read_labels
from hybrid_ray.data.scored import scoring_facts
from hybrid_ray.data.source import open_source
from hybrid_ray.errors import DataError
from hybrid_ray.on_ray.explain import _measured
from hybrid_ray.on_ray.model import open_rows
from hybrid_ray.spec import DataSpec


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


SERIES = {"time": "t", "horizon": 3, "season": 1, "min_history": 4}


def scored(graph: Any, data: str) -> list[float]:
    """The first number that is compared with a forecast, of each row."""
    rows = open_rows(graph, data, training=True)
    assert not read_labels(rows, "y", "forecasting", None).missing.any()
    return [cell[0] for cell in read_columns(rows, ["y"])["y"].to_pylist()]


def series(folder: Path, **columns: list[Any]) -> str:
    n = len(next(iter(columns.values())))
    return written(folder, t=list(range(n)), y=[float(t) for t in range(n)], **columns)


@pytest.mark.parametrize("column", ["split", "part"])
def test_points_to_score_need_none_to_learn_from(tmp_path: Path, column: str) -> None:
    graph = learned_from(series=SERIES, split_column=column)
    assert scored(graph, series(tmp_path, **{column: ["test"] * 11})) == [6.0]
    assert scored(graph, series(tmp_path, **{column: ["train"] * 4 + ["test"] * 7})) == [4.0, 7.0]
    assert scored(graph, series(tmp_path, **{column: ["train"] * 5 + ["val"] * 3})) == [5.0]


def test_points_that_no_column_divides_are_scored_at_their_end(tmp_path: Path) -> None:
    plain = series(tmp_path, other=[0] * 9)
    assert scored(learned_from(series=SERIES), plain) == [6.0]
    assert scored(learned_from(series=SERIES, split_column="part"), plain) == [6.0]
    rows = open_rows(learned_from(series=SERIES), series(tmp_path, split=["train"] * 9), training=True)
    assert rows.about["notes"] == ["No point is named a test point: the last 3 of each series are scored."]
    assert rows.n_rows == 1
    with pytest.raises(DataError, match="some series must hold 4 steps, and 3 more that are compared"):
        open_rows(learned_from(series=SERIES), series(tmp_path, split=["test"] * 6), training=True)


def test_one_table_serves_training_and_rows_to_predict(tmp_path: Path) -> None:
    ahead = {"y": [*map(float, range(12)), None, None], "split": ["train"] * 9 + ["test"] * 3 + [None] * 2}
    data = written(tmp_path, t=list(range(14)), price=[1.0] * 14, **ahead)
    graph = learned_from(series=SERIES | {"covariates": {"known": ["price"]}})
    taught = open_source(DataSpec.model_validate({"path": data, "label": "y", "series": graph.info["series"]}))
    assert read_columns(taught, ["split"])["split"].to_pylist() == ["train", "test"]
    assert scored(graph, data) == [9.0]
    asked = open_rows(graph, data, training=False)
    assert read_columns(asked, ["t"])["t"].to_pylist() == [11]


def test_series_that_cannot_be_scored_are_told(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"s": [], "t": [], "y": [], "part": []}
    for name, n_steps, n_tested in (("a", 9, 3), ("b", 6, 3), ("c", 9, 2), ("d", 9, 0)):
        columns["s"] += [name] * n_steps
        columns["t"] += range(n_steps)
        columns["y"] += map(float, range(n_steps))
        columns["part"] += ["train"] * (n_steps - n_tested) + ["test"] * n_tested
    graph = learned_from(series=SERIES | {"id": "s"}, split_column="part")
    found = open_rows(graph, written(tmp_path, **columns), training=True)
    assert read_columns(found, ["s"])["s"].to_pylist() == ["a"]
    assert [note[:49] for note in found.about["notes"]] == [
        "1 of 4 series have fewer than 4 steps before thos",
        "1 of 4 series have fewer than 3 test points: they",
        "1 of 4 series have no test points, where a column",
    ]


def test_a_table_is_scored_whole_whatever_its_split_says(tmp_path: Path) -> None:
    data = written(tmp_path, a=[0.0] * 4, y=[0, 1, 0, 1], split=["test"] * 4)
    assert open_rows(learned_from(), data, training=True).n_rows == 4


VOTES = {"ann": ["x", "y", None, "y"], "ben": ["x", "x", None, "y"], "cleo": ["x", "y", None, "new"]}


def annotated(**facts: Any) -> Any:
    data = DataSpec(path="", label="y", annotators=tuple(VOTES), consensus="majority")
    return SimpleNamespace(
        label="y", info=scoring_facts(data) | facts, task="binary", classes=["x", "y"], columns={"a": "numeric"}
    )


def test_the_consensus_of_a_file_is_what_its_rows_are_scored_by(tmp_path: Path) -> None:
    rows = open_rows(annotated(), written(tmp_path, a=[0.0] * 4, **VOTES), training=True)
    found = read_labels(rows, "y", "binary", ["x", "y"])
    assert found.y.tolist() == [0, 1, -1, 1], "a label that the model does not know is no vote"
    assert found.missing.tolist() == [False, False, True, False]
    assert rows.about["notes"] == ["The label is the consensus (majority) of 'ann', 'ben', 'cleo'."]
    assert open_rows(annotated(), written(tmp_path, a=[0.0]), training=False).data.annotators == ()


def test_of_annotators_those_count_who_are_there(tmp_path: Path) -> None:
    rows = open_rows(annotated(), written(tmp_path, a=[0.0] * 4, ben=VOTES["ben"]), training=True)
    assert read_labels(rows, "y", "binary", ["x", "y"]).y.tolist() == [0, 0, -1, 1]
    with pytest.raises(DataError, match=r"made of one or more of the annotators' \['ann', 'ben', 'cleo'\]; got 'y'"):
        open_rows(annotated(), written(tmp_path, a=[0.0] * 4), training=True)


def test_a_column_of_the_label_is_the_truth(tmp_path: Path) -> None:
    rows = open_rows(annotated(), written(tmp_path, a=[0.0] * 4, y=["y", "x", "x", None], **VOTES), training=True)
    assert read_labels(rows, "y", "binary", ["x", "y"]).y.tolist() == [1, 0, 0, -1]
    assert "notes" not in rows.about


def test_votes_are_read_as_the_classes_are(tmp_path: Path) -> None:
    graph = annotated()
    graph.classes = ["1", "2"]
    rows = open_rows(
        graph, written(tmp_path, a=[0.0] * 2, ann=["1", "2"], ben=[1, 2], cleo=[None, None]), training=True
    )
    assert read_labels(rows, "y", "binary", graph.classes).y.tolist() == [0, 1]
    rows = open_rows(graph, written(tmp_path, a=[0.0] * 2, ann=["1", "0"], ben=[True, False]), training=True)
    assert read_labels(rows, "y", "binary", [False, True]).y.tolist() == [1, 0]


@pytest.mark.parametrize("how", ["majority", "dawid_skene"])
def test_a_file_that_nobody_labelled_has_no_label(tmp_path: Path, how: str) -> None:
    data = written(tmp_path, a=[0.0] * 2, ann=["new", None], ben=[None, None])
    rows = open_rows(annotated(consensus=how), data, training=True)
    assert read_labels(rows, "y", "binary", ["x", "y"]).missing.all()


def test_what_is_explained_has_the_consensus_of_all_rows(tmp_path: Path) -> None:
    graph, data = annotated(metric="accuracy"), written(tmp_path, a=[0.0, 1.0, 2.0, 3.0], **VOTES)
    rows = open_rows(graph, data, training=True)
    chosen = np.array([1, 2, 3])
    batch, y, _, known = _measured(graph, read_columns(rows, ["a"]).take(pa.array(chosen)), rows, chosen, data)
    assert (batch["a"].tolist(), y.tolist()) == ([1.0, 3.0], [1, 1])
    assert known.tolist() == [0, 2]

"""Windows of points: what they hold, what they are called, and that none is on both sides of a split."""

import itertools
from collections import OrderedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.rows import read_rows, read_tied
from hybrid_ray.data.source import open_source, read_piece
from hybrid_ray.errors import BadInputError, DataError
from hybrid_ray.infer import resolve_spec
from hybrid_ray.spec import TargetSpec, load_spec

WINDOWS = {"id": "machine", "time": "t", "channels": ["a", "b"], "length": 4}


def points(lengths, label=None, **columns):
    """Series of these lengths in a shuffled table: ``a`` is 1,000 times the number of the series and the step."""
    rows = [(f"m{i}", t, 1000.0 * i + t, -float(t)) for i, n in enumerate(lengths) for t in range(n)]
    table = pa.table(dict(zip(("machine", "t", "a", "b"), map(list, zip(*rows, strict=True)), strict=True)))
    table = table.append_column("y", pa.array(label if label is not None else [t % 2 for _, t, *_ in rows]))
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table.take(np.random.default_rng(0).permutation(len(table)))


def spec_of(tmp_path, table, data=None, **windows):
    pq.write_table(table, tmp_path / "points.parquet")
    asked = {"path": str(tmp_path / "points.parquet"), "label": "y", "windows": WINDOWS | windows}
    return load_spec({"name": "w", "data": asked | (data or {})})


def rows_of(spec, training=True):
    source = open_source(spec.data, training=training)
    tables = [t for piece in source.pieces for t in read_piece(source, piece, source.schema.names, 7)]
    return source, pa.concat_tables(tables).to_pylist()


def held(row):
    """The points that a row was made of."""
    return {step[0] for step in row["window"]}


def test_windows_hold_each_channel_and_end_with_the_series(tmp_path):
    source, rows = rows_of(spec_of(tmp_path, points([10, 3, 9])), training=False)
    assert source.schema.names == ["machine", "t", "window", "y"]
    rows.sort(key=lambda row: row["window"][0])
    assert [(row["machine"], row["t"]) for row in rows] == [("m0", 5), ("m0", 9), ("m2", 4), ("m2", 8)]
    assert rows[0]["window"] == [[2.0, -2.0], [3.0, -3.0], [4.0, -4.0], [5.0, -5.0]]
    assert [row["y"] for row in rows] == [1, 1, 0, 0]
    assert source.about["notes"] == ["1 series have fewer than 4 steps: they are left out."]


def test_windows_may_overlap(tmp_path):
    _, rows = rows_of(spec_of(tmp_path, points([9]), step=2), training=False)
    assert [[int(step[0]) for step in row["window"]] for row in rows] == [[1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 8]]


def test_a_step_without_a_point_is_a_gap(tmp_path):
    table = points([9])
    spec = spec_of(tmp_path, table.filter(pa.array([t not in (3, 8) for t in table["t"].to_pylist()])), step=1)
    source, rows = rows_of(spec, training=False)
    assert [row["t"] for row in rows] == [2, 4, 5, 6, 7], "3 is a gap: what is known is up to 2"
    assert np.isnan(rows[0]["window"][3]).all()
    assert rows[0]["y"] == 0, "that of the last point there is"
    assert source.about["notes"] == ["1 steps have no point: no channel has a number there."]
    _, rows = rows_of(
        spec_of(tmp_path, table.filter(pa.array([t != 3 for t in table["t"].to_pylist()])), steps="points")
    )
    assert [row["t"] for row in rows] == [4, 8]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("step", [1, 4])
def test_a_window_in_a_gap_is_no_row(tmp_path, training, step):
    table = points([80])
    kept = pa.array([not 20 <= t < 40 for t in table["t"].to_pylist()])
    source, rows = rows_of(spec_of(tmp_path, table.filter(kept), step=step), training)
    assert all(np.isfinite(row["window"]).any() for row in rows)
    assert all(row["y"] is not None for row in rows)
    gone = {1: 17, 4: 5}[step]
    assert f"{gone} windows lie in a gap without a single point: they are left out." in source.about["notes"]
    if training:
        left_out = [int(note.split()[0]) for note in source.about["notes"] if note.endswith("left out.")]
        assert len(rows) + sum(left_out) == len(range(80, 3, -step))
        test = [row for row in rows if row["split"] == "test"]
        assert len(test) == round(0.2 * (len(range(80, 3, -step)) - gone)), "a share of the windows that there are"


def test_the_role_and_the_label_of_a_window_are_of_one_point(tmp_path):
    table = points([40], split=["train"] * 24 + ["test"] * 16).filter(
        pa.array([t != 23 for t in points([40])["t"].to_pylist()])
    )
    _, rows = rows_of(spec_of(tmp_path, table, step=4))
    (row,) = [row for row in rows if row["t"] == 22]
    assert (row["split"], row["y"]) == ("train", 0)


@pytest.mark.parametrize(
    ("rule", "label", "expected"),
    [
        ("last", ["x", "y", "x", "y"], "y"),
        ("last", ["x", "y", "x", None], None),
        ("most", ["x", "y", "y", "x"], "x"),
        ("most", ["y", "y", "x", "z"], "y"),
        ("most", ["x", None, None, None], "x"),
        ("most", [None] * 3 + ["z"], "z"),
        ("max", [0, 1, 0, 0], 1),
        ("max", [False, True, None, False], True),
        ("max", [0.5, None, 2.5, 1.0], 2.5),
    ],
)
def test_a_window_has_the_label_of_one_of_its_points(tmp_path, rule, label, expected):
    _, (row,) = rows_of(spec_of(tmp_path, points([4], label), label=rule), training=False)
    assert row["y"] == expected
    assert type(row["y"]) is type(expected)


def test_rows_to_predict_need_no_label(tmp_path):
    source, rows = rows_of(spec_of(tmp_path, points([8]).drop_columns("y")), training=False)
    assert source.schema.names == ["machine", "t", "window"]
    assert len(rows) == 2


@pytest.mark.parametrize("lengths", [[200], [90, 60], [40] * 6])
@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_no_point_is_on_both_sides_of_a_split_over_time(tmp_path, lengths, step):
    spec = spec_of(tmp_path, points(lengths), {"split": {"test": 0.25}}, step=step)
    source, rows = rows_of(spec)
    every = sum(len(range(n, 3, -step)) for n in lengths)
    test = [held(row) for row in rows if row["split"] == "test"]
    assert 0.2 <= len(test) / every <= 0.3
    assert len(rows) > 0.65 * every
    told = [int(note.split()[0]) for note in source.about["notes"]]
    assert len(rows) + sum(told) == every
    parts = [set.union(*test)]
    training = sorted((row for row in rows if row["split"] == "train"), key=lambda row: row["block"])
    parts += [set.union(*map(held, own)) for _, own in itertools.groupby(training, lambda row: row["block"])]
    assert len(parts) > 3
    for left, right in itertools.combinations(parts, 2):
        assert not left & right
    for machine in {row["machine"] for row in rows}:
        own = [row for row in rows if row["machine"] == machine]
        assert max(row["t"] for row in own if row["split"] == "train") < min(
            row["t"] - 3 for row in own if row["split"] == "test"
        )


def test_folds_are_blocks_of_time(tmp_path):
    spec = spec_of(tmp_path, points([200, 200], [i // 10 % 2 for i in range(400)]), step=1)
    source, rows = rows_of(spec)
    found = read_rows(spec.data, TargetSpec(), source, "binary", 4, 0)
    assert sorted(set(found.split.fold.tolist())) == [-1, 0, 1, 2, 3]
    np.testing.assert_array_equal(found.split.test, [row["split"] == "test" for row in rows])
    folds = [set.union(*[held(rows[i]) for i in np.flatnonzero(found.split.fold == k)]) for k in range(4)]
    assert not any(left & right for left, right in itertools.combinations(folds, 2))


@pytest.mark.parametrize("step", [1, 3, 4, 6])
@pytest.mark.parametrize("lengths", [[200], [90, 60], [40] * 6])
def test_test_windows_go_together_by_stretches_of_which_only_neighbours_share_points(tmp_path, lengths, step):
    label = [i // 7 % 2 for i in range(sum(lengths))]
    spec = spec_of(tmp_path, points(lengths, label), {"split": {"test": 0.4}}, step=step)
    source, rows = rows_of(spec)
    found = read_rows(spec.data, TargetSpec(), source, "binary", 2, 0)
    test = [row for row in rows if row["split"] == "test"]
    assert len(found.tied) == len(test)
    groups = {}
    for row, group in zip(test, found.tied.tolist(), strict=True):
        groups.setdefault((row["machine"], group), []).append(row)
    assert len(groups) == len(set(found.tied.tolist())), "none is of two series"
    assert len(lengths) < len(groups) < 20 + len(lengths)
    for machine in {row["machine"] for row in test}:
        own = [set.union(*map(held, group)) for (of, _), group in groups.items() if of == machine]
        assert not any(left & right for left, right in zip(own, own[2:], strict=False))
        assert [max(each) for each in own] == sorted(max(each) for each in own), "one after another"
    training = {row["block"] for row in rows if row["split"] == "train"}
    assert not training & {row["block"] for row in test}


def test_test_windows_of_series_that_are_held_out_whole_go_together(tmp_path):
    for lengths, asked in (([12] * 25, {}), ([40] * 6, {"holdout": "series"})):
        spec = spec_of(tmp_path, points(lengths), step=1, **asked)
        source, rows = rows_of(spec)
        found = read_rows(spec.data, TargetSpec(), source, "binary", 3, 0)
        machines = [rows[i]["machine"] for i in found.test_rows]
        pairs = set(zip(machines, found.tied.tolist(), strict=True))
        assert len(pairs) == len(set(machines)) == len(set(found.tied.tolist())) > 0


@pytest.mark.parametrize("step", [1, 4])
def test_windows_of_a_file_go_together_as_those_of_a_test(tmp_path, step):
    spec = spec_of(tmp_path, points([200, 100]), step=step)
    source, rows = rows_of(spec, training=False)
    scored = np.arange(5, len(rows))
    tied = read_tied(source, "machine", scored)
    pairs = set(zip([rows[i]["machine"] for i in scored], tied.tolist(), strict=True))
    assert len(pairs) == len(set(tied.tolist())) == 20
    assert (np.diff(tied) != 0).sum() == 19, "one stretch of time after another"


def test_many_series_are_held_out_whole(tmp_path):
    spec = spec_of(tmp_path, points([12] * 25), step=1)
    source, rows = rows_of(spec)
    assert (source.schema.names, len(rows)) == (["machine", "t", "window", "y", "block"], 25 * 9)
    split = read_rows(spec.data, TargetSpec(), source, "binary", 5, 0).split
    assert split.kind == "grouped"
    parts = {}
    for row, part in zip(rows, np.where(split.test, 9, split.fold), strict=True):
        parts.setdefault(row["machine"], set()).add(int(part))
    assert all(len(part) == 1 for part in parts.values())
    assert set.union(*parts.values()) == {0, 1, 2, 3, 4, 9}


def test_few_series_are_held_out_whole_where_that_is_asked(tmp_path):
    spec = spec_of(tmp_path, points([40] * 6), step=1, holdout="series")
    split = read_rows(spec.data, TargetSpec(), open_source(spec.data), "binary", 3, 0).split
    assert (split.kind, len(split.fold)) == ("grouped", 6 * 37)


def test_the_points_may_say_what_is_for_the_final_score(tmp_path):
    table = points([40, 40], part=["train"] * 30 + ["test"] * 10 + ["train"] * 20 + ["test"] * 20)
    source, rows = rows_of(spec_of(tmp_path, table, {"split": {"column": "part"}}, step=1))
    test = {(row["machine"], row["t"]) for row in rows if row["split"] == "test"}
    assert test == {("m0", t) for t in range(30, 40)} | {("m1", t) for t in range(20, 40)}, "looking back is no fault"
    seen = {role: {step for row in rows if row["split"] == role for step in held(row)} for role in ("train", "test")}
    assert not seen["train"] & seen["test"], "what they look back on is not learned from"
    assert "6 training windows overlap with the test part: they are left out." in source.about["notes"]


def test_training_windows_that_hold_test_points_are_left_out_and_told(tmp_path):
    table = points([60], split=["train"] * 20 + ["test"] * 10 + ["train"] * 30)
    source, rows = rows_of(spec_of(tmp_path, table, step=1))
    training = [row["t"] for row in rows if row["split"] == "train"]
    assert not set(training) & {17, 18, 19, 30, 31, 32}, "nor what test windows look back on"
    assert {29, 20} < {row["t"] for row in rows if row["split"] == "test"}
    assert "6 training windows overlap with the test part: they are left out." in source.about["notes"]


def test_a_spec_with_windows_is_resolved(tmp_path):
    spec = spec_of(tmp_path, points([200]), {"split": {"test": 0.3}}, step=1)
    resolved = resolve_spec(spec, open_source(spec.data)).spec
    assert (resolved.task, resolved.data.columns) == ("binary", {"window": "series"})
    assert {entry.columns for entry in resolved.extractors} == {("window",)}
    again = load_spec(resolved.model_dump(mode="json"))
    assert again.data.windows == spec.data.windows
    assert open_source(again.data).digest == open_source(spec.data).digest


def test_columns_that_nothing_is_made_of_are_named(tmp_path):
    source, _ = rows_of(spec_of(tmp_path, points([40], note=["x"] * 40)))
    assert source.about["notes"][-1] == (
        "Columns that are not read: 'note'; data.windows.channels names those that windows hold."
    )


@pytest.mark.parametrize(
    ("data", "windows", "message"),
    [
        ({"series": {"time": "t", "horizon": 2}}, {}, "`series` must be left out beside `windows`"),
        ({"drop": ["b"]}, {}, "`drop` must be left out beside `windows`"),
        ({"columns": {"a": "numeric"}}, {}, "`columns` must be left out beside `windows`"),
        ({"split": {"kind": "random"}}, {}, r"`split.kind` must be auto or column beside `windows`; got 'random'"),
        ({"split": {"kind": "column", "together": "a"}}, {}, "`split.together` must be left out beside `windows`"),
        ({}, {"channels": ["a", "y"]}, r"`windows.channels\[1\]` must name a column that is nothing else; got 'y'"),
        ({}, {"channels": ["a", "a"]}, r"got 'a', which is `windows.channels\[0\]` too"),
        ({}, {"channels": []}, "windows.channels"),
        ({}, {"length": 1}, "windows.length"),
    ],
)
def test_what_does_not_go_with_windows_is_refused(tmp_path, data, windows, message):
    with pytest.raises(BadInputError, match=message):
        spec_of(tmp_path, points([20]), data, **windows)


@pytest.mark.parametrize(
    ("table", "windows", "message"),
    [
        (points([20]), {"channels": ["a", "c"]}, r"data.windows.channels\[1\]: must be a column; got 'c'"),
        (points([20]), {"channels": ["word"]}, r"data.windows.channels\[0\]: must hold numbers, or true and false"),
        (points([20]), {"time": "word"}, r"data.windows.time: must be numbers or dates"),
        (points([20]), {"length": 21}, r"data.windows.length: some series must have as many steps; got 21"),
        (points([20], ["x"] * 20), {"label": "max"}, "data.label: .*must be numbers"),
        (points([20]).rename_columns(["window", "t", "a", "b", "y"]), {"id": "window"}, "must not be named like"),
        (points([20]).rename_columns(["m", "row", "a", "b", "y"]), {"id": "m", "time": "row"}, "got 'row'. Rename it"),
        (points([20]).rename_columns(["error", "t", "a", "b", "y"]), {"id": "error"}, "got 'error'. Rename it"),
    ],
)
def test_points_that_cannot_be_cut_are_refused(tmp_path, table, windows, message):
    spec = spec_of(tmp_path, table.append_column("word", pa.array(["x"] * len(table))), **windows)
    with pytest.raises(DataError, match=message):
        open_source(spec.data)


def test_points_are_opened_once(tmp_path, monkeypatch):
    source = open_source(spec_of(tmp_path, points([40, 30]), step=1).data)
    names = source.schema.names
    whole = pa.concat_tables([t for piece in source.pieces for t in read_piece(source, piece, names, 7)])

    def opened_again(*args, **options):
        raise AssertionError("points are open already")

    monkeypatch.setattr("hybrid_ray.data.source.open_source", opened_again)
    monkeypatch.setattr("hybrid_ray.data.cuts._KEPT", OrderedDict())
    again = pa.concat_tables([t for p in source.pieces for t in read_piece(source.bare(), p, names, 7)])
    assert again.equals(whole)


@pytest.mark.parametrize("rule", ["last", "most", "max"])
def test_labels_that_are_not_there_yet_are_missing(tmp_path, rule):
    table = points([40])
    table = table.set_column(table.column_names.index("y"), "y", pa.nulls(len(table)))
    _, rows = rows_of(spec_of(tmp_path, table, label=rule), training=False)
    assert {row["y"] for row in rows} == {None}


def test_a_series_may_be_what_is_to_be_told(tmp_path):
    source, rows = rows_of(spec_of(tmp_path, points([40, 40]), {"label": "machine"}))
    assert source.schema.names.count("machine") == 1
    assert {row["machine"] for row in rows} == {"m0", "m1"}
    assert all((row["window"][0][0] >= 1000) == (row["machine"] == "m1") for row in rows)


def test_series_without_a_window_do_not_count(tmp_path):
    _, rows = rows_of(spec_of(tmp_path, points([200, 200] + [3] * 25), step=1))
    assert {row["split"] for row in rows} == {"train", "test"}
    assert {row["machine"] for row in rows if row["split"] == "test"} == {"m0", "m1"}, (
        "two series are divided over time"
    )

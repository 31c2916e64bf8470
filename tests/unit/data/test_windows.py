import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.rows import read_labels, read_rows, read_tied
from hybrid_ray.data.source import open_source, read_piece
from hybrid_ray.errors import BadInputError, DataError
from hybrid_ray.forecasts import Came
from hybrid_ray.infer import resolve_spec
from hybrid_ray.spec import TargetSpec, load_spec

SERIES = {"id": "name", "time": "t", "horizon": 3, "season": 4, "origins": 2}


def points(lengths, split=False):
    """Series of these lengths, whose value is its step, in a shuffled table."""
    rows = [(f"s{i}", t, float(100 * i + t)) for i, n in enumerate(lengths) for t in range(n)]
    order = np.random.default_rng(0).permutation(len(rows))
    name, t, value = (list(column) for column in zip(*(rows[i] for i in order), strict=True))
    table = {"name": name, "t": t, "value": value}
    if split:
        last = {f"s{i}": n - 3 for i, n in enumerate(lengths)}
        table["split"] = ["test" if at >= last[own] else "train" for own, at in zip(name, t, strict=True)]
    return pa.table(table)


def spec_of(tmp_path, table, **series):
    pq.write_table(table, tmp_path / "points.parquet")
    data = {"path": str(tmp_path / "points.parquet"), "label": "value", "series": SERIES | series}
    return load_spec({"name": "f", "data": data})


def rows_of(spec, training=True):
    source = open_source(spec.data, training=training)
    tables = [t for piece in source.pieces for t in read_piece(source, piece, source.schema.names, 7)]
    return source, pa.concat_tables(tables).to_pylist()


@pytest.mark.parametrize("split", [True, False])
def test_rows_are_windows_whose_future_follows_their_history(tmp_path, split):
    source, rows = rows_of(spec_of(tmp_path, points([25, 30], split)))
    assert source.n_rows == len(rows) == 6
    for row in rows:
        assert row["value"] == [row["history"][-1] + step for step in (1, 2, 3)]
        assert row["t"] == row["history"][-1] % 100
    own = [row for row in rows if row["name"] == "s1"]
    assert [(row["split"], row["origin"], len(row["history"])) for row in own] == [
        ("train", 1, 21),
        ("train", 0, 24),
        ("test", -1, 27),
    ]


def test_no_training_row_sees_a_test_point(tmp_path):
    _, rows = rows_of(spec_of(tmp_path, points([25, 30], split=True), origins=5, step=1))
    first = {"s0": 22, "s1": 127}
    assert all(row["value"][-1] < first[row["name"]] for row in rows if row["split"] == "train")
    assert all(row["value"][0] == first[row["name"]] for row in rows if row["split"] == "test")


def test_origins_roll_over_many_test_points(tmp_path):
    table = points([40])
    split = pa.array(["test" if t >= 28 else "train" for t in table["t"].to_pylist()])
    _, rows = rows_of(spec_of(tmp_path, table.append_column("split", split), step=2))
    tested = [row for row in rows if row["split"] == "test"]
    assert [row["value"][0] for row in tested] == [28, 30, 32, 34, 36]
    assert all(row["history"][-1] + 1 == row["value"][0] for row in tested)
    assert max(row["value"][-1] for row in rows if row["split"] == "train") == 27


@pytest.mark.parametrize(
    ("lengths", "series", "groups"),
    [
        ([60] * 25, {}, 25),  # whole series
        ([60] * 6, {"folds": "series"}, 6),
        ([200], {"step": 1, "origins": 8}, 20),  # stretches of one
        ([200, 200], {"step": 3}, 20),
        ([40], {"step": 1, "origins": 8}, 4),  # of which each is three origins: a horizon
    ],
)
def test_origins_of_one_series_go_together(tmp_path, lengths, series, groups):
    table = points(lengths)
    roles = ["test" if p["t"] >= 0.6 * lengths[int(p["name"][1:])] else "train" for p in table.to_pylist()]
    table = table.append_column("split", pa.array(roles))
    spec = spec_of(tmp_path, table, **series)
    source, rows = rows_of(spec)
    found = read_rows(spec.data, TargetSpec(), source, "forecasting", 2, 0)
    names = [rows[i]["name"] for i in found.test_rows]
    assert len(names) > len(set(found.tied.tolist())) == groups
    assert len(set(zip(names, found.tied.tolist(), strict=True))) == groups, "none is of two series"
    # A file is read alike.
    tied = read_tied(source, "name", found.test_rows)
    assert np.unique(tied, return_inverse=True)[1].tolist() == np.unique(found.tied, return_inverse=True)[1].tolist()


def test_a_history_is_no_longer_than_asked(tmp_path):
    _, rows = rows_of(spec_of(tmp_path, points([30]), history=13))
    assert {len(row["history"]) for row in rows} == {13}


def test_series_that_are_too_short_are_left_out_and_told(tmp_path):
    source, rows = rows_of(spec_of(tmp_path, points([30, 8, 18])))
    assert {row["name"] for row in rows} == {"s0", "s2"}
    assert any("1 of 3 series are too short" in note for note in source.about["notes"])
    with pytest.raises(DataError, match=r"some series must hold 12 steps"):
        rows_of(spec_of(tmp_path, points([8, 9])))


def test_rows_to_predict_end_with_the_series(tmp_path):
    _, rows = rows_of(spec_of(tmp_path, points([25, 5])), training=False)
    assert sorted((row["name"], row["history"][-1], row["value"]) for row in rows) == [
        ("s0", 24, None),
        ("s1", 104, None),
    ]


def test_series_without_a_number_are_told_where_they_are_not_forecast(tmp_path):
    table = points([25, 5, 8])
    held = zip(table["name"].to_pylist(), table["value"].to_pylist(), strict=True)
    table = table.set_column(2, "value", pa.array([None if name == "s1" else value for name, value in held]))
    source, rows = rows_of(spec_of(tmp_path, table), training=False)
    assert sorted(row["name"] for row in rows) == ["s0", "s2"]
    assert source.about["notes"] == ["1 of 3 series hold no number: they are left out."]


def test_a_step_without_a_number_is_no_label(tmp_path):
    table = points([30])
    values = zip(table["t"].to_pylist(), table["value"].to_pylist(), strict=True)
    gone = pa.array([None if t == 28 else v for t, v in values])
    spec = spec_of(tmp_path, table.set_column(2, "value", gone))
    with pytest.raises(DataError, match="test row"):
        read_rows(spec.data, TargetSpec(), open_source(spec.data), "forecasting", 2, 0)


def test_folds_over_series_hold_out_whole_series(tmp_path):
    spec = spec_of(tmp_path, points([30] * 25))
    source, rows = rows_of(spec)
    read = read_rows(spec.data, TargetSpec(), source, "forecasting", 3, 0)
    fold_of = {}
    for row, fold in zip(rows, read.split.fold, strict=True):
        if fold >= 0:
            assert fold_of.setdefault(row["name"], fold) == fold
    assert set(fold_of.values()) == {0, 1, 2}
    assert (read.split.kind, read.split.forward, read.n_outputs) == ("grouped", False, 3)
    assert read.split.test.sum() == 25
    group_of = {}
    for row, group, fold in zip(rows, read.split.groups, read.split.fold, strict=True):
        assert (group < 0) == (fold < 0)
        assert fold < 0 or group_of.setdefault(row["name"], group) == group
    assert len(set(group_of.values())) == 25


def test_folds_over_time_are_blocks_of_origins(tmp_path):
    spec = spec_of(tmp_path, points([40, 44]), origins=4)
    source, rows = rows_of(spec)
    read = read_rows(spec.data, TargetSpec(), source, "forecasting", 5, 0)
    assert read.split.forward
    assert "4 origins allow 4 folds" in read.split.note
    for fold in range(1, 4):
        for name in ("s0", "s1"):
            own = [(r, f) for r, f in zip(rows, read.split.fold, strict=True) if r["name"] == name]
            held = [r["history"][-1] for r, f in own if f == fold]
            learned = [r["value"][-1] for r, f in own if 0 <= f < fold]
            assert max(learned) <= min(held)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_what_a_fold_over_time_is_learned_from_ends_where_it_begins(tmp_path, step):
    spec = spec_of(tmp_path, points([80]), origins=30 // step, step=step, folds="time")
    source, rows = rows_of(spec)
    fold = read_rows(spec.data, TargetSpec(), source, "forecasting", 3, 0).split.fold
    known = [len(row["history"]) for row in rows]
    last = [n + 3 for n in known]
    for held in range(1, fold.max() + 1):
        first = min(n for n, own in zip(known, fold, strict=True) if own == held)
        assert max(n for n, own in zip(last, fold, strict=True) if 0 <= own < held) <= first
    left_out = (fold < 0) & np.array([row["split"] == "train" for row in rows])
    assert left_out.sum() == 2 * (-(-3 // step) - 1)


def test_origins_that_all_overlap_are_too_few(tmp_path):
    spec = spec_of(tmp_path, points([80]), origins=5, step=1, folds="time")
    with pytest.raises(DataError, match=r"data\.series\.origins: 6 origins, and 4 rows, or more"):
        read_rows(spec.data, TargetSpec(), rows_of(spec)[0], "forecasting", 3, 0)


@pytest.mark.parametrize(
    ("n_series", "folds", "members"), [(3, "auto", "refit"), (25, "auto", "bag"), (25, "time", "refit")]
)
def test_what_was_learned_over_time_is_learned_again_up_to_its_end(tmp_path, n_series, folds, members):
    spec = spec_of(tmp_path, points([40] * n_series), folds=folds)
    assert resolve_spec(spec, open_source(spec.data)).spec.graph.members == members


def test_labels_hold_what_plain_methods_say(tmp_path):
    spec = spec_of(tmp_path, points([30]), folds="time", origins=4)
    source, rows = rows_of(spec)
    came = Came.of(read_rows(spec.data, TargetSpec(), source, "forecasting", 2, 0).target.y)
    np.testing.assert_array_equal(came.values, [row["value"] for row in rows])
    np.testing.assert_array_equal(came.last[:, 0], [row["history"][-1] for row in rows])
    np.testing.assert_array_equal(came.scale, 4)
    labels = read_labels(source, "value", "forecasting", None)
    assert labels.missing.tolist() == [True] * 4 + [False]


def test_a_spec_with_series_is_resolved_for_forecasting(tmp_path):
    spec = spec_of(tmp_path, points([30] * 4))
    resolved = resolve_spec(spec, open_source(spec.data)).spec
    assert (resolved.task, resolved.search.metric) == ("forecasting", "mase")
    assert resolved.data.columns == {"history": "series"}
    assert {e.params.horizon for e in resolved.extractors} == {3}
    assert {e.params.season for e in resolved.extractors} == {4}
    again = load_spec(resolved.model_dump(mode="json"))
    assert again.data.series == spec.data.series


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data.series.step_length": 1.0, "data.series.steps": "points"}, "which have no length"),
        ({"data.series.step_length": 1.0, "data.series.resample": {"every": 2.0}}, "beside `resample`"),
        ({"data.series.step_length": "1 day"}, "must be a number and one of s, min"),
        ({"task": "regression"}, "must be forecasting where data.series"),
        ({"extractors": ["series_stats"]}, "must be a forecaster"),
        ({"data.split.kind": "random"}, "must be auto or column beside `series`"),
        ({"data.drop": ["t"]}, "must be left out beside `series`"),
        ({"search.metric": "r2"}, "r2"),
    ],
)
def test_what_does_not_go_with_series_is_refused(tmp_path, changed, message):
    spec = spec_of(tmp_path, points([30] * 4)).model_dump(mode="json", exclude_defaults=True)

    def resolved():
        asked = load_spec(spec, changed)
        return resolve_spec(asked, open_source(asked.data))

    with pytest.raises(BadInputError, match=message):
        resolved()


@pytest.mark.parametrize(("where", "name"), [("time", "row"), ("id", "prediction"), ("id", "low_80")])
@pytest.mark.parametrize("training", [True, False])
def test_a_column_that_answers_are_written_under_is_refused_before_training(tmp_path, where, name, training):
    renamed = {SERIES[where]: name}
    table = points([30]).rename_columns([renamed.get(column, column) for column in ("name", "t", "value")])
    spec = spec_of(tmp_path, table, **{where: name})
    with pytest.raises(DataError, match=rf"data.series.{where}: must not be named .* written under; got '{name}'. Ren"):
        open_source(spec.data, training=training)


def test_a_column_that_is_not_there_is_named(tmp_path):
    spec = spec_of(tmp_path, points([30]), time="when")
    with pytest.raises(DataError, match=r"data.series.time: must be a column; got 'when'"):
        open_source(spec.data)


# -------------------------------------------------------------------------------------------------- covariates

BESIDE = {"covariates": {"known": ["promo"], "observed": ["temp"]}}


def told_points(lengths, ahead=0):
    """The same points with covariates that are told by the step; rows after the last value where ``ahead``."""
    rows = [
        (f"s{i}", t, float(100 * i + t) if t < n else None, t % 3 == 0, float(-t) if t < n else None)
        for i, n in enumerate(lengths)
        for t in range(n + ahead)
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    columns = zip(*(rows[i] for i in order), strict=True)
    return pa.table(dict(zip(("name", "t", "value", "promo", "temp"), map(list, columns), strict=True)))


def test_rows_hold_covariates_up_to_the_origin_and_known_ones_ahead(tmp_path):
    source, rows = rows_of(spec_of(tmp_path, told_points([25, 30]), history=13, **BESIDE))
    assert len(rows) == 6
    for row in rows:
        first = row["history"][0] % 100
        assert row["temp"] == [-(first + step) for step in range(13)]
        assert row["promo"] == [float((first + step) % 3 == 0) for step in range(16)]
    assert source.about["notes"] == []


def test_training_rows_end_with_the_last_value_where_rows_ahead_are_known(tmp_path):
    _, plain = rows_of(spec_of(tmp_path, told_points([25, 30]), **BESIDE))
    _, rows = rows_of(spec_of(tmp_path, told_points([25, 30], ahead=5), **BESIDE))
    assert [(r["name"], r["t"], r["split"], r["value"]) for r in sorted(rows, key=str)] == [
        (r["name"], r["t"], r["split"], r["value"]) for r in sorted(plain, key=str)
    ]


@pytest.mark.parametrize("ahead", [0, 2, 3, 8])
def test_rows_after_the_last_value_tell_what_is_known_ahead(tmp_path, ahead):
    source, rows = rows_of(spec_of(tmp_path, told_points([25, 5], ahead), **BESIDE), training=False)
    for row in rows:
        n = {"s0": 25, "s1": 5}[row["name"]]
        assert (row["t"], len(row["history"]), len(row["temp"]), len(row["promo"])) == (n - 1, n, n, n + 3)
        told = [float(t % 3 == 0) if t < n + ahead else np.nan for t in range(n + 3)]
        np.testing.assert_array_equal(row["promo"], told)
    lacking = 2 * max(3 - ahead, 0)
    told = [f"{lacking} of 6 steps ahead have no number of the covariate 'promo': the last one stands in"]
    assert [note.partition(". Rows")[0] for note in source.about["notes"]] == (told if lacking else [])


def test_without_known_covariates_a_series_ends_with_its_last_row(tmp_path):
    only = {"covariates": {"observed": ["temp"]}}
    for series in ({}, only):
        _, rows = rows_of(spec_of(tmp_path, told_points([25], ahead=2), **series), training=False)
        assert (rows[0]["t"], len(rows[0]["history"])) == (26, 27)


def test_gaps_of_covariates_are_missing_and_told(tmp_path):
    table = told_points([30])
    steps = zip(table["t"].to_pylist(), table["temp"].to_pylist(), strict=True)
    table = table.set_column(4, "temp", pa.array([None if t in (3, 4) else v for t, v in steps]))
    source, rows = rows_of(spec_of(tmp_path, table.filter(pa.array(t != 7 for t in table["t"].to_pylist())), **BESIDE))
    assert all(np.isnan([row["temp"][t] for t in (3, 4, 7)]).all() for row in rows)
    assert np.isnan(rows[0]["promo"][7])
    assert rows[0]["temp"][8] == -8
    assert any(note.startswith("3 steps have no number of the covariate 'temp'") for note in source.about["notes"])


def test_columns_that_nothing_is_made_of_are_named(tmp_path):
    source, _ = rows_of(spec_of(tmp_path, told_points([30])))
    assert source.about["notes"] == [
        "Columns that are not read: 'promo', 'temp'; data.series.covariates names those that forecasts are made from."
    ]
    source, _ = rows_of(spec_of(tmp_path, points([30], split=True)))
    assert source.about["notes"] == []


def test_rows_are_known_by_the_same_digest_where_there_are_no_covariates(tmp_path):
    spec = spec_of(tmp_path, points([30]))
    assert "covariates" not in spec.data.series.identity()
    plain = open_source(spec.data)
    assert plain.schema.names == ["name", "t", "history", "value", "origin", "split"]
    assert open_source(spec_of(tmp_path, told_points([30]), **BESIDE).data).digest != plain.digest


@pytest.mark.parametrize(
    ("covariates", "message"),
    [
        ({"known": ["offer"]}, r"data.series.covariates.known\[0\]: must be a column; got 'offer'"),
        (
            {"observed": ["temp", "name2"]},
            r"data.series.covariates.observed\[1\]: must hold numbers, or true and false; got 30 others in 'name2', "
            "'s0' say. Give a category",
        ),
        ({"known": ["listed"]}, r"covariates.known\[0\]: must hold numbers, or true and false; got a column of list"),
    ],
)
def test_covariates_that_cannot_be_read_are_refused(tmp_path, covariates, message):
    table = told_points([30]).append_column("listed", pa.array([[1.0]] * 30))
    table = table.append_column("name2", table["name"])
    with pytest.raises(DataError, match=message):
        open_source(spec_of(tmp_path, table, covariates=covariates).data)


@pytest.mark.parametrize(
    ("covariates", "message"),
    [
        ({"known": ["value"]}, r"`series.covariates.known\[0\]` must name a column .* 'value', which is `label` too"),
        ({"observed": ["name"]}, r"covariates.observed\[0\]` must .* got 'name', which is `series.id` too"),
        ({"known": ["t"]}, r"got 't', which is `series.time` too"),
        ({"known": ["promo", "promo"]}, r"known\[1\]` must .*'promo', which is `series.covariates.known\[0\]` too"),
        ({"known": ["a"], "observed": ["a"]}, r"observed\[0\]` must .*, which is `series.covariates.known\[0\]` too"),
        ({"known": ["history"]}, r"got 'history', which is the name of a column that rows of series get"),
        ({"ahead": ["promo"]}, r"data.series.covariates.ahead"),
    ],
)
def test_covariates_are_nothing_else(tmp_path, covariates, message):
    with pytest.raises(BadInputError, match=message):
        spec_of(tmp_path, told_points([30]), covariates=covariates)


def test_forecasters_that_read_covariates_get_them(tmp_path):
    asked = spec_of(tmp_path, told_points([30] * 4), **BESIDE)
    resolved = resolve_spec(asked, open_source(asked.data)).spec
    assert list(resolved.data.columns) == ["history", "promo", "temp"]
    read = {entry.name: entry.columns for entry in resolved.extractors}
    assert read["theta"] == read["arima"] == ("history",)
    assert read["autoregression"] == ("history", "promo", "temp")
    (own,) = [entry.params for entry in resolved.extractors if entry.name == "autoregression"]
    assert own.known == ("promo",)
    assert load_spec(resolved.model_dump(mode="json")).data.columns == resolved.data.columns


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "theta", "columns": ["history", "promo"]}, "must name 'history' alone for theta, which reads no"),
        ({"name": "autoregression", "columns": ["promo"]}, "must name 'history', which is forecast"),
    ],
)
def test_columns_that_a_forecaster_cannot_read_are_refused(tmp_path, entry, message):
    spec = spec_of(tmp_path, told_points([30] * 4), **BESIDE).model_dump(mode="json", exclude_defaults=True)
    asked = load_spec(spec | {"extractors": [entry]})
    with pytest.raises(BadInputError, match=rf"extractors\[0\].columns: {message}"):
        resolve_spec(asked, open_source(asked.data))


def test_where_a_column_tells_test_points_no_others_are_scored(tmp_path):
    table = points([30, 30])
    told = zip(table["name"].to_pylist(), table["t"].to_pylist(), strict=True)
    split = pa.array(["test" if name == "s0" and t >= 26 else "train" for name, t in told])
    source, rows = rows_of(spec_of(tmp_path, table.append_column("split", split)))
    assert {row["name"] for row in rows if row["split"] == "test"} == {"s0"}
    assert max(row["value"][-1] for row in rows if row["name"] == "s1") == 129, "all its points are learned from"
    assert any("1 of 2 series have no test points" in note for note in source.about["notes"])


@pytest.mark.parametrize(("n_series", "expected"), [(1, 40), (7, 6), (30, 2)])
def test_few_series_have_more_origins(tmp_path, n_series, expected):
    spec = spec_of(tmp_path, points([200] * n_series), origins=None)
    _, rows = rows_of(spec)
    assert sum(row["split"] == "train" and row["name"] == "s0" for row in rows) == expected
    read = read_rows(spec.data, TargetSpec(), open_source(spec.data), "forecasting", 5, 0)
    assert len(np.unique(read.split.fold[read.split.fold >= 0])) == 5


def test_every_fold_over_time_is_learned_from_some_rows(tmp_path):
    spec = spec_of(tmp_path, points([60]), origins=5)
    read = read_rows(spec.data, TargetSpec(), open_source(spec.data), "forecasting", 5, 0)
    assert np.bincount(read.split.fold[read.split.fold >= 0]).min() >= 2
    few = spec_of(tmp_path, points([60]), origins=3)
    with pytest.raises(DataError, match=r"2 origins, and 4 rows, or more must have training rows.*got 3, 3 rows"):
        read_rows(few.data, TargetSpec(), open_source(few.data), "forecasting", 5, 0)


def test_a_history_holds_three_seasons(tmp_path):
    _, rows = rows_of(spec_of(tmp_path, points([2000]), season=400, origins=1))
    assert max(len(row["history"]) for row in rows) == 1203


@pytest.mark.parametrize("params", [{"season": 7}, {"horizon": 5}])
def test_forecasters_are_in_the_units_of_the_series(tmp_path, params):
    spec = spec_of(tmp_path, points([60]))
    held = spec.model_dump(mode="json") | {"extractors": [{"name": "theta", "params": params}]}
    with pytest.raises(BadInputError, match=r"extractors\[0\]\.params\..*: must be data\.series\."):
        resolve_spec(load_spec(held), open_source(spec.data))

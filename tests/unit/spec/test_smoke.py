"""The form of a spec that runs in seconds."""

import pytest

from hybrid_ray.data.source import open_source
from hybrid_ray.errors import SpecError
from hybrid_ray.spec import load_spec, smoke_form

BASE = {"name": "m", "task": "multiclass", "data": {"path": "/absent.csv", "label": "y"}}


def test_rows_and_trials_are_few():
    form = smoke_form(load_spec({**BASE, "search": {"trials": 50}, "smoke": {"rows": 40, "trials": 3}}))
    assert (form.search.trials, form.search.ensemble.trials) == (3, 3)
    assert (form.data.limit, form.data.path) == (40, "/absent.csv")


def test_its_overrides_win():
    smoke = {"overrides": {"search.folds": 2, "search.trials": 7, "extractors.0.params.size": 4}}
    form = smoke_form(load_spec({**BASE, "extractors": ["pixels"], "smoke": smoke}))
    assert (form.search.folds, form.search.trials, form.extractors[0].params.size) == (2, 7, 4)


def test_a_wrong_override_is_a_fault():
    with pytest.raises(SpecError, match=r"search.foldz: unknown key.*Did you mean 'folds'"):
        smoke_form(load_spec({**BASE, "smoke": {"overrides": {"search.foldz": 2}}}))
    with pytest.raises(SpecError, match=r"smoke.overrides: extractors\[3\]: must be a position below 1"):
        smoke_form(load_spec({**BASE, "extractors": ["pixels"], "smoke": {"overrides": {"extractors[3].id": "a"}}}))


@pytest.mark.parametrize(
    ("split", "column"),
    [
        ({"kind": "column"}, "split"),
        ({"kind": "grouped", "column": "house"}, "house"),
        ({"kind": "temporal", "column": "day"}, "day"),
        ({}, None),
    ],
)
def test_rows_are_generated_with_what_the_split_needs(split, column):
    kinds = {"photo": "image", "title": "text", "area": "numeric", "colour": "categorical", "sold": "date"}
    document = {**BASE, "smoke": {"generate": True, "rows": 30, "classes": 3}}
    document["data"] = {**BASE["data"], "columns": kinds, "split": split}
    form = smoke_form(load_spec(document))
    source = open_source(form.data)
    assert source.n_rows == 30
    assert set(source.schema.names) == {*kinds, "y", *([column] if column else [])}
    assert sorted(set(source.sample()["y"].to_pylist())) == [0, 1, 2]


def test_rows_are_generated_with_what_is_dropped_and_redacted():
    data = {**BASE["data"], "columns": {"a": "text"}, "drop": ["id"], "redact": ["a", "b"]}
    form = smoke_form(load_spec({**BASE, "data": data, "smoke": {"generate": True}}))
    assert open_source(form.data).schema.names == ["a", "y", "b"]


def test_generated_rows_need_columns_and_task():
    with pytest.raises(SpecError, match=r"smoke.generate: the spec must say `task` and `data.columns`"):
        smoke_form(load_spec({**BASE, "smoke": {"generate": True}}))


def test_points_for_windows_are_not_generated():
    windows = {"time": "t", "channels": ["a"], "length": 4}
    document = {"name": "w", "task": "binary", "data": {"path": "p.parquet", "label": "y", "windows": windows}}
    with pytest.raises(SpecError, match=r"smoke.generate: must be left out beside `data.windows`"):
        smoke_form(load_spec(document | {"smoke": {"generate": True}}))

"""A spec written as YAML is the same spec when it is read; reasons stand beside the choices."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.spec import dump_yaml, load_spec, smoke_form
from hybrid_ray.spec.document import parse_yaml

KINDS = ("image", "text", "numeric", "categorical", "date")
texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
columns = st.dictionaries(texts, st.sampled_from(KINDS), max_size=5)
extractors = st.lists(
    st.one_of(
        st.builds(lambda size: {"name": "pixels", "params": {"size": size}}, st.integers(2, 64)),
        st.builds(lambda found: {"name": "tfidf", "columns": found}, st.lists(texts, max_size=3)),
        st.just("tabular"),
    ),
    max_size=3,
)


@st.composite
def documents(draw):
    held = draw(columns)
    label = draw(texts.filter(lambda t: t not in held))
    drop = draw(st.lists(texts.filter(lambda t: t not in held and t != label), max_size=3))
    return {
        "name": draw(st.from_regex(r"\A[A-Za-z][A-Za-z0-9_.-]{0,20}\Z")),
        "task": draw(st.sampled_from(["auto", "binary", "regression"])),
        "seed": draw(st.integers(0, 2**31 - 1)),
        "data": {
            "path": draw(st.one_of(st.just("/a b/c.csv"), st.lists(texts.map(lambda t: f"s3://x/{t}"), min_size=1))),
            "label": label,
            "columns": draw(st.one_of(st.none(), st.just(held))),
            "drop": drop,
            "source": draw(st.one_of(st.none(), texts)),
            "max_bad_fraction": draw(st.floats(0, 1)),
        },
        "extractors": draw(extractors),
        "search": {
            "time_limit_s": draw(st.one_of(st.none(), st.floats(1e-3, 1e9))),
            "estimators": draw(st.lists(st.sampled_from(["logistic", "knn"]), max_size=2)),
        },
    }


@given(document=documents(), notes=st.dictionaries(st.sampled_from(["task", "data", "data.label", "search.folds",
       "extractors.0", "data.columns", "search.estimators.0", "data.drop.1"]), st.text(max_size=30)))  # fmt: skip
def test_what_is_written_is_read_back_the_same(document, notes):
    spec = load_spec(document)
    assert load_spec(parse_yaml(dump_yaml(spec, notes), "dumped")) == spec


def test_only_what_differs_is_written():
    text = dump_yaml(load_spec({"name": "m", "data": {"path": "/x.csv", "label": "y"}, "search": {"folds": 3}}))
    assert text == "version: 1\nname: m\ntask: auto\ndata:\n  path: /x.csv\n  label: y\nsearch:\n  folds: 3\n"


def test_reasons_stand_beside_what_they_explain():
    spec = load_spec(
        {
            "name": "m",
            "data": {"path": "/x.csv", "label": "y", "columns": {"a.b": "text", "zip code": "categorical"}},
            "extractors": ["tfidf", {"name": "pixels", "params": {"size": 8}}],
        }
    )
    notes = {
        "data.columns.a.b": "long\ntexts",
        "search.folds": "enough rows",
        "extractors.0": "words",
        "extractors.1": "small images",
    }
    lines = dump_yaml(spec, notes).splitlines()
    assert "    a.b: text  # long texts" in lines
    assert "  folds: 5  # enough rows" in lines
    assert "  - name: tfidf  # words" in lines
    assert lines[lines.index("  - name: pixels  # small images") + 1 :] == [
        "    params:",
        "      size: 8",
        "search:",
        "  folds: 5  # enough rows",
    ]
    assert "    zip code: categorical" in lines
    assert "trials" not in "\n".join(lines)


@pytest.mark.parametrize(
    "value", ["#x", "a: b", "yes", "1", "", " x ", "a\nb", "'", '"', "é", "\x00", "- a", "{", "\u2028"]
)
def test_every_text_survives(value):
    spec = load_spec({"name": "m", "data": {"path": "/x.csv", "label": "y", "source": value}})
    assert yaml.safe_load(dump_yaml(spec))["data"].get("source") == value


def test_long_lists_are_written_one_below_the_other():
    drop = [f"a rather long name of a column {i}" for i in range(9)]
    spec = load_spec({"name": "m", "data": {"path": "/x.csv", "label": "y", "drop": drop}})
    text = dump_yaml(spec)
    assert f"    - {drop[0]}\n" in text
    assert max(map(len, text.splitlines())) < 60


@pytest.mark.parametrize("form", ["json", "yaml", "smoke"])
def test_what_is_fixed_and_what_is_searched_survives(form):
    """A parameter that is set stays fixed, also at its default; none becomes fixed by being written down."""
    names = sorted(ESTIMATORS.names())
    logistic = {"name": "logistic", "params": {"C": 2.0, "max_iter": 1000}}
    document = {
        "name": "a",
        "task": "binary",
        "data": {"path": "/rows/a.csv", "label": "y", "columns": {"x": "numeric"}},
        "search": {
            "estimators": [logistic, *names],
            "preparations": ["smote", {"name": "clip", "params": {"tail": 0.01}, "always": True}],
            "fusions": ["concat", {"name": "concat", "params": {"pca": 8}}],
            "ensemble": {"combiners": ["stacking", {"name": "linear_pool", "params": {"solver": "greedy"}}]},
        },
    }
    spec = load_spec(document)
    if form == "json":
        again = load_spec(json.loads(json.dumps(spec.model_dump(mode="json"))))
    elif form == "yaml":
        again = load_spec(parse_yaml(dump_yaml(spec), "again"))
    else:
        again = smoke_form(spec)
    search = again.search
    entries = (*search.estimators, *search.fusions, *search.ensemble.combiners, *search.preparations)
    fixed = [entry.params.model_dump(exclude_unset=True) for entry in entries]
    assert fixed == [
        logistic["params"],
        *[{}] * len(names),
        {},
        {"pca": 8},
        {},
        {"solver": "greedy"},
        {},
        {"tail": 0.01},
    ]
    assert [entry.always for entry in search.preparations] == [False, True]
    searched = {entry["name"]: entry["params"] for entry in spec.model_dump(mode="json")["search"]["estimators"][1:]}
    assert searched == {name: {} for name in names}, "two specs that fix other parameters are not the same run"

"""The label of rows that several people labelled."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from hybrid_ray.data.annotated import agreed, end_to_end
from hybrid_ray.data.rows import read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.data.target import encode_target
from hybrid_ray.errors import DataError, SpecError
from hybrid_ray.spec import load_spec


def columns(**votes):
    return {name: pa.chunked_array([pa.array(each)]) for name, each in votes.items()}


def annotated_target(columns, how, task):
    return agreed(encode_target(end_to_end(list(columns.values())), task), list(columns), how)


def test_the_label_is_what_most_say():
    found, annotated = annotated_target(
        columns(a=["x", "y", None], b=["x", "y", "x"], c=["y", "y", None]), "majority", "auto"
    )
    assert (found.task, found.classes) == ("binary", ["x", "y"])
    assert found.y.tolist() == [0, 1, 0]
    assert annotated.votes.tolist() == [[0, 0, 1], [1, 1, 1], [-1, 0, -1]]


def test_rows_that_nobody_labelled_are_missing_and_ties_are_told():
    found, annotated = annotated_target(columns(a=[1, 2, None, 2], b=[2, 1, None, 2]), "majority", "binary")
    assert found.y.tolist() == [0, 0, -1, 1]
    assert found.missing.tolist() == [False, False, True, False]
    assert annotated.tied.tolist() == [True, True, False, False]


def test_annotators_may_write_the_same_labels_in_other_types():
    found, _ = annotated_target(columns(a=[0, 1, 1], b=["0", "1", "1"], c=[0.0, 1.0, None]), "dawid_skene", "auto")
    assert found.classes == [0, 1]
    assert found.y.tolist() == [0, 1, 1]
    named, _ = annotated_target(columns(a=["red", "blue", "red"], b=[1, 2, None]), "majority", "auto")
    assert named.classes == ["1", "2", "blue", "red"]


def test_numbers_have_no_consensus():
    with pytest.raises(DataError, match=r"data.annotators: must hold classes.*got numbers in \['a', 'b'\]"):
        annotated_target(columns(a=[0.5, 1.5, 2.5], b=[0.4, 1.6, 2.5]), "majority", "auto")


@pytest.fixture
def spec(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=60)
    votes = {name: pa.array(np.where(rng.random(60) < 0.1, 1 - truth, truth)) for name in ("ann", "ben", "cleo")}
    path = tmp_path / "rows.csv"
    csv.write_csv(pa.table({"size": truth + rng.normal(0, 0.1, 60), **votes}), path)
    return {"name": "votes", "data": {"path": str(path), "label": "sick", "annotators": ["ann", "ben", "cleo"]}}


def test_the_rows_of_a_file_get_it(spec):
    asked = load_spec(spec)
    rows = read_rows(asked.data, asked.target, open_source(asked.data), "binary", 3, 0)
    assert rows.target.task == "binary"
    assert rows.annotated.names == ("ann", "ben", "cleo")
    assert rows.unlabelled == 0
    assert (rows.annotated.consensus.accuracy(rows.annotated.votes) > 0.8).all()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"annotators": ["ann"]}, r"`annotators` must name two columns or more, each once; got \['ann'\]"),
        ({"annotators": ["ann", "ann"]}, "two columns or more"),
        ({"columns": {"ann": "numeric"}}, "got 'ann', which is in `columns` too"),
        ({"drop": ["ben"]}, "got 'ben', which is in `drop` too"),
        ({"label": "ann"}, "got 'ann', which is in `label` too"),
    ],
)
def test_an_annotator_is_nothing_else(spec, changed, says):
    with pytest.raises(SpecError, match=says):
        load_spec(spec | {"data": spec["data"] | changed})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"annotators": ["ann", "bem"]}, "data.annotators: must be a column; got 'bem'.*ben"),
        ({"label": "size"}, "data.label: must be a new name where data.annotators are given"),
    ],
)
def test_columns_are_checked_against_the_file(spec, changed, says):
    with pytest.raises(DataError, match=says):
        open_source(load_spec(spec | {"data": spec["data"] | changed}).data)

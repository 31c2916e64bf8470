"""Series in the rows of a request: what is taken, and what is refused with the reason."""

import math

import numpy as np
import pytest

from hybrid_ray.on_ray.serve.body import _text_cell
from hybrid_ray.on_ray.serve.contract import Probe, RequestError, Served
from hybrid_ray.on_ray.serve.rows import RowReader
from hybrid_ray.spec import ServeSpec


@pytest.fixture
def reader():
    served = Served("m", 1, "binary", {"signal": "series"}, ["a", "b"], ServeSpec(), {}, Probe({}))
    return RowReader(served)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([1, 2.5, None], [[1], [2.5], [math.nan]]),
        ([[1, 2], [None, 3]], [[1, 2], [math.nan, 3]]),
        (None, None),
        ([], None),
        ([None, None], None),
    ],
    ids=str,
)
def test_lists_are_taken(reader, sent, expected):
    (cell,) = reader.read([{"signal": sent}])["signal"]
    if expected is None:
        assert cell is None
    else:
        np.testing.assert_array_equal(cell, np.array(expected, np.float32))


@pytest.mark.parametrize("sent", [1.0, "[1]", ["a"], [[1, 2], [3]], [[1], 2], [True], [[]], {"a": 1}], ids=str)
def test_anything_else_is_refused(reader, sent):
    with pytest.raises(RequestError) as refused:
        reader.read([{"signal": [1.0]}, {"signal": sent}])
    assert refused.value.status == 422
    assert {fault.loc[:4] for fault in refused.value.faults} == {("body", "rows", 1, "signal")}


def test_the_schema_says_what_a_series_is(reader):
    cell = reader.model.model_json_schema()["properties"]["signal"]
    assert cell["type"] == ["array", "null"]
    assert cell["examples"]


def test_a_field_of_a_form_may_hold_one():
    assert _text_cell("[1, 2]", "series") == [1, 2]
    assert _text_cell("", "series") is None
    assert _text_cell("1, 2", "series") == "1, 2"

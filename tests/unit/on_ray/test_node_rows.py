"""Nodes in the rows of a request: what is taken, and what is refused with the reason."""

import pytest

from hybrid_ray.data.nodes import node_text
from hybrid_ray.on_ray.serve.contract import Probe, RequestError, Served
from hybrid_ray.on_ray.serve.rows import RowReader
from hybrid_ray.spec import ServeSpec

NEW = {"features": [0.5, 1], "neighbours": ["a", 7]}


@pytest.fixture
def reader():
    served = Served("m", 1, "binary", {"node": "node"}, ["a", "b"], ServeSpec(), {}, Probe({}))
    return RowReader(served)


@pytest.mark.parametrize(("sent", "expected"), [("a", "a"), (7, "7"), (NEW, node_text(NEW)), (None, None)], ids=str)
def test_ids_and_new_nodes_are_taken(reader, sent, expected):
    assert reader.read([{"node": sent}])["node"].tolist() == [expected]


@pytest.mark.parametrize(
    "sent",
    [True, 1.5, [], {}, {"features": [1]}, {**NEW, "features": [None]}, {**NEW, "neighbours": [None]}, "\ud800"],
    ids=repr,
)
def test_anything_else_is_refused(reader, sent):
    with pytest.raises(RequestError) as refused:
        reader.read([{"node": "a"}, {"node": sent}])
    assert refused.value.status == 422
    assert {fault.loc[:4] for fault in refused.value.faults} == {("body", "rows", 1, "node")}
    assert "not a node" in refused.value.faults[0].msg


def test_the_schema_says_what_a_node_is(reader):
    cell = reader.model.model_json_schema()["properties"]["node"]
    assert {form["type"] if isinstance(form["type"], str) else tuple(form["type"]) for form in cell["anyOf"]} == {
        ("string", "integer", "null"),
        "object",
    }
    assert cell["examples"]

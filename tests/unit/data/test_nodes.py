"""Nodes in cells and graphs in files: what is read, what is refused with the reason, and that equal nodes are equal."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.generate import NODES, generate_rows, generated_node_graph
from hybrid_ray.data.identity import row_digests
from hybrid_ray.data.node_graph import NodeGraph, read_node_graph
from hybrid_ray.data.nodes import NewNode, node_cell, node_id, node_text, parse_nodes
from hybrid_ray.errors import DataError
from hybrid_ray.store.golden import to_batch, to_cells

NEW = {"features": [0.5, -0.0, 1e-3], "neighbours": ["b", 7, "b"]}
X = np.array([[1, 0], [0, 2.5], [0, 0]], np.float32)
EDGES = np.array([[0, 1], [1, 0], [2, 2], [1, 2]])


def test_ids_and_new_nodes_are_texts():
    found, reasons = parse_nodes(pa.array(["a", " 7 ", None, "", json.dumps(NEW)]))
    assert not reasons
    assert list(found[:4]) == ["a", "7", None, None]
    features, neighbours = node_cell(found[4])
    np.testing.assert_array_equal(features, np.array([0.5, 0, 1e-3], np.float32))
    assert neighbours == ("7", "b")
    assert node_cell("a") == "a"
    assert isinstance(node_cell(found[4]), NewNode)
    for text in ("{", "{}", '{"features": [{}], "neighbours": []}'):
        with pytest.raises(ValueError, match="not a node"):
            node_cell(text)


@pytest.mark.parametrize(("values", "expected"), [([3, None], ["3", None]), ([3.0, np.nan], ["3", None])], ids=str)
def test_numbers_are_ids(values, expected):
    found, reasons = parse_nodes(pa.array(values))
    assert (list(found), reasons) == (expected, {})


def test_structs_are_new_nodes():
    found, reasons = parse_nodes(pa.array([{"features": [0.5], "neighbours": ["b"]}, None]))
    assert not reasons
    assert found[0] == node_text({"features": [0.5], "neighbours": ["b"]})
    assert found[1] is None


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "{}",
        '{"features": [1]}',
        '{"features": [1], "neighbours": [], "more": 1}',
        '{"features": 1, "neighbours": []}',
        '{"features": [null], "neighbours": []}',
        '{"features": [true], "neighbours": []}',
        '{"features": [NaN], "neighbours": []}',
        '{"features": [1e39], "neighbours": []}',
        '{"features": ["secret"], "neighbours": []}',
        '{"features": [1], "neighbours": "secret"}',
        '{"features": [1], "neighbours": [""]}',
        '{"features": [1], "neighbours": [{"secret": 1}]}',
        "[" * 100_000,
        "\ud800",
    ],
    ids=lambda value: value[:40].encode("ascii", "replace").decode(),
)
def test_what_is_no_node_is_told_without_showing_it(value):
    if value.startswith("["):
        assert node_id(value) == value  # an odd id, but text
        return
    with pytest.raises(ValueError, match="not a node") as refused:
        node_text(value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("value", [True, 1.5, None, [], b"a", "  "], ids=repr)
def test_what_is_no_id_is_refused(value):
    with pytest.raises(ValueError, match="not a node"):
        node_id(value)


def test_columns_of_other_kinds_hold_no_nodes():
    out = coerce(pa.table({"n": [[1.0], None]}), {"n": "node"})
    assert list(out.batch["n"]) == [None, None]
    assert [error.row for error in out.errors] == [0]


def test_equal_nodes_are_equal_rows():
    given = [NEW, {"neighbours": [7, "b"], "features": [0.5, 0.0, 1e-3]}, {**NEW, "neighbours": []}, "7", "8"]
    cells = np.array([node_text(node) for node in given], object)
    one, same, other, *_ = (row.tobytes() for row in row_digests({"n": cells}, {"n": "node"}, None))
    assert one == same
    assert one != other


def test_golden_rows_hold_whole_nodes():
    cells = np.array([node_text({"features": [0.123] * 2000, "neighbours": []}), "7", None], object)
    held = json.loads(json.dumps(to_cells({"n": cells}, {"n": "node"})))
    assert list(to_batch(held, {"n": "node"})["n"]) == list(cells)


def test_rows_that_are_generated_are_nodes_of_the_generated_graph():
    table = generate_rows({"n": "node"}, "binary", 200, 2, 0, "y")
    batch = coerce(table, {"n": "node"}).batch
    graph = generated_node_graph()
    assert set(batch["n"]) <= set(graph.ids)
    assert np.corrcoef([int(own) / NODES for own in batch["n"]], table["y"].to_numpy())[0, 1] > 0.7


# ------------------------------------------------------------------------------------------------- files


def sparse_parts():
    return {
        "x_data": np.array([1, 2.5], np.float32),
        "x_indices": np.array([0, 1]),
        "x_indptr": np.array([0, 1, 2, 2]),
        "x_shape": np.array([3, 2]),
    }


def frames(folder, nodes, edges):
    folder.mkdir()
    pq.write_table(pa.table(nodes), folder / "nodes.parquet")
    pq.write_table(pa.table(edges), folder / "edges.parquet")
    return folder


def assert_same(graph: NodeGraph, ids=("0", "1", "2")):
    assert graph.ids == tuple(ids)
    np.testing.assert_array_equal(graph.features.toarray(), X)
    np.testing.assert_array_equal(graph.neighbours, [1, 0, 2, 1])
    np.testing.assert_array_equal(graph.degrees, [1, 2, 1])


def test_dense_and_sparse_features_of_a_file(tmp_path):
    np.savez(tmp_path / "dense.npz", x=X, edges=EDGES, label=np.arange(3))
    np.savez_compressed(tmp_path / "sparse.npz", **sparse_parts(), edges=EDGES, ids=np.array(["a", "b", "c"]))
    assert_same(read_node_graph(tmp_path / "dense.npz"))
    assert_same(read_node_graph(tmp_path / "sparse.npz"), "abc")


def test_a_folder_of_tables(tmp_path):
    edges = {"source": ["a", "b", "c", "b"], "target": ["b", "a", "c", "c"]}
    columns = {"id": list("abc"), "one": [1, 0, 0], "two": [0.0, 2.5, 0.0]}
    assert_same(read_node_graph(frames(tmp_path / "columns", columns, edges)), "abc")
    assert_same(read_node_graph(frames(tmp_path / "list", {"id": list("abc"), "x": X.tolist()}, edges)), "abc")


def test_a_graph_comes_back_from_its_arrays():
    graph = NodeGraph.of(X, EDGES, ["ä", "b", "c"], "here")
    assert_same(NodeGraph.from_arrays(graph.to_arrays()), ("ä", "b", "c"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"edges": np.array([[0, 3]])}, "edges must be rows 0 to 2; got 0 to 3"),
        ({"edges": np.array([[0.0, 1.0]])}, "edges must be whole numbers"),
        ({"edges": np.array([0, 1])}, "edges must be whole numbers"),
        ({"x": np.array([[1.0, np.inf]] * 3)}, "features must be finite"),
        ({"x": np.zeros((3, 2), "U3")}, "x must be numbers"),
        ({"x": np.zeros(3)}, "x must be numbers"),
        ({"x": np.array([[{}, 1]] * 3)}, "must be an .npz file of plain arrays"),
        ({"ids": np.array(["a", "a", "b"])}, "must have 3 ids, all different; got 3, 2 different"),
        ({"ids": np.array(["a", "", "b"])}, "ids must be whole numbers, or text"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value[:20],
)
def test_a_file_that_does_not_fit_together_is_one_line(tmp_path, changed, message):
    np.savez(tmp_path / "graph.npz", **({"x": X, "edges": EDGES} | changed))
    with pytest.raises(DataError, match=message):
        read_node_graph(tmp_path / "graph.npz")


def test_sparse_parts_are_checked(tmp_path):
    np.savez(tmp_path / "beyond.npz", **(sparse_parts() | {"x_indices": np.array([0, 9])}), edges=EDGES)
    np.savez(tmp_path / "less.npz", x_data=np.ones(1), edges=EDGES)
    with pytest.raises(DataError, match=r"must be an \.npz file of plain arrays"):
        read_node_graph(tmp_path / "beyond.npz")
    with pytest.raises(DataError, match=r"lacks \['x_indices', 'x_indptr', 'x_shape'\]"):
        read_node_graph(tmp_path / "less.npz")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "whole.npz", x=X, edges=EDGES)
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:300])
    (tmp_path / "empty").mkdir()
    for name in ("text.npz", "half.npz", "empty", "nowhere.npz"):
        with pytest.raises(DataError, match=r"must be an \.npz file of plain arrays, or a folder"):
            read_node_graph(tmp_path / name)


def test_tables_that_do_not_fit_are_refused(tmp_path):
    edges = {"source": ["a"], "target": ["b"]}
    nodes = {"id": ["a", "b"], "x": [1.0, 2.0]}
    for name, own, pairs, message in (
        ("id", {"x": [1.0]}, edges, r"lacks \['id'\]"),
        ("ends", nodes, {"source": ["a"]}, r"lacks \['target'\]"),
        ("unknown", nodes, {"source": ["a"], "target": ["z"]}, "1 of 1 are not"),
        ("text", {"id": ["a", "b"], "x": ["u", "v"]}, edges, r"got \['x'\]"),
        ("none", {"id": ["a", "b"]}, edges, "got none"),
        ("null", {"id": ["a", "b"], "x": [1.0, None]}, edges, "must be finite"),
        ("uneven", {"id": ["a", "b"], "x": [[1.0], [1.0, 2.0]]}, edges, "equally long"),
    ):
        with pytest.raises(DataError, match=message):
            read_node_graph(frames(tmp_path / name, own, pairs))


def test_what_is_too_large_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "graph.npz", x=np.zeros((1000, 100)), edges=EDGES)
    folder = frames(tmp_path / "tables", {"id": ["a"], "x": [1.0]}, {"source": ["a"], "target": ["a"]})
    monkeypatch.setattr("hybrid_ray.data.node_graph.MAX_BYTES", 50)
    for path in (tmp_path / "graph.npz", folder):
        with pytest.raises(DataError, match="must have at most"):
            read_node_graph(path)

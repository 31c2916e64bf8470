"""Extractors of nodes: what is known of a graph, what is told of nodes that it lacks, and what networks learn on it."""

from itertools import pairwise

import numpy as np
import pytest

from hybrid_ray.data.generate import GENERATED, NODES, generated_node_graph
from hybrid_ray.data.node_graph import NodeGraph
from hybrid_ray.data.nodes import node_text
from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.graphs.nodes import BLOB
from hybrid_ray.extractors.graphs.walks import met, walks
from hybrid_ray.extractors.trained import Training
from hybrid_ray.store.state import pack_state
from hybrid_ray.testing.checkpoints import MemoryCheckpoints
from hybrid_ray.types import State

NODE = {"node": "node"}
GRAPH = generated_node_graph()
CLASSES = 4
SPLIT = np.random.default_rng(0).permutation(NODES)
TRAINING, HELD = SPLIT[:120], SPLIT[120:]
NETWORKS = ("gcn", "sage", "gat", "appnp")
SMALL = {"graph": GENERATED, "hidden": 8}


def cells(rows):
    return {"node": np.array([GRAPH.ids[row] for row in rows], object)}


def new_cells(rows, keep=lambda other: True):
    """The same nodes as if the graph did not have them."""
    made = np.empty(len(rows), object)
    for place, row in enumerate(rows):
        near = GRAPH.neighbours[GRAPH.bounds[row] : GRAPH.bounds[row + 1]]
        features = GRAPH.features[[row]].toarray()[0].tolist()
        made[place] = node_text(
            {"features": features, "neighbours": [GRAPH.ids[other] for other in near if keep(other)]}
        )
    return {"node": made}


def labels(rows):
    return np.asarray(rows) * CLASSES // NODES


def fitted(name, rows=TRAINING, **params):
    extractor = build_extractor(name, SMALL | params, NODE)
    extractor.setup()
    extractor.fit(extractor.prepare(cells(rows)), labels(rows), FitContext("multiclass", CLASSES, seed=0))
    return extractor


def made(name, **params):
    extractor = build_extractor(name, {"graph": GENERATED} | params, NODE)
    extractor.setup()
    return extractor


# ------------------------------------------------------------------------------------------------- what is known


def test_features_are_smoothed_by_the_normalised_adjacency():
    dense = np.eye(NODES)
    for row in range(NODES):
        dense[row, GRAPH.neighbours[GRAPH.bounds[row] : GRAPH.bounds[row + 1]]] = 1
    scale = 1 / np.sqrt(dense.sum(axis=1))
    links = dense * scale[:, None] * scale
    features = GRAPH.features.toarray()
    expected = [features, links @ features, links @ links @ features]
    everyone = cells(range(NODES))
    np.testing.assert_allclose(
        made("propagated", normalize=False, keep="all").transform(everyone).values, np.hstack(expected), atol=1e-5
    )
    np.testing.assert_allclose(made("propagated", normalize=False).transform(everyone).values, expected[2], atol=1e-5)
    sums = np.abs(made("propagated", hops=0).transform(everyone).values).sum(axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_features_that_would_not_fit_into_memory_are_refused(monkeypatch):
    monkeypatch.setattr("hybrid_ray.extractors.graphs.propagated.MAX_VALUES", 100)
    with pytest.raises(BadInputError, match=r"propagated\.hops: nodes x features"):
        made("propagated").check()


def test_walks_go_along_edges():
    path = walks(GRAPH, 20, 0.5, 2.0, np.random.default_rng(0))
    links = {(a, b) for a in range(NODES) for b in GRAPH.neighbours[GRAPH.bounds[a] : GRAPH.bounds[a + 1]]}
    assert len(path) == (GRAPH.degrees > 0).sum()
    assert {tuple(step) for row in path for step in pairwise(row)} <= links


def test_walks_turn_back_and_stray_as_they_are_asked_to():
    def shares(p, q):
        path = walks(GRAPH, 30, p, q, np.random.default_rng(1))
        before, after = path[:, :-2].ravel(), path[:, 2:].ravel()
        return (before == after).mean(), np.abs(before - after).mean()

    assert shares(0.05, 1)[0] > shares(1, 1)[0] + 0.2 > shares(100, 1)[0] + 0.25
    assert shares(1, 20)[1] < shares(1, 1)[1] < shares(1, 0.05)[1]


def test_pairs_are_counted_up_to_the_window():
    found = met(np.array([[0, 1, 2, 0]]), 2, 3).toarray()
    np.testing.assert_array_equal(found, [[0, 2, 2], [2, 0, 1], [2, 1, 0]])


def test_near_nodes_have_like_vectors():
    vectors = made("node2vec", dimensions=8, walks=4, length=20).transform(cells(range(NODES))).values
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = unit @ unit.T
    apart = np.abs(np.subtract.outer(np.arange(NODES), np.arange(NODES)))
    assert alike[(apart > 0) & (apart < 10)].mean() > alike[apart > 150].mean() + 0.5


def test_a_new_node_is_the_mean_of_its_neighbours():
    extractor = made("node2vec", dimensions=4, walks=2, length=8)
    near = extractor.transform(cells([3, 5])).values
    both = np.array([node_text({"features": [0.0] * 6, "neighbours": own}) for own in (["3", "5"], [])], object)
    found = extractor.transform({"node": both})
    np.testing.assert_allclose(found.values, [near.mean(axis=0), np.zeros(4)], atol=1e-6)
    assert found.present.all()


@pytest.mark.parametrize("name", ["node2vec", "propagated", *NETWORKS])
def test_a_graph_without_edges_has_vectors(name):
    extractor = build_extractor(name, {"graph": GENERATED} | ({"epochs": 1} if name in NETWORKS else {}), NODE)
    extractor._held = NodeGraph.of(np.eye(4), np.zeros((0, 2), np.int64), list("abcd"), "here")
    extractor.setup()
    batch = {"node": np.array([*"abcd", node_text({"features": [1.0, 0, 0, 0], "neighbours": []})], object)}
    if extractor.tags.trained:
        extractor.fit(extractor.prepare(batch), np.array([0, 1, 0, 1, 0]), FitContext("multiclass", 2))
    values = extractor.transform(batch).values
    np.testing.assert_allclose(values[4], values[0], atol=1e-5)
    assert values.any() == (name != "node2vec")


@pytest.mark.parametrize("name", ["gcn", "sage", "gat"])
def test_one_layer_is_enough(name):
    assert np.isfinite(fitted(name, epochs=1, layers=1).transform(new_cells([3, 5])).values).all()


# ------------------------------------------------------------------------------------------------- new nodes


@pytest.mark.parametrize("name", ["propagated", *NETWORKS])
def test_a_new_node_that_is_like_a_known_one_is_told_the_same(name):
    """It has the same features, and hears the same neighbours: they are as they are in the graph."""
    extractor = made(name, hops=3) if name == "propagated" else fitted(name, epochs=2)
    rows = [0, 17, 200, NODES - 1]
    known, new = extractor.transform(cells(rows)), extractor.transform(new_cells(rows))
    np.testing.assert_allclose(new.values, known.values, atol=1e-5)
    assert np.ptp(known.values, axis=0).max() > 1e-3
    alone = extractor.transform(new_cells(rows, keep=lambda other: False)).values
    assert np.isfinite(alone).all()
    assert np.abs(alone - known.values).max() > 1e-3, "neighbours must count"


def test_rows_of_the_training_may_be_new_nodes():
    extractor = build_extractor("gcn", SMALL | {"epochs": 2}, NODE)
    extractor.setup()
    both = {"node": np.concatenate([cells(TRAINING[:60])["node"], new_cells(TRAINING[60:])["node"]])}
    extractor.fit(extractor.prepare(both), labels(TRAINING), FitContext("multiclass", CLASSES, seed=0))
    assert np.isfinite(extractor.transform(both).values).all()


# ------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_tells_classes_of_nodes_that_it_had_no_labels_of(name):
    extractor = fitted(name, epochs=10)
    outputs = extractor.transform(cells(HELD)).values
    assert outputs.shape == (len(HELD), CLASSES)
    np.testing.assert_allclose(outputs.mean(axis=1), 0, atol=1e-5)
    assert (outputs.argmax(axis=1) == labels(HELD)).mean() > 0.6
    later = extractor.transform(new_cells(HELD)).values
    assert (later.argmax(axis=1) == labels(HELD)).mean() > 0.6


def test_numbers_are_learned_too():
    extractor = build_extractor("appnp", SMALL | {"epochs": 10}, NODE)
    extractor.setup()
    y = TRAINING.astype(np.float64)
    extractor.fit(extractor.prepare(cells(TRAINING)), y, FitContext("regression", 1, seed=0))
    outputs = extractor.transform(cells(HELD)).values
    assert outputs.shape == (len(HELD), 1)
    assert np.corrcoef(outputs[:, 0], HELD)[0, 1] > 0.7


def test_outputs_of_training_rows_do_not_tell_their_labels():
    """They come from networks that did not see them; labels are random, and can be learned by heart."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(30) % 2)
    extractor = build_extractor("gcn", SMALL | {"hidden": 64, "dropout": 0.0, "epochs": 12}, NODE)
    extractor._held = NodeGraph.of(rng.normal(size=(30, 80)), np.zeros((0, 2), np.int64), GRAPH.ids[:30], "here")
    prepared, context = extractor.prepare(cells(range(30))), FitContext("multiclass", 2, seed=0)
    extractor.fit(prepared, y, context)
    own = extractor.block(prepared).values
    assert (own.argmax(axis=1) == y).mean() > 0.95
    crossed = extractor.cross_fitted(prepared, y, context)
    assert (crossed.values.argmax(axis=1) == y).mean() < 0.75


def test_a_training_that_was_cut_off_goes_on_to_the_same_network():
    extractor = build_extractor("gat", SMALL | {"epochs": 4}, NODE)
    extractor.setup()
    prepared = extractor.prepare(cells(TRAINING))
    extractor.fit(prepared, labels(TRAINING), FitContext("multiclass", CLASSES, seed=3))
    training = Training(extractor.blank(), dict(prepared.arrays), labels(TRAINING), CLASSES, 3, 1)
    store = MemoryCheckpoints(dies_at=2)
    with pytest.raises(KeyboardInterrupt):
        training.run("cpu", checkpoints=store)
    assert not any("values" in name for name in store.states[0].tensors), "the graph is no part of a checkpoint"
    found = training.run("cpu", checkpoints=store)
    expected = extractor.learned().tensors
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


# ------------------------------------------------------------------------------------------------- graphs and states


@pytest.fixture
def file(tmp_path):
    edges = np.stack([np.repeat(np.arange(NODES), GRAPH.degrees), GRAPH.neighbours], axis=1)
    np.savez(tmp_path / "graph.npz", x=GRAPH.features.toarray(), edges=edges)
    return tmp_path / "graph.npz"


@pytest.mark.parametrize("name", ["propagated", "node2vec", "gcn"])
def test_a_saved_extractor_needs_no_file(file, name):
    few = {"epochs": 1} if name == "gcn" else {}
    extractor = build_extractor(name, {"graph": str(file)} | few, NODE)
    extractor.setup()
    if few:
        extractor.fit(extractor.prepare(cells(TRAINING)), labels(TRAINING), FitContext("multiclass", CLASSES))
    some = {"node": np.concatenate([cells([1, 2])["node"], new_cells([3])["node"]])}
    expected, fingerprint, state = extractor.transform(some).values, extractor.fingerprint(), extractor.get_state()
    file.unlink()
    loaded = type(extractor).from_state(extractor.params, NODE, state)
    loaded.setup()
    np.testing.assert_array_equal(loaded.transform(some).values, expected)
    assert loaded.fingerprint() == fingerprint


def test_where_a_graph_lies_says_nothing_of_the_features(file, tmp_path):
    copy = tmp_path / "copy.npz"
    copy.write_bytes(file.read_bytes())
    one, two = (build_extractor("gcn", {"graph": str(path)}, NODE).fingerprint() for path in (file, copy))
    assert one == two
    np.savez(copy, x=GRAPH.features.toarray(), edges=np.array([[0, 1]]))
    assert build_extractor("gcn", {"graph": str(copy)}, NODE).fingerprint() != one


def test_copies_of_an_extractor_hold_the_graph_once():
    one, two = (fitted("gcn", rows, epochs=1) for rows in (TRAINING[:60], TRAINING[60:]))
    packed = [pack_state(extractor.get_state()) for extractor in (one, two)]
    assert packed[0][BLOB] == packed[1][BLOB]
    assert BLOB not in one.learned().blobs
    for copy in (two, type(two).from_state(two.params, NODE, two.get_state())):
        copy.adopt(one)
        copy.setup()
        assert copy._fitted().resident is one._fitted().resident


def test_what_was_learned_belongs_to_its_graph(file):
    learned = fitted("gcn", epochs=1).learned()
    with pytest.raises(BadInputError, match=r"gcn\.graph: must be the graph that it was fitted on"):
        build_extractor("gcn", SMALL | {"graph": str(file)}, NODE).with_state(learned)
    assert isinstance(learned, State)


def test_a_graph_is_found_by_its_name_under_the_folder_of_weights(file, monkeypatch):
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(file.parent.parent))
    found = build_extractor("propagated", {"graph": f"{file.parent.name}/graph.npz"}, NODE)
    found.check()
    assert len(found.graph) == NODES


def test_a_graph_that_is_not_there_is_refused_before_the_run(tmp_path):
    for graph, message in (
        ("", "got none. Name one"),
        ("nowhere.npz", "must be a file or folder that is there"),
        (str(tmp_path), "lacks"),
    ):
        with pytest.raises(BadInputError, match=rf"sage\.graph: .*{message}"):
            build_extractor("sage", {"graph": graph}, NODE).check()


def test_a_missing_package_is_told_before_the_run(monkeypatch):
    monkeypatch.setattr("hybrid_ray.extractors.graphs.network.find_spec", lambda name: None)
    with pytest.raises(BadInputError, match="gat: needs the package torch_geometric"):
        build_extractor("gat", SMALL, NODE).check()

"""A reference is kept without pickle and comes back as it was."""

import numpy as np
import pytest

from hybrid_ray.errors import ArtifactError
from hybrid_ray.monitoring.reference import ROWS, WIDTH, Reference, embeddings_of, projection, traits_of
from hybrid_ray.monitoring.traits import Trait
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import read_state, write_state
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows


@pytest.fixture(scope="module")
def reference():
    graph = toy_graph()
    graph.setup()
    batch = toy_batch(list(toy_rows(60, seed=1, missing=0.2)))
    blocks = graph.extract(batch)
    traits = traits_of(graph, batch, embeddings_of(graph, blocks), graph.combine(blocks))
    return Reference.of(traits, 60, "accuracy", 0.9)


def test_it_comes_back_as_it_was(reference, tmp_path):
    root = StoreRoot(str(tmp_path))
    write_state(root, "there", reference.state())
    found = Reference.from_state(read_state(root, "there"), "there")
    assert (found.rows, found.metric, found.score) == (60, "accuracy", 0.9)
    assert list(found.traits) == list(reference.traits)
    for name, trait in reference.traits.items():
        other = found.traits[name]
        assert (other.source, other.form) == (trait.source, trait.form)
        assert np.array_equal(other.values, trait.values), name


def test_another_state_is_refused(reference):
    state = reference.state()
    with pytest.raises(ArtifactError, match="format"):
        Reference.from_state(type(state)(), "there")
    del state.tensors["price"]
    with pytest.raises(ArtifactError, match="price"):
        Reference.from_state(state, "there")


def test_no_more_rows_are_kept_than_are_needed():
    many = np.random.default_rng(0).normal(size=ROWS + 500)
    kept = Reference.of({"x": Trait("input", "number", many)}, len(many), "rmse", None)
    assert len(kept.traits["x"].values) == ROWS
    assert kept.rows == len(many)


def test_projections_keep_distances_and_are_always_the_same():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(40, 500)).astype(np.float32)
    found = projection(vectors, "encoder")
    assert found.shape == (40, WIDTH)
    assert found.dtype == np.float32
    assert np.array_equal(found, projection(vectors, "encoder"))
    ratio = np.linalg.norm(found[:1] - found[1:], axis=1) / np.linalg.norm(vectors[:1] - vectors[1:], axis=1)
    assert 0.6 < ratio.min() < ratio.max() < 1.5
    short = vectors[:, :WIDTH]
    assert projection(short, "encoder") is short

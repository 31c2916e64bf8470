import numpy as np
import pytest

from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.testing.estimators import stored
from hybrid_ray.types import State


def test_parts_come_back_from_a_store_however_deep():
    inner = nest({"model": State({"a": 1}, {"w": np.ones(2)}, {"model.ubj": b"bytes"}), "model2": State({"a": 2})})
    outer = stored(nest({"learner.0": inner, "learner.01": State({"b": 3}, {}, {"x": b"other"})}, {"c": 4}))
    assert outer.meta["c"] == 4
    found = part(part(outer, "learner.0"), "model")
    assert (found.meta, found.blobs) == ({"a": 1}, {"model.ubj": b"bytes"})
    np.testing.assert_array_equal(found.tensors["w"], np.ones(2))
    assert part(part(outer, "learner.0"), "model2").blobs == {}
    assert part(outer, "learner.01").blobs == {"x": b"other"}
    with pytest.raises(KeyError, match="none"):
        part(outer, "none")

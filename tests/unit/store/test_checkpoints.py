"""Checkpoints of a training: the last one counts, what is damaged does not."""

import numpy as np
import pytest

from hybrid_ray.store.checkpoints import StoreCheckpoints
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import State


def state(done: int) -> State:
    return State({"done": done}, {"weight": np.full((2, 3), done, np.float32), "step": np.float32(done)})


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    return StoreRoot(str(tmp_path) if request.param == "folder" else f"memory://checkpoints-{tmp_path.name}")


def test_the_last_one_is_read_and_the_others_are_gone(root):
    checkpoints = StoreCheckpoints(root, "key")
    assert checkpoints.load() is None
    for done in (1, 2, 3):
        checkpoints.save(state(done))
    found = StoreCheckpoints(root, "key").load()
    assert found.meta == {"done": 3}
    np.testing.assert_array_equal(found.tensors["weight"], np.full((2, 3), 3, np.float32))
    assert found.tensors["step"].shape == ()
    assert len([path for path in root.list(checkpoints.prefix) if path.endswith("state.json")]) == 1
    assert StoreCheckpoints(root, "other").load() is None
    checkpoints.clear()
    assert checkpoints.load() is None
    assert not root.list(checkpoints.prefix)


def test_what_a_killed_writer_left_is_not_read(root):
    checkpoints = StoreCheckpoints(root, "key")
    checkpoints.save(state(1))
    root.write(f"{checkpoints.prefix}/half/state.json", b"{")
    assert checkpoints.load().meta == {"done": 1}


def test_a_damaged_one_counts_as_none(root):
    checkpoints = StoreCheckpoints(root, "key")
    checkpoints.save(state(1))
    path = next(path for path in root.list(checkpoints.prefix) if path.endswith("safetensors"))
    root.write(path, b"something else")
    assert checkpoints.load() is None

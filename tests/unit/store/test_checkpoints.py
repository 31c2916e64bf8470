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


def test_further_trainings_of_a_fit_have_their_own_and_all_go_with_the_fit(root):
    checkpoints = StoreCheckpoints(root, "key")
    checkpoints.of("twin-0").save(state(7))
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    assert StoreCheckpoints(root, "key").of("twin-0").load().meta == {"done": 7}
    assert checkpoints.of("twin-1").load() is None
    root.write("trained/key/state.json", b"{}")
    StoreCheckpoints(root, "other").save(state(5))
    checkpoints.clear()
    assert checkpoints.of("twin-0").load() is None
    assert list(root.list("trained/key")) == ["trained/key/state.json"]
    assert StoreCheckpoints(root, "other").load().meta == {"done": 5}


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

import threading
import time

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFile
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.store.records import Journal, from_json, to_json
from hybrid_ray.store.root import StoreRoot


class LosingAnswers(StoreRoot):
    """A store whose puts arrive and whose answers do not: the client puts again, and is refused."""

    def create(self, path, data):
        super().create(path, data)
        return super().create(path, data)


def test_a_writer_knows_its_own_record_again():
    root = LosingAnswers("memory://losing")
    assert [Journal(root, "j").append({"n": n}) for n in range(3)] == [1, 2, 3]
    assert [r["n"] for r in Journal(root, "j").records().values()] == [0, 1, 2]
    assert not Journal(root, "j").try_append(2, {"n": 9})


def test_creators_in_one_process_are_kept_apart():
    root = StoreRoot("memory://apart")
    original = MemoryFile.__init__

    def slow(self, *args, **options):
        time.sleep(0.05)
        original(self, *args, **options)

    wins = []
    with pytest.MonkeyPatch.context() as patch:
        # fsspec's memory looks, makes the file, and puts it: here another thread has time to come between.
        patch.setattr(MemoryFile, "__init__", slow)
        threads = [threading.Thread(target=lambda: wins.append(root.create("k", b"1"))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(wins) == [False, False, False, True]


def test_records_take_what_runs_are_made_of():
    value = {"a": np.float32(0.5), "b": np.arange(3), "c": {1, 2}, "d": (1, 2), "e": np.int64(3), "f": None}
    assert from_json(to_json(value)) == {"a": 0.5, "b": [0, 1, 2], "c": [1, 2], "d": [1, 2], "e": 3, "f": None}
    assert list(from_json(to_json({"z": 1, "a": 2}))) == ["z", "a"]
    with pytest.raises(TypeError, match="record: must be JSON-able; got a Journal"):
        to_json({"x": Journal(StoreRoot("memory://x"), "j")})


@given(st.binary(max_size=30))
def test_what_is_no_json_is_none(data):
    from_json(data)
    assert from_json(data + b"}]x") is None

"""A fit runs where it was placed."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from hybrid_ray.extractors.base import FitContext
from hybrid_ray.on_ray import train
from hybrid_ray.on_ray.cluster import QUIET_THREADS
from hybrid_ray.on_ray.train import Place
from hybrid_ray.on_ray.train_stage import fitted_on
from hybrid_ray.store.checkpoints import StoreCheckpoints
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block, Prepared, State


class Recorder:
    """Stands for a trained extractor: it writes down what is done with it."""

    spreads = False

    def __init__(self, own=None):
        self.calls = []
        self.own = own

    def build(self):
        return self

    def setup(self, device):
        self.calls.append(("setup", device))

    def fit(self, prepared, y, context):
        self.calls.append(("fit", len(y)))

    def learned(self):
        return State(meta={"calls": self.calls})

    def before_fits(self, prepared, most_bytes):
        self.calls.append(("before", torch.get_num_threads()))
        return prepared

    def restore(self, state, device):
        return self

    def cross_fitted(self, prepared, y, context):
        if self.own is None:
            return None
        return Block(np.full((len(prepared.present), 1), self.own, np.float32), prepared.present)

    def block(self, prepared):
        self.calls.append(("block", torch.get_num_threads()))
        return Block(np.zeros((len(prepared.present), 1), np.float32), prepared.present)


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process in which a task with two threads ran before; it is left as it was."""
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", *QUIET_THREADS):
        monkeypatch.setenv(name, "2")
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("usable", "device"), [(True, "cuda"), (False, "cpu")])
def test_a_fit_trains_on_the_device_that_it_was_given_where_torch_can_use_it(monkeypatch, usable, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    prepared = Prepared({"x": np.zeros((4, 1), np.float32)}, np.ones(4, bool))
    rows = np.array([0, 2, 3])
    fit = train._fit._function  # the task's own body, in this process: no machine here has a GPU
    state, block, done = fit(Recorder(), prepared, np.arange(4), rows, FitContext("binary", 2), "key", None, "cuda")
    assert state.meta["calls"] == [("setup", device), ("fit", 3), ("setup", device), ("block", 1)]
    assert len(block.values) == 4
    assert not done.cached


def test_rows_of_the_fit_get_their_cross_fitted_features_and_held_out_rows_those_of_new_rows():
    prepared = Prepared({"x": np.zeros((4, 1), np.float32)}, np.ones(4, bool))
    rows = np.array([0, 2, 3])
    fit = train._fit._function
    _, block, _ = fit(Recorder(7.0), prepared, np.arange(4), rows, FitContext("binary", 2), "key", None, "cpu")
    assert block.values[:, 0].tolist() == [7.0, 0.0, 7.0, 7.0]


class Twice(Recorder):
    """Has a further training beside that of the fit."""

    spreads = True

    def cross_fitted(self, prepared, y, context):
        further = context.further("twin", np.arange(1), 9)
        further.conduct.checkpoints.save(State(meta={"done": 1}))
        self.calls.append((further.seed, further.conduct.device, further.conductors))
        return super().cross_fitted(prepared, y, context)


def test_further_trainings_of_a_fit_have_checkpoints_of_their_own_until_it_is_done(tmp_path):
    prepared = Prepared({"x": np.zeros((4, 1), np.float32)}, np.ones(4, bool))
    root, context, kept = StoreRoot(str(tmp_path)), FitContext("binary", 2), []
    fit, found = train._fit._function, Twice()
    found.own = 1.0
    clear = StoreCheckpoints.clear
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoreCheckpoints, "clear", lambda own: kept.extend(own.root.list("trained")) or clear(own))
        fit(found, prepared, np.arange(4), np.array([0, 2]), context, "key", root, "cpu")
    assert found.calls[-1] == (9, "cpu", None)
    assert any(path.startswith("trained/key/checkpoint/twin/") for path in kept)
    assert not [path for path in root.list("trained") if "checkpoint" in path]


@pytest.mark.parametrize("threads", [1, 3])
def test_every_task_of_a_training_has_the_threads_of_its_place_whatever_ran_before_it(threads: int) -> None:
    prepared = Prepared({"x": np.zeros((4, 1), np.float32)}, np.ones(4, bool))
    place, context = Place(1.0, threads=threads), FitContext("binary", 2, threads=threads)
    shared, fitted, extracted = Recorder(), Recorder(), Recorder()
    train._before_fits._function(shared, prepared, 1, place)
    torch.set_num_threads(2)
    train._fit._function(fitted, prepared, np.arange(4), np.array([0, 2]), context, "key", None, "cpu")
    torch.set_num_threads(2)
    train._extract._function(extracted, State(), prepared, place)
    assert shared.calls[-1] == ("before", threads)
    assert fitted.calls[-1] == extracted.calls[-1] == ("block", threads)


def test_to_find_anomalies_extractors_are_fitted_on_normal_rows():
    y = np.array([0, 1, 0, 0, 1, 0, 1, 0])
    parts = [slice(0, 3), slice(4, 8)]
    found = fitted_on("anomaly", y, parts)
    np.testing.assert_array_equal(np.concatenate([np.arange(8)[part] for part in found]), [0, 2, 5, 7])
    assert fitted_on("binary", y, parts) == parts
    assert fitted_on("anomaly", np.zeros(8, np.int64), parts) == parts

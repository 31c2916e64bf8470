"""A fit runs where it was placed."""

import numpy as np

from hybrid_ray.extractors.base import FitContext
from hybrid_ray.on_ray import train
from hybrid_ray.on_ray.train_stage import fitted_on
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

    def cross_fitted(self, prepared, y, context):
        if self.own is None:
            return None
        return Block(np.full((len(prepared.present), 1), self.own, np.float32), prepared.present)

    def block(self, prepared):
        return Block(np.zeros((len(prepared.present), 1), np.float32), prepared.present)


def test_a_fit_trains_on_the_device_that_it_was_given():
    prepared = Prepared({"x": np.zeros((4, 1), np.float32)}, np.ones(4, bool))
    rows = np.array([0, 2, 3])
    fit = train._fit._function  # the task's own body, in this process: no machine here has a GPU
    state, block, done = fit(Recorder(), prepared, np.arange(4), rows, FitContext("binary", 2), "key", None, "cuda")
    assert state.meta["calls"] == [("setup", "cuda"), ("fit", 3), ("setup", "cuda")]
    assert len(block.values) == 4
    assert not done.cached


def test_rows_of_the_fit_get_their_cross_fitted_features_and_held_out_rows_those_of_new_rows():
    prepared = Prepared({"x": np.zeros((4, 1), np.float32)}, np.ones(4, bool))
    rows = np.array([0, 2, 3])
    fit = train._fit._function
    _, block, _ = fit(Recorder(7.0), prepared, np.arange(4), rows, FitContext("binary", 2), "key", None, "cpu")
    assert block.values[:, 0].tolist() == [7.0, 0.0, 7.0, 7.0]


def test_to_find_anomalies_extractors_are_fitted_on_normal_rows():
    y = np.array([0, 1, 0, 0, 1, 0, 1, 0])
    parts = [slice(0, 3), slice(4, 8)]
    found = fitted_on("anomaly", y, parts)
    np.testing.assert_array_equal(np.concatenate([np.arange(8)[part] for part in found]), [0, 2, 5, 7])
    assert fitted_on("binary", y, parts) == parts
    assert fitted_on("anomaly", np.zeros(8, np.int64), parts) == parts

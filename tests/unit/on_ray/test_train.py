"""A fit runs where it was placed."""

import numpy as np

from hybrid_ray.extractors.base import FitContext
from hybrid_ray.on_ray import train
from hybrid_ray.types import Block, Prepared, State


class Recorder:
    """Stands for a trained extractor: it writes down what is done with it."""

    spreads = False

    def __init__(self):
        self.calls = []

    def build(self):
        return self

    def setup(self, device):
        self.calls.append(("setup", device))

    def fit(self, prepared, y, context):
        self.calls.append(("fit", len(y)))

    def learned(self):
        return State(meta={"calls": self.calls})

    def block(self, prepared):
        return Block(np.zeros((len(prepared.present), 1), np.float32), prepared.present)


def test_a_fit_trains_on_the_device_that_it_was_given():
    prepared = Prepared({"x": np.zeros((4, 1), np.float32)}, np.ones(4, bool))
    rows = np.array([0, 2, 3])
    fit = train._fit._function  # the task's own body, in this process: no machine here has a GPU
    state, block, cached = fit(Recorder(), prepared, np.arange(4), rows, FitContext("binary", 2), "key", None, "cuda")
    assert state.meta["calls"] == [("setup", "cuda"), ("fit", 3), ("setup", "cuda")]
    assert len(block.values) == 4
    assert not cached

"""Artifacts of every format version load for ever.

``formats/v<n>`` was written by the code of that version. To add the folder of a new version, run this file as a script
once its format is settled; never write an old one again.
"""

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic import Field

from hybrid_ray.candidate import Candidate
from hybrid_ray.estimators.base import EstimatorFamily, EstimatorTags
from hybrid_ray.extractors.base import Extractor, ExtractorTags
from hybrid_ray.fusion.base import DecisionFusion, FeatureFusion
from hybrid_ray.graph import Chain, Graph, Member
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS, EXTRACTORS, FUSIONS
from hybrid_ray.store.artifact import Artifact, load_graph, save_graph
from hybrid_ray.store.golden import Golden, to_batch
from hybrid_ray.store.manifest import FORMAT_VERSION
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Prepared, State

FORMATS = Path(__file__).parent / "formats"


class Numbers(Extractor):
    """Scaled numbers; nothing here may change, or old folders answer otherwise."""

    tags: ClassVar[ExtractorTags] = ExtractorTags(modality="tabular", kinds=frozenset({"numeric", "text", "image"}))

    class Params(PluginParams):
        shift: float = Field(0.0, description="Added to every number.")

    def __init__(self, params, columns, scale=1.0):
        super().__init__(params, columns)
        self.scale = np.asarray(scale, np.float32)

    @property
    def n_features(self):
        return len(self.columns)

    def prepare(self, batch):
        columns = [self._numbers(batch[c], kind) for c, kind in self.columns.items()]
        x = np.stack(columns, axis=1)
        present = ~np.isnan(x).any(axis=1)
        return Prepared({"x": x[present].astype(np.float32)}, present)

    def extract(self, arrays):
        return (arrays["x"] + np.float32(self.params.shift)) * self.scale

    def get_state(self):
        return State(meta={"kind": "scale"}, tensors={"scale": self.scale}, blobs={"note.txt": b"a native file"})

    @classmethod
    def from_state(cls, params, columns, state):
        assert state.blobs["note.txt"] == b"a native file"
        return cls(params, columns, state.tensors["scale"])

    @staticmethod
    def _numbers(values, kind):
        return values if kind == "numeric" else np.array([np.nan if v is None else float(len(v)) for v in values])


class Concat(FeatureFusion):
    """Side by side."""

    class Params(PluginParams):
        pass

    def fit(self, inputs, y, seed=0):
        return self

    def combine(self, inputs):
        return np.concatenate([np.c_[b.values, b.present] for _, b in sorted(inputs.items())], axis=1)

    @classmethod
    def space(cls, trial, dims):
        return {}

    @classmethod
    def portfolio(cls, dims):
        return [{}]

    def get_state(self):
        return State()

    @classmethod
    def from_state(cls, params, state):
        return cls(params)


class Pool(DecisionFusion):
    """Weighted sum."""

    class Params(PluginParams):
        pass

    weights: ClassVar[dict] = {}

    def fit(self, inputs, y, task, seed=0, metric=None):
        return self

    def combine(self, inputs):
        return sum(weight * inputs[name] for name, weight in self.weights.items())

    @classmethod
    def space(cls, trial, n_members, task):
        return {}

    @classmethod
    def portfolio(cls, n_members, task):
        return [{}]

    def get_state(self):
        return State(meta={"weights": self.weights})

    @classmethod
    def from_state(cls, params, state):
        pool = cls(params)
        pool.weights = state.meta["weights"]
        return pool


class Line:
    """A straight line."""

    def __init__(self, weights):
        self.weights = weights

    def fit(self, X, y):
        return self

    def predict(self, X):
        return X.astype(np.float64) @ self.weights


class LineFamily(EstimatorFamily):
    """Lines."""

    tags: ClassVar[EstimatorTags] = EstimatorTags(tasks=frozenset({"regression"}))

    class Params(PluginParams):
        pass

    @classmethod
    def build(cls, params, task, seed, threads=1):
        return Line(np.zeros(1))

    @classmethod
    def space(cls, trial, task):
        return {}

    @classmethod
    def portfolio(cls, task):
        return [{}]

    @classmethod
    def dump(cls, model):
        return State(tensors={"weights": model.weights})

    @classmethod
    def load(cls, state):
        return Line(state.tensors["weights"])


PLUGINS = [
    (EXTRACTORS, "format_numbers", Numbers),
    (FUSIONS, "format_concat", Concat),
    (FUSIONS, "format_pool", Pool),
    (ESTIMATORS, "format_line", LineFamily),
]


@contextmanager
def registered():
    """The plugins are there for these tests only: others ask for every plugin there is."""
    for registry, name, plugin in PLUGINS:
        registry.register(name)(plugin)
    yield
    for registry, name, _ in PLUGINS:
        del registry._classes[name]


@pytest.fixture(scope="module", autouse=True)
def plugins():
    with registered():
        yield


COLUMNS = {"size": "numeric", "note": "text", "photo": "image"}
ROWS = [
    {"size": 1.5, "note": "four", "photo": {"base64": "aGVsbG8="}},
    {"size": None, "note": "é", "photo": None},
    {"size": -2.0, "note": None, "photo": {"base64": ""}},
]


def build() -> Graph:
    extractors = {
        "size": Numbers(Numbers.Params(shift=0.5), {"size": "numeric"}, [2.0]),
        "rest@0": Numbers(Numbers.Params(), {"note": "text", "photo": "image"}, [1.0, 0.25]),
    }
    members = []
    for name, blocks, weights in (("one", ("size",), [1.0, 3.0]), ("two", ("rest", "size"), [0.5, 1.0, 2.0, 4.0, 8.0])):
        keys = {block: "rest@0" if block == "rest" else block for block in blocks}
        chain = Chain(keys, Concat(Concat.Params()), "format_line", Line(np.array(weights)), (), 1)
        members.append(Member(name, Candidate(blocks, "format_concat", "format_line"), [chain]))
    decision = Pool(Pool.Params())
    decision.weights = {"one": 0.25, "two": 0.75}
    return Graph("old", "regression", "price", dict(COLUMNS), None, extractors, members, decision, {"seed": 7})


def test_the_graph_of_a_format_is_what_it_was():
    outputs = build().outputs(to_batch(ROWS, COLUMNS))
    np.testing.assert_allclose(outputs[:, 0], [23.6875, 0.0, -3.0])


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_an_artifact_of_every_format_loads(version):
    folder = FORMATS / f"v{version}"
    assert json.loads((folder / "manifest.json").read_bytes())["format_version"] == version
    graph = load_graph(folder)
    assert graph.info["golden_check"] == "passed"
    rows = to_batch(ROWS, COLUMNS)
    np.testing.assert_allclose(graph.outputs(rows), build().outputs(rows), rtol=1e-6)
    assert (graph.name, graph.label, graph.columns, graph.classes) == ("old", "price", COLUMNS, None)
    assert graph.info["seed"] == 7
    assert Artifact(folder).manifest.golden.rows == 3


def test_what_is_written_now_has_the_newest_format(tmp_path):
    save_graph(StoreRoot(str(tmp_path)), "", build(), None)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    assert manifest["format_version"] == FORMAT_VERSION
    newest = json.loads((FORMATS / f"v{FORMAT_VERSION}" / "manifest.json").read_bytes())
    assert manifest.keys() == newest.keys()
    assert manifest["files"].keys() | {"golden.json"} == newest["files"].keys()


if __name__ == "__main__":
    target = StoreRoot(str(FORMATS / f"v{FORMAT_VERSION}"))
    with registered():
        answers = build().outputs(to_batch(ROWS, COLUMNS))
        save_graph(target, "", build(), Golden(ROWS, answers.tolist()))
    sys.stdout.write(f"wrote {target.uri}\n")

"""An artifact of the plugins that ship: torch weights, boosters, forests, scikit-learn objects."""

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import ArtifactError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.graph import Graph, Member, fit_chain
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import FUSIONS
from hybrid_ray.store.artifact import load_graph
from hybrid_ray.store.golden import make_golden
from hybrid_ray.store.manifest import seal
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import TOY_COLUMNS, toy_batch, toy_rows

SMALL = {
    "logistic": {},
    "xgboost": {"n_estimators": 8},
    "lightgbm": {"n_estimators": 8},
    "random_forest": {"n_estimators": 10},
    "hist_gradient_boosting": {"n_estimators": 5},
    "svm": {},
}
STEPS = tuple({"name": name, "params": {}} for name in ("clip", "unskew", "drop_outliers", "smote", "weigh_classes"))
PREPARED = ("logistic", "xgboost")
"""Families whose chains have steps in front."""


def build(n: int = 60) -> Graph:
    load_plugins()
    rows = list(toy_rows(n, 1))
    batch, y = toy_batch(rows), np.array([row["label"] for row in rows])
    asked = {
        "pixels": ("pixels", {"size": 4}, ["photo"]),
        "cnn@0": ("cnn", {"size": 8, "width": 4, "features": 8, "epochs": 2}, ["photo"]),
        "tfidf": ("tfidf", {}, ["title"]),
        "tabular": ("tabular", {}, ["price", "brand", "listed"]),
    }
    extractors, blocks = {}, {}
    for key, (name, params, columns) in asked.items():
        extractor = build_extractor(name, params, {c: TOY_COLUMNS[c] for c in columns})
        prepared = extractor.prepare({c: batch[c] for c in columns})
        if extractor.tags.trained:
            extractor.fit(prepared, y, FitContext("multiclass", 3))
        extractor.setup("cpu")
        extractors[key], blocks[key.partition("@")[0]] = extractor, extractor.block(prepared)
    members = []
    for family, params in SMALL.items():
        steps = STEPS if family in PREPARED else ()
        candidate = Candidate(tuple(blocks), "concat", family, {"pca": 6} if family == "svm" else {}, params, steps)
        keys = {"cnn": "cnn@0"}
        chain = fit_chain(candidate, blocks, y, task="multiclass", n_outputs=3, seed=0, keys=keys)
        members.append(Member(family, candidate, [chain]))
    graph = Graph("real", "multiclass", "label", dict(TOY_COLUMNS), ["red", "green", "blue"], extractors, members, None)
    oof = graph.member_outputs(graph.extract(batch))
    pool = FUSIONS.get("linear_pool")
    graph.decision = pool(pool.Params()).fit(oof, y, "multiclass")
    return graph


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    graph = build()
    golden = make_golden(graph, pa.Table.from_pylist(list(toy_rows(12, 5))))
    models = ModelStore(StoreRoot(str(tmp_path_factory.mktemp("real"))))
    return graph, Path(models.register(graph, golden).uri)


def test_every_plugin_answers_as_it_did(saved):
    graph, folder = saved
    batch = toy_batch(list(toy_rows(30, 9, missing=0.3)))
    loaded = load_graph(folder)
    blocks, again = graph.extract(batch), loaded.extract(batch)
    for key, block in blocks.items():
        np.testing.assert_array_equal(again[key].values, block.values, err_msg=key)
    expected, got = graph.member_outputs(blocks), loaded.member_outputs(blocks)
    for name, outputs in expected.items():
        np.testing.assert_array_equal(got[name], outputs, err_msg=name)
    np.testing.assert_array_equal(loaded.outputs(batch), graph.outputs(batch))
    assert loaded.decision.weights == graph.decision.weights


def test_it_loads_in_another_process_and_moved(saved, tmp_path):
    graph, folder = saved
    shutil.copytree(folder, tmp_path / "copy")
    code = (
        "import sys, json; from hybrid_ray.store.artifact import load_graph\n"
        "from hybrid_ray.testing.graphs import toy_batch, toy_rows\n"
        "graph = load_graph(sys.argv[1]); print(json.dumps(graph.outputs(toy_batch(list(toy_rows(10, 9)))).tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "copy")], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    expected = graph.outputs(toy_batch(list(toy_rows(10, 9))))
    np.testing.assert_allclose(json.loads(done.stdout.strip().splitlines()[-1]), expected, atol=1e-9)


def test_nothing_of_it_is_a_pickle(saved):
    _, folder = saved
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it raises, it is none
            pickle.loads(data)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                assert not [name for name in archive.namelist() if name.endswith((".pkl", ".pickle"))], path


def reseal(folder: Path) -> None:
    for head in folder.rglob("chain.json"):
        chain = json.loads(head.read_bytes())
        chain["files"] = {path: info(head.parent / path) for path in chain["files"]}
        head.write_text(json.dumps(chain))
    document = json.loads((folder / "manifest.json").read_bytes())
    document["files"] = {path: info(folder / path) for path in document["files"]}
    del document["digest"]
    (folder / "manifest.json").write_bytes(seal(document))


def info(path: Path) -> dict:
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [0, 4])
def test_a_pickle_in_the_place_of_any_native_file_is_never_run(saved, tmp_path, protocol):
    _, folder = saved
    bomb = pickle.dumps(Bomb(tmp_path / "ran"), protocol=protocol)
    natives = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".json", ".safetensors")]
    assert len(natives) >= 3, natives
    for path in [*natives, *folder.rglob("tensors.safetensors")]:
        data = path.read_bytes()
        path.write_bytes(bomb)
        reseal(folder)
        with pytest.raises(ArtifactError):
            load_graph(folder, check=False)
        path.write_bytes(data)
    reseal(folder)
    load_graph(folder)
    assert not (tmp_path / "ran").exists()


def test_a_foreign_type_in_a_skops_file_is_refused(saved, tmp_path):
    from skops.io import dumps

    _, folder = saved
    path = next(folder.rglob("*.skops"))
    data = path.read_bytes()
    path.write_bytes(dumps(Path.touch))
    reseal(folder)
    with pytest.raises(ArtifactError, match="skops"):
        load_graph(folder, check=False)
    path.write_bytes(data)
    reseal(folder)

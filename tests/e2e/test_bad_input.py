"""Bad input ends with exit code 2 and one clear line, and leaves nothing half-written."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import save_file

from hybrid_ray.cli import main
from hybrid_ray.extractors import weights as hubs
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.encoders import tiny_encoder
from hybrid_ray.testing.graphs import png, toy_graph


@pytest.fixture
def asked(tmp_path):
    """A good spec on a small table, to be spoilt."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    pd.DataFrame({"x": rng.normal(y), "label": y}).to_csv(tmp_path / "rows.csv", index=False)
    return {
        "version": 1,
        "name": "spoilt",
        "task": "binary",
        "data": {"path": str(tmp_path / "rows.csv"), "label": "label", "columns": {"x": "numeric"}},
        "extractors": [{"name": "tabular"}],
        "search": {"trials": 2, "folds": 2, "estimators": ["logistic"], "max_concurrent": 1},
    }


@pytest.fixture
def refused(tmp_path, capsys, cluster):
    """Runs a spec that must be refused, on the session's cluster if it comes so far; gives the one line."""

    def call(spec, *options):
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
        store = tmp_path / "store"
        capsys.readouterr()
        code = main(["run", str(tmp_path / "spec.yaml"), "--store", str(store), "--quiet", *options])
        said = capsys.readouterr().err
        assert code == 2, said
        assert not list(store.rglob("*.json")), "nothing may be left"
        return said

    return call


def test_all_faults_of_a_spec_at_once(asked, refused):
    asked["task"] = "binry"
    asked["search"]["folds"] = 1
    asked["extractors"] = [{"name": "tabullar"}]
    said = refused(asked)
    assert len(said.strip().splitlines()) == 1
    for fault in (
        "task: must be one of",
        "Did you mean 'binary'",
        "search.folds: must be greater than or equal to 2; got 1",
        "extractors[0].name: unknown extractor 'tabullar'",
        "Did you mean 'tabular'",
    ):
        assert fault in said


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("data.label", "lable", r"Did you mean 'label'"),
        ("version", 99, "newer"),
        ("data.path", "/nowhere/rows.csv", "/nowhere/rows.csv"),
    ],
)
def test_a_wrong_value(asked, refused, path, value, wanted):
    room = asked
    *folders, leaf = path.split(".")
    for folder in folders:
        room = room[folder]
    room[leaf] = value
    said = refused(asked)
    assert wanted in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(range(200)), "rows.csv"),
        (b"x,label\n" + b"1,0\n" * 40, "class"),
    ],
    ids=["empty", "another format", "one class"],
)
def test_a_wrong_file(asked, refused, tmp_path, content, wanted):
    (tmp_path / "rows.csv").write_bytes(content)
    said = refused(asked)
    assert wanted in said
    assert len(said.strip().splitlines()) == 1


def test_a_store_that_is_not_writable(asked, tmp_path, capsys):
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(asked))
    (tmp_path / "file").write_text("in the way")
    assert main(["run", str(tmp_path / "spec.yaml"), "--store", str(tmp_path / "file" / "store"), "--quiet"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_an_override_that_is_no_yaml(asked, refused):
    assert "--set search.folds: the value must be YAML; got '[3'" in refused(asked, "--set", "search.folds=[3")


def hybrid_ray(folder, *arguments, address=""):
    """A command in a process of its own, and without an address on a cluster of its own."""
    command = [sys.executable, "-m", "hybrid_ray.cli", *arguments]
    environment = os.environ | {"HYBRID_RAY_OBJECT_STORE_MB": "200", "RAY_ADDRESS": address}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)


def test_more_gpus_than_the_cluster_has(asked, refused):
    asked["extractors"] = [{"name": "tabular", "resources": {"num_gpus": 64}}]
    [line] = refused(asked).strip().splitlines()
    assert "num_gpus" in line


def test_too_many_corrupt_images(asked, tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    photos = [png(np.full((8, 8, 3), 60 + 120 * v, np.uint8)) if i % 10 > 2 else b"no image" for i, v in enumerate(y)]
    pd.DataFrame({"photo": photos, "label": y}).to_parquet(tmp_path / "rows.parquet")
    asked["data"] |= {"path": "rows.parquet", "columns": {"photo": "image"}, "max_bad_fraction": 0.1}
    asked["extractors"] = [{"name": "pixels", "params": {"size": 4}}]
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(asked))
    done = hybrid_ray(tmp_path, "run", "spec.yaml", "--store", "store", "--quiet")
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.strip().splitlines()
    assert "data.max_bad_fraction" in line
    assert "18 of 60" in line
    [rejects] = (tmp_path / "store").rglob("rejects.jsonl")
    assert f"Listed in runs/{rejects.parent.name}/rejects.jsonl" in line
    assert len(rejects.read_text().splitlines()) == 18
    assert not (tmp_path / "store" / "models").exists()


def test_a_hub_that_cannot_be_reached(asked, refused, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HYBRID_RAY_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    hubs.reachable.cache_clear()
    asked["data"]["columns"] = {"x": "text"}
    asked["extractors"] = [{"name": "transformers", "params": {"model": "nobody/no-such-encoder"}}]
    [line] = refused(asked).strip().splitlines()
    assert "'nobody/no-such-encoder' must come from http://127.0.0.1" in line


def test_weights_of_another_architecture(asked, refused, tmp_path):
    encoder = tiny_encoder(tmp_path / "encoder")
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    asked["data"]["columns"] = {"x": "text"}
    asked["extractors"] = [{"name": "transformers", "params": {"model": str(encoder)}}]
    [line] = refused(asked).strip().splitlines()
    assert "the weights must be those of config.json's architecture" in line

    save_file({"features.0.weight": np.zeros((2, 2), np.float32)}, tmp_path / "mobilenet_v2.safetensors")
    pd.DataFrame({"photo": [png(np.zeros((8, 8, 3), np.uint8))] * 60, "label": [0, 1] * 30}).to_parquet(
        tmp_path / "photos.parquet"
    )
    asked["data"] |= {"path": str(tmp_path / "photos.parquet"), "columns": {"photo": "image"}}
    weights = str(tmp_path / "mobilenet_v2.safetensors")
    asked["extractors"] = [{"name": "torchvision", "params": {"model": "mobilenet_v2", "weights": weights}}]
    [line] = refused(asked).strip().splitlines()
    assert "mobilenet_v2" in line


@pytest.mark.parametrize("command", ["verify", "predict"])
def test_a_model_with_one_byte_changed(asked, tmp_path, cluster, command):
    store = tmp_path / "store"
    ModelStore(StoreRoot(str(store))).register(toy_graph(), None, {})
    victim = max((path for path in (store / "models").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    asked_for = ["models", "verify", "toy"] if command == "verify" else ["predict", "toy", "--data", "rows.csv"]
    asked_for += ["--out", "out.csv", "--quiet"] if command == "predict" else []
    done = hybrid_ray(tmp_path, *asked_for, "--store", "store", address=cluster.address)
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.strip().splitlines()
    assert victim.name in line
    assert not (tmp_path / "out.csv").exists()


def test_json_goes_to_standard_output_and_nothing_else(asked, tmp_path, capsys):
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(asked))
    assert main(["spec", "validate", str(tmp_path / "spec.yaml"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"valid": True, "name": "spoilt"}
    assert said.err == ""

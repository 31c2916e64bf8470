"""The whole loop, unattended: rows drift, labels come, a challenger is trained, is let in only if better, and wins."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml

from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.retraining import Retrainer, steps_of
from hybrid_ray.on_ray.serve import Serving, serve_model
from hybrid_ray.serving.standing import TrafficStore
from hybrid_ray.spec import CanaryRule, LogSpec, MonitorSpec, RetrainSpec, ScaleSpec, ServeSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot

pytestmark = pytest.mark.slow
ONE = ScaleSpec(min_replicas=1, max_replicas=1)
RETRAIN = RetrainSpec(
    min_labelled=150,
    every_s=0,
    share=0.9,
    rule=CanaryRule(min_requests=60, max_error_rate=0.2),
    overrides={"search.trials": 2},
)
LIMITS = ServeSpec(
    placement="together",
    ingress=ONE,
    log=LogSpec(share=1.0, seconds=0.5),
    monitor=MonitorSpec(window=100, every_s=1.0),
    retrain=RETRAIN,
)


def rows(n: int, seed: int, drifted: bool) -> pd.DataFrame:
    """Two numbers and a label; after the drift ``x`` lies elsewhere, and tells the label the other way round."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    x = rng.normal(np.where(label == 1, 1.5, -1.5), 1.0)
    return pd.DataFrame(
        {"x": 6.0 - x if drifted else x, "z": rng.normal(size=n), "label": np.where(label, "yes", "no")}
    )


@pytest.fixture(scope="module")
def store(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("loop")
    rows(300, 0, drifted=False).to_csv(folder / "rows.csv", index=False)
    spec = {
        "name": "loop",
        "data": {"path": str(folder / "rows.csv"), "label": "label"},
        "extractors": [{"name": "tabular"}],
        "search": {"trials": 2, "folds": 2, "estimators": ["logistic", "random_forest"]},
    }
    (folder / "loop.yaml").write_text(yaml.safe_dump(spec))
    # In a process of its own, as people do: what it held of the cluster is free when it ends.
    command = [sys.executable, "-m", "hybrid_ray.cli", "run", str(folder / "loop.yaml"), "--address", cluster.address]
    subprocess.run([*command, "--store", str(folder / "store"), "--json", "--quiet"], check=True, timeout=300)
    return str(folder / "store")


@pytest.fixture(scope="module")
def serving(cluster: Cluster, store: str) -> Iterator[Serving]:
    with serve_model(cluster, "loop", store, port=0, limits=LIMITS, ready_timeout_s=120) as held:
        yield held


def ask(url: str, frame: pd.DataFrame, labelled: bool = True) -> list[int]:
    """Ask for rows, some at a time, and tell their labels: the versions that answered."""
    versions = []
    for start in range(0, len(frame), 10):
        part = frame.iloc[start : start + 10]
        body = httpx.post(f"{url}/predict", json={"rows": part[["x", "z"]].to_dict("records")}, timeout=60).json()
        versions.append(body["version"])
        if labelled:
            httpx.post(f"{url}/feedback", json={"id": body["id"], "labels": part["label"].tolist()}).raise_for_status()
    return versions


def until(what: Any, seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


def test_from_drift_to_a_new_champion(serving: Serving, store: str) -> None:
    root = StoreRoot(store)
    traffic, steps = TrafficStore(ModelStore(root)), steps_of(root, "loop")
    ask(serving.url, rows(150, 1, drifted=False), labelled=False)
    assert steps.last() is None
    ask(serving.url, rows(500, 2, drifted=True))
    accepted = until(lambda: next((r for r in steps.records().values() if r["step"] in ("accepted", "failed")), None))
    assert accepted["step"] == "accepted", accepted
    assert "has drifted: " in accepted["why"]
    assert accepted["challenger"] < accepted["champion"]  # log loss
    until(lambda: traffic.now("loop").traffic.champion == 2 or not ask(serving.url, rows(20, 3, drifted=True), False))
    for _ in range(200):
        ask(serving.url, rows(20, 3, drifted=True), labelled=False)
        if traffic.now("loop").traffic.champion == 2:
            break
    now = traffic.now("loop")
    assert (now.traffic.champion, now.by) == (2, "rule")
    frame = rows(100, 4, drifted=True)
    until(lambda: set(ask(serving.url, frame.head(10), labelled=False)) == {2})
    body = httpx.post(f"{serving.url}/predict", json={"rows": frame[["x", "z"]].to_dict("records")}, timeout=60).json()
    right = np.mean(
        [each["prediction"] == label for each, label in zip(body["predictions"], frame["label"], strict=True)]
    )
    assert right > 0.8


def test_a_challenger_that_is_no_better_is_refused(serving: Serving, store: str) -> None:
    root = StoreRoot(store)
    asked = RETRAIN.model_copy(
        update={"overrides": {"search.trials": 1, "search.estimators": [{"name": "naive_bayes"}], "seed": 9}}
    )
    before = TrafficStore(ModelStore(root)).now("loop")
    record = asyncio.run(Retrainer(root, "loop", asked).consider("a test"))
    assert record["step"] == "refused", record
    assert "not surely better" in record["reason"]
    assert TrafficStore(ModelStore(root)).now("loop") == before


def test_too_soon_and_too_few_rows_do_nothing(serving: Serving, store: str, tmp_path: Path) -> None:
    root = StoreRoot(store)
    soon = RETRAIN.model_copy(update={"every_s": 3600.0})
    assert asyncio.run(Retrainer(root, "loop", soon).consider("a test")) is None
    few = RETRAIN.model_copy(update={"min_labelled": 100_000})
    assert asyncio.run(Retrainer(root, "loop", few).consider("a test"))["step"] == "waiting"
    dry = RETRAIN.model_copy(update={"dry_run": True})
    assert asyncio.run(Retrainer(root, "loop", dry).consider("a test"))["step"] == "dry run"

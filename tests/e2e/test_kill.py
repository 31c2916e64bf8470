"""A run that is killed goes on where it was: no finished work is done twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import yaml

from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import png

N_ROWS, SHARD = 520, 65
"""More rows than tasks are made for: a pool of actors extracts them."""


@pytest.fixture
def asked(tmp_path):
    """A spec whose extraction and search are long enough to be killed in between."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, N_ROWS)
    pixels = np.clip(80 + 90 * y[:, None, None, None] + rng.normal(0, 60, (N_ROWS, 24, 24, 3)), 0, 255)
    frame = pd.DataFrame({"photo": [png(p.astype(np.uint8)) for p in pixels], "label": y})
    frame.to_parquet(tmp_path / "rows.parquet")
    spec = {
        "name": "killed",
        "task": "binary",
        "data": {
            "path": str(tmp_path / "rows.parquet"),
            "label": "label",
            "columns": {"photo": "image"},
            "shard_rows": SHARD,
        },
        "extractors": [{"name": "torchvision", "params": {"model": "resnet18", "weights": "none", "image_size": 64}}],
        "search": {"trials": 6, "batch": 3, "folds": 3, "estimators": ["logistic", "knn", "extra_trees"],
                   "ensemble": {"trials": 3}},
    }  # fmt: skip
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    return tmp_path


def start(folder) -> subprocess.Popen:
    command = [sys.executable, "-m", "hybrid_ray.cli", "run", "spec.yaml", "--store", "store", "--json", "--quiet"]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def kill_when(process: subprocess.Popen, ready, what: str) -> None:
    """SIGKILL the whole session of a run as soon as ``ready()`` holds."""
    deadline = time.monotonic() + 300
    while not ready():
        assert process.poll() is None, f"ended before {what}: {process.stderr.read()[-2000:]}"
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


@pytest.mark.slow
def test_killed_in_extraction_then_in_search(asked, run):
    store = StoreRoot(str(asked / "store"))

    def shards() -> int:
        return sum("/shards/" in path for path in store.list("features"))

    def fits() -> list[str]:
        return [path for path in store.list("runs") if "/fits/" in path]

    kill_when(start(asked), lambda: 2 <= shards() < N_ROWS // SHARD, "the first shards")
    done = shards()
    assert 2 <= done < N_ROWS // SHARD

    kill_when(start(asked), lambda: len(fits()) >= 4, "the first fits")
    kept = {path: store.read(path) for path in fits()}
    assert shards() == N_ROWS // SHARD

    answer = finished(start(asked))
    assert answer["extraction"]["computed"] == 0
    assert len(kept) <= answer["search"]["resumed"] < answer["search"]["fits"]
    assert kept == {path: store.read(path) for path in kept}, "a finished fit is not done again"

    # Features are made once: only the search is done again, in a store that knows nothing of it.
    shutil.copytree(asked / "store" / "features", asked / "whole" / "features")
    whole = run(asked / "spec.yaml", asked / "whole")
    assert whole["search"]["resumed"] == 0
    assert whole["search"]["fits"] == answer["search"]["fits"]
    assert trials(store, answer) == trials(StoreRoot(str(asked / "whole")), whole)
    assert [answer[part] for part in SAME] == [whole[part] for part in SAME]


SAME = ("test", "ci95", "members", "levels", "modalities")
"""Parts of an answer that a kill must not change."""


def finished(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err[-2000:]
    return json.loads(out.splitlines()[-1])


def trials(store: StoreRoot, answer: dict) -> list[dict]:
    """Every trial of a run but for the time that it took."""
    record = json.loads(store.read(f"runs/{answer['run_id']}/trials.json"))
    return [{k: v for k, v in t.items() if k != "seconds"} for t in (*record["trials"], *record["ensembles"])]

"""Systems of different kinds, each killed once, resumed, then asked in batch and over HTTP: JSON out.

    python benchmarks/served.py [--systems cnn_svm,sentiment,…] [--trials 4]

Each spec runs on its data with few trials. Its process, and all that it started, is killed (SIGKILL) when some fits are
done; the same command then goes on. Of the model that comes out, ``hybrid-ray predict`` and ``POST /predict`` of
``hybrid-ray serve`` are asked the same test rows; told are the fits that the second run found, and the largest
difference between the two answers.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from recorded import ROOT, commit, hybrid_ray, write
from systems import Bench, spec_of
from systems_base import SPEC
from systems_set import SYSTEMS

from hybrid_ray.data.rows import read_columns, read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.spec import load_spec
from hybrid_ray.store.root import StoreRoot

RESULTS = ROOT / "benchmarks" / "results" / "served.json"
KINDS = ("cnn_svm", "bert_xgboost", "forecasting", "graph", "autoencoder_clusters")
"""An image, a text, a series, a graph, a cluster."""
FITS = 2
"""Finished fits after which a run is killed."""
ROWS = 64
LIMIT_S = 3600


def interrupted(store: Path, arguments: list[str]) -> int:
    """Kill a run once it has finished some fits: how many its store then holds."""
    command = [sys.executable, "-m", "hybrid_ray.cli", *arguments, "--store", str(store)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    root, deadline = StoreRoot(str(store)), time.monotonic() + LIMIT_S
    while (done := fits(root)) < FITS:
        if process.poll() is not None or time.monotonic() > deadline:
            assert process.stderr is not None
            raise RuntimeError(f"must be killed after {FITS} fits; it ended: {process.stderr.read()[-2000:]!r}")
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    return done


def fits(root: StoreRoot) -> int:
    """Finished fits in a store."""
    return sum("/fits/" in path for path in root.list("runs"))


def asked_over_http(store: Path, model: str, rows: list[dict[str, Any]]) -> list[Any]:
    """What a served model answers to rows, a few at a time."""
    command = [sys.executable, "-m", "hybrid_ray.cli", "serve", model, "--port", "0", "--json", "--store", str(store)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        url = json.loads(next(line for line in process.stdout if line.startswith("{")))["url"]
        answers: list[Any] = []
        for start in range(0, len(rows), 8):
            reply = httpx.post(f"{url}/predict", json={"rows": rows[start : start + 8]}, timeout=120)
            reply.raise_for_status()
            answers += reply.json()["predictions"]
        return answers
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def sendable(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return None if isinstance(value, float) and np.isnan(value) else value


def numbers(answer: dict[str, Any]) -> list[float]:
    """What an answer says in numbers: probabilities where it has them, else the prediction."""
    said = answer["proba"].values() if "proba" in answer else np.atleast_1d(answer["prediction"])
    return [float(value) for value in said]


def batch_numbers(row: pd.Series) -> list[float]:
    """The same of a row that ``predict`` wrote."""
    proba = [name for name in row.index if name.startswith("proba_")]
    return [float(v) for v in (row[proba] if proba else np.atleast_1d(row["prediction"]))]


def checked(name: str, data: Path, work: Path, trials: int) -> dict[str, Any]:
    """One system, killed, resumed and asked twice."""
    system, store = SYSTEMS[name], work / name
    where = Bench(data, work, work / "none.json").place(system, SPEC, system.rows[SPEC])
    changed = {**system.rows[SPEC].changed, "data.path": where, "search.trials": trials}
    sets = [f"--set={path}={json.dumps(value)}" for path, value in changed.items()]
    arguments = ["run", str(spec_of(system)), *sets, "--json"]
    killed_after = interrupted(store, arguments)
    run = hybrid_ray(store, LIMIT_S, *arguments)
    spec = load_spec(spec_of(system), changed)
    assert spec.task != "auto"
    assert spec.data.columns is not None
    source = open_source(spec.data)
    rows = read_rows(spec.data, spec.target, source, spec.task, spec.search.folds, spec.seed)
    table: pa.Table = read_columns(source, list(spec.data.columns)).take(rows.test_rows[:ROWS])
    asked, answered = work / f"{name}.rows.parquet", work / f"{name}.answers.parquet"
    pq.write_table(table, asked)
    model = f"{run['model']}:{run['version']}"
    hybrid_ray(store, LIMIT_S, "predict", model, "--data", str(asked), "--out", str(answered), "--json")
    batch = [batch_numbers(row) for _, row in pd.read_parquet(answered).iterrows()]
    sent = [{column: sendable(value) for column, value in row.items()} for row in table.to_pylist()]
    online = [numbers(answer) for answer in asked_over_http(store, model, sent)]
    return {
        "system": name,
        "kinds": sorted(set(spec.data.columns.values())),
        "task": spec.task,
        "commit": commit(),
        "killed_after_fits": killed_after,
        "resumed_fits": run["search"]["resumed"],
        "fits": run["search"]["fits"],
        "rows": len(batch),
        "largest_difference": float(np.abs(np.array(batch) - np.array(online)).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default=",".join(KINDS))
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=Path("served_work"), help="stores, rows and answers")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    held = json.loads(asked.results.read_text())["systems"] if asked.results.exists() else []
    found = {each["system"]: each for each in held}
    for name in asked.systems.split(","):
        found[name] = checked(name, asked.data, asked.work.resolve(), asked.trials)
        print(json.dumps(found[name]), flush=True)
        write(asked.results, {"systems": [found[each] for each in sorted(found)]}, indent=1)


if __name__ == "__main__":
    main()

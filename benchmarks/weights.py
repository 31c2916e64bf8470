"""Ensemble weights on one core: vectors scored a second beside scikit-learn, and what each solver reaches; JSON out.

    python benchmarks/weights.py [--members 20] [--rows 5000] [--classes 10] [--metrics log_loss,...] [--out FILE]

Throughput: our block of weight vectors over a loop that mixes the members and calls scikit-learn's metric, for the same
vectors. Solvers: the score on the rows that the weights were solved on, and the seconds it took. Results are written
after every metric.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import metrics

from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.fusion.pool_problems import pool_problem
from hybrid_ray.types import Task

BLOCK = 200
"""Weight vectors of a block."""
LOOP = 5
"""Weight vectors of the loop, which takes long."""
SOLVERS = ("greedy", "convex", "cmaes", "tpe")


def ovr(y: np.ndarray, outputs: np.ndarray) -> float:
    return float(metrics.roc_auc_score(y, outputs, multi_class="ovr"))


PEERS: dict[tuple[Task, str], Callable[[np.ndarray, np.ndarray], float]] = {
    ("multiclass", "log_loss"): lambda y, outputs: metrics.log_loss(y, outputs),
    ("multiclass", "brier_score_loss"): lambda y, outputs: metrics.brier_score_loss(y, outputs),
    ("multiclass", "balanced_accuracy"): lambda y, outputs: metrics.balanced_accuracy_score(y, outputs.argmax(axis=1)),
    ("multiclass", "f1_macro"): lambda y, outputs: metrics.f1_score(y, outputs.argmax(axis=1), average="macro"),
    ("multiclass", "roc_auc_ovr"): ovr,
    ("regression", "root_mean_squared_error"): lambda y, outputs: metrics.root_mean_squared_error(y, outputs[:, 0]),
    ("regression", "mean_absolute_error"): lambda y, outputs: metrics.mean_absolute_error(y, outputs[:, 0]),
}


def make_members(task: Task, members: int, rows: int, classes: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Members that see the truth through noise of their own, each a little less."""
    draw = np.random.default_rng(0)
    skill = np.linspace(1.0, 0.2, members)
    if task == "regression":
        y = draw.normal(size=rows)
        return {f"m{i:02d}": (y + draw.normal(size=rows) / s)[:, None] for i, s in enumerate(skill)}, y
    codes = draw.integers(classes, size=rows)
    found = {}
    for i, s in enumerate(skill):
        raw = np.exp(2 * s * np.eye(classes)[codes] + draw.normal(size=(rows, classes)))
        found[f"m{i:02d}"] = raw / raw.sum(axis=1, keepdims=True)
    return found, codes


def timed(call: Callable[[], Any], repeats: int) -> float:
    """The shortest of some runs, in seconds."""
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return min(spent)


def one_metric(task: Task, name: str, members: int, rows: int, classes: int) -> dict[str, Any]:
    """Throughput and solvers for one metric."""
    inputs, y = make_members(task, members, rows, classes)
    names = sorted(inputs)
    outputs = np.stack([inputs[each] for each in names])
    metric, peer = get_metric(name, task), PEERS[task, name]
    problem = pool_problem(inputs, names, y, task, metric)
    weights = np.random.default_rng(1).dirichlet(np.ones(members), size=BLOCK)
    ours = BLOCK / timed(lambda: problem.losses(weights), 3)
    loop = LOOP / timed(lambda: [peer(y, np.tensordot(w, outputs, axes=1)) for w in weights[:LOOP]], 2)
    report: dict[str, Any] = {"vectors_per_s": ours, "sklearn_vectors_per_s": loop, "ratio": ours / loop}
    for solver in SOLVERS:
        pool = LinearPool(
            LinearPoolParams(solver=solver, objective="metric", evaluations=200 if solver == "tpe" else 1000)
        )
        started = time.perf_counter()
        pool.fit(inputs, y, task, 0, metric)
        spent = time.perf_counter() - started
        report[solver] = {"score": metric.score(y, pool.combine(inputs)), "seconds": spent}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--metrics", default=",".join(name for _, name in PEERS))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    report: dict[str, Any] = {"asked": {k: str(v) for k, v in vars(asked).items()}, "python": platform.python_version()}
    report |= {"cores": os.cpu_count(), "load": os.getloadavg()[0], "metrics": {}}
    for task, name in PEERS:
        if name in asked.metrics.split(","):
            report["metrics"][name] = one_metric(task, name, asked.members, asked.rows, asked.classes)
            if asked.out:
                asked.out.write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

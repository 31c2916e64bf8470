"""What the search costs beside its fits, and how fast weights are scored; JSON out, ratios within one run.

    python benchmarks/search.py [--trials 64] [--lanes 4] [--rows 2000] [--out FILE]

Three ways to do the same kind of fits (naive Bayes on generated features, four folds a trial):

direct   the fits one after another in this process: no search at all
ours     ``search_candidates``: Optuna's proposals, records and out-of-fold predictions written; halving off;
         ``ours_halving`` with halving; ``ours_free`` without ``search.deterministic``
plain    a function trainable on Ray Tune with OptunaSearch, as its documentation shows it; ``_reused`` with reused
         actors; ``_halving`` reports every fold to Tune's ASHA. Nothing is written

``overhead_ms`` is what a trial costs beside its fits: wall time x trials at a time - seconds of fits, per trial;
``steady`` leaves out the start, up to the first trial told. The bound on it is 60 ms a trial; with halving 25 ms more
for each fold, ``folds`` being the mean over trials. ``search.batch`` is four times the trials at a time, as
docs/search.md has it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from sklearn.metrics import log_loss

from hybrid_ray.candidate import Candidate
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.fusion.weights import LogLossMean, greedy, true_class
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.matrices import Folded
from hybrid_ray.on_ray.search import search_candidates, search_ensembles
from hybrid_ray.plugins import load_plugins
from hybrid_ray.progress import SilentProgress
from hybrid_ray.registry import ESTIMATORS, FUSIONS
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.fits import Predicted, Setting, fit_fold
from hybrid_ray.search.plan import Choice, SearchPlan
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

CLASSES, WIDTH, FOLDS = 3, 32, 4
TRIAL_MS, FOLD_MS = 60.0, 25.0
"""What a trial may cost beside its fits, and each of its folds with halving."""

FAMILY, PARAMETER, BOUNDS = "naive_bayes", "var_smoothing", (1e-3, 1e3)
"""A quick family with a continuous parameter: no two trials are the same."""


def make_rows(n: int) -> FoldedData:
    draw = np.random.default_rng(0)
    y = draw.integers(0, CLASSES, n)
    values = draw.normal(size=(n, WIDTH)).astype(np.float32)
    values[:, :CLASSES] += np.eye(CLASSES, dtype=np.float32)[y]
    return FoldedData(
        task="multiclass",
        n_outputs=CLASSES,
        y=y.astype(np.int64),
        bounds=np.linspace(0, n, FOLDS + 1).astype(np.int64),
        forward=False,
        frozen={"features": Block(values, np.ones(n, bool))},
        trained={},
        digests={"features": "generated"},
    )


def make_plan(trials: int, lanes: int) -> SearchPlan:
    return SearchPlan(
        task="multiclass",
        n_outputs=CLASSES,
        metric="log_loss",
        blocks=("features",),
        modalities={"features": "tabular"},
        estimators=(Choice(FAMILY, FAMILY),),
        fusions=(Choice("concat", "concat", search=False),),
        combiners=(Choice("linear_pool", "linear_pool"), Choice("stacking", "stacking")),
        trials=trials,
        batch=4 * lanes,
        reduction=1.0,
        max_concurrent=lanes,
    )


class Stamps(SilentProgress):
    """Remembers when each batch of trials was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, int]] = []

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Any]:
        """Itself: every stage is watched alike."""
        yield self

    def advance(self, n: int = 1, note: str = "") -> None:
        """Some trials were told."""
        self.told.append((time.perf_counter(), n))

    def note(self, text: str) -> None:
        """Nothing to remember."""


def overhead(
    lanes: int, wall: float, fits: list[float], folds: list[int], told: list[tuple[float, int]], halving: bool = False
) -> dict[str, float]:
    """Milliseconds of a trial that are not its fits, with the start and without."""
    n, mean, mean_folds = len(fits), float(np.mean(fits)), float(np.mean(folds))
    after = sum(count for _, count in told[1:])
    steady = (told[-1][0] - told[0][0]) * lanes / after - mean
    return {
        "wall_s": wall,
        "folds": mean_folds,
        "fit_ms": mean * 1e3,
        "overhead_ms": (wall * lanes / n - mean) * 1e3,
        "steady_overhead_ms": steady * 1e3,
        "steady_overhead_over_bound": steady * 1e3 / (TRIAL_MS + halving * FOLD_MS * mean_folds),
        "trials_per_s": after / (told[-1][0] - told[0][0]),
    }


def direct(rows: FoldedData, plan: SearchPlan, trials: int) -> dict[str, float]:
    setting, fits = Setting.of(plan, rows), []
    values = np.geomspace(*BOUNDS, trials)
    started = time.perf_counter()
    for value in values:
        candidate = Candidate(("features",), "concat", FAMILY, params={PARAMETER: float(value)})
        fits.append(sum(fit_fold(candidate, rows, fold, setting).seconds for fold in rows.folds))
    return {"wall_s": time.perf_counter() - started, "fit_ms": float(np.mean(fits)) * 1e3}


def ours(cluster: Any, folded: Folded, plan: SearchPlan, lanes: int) -> tuple[dict[str, float], dict[str, float]]:
    root, stamps = StoreRoot(tempfile.mkdtemp()), Stamps()
    busy = time.process_time()
    started = time.perf_counter()
    found = search_candidates(cluster, plan, folded, root, "bench", stamps)
    wall = time.perf_counter() - started
    done = [t for t in found.trials if t.repeats is None]
    fits, folds = [t.seconds for t in done], [t.folds_done for t in done]
    candidates = overhead(lanes, wall, fits, folds, stamps.told, halving=plan.reduction > 1)
    candidates["driver_cpu_ms"] = (time.process_time() - busy) / len(done) * 1e3
    stamps = Stamps()
    started = time.perf_counter()
    ensemble = search_ensembles(cluster, plan, folded, found, root, "bench", stamps)
    wall = time.perf_counter() - started
    solved = [trial.seconds for trial in ensemble.tried]
    ensembles = {"wall_s": wall, "trials": len(solved), "trial_ms": float(np.mean(solved)) * 1e3}
    return candidates, ensembles


def space(trial: optuna.Trial) -> None:
    trial.suggest_float(PARAMETER, *BOUNDS, log=True)


def plain(
    folded: Folded, plan: SearchPlan, trials: int, lanes: int, *, reuse: bool, halving: bool = False
) -> dict[str, float]:
    told: list[tuple[float, int]] = []

    class Clock(tune.Callback):
        """Remembers when each trial ended."""

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            """A trial ended."""
            told.append((time.perf_counter(), 1))

    def trainable(config: dict[str, Any], ref: list[Any]) -> None:
        load_plugins()
        family = ESTIMATORS.get(FAMILY)
        family.build(family.Params(), "multiclass", 0)  # imports are no part of a fit
        rows = ray.get(ref[0])
        candidate = Candidate(("features",), "concat", FAMILY, params={PARAMETER: config[PARAMETER]})
        done: list[Predicted] = []
        for fold in rows.folds:
            done.append(fit_fold(candidate, rows, fold, Setting.of(plan, rows)))
            if halving or fold == rows.folds[-1]:
                seconds = sum(d.seconds for d in done)
                tune.report({"loss": float(np.mean([d.score for d in done])), "seconds": seconds, "folds": len(done)})

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, ref=[folded.ref]), {"cpu": 0.5}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(space, metric="loss", mode="min", seed=0),
            scheduler=ASHAScheduler("folds", "loss", "min", max_t=FOLDS, reduction_factor=2) if halving else None,
            num_samples=trials,
            max_concurrent_trials=lanes,
            reuse_actors=reuse,
        ),
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0, callbacks=[Clock()]),
    )
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    started = time.perf_counter()
    results = tuner.fit()
    wall = time.perf_counter() - started
    metrics = [result.metrics for result in results]
    return overhead(lanes, wall, [m["seconds"] for m in metrics], [m["folds"] for m in metrics], told, halving)


class Counted(LogLossMean):
    """Counts the weight vectors whose loss is asked for."""

    scored = 0

    def losses(self, step: int) -> np.ndarray:
        """Losses, and one more weight vector for each."""
        found = super().losses(step)
        self.scored += len(found)
        return found


def weight_vectors(n: int = 5000, members: int = 30) -> dict[str, float]:
    """Weight vectors scored per second by greedy selection, beside scikit-learn's log_loss for each."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, CLASSES, n)
    raw = draw.normal(size=(members, n, CLASSES)) + np.linspace(0.2, 1.0, members)[:, None, None] * np.eye(CLASSES)[y]
    outputs = np.exp(raw) / np.exp(raw).sum(axis=2, keepdims=True)
    inputs = {f"m{i:02d}": outputs[i] for i in range(members)}
    metric, pool = get_metric("log_loss", "multiclass"), FUSIONS.get("linear_pool")
    answer: dict[str, float] = {}
    for solver in ("greedy", "convex"):
        fusion = pool(pool.Params(solver=solver))
        answer[f"{solver}_s"] = timed(lambda f=fusion: f.fit(inputs, y, "multiclass"))
        answer[f"{solver}_log_loss"] = metric.score(y, fusion.combine(inputs))
    counted = Counted(np.stack([true_class(member, y) for member in outputs]))
    greedy(counted, members, pool.Params().steps, members)
    answer["greedy_vectors_per_s"] = counted.scored / answer["greedy_s"]
    weights = draw.dirichlet(np.ones(members), size=20)
    naive = timed(lambda: [log_loss(y, np.tensordot(w, outputs, axes=1)) for w in weights], repeats=2) / len(weights)
    answer["sklearn_vectors_per_s"] = 1 / naive
    answer["best_alone_log_loss"] = min(metric.score(y, member) for member in outputs)
    return answer


def timed(call: Callable[[], Any], repeats: int = 5) -> float:
    """The shortest of some runs, in seconds."""
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--lanes", type=int, default=4, help="trials at the same time")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    load_plugins()
    rows, plan = make_rows(asked.rows), make_plan(asked.trials, asked.lanes)
    report: dict[str, Any] = {"asked": {k: str(v) for k, v in vars(asked).items()}, "python": platform.python_version()}
    report["cores"], report["load"] = os.cpu_count(), os.getloadavg()[0]
    report["direct"] = direct(rows, plan, 16)
    with connect("local", num_cpus=asked.lanes + 1) as cluster:
        folded = Folded(ray.put(rows), rows.dims(), rows.frozen["features"].values.nbytes, "bench")
        report["ours"], report["ensembles"] = ours(cluster, folded, plan, asked.lanes)
        report["ours_halving"], _ = ours(cluster, folded, replace(plan, reduction=2.0), asked.lanes)
        report["ours_free"], _ = ours(cluster, folded, replace(plan, deterministic=False), asked.lanes)
        report["plain_tune"] = plain(folded, plan, min(asked.trials, 16), asked.lanes, reuse=False)
        report["plain_tune_reused"] = plain(folded, plan, asked.trials, asked.lanes, reuse=True)
        report["plain_tune_halving"] = plain(folded, plan, asked.trials, asked.lanes, reuse=True, halving=True)
    report["weights"] = weight_vectors()
    ours_, weights = report["ours"], report["weights"]
    report["ratios"] = {
        f"{what}_of_{way}_over_ours": report[way][what] / ours_[what]
        for way in ("plain_tune", "plain_tune_reused")
        for what in ("steady_overhead_ms", "trials_per_s")
    } | {
        "steady_overhead_ms_of_plain_tune_halving_over_ours_halving": report["plain_tune_halving"]["steady_overhead_ms"]
        / report["ours_halving"]["steady_overhead_ms"],
        "wall_of_ours_over_ours_free": ours_["wall_s"] / report["ours_free"]["wall_s"],
        "weight_vectors_per_s_over_sklearn": weights["greedy_vectors_per_s"] / weights["sklearn_vectors_per_s"],
    }
    text = json.dumps(report, indent=2)
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

"""The final fit on all rows, read as a stream: memory and time by the number of rows; JSON out.

    python benchmarks/refit.py --rows 1000000 [--family xgboost] [--workers 1] [--way stream] [--out FILE]

One command a size: features (64 a row by default) are generated and written as shards of a store by tasks, a chain is
fitted on 20,000 of the rows, and then on all of them, by workers of Ray Train that read the shards (``stream``) or in
one task that holds the matrix (``memory``: the baseline). Results are added to FILE, under ``sizes`` and there under
``<family> <rows> <way> <workers>``; a size that is there already is not run again. Disk: 4 bytes a value for the store
in ``--folder``, and XGBoost's pages in $TMPDIR, about 2 bytes a value; all of it is removed at the end.

``peak_mb``, while the fit on all rows runs: anonymous memory (its own, and no file's) of the driver and of the largest
worker, that worker's resident size with what can be read again or is shared (pages on disk, object store, libraries),
and the scratch on disk. ``driver_peak_mb``: the driver's resident size, generating included. ``log_loss`` on 20,000
further rows: of the chain that was fitted on the sample, and of the one on all rows.

``growth``, for each family, way and number of workers of which FILE has several sizes, from the smallest to the
largest: bytes a row by which each peak grows, and the driver's peak at the largest as a multiple of the smallest's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import ray

from hybrid_ray.candidate import Candidate
from hybrid_ray.graph import Chain, fit_chain
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.feature_set import ExtractionStats, FeatureSet
from hybrid_ray.on_ray.refit import fit_on_stream
from hybrid_ray.on_ray.resources import plan_refit
from hybrid_ray.on_ray.stream import TrainingRows
from hybrid_ray.plugins import load_plugins
from hybrid_ray.store.chain import read_chain, write_chain
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

FINGERPRINT = "b" * 32
SAMPLE = 20_000
SCRATCH = "hybrid_ray_refit_*"


def make_rows(number: int, n: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of a run of rows, from its number: the label is noisy, and bent in two features."""
    draw = np.random.default_rng(number)
    X = draw.standard_normal((n, width), dtype=np.float32)
    score = X[:, 0] + X[:, 1] * X[:, 2] + 0.5 * X[:, 3:8].sum(axis=1) + draw.standard_normal(n, dtype=np.float32)
    return X, (score > 0).astype(np.int64)


@ray.remote
def write_shards(root: StoreRoot, first: int, sizes: list[int], width: int) -> tuple[list[str], np.ndarray]:
    cache, keys, labels = FeatureCache(root, FINGERPRINT), [], []
    for number, n in enumerate(sizes, first):
        X, y = make_rows(number, n, width)
        digests = np.random.default_rng([1, number]).integers(0, 256, (n, 16), dtype=np.uint8)
        keys.append(cache.shard_key(digests))
        cache.write_shard(keys[-1], digests, Block(X, np.ones(n, bool)))
        labels.append(y)
    return keys, np.concatenate(labels)


@ray.remote
def join(*labels: tuple[list[str], np.ndarray]) -> np.ndarray:
    return np.concatenate([y for _, y in labels])


@ray.remote(num_cpus=0)
def keys_of(written: tuple[list[str], np.ndarray]) -> list[str]:
    return written[0]


@ray.remote
def all_of(n: int) -> np.ndarray:
    return np.ones(n, bool)


def generate(root: StoreRoot, n: int, width: int, shard_rows: int) -> TrainingRows:
    """Shards and labels of n rows; the driver holds keys and references."""
    sizes = [min(shard_rows, n - start) for start in range(0, n, shard_rows)]
    written = [write_shards.remote(root, i, sizes[i : i + 16], width) for i in range(0, len(sizes), 16)]
    y = join.remote(*written)
    keys = [key for some in ray.get([keys_of.remote(part) for part in written]) for key in some]
    stats = ExtractionStats(n, 0, n, 0, 0, 0.0)
    features = FeatureSet("generated", FINGERPRINT, tuple(zip(keys, sizes, strict=True)), width, stats, ())
    ray.wait([y], fetch_local=False)
    return TrainingRows.of(root, {"generated": features}, y, all_of.remote(n), "binary", 2)


def fit(candidate: Candidate, rows: TrainingRows, numbers: np.ndarray, threads: int) -> Chain:
    blocks, y = rows.blocks(["generated"], numbers), ray.get(rows.y)[numbers]
    return fit_chain(candidate, blocks, y, task="binary", n_outputs=2, seed=0, threads=threads)


@ray.remote
def fit_sample(candidate: Candidate, rows: TrainingRows, n: int, end: str) -> None:
    load_plugins()
    write_chain(rows.root, end, fit(candidate, rows, np.arange(n), 1))


@ray.remote
def fit_in_memory(candidate: Candidate, rows: TrainingRows, n: int, end: str, threads: int) -> None:
    load_plugins()
    write_chain(rows.root, end, fit(candidate, rows, np.arange(n), threads))


@ray.remote
def log_loss(root: StoreRoot, end: str, width: int) -> float:
    X, y = make_rows(10**9, SAMPLE, width)
    outputs = read_chain(root, end).predict({"generated": Block(X, np.ones(len(X), bool))})
    return float(-np.log(outputs[np.arange(len(y)), y]).mean())


class Memory:
    """Samples this process, the workers of its cluster, and the scratch on disk while it is entered."""

    def __enter__(self) -> Memory:
        self.peaks = {"driver": 0, "worker": 0, "worker_resident": 0, "scratch": 0}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self._raise("driver", sizes_of(os.getpid())[0])
            for pid in workers(os.getpid()):
                anonymous, resident = sizes_of(pid)
                self._raise("worker", anonymous)
                self._raise("worker_resident", resident)
            folders = Path(tempfile.gettempdir()).glob(SCRATCH)
            self._raise("scratch", sum(size(file) for folder in folders for file in folder.rglob("*")))

    def _raise(self, name: str, found: int) -> None:
        self.peaks[name] = max(self.peaks[name], found)

    def megabytes(self) -> dict[str, int]:
        """The peaks."""
        return {name: round(peak / 2**20) for name, peak in self.peaks.items()}


def sizes_of(pid: int) -> tuple[int, int]:
    """Anonymous and resident bytes of a process; zeros when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    kept = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return kept.get("Anonymous", 0), kept.get("Rss", 0)


def size(file: Path) -> int:
    with suppress(OSError):
        return file.stat().st_size
    return 0


def workers(root: int) -> list[int]:
    """Ray's worker processes below a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    named = []
    for pid in found - {root}:
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
                named.append(pid)
    return named


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    params = {"n_estimators": asked.rounds, "patience": 1000, "learning_rate": 0.3, "refit_rows": 0}
    candidate = Candidate(("generated",), "concat", asked.family, params=params)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder, connect("local", num_cpus=asked.cpus) as cluster:
        root = StoreRoot(f"{folder}/store")
        started = time.perf_counter()
        rows = generate(root, asked.rows, asked.width, asked.shard_rows)
        generated = time.perf_counter() - started
        stored = sum(size(file) for file in Path(folder).rglob("*"))
        ray.get(fit_sample.remote(candidate, rows, min(SAMPLE, asked.rows), "runs/b/chains/sample"))
        resources = plan_refit(cluster.view(), asked.workers)
        started = time.perf_counter()
        with Memory() as memory:
            if asked.way == "stream":
                fit_on_stream(rows, candidate, "runs/b/chains/sample", "runs/b/chains/all", resources)
            else:
                task = fit_in_memory.options(num_cpus=resources.cpus)
                ray.get(task.remote(candidate, rows, asked.rows, "runs/b/chains/all", resources.threads))
        seconds = time.perf_counter() - started
        losses = {end: log_loss.remote(root, f"runs/b/chains/{end}", asked.width) for end in ("sample", "all")}
        return {
            "rows": asked.rows,
            "features": asked.width,
            "rounds": asked.rounds,
            "workers": resources.workers,
            "threads": resources.threads,
            "generated_s": generated,
            "seconds": seconds,
            "store_mb": round(stored / 2**20),
            "peak_mb": memory.megabytes(),
            "driver_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
            "log_loss": {end: ray.get(ref) for end, ref in losses.items()},
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "python": platform.python_version(),
        }


def growth(sizes: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How peaks grow with the rows, for each way of fitting of which there are several sizes."""
    ways: dict[str, list[dict[str, Any]]] = {}
    for key, result in sizes.items():
        family, _, way, n_workers = key.split()
        ways.setdefault(f"{family} {way} {n_workers}", []).append(result)
    found = {}
    for way, results in ways.items():
        small, large = (pick(results, key=lambda result: result["rows"]) for pick in (min, max))
        if large["rows"] > small["rows"]:
            more = large["rows"] - small["rows"]
            risen = {name: (peak - small["peak_mb"][name]) * 2**20 for name, peak in large["peak_mb"].items()}
            found[way] = {f"{name}_bytes_a_row": round(n_bytes / more, 1) for name, n_bytes in risen.items()}
            found[way]["driver_times"] = round(large["peak_mb"]["driver"] / small["peak_mb"]["driver"], 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64, help="features of a row")
    parser.add_argument("--family", choices=("xgboost", "lightgbm"), default="xgboost")
    parser.add_argument("--way", choices=("stream", "memory"), default="stream")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--cpus", type=int, default=os.cpu_count())
    parser.add_argument("--shard-rows", type=int, default=8192)
    parser.add_argument("--folder", help="where the store lies; default: the system's temporary folder")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    load_plugins()
    key = f"{asked.family} {asked.rows} {asked.way} {asked.workers}"
    sizes = json.loads(asked.out.read_text())["sizes"] if asked.out and asked.out.exists() else {}
    if key not in sizes:
        sizes[key] = measure(asked)
    report = json.dumps({"sizes": sizes, "growth": growth(sizes)}, indent=1)
    if asked.out:
        partial = asked.out.with_suffix(".part")
        partial.write_text(report)
        partial.replace(asked.out)
    print(report)


if __name__ == "__main__":
    main()

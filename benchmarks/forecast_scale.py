"""ARIMA and one LSTM over hundreds of generated series, by one worker and by two; JSON out.

    python benchmarks/forecast_scale.py [--series 250,500,1000] [--workers 1,2] [--rounds 3] [--exact] [--work DIR]
                                        [--out FILE]

Each cell is a run of one spec on a local cluster of so many CPUs, in a store of its own, up to the search: ARIMA
forecasts every row (two training origins and a test origin of each series), the LSTM is trained in each fold,
candidates weigh both. ``--exact``: the models that ARIMA's search finds are fitted again by maximum likelihood. Of the
rounds, the median time counts: ``growth`` is that of a size over that of the one before it, ``more_workers`` that of
the most workers over that of the fewest. Cells that the file has are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from typing import Any

from recorded import commit, write

from hybrid_ray.console import make_progress
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.run import run_spec
from hybrid_ray.spec import Spec, load_spec

STEPS, SEASON, HORIZON = 240, 12, 12
STAGES = ("extract", "train", "search", "ensemble")


def spec_of(n_series: int, exact: bool) -> Spec:
    """Monthly series of twenty years."""
    path = f"generated://points?series={n_series}&steps={STEPS}&season={SEASON}&id=name&time=t"
    return load_spec(
        {
            "name": "scale",
            "data": {
                "path": path,
                "label": "value",
                "shard_rows": 64,
                "series": {"id": "name", "time": "t", "horizon": HORIZON, "season": SEASON},
            },
            "extractors": [
                {"name": "arima", "params": {"exact": exact}},
                {"name": "forecast_rnn", "params": {"epochs": 5, "windows": 16}},
            ],
            "search": {"trials": 4, "folds": 2, "ensemble": {"trials": 2}},
        }
    )


def measure(n_series: int, workers: int, exact: bool, folder: Path) -> dict[str, Any]:
    """Seconds of each stage of one run in a fresh store."""
    with tempfile.TemporaryDirectory(dir=folder) as store:
        cluster = partial(connect, num_cpus=workers)
        with make_progress(False, sys.stderr) as progress:
            run_spec(spec_of(n_series, exact), store, cluster=cluster, progress=progress, stop_after="search")
            seconds = {name: round(progress.seconds.get(name, 0.0), 2) for name in STAGES}
    return {
        "series": n_series,
        "workers": workers,
        "seconds": seconds,
        "total_s": round(sum(seconds.values()), 2),
        "commit": commit(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def ratios(cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Median seconds of each size, how they grow with the series, and what more workers save."""
    rounds: dict[int, dict[int, list[float]]] = {}
    for cell in cells.values():
        rounds.setdefault(cell["workers"], {}).setdefault(cell["series"], []).append(cell["total_s"])
    by_workers = {
        workers: {n: median(found) for n, found in sorted(sizes.items())} for workers, sizes in sorted(rounds.items())
    }
    growth = {
        f"{b}/{a} series, {workers} workers": round(times[b] / times[a], 3)
        for workers, times in by_workers.items()
        for a, b in pairwise(times)
    }
    few, most = min(by_workers), max(by_workers)
    both = [n for n in by_workers[few] if n in by_workers[most]] if few < most else []
    more_workers = {f"{n} series": round(by_workers[most][n] / by_workers[few][n], 3) for n in both}
    seconds = {
        f"{n} series, {workers} workers": round(time, 2)
        for workers, times in by_workers.items()
        for n, time in times.items()
    }
    return {"seconds": seconds, "growth": growth, "more_workers": more_workers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", default="250,500,1000")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cells = json.loads(asked.out.read_text())["cells"] if asked.out and asked.out.exists() else {}
    sizes = product(range(asked.rounds), map(int, asked.workers.split(",")), map(int, asked.series.split(",")))
    for number, workers, n_series in sizes:
        key = f"{n_series} series, {workers} workers, round {number}"
        if key not in cells:
            cells[key] = measure(n_series, workers, asked.exact, asked.work)
        if asked.out:
            write(asked.out, {"cells": cells, **ratios(cells)}, indent=1)
    print(json.dumps({"cells": cells, **ratios(cells)}, indent=1))


if __name__ == "__main__":
    main()

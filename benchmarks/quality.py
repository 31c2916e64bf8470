"""Quality beside peers on real data, for the same wall time on the same machine; one command a cell, JSON out.

    python benchmarks/quality.py cell SET SYSTEM [--seed 0] [--part dev|test] [--seconds 240] [--note WHY]
    python benchmarks/quality.py all   [--sets a,b] [--systems x,y] [--seeds 0,1,2] [--part dev|test] [--note WHY]
    python benchmarks/quality.py table [--part dev|test]

Systems:

ours                one `hybrid-ray run`: the spec says what the data is and how it is scored, and nothing else
best_candidate      the best single candidate of the same runs, as their reports score it; no cell of its own
single              one `hybrid-ray run` that may answer by a single candidate only
stacking            scikit-learn's stacking of five learners on the same features
autogluon           AutoGluon-Tabular, best quality preset, on the raw columns (text as it is; where an image is all
                    there is, on its thumbnail's pixels)
autogluon_features  the same, given the same extracted features too
naive               the share of each class, or the mean

Features of frozen extractors are extracted once a set, before any clock starts, and given to all that read them.
AutoGluon lives in an environment of its own: ``--autogluon PYTHON`` or $HYBRID_RAY_AUTOGLUON names its interpreter.

``dev`` divides the training rows and never reads a test row; ``test`` is the set's own split, where ours is run at a
tagged commit only and the cells of each tag are kept: those of another tag need a ``--note`` that says why it was run
again. Peers, which nothing of ours but the features goes into, have theirs beside the tags. A cell holds what was
answered for each row, is written whole or not at all, and one that is there is not run again. ``table`` prints, of
every tag, every score, the mean rank of each system over sets and seeds, and for each set the paired bootstrap of the
difference of ours to every other system.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray
from quality_sets import SCORERS, SETS, Part, QualitySet, answers
from recorded import ROOT, commit, hybrid_ray, write

from hybrid_ray.data.rows import read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.infer import resolve_spec
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.matrices import load_rows
from hybrid_ray.on_ray.stages import Job, extract_stage
from hybrid_ray.progress import SilentProgress
from hybrid_ray.spec import load_spec
from hybrid_ray.store.root import StoreRoot

SYSTEMS = ("naive", "single", "stacking", "autogluon", "autogluon_features", "ours")
OURS = ("single", "ours")
BEST = "best_candidate"
ROWS = ("naive", BEST, *SYSTEMS[1:])
"""Systems of the table."""
PEERS = "peers"
GRACE = 900
"""Seconds beside the fit that a cell may take: start, last fits, prediction."""
RESAMPLES = 1000
NOTE = "note.txt"
RESULTS = ROOT / "benchmarks" / "results" / "quality"


@dataclass(frozen=True)
class Bench:
    """Where things are and for how long a system may fit: cells go to ``out``, what they are made from to ``work``."""

    data: Path
    out: Path
    work: Path
    part: Part
    seconds: float
    autogluon: str
    tag: str = ""

    def cells(self, system: str) -> Path:
        """Folder of a system's cells: of ours in the test part, one for each tag."""
        if self.part == "dev":
            return self.out / "dev"
        return self.out / "test" / (self.tag if system in OURS else PEERS)

    def cell(self, name: str, system: str, seed: int) -> Path:
        """File of a cell."""
        return self.cells(system) / f"{name}.{system}.{seed}.json"

    def inputs(self, name: str) -> Path:
        """Folder of what the peers read."""
        return self.work / "inputs" / f"{name}-{self.part}"

    @property
    def store(self) -> Path:
        """The store of ours, from which each run is lent the features."""
        return self.work / "store"


def prepare(bench: Bench, entry: QualitySet) -> Path:
    """Write what the peers read, extracting the frozen features; nothing when it is there."""
    folder = bench.inputs(entry.name)
    if (folder / "task.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = entry.rows(bench.data, bench.part)
    rows.to_parquet(folder / "rows.parquet")
    started = time.perf_counter()
    np.savez(folder / "features.npz", **frozen_features(bench, entry, folder / "rows.parquet"))
    task = {"task": entry.task, "label": entry.label, "metric": entry.metric, "columns": entry.columns}
    task |= {"classes": entry.classes(rows), "extraction_seconds": time.perf_counter() - started}
    write(folder / "task.json", task)
    return folder


def frozen_features(bench: Bench, entry: QualitySet, path: Path) -> dict[str, np.ndarray]:
    """What ours extracts with frozen extractors by default, for all rows, by extractor; it stays in ours' cache."""
    source = open_source(load_spec(entry.spec(path)).data)
    spec = resolve_spec(load_spec(entry.spec(path)), source).spec
    assert spec.task != "auto"
    rows = read_rows(spec.data, spec.target, source, spec.task, spec.search.folds, spec.seed)
    root = StoreRoot(str(bench.store))
    with connect(None, quiet=True) as cluster:
        job = Job(spec, root, "features", source, rows, cluster, SilentProgress())
        every = np.arange(source.n_rows)
        frozen = extract_stage(job).frozen
        return {name: ray.get(load_rows.remote(root, features, every)).values for name, features in frozen.items()}


def run_cell(bench: Bench, name: str, system: str, seed: int) -> None:
    """Run one cell and write it."""
    entry = SETS[name]
    folder = prepare(bench, entry)
    rows = pd.read_parquet(folder / "rows.parquet")
    test = (rows["split"] == "test").to_numpy()
    y = entry.target(rows)
    started = time.perf_counter()
    same = bench.cell(name, "autogluon", seed)
    if system == "autogluon_features" and not np.load(folder / "features.npz").files and same.exists():
        # A table has no frozen features: both rows of AutoGluon would be the same fit.
        write(bench.cell(name, system, seed), json.loads(same.read_text()) | {"system": system})
        return
    if system == "naive":
        answer = naive(y[~test], int(test.sum()), entry)
    elif system in ("ours", "single"):
        answer = ours(bench, entry, folder, seed, single=system == "single")
    else:
        answer = peer(bench, folder, system, seed)
    found = answers(entry.metric, np.array(answer.pop("outputs"), np.float64))
    cell = {
        "set": name,
        "system": system,
        "seed": seed,
        "part": bench.part,
        "metric": entry.metric,
        "score": SCORERS[entry.metric](y[test], found),
        "budget": bench.seconds,
        "wall": time.perf_counter() - started,
        "load": os.getloadavg()[0],
        "commit": commit(),
        **answer,
        "answers": found.tolist(),
    }
    write(bench.cell(name, system, seed), cell)
    print(json.dumps({key: cell[key] for key in ("set", "system", "seed", "metric", "score", "seconds", "wall")}))


def naive(y: np.ndarray, n: int, entry: QualitySet) -> dict[str, Any]:
    """The same answer for every row."""
    row = [float(y.mean())] if entry.task == "regression" else (np.bincount(y) / len(y)).tolist()
    return {"outputs": [row] * n, "seconds": 0.0}


def ours(bench: Bench, entry: QualitySet, folder: Path, seed: int, *, single: bool) -> dict[str, Any]:
    """`hybrid-ray run` on the training rows, then `hybrid-ray predict` on the test rows."""
    with tempfile.TemporaryDirectory() as held:
        spec = entry.spec(folder / "rows.parquet") | {"seed": seed}
        spec["search"] = {"metric": entry.metric}
        if single:
            spec["search"]["ensemble"] = {"max_members": 1}
        path, answers = Path(held) / "spec.yaml", Path(held) / "answers.parquet"
        path.write_text(json.dumps(spec))
        store = lent_features(bench, Path(held) / "store")
        started = time.perf_counter()
        limit = ["--time-limit", str(bench.seconds), "--fresh"]
        run = hybrid_ray(store, bench.seconds + GRACE, "run", str(path), *limit, "--json")
        fitted = time.perf_counter() - started
        rows = pd.read_parquet(folder / "rows.parquet")
        held_out = rows[rows["split"] == "test"].drop(columns=["split", entry.label])
        held_out.to_parquet(Path(held) / "test.parquet")
        model = f"{run['model']}:{run['version']}"
        asked = ["--data", str(Path(held) / "test.parquet"), "--out", str(answers), "--json"]
        hybrid_ray(store, bench.seconds + GRACE, "predict", model, *asked)
        table = pd.read_parquet(answers)
    columns = [f"proba_{label}" for label in entry.classes(rows)] or ["prediction"]
    detail = {key: run[key] for key in ("members", "levels", "search", "stages", "test")}
    return {"outputs": table[columns].to_numpy().tolist(), "seconds": fitted, "detail": detail}


def lent_features(bench: Bench, store: Path) -> Path:
    """A store that has the frozen features and nothing else: no run gains by what an earlier one has trained."""
    for folder in ("features", "memos"):
        if (bench.store / folder).exists():
            shutil.copytree(bench.store / folder, store / folder)
    return store


def peer(bench: Bench, folder: Path, system: str, seed: int) -> dict[str, Any]:
    """A peer in the environment that has it."""
    name, _, features = system.partition("_")
    python = bench.autogluon if name == "autogluon" else sys.executable
    with tempfile.TemporaryDirectory() as held:
        output = Path(held) / "answer.json"
        script = str(Path(__file__).with_name("quality_peers.py"))
        command = [python, script, name, str(folder), str(output), "--seconds", str(bench.seconds), "--seed", str(seed)]
        command += ["--features"] if features or name == "stacking" else []
        done = subprocess.run(command, capture_output=True, text=True, timeout=bench.seconds + GRACE)
        if done.returncode:
            raise RuntimeError(f"{system}: must exit with 0; got {done.returncode}: {done.stderr[-2000:]}")
        answer: dict[str, Any] = json.loads(output.read_text())
    return answer


def begin_test(out: Path, note: str) -> str:
    """The tag that the test part is run at; a second tag's note is kept beside its cells."""
    asked = ["git", "describe", "--tags", "--exact-match", "--dirty"]
    tag = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    if not tag or tag.endswith("-dirty"):
        raise SystemExit(
            f"--part test: must run at a tagged commit, with nothing changed; got {commit()}. Tag it first"
        )
    others = [name for name in tags(out) if name != tag]
    folder = out / "test" / tag
    if others and not note and not (folder / NOTE).exists():
        raise SystemExit(f"--part test: was run at {', '.join(others)}; say with --note why it is run again at {tag}")
    folder.mkdir(parents=True, exist_ok=True)
    if note:
        (folder / NOTE).write_text(note + "\n")
    return tag


def tags(out: Path) -> list[str]:
    """Tags that the test part was run at, in the order of their names."""
    return sorted(path.name for path in (out / "test").glob("*") if path.is_dir() and path.name != PEERS)


def table(bench: Bench) -> dict[str, Any]:
    """Scores, mean ranks and differences of what is there."""
    files = [file for folder in {bench.cells(system) for system in SYSTEMS} for file in sorted(folder.glob("*.json"))]
    cells = {(c["set"], c["system"], c["seed"]): c for c in map(json.loads, (f.read_text() for f in files))}
    budgets = sorted({cell["budget"] for cell in cells.values() if cell["system"] != "naive"})
    if len(budgets) > 1:
        raise SystemExit(f"{bench.out}: all cells must have the same --seconds; got {budgets}. Use another --out")
    cells |= best_candidates(cells)
    sets = [name for name in SETS if any(key[0] == name for key in cells)]
    scores: dict[str, dict[str, list[float]]] = {}
    for (name, system, _), cell in sorted(cells.items()):
        scores.setdefault(name, {}).setdefault(system, []).append(cell["score"])
    note = bench.cells("ours") / NOTE
    report: dict[str, Any] = {"part": bench.part, "tag": bench.tag, "note": note.read_text() if note.exists() else ""}
    report |= {"budget": budgets, "scores": scores, "seconds": {}, "differences": {}}
    for (name, system, seed), cell in cells.items():
        report["seconds"][f"{name}.{system}.{seed}"] = round(cell["seconds"], 1)
    report["mean_rank"] = mean_ranks(cells, sets)
    report["fusion_gain"] = {name: fusion_gains(name, cells) for name in sets}
    for name in sets:
        if "ours" in scores[name]:
            report["differences"][name] = differences(bench, name, cells)
    return report


Cells = Mapping[tuple[str, str, int], Any]


def best_candidates(cells: Cells) -> dict[tuple[str, str, int], Any]:
    """What the best single candidate of each run of ours reached, as if it were a cell; it has no answers."""
    found = {}
    for (name, system, seed), cell in cells.items():
        levels = cell["detail"].get("levels", {}) if system == "ours" else {}
        if "best candidate" in levels:
            own = {"score": levels["best candidate"]["test"], "seconds": cell["seconds"], "budget": cell["budget"]}
            found[name, BEST, seed] = own
    return found


def fusion_gains(name: str, cells: Cells) -> list[dict[str, Any]]:
    """What the ensemble of each run of ours gains on the test rows, and over what.

    That is the best single modality, or the best candidate where no modality was tried alone.
    """
    gains = []
    for (owner, system, _), cell in sorted(cells.items()):
        levels = cell["detail"].get("levels", {}) if (owner, system) == (name, "ours") else {}
        reference = [level for level, row in levels.items() if row["p_value"] is None]
        if reference and "ensemble" in levels:
            gain = levels["ensemble"]["test"] - levels[reference[0]]["test"]
            gains.append({"over": reference[0], "gain": gain, "p_value": levels["ensemble"]["p_value"]})
    return gains


def mean_ranks(cells: Cells, sets: list[str]) -> dict[str, float]:
    """Mean over sets and seeds of ours of each system's rank, 1 is best, ties share; of systems that have every set.

    A system without the seed stands with its first cell.
    """
    systems = [s for s in ROWS if all(any(k[:2] == (name, s) for k in cells) for name in sets)]
    ranks: dict[str, list[float]] = {system: [] for system in systems}
    for name in sets:
        for seed in sorted({key[2] for key in cells if key[:2] == (name, "ours")}):
            held = {}
            for system in systems:
                first = min(key[2] for key in cells if key[:2] == (name, system))
                held[system] = cells.get((name, system, seed), cells.get((name, system, first)))["score"]
            order = pd.Series(held).rank(ascending=False)
            for system in systems:
                ranks[system].append(float(order[system]))
    return {system: float(np.mean(values)) for system, values in ranks.items() if values}


def differences(bench: Bench, name: str, cells: Cells) -> dict[str, Any]:
    """Difference of ours, mean over seeds, to each other system: 95 % interval over resampled test rows (paired)."""
    entry = SETS[name]
    rows = entry.rows(bench.data, bench.part)
    y = entry.target(rows)[(rows["split"] == "test").to_numpy()]
    answered: dict[str, list[np.ndarray]] = {}
    for (owner, system, _), cell in sorted(cells.items()):
        if owner == name and system != BEST:
            answered.setdefault(system, []).append(np.array(cell["answers"]))
    score = SCORERS[entry.metric]
    rng = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {system: [] for system in answered}
    while len(drawn["ours"]) < RESAMPLES:
        sample = rng.integers(len(y), size=len(y))
        if entry.task != "regression" and len(np.unique(y[sample])) < len(np.unique(y)):
            continue
        for system, values in answered.items():
            drawn[system].append(float(np.mean([score(y[sample], v[sample]) for v in values])))
    found = {}
    for system in (s for s in answered if s != "ours"):
        gaps = np.array(drawn["ours"]) - np.array(drawn[system])
        means = {who: float(np.mean([score(y, v) for v in answered[who]])) for who in ("ours", system)}
        low, high = (float(q) for q in np.quantile(gaps, [0.025, 0.975]))
        verdict = "better" if low > 0 else "worse" if high < 0 else "alike"
        found[system] = {"difference": means["ours"] - means[system], "low": low, "high": high, "ours_is": verdict}
    return found


def show(report: Mapping[str, Any]) -> None:
    """The table for people."""
    systems = [s for s in ROWS if any(s in row for row in report["scores"].values())]
    print(" ".join(text for text in (report["part"], report["tag"], report["note"].strip()) if text))
    print(f"{'':18}" + "".join(f"{s:>20}" for s in systems))
    for name, row in report["scores"].items():
        texts = []
        for system in systems:
            values = row.get(system)
            text = "" if values is None else f"{np.mean(values):.4f}" + (f" ({len(values)})" if len(values) > 1 else "")
            gap = report["differences"].get(name, {}).get(system)
            texts.append(text + ({"better": " +", "worse": " -", "alike": " ="}[gap["ours_is"]] if gap else ""))
        print(f"{name:18}" + "".join(f"{text:>20}" for text in texts))
    means = report["mean_rank"]
    print(f"{'mean rank':18}" + "".join(f"{means[s]:>20.2f}" if s in means else f"{'':>20}" for s in systems))
    print("+ ours is significantly better, - worse, = neither (paired bootstrap, 95 %)")
    for name, gains in report["fusion_gain"].items():
        said = (
            f"{row['gain']:+.4f} over {row['over'].removeprefix('alone:')} (p {row['p_value']:.3f})" for row in gains
        )
        print(f"{name:18} ensemble: {', '.join(said)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    cell, everything, tables = (commands.add_parser(name) for name in ("cell", "all", "table"))
    cell.add_argument("set", choices=list(SETS))
    cell.add_argument("system", choices=SYSTEMS)
    cell.add_argument("--seed", type=int, default=0)
    everything.add_argument("--sets", default=",".join(SETS))
    everything.add_argument("--systems", default=",".join(SYSTEMS))
    everything.add_argument("--seeds", default="0,1,2", help="of ours; the others run with the first")
    for command in (cell, everything, tables):
        command.add_argument("--part", choices=["dev", "test"], default="dev")
        command.add_argument("--seconds", type=float, default=240.0)
        command.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
        command.add_argument("--out", type=Path, default=RESULTS, help="where the cells are kept")
        command.add_argument("--work", type=Path, default=Path("quality_work"), help="inputs, and the store of ours")
        command.add_argument("--autogluon", default=os.environ.get("HYBRID_RAY_AUTOGLUON", "python3"))
    for command in (cell, everything):
        command.add_argument("--note", default="", help="why the test part is run at another tag too")
    options = parser.parse_args()
    os.environ.setdefault("HYBRID_RAY_WEIGHTS", str(options.data / "mobilenet_v2_imagenet"))
    bench = Bench(
        data=options.data.resolve(),
        out=options.out.resolve(),
        work=options.work.resolve(),
        part=options.part,
        seconds=options.seconds,
        autogluon=options.autogluon,
    )
    if options.command == "table":
        found = [
            table(replace(bench, tag=tag)) for tag in ((tags(bench.out) or [""]) if bench.part == "test" else [""])
        ]
        write(bench.out / f"table-{bench.part}.json", {"tables": found})
        for report in found:
            show(report)
        return
    if options.command == "cell":
        wanted = [(options.set, options.system, options.seed)]
    else:
        seeds = [int(seed) for seed in options.seeds.split(",")]
        wanted = [
            (name, system, seed)
            for name in options.sets.split(",")
            for system in options.systems.split(",")
            for seed in (seeds if system == "ours" else seeds[:1])
        ]
    if bench.part == "test" and any(system in OURS for _, system, _ in wanted):
        bench = replace(bench, tag=begin_test(bench.out, options.note))
    failed = 0
    for name, system, seed in wanted:
        if bench.cell(name, system, seed).exists():
            continue
        try:
            run_cell(bench, name, system, seed)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"{name} {system} {seed}: {error}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""Every system of specs/ on its data: what it reaches, beside what; one command, resumed where it stopped, JSON out.

    python benchmarks/systems.py run   [--systems a,b] [--seeds 0,1,2]
    python benchmarks/systems.py rows  [--systems a,b]
    python benchmarks/systems.py merge FILE [FILE ...]
    python benchmarks/systems.py docs

``run`` runs each spec as it stands, and the rows beside it, with each seed: one `hybrid-ray run`, then one `hybrid-ray
predict` of the test rows, whose answers are scored beside those of the spec as it stands (paired bootstrap, of whole
groups where rows go together). What
benchmarks/systems.json has of the same spec is not run again; a run that was killed goes on where it was. ``rows``
only makes the files that are made of the data sets, and prints where they lie. ``merge`` takes in what runs elsewhere
wrote into files of their own (``--results``), and tells how much there is of each system. ``docs`` writes
docs/systems.md from benchmarks/systems.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from recorded import ROOT, commit, hybrid_ray, write
from systems_base import SPEC, Means, Row, System
from systems_set import SYSTEMS
from systems_sources import data_lines

from hybrid_ray.data.rows import Rows, read_columns, read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.evaluation.intervals import paired_difference
from hybrid_ray.evaluation.metrics import METRICS
from hybrid_ray.evaluation.ties import Ties
from hybrid_ray.spec import Spec, load_spec
from hybrid_ray.types import CLUSTERING, AnyArray

RESULTS = ROOT / "benchmarks" / "systems.json"
PAGE = ROOT / "docs" / "systems.md"
SEEDS = 3
"""Seeds that a verdict rests on."""
LIMIT_S = 3 * 3600
"""Seconds that one run may take."""
HEAVIEST = 4
"""Kinds of members that the page names."""
Cell = dict[str, Any]


class Bench:
    """Where rows, stores and answers lie, and what is recorded.

    Parameters
    ----------
    data : Path
        Folder of the data sets.
    work : Path
        The store, rows that were made, and the answers to test rows.
    results : Path
        The JSON file, written anew after every cell.
    """

    def __init__(self, data: Path, work: Path, results: Path) -> None:
        self.data, self.work, self.results = data, work.resolve(), results
        self.store = self.work / "store"
        held = json.loads(results.read_text())["cells"] if results.exists() else []
        self.cells: dict[str, Cell] = {key_of(cell["system"], cell["row"], cell["seed"]): cell for cell in held}

    def run(self, system: System, name: str, seed: int, anew: bool = False) -> None:
        """Run one cell and record it, unless it is there, made from the same spec; with ``anew`` in any case."""
        row, key = system.rows[name], key_of(system.name, name, seed)
        digest = digest_of(system, row)
        if self.cells.get(key, {}).get("spec") == digest and not anew:
            return
        path, where = spec_of(system), self.place(system, name, row)
        changed = {**row.changed, "data.path": where, **self.made(system, name, row)}
        asked = [f"--set={path_}={json.dumps(value)}" for path_, value in changed.items()]
        begun = self.work / "begun" / key
        cut_off = begun.exists()
        begun.parent.mkdir(parents=True, exist_ok=True)
        begun.touch()
        run = hybrid_ray(self.store, LIMIT_S, "run", str(path), *asked, "--seed", str(seed), "--json")
        spec = load_spec(path, changed | {"seed": seed})
        rows, outputs = self.answer(spec, run, key)
        y = rows.target.y[rows.test_rows]
        metric = row.metric or system.metric
        kept = {
            "system": system.name,
            "row": name,
            "seed": seed,
            "commit": commit(),
            "spec": digest,
            "metric": metric,
            "score": run["test"][metric],
            "ci95": run["ci95"][metric],
            "naive": run["baselines"]["naive"][metric],
            "test": run["test"],
            "modalities": {each: scores[metric] for each, scores in run["modalities"].items()},
            "members": [{part: member[part] for part in ("name", "weight")} for member in run["members"]],
            "rows": run["rows"],
            "seconds": round(run["seconds"], 1),
        }
        if not cut_off:  # else some were taken before
            kept["cpu_seconds"] = round(run["cpu_seconds"], 1)
        if system.scores is not None:
            kept["test"] |= system.scores(y, outputs)
        if system.reads is not None:
            kept["test"] |= system.reads(self.read(spec, run, key))
        if name != row.beside and row.data == system.rows[row.beside].data:
            reference = self.answers(key_of(system.name, row.beside, seed))
            if not reference.exists():  # its figures were kept elsewhere, its answers were not
                self.run(system, row.beside, seed, anew=True)
            gain = paired_difference(y, np.load(reference), outputs, METRICS[metric], ties=Ties.of(rows.tied))
            kept["spec_gains"] = {"mean": gain.mean, "low": gain.low, "high": gain.high, "p_value": gain.p_value}
        self.cells[key] = kept
        self.write()
        begun.unlink()
        print(
            json.dumps({part: kept[part] for part in ("system", "row", "seed", "metric", "score", "seconds")}),
            flush=True,
        )

    def place(self, system: System, name: str, row: Row) -> str:
        """Where the rows of a row of the table are, made if they have to be."""
        if isinstance(row.data, str):
            return row.data if "://" in row.data else str(self.data / row.data)
        path = self.work / "rows" / f"{system.name}.{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            row.data(self.data).to_parquet(path)
        return str(path)

    def made(self, system: System, name: str, row: Row) -> dict[str, str]:
        """Files of a row beside its rows, by the path of the spec that names each, made if they have to be."""
        found = {}
        for number, (path, make) in enumerate(row.files.items()):
            file = self.work / "rows" / f"{system.name}.{name}.{number}.npz"
            if not file.exists():
                file.write_bytes(make(self.data))
            found[path] = str(file)
        return found

    def answers(self, key: str) -> Path:
        """File of the outputs for the test rows of a cell."""
        return self.work / "answers" / f"{key}.npy"

    def answer(self, spec: Spec, run: Cell, key: str) -> tuple[Rows, AnyArray]:
        """What was read of the rows, and what `hybrid-ray predict` answers to those of the test, which is kept.

        Of clusters that is their numbers: what a comparison with labels looks at.
        """
        path = self.answers(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        asked, answered = path.with_suffix(".rows.parquet"), path.with_suffix(".parquet")
        rows = _write_test_rows(spec, asked)
        model = f"{run['model']}:{run['version']}"
        hybrid_ray(self.store, LIMIT_S, "predict", model, "--data", str(asked), "--out", str(answered), "--json")
        found = pd.read_parquet(answered)
        labels = None if spec.task in CLUSTERING else rows.target.classes
        if labels is None:
            outputs = np.array(found["prediction"].tolist(), np.float64).reshape(len(found), -1)
        else:
            outputs = found[[f"proba_{label}" for label in labels]].to_numpy(np.float64)
        np.save(path, outputs)
        asked.unlink()
        answered.unlink()
        return rows, outputs

    def read(self, spec: Spec, run: Cell, key: str) -> dict[str, float]:
        """Share of the graph's chains that read each column, which the test rows show."""
        asked, folder = self.answers(key).with_suffix(".rows.parquet"), self.work / "explained" / key
        _write_test_rows(spec, asked, spec.data.label)
        model = f"{run['model']}:{run['version']}"
        options = ("--data", str(asked), "--out", str(folder), "--repeats", "1", "--json")
        told = hybrid_ray(self.store, LIMIT_S, "explain", model, *options)
        asked.unlink()
        return {each["name"]: each["read"] for each in told["importance"]}

    def take(self, path: Path) -> None:
        """Record the cells of another file that are of the specs as they stand and not recorded yet."""
        for cell in json.loads(path.read_text())["cells"]:
            system = SYSTEMS.get(cell["system"])
            row = system and system.rows.get(cell["row"])
            if system and row and cell["spec"] == digest_of(system, row):
                self.cells.setdefault(key_of(cell["system"], cell["row"], cell["seed"]), cell)
        self.write()

    def write(self) -> None:
        """Write what is recorded, whole or not at all."""
        systems = {name: verdict(system, self.cells) for name, system in SYSTEMS.items()}
        cells = [self.cells[key] for key in sorted(self.cells)]
        write(self.results, {"systems": systems, "cells": cells}, indent=1)


def _write_test_rows(spec: Spec, path: Path, *more: str) -> Rows:
    """Write what a graph reads of the test rows, and more columns; all that was read of the rows."""
    source = open_source(spec.data)
    assert spec.task != "auto"
    assert spec.data.columns is not None
    rows = read_rows(spec.data, spec.target, source, spec.task, spec.search.folds, spec.seed)
    pq.write_table(read_columns(source, [*spec.data.columns, *more]).take(rows.test_rows), path)
    return rows


def key_of(system: str, row: str, seed: int) -> str:
    """Name of a cell."""
    return f"{system}.{row}.{seed}"


def spec_of(system: System) -> Path:
    """File of a system's spec."""
    return ROOT / "specs" / f"{system.name}.yaml"


def digest_of(system: System, row: Row) -> str:
    """Digest of a spec and of what a row changes in it."""
    changed = json.dumps(row.changed, sort_keys=True).encode()
    return hashlib.sha256(spec_of(system).read_bytes() + changed).hexdigest()[:12]


def means_of(system: System, cells: Mapping[str, Cell]) -> Means:
    """Mean over seeds of each test metric and of the best single modality, by row; of its gain the least ends."""
    found: dict[str, dict[str, float]] = {}
    for name in system.rows:
        tests = [cell["test"] | _best_alone(cell) | _gains(cell) for cell in _cells(cells, system.name, name)]
        known = {metric for test in tests for metric in test if all(t.get(metric) is not None for t in tests)}
        found[name] = {metric: fmean(test[metric] for test in tests) for metric in sorted(known)}
        # What holds surely holds with every seed.
        found[name] |= {end: min(test[end] for test in tests) for end in ("gain_low", "gain_high") if end in known}
    return found


def verdict(system: System, cells: Mapping[str, Cell]) -> dict[str, Any]:
    """What a system must show, and whether it does; null while a row lacks a seed."""
    whole = all(len(_cells(cells, system.name, row)) >= SEEDS for row in system.rows)
    return {"must": system.must, "holds": system.holds(means_of(system, cells)) if whole else None}


def page(cells: Mapping[str, Cell]) -> str:
    """docs/systems.md."""
    lines = [
        "# Systems",
        "",
        "What people build of deep and classical learning, each as a spec to copy, run on real data.",
        "`python benchmarks/systems.py docs` writes this page from `benchmarks/systems.json`, which `make systems`",
        "makes: means over seeds on the test rows, with the 95 % interval of a run, and what the spec as it stands",
        "gains over the row, with its paired interval. Seconds: of a run on two cores, with another run beside it;",
        "CPU seconds: of all its processes, counted in later runs that nothing cut off.",
        "What files hold, and where they are from, is told under [data](#data); rows that are made of a data set",
        "`python benchmarks/systems.py rows` makes.",
    ]
    for system in SYSTEMS.values():
        held = {name: _cells(cells, system.name, name) for name in system.rows}
        if not any(held.values()):
            continue
        lines += ["", f"## {system.name}", "", f"Fuses {system.fuses}. For {system.use}. {system.reference}.", ""]
        lines += ["```sh", command_of(system), "```", "", f"Rows: {_sources(system)}.", ""]
        names = ["", "test", "naive", "spec's gain", *system.also, "seeds", "seconds", "CPU seconds"]
        lines += [_line(names), "|---" * len(names) + "|"]
        lines += [_table_row(system, system.rows[name], rows) for name, rows in held.items() if rows]
        lines += ["", f"The ensemble: {_weights(held[SPEC])}.{_alone(held[SPEC])}"] if held[SPEC] else []
        found = verdict(system, cells)
        untold = f"not told before every row has run with {SEEDS} seeds"
        answer = {True: "holds", False: "does not hold", None: untold}[found["holds"]]
        notes = " ".join(filter(None, [system.note, _same_ensembles(system, held)]))
        lines += ["", notes] if notes else []
        told = f" ({system.tells(means_of(system, cells))})" if system.tells and found["holds"] is not None else ""
        lines += ["", f"Must show: {system.must}: **{answer}**{told}."]
    return "\n".join([*lines, "", *data_lines()]) + "\n"


def command_of(system: System) -> str:
    """How to run the spec: as the head of its file says, in words that a shell takes."""
    told = next(line[2:] for line in spec_of(system).read_text().splitlines() if line.startswith("# hybrid-ray "))
    return told.translate({ord(sign): None for sign in "<>"})


def _best_alone(cell: Cell) -> dict[str, float]:
    """Score of the best single modality, where any was tried alone."""
    return {"best_alone": max(cell["modalities"].values())} if cell["modalities"] else {}


def _gains(cell: Cell) -> dict[str, float]:
    """Ends of the paired interval of what the row beside it gains, where there is one."""
    gains = cell.get("spec_gains", {})
    return {f"gain_{end}": gains[end] for end in ("low", "high") if end in gains}


def _cells(cells: Mapping[str, Cell], system: str, row: str) -> list[Cell]:
    return [cell for cell in cells.values() if (cell["system"], cell["row"]) == (system, row)]


def _sources(system: System) -> str:
    """Where the rows of all rows of the table are from."""
    own = load_spec(spec_of(system)).data.source
    return "; ".join(dict.fromkeys(str(row.changed.get("data.source", own)) for row in system.rows.values()))


def _weights(cells: list[Cell]) -> str:
    """The heaviest kinds of members, each with the mean over seeds of what they weigh together."""
    found: dict[str, float] = {}
    for cell in cells:
        for member in cell["members"]:
            kind = member["name"].partition("#")[0]
            found[kind] = found.get(kind, 0.0) + member["weight"] / len(cells)
    heaviest = sorted(found, key=lambda kind: -found[kind])[:HEAVIEST]
    return ", ".join(f"`{kind}` {found[kind]:.2f}" for kind in heaviest)


def _same_ensembles(system: System, held: Mapping[str, list[Cell]]) -> str:
    """Which rows the search ended in the spec's own ensemble for: there is no difference that they could show."""
    own = {cell["seed"]: cell["members"] for cell in held[SPEC]}
    alike = [
        row
        for name, row in system.rows.items()
        if name != SPEC and row.data == system.rows[SPEC].data and held[name]
        if all(cell["members"] == own.get(cell["seed"]) and not any(_gains(cell).values()) for cell in held[name])
    ]
    alone = ", of one member" if all(len(members) == 1 for members in own.values()) else ""
    return " ".join(
        f"The row `{row.says}` is the spec's own choice: with every seed the search ended in the same ensemble{alone}."
        for row in alike
    )


def _alone(cells: list[Cell]) -> str:
    """What each modality reaches alone, the mean over seeds, where there are several."""
    names = sorted(set.intersection(*(set(cell["modalities"]) for cell in cells)))
    if len(names) < 2:
        return ""
    means = [fmean(cell["modalities"][name] for cell in cells) for name in names]
    return f" Alone: {', '.join(f'{name} {mean:.4f}' for name, mean in zip(names, means, strict=True))}."


def _table_row(system: System, row: Row, cells: list[Cell]) -> str:
    mean = {part: fmean(cell[part] for cell in cells) for part in ("score", "naive", "seconds")}
    low, high = (fmean(cell["ci95"][end] for cell in cells) for end in (0, 1))
    gains = [cell["spec_gains"] for cell in cells if "spec_gains" in cell]
    gain = ""
    if gains:
        gain = "{:+.4f} ({:+.4f} to {:+.4f})".format(
            *(fmean(g[part] for g in gains) for part in ("mean", "low", "high"))
        )
    score = f"{cells[0]['metric']} {mean['score']:.4f} ({low:.4f} to {high:.4f})"
    spent = [cell["cpu_seconds"] for cell in cells if "cpu_seconds" in cell]
    also = [[cell["test"][name] for cell in cells if cell["test"].get(name) is not None] for name in system.also]
    shown = [f"{fmean(values):.4g}" if values else "" for values in also]
    seconds = [f"{mean['seconds']:.0f}", f"{fmean(spent):.0f}" if spent else ""]
    return _line([row.says, score, f"{mean['naive']:.4f}", gain, *shown, str(len(cells)), *seconds])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _merge(results: Path, files: Iterable[Path]) -> None:
    """Take in what was recorded elsewhere, and tell how much there is of each system."""
    bench = Bench(Path(), Path(), results)
    for file in files:
        bench.take(file)
    for name, system in SYSTEMS.items():
        n_cells = sum(len(_cells(bench.cells, name, row)) for row in system.rows)
        told = verdict(system, bench.cells)["holds"]
        print(f"{name}: {n_cells} of {SEEDS * len(system.rows)} cells, holds: {told}")


def _make_rows(bench: Bench, names: Iterable[str]) -> None:
    """Make the files that rows of systems read, and tell what sets them in a spec."""
    for name in names:
        for key, row in SYSTEMS[name].rows.items():
            made = {"data.path": bench.place(SYSTEMS[name], key, row), **bench.made(SYSTEMS[name], key, row)}
            print(f"{name}.{key}: {' '.join(f'--set {path}={where}' for path, where in made.items())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run, rows, merge, docs = (commands.add_parser(name) for name in ("run", "rows", "merge", "docs"))
    merge.add_argument("files", type=Path, nargs="+")
    run.add_argument("--seeds", default="0,1,2")
    for command in (run, rows):
        command.add_argument("--systems", default=",".join(SYSTEMS))
        command.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
        command.add_argument(
            "--work", type=Path, default=Path("systems_work"), help="rows, store, answers to test rows"
        )
    for command in (run, rows, merge, docs):
        command.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.command == "docs":
        cells = json.loads(asked.results.read_text())["cells"]
        PAGE.write_text(page({key_of(c["system"], c["row"], c["seed"]): c for c in cells}))
        return
    if asked.command == "merge":
        _merge(asked.results, asked.files)
        return
    os.environ.setdefault("HYBRID_RAY_WEIGHTS", str(asked.data.resolve()))
    bench = Bench(asked.data, asked.work, asked.results)
    if asked.command == "rows":
        _make_rows(bench, asked.systems.split(","))
        return
    for seed in asked.seeds.split(","):  # each system once, before any again
        for name in asked.systems.split(","):
            for row in SYSTEMS[name].rows:
                bench.run(SYSTEMS[name], row, int(seed))


if __name__ == "__main__":
    main()

"""What a modality costs that half of the rows lack, beside what its ablation suggests; JSON out.

    python benchmarks/missing.py [--data ../shared/data] [--store FOLDER] [--set P=V] [--final] [--out FILE]

Runs specs/multimodal.yaml, then lets the graph answer the held-out rows again with a modality taken away from a
random half of them. For each modality, scores are losses of the spec's metric, signed so that more is worse:

full       the graph, every row complete
ablation   what the best candidate loses that was searched and trained without the modality, on all rows: the report's
           ablation, one candidate against one candidate
cost       what the graph loses when half of the rows lack the modality: mean and deviation over ``--halves`` draws
dropped    what it loses when all of them do
share      cost / ablation: below 1, half of the rows lose less than the ablation says of all
ratio      dropped / ablation, row for row: near 1, the graph loses no more than a model does that was made without the
           modality; below 1, less. The graph is an ensemble and the ablation is not: it is above 1 where an ensemble
           gains more with the modality than without

Training rows only: a quarter of their titles is held out. ``--final`` holds out the test rows of the set instead.
The run is kept in the store: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hybrid_ray.data.coerce import coerce
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.run import run_spec
from hybrid_ray.progress import SilentProgress
from hybrid_ray.spec import load_spec, parse_override
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import run_prefix
from hybrid_ray.types import MODALITY_OF, AnyArray, Batch, Block, Kind

ROOT = Path(__file__).resolve().parent.parent
SET, TITLE, SPLIT = "fashion_products/fashion_products.parquet", "productDisplayName", "split"
HELD_OUT = 0.25
"""Share of the training titles that are held out while developing."""
CHUNK = 256
"""Rows that are decoded at once."""


def make_rows(data: Path, out: Path, final: bool, limit: int | None) -> None:
    """Write the rows of the run; without ``final``, training rows alone, a title on one side only."""
    table = pq.read_table(data / SET)
    if not final:
        table = table.filter(pc.equal(table[SPLIT], "train"))
        titles = pc.unique(table[TITLE]).to_pylist()
        order = np.random.default_rng(0).permutation(len(titles))
        held = pa.array([titles[i] for i in order[: int(HELD_OUT * len(titles))]])
        role = pc.if_else(pc.is_in(table[TITLE], held), "test", "train")
        table = table.set_column(table.column_names.index(SPLIT), SPLIT, role)
    pq.write_table(table.slice(0, limit), out)


def without(batch: Batch, columns: dict[str, Kind], modality: str) -> Batch:
    """The same rows with nothing in the columns of a modality."""
    empty: dict[str, Any] = {"numeric": np.nan, "date": np.datetime64("NaT", "ms")}
    return {
        name: np.full(len(values), empty.get(columns[name]), values.dtype)
        if MODALITY_OF[columns[name]] == modality
        else values
        for name, values in batch.items()
    }


def answers(graph: Graph, table: pa.Table) -> dict[str, AnyArray]:
    """Outputs (n, n_outputs) for complete rows (``""``), and without each modality."""
    modalities = sorted({MODALITY_OF[kind] for kind in graph.columns.values()})
    parts: dict[str, list[AnyArray]] = {name: [] for name in ("", *modalities)}
    for start in range(0, len(table), CHUNK):
        batch = coerce(table.slice(start, CHUNK), graph.columns).batch
        whole = graph.extract(batch)
        parts[""].append(graph.combine(whole))
        for modality in modalities:
            lacking = without(batch, graph.columns, modality)
            parts[modality].append(graph.combine(whole | changed(graph, lacking, modality)))
    return {name: np.concatenate(outputs) for name, outputs in parts.items()}


def changed(graph: Graph, lacking: Batch, modality: str) -> dict[str, Block]:
    """Blocks of the extractors that read a modality, of rows that lack it."""
    blocks: dict[str, Block] = {}
    for group, keys in graph.groups().items():
        if modality in {MODALITY_OF[kind] for kind in graph.extractors[keys[0]].columns.values()}:
            blocks |= graph.blocks(group, graph.prepare(group, lacking))
    return blocks


def losses_without(root: StoreRoot, answer: dict[str, Any], sign: float) -> dict[str, float]:
    """What the best candidate loses on all test rows without each modality, as the report's ablation says."""
    report = json.loads(root.read(f"{run_prefix(answer['run_id'])}/report.json"))
    rows = report["evaluation"]["ablation"]
    whole = next(row["score"]["value"] for row in rows if row["kind"] == "all")
    return {row["name"]: sign * (row["score"]["value"] - whole) for row in rows if row["kind"] == "without"}


def compare(root: StoreRoot, graph: Graph, answer: dict[str, Any], table: pa.Table, halves: int) -> dict[str, Any]:
    """The table, by modality."""
    metric = get_metric(answer["metric"], graph.task)
    sign = -1.0 if metric.direction == "maximize" else 1.0
    y = np.array([graph.classes.index(label) for label in table[graph.label].to_pylist()])
    outputs = answers(graph, table)
    ablations = losses_without(root, answer, sign)
    full = sign * metric.score(y, outputs[""])
    rows: dict[str, Any] = {}
    for modality in sorted(outputs.keys() - {""}):
        draws = np.random.default_rng(0).random((halves, len(y))).argsort(axis=1) < len(y) // 2
        costs = [sign * metric.score(y, np.where(d[:, None], outputs[modality], outputs[""])) - full for d in draws]
        ablation = ablations[modality]
        dropped = sign * metric.score(y, outputs[modality]) - full
        rows[modality] = {
            "full": full,
            "ablation": ablation,
            "cost": float(np.mean(costs)),
            "cost_deviation": float(np.std(costs)),
            "dropped": dropped,
            "share": float(np.mean(costs)) / ablation,
            "ratio": dropped / ablation,
        }
    held = {reserve.name: [member.candidate.label for member in reserve.members] for reserve in graph.reserves}
    return {"metric": metric.name, "rows": len(y), "modalities": rows, "members": answer["members"], "reserves": held}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--store", type=Path, default=Path("missing_store"), help="where the run is kept")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="another value of the spec")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--halves", type=int, default=50, help="draws of the half of the rows")
    parser.add_argument("--limit", type=int, help="rows that are used at most, from the start")
    parser.add_argument("--final", action="store_true", help="hold out the set's test rows")
    parser.add_argument("--cpus", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("HYBRID_RAY_WEIGHTS", str(asked.data))
    asked.store.mkdir(parents=True, exist_ok=True)
    path = asked.store / f"rows_{'test' if asked.final else 'dev'}_{asked.limit or 'all'}.parquet"
    if not path.exists():
        make_rows(asked.data, path, asked.final, asked.limit)
    overrides = dict(parse_override(text) for text in asked.set)
    spec = load_spec(ROOT / "specs" / "multimodal.yaml", {"data.path": str(path), "seed": asked.seed, **overrides})
    answer = run_spec(
        spec,
        str(asked.store),
        cluster=lambda: connect("local", num_cpus=asked.cpus),
        progress=SilentProgress(),
    )
    root = StoreRoot(str(asked.store))
    graph = ModelStore(root).load(f"{answer['model']}:{answer['version']}")
    table = pq.read_table(path)
    report = {
        "asked": {name: str(value) for name, value in vars(asked).items()},
        "python": platform.python_version(),
        "run_id": answer["run_id"],
        **compare(root, graph, answer, table.filter(pc.equal(table[SPLIT], "test")), asked.halves),
    }
    text = json.dumps(report, indent=1)
    if asked.out is not None:
        asked.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

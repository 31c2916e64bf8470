"""One model behind hybrid_ray and behind its peers, asked over HTTP in the same run: JSON out.

    python -m venv peers && peers/bin/pip install litserve bentoml -e .
    python benchmarks/serve.py --data ../shared/data --peers peers/bin/python [--workloads table,text,multimodal]
        [--servers "fastapi;hybrid_ray;…"] [--seconds 5] [--rounds 2]

Three models are made of real data, then served by each server in turn: ``hybrid_ray serve`` with tokens, checks, the
version's stamp and a log of 10 % of the requests; with less of these; with a canary beside the champion; and by the
peers of ``serve_peers.py``. Each is asked one row a request by 1 client and by 16, over connections that are kept,
from a process of its own. CPU is what the server's whole process tree took, divided by the requests. Every answer is
compared with what the saved graph says offline (1e-5). Cells of the same commit are not measured again.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
from load import Job, measured
from recorded import ROOT, commit, hybrid_ray, write

from hybrid_ray.data.coerce import coerce
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot

RESULTS = ROOT / "benchmarks" / "results" / "serve.json"
ROWS = 64
"""Rows that are asked, again and again."""
READY_S = 240.0
CLIENTS = (1, 16)
PEERS = ("fastapi", "litserve", "bentoml", "ray")
LIMIT_S = 3600.0

_TEXT = {"name": "transformers"}
WORKLOADS: Mapping[str, dict[str, Any]] = {
    "table": {
        "file": "telco_churn/telco_churn.csv.gz",
        "spec": {
            "data": {"label": "Churn", "drop": ["customerID"]},
            "extractors": [{"name": "tabular"}],
            "search": {"estimators": ["logistic", "random_forest", "lightgbm"]},
        },
    },
    "text": {
        "file": "mr/mr.parquet",
        "spec": {
            "data": {"label": "label", "drop": ["fold"], "columns": {"text": "text"}},
            "extractors": [_TEXT],
            "search": {"estimators": ["logistic", "xgboost"]},
        },
    },
    "multimodal": {
        "file": "fashion_products/fashion_products.parquet",
        "spec": {
            "data": {"label": "season", "drop": ["id", "year", "masterCategory", "subCategory"]},
            "extractors": [{"name": "torchvision", "params": {"model": "mobilenet_v2"}}, _TEXT, {"name": "tabular"}],
            "search": {"estimators": ["random_forest", "lightgbm"]},
        },
    },
}
"""Files of ``--data``, and specs of models of ordinary size."""


@dataclass(frozen=True)
class Variant:
    """How hybrid_ray serves.

    Attributes
    ----------
    tokens : bool
    logged : float
        Share of the requests.
    canary : bool
        Whether a second version gets half of them.
    """

    tokens: bool
    logged: float
    canary: bool = False


VARIANTS: Mapping[str, Variant] = {
    "hybrid_ray": Variant(True, 0.1),
    "hybrid_ray, canary": Variant(True, 0.1, canary=True),
    "hybrid_ray, no log": Variant(True, 0.0),
    "hybrid_ray, no tokens": Variant(False, 0.1),
    "hybrid_ray, neither": Variant(False, 0.0),
}
ON_TABLE_ONLY = tuple(name for name in VARIANTS if name != "hybrid_ray")
"""What a safety costs is told of the smallest model, where it is the largest part."""


@dataclass(frozen=True)
class Model:
    """A model that is asked.

    Attributes
    ----------
    name : str
    store : Path
    bodies : list of bytes
    expected : dict of str to list
        What each version must say, by body.
    """

    name: str
    store: Path
    bodies: list[bytes]
    expected: dict[str, list[Any]]


def prepared(workload: str, data: Path, work: Path) -> dict[float, Model]:
    """The models of a workload, by the share of requests that they log; made once. Each has two versions alike."""
    store, told = work / "store", WORKLOADS[workload]
    root = StoreRoot(str(store))
    models = ModelStore(root)
    spec_file = work / f"{workload}.json"
    rows_file = work / f"{workload}.parquet"
    if workload not in models.names():
        file = data / told["file"]
        rows = pd.read_csv(file) if ".csv" in file.name else pd.read_parquet(file)
        rows.sample(min(len(rows), 1500), random_state=0).to_parquet(rows_file)
        parts = told["spec"]
        spec = {"version": 1, "name": workload, **parts}
        spec["data"] = {"path": str(rows_file), "split": {"kind": "column", "column": "split"}, **parts["data"]}
        spec["search"] = {"trials": 8, "folds": 3, **parts["search"]}
        spec_file.write_text(json.dumps(spec))
        hybrid_ray(store, LIMIT_S, "run", str(spec_file), "--json")
    graph = models.load(f"{workload}:1")
    found: dict[float, Model] = {}
    asked = pq.read_table(rows_file).slice(0, ROWS).select(list(graph.columns))
    rows = [{name: _sent(value) for name, value in row.items()} for row in asked.to_pylist()]
    graph.setup()
    outputs = graph.outputs(coerce(asked, graph.columns).batch)
    for share in sorted({variant.logged for variant in VARIANTS.values()}):
        name = f"{workload}_{round(100 * share)}"
        if name not in models.names():
            serve = dict(graph.info.get("serve", {})) | {"log": {"share": share}}
            for _ in range(2):
                models.register(replace(graph, name=name, info={**graph.info, "serve": serve}), None)
            models.set_alias(name, "champion", 1)
        told_rows = [[row] for row in outputs.tolist()]
        bodies = [json.dumps({"rows": [row]}).encode() for row in rows]
        found[share] = Model(name, store, bodies, {"1": told_rows, "2": told_rows})
    return found


def _sent(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return None if isinstance(value, float) and np.isnan(value) else value


@contextmanager
def hybrid_ray_of(model: Model, variant: Variant) -> Iterator[tuple[str, int, dict[str, str]]]:
    """``hybrid-ray serve`` of the champion: address, process, and headers to ask with."""
    store, cli = ["--store", str(model.store)], [sys.executable, "-m", "hybrid_ray.cli"]
    headers = {"content-type": "application/json"}
    if variant.tokens:
        issued = [*cli, "tokens", "issue", "--role", "predict", "--per-second", "100000", "--json", *store]
        told = json.loads(subprocess.run(issued, capture_output=True, text=True, check=True).stdout)
        headers["authorization"] = f"Bearer {told['token']}"
    split = ["set", model.name, "--share", "2=0.5"] if variant.canary else ["clear", model.name]
    subprocess.run([*cli, "traffic", *split, *store], capture_output=True, check=True)
    asked = "--tokens" if variant.tokens else "--no-tokens"
    command = [*cli, "serve", model.name, "--port", "0", "--json", asked, *store]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        url = json.loads(next(line for line in process.stdout if line.startswith("{")))["url"]
        deadline = time.monotonic() + READY_S
        while variant.canary and time.monotonic() < deadline:
            shown = {name: value for name, value in headers.items() if name == "authorization"}
            if len(httpx.get(f"{url}/models", headers=shown).json()["versions"]) == 2:
                break
            time.sleep(0.2)
        yield url, process.pid, headers
    finally:
        _ended(process)


@contextmanager
def peer_of(python: str, peer: str, model: Model) -> Iterator[tuple[str, int, dict[str, str]]]:
    """A peer that serves the same artifact: address, process, and headers to ask with."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = "a-token-of-the-benchmark"
    program = str(Path(__file__).with_name("serve_peers.py"))
    command = [python, program, peer, f"{model.name}:1", "--store", str(model.store), "--port", str(port)]
    log = model.store.parent / f"{peer}.log"
    with log.open("w") as said:
        process = subprocess.Popen([*command, "--token", token], stdout=said, stderr=said, start_new_session=True)
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + READY_S
    try:
        while True:
            with suppress(httpx.TransportError):
                if httpx.post(f"{url}/predict", content=model.bodies[0], headers=headers).status_code == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{peer}: must answer within {READY_S:g} s; see {log}")
            time.sleep(0.2)
        yield url, process.pid, headers
    finally:
        _ended(process)


def _ended(process: subprocess.Popen[Any]) -> None:
    """Ask a server to end, then make it and all that it started."""
    tree = _tree(process.pid)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(60)
    for each in tree:
        with suppress(psutil.Error):
            each.kill()
    process.wait(60)


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def _cpu_seconds(pid: int) -> float:
    """What a process and those below it have taken."""
    total = 0.0
    for each in _tree(pid):
        with suppress(psutil.Error):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def cell(url: str, pid: int, headers: dict[str, str], model: Model, clients: int, options: Any) -> dict[str, Any]:
    """Figures of one server, asked by so many clients: of the round that took least CPU, to which others only add."""
    job = Job(
        [f"{url}/predict"],
        model.bodies,
        mode="closed",
        seconds=options.seconds,
        concurrency=clients,
        headers=headers,
        expected=model.expected,
    )
    measured(replace(job, seconds=1.0))
    rounds = []
    for _ in range(options.rounds):
        before = _cpu_seconds(pid)
        found = measured(job)
        found["cpu_ms"] = 1000 * (_cpu_seconds(pid) - before) / max(found["answered"], 1)
        rounds.append(found)
    best = min(rounds, key=lambda each: each["cpu_ms"])
    kept = ("requests", "answered", "per_second", "ms", "lost", "wrong", "cpu_ms")
    faults = {"requests_of_all_rounds": sum(each["requests"] for each in rounds)}
    faults |= {f"{name}_of_all_rounds": sum(each[name] for each in rounds) for name in ("wrong", "mixed")}
    return {name: best[name] for name in kept} | faults | {"load": os.getloadavg()[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", default=sys.executable, help="a Python that has LitServe and BentoML too")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--servers", default=";".join([*PEERS, *VARIANTS]))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("serve_work"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    unknown = sorted(set(options.servers.split(";")) - {*PEERS, *VARIANTS})
    if unknown:
        parser.error(f"--servers: must be of {[*PEERS, *VARIANTS]}, with ; between them; got {unknown}")
    options.work.mkdir(parents=True, exist_ok=True)
    held = json.loads(options.results.read_text()) if options.results.exists() else {"cells": {}}
    cells, now = held["cells"], commit()
    for workload in options.workloads.split(","):
        models = prepared(workload, options.data.resolve(), options.work.resolve())
        for server in options.servers.split(";"):
            if workload != "table" and server in ON_TABLE_ONLY:
                continue
            keys = {clients: f"{workload} | {server} | {clients}" for clients in CLIENTS}
            if all(cells.get(key, {}).get("commit") == now for key in keys.values()):
                continue
            variant = VARIANTS.get(server)
            model = models[variant.logged if variant is not None else 0.0]
            serving = hybrid_ray_of(model, variant) if variant is not None else peer_of(options.peers, server, model)
            with serving as (url, pid, headers):
                for clients, key in keys.items():
                    cells[key] = {"commit": now, **cell(url, pid, headers, model, clients, options)}
                    write(options.results, {"cells": cells, "cores": os.cpu_count()}, indent=1)
                    print(json.dumps({"cell": key, **cells[key]}), flush=True)


if __name__ == "__main__":
    main()

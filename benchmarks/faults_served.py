"""Versions of a small model, served as users do: by the command, or by a Serve config file on a cluster."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
from load import TOLERANCE, Rows

from hybrid_ray.data.coerce import coerce
from hybrid_ray.on_ray import haproxy
from hybrid_ray.spec import ScaleSpec, ServeSpec
from hybrid_ray.store.golden import make_golden
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import TOY_COLUMNS, toy_rows
from hybrid_ray.testing.shipped import forest_graph

NAME = "toy"
VERSIONS = 3
"""Good versions; the one after them is damaged."""
BODIES, ROWS = 8, 3
"""Bodies that are asked in turn, and rows of each: more than one, so that an answer of two versions would be seen."""
_START_S = 180.0
_ATTEMPTS = 3
_ROWS = [{k: v for k, v in row.items() if k != "label"} for row in toy_rows(200, seed=11, missing=0.2)]
"""Of these are asked those that all versions answer differently."""


class Served:
    """A model that answers, and what its processes are.

    Parameters
    ----------
    urls : sequence of str
        Base addresses, one a node.
    models : ModelStore
    processes : callable
    configure : callable, optional
        Deploys a version by the Serve config file, with further settings of the ingress, and waits.
    """

    def __init__(
        self,
        urls: Sequence[str],
        models: ModelStore,
        processes: Callable[[], list[psutil.Process]],
        configure: Callable[[int, Mapping[str, Any]], str] | None = None,
    ) -> None:
        self.urls, self.models, self.processes, self.configure = urls, models, processes, configure

    def named(self, part: str) -> list[psutil.Process]:
        """Processes of which the command line has a part, oldest first."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                if part in " ".join(process.cmdline()):
                    found.append((process.create_time(), process.pid, process))
        return [process for _, _, process in sorted(found, key=lambda each: each[:2])]


@dataclass(frozen=True)
class Asked:
    """What is sent, and what each version says to it."""

    bodies: list[bytes]
    expected: dict[str, list[Rows]] = field(repr=False)


def prepared(models: ModelStore) -> Asked:
    """Bodies, and the answers of the saved artifacts, of rows to which no two versions say the same.

    Raises
    ------
    RuntimeError
        There are too few.
    """
    raw = coerce(pa.Table.from_pylist(_ROWS), TOY_COLUMNS).batch
    said = {str(number): models.load(f"{NAME}:{number}").outputs(raw) for number in range(1, VERSIONS + 1)}
    pairs = [abs(said[one] - said[other]).max(axis=1) for one in said for other in said if one < other]
    kept = np.flatnonzero(np.min(pairs, axis=0) > 100 * TOLERANCE)[: BODIES * ROWS]
    if len(kept) < BODIES * ROWS:
        raise RuntimeError(f"{BODIES * ROWS} rows must be answered differently by all versions; got {len(kept)}")
    sent = [{k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()} for row in _ROWS]
    places = [kept[start : start + ROWS] for start in range(0, len(kept), ROWS)]
    return Asked(
        [json.dumps({"rows": [sent[row] for row in place]}).encode() for place in places],
        {version: [outputs[place].tolist() for place in places] for version, outputs in said.items()},
    )


def stored(folder: Path, replicas: int) -> ModelStore:
    """Versions in a store, one more that is damaged, and the first as the champion."""
    models = ModelStore(StoreRoot(str(folder)))
    limits = scaled(replicas)
    for seed in range(1, VERSIONS + 1):
        graph = forest_graph(seed)
        graph.info["serve"] = limits.model_dump(mode="json")
        models.register(graph, make_golden(graph, pa.Table.from_pylist(_ROWS), rows=4))
    damaged = models.register(graph, None)
    path = next(path for path in models.root.list(damaged.prefix) if path.endswith(".safetensors"))
    Path(str(models.root.local_path(path))).write_bytes(b"damaged")
    models.set_alias(NAME, "champion", 1)
    return models


def scaled(replicas: int) -> ServeSpec:
    """As users have it, with a fixed number of replicas."""
    scale = ScaleSpec(min_replicas=replicas, max_replicas=replicas, target_ongoing_requests=16)
    return ServeSpec(placement="together", ingress=scale)


@contextmanager
def by_command(models: ModelStore) -> Iterator[Served]:
    """``hybrid-ray serve`` with a cluster of its own."""
    command = [sys.executable, "-m", "hybrid_ray.cli", "serve", NAME, "--port", "0", "--json"]
    process = subprocess.Popen([*command, "--store", models.root.uri], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    started = psutil.Process(process.pid)
    try:
        line = next((line for line in process.stdout if line.startswith("{")), None)
        if line is None:
            raise RuntimeError(f"hybrid-ray serve: must answer; it ended with {process.wait()}")
        yield Served([json.loads(line)["url"]], models, lambda: started.children(recursive=True))
    finally:
        below = started.children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
        for left in below:
            with suppress(psutil.Error):
                left.kill()


def free_ports(n: int) -> list[int]:
    """Ports that nobody has now."""
    held = [socket.socket() for _ in range(n)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def below(folder: str) -> list[psutil.Process]:
    """Processes of which the command line names a cluster's folder, and what they started."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and folder in " ".join(process.cmdline()):
                found |= {each.pid: each for each in (process, *process.children(recursive=True))}
    return [found[pid] for pid in sorted(found)]


@contextmanager
def by_config(models: ModelStore, nodes: int, cpus: int) -> Iterator[Served]:
    """A Serve config file on a cluster that ``ray start`` started, as ``deploy/kuberay/rayservice.yaml`` has it."""
    folder, token = tempfile.mkdtemp(prefix="hrf_", dir="/tmp"), secrets.token_hex(16)
    gcs, client, dashboard, *ports = free_ports(3 + 5 * nodes)
    ray, doors = str(Path(sys.executable).with_name("ray")), ports[-nodes:]
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        undo.callback(end, folder)
        fast = undo.enter_context(haproxy.settings())
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        told = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "PATH": path}
        told |= {"RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(doors[-1])} if nodes > 1 else {}
        for number in range(nodes):
            agent, agent_grpc, runtime_env, metrics = ports[4 * number : 4 * number + 4]
            head = [
                *("--head", f"--port={gcs}", f"--ray-client-server-port={client}", f"--dashboard-port={dashboard}"),
                *("--node-ip-address=127.0.0.1", f"--temp-dir={folder}"),
            ]
            command = [
                *(ray, "start", *(head if number == 0 else [f"--address=127.0.0.1:{gcs}"]), f"--num-cpus={cpus}"),
                *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
                *(f"--runtime-env-agent-port={runtime_env}", f"--metrics-export-port={metrics}"),
                *("--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000"),
            ]
            started = subprocess.run(command, env=os.environ | told | fast, capture_output=True, text=True, timeout=120)
            if started.returncode:
                raise RuntimeError(f"ray start: must exit with 0; got {started.stderr[-2000:]}")
        configure = Config(models, f"http://127.0.0.1:{dashboard}", token, doors[0], nodes)
        configure.wait_for_dashboard()
        configure.first()
        yield Served([f"http://127.0.0.1:{port}" for port in doors], models, lambda: below(folder), configure)


class Config:
    """Deploys a version as ``serve deploy`` does with a config file."""

    def __init__(self, models: ModelStore, dashboard: str, token: str, port: int, nodes: int) -> None:
        self._url, self._headers = f"{dashboard}/api/serve/applications/", {"Authorization": f"Bearer {token}"}
        self._models, self._port, self._nodes = models, port, nodes
        self.message = ""

    def wait_for_dashboard(self) -> None:
        """Return once it answers."""
        deadline = time.monotonic() + _START_S
        while True:
            with suppress(httpx.HTTPError):
                if httpx.get(self._url, headers=self._headers, timeout=10).status_code == 200:
                    return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._url} must answer in {_START_S:g} s; it did not")
            time.sleep(0.5)

    def first(self) -> None:
        """Deploy the first version, again where that fails: Serve gives its proxy 5 s to start."""
        for attempt in range(_ATTEMPTS):
            try:
                if (state := self(1, {})) == "RUNNING":
                    return
                fault = RuntimeError(f"the config file: must be deployed; got {state}: {self.message}")
            except RuntimeError as error:
                fault = error
            print(f"attempt {attempt + 1}: {fault}", file=sys.stderr, flush=True)
        raise fault

    def __call__(self, version: int, ingress: Mapping[str, Any]) -> str:
        """State of the application once it runs, or is known not to."""
        limits = scaled(self._nodes).model_dump(mode="json")
        args = {"model": f"{NAME}:{version}", "store": self._models.root.uri, "limits": limits, "tokens": False}
        application: dict[str, Any] = {"name": NAME, "route_prefix": "/", "args": args}
        application |= {"import_path": "hybrid_ray.on_ray.serve.config:application"}
        if ingress:
            application["deployments"] = [{"name": "ingress", **ingress}]
        content = {
            "proxy_location": "EveryNode" if self._nodes > 1 else "HeadOnly",
            "http_options": {"host": "127.0.0.1", "port": self._port},
            "logging_config": {"enable_access_log": False, "log_level": "WARNING"},
            "applications": [application],
        }
        before = self._told().get("last_deployed_time_s", 0.0)
        answer = httpx.put(self._url, headers=self._headers, json=content, timeout=60)
        if answer.status_code != 200:
            raise RuntimeError(f"{self._url}: must take the config; got {answer.status_code}: {answer.text[-1000:]}")
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            time.sleep(0.5)
            told = self._told()
            if told.get("last_deployed_time_s", 0.0) > before and told["status"] in ("RUNNING", "DEPLOY_FAILED"):
                self.message = str(told.get("message", ""))[-1000:]
                return str(told["status"])
        return f"still {told.get('status')} after {_START_S:g} s: {told.get('message', '')[-500:]}"

    def _told(self) -> dict[str, Any]:
        answer = httpx.get(self._url, headers=self._headers, timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()["applications"].get(NAME, {})
        return found


def end(folder: str) -> None:
    """End a cluster's processes, and no others."""
    deadline = time.monotonic() + 20
    while (mine := below(folder)) and time.monotonic() < deadline:
        for process in mine:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(0.2)

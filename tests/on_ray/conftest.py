"""Clusters of their own for tests that need one: started and ended here, by pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pytest
import ray

from hybrid_ray.on_ray.cluster import Cluster


class Head(NamedTuple):
    """Ports of a head node."""

    gcs: int
    dashboard: int


def free_ports(n: int) -> list[int]:
    held = [socket.socket() for _ in range(n)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def processes(folder: str) -> set[int]:
    """Processes whose command line names the cluster's own folder, and what they started."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if folder.encode() in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def end(folder: str) -> None:
    """End this cluster's processes, and no others."""
    deadline = time.monotonic() + 20
    while (mine := processes(folder)) and time.monotonic() < deadline:
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)


@contextlib.contextmanager
def _head(environment: Mapping[str, str], options: Callable[[int], Sequence[str]] = lambda gcs: ()) -> Iterator[Head]:
    folder = tempfile.mkdtemp(prefix="hr_", dir="/tmp")  # short: sockets in it have names of at most 107 characters
    gcs, client, dashboard, agent, agent_grpc, runtime_env, metrics = free_ports(7)
    # A job's own Python has no interpreter path of the shell: the cluster is given ours.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--num-cpus=2", f"--temp-dir={folder}"),
        *(f"--port={gcs}", f"--ray-client-server-port={client}", f"--dashboard-port={dashboard}"),
        *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
        *(f"--runtime-env-agent-port={runtime_env}", f"--metrics-export-port={metrics}"),
        *("--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000"),
        *("--node-ip-address=127.0.0.1", *options(gcs)),
    ]
    settings = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "PATH": path} | environment
    try:
        subprocess.run(command, env=settings, check=True, capture_output=True, timeout=120)
        yield Head(gcs, dashboard)
    finally:
        end(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def start_head() -> Callable[..., AbstractContextManager[Head]]:
    """Start a head of two CPUs with an environment and, by its port, further options; it ends with the block."""
    return _head


@pytest.fixture
def all_free(cluster: Cluster) -> Callable[[], bool]:
    """Whether every CPU of the session's cluster is free again, or is within half a minute."""

    def ask() -> bool:
        deadline = time.monotonic() + 30
        while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    return ask

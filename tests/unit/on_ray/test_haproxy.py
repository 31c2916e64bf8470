"""HAProxy's configuration: nothing but the front door listens."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_ray.on_ray.haproxy import PROGRAM, closed, program, settings

CONFIG = """global
    maxconn 4096
defaults
    mode http

    balance leastconn
frontend prometheus
    bind :9101
    mode http
    no log
frontend http_frontend
    bind 127.0.0.1:8000
    acl routes path -i /-/routes
backend app
    server replica 127.0.0.1:30000
listen stats
  bind *:8404
  stats enable
"""


def test_statistics_are_left_out_and_all_else_stays() -> None:
    kept = closed(CONFIG)
    assert kept == CONFIG.replace(CONFIG[CONFIG.index("frontend prom") : CONFIG.index("frontend http")], "").replace(
        CONFIG[CONFIG.index("listen stats") :], ""
    )
    assert closed(kept) == kept


NOWHERE = """    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path \\'%[path]\\' not found."
"""
SOMEWHERE = "    use_backend app if { path_beg / }\n"


def test_what_is_not_there_yet_is_503(tmp_path: Path) -> None:
    front = CONFIG[: CONFIG.index("backend app")]
    assert closed(front + SOMEWHERE + NOWHERE).count("404") == 1
    early = closed(front + NOWHERE)
    assert "404" not in early
    assert "status 503" in early
    path, found = tmp_path / "haproxy.cfg", program()
    path.write_text(early)
    assert found is not None
    held = os.environ | {"RAY_SERVE_HAPROXY_BINARY_PATH": found}
    done = subprocess.run([sys.executable, found, "-c", "-f", str(path)], env=held, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_for_this_user_and_go_with_the_context() -> None:
    assert program() is not None, f"{PROGRAM} must be installed with the package"
    with settings() as found:
        folder = Path(found["RAY_SERVE_HAPROXY_SOCKET_PATH"]).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(f"{folder}/{'n' * 56}/admin.sock.123456.tmp") < 108
        assert os.access(found["RAY_SERVE_HAPROXY_BINARY_PATH"], os.X_OK)
    assert not folder.exists()


@pytest.mark.parametrize("broken", [False, True])
def test_the_program_becomes_haproxy(tmp_path: Path, broken: bool) -> None:
    """`-c` only checks the configuration, and says which program speaks."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(CONFIG + ("frontend broken\n  nonsense\n" if broken else ""))
    found = program()
    assert found is not None
    held = os.environ | {"RAY_SERVE_HAPROXY_BINARY_PATH": found}
    done = subprocess.run([sys.executable, found, "-c", "-f", str(path)], env=held, capture_output=True, text=True)
    assert (done.returncode != 0) == broken, done.stdout + done.stderr
    assert "9101" not in path.read_text()
    assert "8000" in path.read_text()


def test_it_says_what_it_is_for() -> None:
    found = program()
    assert found is not None
    done = subprocess.run([sys.executable, found, "--help"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("hybrid-ray-haproxy: -f must name a configuration; got ['--help']")


@pytest.mark.parametrize("raylet", ["ours", "another"])
def test_it_does_not_start_after_the_worker_that_asked_for_it(tmp_path: Path, raylet: str) -> None:
    path, found = tmp_path / "haproxy.cfg", program()
    path.write_text(CONFIG)
    assert found is not None
    grandparent = str(os.getppid()) if raylet == "ours" else "999999999"
    held = os.environ | {"RAY_SERVE_HAPROXY_BINARY_PATH": found, "RAY_RAYLET_PID": grandparent}
    done = subprocess.run([sys.executable, found, "-c", "-f", str(path)], env=held, capture_output=True, text=True)
    assert (done.returncode == 0) == (raylet == "ours"), done.stderr
    assert ("it died before" in done.stderr) == (raylet == "another")

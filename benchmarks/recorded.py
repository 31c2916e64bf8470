"""What benchmarks that keep cells share: the command line's answer, the commit, a file that is whole or not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
_SAMPLED_S = 0.5
"""Seconds after which the processes of a command are looked at again."""


def hybrid_ray(store: Path, timeout_s: float, *arguments: str) -> dict[str, Any]:
    """Answer of one command, which is the last line that it prints, and the ``cpu_seconds`` that it took.

    These are of the command and of all that it started, the local cluster among it; what a process took between the
    last look at it and its end is not seen.
    """
    command = [sys.executable, "-m", "hybrid_ray.cli", *arguments, "--store", str(store)]
    taken: dict[psutil.Process, float] = {}
    deadline = time.monotonic() + timeout_s
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        while True:
            try:
                printed, said = running.communicate(timeout=_SAMPLED_S)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    running.kill()
                    raise
                _look(psutil.Process(running.pid), taken)
    if running.returncode:
        raise RuntimeError(f"{' '.join(arguments[:2])}: must exit with 0; got {running.returncode}: {said[-2000:]}")
    answer: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return answer | {"cpu_seconds": sum(taken.values())}


def _look(command: psutil.Process, taken: dict[psutil.Process, float]) -> None:
    """Note the CPU seconds that a process and those below it have taken so far."""
    with suppress(psutil.Error):
        for process in (command, *command.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                taken[process] = times.user + times.system


def commit() -> str:
    """What is checked out, with a mark where files differ from it."""
    asked = ["git", "describe", "--tags", "--always", "--dirty"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def write(path: Path, content: Mapping[str, Any], indent: int | None = None) -> None:
    """Write a JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(content, indent=indent) + ("\n" if indent else ""))
    draft.replace(path)

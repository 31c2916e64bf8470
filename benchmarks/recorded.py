"""What benchmarks that keep cells share: the command line's answer, the commit, a file that is whole or not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def hybrid_ray(store: Path, timeout_s: float, *arguments: str) -> dict[str, Any]:
    """Answer of one command, which is the last line that it prints."""
    command = [sys.executable, "-m", "hybrid_ray.cli", *arguments, "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[:2])}: must exit with 0; got {done.returncode}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


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

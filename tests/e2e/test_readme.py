"""Every block of the README does what it says."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hybrid_ray.spec import load_spec

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def block(language: str, holding: str) -> str:
    found = [text for kind, text in BLOCKS if kind == language and holding in text]
    assert len(found) == 1, (language, holding)
    return found[0]


@pytest.fixture
def here(tmp_path):
    """A folder of a user: a table, the project's commands on the path, a store of its own."""
    rng = np.random.default_rng(0)
    plan = rng.choice(["basic", "pro", "team"], 160)
    age = rng.integers(18, 80, 160)
    churned = np.where(rng.random(160) < 0.2 + 0.5 * (plan == "basic"), "yes", "no")
    pd.DataFrame({"age": age, "plan": plan, "churned": churned}).to_csv(tmp_path / "customers.csv", index=False)
    return tmp_path


def environment(folder: Path, address: str = "") -> dict[str, str]:
    """Where commands find themselves, the store and, with an address, a cluster; else each starts one of its own."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HYBRID_RAY_STORE": str(folder / "store"),
        "HF_HUB_OFFLINE": "1",
        "RAY_ADDRESS": address,
    }


def shell(command: str, folder: Path, address: str = "") -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder, env=environment(folder, address), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_block_is_known():
    known = {
        ("sh", "make demo"), ("sh", "spec infer"), ("yaml", "products"), ("python", "HybridClassifier"),
        ("sh", "curl"), ("sh", "ray up"),
    }  # fmt: skip
    assert len(BLOCKS) == len(known)
    for language, holding in known:
        block(language, holding)


def test_two_commands_are_targets_of_the_makefile():
    for line in block("sh", "make demo").splitlines():
        target = shlex.split(line, comments=True)[1]
        assert "hybrid_ray.demo" in shell(f"make -n {target} -C {ROOT}", ROOT) or target == "test"


@pytest.mark.slow
def test_your_own_table_and_serve(here, cluster):
    """On a cluster that is there already: test_python, and the run that is killed, start one of their own."""
    out = shell(block("sh", "spec infer"), here, cluster.address)
    assert "customers:1" in out
    assert "# " in (here / "customers.yaml").read_text()
    assert len(pd.read_csv(here / "predictions.csv")) == 160

    serve, curl = block("sh", "curl").splitlines()
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / "hybrid-ray"), *shlex.split(serve)[1:-1], "0", "--json"],
        cwd=here, env=environment(here, cluster.address), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        url = next(json.loads(line)["url"] for line in server.stdout if line.startswith("{"))
        body = shlex.split(curl)[-1].encode()
        request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert answer["predictions"][0]["prediction"] in ("yes", "no")
    finally:
        server.terminate()
        server.wait(60)


def test_the_spec_is_valid():
    spec = load_spec(yaml.safe_load(block("yaml", "products")))
    assert [entry.name for entry in spec.extractors] == ["torchvision", "transformers", "tabular"]


@pytest.mark.slow
def test_python(here, tmp_path):
    (tmp_path / "notebook.py").write_text(block("python", "HybridClassifier"))
    started = time.monotonic()
    score = float(shell(f"{sys.executable} notebook.py", here).splitlines()[-1])
    assert score > 0.9, time.monotonic() - started


def test_cluster_commands_name_what_exists():
    text = block("sh", "ray up")
    for path in ("cluster.yaml", "specs/digits.yaml", "jobs/search.py"):
        assert path in text
        assert (ROOT / path).is_file()

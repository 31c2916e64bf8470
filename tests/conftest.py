"""Fixtures that every test may use."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from hybrid_ray.on_ray.cluster import Cluster

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
SEED = 0
PLUGINS = Path(__file__).parent / "on_ray" / "plugins"

# Examples are derived from the test itself and nothing is written beside the tests: two runs try the same cases.
settings.register_profile("fixed", deadline=None, derandomize=True, database=None, max_examples=50)
settings.load_profile("fixed")


ALLOWED_SKIPS = Path(__file__).parent / "allowed_skips.txt"
skipped: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped, and why."""
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped[report.nodeid] = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, a skip that the checked-in list does not allow fails the run: a skip must not hide a gap."""
    allowed = [line for line in ALLOWED_SKIPS.read_text().splitlines() if line and not line.startswith("#")]
    unknown = {node: why for node, why in skipped.items() if not any(fnmatch(node, pattern) for pattern in allowed)}
    if unknown and os.environ.get("CI"):
        lines = [f"skipped, and not in {ALLOWED_SKIPS.name}: {node}: {why}" for node, why in sorted(unknown.items())]
        print("\n" + "\n".join(lines))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder what needs a Ray cluster, and what tells nothing of coverage but makes it dear.

    With ``--dist loadgroup`` the tests of a file, which share fixtures, are one group, unless they say otherwise.
    """
    for item in items:
        parts = Path(item.fspath).relative_to(ROOT).parts
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("/".join(parts)))
        if parts[:2] == ("tests", "on_ray"):
            item.add_marker(pytest.mark.on_ray)
        if item.get_closest_marker("slow") or (parts[:2] == ("tests", "contract") and parts[-1] != "test_store.py"):
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Global generators in a known state; torch only where the test has it loaded."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(SEED)


@pytest.fixture(scope="session", autouse=True)
def private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Default store and caches of this session in a temporary folder: no test writes into the user's home."""
    folder = tmp_path_factory.mktemp("session")
    mine = {"HYBRID_RAY_STORE": str(folder / "store"), "MPLCONFIGDIR": str(folder / "matplotlib")}
    before = {name: os.environ.get(name) for name in mine}
    os.environ.update(mine)
    yield folder
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the project; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the data sets of {SHARED_DATA}: the folder is not there")
    return SHARED_DATA


@pytest.fixture(scope="session")
def plugin_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the package of the tests' plugins is installed: on the path of this process and of all that it starts."""
    # Built from a copy: a build leaves folders beside what it builds.
    source = shutil.copytree(PLUGINS, tmp_path_factory.mktemp("toy_plugins") / "source")
    place = str(source.parent / "installed")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", place, str(source)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, timeout=120)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [place, before]))
    sys.path.insert(0, place)
    for module in ("toy_extractors", "toy_estimators", "toy_fusions", "toy_preparations"):
        importlib.import_module(module)
    yield place
    sys.path.remove(place)
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="session")
def cluster(private_folders: Path, plugin_path: str) -> Iterator[Cluster]:
    """A small private cluster; tests that start or join another must do so in a process of their own."""
    from hybrid_ray.on_ray.cluster import connect  # Ray is imported by the tests that use it only

    # Idle workers are kept: most of a short test's time is the start of their successors.
    mine = {"HYBRID_RAY_OBJECT_STORE_MB": "200", "RAY_idle_worker_killing_time_threshold_ms": "600000"}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in mine.items():
            environment.setenv(name, value)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        with connect("local", num_cpus=2) as connected:
            yield connected

"""The benchmarks use what the package has: they run seldom, and the package moves on."""

import ast
import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
BENCHMARKS = sorted(path.name for path in FOLDER.glob("*.py"))


def test_there_are_some():
    assert "quality.py" in BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_it_imports_from_the_package_is_there(name):
    tree = ast.parse((FOLDER / name).read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    for node in found:
        if node.module.partition(".")[0] != "hybrid_ray":
            continue
        module = importlib.import_module(node.module)
        missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
        assert not missing, f"{name}: {node.module} has no {missing}"

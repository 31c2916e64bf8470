"""The house's walls: ray only under on_ray, nothing imports upward, importing is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hybrid_ray

PACKAGE = Path(hybrid_ray.__file__).parent
RANKS = {
    "errors": 0, "types": 0, "digests": 0, "documented": 0, "params": 0, "registry": 0, "metric_names": 0, "plugins": 0,
    "dealing": 0,
    "forecasts": 0, "progress": 0, "quiet": 0, "seeding": 0, "versions": 0,
    "console": 1, "spec": 1,
    "data": 2, "training": 2,
    "estimators": 3, "extractors": 3, "fusion": 3, "preparation": 3,
    "candidate": 4, "evaluation": 4, "placing": 4,
    "graph": 5,
    "store": 6,
    "search": 7, "serving": 7,
    "explain": 8, "infer": 8, "monitoring": 8, "results": 8,
    "on_ray": 9,
    "cli": 10, "demo": 10, "plugin_page": 10, "testing": 10,
}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.fixture(scope="module")
def imports() -> dict[Path, set[str]]:
    """What each file imports."""
    return {path: imported_modules(path) for path in FILES}


def test_ray_is_imported_only_under_on_ray(imports):
    users = {path for path, modules in imports.items() if any(module.split(".")[0] == "ray" for module in modules)}
    assert {room_of(path) for path in users} == {"on_ray"}, sorted(map(str, users))


def test_nothing_imports_upward(imports):
    upward = []
    for path, modules in imports.items():
        room = room_of(path)
        for module in modules if room != "__init__" else ():
            parts = module.split(".")
            if parts[0] == "hybrid_ray" and len(parts) > 1 and RANKS.get(parts[1], 0) > RANKS[room]:
                upward.append(f"{path.relative_to(PACKAGE)} (rank {RANKS[room]}) imports {module}")
    assert not upward, "\n".join(upward)


def test_every_room_has_a_rank():
    assert {room_of(p) for p in FILES} - {"__init__", "__main__"} <= set(RANKS)


@pytest.mark.parametrize(
    "statement",
    [
        "import hybrid_ray",
        "from hybrid_ray.plugins import load_plugins; load_plugins()",
        "import hybrid_ray.spec, hybrid_ray.cli",
    ],
)
def test_importing_loads_neither_torch_nor_ray(statement):
    heavy = {"torch", "ray", "transformers", "xgboost", "lightgbm"}
    code = f"import sys; {statement}; bad = {heavy} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr

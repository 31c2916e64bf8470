"""What the pages show runs as it stands there; pages with tests of their own are run beside what they tell of."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, EXTRACTORS, FUSIONS, PREPARATIONS
from hybrid_ray.spec import load_spec

PAGES = ("extending", "data-fusion")
DOCS = Path(__file__).parents[2] / "docs"
DATA = {"path": "/rows.csv", "label": "y"}
SPECS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))
]


def blocks(project_root, page, language):
    text = (project_root / "docs" / f"{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_python_runs(project_root, page, tmp_path, monkeypatch):
    load_plugins()
    for registry in (EXTRACTORS, FUSIONS):  # what a page registers is gone after it
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    found = blocks(project_root, page, "python")
    assert found
    module = f"page_{page.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text("\n".join(found))  # a file: descriptions of parameters are read from source
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(module)
    monkeypatch.delitem(sys.modules, module)


@pytest.mark.parametrize("block", SPECS)
def test_every_part_of_a_spec_is_one(block):
    load_plugins()
    part = yaml.safe_load(block)
    load_spec({"name": "m"} | part | {"data": DATA | part.get("data", {})})


def test_extractors_of_a_page_are_a_spec(project_root):
    (block,) = blocks(project_root, "data-fusion", "yaml")
    spec = load_spec({"name": "m", "data": DATA, **yaml.safe_load(block)})
    assert [entry.fusion and entry.fusion.name for entry in spec.extractors] == [None, "serialised", "tiled", None]


def test_the_page_of_plugins_is_made_of_them(project_root):
    """In a process of its own, without what the environment adds: others of this one may have registered more."""
    command = [sys.executable, "-I", "-m", "hybrid_ray.plugin_page"]
    made = subprocess.run(command, capture_output=True, text=True, check=True, cwd=project_root, timeout=120).stdout
    assert made == (project_root / "docs" / "plugins.md").read_text()
    for registry in (EXTRACTORS, ESTIMATORS, FUSIONS, PREPARATIONS):
        modules = {name: plugin.__module__.split(".") for name, plugin in registry.items()}
        names = [name for name, (top, *rest) in modules.items() if top == "hybrid_ray" and rest[0] != "testing"]
        assert all(f"### {name}\n" in made for name in names)

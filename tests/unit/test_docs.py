"""What the pages show runs as it stands there; pages with tests of their own are run beside what they tell of."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import yaml

from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import EXTRACTORS, FUSIONS
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

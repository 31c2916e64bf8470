"""Every block of docs/preparation.md runs."""

import re
from pathlib import Path

import pytest
import yaml

from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.spec import load_spec

TEXT = (Path(__file__).parents[3] / "docs" / "preparation.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "yaml"])
def test_every_part_of_a_spec_is_one(text):
    load_spec({"name": "m", "data": {"path": "/rows.csv", "label": "y"}, **yaml.safe_load(text)})


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "python"])
def test_every_program_runs(text, monkeypatch):
    load_plugins()
    monkeypatch.setattr(PREPARATIONS, "_classes", dict(PREPARATIONS._classes))
    exec(compile(text, "docs/preparation.md", "exec"), {"__name__": "docs"})


def test_every_step_is_told_of():
    load_plugins()
    named = {n for n, step in PREPARATIONS.items() if step.__module__.startswith("hybrid_ray.preparation")}
    assert named <= set(re.findall(r"`(\w+)`", TEXT))

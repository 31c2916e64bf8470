"""What docs/decision-fusion.md shows is true: its blocks run, and its spec is one."""

import re
from pathlib import Path

import pytest
import yaml

from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import FUSIONS
from hybrid_ray.spec.model import SearchSpec

PAGE = (Path(__file__).parents[3] / "docs" / "decision-fusion.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_its_python_runs(capsys):
    exec("\n".join(blocks("python")), {})
    assert "ridge" in capsys.readouterr().out


@pytest.mark.parametrize("block", blocks("yaml"))
def test_its_spec_is_valid(block):
    load_plugins()
    asked = SearchSpec.model_validate(yaml.safe_load(block)["search"])
    assert [entry.name for entry in asked.ensemble.combiners] == ["linear_pool", "meta_stacking", "layered_stacking"]


def test_it_names_every_combiner():
    load_plugins()
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    ours = {name: each for name, each in FUSIONS.items() if each.__module__.startswith("hybrid_ray.fusion.")}
    assert named == {name for name, each in ours.items() if each.level == "decision"}

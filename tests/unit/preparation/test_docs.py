"""Every program of docs/preparation.md runs."""

import re
from pathlib import Path

import pytest

from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import EXTRACTORS, PREPARATIONS

TEXT = (Path(__file__).parents[3] / "docs" / "preparation.md").read_text()


@pytest.mark.parametrize("text", re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
def test_every_program_runs(text, monkeypatch):
    load_plugins()
    monkeypatch.setattr(PREPARATIONS, "_classes", dict(PREPARATIONS._classes))
    exec(compile(text, "docs/preparation.md", "exec"), {"__name__": "docs"})


def test_every_extractor_that_augments_is_told_of():
    load_plugins()
    names = {"flip", "shift", "rotate", "crop", "colour", "erase", "drop", "swap"}
    names |= {"word_dropout", "jitter", "noise", "mask", "pose"}
    section = TEXT.partition("## Augmentation")[2].partition("\n## ")[0]
    lines = [re.findall(r"`(\w+)`", line) for line in section.splitlines() if line.startswith("| `")]
    told = {line[0]: set(line[1:]) for line in lines}
    shipped = [name for name, each in EXTRACTORS.items() if each.__module__.startswith("hybrid_ray.")]
    found = {name: names & set(EXTRACTORS.get(name).Params.model_fields) for name in shipped}
    assert told == {name: own for name, own in found.items() if own}


def test_every_step_is_told_of():
    load_plugins()
    named = {n for n, step in PREPARATIONS.items() if step.__module__.startswith("hybrid_ray.preparation")}
    assert named <= set(re.findall(r"`(\w+)`", TEXT))

"""The specs that come with the project: each is valid, and its smoke form has rows that can be split."""

from pathlib import Path

import pytest

from hybrid_ray.data.rows import read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.spec import dump_yaml, load_spec, smoke_form
from hybrid_ray.spec.document import parse_yaml

SPECS = sorted((Path(__file__).resolve().parents[3] / "specs").glob("*.yaml"))


def test_there_are_specs():
    assert SPECS


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_it_is_read_back_as_it_is_written(path):
    spec = load_spec(path)
    assert load_spec(parse_yaml(dump_yaml(spec), path.name)) == spec


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_its_smoke_form_can_be_split(path):
    form = smoke_form(load_spec(path))
    assert form.task != "auto"
    source = open_source(form.data)
    assert source.n_rows <= 200
    rows = read_rows(form.data, form.target, source, form.task, form.search.folds, form.seed)
    assert rows.split.test.any()

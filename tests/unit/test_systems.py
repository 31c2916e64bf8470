"""The systems are specs that load, and the page about them says what was measured of these specs."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from hybrid_ray.forecasts import Came
from hybrid_ray.spec import load_spec

ROOT = Path(__file__).resolve().parents[2]
NO_SYSTEM = {"digits", "houses"}
"""Specs for other ends: the demonstration, and a regression on images."""


@pytest.fixture(scope="module")
def systems():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("systems")


@pytest.fixture(scope="module")
def cells(systems):
    held = json.loads(systems.RESULTS.read_text())["cells"]
    return {systems.key_of(cell["system"], cell["row"], cell["seed"]): cell for cell in held}


def test_every_system_is_a_spec(systems):
    specs = {path.stem for path in (ROOT / "specs").glob("*.yaml")}
    assert specs - NO_SYSTEM == set(systems.SYSTEMS)
    for name, system in systems.SYSTEMS.items():
        assert load_spec(systems.spec_of(system)).name == name
        assert systems.command_of(system).startswith(f"hybrid-ray run specs/{name}.yaml")


def test_what_stands_beside_it_loads_too(systems):
    for system in systems.SYSTEMS.values():
        assert next(iter(system.rows)) == "spec"
        asked = [load_spec(systems.spec_of(system), row.changed) for row in system.rows.values()]
        where = [row.data for row in system.rows.values()]
        distinct = {(spec.model_dump_json(), data) for spec, data in zip(asked, where, strict=True)}
        assert len(distinct) == len(system.rows), system.name


def test_figures_are_of_the_specs_as_they_stand(systems, cells):
    for cell in cells.values():
        system = systems.SYSTEMS[cell["system"]]
        assert cell["spec"] == systems.digest_of(system, system.rows[cell["row"]]), cell["system"]
        assert "dirty" not in cell["commit"]
        assert cell["ci95"][0] <= cell["score"] <= cell["ci95"][1]


def test_verdicts_follow_from_the_figures(systems, cells):
    said = json.loads(systems.RESULTS.read_text())["systems"]
    assert said == {name: systems.verdict(system, cells) for name, system in systems.SYSTEMS.items()}


def test_the_page_is_written_from_the_figures(systems, cells):
    assert systems.PAGE.read_text() == systems.page(cells)


def test_returns_are_told_by_hand(systems):
    from systems_series import trading_scores

    last, values = np.array([[100.0], [100.0], [100.0]]), np.array([[0, 110.0], [0, 90.0], [0, 120.0]])
    y = Came(values, values, values, last, np.ones((3, 1))).packed()
    told = trading_scores(y, np.array([[0, 105.0], [0, 105.0], [0, 95.0]]))  # held, held, not held
    assert told["maximum_drawdown"] == pytest.approx(0.1)
    assert told["hold_maximum_drawdown"] == pytest.approx(0.1)
    assert told["volatility"] == pytest.approx(np.std([0.1, -0.1, 0]) * np.sqrt(126))
    assert told["sharpe_ratio"] == pytest.approx(0)
    assert told["hold_value_at_risk"] == pytest.approx(-np.quantile([0.1, -0.1, 0.2], 0.05))
    assert trading_scores(y, last.repeat(2, axis=1))["sharpe_ratio"] == 0

"""The systems are specs that load, and the page about them says what was measured of these specs."""

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
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


def test_cells_of_other_files_are_taken_once_and_of_the_specs_as_they_stand(systems, cells, tmp_path):
    known, other = [cell for cell in cells.values() if cell["system"] == "graph"][:2]
    own, path = tmp_path / "own.json", tmp_path / "other.json"
    own.write_text(json.dumps({"cells": [known]}))
    stale = other | {"row": "gcn", "seed": 7, "spec": "another"}
    path.write_text(json.dumps({"cells": [known | {"score": 0.0}, other, stale, other | {"system": "unknown"}]}))
    systems.Bench(tmp_path, tmp_path, own).take(path)
    assert json.loads(own.read_text())["cells"] == sorted([known, other], key=lambda c: (c["row"], c["seed"]))


def test_verdicts_follow_from_the_figures(systems, cells):
    said = json.loads(systems.RESULTS.read_text())["systems"]
    assert said == {name: systems.verdict(system, cells) for name, system in systems.SYSTEMS.items()}


def test_the_page_is_written_from_the_figures(systems, cells):
    assert systems.PAGE.read_text() == systems.page(cells)


def test_every_file_has_an_origin(systems):
    from systems_sources import ORIGINS, data_lines

    files = {origin.file for origin in ORIGINS}
    read = {row.data for system in systems.SYSTEMS.values() for row in system.rows.values()}
    assert {path for path in read if isinstance(path, str) and "://" not in path} <= files
    told = "\n".join(data_lines())
    for system in systems.SYSTEMS.values():
        _, _, named = systems.command_of(system).partition("data.path=")
        assert "<" not in named
        assert f"{named}`" in told, system.name
    assert all(line.count(" | ") == 3 for line in data_lines() if line.startswith("| "))


def test_files_have_the_columns_that_specs_read(systems):
    from systems_sources import ORIGINS

    told = {origin.file.rpartition("/")[2]: origin.holds for origin in ORIGINS}
    for name in ("cnn_svm", "medical", "multimodal", "bert_xgboost", "churn", "finance", "forecasting", "audio"):
        data = load_spec(systems.spec_of(systems.SYSTEMS[name])).data
        named = [data.label, *data.drop, data.split.column, *(data.columns or {})]
        named += [data.series.id, data.series.time] if data.series else []
        for column in filter(None, named):
            assert f"`{column}`" in told[Path(data.path).name] or column == "history", (name, column)


def test_rows_that_are_the_spec_s_own_choice_are_told(systems):
    system = systems.SYSTEMS["anomaly"]
    member = [{"name": "lof(series_stats)#1", "weight": 1.0}]
    own = {"seed": 0, "members": member}
    same = own | {"spec_gains": {"mean": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0}}
    held = {name: [] for name in system.rows} | {"spec": [own], "equal": [same], "isolation": [same]}
    held["isolation"] = [same | {"spec_gains": {"mean": 0.1, "low": 0.0, "high": 0.2, "p_value": 0.1}}]
    assert systems._same_ensembles(system, held) == (
        f"The row `{system.rows['equal'].says}` is the spec's own choice: with every seed the search ended in the same "
        "ensemble, of one member."
    )
    held["equal"] = [same | {"members": [{"name": "lof(series_stats)#2", "weight": 1.0}]}]
    assert systems._same_ensembles(system, held) == ""


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


def test_credit_is_refused_where_that_costs_less(systems):
    from systems_tables import credit_scores

    outputs = np.array([[0.9, 0.1], [0.8, 0.2], [0.5, 0.5], [0.9, 0.1]])  # refused: where 5 p(bad) > p(good)
    assert credit_scores(np.array([0, 0, 1, 1]), outputs)["uci_cost"] == pytest.approx((0 + 1 + 0 + 5) / 4)


def test_columns_of_noise_are_told_apart(systems):
    from systems_tables import noise_read

    assert noise_read({"tenure": 1.0, "gender": 0.5, "noise_0": 0.0, "noise_1": 0.25}) == {
        "table_read": 0.75,
        "noise_read": 0.125,
    }
    assert noise_read({"tenure": 1.0}) == {"table_read": 1.0}


def test_what_only_stands_beside_others_must_be_there(systems):
    from systems_base import stands_beside

    holds = stands_beside("r2", "other", gains=["other"])
    whole = {"spec": {"r2": 0.5}, "other": {"r2": 0.9, "gain_low": -1.0, "gain_high": -0.1}}
    assert holds(whole)
    assert not holds({**whole, "spec": {"r2": np.nan}})
    with pytest.raises(KeyError, match="gain_low"):
        holds({**whole, "other": {"r2": 0.9}})


def test_pump_windows_end_where_they_are_told_of(systems, tmp_path):
    from systems_series import PUMP_SENSORS, PUMP_STEPS, pump_windows

    rng = np.random.default_rng(0)
    n, known = 700, 400
    moments = pd.DataFrame({sensor: rng.normal(5.0, 2.0, n) for sensor in PUMP_SENSORS})
    moments["group"], moments["file"] = "valve1", "1.csv"
    moments["split"] = np.where(np.arange(n) < known, "train", "test")
    moments["anomaly"] = (np.arange(n) > 600).astype(int)
    (tmp_path / "skab_valve1").mkdir()
    moments.to_parquet(tmp_path / "skab_valve1" / "skab_valve1.parquet")
    rows = pump_windows(tmp_path)
    windows, test = np.array(rows["window"].tolist()), (rows["split"] == "test").to_numpy()
    assert windows.shape[1:] == (PUMP_STEPS, len(PUMP_SENSORS))
    assert test.sum() == n - known
    assert rows.loc[test, "anomaly"].tolist() == moments["anomaly"].iloc[known:].tolist()
    values = moments[list(PUMP_SENSORS)].to_numpy()
    scaled = (values - values[: known // 2].mean(axis=0)) / values[: known // 2].std(axis=0)
    assert windows[test][:, -1] == pytest.approx(scaled[known:], abs=1e-5), "a window ends at its moment"
    normal = windows[~test & (rows["anomaly"] == 0).to_numpy()]
    assert normal[:, -1] == pytest.approx(scaled[known // 2 : known : 2], abs=1e-5), (
        "of training moments that scale none"
    )
    mixed = windows[~test & (rows["anomaly"] == 1).to_numpy()]
    assert len(mixed) == (len(normal) + 1) // 2
    assert np.isin(mixed[:, -1], normal[:, -1]).all()
    assert not (mixed[:, None, -1] == normal[None, :, -1]).all(axis=2).any(), "no window is one that the pump gave"


def test_what_holds_surely_holds_with_every_seed(systems):
    from systems_base import surely_beats

    system = next(each for each in systems.SYSTEMS.values() if len(each.rows) > 1)
    spec, other = list(system.rows)[:2]
    cells = {}
    for seed, low in enumerate((0.09, 0.01, -0.02)):
        for row in (spec, other):
            cell = {"system": system.name, "row": row, "seed": seed, "test": {"accuracy": 0.5}, "modalities": {}}
            gain = {"spec_gains": {"low": low, "high": 0.2}} if row == other else {}
            cells[systems.key_of(system.name, row, seed)] = cell | gain
    means = systems.means_of(system, cells)
    assert means[other]["gain_low"] == -0.02
    assert not surely_beats(other)(means)


def test_a_forecast_of_the_last_value_is_no_reason_to_buy(systems):
    from systems_series import trading_scores

    last = np.array([[100.0], [3.3]])
    values = last * [[1.0, 1.1]]
    y = Came(values, values, values, last, np.ones((2, 1))).packed()
    assert trading_scores(y, last.repeat(2, axis=1) * (1 + 4e-16))["volatility"] == 0

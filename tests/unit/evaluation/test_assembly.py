"""From outputs by name to levels, ablation and the measured part of the report."""

import json

import numpy as np
import pytest

from hybrid_ray.evaluation.assembly import compare, evaluate_test, level_kind, reference_level
from hybrid_ray.evaluation.intervals import paired_difference
from hybrid_ray.evaluation.metrics import METRICS
from hybrid_ray.evaluation.schema import Estimate, Report
from hybrid_ray.evaluation.significance import holm

ACCURACY = METRICS["accuracy"]


@pytest.fixture
def binary():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 500)

    def outputs(right):
        chosen = np.where(rng.uniform(size=500) < right, y, 1 - y)
        return 0.8 * np.eye(2)[chosen] + 0.1

    names = {"naive": 0.5, "alone:image": 0.7, "alone:text": 0.8, "best candidate": 0.85, "ensemble": 0.95}
    return y, {name: outputs(right) for name, right in names.items()}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("naive", "naive"),
        ("alone:image", "modality"),
        ("alone:cnn", "extractor"),
        ("without:text", "without"),
        ("best candidate", "candidate"),
        ("feature-level fusion", "feature"),
        ("ensemble", "decision"),
        ("last year's model", "other"),
    ],
)
def test_names_decide_where_outputs_stand(name, kind):
    assert level_kind(name) == kind


def test_levels_are_compared_with_the_best_single_modality(binary):
    y, outputs = binary
    rows = {row.name: row for row in compare(y, outputs, ACCURACY, seed=1)}
    assert list(rows) == ["naive", "alone:image", "alone:text", "best candidate", "ensemble"]
    assert [name for name, row in rows.items() if row.reference] == ["alone:text"]
    assert rows["alone:text"].gain is None
    for name, row in rows.items():
        assert row.score.value == pytest.approx(ACCURACY.score(y, outputs[name]))
        assert row.score.low < row.score.value < row.score.high
    assert rows["ensemble"].gain.low > 0
    assert rows["ensemble"].p_value < 0.05
    assert rows["naive"].gain.high < 0


def test_the_best_single_modality_is_chosen_without_looking_at_the_test_rows(binary):
    y, outputs = binary
    rows = compare(y, outputs, ACCURACY, oof={"alone:image": 0.9, "alone:text": 0.6})
    assert [row.name for row in rows if row.reference] == ["alone:image"]
    assert {row.name: row.oof for row in rows}["alone:text"] == 0.6


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"alone:image": 0.3, "alone:text": 0.2}, "alone:text"),
        ({"alone:image": 0.1, "alone:cnn": 0.3, "alone:pixels": 0.2}, "alone:pixels"),
        ({"alone:tabular": 0.2, "best candidate": 0.1}, "alone:tabular"),
        ({"alone:image": float("nan"), "best candidate": 0.1}, "best candidate"),
        ({"ensemble": 0.1, "naive": 0.7}, None),
    ],
)
def test_what_fusion_must_beat(scores, expected):
    assert reference_level(scores, METRICS["log_loss"]) == expected


def test_ablation_has_each_alone_each_left_out_and_all(make_report):
    rows = make_report(classes=["a", "b", "c"]).evaluation.ablation
    assert [(row.kind, row.name) for row in rows] == [
        ("all", "all inputs"),
        ("alone", "image"),
        ("alone", "tabular"),
        ("alone", "text"),
        ("without", "image"),
        ("without", "tabular"),
        ("without", "text"),
    ]
    assert all(row.change.value == pytest.approx(rows[0].score.value - row.score.value) for row in rows[1:])


def test_the_p_values_of_an_ablation_are_corrected_together(binary):
    y, outputs = binary
    rng = np.random.default_rng(5)
    worse = {f"alone:{m}": outputs["best candidate"].copy() for m in ("image", "tabular", "text")}
    for i, values in enumerate(worse.values()):
        hurt = rng.permutation(len(y))[: 9 + 6 * i]
        values[hurt] = values[hurt, ::-1]
    everything = {**worse, "naive": outputs["naive"], "ensemble": outputs["ensemble"]}
    everything["best candidate"] = outputs["best candidate"]
    found = evaluate_test(y, everything, task="binary", metric=ACCURACY, classes=["no", "yes"])
    raw = [paired_difference(y, values, outputs["best candidate"], ACCURACY).p_value for values in worse.values()]
    given = [row.p_value for row in found.ablation[1:]]
    assert given == pytest.approx(holm(raw))
    assert any(g > r for g, r in zip(given, raw, strict=True))


def test_extractors_stand_in_where_there_is_one_modality(binary):
    y, outputs = binary
    one = {
        "alone:cnn" if n == "alone:image" else "alone:pixels" if n == "alone:text" else n: v for n, v in outputs.items()
    }
    found = evaluate_test(y, one, task="binary", metric=ACCURACY, classes=["no", "yes"], n=50)
    assert [row.name for row in found.ablation] == ["all inputs", "cnn", "pixels"]


def test_nothing_to_ablate_is_said_by_nothing(binary):
    y, outputs = binary
    few = {name: outputs[name] for name in ("naive", "ensemble")}
    found = evaluate_test(y, few, task="binary", metric=ACCURACY, classes=["no", "yes"], n=50)
    assert found.ablation == []
    assert all(row.gain is None for row in found.levels)


def test_the_headline_is_the_ensembles(binary):
    y, outputs = binary
    found = evaluate_test(
        y, outputs, task="binary", metric=ACCURACY, classes=[False, True], members={"m": outputs["alone:text"]}, n=50
    )
    assert found.headline.score.value == pytest.approx(ACCURACY.score(y, outputs["ensemble"]))
    assert found.headline.gain == pytest.approx(found.headline.score.value - found.headline.naive)
    assert found.members == {"m": pytest.approx(ACCURACY.score(y, outputs["alone:text"]))}
    assert found.confusion.labels == ["False", "True"]
    assert sum(map(sum, found.confusion.counts)) == len(y)
    assert {row.metric for row in found.metrics} == {n for n, m in METRICS.items() if "binary" in m.tasks}
    assert [curve.label for curve in found.roc] == ["True"]


@pytest.mark.parametrize("missing", ["naive", "ensemble"])
def test_what_must_be_there_is_named(binary, missing):
    y, outputs = binary
    outputs = {name: values for name, values in outputs.items() if name != missing}
    with pytest.raises(ValueError, match=rf"missing \['{missing}'\]"):
        evaluate_test(y, outputs, task="binary", metric=ACCURACY, classes=[0, 1])


def test_the_same_seed_gives_the_same_report(make_report):
    kwargs = {"task": "regression", "metric": "rmse", "n": 80}
    assert make_report(**kwargs) == make_report(**kwargs)


def test_a_report_is_json_and_back(report):
    text = json.dumps(report.to_json(), allow_nan=False)
    assert Report.model_validate_json(text) == report


def test_scores_that_are_not_defined_are_null():
    found = Estimate(value=float("nan"), low=float("-inf"), high=np.float64(0.5))
    assert found.model_dump() == {"value": None, "low": None, "high": 0.5}


def test_a_test_split_with_one_class_only_still_gives_a_report():
    y = np.zeros(30, int)
    outputs = {name: np.tile([0.7, 0.3], (30, 1)) for name in ("naive", "ensemble", "alone:text", "best candidate")}
    found = evaluate_test(y, outputs, task="binary", metric=METRICS["roc_auc"], classes=["a", "b"], n=50)
    assert found.headline.score == Estimate(value=None)
    assert found.roc == []

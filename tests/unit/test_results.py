"""What a run says of groups: in its answer, and to people."""

import json

import numpy as np
import pytest

from hybrid_ray.data.groups import Grouping
from hybrid_ray.evaluation.assembly import evaluate_test
from hybrid_ray.evaluation.metrics import METRICS
from hybrid_ray.evaluation.schema import DataCard, EnsembleCard, MemberRow, Report, SplitCard
from hybrid_ray.results import describe_run, run_answer


@pytest.fixture(scope="module")
def answer():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    codes = rng.integers(0, 2, 200)
    codes[:4] = 2
    p = np.where(rng.uniform(size=200) < 0.9 - 0.4 * (codes == 1), y, 1 - y) * 0.8 + 0.1
    outputs = {"naive": np.full((200, 2), 0.5), "ensemble": np.stack([1 - p, p], axis=1)}
    grouping = Grouping("sex", ("f", "m", "x"), codes)
    evaluation = evaluate_test(
        y, outputs, task="binary", metric=METRICS["accuracy"], classes=[0, 1], groups=[grouping], n=200
    )
    report = Report(
        name="tiny",
        task="binary",
        run_id="r",
        created="2026-01-01T00:00:00Z",
        evaluation=evaluation,
        data=DataCard(path="x.csv", label="y", rows=999, split=SplitCard(kind="random", train=799, test=200, folds=2)),
        ensemble=EnsembleCard(combiner="linear_pool", members=[MemberRow(name="only", weight=1.0)]),
    )
    return run_answer(report, y, outputs, report_path="report.html", artifact="models/tiny/1")


def test_the_answer_holds_scores_by_group_and_their_gaps(answer):
    found = answer["groups"]["sex"]
    assert found["rows"]["x"] == 4
    assert found["test"]["x"] == {}
    gap = found["gaps"]["accuracy"]
    assert gap["gap"] == pytest.approx(found["test"]["f"]["accuracy"] - found["test"]["m"]["accuracy"])
    assert (gap["highest"], gap["lowest"]) == ("f", "m")
    assert gap["ci95"][0] > 0
    assert gap["p_value"] < 0.05
    low, high = found["ci95"]["m"]["true_positive_rate"]
    assert low < found["test"]["m"]["true_positive_rate"] < high
    json.dumps(answer, allow_nan=False)


def test_people_read_of_how_many_groups_the_test_rows_are(answer):
    assert answer["rows"]["test_groups"] is None
    rows = answer["rows"]
    assert "  rows: 999 = 799 train + 200 test, 0 bad" in describe_run(answer)
    assert "  rows: 999 = 799 train + 200 test of 12 groups, 0 bad" in describe_run(
        {**answer, "rows": {**rows, "test_groups": 12}}
    )
    earlier = {name: n for name, n in rows.items() if name != "test_groups"}
    assert "  rows: 999 = 799 train + 200 test, 0 bad" in describe_run({**answer, "rows": earlier})


def test_people_read_the_gap_of_the_metric(answer):
    assert any(line.startswith("  accuracy by sex: gap 0.") and "f and m" in line for line in describe_run(answer))
    assert not any(" by sex" in line for line in describe_run({**answer, "groups": {}}))

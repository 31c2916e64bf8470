"""Where metrics, McNemar's tests and t tests stand on the axes of the page."""

import re

import pytest

from hybrid_ray.evaluation.intervals import wilson
from hybrid_ray.evaluation.metric_view import metrics
from hybrid_ray.evaluation.pair_view import folds, right
from hybrid_ray.evaluation.report import render
from hybrid_ray.evaluation.schema import Estimate, FoldRow, FoldTests, MetricRow, RightRow
from hybrid_ray.metric_names import METRIC_NAMES


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html)).replace("\N{NO-BREAK SPACE}", " ")


def ticks_of(view):
    return {text: at for at, text in view.ticks}


def test_metrics_stand_between_the_naive_score_and_a_perfect_one(make_report):
    evaluation = make_report(task="binary", classes=["a", "b"]).evaluation
    rows = [
        MetricRow(metric="accuracy", direction="maximize", score=Estimate(value=0.8, low=0.7, high=0.9), naive=0.6),
        MetricRow(metric="log_loss", direction="minimize", score=Estimate(value=0.3, low=0.2, high=0.6), naive=0.6),
        MetricRow(metric="brier_score_loss", direction="minimize", score=Estimate(value=9.0), naive=0.5),
        MetricRow(metric="expected_calibration_error", direction="minimize", score=Estimate(value=0.1), naive=0.0),
        MetricRow(metric="roc_auc", direction="maximize", score=Estimate(value=None), naive=0.5),
    ]
    view = metrics(evaluation.model_copy(update={"metrics": rows}))
    ticks = ticks_of(view)
    assert set(ticks) >= {"0", "0.5", "1"}
    accuracy, loss, far, perfect, undefined = view.lines
    assert accuracy.strip.dot == loss.strip.dot == ticks["0.5"], "half of the way, up or down"
    assert accuracy.strip.left == pytest.approx((ticks["0"] + ticks["0.5"]) / 2, abs=0.02)
    assert loss.strip.left == ticks["0"]
    assert loss.strip.left + loss.strip.width == pytest.approx(ticks["1"] - (ticks["1"] - ticks["0"]) / 3, abs=0.02)
    assert far.strip.off == "left"
    assert (perfect.strip, undefined.strip) == (None, None)
    assert (accuracy.higher, loss.higher, accuracy.interval) == (True, False, "0.700 to 0.900")
    assert [line.headline for line in view.lines] == [False, True, False, False, False]


def test_rows_that_only_one_gets_right_stand_about_a_half():
    rows = [
        RightRow(name="alone:text", ensemble_only=30, other_only=10, p_value=0.002),
        RightRow(name="naive", ensemble_only=7, other_only=7, p_value=1.0),
        RightRow(name="best", ensemble_only=0, other_only=0, p_value=1.0),
    ]
    view = right(rows)
    ticks = ticks_of(view)
    span = ticks["1"] - ticks["0"]
    better, even, same = view.lines
    low, high = wilson(30, 40)
    assert better.strip.dot == pytest.approx(ticks["0"] + 0.75 * span, abs=0.02)
    assert better.strip.left == pytest.approx(ticks["0"] + float(low) * span, abs=0.02)
    assert better.strip.width == pytest.approx(float(high - low) * span, abs=0.02)
    assert better.strip.left > ticks["0.5"] > even.strip.left
    assert even.strip.dot == ticks["0.5"]
    assert same.strip is None


def compared(cuts=(2, 2), shared=2, note=""):
    rows = [FoldRow(label="svm#1", rank=1.2, gain=0.0, cuts=max(cuts), same=True)]
    for i, n in enumerate(cuts):
        gain = -0.1 * (i + 1)
        row = {"gain": gain, "low": gain - 0.05, "high": gain + 0.15, "p_value": 0.04 * (i + 1)}
        rows.append(FoldRow(label=f"knn#{i}", rank=2.0 + i, cuts=n, same=i == 0, **row))
    return FoldTests(folds=5, cuts=shared, note=note, rows=rows, friedman_p=0.1, critical_difference=1.5, anova_p=0.02)


def test_gains_over_the_best_candidate_stand_about_zero():
    view = folds(compared(), 3)
    ticks = ticks_of(view)
    best, near, far = view.lines
    assert (best.best, best.gain, best.p, near.best) == (True, "–", "–", False)
    assert (best.strip.dot, best.strip.width) == (ticks["0"], 0)
    assert (near.gain, near.interval) == ("−0.100", "−0.150 to +0.050")
    assert near.strip.left < near.strip.dot < ticks["0"] < near.strip.left + near.strip.width
    assert far.strip.left + far.strip.width < ticks["0"]
    assert (view.folds.replace("\N{NO-BREAK SPACE}", " "), view.uneven) == ("2 × 5 folds", False)
    assert folds(compared(cuts=(1, 1), shared=1), 3).folds == "5 folds"


def test_the_page_says_over_which_folds(make_report):
    form = make_report().to_json()
    assert "Over the 5 folds: p" in text_of(render(form))
    form["fold_tests"] = compared(cuts=(3, 3), shared=3).model_dump()
    page = text_of(render(form))
    assert "Over the 3 × 5 folds: p" in page
    assert "cuts of the rows" not in page
    note = "With one cut only, for what their folds trained: knn#1."
    form["fold_tests"] = compared(cuts=(3, 1), shared=1, note=note).model_dump()
    page = text_of(render(form))
    assert "Over the 5 folds: p" in page
    assert f"over the cuts of the rows into folds that both were fitted on. {note}" in page
    assert re.search(r"knn#0 ?3 cuts", page)
    assert re.search(r"knn#1 ?ranked significantly lower ?1 cut ", page)


def test_every_test_of_a_pair_is_drawn(report):
    html = render(report)
    names = ("metrics", "candidates", "levels")
    sections = {name: html.partition(f'id="{name}"')[2].partition("</section>")[0] for name in names}
    drawn = {name: section.count('<b style="left:') for name, section in sections.items()}
    perfect = {"maximize": 1.0, "minimize": 0.0}
    told = [
        row for row in report.evaluation.metrics if METRIC_NAMES[row.metric].bounded and row.score.value is not None
    ]
    defined = [row for row in told if row.naive != perfect[row.direction]]
    assert len(defined) - 2 <= drawn["metrics"] <= len(report.evaluation.metrics)
    assert drawn["candidates"] == len(report.fold_tests.rows)
    differ = [row for row in report.evaluation.right if row.ensemble_only + row.other_only]
    assert drawn["levels"] >= len(differ)

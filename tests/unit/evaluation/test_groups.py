"""Scores by group: what they rest on, their gaps, and that no gap is found where there is none."""

import numpy as np
import pytest

from hybrid_ray.data.groups import Grouping
from hybrid_ray.evaluation.groups import LEAST_ROWS, group_cards
from hybrid_ray.evaluation.intervals import wilson
from hybrid_ray.evaluation.metrics import METRICS, metrics_of

LABELS = ("a", "b", "c", "nobody", "few")


def grouping(codes):
    return Grouping("g", LABELS, np.asarray(codes))


def two_classes(rng, n, shift=0.0, codes=None):
    """Two classes by a score that is ``shift`` higher in group 1."""
    y = rng.integers(0, 2, n)
    codes = rng.choice(3, n, p=[0.5, 0.3, 0.2]) if codes is None else codes
    score = 2 * y - 1 + rng.normal(0, 1.2, n) + shift * (codes == 1)
    p = 1 / (1 + np.exp(-score))
    return y, np.stack([1 - p, p], axis=1), codes


def card_of(y, outputs, codes, task="binary", classes=("no", "yes"), n=500):
    (card,) = group_cards(y, outputs, [grouping(codes)], task=task, classes=classes, seed=1, n=n)
    return card


@pytest.fixture(scope="module")
def card():
    rng = np.random.default_rng(0)
    codes = rng.choice(3, 600, p=[0.5, 0.3, 0.2])
    codes[: LEAST_ROWS - 1] = 4
    y, outputs, codes = two_classes(rng, 600, 1.5, codes)
    return y, outputs, codes, card_of(y, outputs, codes)


def test_scores_of_a_group_are_those_of_its_rows(card):
    y, outputs, codes, found = card
    guess = outputs.argmax(axis=1)
    assert [row.label for row in found.rows] == ["a", "b", "c", "few"]
    assert found.positive == "yes"
    for row in found.rows[:3]:
        held = codes == LABELS.index(row.label)
        assert row.rows == held.sum()
        for name in set(metrics_of("binary")) - {"expected_calibration_error"}:
            estimate = row.scores[name]
            assert estimate.value == pytest.approx(METRICS[name].score(y[held], outputs[held]))
            assert estimate.low < estimate.value < estimate.high
        assert row.scores["selection_rate"].value == pytest.approx(guess[held].mean())
        assert row.scores["true_positive_rate"].value == pytest.approx(guess[held & (y == 1)].mean())
        assert row.scores["false_positive_rate"].value == pytest.approx(guess[held & (y == 0)].mean())
        low, high = wilson(int((guess[held] == y[held]).sum()), int(held.sum()))
        assert (row.scores["accuracy"].low, row.scores["accuracy"].high) == pytest.approx((low, high))


def test_a_group_of_too_few_rows_is_counted_and_has_no_scores(card):
    few = card[-1].rows[-1]
    assert (few.label, few.rows, few.scores) == ("few", LEAST_ROWS - 1, {})
    assert {gap.compared for gap in card[-1].gaps} == {3}


def test_a_gap_is_the_largest_difference_and_names_its_groups(card):
    found = card[-1]
    scores = {row.label: row.scores["selection_rate"].value for row in found.rows[:3]}
    gap = next(gap for gap in found.gaps if gap.measure == "selection_rate")
    assert gap.gap.value == pytest.approx(max(scores.values()) - min(scores.values()))
    assert (gap.highest, gap.lowest) == (max(scores, key=scores.get), min(scores, key=scores.get))
    assert gap.highest == "b"
    assert gap.gap.low > 0
    assert gap.p_value < 0.01


def test_a_rate_of_few_rows_of_its_class_is_left_out():
    rng = np.random.default_rng(2)
    y, outputs, codes = two_classes(rng, 300)
    y[(codes == 2) & (np.cumsum((codes == 2) & (y == 1)) > 3)] = 0
    row = next(row for row in card_of(y, outputs, codes).rows if row.label == "c")
    assert {"true_positive_rate", "recall", "roc_auc"}.isdisjoint(row.scores)
    assert {"false_positive_rate", "accuracy", "log_loss"} <= set(row.scores)


def test_groups_that_are_the_same_are_seldom_told_apart():
    """The largest of three differences is never zero: a naive interval would call it significant nearly always."""
    rng = np.random.default_rng(3)
    gaps = [gap for _ in range(30) for gap in card_of(*two_classes(rng, 150), n=200).gaps]
    assert np.mean([gap.p_value < 0.05 for gap in gaps]) < 0.11
    assert [gap.gap.low > 0 for gap in gaps] == [gap.p_value < 0.05 for gap in gaps]


def test_a_group_without_an_error_is_not_taken_for_certain():
    y, outputs = np.zeros(30, int), np.tile([0.9, 0.1], (30, 1))
    outputs[12:15] = outputs[12:15, ::-1]
    found = card_of(y, outputs, np.arange(30) // 12)
    gap = next(gap for gap in found.gaps if gap.measure == "accuracy")
    assert (gap.highest, gap.compared) == ("a", 2)
    assert gap.gap.value == pytest.approx(3 / 12)
    assert gap.p_value > 0.05


@pytest.mark.parametrize(("task", "classes"), [("multiclass", ["u", "v", "w"]), ("regression", None)])
def test_other_tasks_have_their_metrics_and_no_rates_of_a_class(task, classes):
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 3, 200)
    if classes:
        y, outputs = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)
    else:
        y = rng.normal(size=200)
        outputs = (y + rng.normal(0, 0.1, 200) + 2 * (codes == 2))[:, None]
    found = card_of(y, outputs, codes, task, classes)
    expected = set(metrics_of(task)) - {"expected_calibration_error"}
    assert set(found.rows[0].scores) == expected | ({"mean_error"} if not classes else set())
    assert found.positive == ""
    if not classes:
        gap = next(gap for gap in found.gaps if gap.measure == "mean_error")
        assert gap.highest == "c"
        assert gap.gap.value == pytest.approx(2, abs=0.1)


def test_one_group_has_scores_and_no_gap():
    rng = np.random.default_rng(5)
    y, outputs, _ = two_classes(rng, 60)
    found = card_of(y, outputs, np.zeros(60, int))
    assert len(found.rows) == 1
    assert found.gaps == []

"""Rows that go together are drawn together: intervals cover, tests keep their level, rows alone are as they were."""

import itertools
import time

import numpy as np
import pytest

from hybrid_ray.data.groups import Grouping
from hybrid_ray.evaluation.assembly import evaluate_test
from hybrid_ray.evaluation.forecast_card import forecast_card
from hybrid_ray.evaluation.groups import group_cards
from hybrid_ray.evaluation.intervals import MAX_ROWS, Comparison, bootstrap, paired_difference, resampled_scores
from hybrid_ray.evaluation.metrics import METRICS
from hybrid_ray.evaluation.pair_view import right
from hybrid_ray.evaluation.significance import mcnemar
from hybrid_ray.evaluation.ties import FEW, Ties, rows_for_share, tie_note
from hybrid_ray.evaluation.uncertainty import measure_uncertainty
from hybrid_ray.evaluation.view import verdict
from hybrid_ray.forecasts import Came, Outlook
from hybrid_ray.fusion.predictive import NormalMixture

METRIC_NAMES = ["roc_auc", "f1", "log_loss", "accuracy", "expected_calibration_error"]


def patients(rng, n_groups, size=20):
    """Rows of groups whose answers are as good as the group is, each of its own number of rows."""
    groups = np.repeat(np.arange(n_groups), rng.integers(size // 2, 2 * size, n_groups))
    y = rng.integers(0, 2, len(groups))
    skill = 1 + rng.normal(0, 1, n_groups)[groups]
    p = 1 / (1 + np.exp(-((2 * y - 1) * skill + rng.normal(size=len(y)))))
    return y, np.stack([1 - p, p], axis=1), groups


def copies(rng, n, times):
    """Rows, each of which is there several times."""
    y = rng.integers(0, 2, n)
    p = rng.uniform(size=n)
    groups = np.repeat(np.arange(n), times)
    return y[groups], np.stack([1 - p, p], axis=1)[groups], groups


def test_rows_go_one_by_one_where_groups_say_nothing():
    assert Ties.of(None) is None
    assert Ties.of(np.array([3, 1, 2])) is None, "each is a group of its own"
    assert Ties.of(np.zeros(5, int)) is None, "of one group nothing is known of others"
    ties = Ties.of(np.array([7, 3, 7, 3, 9]))
    assert (ties.n, ties.codes.tolist()) == (3, [1, 0, 1, 0, 2])
    assert ties.take(np.array([0, 1])) is None
    assert ties.take(np.array([0, 2, 4])).codes.tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_without_groups_everything_is_as_it_was(name):
    rng = np.random.default_rng(0)
    y, outputs, _ = patients(rng, 20)
    alone, metric = Ties.of(np.arange(len(y))), METRICS[name]
    other = outputs[rng.permutation(len(y))]
    assert bootstrap(y, outputs, metric, 100, 1, alone) == bootstrap(y, outputs, metric, 100, 1)
    assert paired_difference(y, outputs, other, metric, 100, 1, alone) == paired_difference(
        y, outputs, other, metric, 100, 1
    )
    drawn = np.random.default_rng(1).integers(0, len(y), (100, len(y)))
    scores = resampled_scores(y, {"x": outputs}, metric, 100, 1)["x"]
    assert scores == pytest.approx([metric.score(y[rows], outputs[rows]) for rows in drawn])
    assert mcnemar(y, outputs, other, alone) == mcnemar(y, outputs, other)


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_resamples_are_of_whole_groups(name):
    y, outputs, groups = patients(np.random.default_rng(1), 12)
    metric, ties = METRICS[name], Ties.of(groups)
    scores = resampled_scores(y, {"x": outputs}, metric, 40, 3, ties)["x"]
    drawn = np.random.default_rng(3).integers(0, 12, (40, 12))
    rows = [np.concatenate([np.flatnonzero(groups == group) for group in one]) for one in drawn]
    plain = np.array([metric.score(y[own], outputs[own]) for own in rows])
    assert 1.1 < ties.widening < 1.2, "Student's t of 11 degrees of freedom, and 12 / 11"
    assert scores == pytest.approx(plain.mean() + ties.widening * (plain - plain.mean()))


@pytest.mark.parametrize("name", ["roc_auc", "log_loss", "f1"])
def test_copies_of_rows_tell_nothing_more(name):
    y, outputs, groups = copies(np.random.default_rng(2), 80, 5)
    metric, ties = METRICS[name], Ties.of(groups)
    once = resampled_scores(y[::5], {"x": outputs[::5]}, metric, 60, 4)["x"]
    many = resampled_scores(y, {"x": outputs}, metric, 60, 4, ties)["x"]
    assert many == pytest.approx(once.mean() + ties.widening * (once - once.mean()))
    low, high = bootstrap(y, outputs, metric, 300, 4, ties)
    narrow = bootstrap(y, outputs, metric, 300, 4)
    assert high - low > 1.8 * (narrow.high - narrow.low)


@pytest.mark.parametrize("name", ["roc_auc", "log_loss", "accuracy"])
@pytest.mark.parametrize("n_groups", [10, 30])
def test_intervals_of_tied_rows_cover_about_as_often_as_they_say(name, n_groups):
    metric, rng = METRICS[name], np.random.default_rng(5)
    y, outputs, _ = patients(rng, 8000)
    truth = metric.score(y, outputs)
    covered = np.zeros(2)
    for seed in range(120):
        y, outputs, groups = patients(rng, n_groups)
        for way, ties in enumerate((Ties.of(groups), None)):
            low, high = Comparison(y, {"x": outputs}, metric, 200, seed, ties).interval("x")
            covered[way] += (low <= truth <= high) / 120
    assert 0.86 <= covered[0] <= 0.99
    assert covered[1] < 0.75, "row by row they are too narrow"


@pytest.mark.parametrize("name", ["log_loss", "roc_auc"])
def test_the_paired_test_keeps_its_level_on_tied_rows(name):
    metric, rng = METRICS[name], np.random.default_rng(6)
    found = np.zeros(2)
    for seed in range(150):
        y, outputs, groups = copies(rng, 25, 6)
        a, b = (np.clip(outputs + np.array([[-1, 1]]) * rng.normal(0, 0.1, (25, 1))[groups], 0.01, 0.99) for _ in "ab")
        for way, ties in enumerate((Ties.of(groups), None)):
            found[way] += (paired_difference(y, a, b, metric, 200, seed, ties).p_value < 0.05) / 150
    assert found[0] <= 0.1
    assert found[1] > 0.25, "row by row it finds what is not there"


def test_a_p_value_is_in_step_with_its_interval():
    rng = np.random.default_rng(7)
    for seed in range(40):
        y, outputs, groups = patients(rng, 8)
        worse = np.clip(outputs + np.array([[-1, 1]]) * rng.normal(0.05, 0.1, (8, 1))[groups], 0.01, 0.99)
        gain = paired_difference(y, outputs, worse, METRICS["log_loss"], 400, seed, Ties.of(groups))
        if not 0.04 < gain.p_value < 0.06:
            assert (gain.p_value < 0.05) == (gain.low > 0 or gain.high < 0)


@pytest.mark.parametrize("name", ["roc_auc", "f1", "accuracy", "log_loss", "expected_calibration_error"])
@pytest.mark.parametrize("n_groups", [2, 3])
def test_intervals_of_few_groups_end_where_scores_do(name, n_groups):
    rng = np.random.default_rng(8)
    for seed in range(10):
        y, outputs, groups = patients(rng, n_groups)
        low, high = Comparison(y, {"x": outputs}, METRICS[name], 200, seed, Ties.of(groups)).interval("x")
        assert 0 <= low < high
        assert high <= 1 or name == "log_loss"


def test_many_groups_get_the_same_interval_from_fewer():
    rng = np.random.default_rng(9)
    n = 2 * MAX_ROWS
    y = rng.normal(size=n)
    errors = rng.normal(size=n)
    groups = np.repeat(np.arange(n), 2)
    outputs = (y + errors)[groups][:, None]
    low, high = bootstrap(y[groups], outputs, METRICS["mean_absolute_error"], 300, 0, Ties.of(groups))
    half = 1.96 * np.abs(errors).std() / np.sqrt(n)
    assert (low, high) == pytest.approx((np.abs(errors).mean() - half, np.abs(errors).mean() + half), abs=0.2 * half)


def test_groups_cost_no_more_than_rows():
    rng = np.random.default_rng(10)
    y, outputs, groups = patients(rng, 300)
    ties = Ties.of(groups)
    for name in METRIC_NAMES:
        start = time.process_time()
        bootstrap(y, outputs, METRICS[name], ties=ties)
        assert time.process_time() - start < 3


def test_a_share_counts_the_rows_that_groups_are_worth():
    rng = np.random.default_rng(11)
    hits = rng.uniform(size=200) < 0.7
    tied = Ties.of(np.repeat(np.arange(200), 4))
    assert rows_for_share(hits, None) == 200
    assert rows_for_share(np.repeat(hits, 4), tied) == pytest.approx(200, rel=0.03), "copies count once"
    assert rows_for_share(hits, Ties.of(rng.integers(0, 50, 200))) == pytest.approx(200, rel=0.35)
    assert rows_for_share(np.ones(800, bool), tied) == pytest.approx(200, rel=0.03)
    assert rows_for_share(np.zeros(6, bool), Ties.of(np.arange(6) // 2)) < 3


def test_swaps_of_groups_are_counted_exactly():
    rng = np.random.default_rng(12)
    for n_groups in (3, 6, 10):
        y, outputs, groups = patients(rng, n_groups, 4)
        other = outputs[rng.permutation(len(y))]
        found = mcnemar(y, outputs, other, Ties.of(groups))
        more = np.bincount(groups, (outputs.argmax(1) == y).astype(float) - (other.argmax(1) == y))
        signs = np.array(list(itertools.product([-1, 1], repeat=n_groups)))
        assert found.p_value == pytest.approx(np.mean(np.abs(signs @ more) >= np.abs(more.sum())))
    y, outputs, groups = copies(rng, 40, 3)
    other = np.tile([0.51, 0.49], (len(y), 1))
    once, many = mcnemar(y[::3], outputs[::3], other[::3]), mcnemar(y, outputs, other, Ties.of(groups))
    assert (many.first_only, many.second_only) == (3 * once.first_only, 3 * once.second_only)
    assert many.p_value == pytest.approx(once.p_value, abs=0.1)


def test_swaps_of_many_groups_follow_the_normal_law(monkeypatch):
    y, outputs, groups = patients(np.random.default_rng(13), 60)
    other = np.roll(outputs, 1, axis=0)
    exact = mcnemar(y, outputs, other, Ties.of(groups))
    monkeypatch.setattr("hybrid_ray.evaluation.significance._EXACT_WORK", 0)
    near = mcnemar(y, outputs, other, Ties.of(groups))
    assert near[:2] == exact[:2]
    assert near.p_value == pytest.approx(exact.p_value, rel=0.3, abs=1e-6)


def test_groups_that_are_compared_may_hold_rows_that_go_together():
    rng = np.random.default_rng(14)
    y, outputs, groups = patients(rng, 40)
    sex = Grouping("sex", ("f", "m"), groups % 2)
    ward = Grouping("ward", tuple("abcd"), groups // 10)
    own = Grouping("patient", tuple(map(str, range(40))), groups)
    asked = {"task": "binary", "classes": ["no", "yes"], "n": 200}
    tied = group_cards(y, outputs, [sex, ward, own], **asked, ties=Ties.of(groups))
    alone = group_cards(y, outputs, [sex, ward, own], **asked)
    for wide, narrow in zip(tied[:2], alone[:2], strict=True):
        for name in ("accuracy", "log_loss", "selection_rate"):
            for a, b in zip(wide.rows, narrow.rows, strict=True):
                assert a.scores[name].value == b.scores[name].value
            widths = [np.mean([r.scores[name].high - r.scores[name].low for r in card.rows]) for card in (wide, narrow)]
            assert widths[0] > widths[1] * (1.3 if name != "selection_rate" else 0.9)
        gaps = {gap.measure: gap for gap in wide.gaps}, {gap.measure: gap for gap in narrow.gaps}
        assert gaps[0]["log_loss"].p_value > gaps[1]["log_loss"].p_value
    assert tied[2] == alone[2], "a group whose rows all go together is compared as it is"


def test_a_gap_of_groups_that_differ_by_chance_is_rarely_one():
    rng = np.random.default_rng(15)
    found = np.zeros(2)
    for seed in range(40):
        y, outputs, groups = patients(rng, 40)
        halves = [Grouping("half", ("a", "b"), groups % 2)]
        for way, ties in enumerate((Ties.of(groups), None)):
            (card,) = group_cards(y, outputs, halves, task="binary", classes=[0, 1], seed=seed, n=150, ties=ties)
            found[way] += (next(gap for gap in card.gaps if gap.measure == "log_loss").p_value < 0.05) / 40
    assert found[0] <= 0.15
    assert found[1] > 0.3


def test_a_report_is_of_whole_groups_everywhere():
    rng = np.random.default_rng(16)
    y, outputs, groups = patients(rng, 15)
    levels = {"naive": np.full_like(outputs, 0.5), "alone:text": outputs[::-1].copy(), "ensemble": outputs}
    asked = {"task": "binary", "metric": METRICS["log_loss"], "classes": ["no", "yes"], "n": 200}
    alone, tied = evaluate_test(y, levels, **asked), evaluate_test(y, levels, **asked, ties=Ties.of(groups))
    assert (alone.headline.tied, tied.headline.tied) == (None, 15)
    assert tied.headline.interval == "percentile bootstrap, 15 groups of rows that go together"
    assert "test rows of 15 groups:" in verdict(tied)

    def width(each):
        return each.high - each.low

    for wide, narrow in zip(tied.metrics, alone.metrics, strict=True):
        assert wide.score.value == narrow.score.value
        assert wide.naive == narrow.naive
    assert width(tied.headline.score) > 1.3 * width(alone.headline.score)
    assert width(tied.metrics[0].score) > 1.3 * width(alone.metrics[0].score), "accuracy, by Wilson"
    assert width(tied.levels[-1].gain) > 1.1 * width(alone.levels[-1].gain)
    assert {row.name: row.p_value for row in tied.right}["alone:text"] > alone.right[0].p_value
    assert all(row.counted is None for row in alone.right)
    assert all(row.counted < row.ensemble_only + row.other_only for row in tied.right)
    strips = {line.name: line.strip for line in right(tied.right).lines}
    assert strips["alone:text"].width > {line.name: line.strip for line in right(alone.right).lines}["alone:text"].width
    wide, narrow = ([width(b.observed) for b in found.calibration.bins] for found in (tied, alone))
    assert np.mean(wide) > np.mean(narrow)


def test_what_an_ensemble_knows_of_itself_is_by_groups_too():
    rng = np.random.default_rng(17)
    y = np.repeat(rng.normal(size=30), 10)
    answer = (y + np.repeat(rng.normal(size=30), 10))[:, None]
    groups = np.repeat(np.arange(30), 10)
    given = {"predictive": NormalMixture(np.ones(1), answer, np.array([1.0])), "margins": {0.8: 1.3}}
    tied, alone = (
        measure_uncertainty(y, answer, {"m": answer}, {"m": 1.0}, **given, ties=ties)
        for ties in (Ties.of(groups), None)
    )
    for wide, narrow in zip(tied.coverage, alone.coverage, strict=True):
        assert wide.covered.value == narrow.covered.value
        assert wide.covered.high - wide.covered.low > 1.5 * (narrow.covered.high - narrow.covered.low)


def test_coverage_of_forecasts_counts_series():
    rng = np.random.default_rng(18)
    series = np.repeat(np.arange(12), 8)
    values = 10 + np.repeat(rng.normal(0, 1, (12, 3)), 8, axis=0)
    scale = np.ones((96, 1))
    y = Came(values, values + scale, values - scale, values[:, :1], scale).packed()
    outlook = Outlook(3, (0.8,), np.full((1, 3), 1.2))
    tied, alone = (
        forecast_card(y, np.full((96, 3), 10.0), outlook, ties).intervals[0].covered for ties in (Ties.of(series), None)
    )
    assert tied.value == alone.value
    assert tied.high - tied.low > 1.5 * (alone.high - alone.low)


def test_a_reader_is_told_of_few_groups():
    assert tie_note(None) == tie_note(np.arange(30)) == tie_note(np.zeros(1, int)) == ""
    assert tie_note(np.repeat(np.arange(FEW), 3)) == ""
    few = tie_note(np.repeat(np.arange(FEW - 1), 3))
    assert few.startswith(f"The {3 * FEW - 3} test rows are of {FEW - 1} groups of rows that go together")
    assert tie_note(np.zeros(30, int)).startswith("All 30 test rows go together: intervals and p values take them one")

import numpy as np
import pytest

from hybrid_ray.evaluation.folds import MOST, compare_folds
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.evaluation.significance import corrected_resampled_t, friedman, holm


def folds(n, k=5, gap=0.05, seed=0):
    """Candidates, best first: all share the difficulty of the folds."""
    rng = np.random.default_rng(seed)
    hard = 0.1 * rng.normal(size=k)
    return {f"c{i}": (0.9 - gap * i + hard + 0.005 * rng.normal(size=k)).tolist() for i in range(n)}


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("log_loss", -1)])
def test_each_candidate_is_compared_with_the_best(metric, sign):
    scores = {label: (sign * np.array(values)).tolist() for label, values in folds(4).items()}
    found = compare_folds(scores, get_metric(metric, "multiclass"), 800, 200)
    assert [row.label for row in found.rows] == ["c0", "c1", "c2", "c3"]
    assert [row.rank for row in found.rows] == [1, 2, 3, 4]
    assert (found.rows[0].gain, found.rows[0].p_value, found.rows[0].same) == (0.0, None, True)
    raw = []
    for row in found.rows[1:]:
        differences = sign * (np.array(scores[row.label]) - np.array(scores["c0"]))
        assert row.gain == pytest.approx(differences.mean())
        assert row.gain < 0
        raw.append(corrected_resampled_t(differences, 800, 200).p_value)
    assert [row.p_value for row in found.rows[1:]] == pytest.approx(holm(raw))
    assert found.friedman_p < 0.01
    assert found.anova_p < 0.01
    assert [row.same for row in found.rows] == [row.rank - 1 <= found.critical_difference for row in found.rows]
    assert not found.rows[-1].same


def test_candidates_that_differ_by_chance_are_not_told_apart():
    rng = np.random.default_rng(1)
    scores = {f"c{i}": rng.normal(0.8, 0.02, size=5).tolist() for i in range(5)}
    best_first = dict(sorted(scores.items(), key=lambda item: -np.mean(item[1])))
    found = compare_folds(best_first, get_metric("accuracy", "binary"), 80, 20)
    assert found.friedman_p > 0.05
    assert all(row.same for row in found.rows)
    assert all(row.p_value is None or row.p_value > 0.05 for row in found.rows)


def test_no_more_than_the_best_ones_are_compared():
    found = compare_folds(folds(30), get_metric("accuracy", "binary"), 80, 20)
    assert {row.label for row in found.rows} == {f"c{i}" for i in range(MOST)}


def test_two_cuts_give_twice_the_scores():
    scores = {label: a + b for (label, a), b in zip(folds(4).items(), folds(4, seed=1).values(), strict=True)}
    found = compare_folds(scores, get_metric("accuracy", "binary"), 80, 20, folds=5, note="said")
    assert (found.folds, found.cuts, found.note) == (5, 2, "said")
    tests = [corrected_resampled_t(np.subtract(scores[f"c{i}"], scores["c0"]), 80, 20) for i in (1, 2, 3)]
    assert [row.p_value for row in found.rows[1:]] == pytest.approx(holm([test.p_value for test in tests]))
    assert [(row.cuts, row.low, row.high) for row in found.rows[1:]] == [(2, test.low, test.high) for test in tests]
    assert found.friedman_p == friedman(scores, "maximize").p_value
    one = compare_folds(
        {label: values[:5] for label, values in scores.items()}, get_metric("accuracy", "binary"), 80, 20
    )
    assert (one.folds, one.cuts) == (5, 1)
    assert found.critical_difference == pytest.approx(one.critical_difference / 2**0.5)


def test_a_candidate_with_one_cut_is_compared_over_it():
    scores = {label: a + b for (label, a), b in zip(folds(4).items(), folds(4, seed=1).values(), strict=True)}
    scores["c2"] = scores["c2"][:5]
    found = compare_folds(scores, get_metric("accuracy", "binary"), 80, 20, folds=5)
    assert (found.cuts, {row.label: row.cuts for row in found.rows}) == (1, {"c0": 2, "c1": 2, "c2": 1, "c3": 2})
    gains = {row.label: row.gain for row in found.rows}
    assert gains["c2"] == pytest.approx(np.subtract(scores["c2"], scores["c0"][:5]).mean())
    assert gains["c3"] == pytest.approx(np.subtract(scores["c3"], scores["c0"]).mean())
    assert found.friedman_p == friedman({label: values[:5] for label, values in scores.items()}, "maximize").p_value


@pytest.mark.parametrize("scores", [{}, folds(2), folds(5, k=1), folds(2) | {"c9": [0.5, float("nan"), 0.5, 0.5, 0.5]}])
def test_too_little_to_compare_is_left_out(scores):
    assert compare_folds(scores, get_metric("accuracy", "binary"), 80, 20) is None

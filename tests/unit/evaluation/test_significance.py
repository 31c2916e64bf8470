import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hybrid_ray.evaluation.significance import (
    corrected_resampled_t,
    friedman,
    holm,
    mcnemar,
    repeated_anova,
)


def outputs(codes, classes=3):
    return np.eye(classes)[codes]


def test_mcnemar_counts_what_only_one_gets_right():
    y = np.zeros(100, int)
    first, second = np.zeros(100, int), np.zeros(100, int)
    first[:4], second[10:25] = 1, 2
    found = mcnemar(y, outputs(first), outputs(second))
    assert (found.first_only, found.second_only) == (15, 4)
    assert found.p_value == pytest.approx(stats.binomtest(4, 19, 0.5).pvalue)


def test_mcnemar_of_many_rows_is_chi_squared_with_continuity():
    y = np.zeros(1000, int)
    first, second = np.zeros(1000, int), np.zeros(1000, int)
    first[:60], second[100:140] = 1, 1
    found = mcnemar(y, outputs(first), outputs(second))
    assert found.p_value == pytest.approx(stats.chi2.sf((20 - 1) ** 2 / 100, 1))
    assert mcnemar(y, outputs(first), outputs(first)).p_value == 1.0


def test_the_corrected_t_test_is_nadeau_and_bengios():
    differences = np.array([0.02, 0.03, -0.01, 0.04, 0.02])
    found = corrected_resampled_t(differences, n_train=800, n_test=200)
    statistic = differences.mean() / np.sqrt(differences.var(ddof=1) * (1 / 5 + 0.25))
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(2 * stats.t.sf(statistic, 4))
    assert found.p_value > stats.ttest_1samp(differences, 0).pvalue
    reach = stats.t.ppf(0.975, 4) * differences.mean() / statistic
    assert (found.low, found.high) == pytest.approx((differences.mean() - reach, differences.mean() + reach))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(0.05, 1))
def test_the_interval_holds_zero_where_the_t_test_finds_nothing(differences, ratio):
    found = corrected_resampled_t(np.array(differences), 1.0, ratio)
    assert found.low <= np.mean(differences) <= found.high
    if abs(found.p_value - 0.05) > 1e-6:
        assert (found.p_value > 0.05) == (found.low <= 0 <= found.high)


def test_the_corrected_t_test_finds_nothing_where_there_is_nothing():
    """Folds of one sample: scores of two equal learners differ by the rows they share, fold after fold."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        noise = rng.normal(size=(10, 100)).mean(axis=1)  # held-out parts
        shared = 0.33 * rng.normal() / 10  # what overlapping training rows have in common
        found.append(corrected_resampled_t(noise + shared, 900, 100).p_value)
    assert np.mean(np.array(found) < 0.05) < 0.08


@pytest.mark.parametrize(("differences", "p"), [(np.zeros(4), 1.0), (np.full(4, 0.25), 0.0)])
def test_differences_that_never_change(differences, p):
    assert corrected_resampled_t(differences, 10, 5).p_value == p


def test_friedman_is_scipys_with_ranks_and_a_critical_difference():
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(loc, 0.1, size=10) for name, loc in (("c", 0.5), ("a", 0.9), ("b", 0.88))}
    found = friedman(scores, "maximize")
    assert list(found.ranks)[-1] == "c"
    assert found.ranks["c"] > 2.8
    wanted = stats.friedmanchisquare(*scores.values())
    assert (found.statistic, found.p_value) == pytest.approx((wanted.statistic, wanted.pvalue))
    # Demsar's table 5: q of 3 classifiers at 5 % is 2.343.
    assert found.critical_difference == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 10)), abs=1e-3)
    assert set(found.same_as_best()) == {"a", "b"}
    turned = friedman({name: -values for name, values in scores.items()}, "minimize")
    assert turned.ranks == found.ranks


def test_friedman_of_candidates_that_are_the_same():
    found = friedman({name: np.array([0.5, 0.6]) for name in "abc"}, "minimize")
    assert found.p_value == 1.0
    assert set(found.ranks.values()) == {2.0}


def test_anova_is_the_paired_f_test():
    rng = np.random.default_rng(0)
    folds = rng.normal(size=8)
    scores = {"a": folds + 0.1 * rng.normal(size=8), "b": folds + 0.2 + 0.1 * rng.normal(size=8)}
    found = repeated_anova(scores)
    paired = stats.ttest_rel(scores["a"], scores["b"])
    assert found.statistic == pytest.approx(paired.statistic**2)
    assert found.p_value == pytest.approx(paired.pvalue)


def test_anova_of_candidates_that_are_the_same_or_a_constant_apart():
    folds = np.array([0.1, 0.5, 0.3])
    assert repeated_anova({"a": folds, "b": folds}).p_value == 1.0
    assert repeated_anova({"a": folds, "b": folds + 0.1}).p_value == 0.0


def test_holm_corrects_step_by_step():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.01, float("nan"), 0.04]) == pytest.approx([0.02, float("nan"), 0.04], nan_ok=True)


@pytest.mark.parametrize(
    "call",
    [
        lambda: friedman({"a": np.zeros(3), "b": np.zeros(3)}, "maximize"),
        lambda: friedman({name: np.zeros(1) for name in "abc"}, "maximize"),
        lambda: repeated_anova({"a": np.zeros(3)}),
        lambda: corrected_resampled_t(np.zeros(1), 10, 5),
    ],
)
def test_too_little_to_compare_is_refused(call):
    with pytest.raises(ValueError, match="must have"):
        call()

"""Bayesian model averaging, and Bayes' theorem on what members say."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.fusion import bayesian_fusion
from hybrid_ray.fusion.bayesian_averaging import BayesianAveraging, BayesianAveragingParams
from hybrid_ray.fusion.bayesian_fusion import BayesianFusion, BayesianFusionParams
from hybrid_ray.testing.decision_fusions import toy_outputs
from hybrid_ray.types import State


def average(inputs, y, task, seed=0, **params):
    return BayesianAveraging(BayesianAveragingParams(**params)).fit(inputs, y, task, seed)


def fuse(inputs, y, task, **params):
    return BayesianFusion(BayesianFusionParams(**params)).fit(inputs, y, task)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_full_likelihood_falls_on_the_best_member_and_a_weak_one_stays_even(task):
    inputs, y = toy_outputs(task, n=2000)
    assert average(inputs, y, task, power=1.0).weights["pine"] > 0.999
    even = average(inputs, y, task, power=1e-9).weights
    assert list(even.values()) == pytest.approx([0.25] * 4, abs=1e-4)
    ranked = average(inputs, y, task, power=3e-4).weights
    assert ranked["pine"] > ranked["ash"] > ranked["oak"] > 0


def test_the_bootstrap_spreads_weights_of_members_that_cannot_be_told_apart():
    inputs, y = toy_outputs("binary", n=300)
    rng = np.random.default_rng(3)
    twins = {}
    for name in "ab":
        logits = np.log(inputs["pine"]) + 0.05 * rng.normal(size=inputs["pine"].shape)
        twins[name] = softmax(logits, axis=1)
    spread = average(twins, y, "binary", power=1.0, replicates=500).weights
    assert 0.1 < spread["a"] < 0.9


def test_weights_of_numbers_do_not_depend_on_their_unit():
    inputs, y = toy_outputs("regression")
    far = {name: 7e5 + 1e4 * array for name, array in inputs.items()}
    plain = average(inputs, y, "regression").weights
    assert average(far, 7e5 + 1e4 * y, "regression").weights == pytest.approx(plain, rel=1e-6)


def test_numbers_are_the_best_unbiased_mean():
    """Winkler's posterior mean: the weights are the inverse covariance of the errors, summed over rows."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=50_000)
    covariance = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    errors = rng.multivariate_normal([5.0, 0.0, -1.0], covariance, size=len(y))
    inputs = {name: (y + errors[:, i])[:, None] for i, name in enumerate("abc")}
    fusion = fuse(inputs, y, "regression", dependence=1.0)
    wanted = np.linalg.solve(covariance, np.ones(3))
    assert list(fusion.weights.values()) == pytest.approx(list(wanted / wanted.sum()), abs=0.02)
    left = fusion.combine(inputs)[:, 0] - y
    assert left.mean() == pytest.approx(0.0, abs=1e-9)
    assert left.var() == pytest.approx(1 / wanted.sum(), rel=0.03)
    independent = fuse(inputs, y, "regression", dependence=0.0)
    assert list(independent.weights.values()) == pytest.approx([1 / 3] * 3, abs=0.01)


def test_classes_are_linear_discriminant_analysis_of_the_logits():
    inputs, y = toy_outputs("binary", n=3000, members=3)
    logits = np.column_stack([np.log(inputs[n][:, 1]) - np.log(inputs[n][:, 0]) for n in sorted(inputs)])
    reference = LinearDiscriminantAnalysis(solver="lsqr").fit(logits, y)
    answer = fuse(inputs, y, "binary", dependence=1.0).combine(inputs)
    np.testing.assert_allclose(answer[:, 1], reference.predict_proba(logits)[:, 1], atol=0.01)


def test_independent_members_add_their_evidence_and_copies_do_not():
    inputs, y = toy_outputs("binary", n=4000, members=1)
    copies = dict.fromkeys(("a", "b", "c"), inputs["pine"])
    one = fuse(inputs, y, "binary").combine(inputs)
    as_measured = fuse(copies, y, "binary", dependence=1.0).combine(copies)
    np.testing.assert_allclose(as_measured, one, atol=0.01)
    believed = fuse(copies, y, "binary", dependence=0.0).combine(copies)
    assert np.abs(believed - 0.5).mean() > np.abs(one - 0.5).mean() + 0.02


def test_a_class_that_no_row_shows_gets_little_probability():
    inputs, y = toy_outputs("multiclass")
    shown = y != 2
    part = {name: array[shown] for name, array in inputs.items()}
    answer = fuse(part, y[shown], "multiclass").combine(inputs)
    assert np.isfinite(answer).all()
    assert answer[:, 2].mean() < 0.1


def test_very_many_columns_are_solved_member_by_member(monkeypatch):
    inputs, y = toy_outputs("multiclass")
    apart = fuse(inputs, y, "multiclass", dependence=0.0).combine(inputs)
    monkeypatch.setattr(bayesian_fusion, "MAX_COLUMNS", 11)
    np.testing.assert_array_equal(fuse(inputs, y, "multiclass", dependence=1.0).combine(inputs), apart)


def test_what_was_not_fitted_does_not_combine():
    with pytest.raises(NotFittedError, match="bayesian_averaging: fit must come before combine"):
        BayesianAveraging(BayesianAveragingParams()).combine({"a": np.zeros((2, 2))})
    with pytest.raises(NotFittedError, match="bayesian_fusion: fit must come before combine"):
        BayesianFusion(BayesianFusionParams()).combine({"a": np.zeros((2, 2))})


def test_a_damaged_state_is_refused():
    inputs, y = toy_outputs("binary")
    state = fuse(inputs, y, "binary").get_state()
    with pytest.raises(ArtifactError, match="missing 'offsets'"):
        BayesianFusion.from_state(
            BayesianFusionParams(), State(state.meta, {"coefficients": state.tensors["coefficients"]})
        )
    cut = state.tensors | {"coefficients": state.tensors["coefficients"][:2]}
    with pytest.raises(ArtifactError, match=r"must be of shape \(4, 2, 2\); got \(2, 2, 2\)"):
        BayesianFusion.from_state(BayesianFusionParams(), State(state.meta, cut))

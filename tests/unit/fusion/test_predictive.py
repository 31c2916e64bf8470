import numpy as np
import pytest
from scipy.stats import norm

from hybrid_ray.fusion.bayesian_averaging import BayesianAveraging, BayesianAveragingParams
from hybrid_ray.fusion.bayesian_fusion import BayesianFusion, BayesianFusionParams
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.fusion.predictive import NormalMixture
from hybrid_ray.testing.decision_fusions import toy_outputs
from hybrid_ray.testing.estimators import stored
from hybrid_ray.types import State

BAYES = [
    (BayesianFusion, BayesianFusionParams()),
    (BayesianFusion, BayesianFusionParams(dependence=0.0)),
    (BayesianAveraging, BayesianAveragingParams()),
]


def test_quantiles_of_a_mixture_are_where_its_shares_lie():
    mixture = NormalMixture(np.array([0.3, 0.7]), np.array([[0.0, 4.0], [1.0, 1.0]]), np.array([1.0, 2.0]))
    for share in (0.05, 0.5, 0.95):
        below = norm.cdf((mixture.quantile(share)[:, None] - mixture.means) / mixture.deviations) @ mixture.weights
        np.testing.assert_allclose(below, share, atol=1e-9)
    np.testing.assert_allclose(mixture.mean(), [2.8, 1.0])
    draws = np.random.default_rng(0)
    parts = draws.random(200_000) < 0.3
    sample = np.where(parts, draws.normal(0, 1, 200_000), draws.normal(4, 2, 200_000))
    assert mixture.deviation()[0] == pytest.approx(sample.std(), rel=0.01)


def test_one_normal_has_its_own_quantiles():
    alone = NormalMixture(np.ones(1), np.array([[2.0]]), np.array([3.0]))
    low, high = alone.interval(0.9)
    np.testing.assert_allclose([low[0], high[0]], norm.interval(0.9, 2.0, 3.0))


@pytest.mark.parametrize(("fusion", "params"), BAYES)
def test_the_predictive_mean_is_the_answer_and_its_interval_holds_fresh_rows(fusion, params):
    inputs, y = toy_outputs("regression", n=300)
    fresh, truth = toy_outputs("regression", n=3000, seed=1)
    fitted = fusion(params).fit(inputs, y, "regression")
    distribution = fitted.predictive(fresh)
    np.testing.assert_allclose(distribution.mean(), fitted.combine(fresh)[:, 0], rtol=1e-9)
    low, high = distribution.interval(0.9)
    covered = ((low <= truth) & (truth <= high)).mean()
    # The average of models takes each at its own word, so that it is never surer than its members.
    assert 0.87 < covered < (0.93 if fusion is BayesianFusion else 1.0)
    loaded = fusion.from_state(params, stored(fitted.get_state()))
    np.testing.assert_array_equal(loaded.predictive(fresh).deviation(), distribution.deviation())


@pytest.mark.parametrize(("fusion", "params"), [*BAYES, (LinearPool, LinearPoolParams())])
def test_for_classes_and_for_pools_there_is_none(fusion, params):
    task = "regression" if fusion is LinearPool else "binary"
    inputs, y = toy_outputs(task)
    assert fusion(params).fit(inputs, y, task).predictive(inputs) is None


@pytest.mark.parametrize(("fusion", "params"), BAYES[1:])
def test_a_state_from_before_there_was_a_distribution_still_loads(fusion, params):
    inputs, y = toy_outputs("regression")
    fitted = fusion(params).fit(inputs, y, "regression")
    state = fitted.get_state()
    old = State({name: value for name, value in state.meta.items() if "deviation" not in name}, state.tensors)
    loaded = fusion.from_state(params, old)
    np.testing.assert_array_equal(loaded.combine(inputs), fitted.combine(inputs))
    assert loaded.predictive(inputs) is None

import numpy as np
import pytest
from scipy.special import softmax

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.fusion.log_pool import FLOOR, LogPool, LogPoolParams
from hybrid_ray.fusion.weights import convex_log_pool
from hybrid_ray.testing.decision_fusions import toy_outputs
from hybrid_ray.types import State


def fit(inputs, y, **params):
    return LogPool(LogPoolParams(**params)).fit(inputs, y, "multiclass")


def log_loss(outputs, y):
    return -np.log(outputs[np.arange(len(y)), y]).mean()


def test_it_is_the_weighted_geometric_mean():
    inputs, y = toy_outputs("multiclass")
    fusion = fit(inputs, y)
    product = np.prod([np.maximum(inputs[name], FLOOR) ** weight for name, weight in fusion.weights.items()], axis=0)
    np.testing.assert_allclose(fusion.combine(inputs), product / product.sum(axis=1, keepdims=True), atol=1e-9)


def test_no_weights_on_the_simplex_are_better():
    inputs, y = toy_outputs("multiclass", members=5)
    logs = np.log(np.stack([inputs[name] for name in sorted(inputs)]))
    found = convex_log_pool(logs, y)
    assert found.sum() == pytest.approx(1.0)
    least = log_loss(softmax(np.einsum("m,mnc->nc", found, logs), axis=1), y)
    drawn = np.random.default_rng(0).dirichlet(np.full(5, 0.5), size=2000)
    tried = [*drawn, *np.eye(5), *(0.99 * found + 0.01 * np.eye(5))]
    assert all(log_loss(softmax(np.einsum("m,mnc->nc", w, logs), axis=1), y) >= least - 1e-6 for w in tried)


def test_one_sure_and_wrong_member_does_not_decide_alone():
    inputs, y = toy_outputs("multiclass")
    fusion = fit(inputs, y, solver="uniform")
    right = np.array([[0.01, 0.98, 0.01]])
    rows = dict.fromkeys(inputs, right) | {"pine": np.array([[1.0, 0.0, 0.0]])}
    answer = fusion.combine(rows)
    assert np.isfinite(answer).all()
    assert answer[0, 1] > 0.05


def test_weights_are_pulled_together():
    inputs, y = toy_outputs("multiclass")
    free, even = fit(inputs, y).weights, fit(inputs, y, regularisation=1.0).weights
    used = [name for name, weight in free.items() if weight > 0]
    assert len(used) > 1
    assert [even[name] for name in used] == pytest.approx([1 / len(used)] * len(used))


def test_a_sole_member_is_given_back():
    inputs, y = toy_outputs("multiclass")
    sole = {"oak": inputs["oak"]}
    np.testing.assert_array_equal(fit(sole, y).combine(sole), inputs["oak"])


def test_what_was_not_fitted_does_not_combine():
    with pytest.raises(NotFittedError, match="log_pool: fit must come before combine"):
        LogPool(LogPoolParams()).combine({"a": np.zeros((2, 2))})


def test_a_damaged_state_is_refused():
    with pytest.raises(ArtifactError, match="log_pool: a saved fusion must hold weights"):
        LogPool.from_state(LogPoolParams(), State({"weights": {"a": -1.0}}))

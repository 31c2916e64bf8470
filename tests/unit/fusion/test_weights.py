import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from hybrid_ray.fusion.weights import (
    FLOOR,
    LogLossMean,
    SquaredErrorMean,
    convex_log_loss,
    convex_squared_error,
    greedy,
    true_class,
)


def members(m, n, seed=0):
    """True-class probabilities of members of different worth."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.beta(rng.uniform(0.5, 4, size=(m, 1)), rng.uniform(0.5, 2, size=(m, 1)), size=(m, n)), FLOOR, 1)


def errors(m, n, seed=0):
    rng = np.random.default_rng(seed)
    R = rng.normal(size=(m, n)) * rng.uniform(0.3, 2, size=(m, 1)) + 0.5 * rng.normal(size=n)
    return R @ R.T / n


def on_simplex(loss, m):
    """A reference: SciPy's constrained minimum."""
    sums = {"type": "eq", "fun": lambda w: w.sum() - 1}
    options = {"ftol": 1e-13, "maxiter": 1000}
    start = np.full(m, 1 / m)
    return minimize(loss, start, method="SLSQP", bounds=[(0, 1)] * m, constraints=[sums], options=options).fun


def naive_greedy(P, steps):
    """Caruana's selection, as it is written in the paper."""
    chosen, best, best_chosen = [], np.inf, []
    for _ in range(steps):
        losses = [-np.log(P[[*chosen, i]].mean(axis=0)).mean() for i in range(len(P))]
        chosen.append(int(np.argmin(losses)))
        if min(losses) < best:
            best, best_chosen = min(losses), list(chosen)
    return np.bincount(best_chosen, minlength=len(P)) / len(best_chosen)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 400])
def test_losses_are_exact_for_any_number_of_rows(n):
    P = members(5, n)
    mean = LogLossMean(P)
    np.testing.assert_allclose(mean.losses(1), -np.log(P).mean(axis=1), rtol=1e-12)
    mean.add(2)
    mean.add(2)
    np.testing.assert_allclose(mean.losses(3), -np.log((P + 2 * P[2]) / 3).mean(axis=1), rtol=1e-10, atol=1e-12)


def test_the_least_probabilities_do_not_underflow():
    P = np.full((2, 64), FLOOR)
    np.testing.assert_allclose(LogLossMean(P).losses(1), -np.log(FLOOR), rtol=1e-12)


def test_greedy_picks_what_the_paper_picks():
    P = members(8, 300)
    np.testing.assert_allclose(greedy(LogLossMean(P), 8, 12, 8), naive_greedy(P, 12), atol=1e-12)


def test_greedy_on_squared_error_never_ends_above_the_best_member():
    gram = errors(10, 500)
    weights = greedy(SquaredErrorMean(gram), 10, 50, 10)
    assert weights @ gram @ weights <= gram.diagonal().min()
    mean = SquaredErrorMean(gram)
    mean.add(1)
    expected = [(gram[1, 1] + 2 * gram[1, i] + gram[i, i]) / 4 for i in range(10)]
    np.testing.assert_allclose(mean.losses(2), expected)


def test_greedy_keeps_to_its_number_of_members():
    P = members(12, 400)
    for most in (1, 2, 3):
        assert np.count_nonzero(greedy(LogLossMean(P), 12, 60, most)) <= most
    alone = greedy(LogLossMean(P), 12, 60, 1)
    assert alone.argmax() == (-np.log(P).mean(axis=1)).argmin()


@pytest.mark.parametrize("seed", range(4))
def test_convex_log_loss_is_the_minimum(seed):
    P = members(9, 500, seed)
    weights = convex_log_loss(P)
    loss = -np.log(weights @ P).mean()
    assert loss <= on_simplex(lambda w: -np.log(np.maximum(w @ P, 1e-300)).mean(), 9) + 2e-6
    # And no better one can exist: the bound of the stopping rule.
    assert np.log((P @ (1 / (weights @ P)) / 500).max()) < 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_convex_squared_error_is_the_minimum(seed):
    gram = errors(9, 400, seed)
    weights = convex_squared_error(gram)
    np.testing.assert_allclose(weights @ gram @ weights, on_simplex(lambda w: w @ gram @ w, 9), rtol=1e-6)


@given(st.integers(1, 12), st.integers(1, 60), st.integers(0, 99))
def test_weights_lie_on_the_simplex(m, n, seed):
    P, gram = members(m, n, seed), errors(m, n, seed)
    found = [
        greedy(LogLossMean(P), m, 30, m),
        greedy(SquaredErrorMean(gram), m, 30, m),
        convex_log_loss(P),
        convex_squared_error(gram),
    ]
    for weights in found:
        assert (weights >= 0).all()
        assert abs(weights.sum() - 1) < 1e-9


def test_members_that_are_all_the_same_or_perfect_have_weights_too():
    assert convex_squared_error(np.ones((3, 3))).sum() == pytest.approx(1)
    np.testing.assert_allclose(convex_squared_error(np.zeros((3, 3))), 1 / 3)
    np.testing.assert_allclose(convex_log_loss(np.ones((3, 10))), 1 / 3)
    assert greedy(LogLossMean(np.ones((3, 10))), 3, 20, 3).sum() == 1


def test_the_true_class_column_is_floored():
    np.testing.assert_allclose(true_class(np.array([[0.0, 1.0], [0.3, 0.7]]), np.array([0, 1])), [FLOOR, 0.7])

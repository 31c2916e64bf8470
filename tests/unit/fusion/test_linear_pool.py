import numpy as np
import pytest

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.fusion.pool_problems import pool_problem
from hybrid_ray.fusion.sampled_weights import sampled_weights
from hybrid_ray.testing.decision_fusions import toy_outputs
from hybrid_ray.types import State


def weights(task="multiclass", members=5, **params):
    inputs, y = toy_outputs(task, members=members)
    return LinearPool(LinearPoolParams(**params)).fit(inputs, y, task).weights


def test_uniform_gives_all_the_same():
    assert set(weights(solver="uniform").values()) == {0.2}


@pytest.mark.parametrize("solver", ["greedy", "convex", "uniform"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_no_more_members_than_asked(solver, task):
    for most in (1, 2):
        found = weights(task, solver=solver, max_members=most)
        assert sum(weight > 0 for weight in found.values()) <= most
        assert found["pine"] > 0  # the best one is among them
    assert weights(task, solver=solver, max_members=1)["pine"] == 1.0


def test_regularisation_pulls_the_weights_of_used_members_together():
    free, pulled, even = (weights(solver="convex", regularisation=r, max_members=2) for r in (0.0, 0.4, 1.0))
    used = [name for name, weight in free.items() if weight > 0]
    assert {name for name, weight in pulled.items() if weight > 0} == set(used)
    for name in used:
        assert even[name] == pytest.approx(1 / len(used))
        assert pulled[name] == pytest.approx(0.6 * free[name] + 0.4 * even[name])


def test_convex_is_no_worse_than_greedy_on_the_rows_it_saw():
    inputs, y = toy_outputs("multiclass", members=6)
    losses = []
    for solver in ("convex", "greedy"):
        answer = LinearPool(LinearPoolParams(solver=solver)).fit(inputs, y, "multiclass").combine(inputs)
        losses.append(-np.log(answer[np.arange(len(y)), y]).mean())
    assert losses[0] <= losses[1] + 1e-6


@pytest.mark.parametrize("solver", ["tpe", "cmaes"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_sampler_is_no_worse_than_any_member_or_their_mean(solver, task):
    inputs, y = toy_outputs(task)
    names = sorted(inputs)
    problem = pool_problem(inputs, names, y, task)
    found = weights(task, members=4, solver=solver, evaluations=60)
    starts = np.vstack([np.full((1, 4), 0.25), np.eye(4)])
    (loss,) = problem.losses(np.array([[found[name] for name in names]]))
    assert loss <= problem.losses(starts).min() + 1e-9
    assert loss >= problem.losses(problem.convex()[None])[0] - 1e-6
    assert weights(task, members=1, solver=solver) == {"pine": 1.0}


def test_a_sampler_asks_for_as_many_as_it_is_told():
    asked = []

    def losses(weights):
        asked.extend(weights)
        return np.square(weights - [0.7, 0.2, 0.1]).sum(axis=1)

    few, many = (sampled_weights(losses, 3, "cmaes", n, seed=0) for n in (10, 150))
    assert len(asked) == (10 + 4) + (150 + 4)
    assert all(w.sum() == pytest.approx(1.0) and (w >= 0).all() for w in asked)
    assert losses(many[None]) < 1e-3 < losses(few[None])


def test_a_sampler_passes_over_weights_whose_loss_is_not_defined():
    def losses(weights):
        return np.where(weights[:, 0] > 0.5, weights[:, 0], np.inf)

    assert 0.5 < sampled_weights(losses, 2, "tpe", 30, seed=0)[0] <= 1


@pytest.mark.parametrize("solver", ["greedy", "convex"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_bags_are_the_mean_over_bootstrap_samples(solver, task):
    inputs, y = toy_outputs(task, n=100)
    single, bagged, again = (
        LinearPool(LinearPoolParams(solver=solver, bags=bags)).fit(inputs, y, task, seed=3).weights
        for bags in (1, 30, 30)
    )
    assert bagged == again
    assert sum(w > 0 for w in bagged.values()) >= sum(w > 0 for w in single.values())
    assert sum(bagged.values()) == pytest.approx(1.0)
    limited = LinearPool(LinearPoolParams(solver=solver, bags=30, max_members=2)).fit(inputs, y, task, seed=3).weights
    assert sum(w > 0 for w in limited.values()) <= 2


@pytest.mark.parametrize("solver", ["greedy", "convex"])
def test_fold_bags_are_the_mean_over_all_folds_but_one(solver):
    inputs, y = toy_outputs("binary", n=100)
    params = LinearPoolParams(solver=solver, bags=4, bagging="folds")
    bagged = LinearPool(params).fit(inputs, y, "binary", seed=3).weights
    folds = np.random.default_rng(3).permutation(np.arange(100) % 4)
    parts = [
        LinearPool(LinearPoolParams(solver=solver))
        .fit({name: each[folds != fold] for name, each in inputs.items()}, y[folds != fold], "binary")
        .weights
        for fold in range(4)
    ]
    for name in inputs:
        assert bagged[name] == pytest.approx(np.mean([part[name] for part in parts]), abs=1e-3)


@pytest.mark.parametrize("solver", ["greedy", "cmaes"])
@pytest.mark.parametrize(
    ("task", "metric"),
    [("multiclass", "balanced_accuracy"), ("binary", "roc_auc"), ("binary", "f1"), ("regression", "mae")],
)
def test_weights_are_solved_for_the_metric_that_is_asked_for(solver, task, metric):
    inputs, y = toy_outputs(task, n=400)
    rule = get_metric(metric, task)
    answers = {
        objective: LinearPool(LinearPoolParams(solver=solver, objective=objective, evaluations=600))
        .fit(inputs, y, task, metric=rule)
        .combine(inputs)
        for objective in ("loss", "metric")
    }
    own, aimed = (rule.score(y, answers[objective]) for objective in ("loss", "metric"))
    assert rule.gain(aimed, own) >= 0
    plain = LinearPool(LinearPoolParams(solver=solver, objective="metric", evaluations=600)).fit(inputs, y, task)
    np.testing.assert_array_equal(plain.combine(inputs), answers["loss"])


def test_a_class_of_another_fold_may_have_no_probability():
    inputs, y = toy_outputs("multiclass")
    for array in inputs.values():
        array[:, 2] = 0.0
    answer = LinearPool(LinearPoolParams()).fit(inputs, y, "multiclass").combine(inputs)
    assert np.isfinite(answer).all()
    np.testing.assert_array_equal(answer[:, 2], 0)


def test_what_was_not_fitted_does_not_combine():
    with pytest.raises(NotFittedError, match="fit must come before combine"):
        LinearPool(LinearPoolParams()).combine({"a": np.zeros((2, 2))})


@pytest.mark.parametrize("meta", [{}, {"weights": [0.5]}, {"weights": {"a": -1.0}}, {"weights": {"a": "1"}}])
def test_a_damaged_state_is_refused(meta):
    with pytest.raises(ArtifactError, match="must hold weights"):
        LinearPool.from_state(LinearPoolParams(), State(meta))

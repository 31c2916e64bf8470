import numpy as np
import pytest

from hybrid_ray.evaluation.metrics import get_metric, metrics_of
from hybrid_ray.fusion.pool_problems import pool_problem
from hybrid_ray.fusion.weights import greedy
from hybrid_ray.metric_names import METRIC_NAMES
from hybrid_ray.testing.decision_fusions import toy_outputs

CASES = [
    (task, name)
    for task in ("binary", "multiclass", "regression")
    for name in metrics_of(task)
    if not METRIC_NAMES[name].unsearchable
]


def problem_of(task, metric, n=150, members=5):
    inputs, y = toy_outputs(task, n=n, members=members)
    rule = get_metric(metric, task)
    return pool_problem(inputs, sorted(inputs), y, task, rule), np.stack([inputs[n] for n in sorted(inputs)]), y, rule


def ordered(rule, scores):
    return -scores if rule.direction == "maximize" else scores


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_a_problem_ranks_weights_as_its_metric_does(task, metric):
    problem, outputs, y, rule = problem_of(task, metric)
    weights = np.random.default_rng(0).dirichlet(np.ones(5), size=40)
    scores = np.array([rule.score(y, np.tensordot(w, outputs, 1)) for w in weights])
    expected, found = ordered(rule, scores), problem.losses(weights)
    clear = np.abs(expected[:, None] - expected) > 1e-6
    np.testing.assert_array_equal((found[:, None] < found)[clear], (expected[:, None] < expected)[clear])


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_greedy_adds_the_member_that_scores_best(task, metric):
    problem, outputs, y, rule = problem_of(task, metric)
    mean, counts = problem.mean(), np.zeros(5)
    for step in (1, 2, 3):
        tried = np.array([rule.score(y, np.tensordot((counts + one) / step, outputs, 1)) for one in np.eye(5)])
        losses = mean.losses(step)
        assert ordered(rule, tried)[losses.argmin()] == pytest.approx(ordered(rule, tried).min(), abs=1e-7)
        counts[losses.argmin()] += 1
        mean.add(int(losses.argmin()))


@pytest.mark.parametrize(("task", "metric"), [("multiclass", "brier_score_loss"), ("regression", "r2")])
def test_convex_is_the_best_there_is_for_quadratic_metrics(task, metric):
    problem, *_ = problem_of(task, metric)
    (best,) = problem.losses(problem.convex()[None])
    assert best <= problem.losses(np.random.default_rng(1).dirichlet(np.ones(5), size=300)).min() + 1e-12


def test_where_a_metric_is_not_defined_the_loss_stands_in():
    """One class only: a ROC area has no value, and neither members nor weights could be told apart by it."""
    inputs, _ = toy_outputs("binary", n=60)
    y = np.zeros(60, np.int64)
    names = sorted(inputs)
    aimed, own = (pool_problem(inputs, names, y, "binary", rule) for rule in (get_metric("roc_auc", "binary"), None))
    found, expected = (greedy(problem.mean(), 4, 20, 4) for problem in (aimed, own))
    np.testing.assert_array_equal(found, expected)


def test_members_and_rows_can_be_picked():
    problem, outputs, y, rule = problem_of("multiclass", "f1_macro")
    rows = np.random.default_rng(2).integers(150, size=150)
    part = problem.of(np.array([1, 3])).drawn(rows)
    assert (part.n_members, part.n_rows) == (2, 150)
    expected = [rule.score(y[rows], outputs[i][rows]) for i in (1, 3)]
    np.testing.assert_allclose(-part.alone(), expected, atol=1e-7)

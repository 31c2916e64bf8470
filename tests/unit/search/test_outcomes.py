import pytest

from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.ensembler import EnsembleTrial
from hybrid_ray.search.outcomes import ALONE, combiner_rows, solver_of
from hybrid_ray.search.recipes import Recipe

load_plugins()


def trial(number, combiner, score, params=None, *, members=3, seconds=1.0, error=""):
    strategy = "best" if members == 1 else "pool"
    return EnsembleTrial(number, Recipe(strategy, members, combiner, params or {}), score, seconds, error)


@pytest.mark.parametrize(
    ("combiner", "params", "expected"),
    [
        ("linear_pool", {}, "greedy"),
        ("linear_pool", {"solver": "convex"}, "convex"),
        ("linear_pool", {"solver": "cmaes", "objective": "metric"}, "cmaes on the metric"),
        ("voting", {"votes": "hard"}, "hard"),
        ("calibrated", {"combiner": "log_pool"}, "log_pool"),
        ("meta_stacking", {"learner": "lightgbm"}, "lightgbm"),
        ("layered_stacking", {"learners": "knn+svm", "combiner": "stacking"}, "stacking, knn+svm"),
        ("stacking", {}, ""),
        ("linear_pool", {"solver": "greedy", "no_such": 1}, "greedy"),
    ],
)
def test_every_solver_has_a_name(combiner, params, expected):
    assert solver_of(combiner, params) == expected


def test_each_kind_shows_its_best_score_and_its_mean_time():
    tried = [
        trial(0, "linear_pool", 0.5, members=1, seconds=0.1),
        trial(1, "linear_pool", 0.6, {"solver": "greedy"}),
        trial(2, "linear_pool", 0.7, {"solver": "greedy"}, seconds=3.0),
        trial(3, "linear_pool", 0.7, {"solver": "greedy"}, seconds=0.0),
        trial(4, "linear_pool", 0.65, {"solver": "convex"}),
        trial(5, "stacking", -1e30, error="ValueError: no"),
    ]
    rows = combiner_rows(tried, get_metric("accuracy", "binary"))
    assert [(row.combiner, row.solver, row.trials, row.oof) for row in rows] == [
        ("linear_pool", "greedy", 3, 0.7),
        ("linear_pool", "convex", 1, 0.65),
        (ALONE, "", 1, 0.5),
        ("stacking", "", 1, None),
    ]
    assert rows[0].seconds == 2.0
    least = combiner_rows(tried[:5], get_metric("log_loss", "binary"))
    assert [row.oof for row in least] == [0.5, 0.6, 0.65]

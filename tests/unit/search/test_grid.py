"""The points of a grid over a conditional space."""

from collections import Counter

from optuna.trial import FixedTrial

from hybrid_ray.search import grid
from hybrid_ray.search.grid import grid_points, starts
from hybrid_ray.search.space import portfolio, propose

DIMS = {"image": 5, "text": 3}


def space(trial):
    if trial.suggest_categorical("kind", ["a", "b"]) == "a":
        return trial.suggest_float("a.x", 1e-4, 1.0, log=True), trial.suggest_int("a.n", 1, 2)
    return trial.suggest_categorical("b.on", [True, False])


def test_every_combination_that_the_space_allows_is_there_once():
    points = grid_points(space, 0)
    assert len(points) == 3 * 2 + 2
    assert len({tuple(sorted(p.items())) for p in points}) == len(points)
    assert {p["a.n"] for p in points if p["kind"] == "a"} == {1, 2}
    assert sorted({round(p["a.x"], 6) for p in points if p["kind"] == "a"}) == [0.000464, 0.01, 0.215443]


def test_the_seed_decides_the_order_and_a_longer_grid_begins_with_the_shorter():
    points = grid_points(space, 1)
    assert grid_points(space, 1) == points
    assert grid_points(space, 2) != points
    assert grid_points(space, 1, wanted=3) == points[:3]


def test_points_are_complete_points_of_the_candidates_space(make_plan):
    plan = make_plan()
    points = grid_points(lambda trial: propose(trial, plan, DIMS), 0)
    for point in points[:50]:
        propose(FixedTrial(point), plan, DIMS)
    assert Counter(p["estimator"] for p in points).keys() == {"logistic", "naive_bayes", "knn"}


def test_of_a_large_grid_distinct_points_are_drawn_from_every_branch(make_plan, monkeypatch):
    plan = make_plan()
    monkeypatch.setattr(grid, "MOST", 60)
    points = grid_points(lambda trial: propose(trial, plan, DIMS), 0, wanted=40)
    assert len({tuple(sorted(p.items())) for p in points}) == 40
    assert Counter(p["estimator"] for p in points).keys() == {"logistic", "naive_bayes", "knn"}
    assert grid_points(lambda trial: propose(trial, plan, DIMS), 0, wanted=20) == points[:20]


def test_the_portfolio_comes_first_and_only_a_grid_has_an_end(make_plan):
    plan = make_plan()
    good = portfolio(plan, DIMS)
    points, most = starts("grid", lambda trial: propose(trial, plan, DIMS), good, 0)
    assert points[: len(good)] == good
    assert most == len(points) > len(good)
    assert starts("tpe", lambda trial: propose(trial, plan, DIMS), good, 0) == (good, None)

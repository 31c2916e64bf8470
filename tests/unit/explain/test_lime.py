"""LIME's line: what it tells of games, and of a graph's columns."""

import numpy as np
import pytest

from hybrid_ray.explain.attribution import Explainer, LineLevel
from hybrid_ray.explain.lime import COALITIONS, coalitions_asked, lime_line
from hybrid_ray.explain.plots import attribution_chart
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows

GAINS = np.array([3.0, -1.0, 0.5, 0.0])
ROWS = toy_batch(list(toy_rows(6, seed=11, missing=0.0)))
USUAL = toy_batch(list(toy_rows(9, seed=12, missing=0.0)))


def test_of_players_that_do_not_depend_on_each_other_it_is_what_each_adds():
    line = lime_line(lambda masks: 2 + masks @ GAINS, 4)
    np.testing.assert_allclose(line.shares.values, GAINS, rtol=0.01, atol=0.01)
    assert line.shares.none == pytest.approx(2, abs=0.02)
    assert line.shares.none + line.shares.values.sum() == pytest.approx(line.shares.all)
    assert line.r2 > 0.999
    assert line.shares.asked == 16
    assert not line.shares.errors.any()


def test_coalitions_near_to_all_weigh_most():
    """Where one player counts for something only as long as all the others are there."""
    near = lime_line(lambda masks: masks[:, 0] * (masks[:, 1:].sum(axis=1) >= 5), 7)
    far = lime_line(lambda masks: masks[:, 0] * (masks[:, 1:].sum(axis=1) <= 1), 7)
    assert near.shares.values[0] > 2 * abs(far.shares.values[0])
    assert max(near.r2, far.r2) < 0.9


def test_of_many_players_a_sample_is_asked():
    players = 30
    gains = np.random.default_rng(0).normal(size=players)
    noise = np.random.default_rng(1)
    line = lime_line(lambda masks: masks @ gains + noise.normal(0, 0.1, len(masks)), players)
    assert line.shares.asked == coalitions_asked(players) == COALITIONS
    assert coalitions_asked(100) == 400
    assert np.corrcoef(line.shares.values, gains)[0, 1] > 0.99
    off = np.abs(line.shares.values - gains) / line.shares.errors
    assert np.median(off) < 3


def test_one_seed_gives_one_line():
    def game(masks):
        return masks[:, ::2].prod(axis=1) + masks.sum(axis=1)

    first, again, other = (lime_line(game, 12, seed=seed).shares.values for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_games_in_which_nothing_counts():
    flat = lime_line(lambda masks: np.full(len(masks), 0.25), 3)
    np.testing.assert_allclose(flat.shares.values, 0, atol=1e-12)
    assert (flat.shares.none, flat.r2) == (pytest.approx(0.25), 1)
    alone = lime_line(lambda masks: np.full(len(masks), 0.5), 0)
    assert (len(alone.shares.values), alone.shares.none) == (0, 0.5)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_columns_of_a_graph(task):
    graph = toy_graph(task)
    graph.setup()
    by_shapley = list(Explainer(graph, USUAL).explain(ROWS))
    by_lime = list(Explainer(graph, USUAL, method="lime").explain(ROWS))
    for exact, line in zip(by_shapley, by_lime, strict=True):
        assert isinstance(line.columns, LineLevel)
        assert isinstance(line.modalities, LineLevel)
        assert (line.output, line.answer) == (exact.output, exact.answer)
        assert (line.extractors, line.members) == (exact.extractors, exact.members)
        assert 0.5 < line.columns.r2 <= 1
        assert line.columns.base + sum(line.columns.shares.values()) == pytest.approx(line.answer, abs=0.2)
        assert sum(line.modalities.shares.values()) == pytest.approx(sum(line.columns.shares.values()))
        names = list(exact.columns.shares)
        shares = [[each.columns.shares[name] for name in names] for each in (exact, line)]
        assert np.corrcoef(shares)[0, 1] > 0.9
    assert attribution_chart(by_lime).startswith(b"\x89PNG")


def test_where_time_is_short_columns_are_left_out():
    graph = toy_graph()
    graph.setup()
    (short,) = Explainer(graph, USUAL, method="lime").explain({c: v[:1] for c, v in ROWS.items()}, seconds=0.0)
    assert short.columns is None
    assert short.modalities is None

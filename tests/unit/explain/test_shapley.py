"""Shares add up, agree with the definition, and what a union adds its players add."""

from itertools import permutations

import numpy as np
import pytest

from hybrid_ray.explain.shapley import EXACT, owen_values, shapley_values


def random_game(n, seed):
    worth = np.random.default_rng(seed).normal(size=2**n)
    return lambda masks: worth[masks @ (2 ** np.arange(n))]


def by_definition(game, players):
    """Shapley values by every order there is."""
    orders = list(permutations(range(players)))
    values = np.zeros(players)
    for order in orders:
        for i, player in enumerate(order):
            masks = np.zeros((2, players), bool)
            masks[0, list(order[:i])] = masks[1, list(order[: i + 1])] = True
            before, after = game(masks)
            values[player] += after - before
    return values / len(orders)


def pairs_game(n, seed):
    """Worth that pairs of players make together."""
    pairs = np.random.default_rng(seed).normal(size=(n, n))
    return lambda masks: np.einsum("ki,ij,kj->k", masks, pairs, masks)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_players_are_told_exactly(n):
    found = shapley_values(random_game(n, n), n)
    assert found.values == pytest.approx(by_definition(random_game(n, n), n))
    assert found.asked == 2**n
    assert not found.errors.any()


def test_they_add_up():
    for n in (4, EXACT + 4):
        found = shapley_values(random_game(n, 1), n, orders=6)
        assert found.values.sum() == pytest.approx(found.all - found.none)


def test_of_many_players_the_error_is_told():
    n = EXACT + 2
    game = pairs_game(n, 3)
    pairs = np.random.default_rng(3).normal(size=(n, n))
    exact = (pairs.sum(axis=0) + pairs.sum(axis=1)) / 2  # a pair is shared evenly
    found = shapley_values(game, n, orders=40, seed=1)
    assert found.values == pytest.approx(exact)  # an order and its reverse share a pair evenly too
    noisy = shapley_values(random_game(n, 2), n, orders=400, seed=1)
    again = shapley_values(random_game(n, 2), n, orders=400, seed=2)
    off = np.abs(noisy.values - again.values) / np.hypot(noisy.errors, again.errors)
    assert off.max() < 4


def test_the_players_of_a_union_add_up_to_the_union():
    unions = [[0, 3], [1], [2, 4, 5]]
    game = random_game(6, 4)

    def of_unions(masks):
        return game(np.stack([masks[:, 0], masks[:, 1], masks[:, 2], masks[:, 0], masks[:, 2], masks[:, 2]], axis=1))

    found, whole = owen_values(game, unions), shapley_values(of_unions, 3)
    assert [found.values[union].sum() for union in unions] == pytest.approx(whole.values)


def test_unions_of_one_player_each_are_no_unions():
    game = random_game(5, 5)
    assert owen_values(game, [[i] for i in range(5)]).values == pytest.approx(by_definition(game, 5))


def test_many_players_of_few_unions_add_up_to_the_unions():
    n = EXACT + 3
    unions = [list(range(EXACT + 1)), [EXACT + 1], [EXACT + 2]]
    found = owen_values(random_game(n, 6), unions, orders=200)
    assert found.values.sum() == pytest.approx(found.all - found.none)


def test_the_same_seed_tells_the_same():
    game = random_game(10, 7)
    first, second = (shapley_values(game, 10, orders=5, seed=9) for _ in range(2))
    assert np.array_equal(first.values, second.values)


def test_nobody_plays():
    found = shapley_values(lambda masks: np.full(len(masks), 2.0), 0)
    assert (found.none, found.all, len(found.values)) == (2.0, 2.0, 0)

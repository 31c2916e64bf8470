import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.search.halving import MIN_HISTORY, Halving, gain, running_means, stops

GAINS = st.lists(st.floats(-10, 10), min_size=4, max_size=4)


def test_gain_turns_losses_around_and_is_its_own_inverse():
    assert gain(0.3, "maximize") == 0.3
    assert gain(0.3, "minimize") == -0.3
    assert gain(gain(0.3, "minimize"), "minimize") == 0.3


def test_running_means_are_over_the_first_folds():
    assert running_means([1.0, 3.0, 2.0]) == (1.0, 2.0, 2.0)


def test_nothing_is_stopped_before_there_is_a_history():
    halving = Halving(n_folds=3, min_folds=1, reduction=2)
    for value in range(MIN_HISTORY - 1):
        halving.add([value] * 3)
    assert halving.thresholds() == (None, None, None)


def test_the_bar_is_the_best_half_of_what_reached_the_fold():
    halving = Halving(n_folds=3, min_folds=1, reduction=2)
    for value in range(8):
        halving.add([float(value)] * 3)
    assert halving.thresholds() == (4.0, 4.0, None)
    assert stops([3.9], halving.thresholds())
    assert not stops([4.0], halving.thresholds())


def test_min_folds_are_given_to_everyone_and_the_last_fold_stops_nobody():
    halving = Halving(n_folds=3, min_folds=2, reduction=2)
    for value in range(8):
        halving.add([float(value)] * 3)
    assert halving.thresholds() == (None, 4.0, None)


def test_a_reduction_of_one_stops_nothing():
    halving = Halving(n_folds=3, min_folds=1, reduction=1)
    for value in range(8):
        halving.add([float(value)] * 3)
    assert halving.thresholds() == (None, None, None)


def test_a_pool_holds_those_that_reached_its_fold():
    halving = Halving(n_folds=3, min_folds=1, reduction=2)
    for value in range(6):
        halving.add([float(value)])
    for value in range(10, 14):
        halving.add([float(value)] * 3)
    assert halving.thresholds() == (5.0, 12.0, None)


@given(history=st.lists(GAINS, min_size=0, max_size=20), reduction=st.floats(1, 8), data=st.data())
def test_a_candidate_that_is_best_on_every_fold_is_never_stopped(history, reduction, data):
    halving = Halving(n_folds=4, min_folds=1, reduction=reduction)
    for gains in history:
        halving.add(running_means(gains))
    best = [max((gains[fold] for gains in history), default=0.0) for fold in range(4)]
    winner = running_means([value + data.draw(st.floats(0.001, 1)) for value in best])
    assert not any(stops(winner[: folds + 1], halving.thresholds()) for folds in range(4))


@given(history=st.lists(GAINS, min_size=4, max_size=12), data=st.data())
def test_the_order_of_a_batch_has_no_effect(history, data):
    bars = []
    for order in (history, data.draw(st.permutations(history))):
        halving = Halving(n_folds=4, min_folds=1, reduction=2)
        for gains in order:
            halving.add(running_means(gains))
        bars.append(halving.thresholds())
    assert bars[0] == bars[1]


@pytest.mark.parametrize("seed", range(5))
def test_on_an_easy_toy_the_winner_survives_and_work_is_saved(seed):
    draw = np.random.default_rng(seed)
    quality = draw.permutation(np.linspace(0, 1, 40))
    gains = quality[:, None] + 0.02 * draw.normal(size=(40, 5))
    halving = Halving(n_folds=5, min_folds=1, reduction=2)
    done, folds = {}, 0
    for start in range(0, 40, 8):
        bars = halving.thresholds()
        for number in range(start, start + 8):
            reached = 0
            while reached < 5:
                reached += 1
                if stops(running_means(gains[number, :reached]), bars):
                    break
            done[number] = reached
            folds += reached
        for number in range(start, start + 8):
            halving.add(running_means(gains[number, : done[number]]))
    assert done[int(gains.mean(axis=1).argmax())] == 5
    assert folds < 0.8 * 200

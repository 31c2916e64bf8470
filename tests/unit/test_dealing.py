"""Whole groups in folds and hold-outs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.dealing import folds_of_groups, hold_groups

groups_of_rows = st.lists(st.integers(1, 30), min_size=1, max_size=30)


def rows_of(sizes, n_classes, seed):
    """Groups of these sizes, and classes that groups prefer."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    liked = rng.integers(n_classes, size=len(sizes))[groups]
    strata = np.where(rng.random(len(groups)) < 0.7, liked, rng.integers(n_classes, size=len(groups)))
    return groups, np.unique(strata, return_inverse=True)[1]


@given(groups_of_rows, st.integers(1, 4), st.integers(2, 5), st.integers(0, 9))
def test_groups_are_whole_and_every_training_part_holds_every_class(sizes, n_classes, n_folds, seed):
    groups, strata = rows_of(sizes, n_classes, seed)
    folds = folds_of_groups(groups, strata, n_folds, seed)
    if folds is None:
        assert len(sizes) < n_folds or len(np.unique(strata)) > 1
        return
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    assert set(folds) - {-1} == set(range(n_folds))
    for fold in range(n_folds):
        assert set(strata[folds != fold]) == set(strata)
    np.testing.assert_array_equal(folds, folds_of_groups(groups, strata, n_folds, seed))


def test_folds_of_many_groups_are_alike():
    groups, strata = rows_of([20] * 50, 3, 0)
    folds = folds_of_groups(groups, strata, 5, 0)
    table = np.zeros((5, 3))
    np.add.at(table, (folds, strata), 1)
    assert table.sum(axis=1).min() >= 180
    assert (table.max(axis=0) - table.min(axis=0)).max() < 30
    assert (folds != folds_of_groups(groups, strata, 5, 1)).any()


@given(groups_of_rows, st.integers(1, 4), st.floats(0.05, 0.4), st.integers(0, 9))
def test_a_hold_out_is_of_whole_groups_and_spares_every_class(sizes, n_classes, share, seed):
    groups, strata = rows_of(sizes, n_classes, seed)
    held = hold_groups(groups, strata, share, seed)
    assert all(len(np.unique(held[groups == group])) == 1 for group in np.unique(groups))
    assert set(strata[~held]) == set(strata)
    assert held.mean() <= max(share + max(sizes) / 2 / len(groups), 1 / 3) + 1e-9


@pytest.mark.parametrize(("sizes", "share"), [([50] * 20, 0.1), ([25] * 4, 0.25), ([90, 60, 50], 0.25), ([100] * 2, 0)])
def test_about_a_share_of_the_rows_is_held_out_where_groups_allow_it(sizes, share):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    assert hold_groups(groups, np.zeros(len(groups), np.int64), 0.1, 3).mean() == share

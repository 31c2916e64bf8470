import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.estimators.models.resample import MIN_HELD, hold_out, inner_folds

counts = st.lists(st.integers(1, 40), min_size=2, max_size=5)


@given(counts, st.integers(2, 5), st.integers(0, 9))
def test_every_training_part_of_an_inner_fold_holds_every_class(sizes, n_folds, seed):
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    folds = inner_folds(codes, n_folds, seed)
    for fold in range(n_folds):
        assert set(codes[folds != fold]) == set(codes)
    for code, size in enumerate(sizes):
        held = np.bincount(folds[(codes == code) & (folds >= 0)], minlength=n_folds)
        assert held.max() - held.min() <= 1
        assert (folds[codes == code] == -1).sum() == (1 if size == 1 else 0)
    np.testing.assert_array_equal(folds, inner_folds(codes, n_folds, seed))


@given(counts, st.floats(0.05, 0.5), st.integers(0, 9))
def test_a_hold_out_leaves_rows_of_every_class_to_train_on(sizes, share, seed):
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    train, held = hold_out(len(codes), codes, share, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(len(codes)))
    assert set(codes[train]) == set(codes)
    assert len(held) == 0 or len(held) >= MIN_HELD
    np.testing.assert_array_equal(hold_out(len(codes), codes, share, seed)[1], held)


def test_few_rows_are_all_trained_on():
    train, held = hold_out(50, None, 0.15, 0)
    assert len(train) == 50
    assert len(held) == 0


def test_another_seed_holds_out_other_rows():
    assert set(hold_out(1000, None, 0.15, 0)[1]) != set(hold_out(1000, None, 0.15, 1)[1])
    assert len(hold_out(1000, None, 0.15, 0)[1]) == 150

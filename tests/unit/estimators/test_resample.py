import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.estimators.models import resample
from hybrid_ray.estimators.models.linear import LinearClassifier, LinearRegressor
from hybrid_ray.estimators.models.resample import (
    MIN_HELD,
    answering_folds,
    fit_grouped,
    hold_out,
    inner_folds,
    stratified_sample,
)
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS

load_plugins()
MODELS = "hybrid_ray.estimators.models."

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


@given(counts.filter(lambda sizes: max(sizes) > 1), st.integers(2, 5), st.integers(0, 9))
def test_copies_of_a_row_are_held_out_together_and_count_as_one(sizes, times, seed):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(sizes)), sizes)
    groups = rng.permutation(np.concatenate([np.arange(len(codes)), np.repeat(np.arange(0, len(codes), 2), times)]))
    folds = inner_folds(codes[groups], 3, seed, groups)
    for fold in (-1, 0, 1, 2):
        assert not set(groups[folds == fold]) & set(groups[folds != fold])
    np.testing.assert_array_equal(folds, inner_folds(codes, 3, seed)[groups])
    train, held = hold_out(len(groups), codes[groups], 0.3, seed, groups)
    assert not set(groups[train]) & set(groups[held])
    assert set(groups[held]) == set(hold_out(len(codes), codes, 0.3, seed)[1])
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(len(groups)))


@given(st.integers(3, 40), st.integers(2, 12), st.integers(2, 3), st.integers(0, 9))
def test_groups_of_several_classes_are_held_out_together(n_groups, size, n_folds, seed):
    rng = np.random.default_rng(seed)
    groups, codes = np.repeat(np.arange(n_groups) * 7, size), rng.integers(2, size=n_groups * size)
    folds = inner_folds(codes, n_folds, seed, groups)
    assert set(folds) >= set(range(n_folds))
    if set(codes) == {0, 1} and n_groups > 2 * n_folds:
        assert all(len(set(folds[groups == group])) == 1 for group in groups)
        assert all(set(codes[folds != fold]) == {0, 1} for fold in range(n_folds))
    train, held = hold_out(len(codes), codes, 0.3, seed, groups)
    assert not set(groups[train]) & set(groups[held])
    assert set(codes[train]) == set(codes)
    assert len(set(groups[held])) == 0 or len(set(groups[held])) >= MIN_HELD


@given(st.lists(st.integers(2, 20), min_size=2, max_size=5), st.integers(2, 5), st.integers(0, 9))
def test_where_every_class_is_one_group_rows_are_held_out_one_by_one(sizes, n_folds, seed):
    codes = np.repeat(np.arange(len(sizes)), sizes)
    folds = inner_folds(codes, n_folds, seed, groups=codes + 7)
    np.testing.assert_array_equal(folds, inner_folds(codes, n_folds, seed))
    np.testing.assert_array_equal(folds, answering_folds(codes, n_folds, seed, codes + 7))
    assert folds.min() >= 0


@given(st.integers(2, 6), st.integers(2, 20), st.integers(2, 5), st.integers(0, 9))
def test_a_class_of_one_group_is_answered_row_by_row_beside_groups_that_are_kept_together(n, alone, n_folds, seed):
    groups = np.concatenate([np.repeat(np.arange(n), 5), np.full(alone, n)])
    codes = (groups == n).astype(np.int64)
    assert set(inner_folds(codes, n_folds, seed, groups)[groups == n]) == {-1}
    folds = answering_folds(codes, n_folds, seed, groups)
    assert folds.min() >= 0
    assert all(len(set(folds[groups == group])) == 1 for group in range(n))
    assert all(set(codes[folds != fold]) == {0, 1} for fold in range(n_folds))


def test_copies_do_not_make_enough_rows_to_hold_out():
    groups = np.repeat(np.arange(50), 20)
    assert len(hold_out(1000, None, 0.15, 0, groups)[1]) == 0


@given(counts, st.integers(1, 60), st.integers(0, 9))
def test_a_stratified_sample_keeps_every_class_and_its_share(sizes, n_rows, seed):
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = stratified_sample(codes, n_rows, seed)
    assert len(rows) == len(set(rows)) == min(max(n_rows, len(sizes)), len(codes))
    np.testing.assert_array_equal(rows, np.sort(rows))
    taken = np.bincount(codes[rows], minlength=len(sizes))
    assert taken.min() >= 1
    assert np.abs(taken - np.array(sizes) * len(rows) / len(codes)).max() <= len(sizes)
    np.testing.assert_array_equal(rows, stratified_sample(codes, n_rows, seed))


OURS = [
    (name, task)
    for name, family in ESTIMATORS.items()
    for task in ("binary", "regression")
    if family.__module__.startswith("hybrid_ray.estimators.") and task in family.tags.tasks
]


@pytest.mark.parametrize(("name", "task"), OURS)
def test_every_family_that_holds_rows_out_keeps_copies_together(name, task, monkeypatch):
    family = ESTIMATORS.get(name)
    told = []

    def recorded(function):
        return lambda *given: told.append(given[-1]) or function(*given)

    for module in [each for path, each in sys.modules.items() if path.startswith(MODELS) and path != resample.__name__]:
        for function in {"inner_folds", "hold_out"} & set(vars(module)):
            monkeypatch.setattr(module, function, recorded(vars(module)[function]))
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int64) if task == "binary" else X[:, 0].astype(np.float64)
    groups = np.repeat(np.arange(40), 3)
    model = family.build(next(iter(family.examples(task))), task, 0)
    model.fit(X[groups], y[groups])
    times = len(told)
    fit_grouped(model, X[groups], y[groups], groups)
    assert len(told) >= 2 * times
    assert all(isinstance(each, np.ndarray) for each in told[times:])


@pytest.mark.parametrize("name", [name for name, task in OURS if task == "binary"])
def test_every_family_learns_where_each_class_is_one_group(name):
    rng, codes = np.random.default_rng(0), np.repeat([0, 1], 30)
    X = (rng.normal(size=(60, 3)) + 3.0 * codes[:, None]).astype(np.float32)
    family = ESTIMATORS.get(name)
    model = family.build(next(iter(family.examples("binary"))), "binary", 0)
    fit_grouped(model, X, codes, groups=codes)
    assert (model.predict_proba(X).argmax(axis=1) == codes).mean() > 0.8


def test_a_penalty_for_numbers_is_not_chosen_by_copies():
    rng = np.random.default_rng(0)
    X, rows = rng.normal(size=(60, 40)), np.repeat(np.arange(60), 5)
    noise = rng.normal(size=60)
    copied = LinearRegressor().fit(X[rows], noise[rows]).alpha_
    assert LinearRegressor().fit(X[rows], noise[rows], groups=rows).alpha_ > 30 * copied
    one = np.zeros(60, np.int64)
    assert np.isfinite(LinearRegressor().fit(X[one], noise[one], groups=one).predict(X)).all()


def test_few_rows_are_all_trained_on():
    train, held = hold_out(50, None, 0.15, 0)
    assert len(train) == 50
    assert len(held) == 0


def test_another_seed_holds_out_other_rows():
    assert set(hold_out(1000, None, 0.15, 0)[1]) != set(hold_out(1000, None, 0.15, 1)[1])
    assert len(hold_out(1000, None, 0.15, 0)[1]) == 150


def test_a_penalty_is_chosen_where_few_groups_leave_a_fold_empty():
    groups, rng = np.repeat(np.arange(3), 20), np.random.default_rng(0)
    codes = (groups == 2).astype(np.int64)
    assert set(inner_folds(codes, 3, 0, groups)) != {0, 1, 2}
    X = (rng.normal(size=(60, 4)) + codes[:, None]).astype(np.float32)
    model = LinearClassifier(random_state=0).fit(X, codes, groups)
    assert (model.predict_proba(X).argmax(axis=1) == codes).mean() > 0.8


@pytest.mark.parametrize("seed", range(6))
def test_a_penalty_is_judged_by_a_fold_that_has_rows(seed, monkeypatch):
    monkeypatch.setattr(MODELS + "linear._CHOICE_CELLS", 0)
    groups, rng = np.repeat(np.arange(3), 40), np.random.default_rng(0)
    codes = (groups == 2).astype(np.int64)
    X = (rng.normal(size=(120, 4)) + 4.0 * codes[:, None]).astype(np.float32)
    model = LinearClassifier(random_state=seed).fit(X, codes, groups)
    assert model.C_ > 0.1, "the strongest penalty was taken where no row was held out"

"""Splits: nothing on both sides of a boundary, proportions kept, the same seed the same split."""

import datetime as dt
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.data import split as module
from hybrid_ray.data.split import is_split_column, make_split
from hybrid_ray.errors import DataError
from hybrid_ray.spec import SplitSpec

N = 600
RNG = np.random.default_rng(0)
Y = RNG.permutation(np.repeat([0, 1, 2], [400, 150, 50]))


def split(kind, y=Y, column=None, *, task="multiclass", folds=5, seed=0, test=0.2, repeats=1):
    named = "c" if kind in ("grouped", "temporal") else None
    spec = SplitSpec(kind=kind, test=test, column=named)
    values = None if column is None else pa.chunked_array([pa.array(column)])
    return make_split(spec, task=task, y=np.asarray(y), folds=folds, seed=seed, column=values, repeats=repeats)


def check(made, n, folds=5):
    assert made.test.shape == made.fold.shape == (n,)
    assert made.fold.dtype == np.int16
    np.testing.assert_array_equal(made.test, made.fold == -1)
    assert set(made.fold[~made.test].tolist()) == set(range(folds))


@pytest.mark.parametrize(
    ("task", "kind"), [("multiclass", "stratified"), ("binary", "stratified"), ("regression", "random")]
)
def test_auto_follows_the_task(task, kind):
    y = RNG.normal(size=N) if task == "regression" else Y % 2
    made = split("auto", y, task=task)
    check(made, N)
    assert (made.kind, made.forward) == (kind, False)


@pytest.mark.parametrize("kind", ["random", "stratified"])
def test_sizes(kind):
    made = split(kind)
    assert made.test.sum() == 120
    sizes = np.bincount(made.fold[~made.test])
    assert sizes.max() - sizes.min() <= 1


def test_classes_are_divided_alike():
    made = split("stratified")
    for part in [made.test, *(made.fold == k for k in range(5))]:
        share = np.bincount(Y[part], minlength=3) / part.sum()
        np.testing.assert_allclose(share, [400 / 600, 150 / 600, 50 / 600], atol=0.02)


def test_numbers_are_stratified_by_size():
    y = RNG.lognormal(size=N)
    made = split("stratified", y, task="regression")
    cuts = np.quantile(y, np.linspace(0, 1, 11)[1:-1])
    counts = np.bincount(np.searchsorted(cuts, y[made.test]), minlength=10)
    assert counts.min() >= 11
    assert counts.max() <= 13


@pytest.mark.parametrize("kind", ["random", "stratified", "grouped"])
def test_the_seed_decides(kind):
    column = RNG.integers(0, 60, N) if kind == "grouped" else None
    one, again, other = (split(kind, column=column, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.fold, again.fold)
    assert one.record() == again.record()
    assert one.record()["digest"] != other.record()["digest"]


def test_rare_classes_are_kept_apart_and_told():
    y = np.array([0] * 50 + [1] * 50 + [2] * 3 + [3])
    made = split("stratified", y)
    check(made, 104)
    rare = made.fold[(y == 2) & ~made.test]
    assert len(rare) == len(set(rare.tolist())) >= 2
    assert not made.test[y == 3].any()
    assert "2 classes have fewer training rows than there are folds (the rarest 1)" in made.note


class TestGrouped:
    @pytest.mark.parametrize("many", [0, 10**9])
    def test_a_group_is_never_on_both_sides(self, monkeypatch, many):
        monkeypatch.setattr(module, "MANY_GROUPS", many)
        groups = RNG.integers(0, 80, N)
        made = split("grouped", column=[f"g{g}" for g in groups])
        check(made, N)
        for group in range(80):
            assert len(set(made.fold[groups == group].tolist())) == 1
        assert 0.1 < made.test.mean() < 0.3

    def test_classes_are_balanced_over_the_parts(self):
        groups = RNG.integers(0, 100, N)
        made = split("grouped", column=groups)
        for part in [made.test, *(made.fold == k for k in range(5))]:
            assert abs((Y[part] == 0).mean() - 2 / 3) < 0.05
            assert abs(part.sum() - (120 if part is made.test else 96)) < 25

    def test_rows_without_a_group_stand_alone(self):
        groups = [None] * 300 + ["a"] * 100 + ["b"] * 100 + ["c"] * 100
        made = split("grouped", column=groups)
        assert len(set(made.fold[:300].tolist())) == 6

    def test_few_groups_allow_fewer_folds(self):
        made = split("grouped", column=np.repeat(range(4), 150), y=np.arange(N) % 2)
        check(made, N, folds=3)
        assert made.note == "4 groups allow 3 folds instead of 5."
        with pytest.raises(DataError, match="a grouped split must have 3 groups or more; got 2"):
            split("grouped", column=np.repeat([0, 1], 300))

    def test_a_large_group_does_not_empty_the_others(self):
        groups = [0] * 550 + [1, 2, 3, 4, 5] * 10
        check(split("grouped", y=np.arange(N) % 2, column=groups), N)

    def test_ways_to_write_a_group_are_one(self):
        values = ["1.0", "1", " 1 "] * 100 + ["2"] * 150 + ["3"] * 150
        made = split("grouped", y=np.arange(N) % 2, column=values, folds=2)
        assert len(set(made.fold[:300].tolist())) == 1


class TestRepeats:
    """Other cuts of the same training rows."""

    @pytest.mark.parametrize("kind", ["random", "stratified", "grouped", "column"])
    def test_the_test_rows_stay_and_no_two_cuts_are_alike(self, kind):
        groups = RNG.integers(0, 60, N)
        column = {"grouped": groups, "column": np.where(np.arange(N) % 5, "train", "test")}.get(kind)
        once, made, again, other = (
            split(kind, column=column, seed=seed, repeats=repeats) for seed, repeats in ((0, 1), (0, 4), (0, 4), (9, 4))
        )
        np.testing.assert_array_equal(once.fold, made.fold)
        assert (once.others, len(made.others), made.note) == ((), 3, "")
        pairs = {tuple(np.stack([a, b]).reshape(-1)) for a in (made.fold, *made.others) for b in made.others}
        assert len(pairs) == 12
        for cut in made.others:
            check(replace(made, fold=cut), N)
            together = np.zeros((5, 5))
            np.add.at(together, (made.fold[~made.test], cut[~made.test]), 1)
            assert together.max() < 60, "a fold of one cut is spread over those of another"
            if kind == "grouped":
                assert all(len(set(cut[groups == group].tolist())) == 1 for group in set(groups))
            if kind in ("stratified", "column"):
                share = [(Y[cut == fold] == 0).mean() for fold in range(5)]
                assert max(share) - min(share) < 0.03
        for cut, same, different in zip(made.others, again.others, other.others, strict=True):
            np.testing.assert_array_equal(cut, same)
            assert (cut != different).any()
        assert made.record() == again.record()
        assert made.record()["digest"] != once.record()["digest"]

    @pytest.mark.parametrize("many", [0, 10**9])
    def test_groups_of_different_sizes_are_dealt_differently(self, monkeypatch, many):
        monkeypatch.setattr(module, "MANY_GROUPS", many)
        groups = np.repeat(np.arange(34), np.arange(1, 35))
        made = split("grouped", np.arange(len(groups)) % 2, groups, repeats=3)
        assert len(made.others) == 2
        for cut in made.others:
            sizes = np.bincount(cut[cut >= 0])
            assert sizes.min() > 0.5 * sizes.mean()

    def test_where_each_group_is_a_fold_there_is_one_cut(self):
        made = split("grouped", np.arange(N) % 2, np.repeat(range(4), 150), folds=3, repeats=3)
        assert made.others == ()
        assert made.note == "The training rows allow 1 cuts into folds instead of 3."

    def test_a_cut_that_would_teach_one_class_is_left_out(self):
        groups = np.repeat(np.arange(30), 20)
        y = (np.isin(groups, np.arange(3))).astype(int)  # few groups hold the second class
        made = split("grouped", y, groups, folds=2, repeats=20)
        for cut in made.others:
            assert all(len(set(y[(cut >= 0) & (cut != fold)].tolist())) == 2 for fold in range(2))

    def test_over_time_there_is_one_cut(self):
        assert split("temporal", np.arange(N) % 2, np.arange(N), repeats=3).others == ()


class TestTemporal:
    Y2 = np.arange(N) % 2

    @pytest.mark.parametrize(
        "column",
        [
            np.arange(N),
            np.arange(N) / 7,
            [str(i) for i in range(N)],
            [(dt.date(2020, 1, 1) + dt.timedelta(i)).isoformat() for i in range(N)],
            [dt.date(2020, 1, 1) + dt.timedelta(i) for i in range(N)],
            np.datetime64("2020-01-01", "ms") + np.arange(N),
        ],
        ids=["int", "float", "digits", "text", "date", "timestamp"],
    )
    def test_test_rows_are_the_latest_and_folds_follow_one_another(self, column):
        order = RNG.permutation(N)
        shuffled = pa.array(column).take(pa.array(order))
        made = split("temporal", self.Y2, shuffled)
        check(made, N)
        assert made.forward
        by_time = made.fold[np.argsort(order)]
        np.testing.assert_array_equal(by_time[:480], np.repeat(range(5), 96))
        assert (by_time[480:] == -1).all()

    def test_one_moment_is_never_on_both_sides(self):
        times = RNG.integers(0, 40, N)
        made = split("temporal", self.Y2, times)
        for time in range(40):
            assert len(set(made.fold[times == time].tolist())) == 1
        assert times[made.test].min() > times[~made.test].max()

    def test_rows_without_a_time_count_as_the_earliest(self):
        column = [None] * 10 + list(range(590))
        made = split("temporal", self.Y2, column)
        assert (made.fold[:10] == 0).all()
        assert made.note == "10 rows without a time count as the earliest."

    def test_few_moments_allow_fewer_folds(self):
        made = split("temporal", self.Y2, np.repeat(range(4), 150))
        check(made, N, folds=3)
        assert made.note == "The times allow 3 folds instead of 5."

    @pytest.mark.parametrize(
        ("column", "why"),
        [
            ([1] * N, "needs times that differ .* got 1 different times"),
            (["soon"] * N, "needs dates or numbers; got 600"),
        ],
    )
    def test_what_is_no_time_is_refused(self, column, why):
        with pytest.raises(DataError, match=why):
            split("temporal", self.Y2, column)


class TestColumn:
    def test_it_decides_the_test_rows(self):
        column = np.array(["train", " Test ", "training"], object)[np.arange(N) % 3]
        made = split("column", column=column)
        check(made, N)
        np.testing.assert_array_equal(made.test, np.arange(N) % 3 == 1)
        assert (made.kind, made.note) == ("column", "")

    def test_a_column_that_is_given_is_used_by_auto(self):
        assert split("auto", column=["train", "test"] * 300).kind == "column"

    def test_dev_rows_join_the_training(self):
        made = split("column", column=["train"] * 300 + ["val"] * 100 + ["test"] * 200)
        assert made.test.sum() == 200
        assert made.note == "100 dev rows train in the folds with the others."

    def test_dev_rows_are_the_test_where_there_is_none(self):
        made = split("column", column=["train"] * 400 + ["dev"] * 200)
        assert made.test.sum() == 200
        assert made.note == "There are no test rows: the dev rows are the test."

    @pytest.mark.parametrize(
        ("column", "why"),
        [
            (["train", "tset"] * 300, r"must hold train, dev or test in every row; got \['tset'\] and 0 rows"),
            (["train", None, "test"] * 200, r".*got \[\] and 200 rows with nothing"),
            (["train"] * N, r"must hold train and test rows; got only \['train'\]"),
            ([1, 2] * 300, r"must hold train, dev or test in every row; got \['1', '2'\]"),
        ],
    )
    def test_other_columns_are_refused(self, column, why):
        with pytest.raises(DataError, match=f"^data.split.column: {why}"):
            split("column", column=column)


@pytest.mark.parametrize(
    ("values", "is_one"),
    [
        (["train", "test"], True),
        (["TRAIN", "val", None], True),
        (["train", "train"], False),
        (["train", "test", "unused"], False),
        ([1, 2], False),
        ([None, None], False),
    ],
)
def test_a_split_column_is_told_from_others(values, is_one):
    assert is_split_column(pa.array(values)) == is_one


@pytest.mark.parametrize(
    ("y", "folds", "why"),
    [
        ([0, 1, 0], 5, "test rows and 5 folds must each hold a row; got 0 test rows and folds of"),
        ([0] * 40 + [1], 5, "every fold must be trained on two classes or more; got one class in 1 of 5 folds"),
    ],
)
def test_too_few_rows_are_refused(y, folds, why):
    with pytest.raises(DataError, match=why):
        split("stratified", y, task="binary", folds=folds)


def test_a_split_without_its_column_is_refused():
    with pytest.raises(DataError, match="a grouped split must have its column; got none"):
        split("grouped")


def test_a_test_part_of_one_class_is_told():
    made = split("temporal", np.array([0, 1] * 240 + [0] * 120), np.arange(N))
    assert made.note == "The test rows hold only one class."


def test_the_record_is_json():
    record = split("stratified").record()
    assert json.loads(json.dumps(record)) == record
    assert (record["train"], record["test"], sum(record["folds"])) == (480, 120, 480)


@given(
    sizes=st.lists(st.integers(6, 40), min_size=2, max_size=5),
    folds=st.integers(2, 6),
    test=st.floats(0.1, 0.5),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["random", "stratified"]),
)
def test_every_row_has_one_place(sizes, folds, test, seed, kind):
    y = np.repeat(np.arange(len(sizes)), sizes)
    try:
        made = split(kind, y, folds=folds, seed=seed, test=test)
    except DataError:
        return
    check(made, len(y), folds)
    assert abs(made.test.sum() - test * len(y)) <= 1


def test_rows_of_one_value_are_in_one_fold():
    roles = np.where(np.arange(N) < 150, "test", "train")
    machine = np.arange(N) // 30
    spec = SplitSpec(kind="column", column="c", together="m")

    def made(folds, machines=machine):
        columns = (pa.chunked_array([pa.array(each)]) for each in (roles, machines))
        return make_split(
            spec, task="binary", y=Y % 2, folds=folds, seed=0, column=next(columns), together=next(columns)
        )

    found = made(5)
    check(found, N)
    np.testing.assert_array_equal(found.test, roles == "test")
    assert len(set(found.tied[found.test])) == 5, "test rows of one value are drawn together"
    for each in np.unique(machine[150:]):
        assert len(set(found.fold[(machine == each) & ~found.test])) == 1
    few = made(5, np.arange(N) % 3)
    assert set(few.fold.tolist()) == {-1, 0, 1, 2}
    assert "3 groups of training rows allow 3 folds instead of 5" in few.note


def test_normal_rows_are_enough_to_find_anomalies():
    y = np.zeros(N, np.int64)
    made = split("stratified", y, task="anomaly")
    check(made, N)
    assert "only one class" in made.note
    y[:] = 1
    with pytest.raises(DataError, match=r"every fold must be trained on normal rows.*target\.anomalous"):
        split("stratified", y, task="anomaly")

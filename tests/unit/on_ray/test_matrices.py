"""Training rows sorted by fold, and a sample of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.data.split import Split
from hybrid_ray.on_ray.matrices import FoldOrder


@given(st.integers(40, 400), st.integers(2, 5), st.integers(2, 4), st.floats(0.05, 1), st.integers(0, 99))
def test_a_sample_keeps_folds_and_strata_in_proportion(
    n: int, n_folds: int, n_strata: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    fold = rng.integers(-1, n_folds, n).astype(np.int16)
    fold[:n_folds] = np.arange(n_folds)
    order = FoldOrder.of(Split("stratified", fold < 0, fold, False, ""))
    strata = rng.integers(0, n_strata, len(order.rows))
    sample = order.sample(strata, share, seed)
    assert set(sample.rows) <= set(order.rows)
    assert len(set(sample.rows)) == len(sample.rows) == sample.bounds[-1]
    stratum_of = dict(zip(order.rows.tolist(), strata.tolist(), strict=True))
    for i in range(n_folds):
        whole = order.rows[order.bounds[i] : order.bounds[i + 1]]
        some = sample.rows[sample.bounds[i] : sample.bounds[i + 1]]
        assert np.array_equal(some, whole[np.isin(whole, some)]), "in the order of the whole"
        assert len(some) == min(max(int(len(whole) * share), 2), len(whole))
        for stratum in range(n_strata):
            part = sum(stratum_of[row] == stratum for row in whole) * len(some) / len(whole)
            assert abs(sum(stratum_of[row] == stratum for row in some.tolist()) - part) <= 1
    again = order.sample(strata, share, seed)
    np.testing.assert_array_equal(again.rows, sample.rows)


def test_what_goes_together_is_known_of_the_rows_of_the_search() -> None:
    fold, groups = np.array([-1, 1, 0, 1, 0, 1], np.int16), np.array([9, 5, 7, 5, 8, 6])
    order = FoldOrder.of(Split("grouped", fold < 0, fold, False, "", groups=groups))
    assert order.groups is not None
    np.testing.assert_array_equal(order.groups, groups[order.rows])
    sample = order.sample(np.zeros(5, np.int64), 0.7, 0)
    assert sample.groups is not None
    np.testing.assert_array_equal(sample.groups, groups[sample.rows])

"""On which rows candidates are fitted once the search saw a sample only."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.candidate import Candidate
from hybrid_ray.estimators.base import EstimatorTags
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.refit import Refit, passes_by, plan_refit_of, refit_note, shard_batches
from hybrid_ray.types import BOTH


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 40), st.integers(0, 99))
def test_batches_hold_every_training_row_once_in_whole_shards(sizes, rows, seed):
    training = np.random.default_rng(seed).random(sum(sizes)) < 0.6
    batches = shard_batches(sizes, training, rows)
    bounds = {0, *np.cumsum(sizes).tolist()}
    covered = np.zeros(len(training), int)
    for start, stop in batches:
        assert {start, stop} <= bounds
        covered[start:stop] += 1
    assert covered.max(initial=0) <= 1
    assert (covered[training] == 1).all()
    held = [int(training[start:stop].sum()) for start, stop in batches]
    assert all(n >= rows for n in held[:-1])
    assert all(n > 0 for n in held)


def test_a_family_gets_the_most_rows_that_it_can_take():
    streams = EstimatorTags(BOTH, copies=2.0, streams="xgboost")
    plain = EstimatorTags(BOTH, copies=1.0)
    slow = EstimatorTags(BOTH, max_rows=1000)
    needed = 1_000_000 * 10 * 4 * 3  # blocks, matrix, and a copy
    assert plan_refit_of("a", streams, 1_000_000, 10, 0).way == "stream"
    assert plan_refit_of("b", plain, 1_000_000, 10, needed) == Refit("b", "memory", needed)
    assert plan_refit_of("b", plain, 1_000_000, 10, needed - 1).way == "sample"
    assert plan_refit_of("c", slow, 1001, 10, 10**12).way == "sample"


def test_the_note_says_what_each_was_fitted_on():
    refits = [Refit("xgboost(a)#1", "stream", 9), Refit("ridge(a)#2", "memory", 9), Refit("svm(a)#3", "sample", 90_000)]
    note = refit_note(refits, 1000, 50, 2)
    assert "on all 1000 training rows, read as a stream by 2 workers: xgboost(a)#1;" in note
    assert "in the memory of one task: ridge(a)#2;" in note
    assert "on the 50 rows of the sample" in note
    assert "svm(a)#3 (90 bytes a row in memory)" in note
    assert "rows of the sample" not in refit_note(refits[:1], 1000, 50, 1)


def test_rows_pass_by_unless_a_step_or_the_fusion_needs_them_together():
    load_plugins()
    plain = Candidate(("a", "b"), "concat", "xgboost")
    assert passes_by(plain)
    assert not passes_by(replace(plain, fusion="gated"))
    assert not passes_by(replace(plain, steps=({"name": "smote", "params": {}},)))
    streams = EstimatorTags(BOTH, streams="xgboost")
    assert plan_refit_of("a", streams, 1000, 10, 10**9, passes=False).way == "memory"
    assert plan_refit_of("a", streams, 1000, 10, 0, passes=False).way == "sample"

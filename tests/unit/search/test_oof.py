"""Which candidates the library of out-of-fold predictions holds."""

from types import SimpleNamespace

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.fusion import calibrated
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.ensembler import Ensembler
from hybrid_ray.search.oof import admitted, build_library
from hybrid_ray.search.recipes import Recipe
from hybrid_ray.search.trials import TrialRecord

load_plugins()


def ranked(*kinds):
    """Trials, best first, of families on blocks: ``svm(a)``."""
    return [
        TrialRecord(n, Candidate(tuple(blocks.split("+")), "concat", family, params={"n": n}), 1.0 - n / 100, 5)
        for n, (family, blocks) in enumerate(kinds)
    ]


def test_where_there_is_room_all_are_kept_best_first():
    trials = ranked(("svm", "a"), ("svm", "a"), ("knn", "a"))
    assert admitted(trials, 3) == trials
    assert admitted(trials, 64) == trials


def test_many_of_one_kind_leave_room_for_the_best_of_every_other():
    trials = ranked(*[("svm", "a")] * 90, ("knn", "a"), ("svm", "a+b"), *[("knn", "a")] * 5)
    kept = admitted(trials, 6)
    assert [trial.number for trial in kept] == [0, 1, 2, 90, 91, 92]
    assert admitted(kept, 6) == kept


def test_with_less_room_than_kinds_the_better_kinds_stay():
    trials = ranked(("svm", "a"), ("svm", "a"), ("knn", "a"), ("mlp", "a"))
    assert [trial.number for trial in admitted(trials, 2)] == [0, 2]


@pytest.mark.parametrize("forward", [False, True])
def test_ensembles_are_told_which_rows_go_together(forward, monkeypatch):
    rng, bounds = np.random.default_rng(0), np.array([0, 20, 40, 60])
    y, groups = rng.integers(2, size=60), np.arange(60) // 4
    folded = FoldedData("binary", 2, y, bounds, forward, {}, {}, {}, groups=groups)
    second = rng.uniform(0.1, 0.9, size=60)
    oof = {str(fold): np.column_stack([1 - second, second])[folded.held_out(fold)] for fold in folded.folds}
    trials = [
        TrialRecord(0, Candidate(("a",), "concat", "svm"), 1.0, len(oof), keys=tuple(oof)),
    ]
    ledger = SimpleNamespace(oof=oof.__getitem__)
    library = build_library(trials, folded, get_metric("log_loss", "binary"), ledger)
    np.testing.assert_array_equal(library.groups, groups[folded.scored])
    told = []
    real = calibrated.answering_folds
    monkeypatch.setattr(calibrated, "answering_folds", lambda *given: told.append(given[-1]) or real(*given))
    ensembler = Ensembler(library, 0)
    ensembler.only(library.names).fit(Recipe("best", 1, "calibrated"), [0])
    np.testing.assert_array_equal(told[0], library.groups[:20])

"""Which candidates the library of out-of-fold predictions holds."""

from hybrid_ray.candidate import Candidate
from hybrid_ray.search.oof import admitted
from hybrid_ray.search.trials import TrialRecord


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

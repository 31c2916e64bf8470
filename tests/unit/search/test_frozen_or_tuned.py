"""What a report says of a pretrained extractor that stood beside its tuned twin."""

from hybrid_ray.candidate import Candidate
from hybrid_ray.search.frozen_or_tuned import twin_notes
from hybrid_ray.search.trials import TrialRecord

BOTH = Candidate(("frozen", "tuned"), "concat", "svm")
TUNED = Candidate(("table", "tuned"), "concat", "svm")
FROZEN = Candidate(("frozen",), "concat", "svm")
TABLE = Candidate(("table",), "concat", "svm")


def ranked(*candidates):
    return [TrialRecord(i, candidate, 0.1 * (i + 1), 3) for i, candidate in enumerate(candidates)]


def notes(make_plan, trials, members, weights):
    blocks = ("frozen", "table", "tuned")
    plan = make_plan(
        blocks=blocks, modalities=dict.fromkeys(blocks, "text"), twins=(("frozen", "tuned"),), metric="log_loss"
    )
    return twin_notes(plan, trials, members, weights)


def test_it_says_which_of_the_two_is_read_how_much_and_why(make_plan):
    members = {"a": TUNED, "b": BOTH, "c": TABLE}
    (note,) = notes(make_plan, ranked(BOTH, TUNED, TABLE, FROZEN), members, {"a": 0.5, "b": 0.2, "c": 0.3})
    assert "reads tuned (2 of 3 members, weight 0.70) and frozen (1 of 3 members, weight 0.20)." in note
    assert f"with tuned and without frozen is 0.2 ({TUNED.label}), the other way round 0.4 ({FROZEN.label})" in note


def test_it_says_what_is_not_known(make_plan):
    (note,) = notes(make_plan, ranked(BOTH, TABLE), {"a": TABLE}, {})
    assert "the model reads neither." in note
    assert "is not known, the other way round not known." in note
    (note,) = notes(make_plan, ranked(FROZEN), {"a": FROZEN}, {})
    assert "reads frozen (1 of 1 members)." in note


def test_without_twins_there_is_nothing_to_say(make_plan):
    assert twin_notes(make_plan(), ranked(TABLE), {"a": TABLE}, {}) == []

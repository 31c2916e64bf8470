"""What answers rows that lack a modality: which gaps there are, what stands in, and how it is weighed."""

import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.search.costs import Cost, Prices
from hybrid_ray.search.fits import Evaluator, Outcome
from hybrid_ray.search.reserves import Gap, affordable, find_gaps, make_reserve, stand_ins
from hybrid_ray.search.trials import trial_beside

READ = {"img": "image", "txt": "text", "words": "text", "tab": "tabular", "row": "tabular+text"}
NO_IMAGE = Gap("without:image", ("text",), ("image",), ("text",))


def kept(*used, learned=()):
    return {gap.name: gap.kept for gap in find_gaps(used, READ, learned)}


def test_each_modality_may_lack_and_all_but_each_where_there_are_three():
    assert kept("img", "txt", "words") == {"without:image": ("txt", "words"), "without:text": ("img",)}
    assert kept("img", "txt", "words", "tab") == {
        "without:image": ("tab", "txt", "words"),
        "without:tabular": ("img", "txt", "words"),
        "without:text": ("img", "tab"),
        "alone:image": ("img",),
        "alone:tabular": ("tab",),
        "alone:text": ("txt", "words"),
    }
    assert kept("img") == kept("txt", "words") == kept("row") == {}


def test_a_block_of_several_modalities_is_left_out_with_each():
    assert kept("img", "row") == {"without:image": ("row",), "without:tabular": ("img",), "without:text": ("img",)} | {
        "alone:image": ("img",)
    }


def test_what_training_rows_lacked_too_needs_no_reserve_and_may_be_lacking_in_one():
    gaps = find_gaps(("img", "tab", "txt"), READ, learned={"img"})
    assert [(gap.name, gap.lacks, gap.needs) for gap in gaps] == [
        ("without:tabular", ("tab",), ("txt",)),
        ("without:text", ("txt",), ("tab",)),
        ("alone:image", ("tab", "txt"), ()),
        ("alone:tabular", ("txt",), ("tab",)),
        ("alone:text", ("tab",), ("txt",)),
    ]
    assert find_gaps(("img", "txt"), READ, learned={"img", "txt"}) == []


def test_stand_ins_are_the_families_of_the_ensemble_on_all_that_is_left():
    members = [
        Candidate(("tab", "txt"), "concat", "svm", params={"C": 3.0}),
        Candidate(("img",), "concat", "svm"),
        *(Candidate(("txt",), "concat", name) for name in ("knn", "logistic", "lightgbm", "mlp")),
    ]
    without, *_, alone = find_gaps(("img", "tab", "txt"), READ)
    found = stand_ins(members, without)
    assert [candidate.estimator for candidate in found] == ["svm", "knn", "logistic", "lightgbm"]
    assert {candidate.blocks for candidate in found} == {("tab", "txt")}
    assert found[0].params == {"C": 3.0}
    assert stand_ins(members, alone) == []


def test_what_could_not_be_fitted_stands_in_for_nothing():
    candidate = Candidate(("text",), "concat", "knn")
    assert trial_beside(0, candidate, Outcome(scores=(0.5,), keys=("k",), error="fold 1: it failed")) is None
    assert trial_beside(0, candidate, Outcome()) is None
    assert trial_beside(0, candidate, Outcome(scores=(0.5, 0.7), keys=("k", "l"))).score == pytest.approx(0.6)


def test_reserves_are_made_in_their_order_as_long_as_the_graph_has_room():
    whole, text, image, both = (Candidate((name,), "concat", "knn") for name in ("img", "txt", "tab", "words"))
    prices = Prices({c.key: Cost(size_mb=10.0) for c in (whole, text, image, both)}, {"img": Cost(size_mb=50.0)}, 2)
    reserves = [[text], [text, whole], [image, both], [image]]
    assert affordable(reserves, [whole], prices, 90.0) == [True, True, False, False]
    assert affordable(reserves, [whole], prices, 110.0) == [True, True, False, True]
    assert affordable(reserves, [whole], prices, 75.0) == [False] * 4


@pytest.fixture
def cross_fit(make_folded, make_plan, ledger):
    """Fits families on blocks of a small search, and makes a reserve of what was fitted."""
    plan, rows = make_plan(), make_folded()
    evaluate = Evaluator(plan, rows, ledger)

    def fit(blocks, *families):
        candidates = [Candidate(blocks, "concat", family) for family in families]
        return [trial_beside(n, c, evaluate(c, (None,) * 3)) for n, c in enumerate(candidates)]

    return fit, lambda gap, known: make_reserve(gap, known, plan, rows, ledger)


def test_a_reserve_reads_nothing_that_is_lacking_and_is_no_worse_than_its_best_member(cross_fit):
    fit, make = cross_fit
    whole, able = fit(("image", "text"), "logistic", "knn"), fit(("text",), "logistic", "naive_bayes", "knn")
    reserve = make(NO_IMAGE, [*whole, *able])
    assert {candidate.blocks for candidate in reserve.members.values()} == {("text",)}
    assert reserve.score <= min(trial.score for trial in able)
    assert make(NO_IMAGE, whole) is None
    assert [c.estimator for c in make(NO_IMAGE, [*whole, able[2]]).members.values()] == ["knn"]


def test_what_is_left_is_pooled_by_its_out_of_fold_predictions(cross_fit):
    fit, make = cross_fit
    image, text = fit(("image",), "logistic"), fit(("text",), "logistic")
    reserve = make(Gap("without:tabular", ("image", "text"), ("tab",), ("image", "text")), [*image, *text])
    weights = {reserve.members[name].blocks: weight for name, weight in reserve.weights.items()}
    assert weights[("image",)] > weights[("text",)] > 0.05
    assert reserve.score < min(image[0].score, text[0].score) - 0.02

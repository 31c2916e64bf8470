import math

import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.search.fits import Outcome, Setting
from hybrid_ray.search.halving import PENALTY
from hybrid_ray.search.trials import LOST, CandidateBook, Told
from hybrid_ray.store.ledger import FitRecord


def candidate(depth, *, estimator="knn", blocks=("image", "text")):
    return Candidate(blocks, "concat", estimator, params={"n_neighbors": depth})


def answer(*scores, pruned=False, error="", seconds=1.0, found=0):
    return {
        "scores": list(scores),
        "keys": [f"k{i}" for i in range(len(scores))],
        "chains": [""] * len(scores),
        "pruned": pruned,
        "error": error,
        "seconds": seconds,
        "found": found,
    }


@pytest.fixture
def setting(make_plan, make_folded):
    return Setting.of(make_plan(), make_folded())


@pytest.fixture
def book(make_plan, setting):
    return CandidateBook(make_plan(), setting, {})


def begin(book, number, chosen):
    return book.begin(number, {"candidate": chosen.to_json()})


def test_a_trial_has_the_mean_over_its_folds(book):
    assert begin(book, 0, candidate(1))["candidate"] == candidate(1).to_json()
    assert not book.ready(0)
    book.finish(0, answer(0.2, 0.4, 0.3, found=1))
    trial = book.answer(5.0).trials[0]
    assert (trial.score, trial.folds_done, trial.resumed, trial.complete) == (pytest.approx(0.3), 3, 1, True)
    assert book.told(0).value == pytest.approx(-0.3)


def test_a_failed_trial_is_told_as_a_finite_penalty_and_counted(book):
    begin(book, 0, candidate(1))
    book.finish(0, answer(error="fold 0: ValueError: singular"))
    trial = book.answer(0.0).trials[0]
    assert trial.failed
    assert trial.error == "fold 0: ValueError: singular"
    assert trial.score == 1e30
    assert book.told(0).value == PENALTY
    assert math.isfinite(PENALTY)


def test_a_trial_whose_worker_died_is_a_failed_trial(book):
    begin(book, 0, candidate(1))
    book.finish(0, None)
    assert book.answer(0.0).trials[0].error == LOST


def test_a_pruned_trial_is_told_by_how_far_it_came(book):
    begin(book, 0, candidate(1))
    book.finish(0, answer(0.2, 0.4, pruned=True))
    told = book.told(0)
    assert told.value is None
    assert told.steps == pytest.approx((-0.2, -0.3))
    assert not book.answer(0.0).trials[0].complete


def test_a_pruned_trial_is_told_as_its_mean_over_all_folds_would_be(book):
    for number, scores in enumerate([(0.2, 0.4, 0.6), (0.1, 0.1, 0.4)]):
        begin(book, number, candidate(number + 1))
        book.finish(number, answer(*scores))
    begin(book, 2, candidate(3))
    book.finish(2, answer(0.3, 0.5, pruned=True))
    assert book.told(2).steps == pytest.approx((-0.3, -0.4))
    book.turn(range(2))
    # Whole trials were 0.2 and 0.1 worse in the end than on the first fold, 0.1 each than on the first two.
    assert book.told(2).steps == pytest.approx((-0.45, -0.5))


def test_it_knows_what_was_proposed(book):
    values = {"candidate": candidate(1).to_json()}
    assert not book.repeats(values)
    begin(book, 0, candidate(1))
    assert book.repeats(values)
    assert not book.repeats({"candidate": candidate(2).to_json()})


def test_a_trial_that_was_cut_never_wins_and_teaches_nothing_that_depends_on_the_machine(book):
    for number in range(3):
        begin(book, number, candidate(1 + number))
    book.finish(0, answer(0.5, 0.4, 0.3))
    book.finish(1, answer(0.1, 0.1) | {"cut": True})
    book.cut(2)
    assert [book.told(number) == Told(None) for number in range(3)] == [False, True, True]
    book.turn(range(3))
    found = book.answer(0.0)
    outcomes = [(t.cut, t.complete, t.folds_done) for t in found.trials]
    assert outcomes == [(False, True, 3), (True, False, 2), (True, False, 0)]
    assert found.trials[2].score == 1e30
    assert found.ranked() == [candidate(1)]


def test_cut_trials_are_replayed_as_such_and_so_is_what_repeats_them(make_plan, setting):
    book = CandidateBook(make_plan(cut=(1,)), setting, {})
    assert begin(book, 0, candidate(1)) is not None
    assert begin(book, 1, candidate(2)) is None
    assert begin(book, 2, candidate(2)) is None
    assert (book.ready(1), book.ready(2)) == (True, True)
    assert book.told(2) == Told(None)


def test_a_candidate_that_comes_again_has_the_outcome_of_the_first_and_no_fit(book):
    begin(book, 0, candidate(1))
    assert begin(book, 1, candidate(1)) is None
    assert not book.ready(1)
    book.finish(0, answer(0.2, 0.4, 0.3, seconds=2.0))
    assert book.ready(1)
    assert book.told(1) == book.told(0)
    found = book.answer(0.0)
    assert (found.trials[1].repeats, found.trials[1].seconds) == (0, 0.0)
    assert (found.resumed, found.started) == (0, 3)
    assert found.ranked() == [candidate(1)]


def test_bars_move_between_batches_only(book):
    for number in range(5, 9):
        begin(book, number, candidate(number))
        book.finish(number, answer(*[0.1 * number - 0.4] * 3))
    assert begin(book, 9, candidate(9))["thresholds"] == [None, None, None]
    book.turn(range(5, 9))
    assert begin(book, 10, candidate(10))["thresholds"] == [pytest.approx(-0.2), pytest.approx(-0.2), None]


def test_each_subset_and_each_family_is_given_all_folds_once(book):
    for number in range(10, 14):
        begin(book, number, candidate(number))
        book.finish(number, answer(0.1, 0.1, 0.1))
    book.turn(range(10, 14))
    assert begin(book, 4, candidate(2))["thresholds"] == [None, None, None]
    assert begin(book, 5, candidate(3))["thresholds"][0] is not None


def test_known_fits_need_no_worker(make_plan, setting):
    chosen = candidate(3)
    known = {
        setting.key(chosen, fold): FitRecord(setting.key(chosen, fold), chosen.to_json(), fold, 0.5, 2.0, 60)
        for fold in range(3)
    }
    book = CandidateBook(make_plan(), setting, known)
    assert begin(book, 0, chosen) is None
    assert book.ready(0)
    found = book.answer(0.0)
    assert (found.resumed, found.started, found.trials[0].seconds) == (3, 0, 6.0)


def test_candidates_are_ranked_best_first_complete_ones_only(book):
    scores = {0: (0.5,) * 3, 1: (0.3,) * 3, 2: (0.1,), 3: (0.3,) * 3}
    for number, values in scores.items():
        begin(book, number, candidate(number + 1))
        book.finish(number, answer(*values, pruned=number == 2))
    assert [trial.number for trial in book.answer(0.0).ranked_trials()] == [1, 3, 0]


def test_cost_is_what_the_family_took_before(book):
    begin(book, 0, candidate(1))
    assert book.cost(0) == math.inf
    book.finish(0, answer(0.2, 0.4, 0.3, seconds=6.0))
    begin(book, 1, candidate(2))
    begin(book, 2, candidate(1, estimator="logistic"))
    assert (book.cost(1), book.cost(2)) == (6.0, math.inf)
    assert (book.step(1), book.step(2)) == (2.0, 0.0)


def test_the_note_names_the_best_so_far(book):
    assert book.note() == ""
    begin(book, 0, candidate(1))
    book.finish(0, answer(0.25, 0.25, 0.25))
    assert book.note() == f"best log_loss 0.25: {candidate(1).label}"


def test_an_outcome_survives_json():
    outcome = Outcome.from_json(answer(0.1, 0.2, error="", found=1))
    assert outcome.scores == (0.1, 0.2)
    assert outcome.keys == ("k0", "k1")

"""How much of a run's time a search leaves to what follows it."""

import math

import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.budget import (
    END_S,
    ENSEMBLE_SHARE,
    ENSEMBLE_START_S,
    NETWORK_S,
    PARTS_START_S,
    Aftermath,
    Budget,
    ensembles_s,
)
from hybrid_ray.search.plan import Choice
from hybrid_ray.search.trials import TrialRecord

FIXED = END_S + PARTS_START_S


@pytest.fixture(autouse=True)
def families():
    """The learners are known."""
    load_plugins()


def trial(number, seconds, blocks=("a", "b"), folds=5):
    candidate = Candidate(blocks, "concat", "knn", params={"n_neighbors": number + 1})
    return TrialRecord(number, candidate, 0.1 * number, folds, seconds=seconds)


def test_a_refit_costs_what_the_folds_did_for_those_that_are_fitted_once_more():
    after = Aftermath(slots=2, folds=5, refit=True, members=2)
    ranked = [trial(0, 4.0), trial(1, 8.0), trial(2, 100.0), trial(3, 12.0, ("a",))]
    # Two members and the best of the one other set of blocks; a fold's fit sees 4 of 5 rows.
    assert after.seconds(ranked) == pytest.approx(FIXED + (4 + 8 + 12) / 5 * 5 / 4 / 2)
    assert after.seconds([trial(0, 40.0)]) == pytest.approx(FIXED + 40 / 5 * 5 / 4)
    busy = PARTS_START_S + 20.0
    assert after.seconds([], start_s=busy) == pytest.approx(END_S + busy)


def test_a_family_that_looks_at_pairs_of_rows_takes_the_square():
    svm = TrialRecord(0, Candidate(("a", "b"), "concat", "svm"), 0.1, 3, seconds=30.0)
    assert Aftermath(1, 3, True, 1).seconds([svm]) == pytest.approx(FIXED + 10 * (3 / 2) ** 2)


def test_where_the_search_saw_a_sample_a_refit_takes_as_much_longer_as_there_are_more_rows():
    sample = Aftermath(slots=1, folds=5, refit=True, members=1, grown=12.0)
    assert sample.seconds([trial(0, 4.0)]) == pytest.approx(FIXED + 12 * 4 / 4)
    assert Aftermath(1, 5, False, 1, grown=12.0).seconds([trial(0, 4.0)]) == FIXED


def test_a_costly_family_may_be_a_member_though_its_score_is_not_among_the_best():
    forest = TrialRecord(9, Candidate(("a", "b"), "concat", "random_forest"), 0.9, 5, seconds=50.0)
    ranked = [*(trial(number, 1.0) for number in range(8)), forest]
    assert Aftermath(1, 5, True, 2).seconds(ranked) == pytest.approx(FIXED + (50 + 1) / 4)


def test_bagged_chains_are_not_fitted_again():
    assert Aftermath(2, 5, False, 8).seconds([trial(0, 100.0)]) == FIXED


def test_stand_ins_take_their_folds_and_the_members_of_reserves_a_fit_more():
    two = [trial(0, 4.0), trial(1, 8.0)]
    crossed = 2 * (4 + 8)
    assert Aftermath(2, 5, False, 8, gaps=2).seconds(two) == pytest.approx(FIXED + crossed / 2)
    once_more = (4 + 8) / 5 * 5 / 4
    assert Aftermath(1, 5, True, 8, gaps=2).seconds(two) == pytest.approx(FIXED + crossed + 3 * once_more)


def test_smaller_networks_take_features_anew_and_the_folds_of_all_that_is_taken():
    ranked = [trial(0, 4.0), trial(1, 8.0), trial(2, 100.0), trial(3, 12.0, ("a",))]
    plain, smaller = (Aftermath(2, 5, True, 2, smaller_s=s).seconds(ranked) for s in (None, 30.0))
    assert smaller - plain == pytest.approx(30 + (4 + 8 + 12) / 2)


def test_saving_takes_more_for_every_network():
    assert Aftermath(2, 5, False, 8, networks=2).seconds([]) == FIXED + 2 * NETWORK_S


def test_the_search_ends_by_whichever_limit_comes_first():
    after = Aftermath(slots=1, folds=5, refit=True, members=1, trained_s=7.0)
    run = Budget(run_until=1000.0, aftermath=after, began=500.0)
    assert run.until([]) == 1000.0 - FIXED - 7.0
    assert run.until([trial(0, 40.0)]) == pytest.approx(1000.0 - FIXED - 7.0 - 10.0)
    assert Budget(search_until=600.0, run_until=1000.0, aftermath=after).until([]) == 600.0
    assert Budget(run_until=1000.0).until([]) == 1000.0
    assert Budget().until([]) is None
    assert Budget().candidates_until([], 5.0) is None


def test_ensembles_get_what_they_need_up_to_their_share():
    budget = Budget(search_until=200.0, began=100.0, start_s=2.0)
    start_s = ENSEMBLE_START_S + 2.0
    assert budget.candidates_until([], 4.0) == 200.0 - start_s - 4.0
    assert budget.candidates_until([], 50.0) == pytest.approx(200.0 - start_s - 100.0 * ENSEMBLE_SHARE)
    # Where all is short, so is what is kept for the start.
    assert Budget(search_until=108.0, began=100.0, start_s=9.0).candidates_until([], 0.0) == 106.0


def test_more_rows_take_longer_and_more_lanes_shorter():
    few, many = (ensembles_s(24, 2, 8, numbers, 5) for numbers in (1_000, 100_000))
    assert few < many
    assert ensembles_s(24, 4, 8, 100_000, 5) < many


def test_ensembles_that_train_learners_get_their_whole_share(make_plan):
    pools = make_plan(combiners=(Choice("linear_pool", "linear_pool"), Choice("stacking", "stacking")))
    trained = make_plan(combiners=(*pools.combiners, Choice("layered_stacking", "layered_stacking")))
    around = make_plan(combiners=(Choice("c", "calibrated", {"combiner": "meta_stacking"}),))
    assert [pools.effort, trained.effort, around.effort] == [1.0, math.inf, math.inf]
    budget = Budget(search_until=200.0, began=100.0)
    assert budget.candidates_until([], ensembles_s(24, 2, 8, 10, 5, pools.effort)) > 196.0
    assert budget.candidates_until([], ensembles_s(24, 2, 8, 10, 5, trained.effort)) == 187.0

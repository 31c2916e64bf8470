"""Other cuts of the rows: held out as said, with the arrays of the search, each fit done once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.candidate import Candidate
from hybrid_ray.evaluation.folds import MOST
from hybrid_ray.graph import fit_chain
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.fits import Evaluator, Outcome, Setting
from hybrid_ray.search.repeats import Repeats, finalists, gather
from hybrid_ray.search.trials import TrialRecord
from hybrid_ray.types import Block

FREE = (None, None, None)
GOOD = Candidate(("image", "text"), "concat", "logistic")


def cut_of(folded, seed=1):
    """Another division into folds of the same sizes."""
    sizes = np.diff(folded.bounds)
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int16)


@given(st.integers(2, 5), st.integers(0, 99), st.integers(6, 40))
def test_another_cut_holds_out_what_it_says(n_folds, seed, n):
    rng = np.random.default_rng(seed)
    cut = rng.permutation(np.arange(n) % n_folds)
    y = np.arange(n)
    own = tuple(Block(np.full((n, 1), fold, np.float32), np.ones(n, bool)) for fold in range(n_folds))
    rows = Block(np.arange(2 * n, dtype=np.float32).reshape(n, 2), rng.random(n) < 0.8)
    folded = FoldedData("regression", 1, y, np.array([0, n // 2, n]), False, {"a": rows}, {"b": own[:2]}, {"a": "a"})
    other = folded.recut(cut, {"c": own}, {"c": "c"})
    assert (other.folds, other.digests, set(other.trained)) == (range(n_folds), {"a": "a", "c": "c"}, {"c"})
    assert other.frozen["a"].values is rows.values, "not even the driver would copy the matrix"
    for fold in other.folds:
        train, y_train, held, y_held = other.fold(("a", "c"), fold)
        assert y_train.tolist() == np.flatnonzero(cut != fold).tolist()
        assert y_held.tolist() == np.flatnonzero(cut == fold).tolist()
        for part, taken in ((y_train, train), (y_held, held)):
            np.testing.assert_array_equal(taken["a"].values, rows.values[part])
            np.testing.assert_array_equal(taken["a"].present, rows.present[part])
            assert (taken["c"].values == fold).all()


def test_over_time_or_with_an_empty_fold_there_is_no_other_cut(make_folded):
    with pytest.raises(ValueError, match=r"recut: 180 rows must be in folds .* over time: True"):
        make_folded(forward=True).recut(np.arange(180) % 3, {}, {})
    with pytest.raises(ValueError, match=r"got 180 rows in folds of \[90, 0, 90\]"):
        make_folded().recut(np.arange(180) % 2 * 2, {}, {})


def test_a_candidate_is_fitted_on_another_cut_as_on_its_rows(make_folded, make_plan, ledger):
    folded, plan = make_folded(), make_plan()
    cut = cut_of(folded)
    found = Evaluator(plan, folded.recut(cut, {}, {}), ledger)(GOOD, FREE)
    expected = []
    for fold in range(3):
        train, held = (
            {name: block.take(rows) for name, block in folded.frozen.items()} for rows in (cut != fold, cut == fold)
        )
        chain = fit_chain(GOOD, train, folded.y[cut != fold], task="multiclass", n_outputs=3, seed=plan.seed)
        expected.append(plan.scorer.score(folded.y[cut == fold], chain.predict(held)))
    assert found.scores == pytest.approx(expected, rel=1e-12)
    assert found.scores != pytest.approx(Evaluator(plan, folded, ledger)(GOOD, FREE).scores, rel=1e-3)


def test_fits_on_another_cut_have_keys_of_their_own_and_are_done_once(make_folded, make_plan, ledger):
    folded, plan = make_folded(), make_plan()
    cuts = [folded.recut(cut_of(folded, seed), {}, {}) for seed in (1, 2)]
    keys = {Setting.of(plan, each).key(GOOD, fold) for each in (folded, *cuts) for fold in folded.folds}
    assert len(keys) == 9, "their fold bounds are the same"
    first = Evaluator(plan, cuts[0], ledger)(GOOD, FREE)
    # Killed before the last fold: its record is not there.
    ledger.root.delete(f"runs/{ledger.run_id}/fits/{first.keys[-1]}.json")
    again = Evaluator(plan, cuts[0], ledger)(GOOD, FREE)
    assert (first.found, again.found, again.scores) == (0, 2, first.scores)


def trial(number, blocks=("image",)):
    return TrialRecord(number, Candidate(blocks, "concat", f"family{number}"), 0.5, 3, scores=(0.4, 0.5, 0.6))


def outcome(*scores, **changes):
    return Outcome(scores=scores, **changes)


def test_candidates_that_read_what_a_fold_trained_stay_with_one_cut():
    ranked = [trial(0), trial(1, ("image", "net")), trial(2), *(trial(n) for n in range(3, MOST + 5))]
    able = finalists(ranked, {"net"})
    assert [each.number for each in able] == [0, *range(2, MOST)]
    assert finalists([trial(0), trial(1, ("net",))], {"net"}) == []
    done = {(0, each.candidate.key): outcome(0.1, 0.2, 0.3) for each in able}
    found = gather(ranked, able, done, 1, 2)
    assert set(found.scores) == {each.candidate.key for each in able}
    assert found.note == f"With one cut only, for what their folds trained: {ranked[1].candidate.label}."


def test_a_cut_counts_when_it_was_done_whole():
    able = [trial(0), trial(1)]
    a, b = (each.candidate.key for each in able)
    first = {(0, a): outcome(1.0, 2.0), (0, b): outcome(3.0, 4.0)}
    whole = first | {(1, a): outcome(5.0, 6.0), (1, b): outcome(7.0, 8.0)}
    assert gather(able, able, whole, 2, 3) == Repeats({a: (1.0, 2.0, 5.0, 6.0), b: (3.0, 4.0, 7.0, 8.0)})
    for late in (first | {(1, a): outcome(5.0, 6.0)}, whole | {(1, b): outcome(7.0, cut=True)}):
        expected = Repeats({a: (1.0, 2.0), b: (3.0, 4.0)}, "There was time for 2 of 3 cuts.")
        assert gather(able, able, late, 2, 3) == expected
    assert gather(able, able, {}, 2, 3) == Repeats({}, "There was time for 1 of 3 cuts.")
    assert gather(able, able, first, 1, 3).note == "The rows allow 2 of the 3 cuts asked for."


def test_a_candidate_that_fails_on_a_cut_stays_with_those_before_it():
    able = [trial(0), trial(1)]
    a, b = (each.candidate.key for each in able)
    outcomes = {(0, a): outcome(1.0), (0, b): outcome(2.0), (1, a): outcome(3.0), (1, b): outcome(error="fold 0: no")}
    found = gather(able, able, outcomes, 2, 3)
    assert found.scores == {a: (1.0, 3.0), b: (2.0,)}
    assert found.note == f"{able[1].candidate.label} could not be fitted on cut 3: fold 0: no."

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.estimators.models.resample import fit_grouped
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.search import clock, fits
from hybrid_ray.search.fits import Evaluator, FitFailedError, Setting, clear_chains, fit_fold, recall
from hybrid_ray.search.tradeoff import Wish
from hybrid_ray.store.chain import pack_chain, read_chain
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

FREE = (None, None, None)
GOOD = Candidate(("image", "text"), "concat", "logistic")
BROKEN = Candidate(("image",), "concat", "knn", params={"n_neighbors": -1})


@pytest.fixture
def folded(make_folded):
    return make_folded()


@pytest.fixture
def setting(folded, make_plan):
    return Setting.of(make_plan(), folded)


def test_a_candidate_is_fitted_on_each_fold_and_kept(folded, make_plan, ledger):
    outcome = Evaluator(make_plan(), folded, ledger)(GOOD, FREE)
    assert (len(outcome.scores), outcome.found, outcome.pruned, outcome.error) == (3, 0, False, "")
    records = ledger.records()
    assert set(records) == set(outcome.keys)
    assert [records[key].score for key in outcome.keys] == list(outcome.scores)
    assert [len(ledger.oof(key)) for key in outcome.keys] == [60, 60, 60]


def test_a_fit_is_never_done_twice(folded, make_plan, ledger):
    first = Evaluator(make_plan(), folded, ledger)(GOOD, FREE)
    before = {path: ledger.root.read(path) for path in ledger.root.list()}
    again = Evaluator(make_plan(), folded, ledger)(GOOD, FREE)
    assert again == replace(first, found=3)
    assert {path: ledger.root.read(path) for path in ledger.root.list()} == before


def test_held_out_predictions_come_from_rows_of_other_folds_only(folded, setting):
    poisoned = folded.frozen["image"].values.copy()
    poisoned[folded.held_out(1)] = 1e6
    other = replace(folded, frozen={**folded.frozen, "image": Block(poisoned, folded.frozen["image"].present)})
    there = fit_fold(GOOD, folded, 1, setting).chain
    here = fit_fold(GOOD, other, 1, setting).chain
    probe = {name: folded.frozen[name].take(slice(0, 5)) for name in GOOD.blocks}
    np.testing.assert_array_equal(there.predict(probe), here.predict(probe))


def test_labels_of_held_out_rows_do_not_reach_their_predictions(folded, setting):
    y = folded.y.copy()
    y[folded.held_out(2)] = (y[folded.held_out(2)] + 1) % 3
    np.testing.assert_array_equal(
        fit_fold(GOOD, folded, 2, setting).outputs, fit_fold(GOOD, replace(folded, y=y), 2, setting).outputs
    )


@pytest.mark.parametrize(
    "name", ["clip", "drop_outliers", "filter_labels", "oversample", "smote", "undersample", "unskew", "weigh_classes"]
)
def test_no_step_sees_a_held_out_row_or_its_label(folded, setting, name):
    """Other held-out rows and labels change nothing that was fitted, to the last bit."""
    held = folded.held_out(1)
    other = {}
    for key, block in folded.frozen.items():
        values = block.values.copy()
        values[held] = 1e3 * np.random.default_rng(9).lognormal(size=values[held].shape)
        other[key] = Block(values, block.present)
    y = folded.y.copy()
    y[held] = 0
    changed = replace(folded, frozen=other, y=y)
    params = next(iter(PREPARATIONS.get(name).examples())).model_dump(exclude={"blocks"}, exclude_unset=True)
    candidate = replace(GOOD, steps=({"name": name, "params": params},))
    there, here = (fit_fold(candidate, rows, 1, setting) for rows in (folded, changed))
    assert pack_chain(there.chain) == pack_chain(here.chain)
    assert len(there.outputs) == 60
    plain = fit_fold(GOOD, folded, 1, setting).outputs
    assert not np.array_equal(there.outputs, plain) or name in ("clip", "unskew")


def test_one_who_learns_by_heart_scores_no_better_than_chance(make_folded, make_plan, ledger):
    """A nearest neighbour on a feature that names the row knows every training label and nothing else."""
    n, draw = 1500, np.random.default_rng(0)
    rows = make_folded(n)
    names = Block(np.arange(n, dtype=np.float32)[draw.permutation(n), None], np.ones(n, bool))
    random = replace(rows, y=draw.integers(0, 3, n), frozen={"id": names}, digests={"id": "id"})
    candidate = Candidate(("id",), "concat", "knn", params={"n_neighbors": 1, "smoothing": 0.001})
    plan = make_plan(metric="accuracy", blocks=("id",), modalities={"id": "tabular"})
    chain = fit_fold(candidate, random, 0, Setting.of(plan, random)).chain
    seen = slice(int(random.bounds[1]), n)
    assert (chain.predict({"id": names.take(seen)}).argmax(axis=1) == random.y[seen]).all()
    outcome = Evaluator(plan, random, ledger)(candidate, FREE)
    assert abs(np.mean(outcome.scores) - 1 / 3) < 4 * np.sqrt(2 / 9 / n)


def test_a_fit_is_known_by_all_that_decides_it(folded, setting, make_folded, make_plan):
    keys = {
        setting.key(GOOD, 0),
        setting.key(GOOD, 1),
        setting.key(Candidate(("image",), "concat", "logistic"), 0),
        setting.key(Candidate(GOOD.blocks, "concat", "logistic", params={"C": 0.5}), 0),
        Setting.of(make_plan(seed=1), folded).key(GOOD, 0),
        Setting.of(make_plan(metric="accuracy"), folded).key(GOOD, 0),
        Setting.of(make_plan(), replace(folded, digests={"image": "x", "text": "text-0"})).key(GOOD, 0),
        Setting.of(make_plan(), replace(folded, y=folded.y[::-1])).key(GOOD, 0),
        Setting.of(make_plan(), replace(folded, bounds=folded.bounds - [0, 1, 0, 0])).key(GOOD, 0),
    }
    assert len(keys) == 9
    assert Setting.of(make_plan(trials=99, batch=2), folded).key(GOOD, 0) == setting.key(GOOD, 0)


def test_features_that_a_candidate_does_not_read_do_not_change_its_key(folded, setting, make_plan):
    alone = Candidate(("image",), "concat", "logistic")
    other = Setting.of(make_plan(), replace(folded, digests={"image": "image-0", "text": "another"}))
    assert other.key(alone, 0) == setting.key(alone, 0)


def test_a_candidate_that_cannot_be_fitted_is_an_outcome_with_its_reason(folded, make_plan, ledger):
    outcome = Evaluator(make_plan(), folded, ledger)(BROKEN, FREE)
    assert "fold 0: ValidationError" in outcome.error
    assert "n_neighbors" in outcome.error
    assert outcome.scores == ()
    assert ledger.records() == {}


def test_outputs_that_are_not_finite_fail_the_candidate(folded, setting):
    nan = Block(np.full_like(folded.frozen["image"].values, np.nan), folded.frozen["image"].present)
    with pytest.raises(FitFailedError, match="fold 0"):
        fit_fold(GOOD, replace(folded, frozen={**folded.frozen, "image": nan}), 0, setting)


def test_a_metric_that_is_not_defined_on_a_fold_fails_the_candidate(folded, make_plan):
    one_class = folded.y.copy()
    one_class[folded.held_out(0)] = 2
    rows = replace(folded, y=one_class)
    with pytest.raises(FitFailedError, match="fold 0: roc_auc_ovr must be a finite number; got nan"):
        fit_fold(GOOD, rows, 0, Setting.of(make_plan(metric="roc_auc_ovr"), rows))


def test_a_candidate_below_the_bar_stops_there(folded, make_plan, ledger):
    outcome = Evaluator(make_plan(), folded, ledger)(GOOD, (None, 0.0, None))
    assert outcome.pruned
    assert len(outcome.scores) == 2
    assert len(ledger.records()) == 2


def test_a_candidate_is_cut_between_folds_when_the_next_would_not_end_in_time(folded, make_plan, ledger, monkeypatch):
    evaluate = Evaluator(make_plan(), folded, ledger)
    late = evaluate(GOOD, FREE, time.time() + 5.0, fold_s=9.0)
    assert (late.cut, late.scores) == (True, ())
    moments = iter([0.0, 4.9])
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: next(moments, 5.1)))
    cut = evaluate(GOOD, FREE, 5.0)
    assert (cut.cut, cut.pruned, cut.error) == (True, False, "")
    assert len(cut.scores) == len(ledger.records()) < 3


def test_a_fit_that_does_not_end_in_time_is_left_and_another_may_follow(folded, make_plan, ledger, monkeypatch):
    evaluate = Evaluator(make_plan(), folded, ledger)
    asleep = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(fits, "fit_fold", lambda *given: asleep.wait(30))
        assert evaluate(GOOD, FREE, time.time() + 0.05).cut
    asleep.set()
    whole = evaluate(GOOD, FREE, time.time() + 60)
    assert (whole.cut, len(whole.scores)) == (False, 3)


def test_a_fit_under_a_time_limit_gives_the_same_predictions(folded, make_plan, tmp_path):
    ledgers = [Ledger(StoreRoot(str(tmp_path / name)), "run1") for name in ("free", "limited")]
    free, limited = (
        Evaluator(make_plan(), folded, ledger)(GOOD, FREE, until)
        for ledger, until in zip(ledgers, (None, time.time() + 60), strict=True)
    )
    assert free.scores == limited.scores
    assert "fold 0: ValidationError" in Evaluator(make_plan(), folded, ledgers[1])(BROKEN, FREE, time.time() + 60).error


def test_the_last_fold_stops_nobody(folded, make_plan, ledger):
    assert not Evaluator(make_plan(), folded, ledger)(GOOD, (None, None, 0.0)).pruned


def test_what_the_ledger_knows_is_recalled_without_a_fit(folded, setting, make_plan, ledger):
    done = Evaluator(make_plan(), folded, ledger)(GOOD, FREE)
    known = ledger.records()
    assert recall(GOOD, setting, FREE, known) == replace(done, found=3)
    stopped = recall(GOOD, setting, (0.0, None, None), known)
    assert stopped is not None
    assert (stopped.pruned, stopped.found) == (True, 1)
    del known[done.keys[2]]
    assert recall(GOOD, setting, FREE, known) is None
    assert recall(GOOD, setting, (None, 0.0, None), known) is not None


def test_time_trains_on_earlier_rows_only(make_folded, make_plan, ledger):
    forward = make_folded(folds=4, forward=True)
    outcome = Evaluator(make_plan(), forward, ledger)(GOOD, FREE)
    assert [record.fold for record in (ledger.records()[key] for key in outcome.keys)] == [1, 2, 3]
    late = replace(forward, y=np.concatenate([forward.y[:90], (forward.y[90:] + 1) % 3]))
    setting = Setting.of(make_plan(), forward)
    np.testing.assert_array_equal(fit_fold(GOOD, forward, 1, setting).outputs, fit_fold(GOOD, late, 1, setting).outputs)


def test_a_chain_of_trained_features_names_its_own_fold(folded, make_plan):
    draw = np.random.default_rng(1)
    copies = tuple(Block(draw.normal(size=(180, 4)).astype(np.float32), np.ones(180, bool)) for _ in range(3))
    rows = replace(folded, trained={"cnn": copies}, digests={**folded.digests, "cnn": "cnn"})
    candidate = Candidate(("cnn", "image"), "concat", "logistic")
    done = fit_fold(candidate, rows, 2, Setting.of(make_plan(), rows))
    assert done.chain.inputs == {"cnn": "cnn@2", "image": "image"}
    held = rows.held_out(2)
    probe = {"cnn@2": copies[2].take(held), "image": rows.frozen["image"].take(held)}
    np.testing.assert_array_equal(done.chain.predict(probe), done.outputs)


def test_kept_chains_predict_what_was_scored(folded, make_plan, ledger):
    outcome = Evaluator(make_plan(keep_chains=0.0), folded, ledger)(GOOD, FREE)
    assert len(outcome.chains) == 3
    for fold, (prefix, key) in enumerate(zip(outcome.chains, outcome.keys, strict=True)):
        held = {name: folded.frozen[name].take(folded.held_out(fold)) for name in GOOD.blocks}
        np.testing.assert_allclose(read_chain(ledger.root, prefix).predict(held), ledger.oof(key), rtol=1e-12)


def test_chains_of_quick_fits_are_not_kept(folded, make_plan, ledger):
    outcome = Evaluator(make_plan(keep_chains=3600.0), folded, ledger)(GOOD, FREE)
    assert outcome.chains == ("", "", "")
    assert not ledger.root.list("runs/run1/chains")


def test_at_the_end_only_the_chains_of_the_graph_stay(folded, make_plan, ledger):
    evaluate = Evaluator(make_plan(keep_chains=0.0), folded, ledger)
    winner, loser = evaluate(GOOD, FREE), evaluate(Candidate(("image",), "concat", "naive_bayes"), FREE)
    clear_chains(ledger.root, "run1", winner.chains)
    for prefix in winner.chains:
        read_chain(ledger.root, prefix)
    assert not any(ledger.root.list(prefix) for prefix in loser.chains)
    assert len(ledger.records()) == 6


def test_where_costs_count_the_last_fold_of_a_whole_candidate_is_measured(folded, make_plan, ledger):
    plan = make_plan(wish=Wish(("metric", "latency")))
    whole = Evaluator(plan, folded, ledger)(GOOD, FREE)
    assert set(whole.cost) == {"latency_ms", "batch_ms", "size_mb"}
    assert all(value > 0 for value in whole.cost.values())
    recalled = recall(GOOD, Setting.of(plan, folded), FREE, ledger.records())
    assert recalled.cost == whole.cost
    stopped = Evaluator(plan, folded, ledger)(Candidate(("image",), "concat", "logistic"), (0.0, None, None))
    assert (stopped.pruned, stopped.cost) == (True, {})


@pytest.mark.parametrize("steps", [(), ({"name": "oversample", "params": {}},)])
def test_a_fit_knows_which_of_its_rows_go_together(make_folded, make_plan, monkeypatch, steps):
    told = []
    monkeypatch.setattr("hybrid_ray.graph.fit_grouped", lambda *given: told.append(given) or fit_grouped(*given))
    groups = np.arange(180) // 4 * 10
    folded = replace(make_folded(), groups=groups)
    fit_fold(replace(GOOD, steps=steps), folded, 1, Setting.of(make_plan(), folded))
    _, X, codes, found = told[0]
    expected = folded.groups_of(1)
    np.testing.assert_array_equal(expected, np.r_[groups[:60], groups[120:]])
    own = np.unique(expected, return_inverse=True)[1]
    if steps:
        assert len(X) == len(codes) == len(found) > len(expected)
        assert set(found) == set(own), "a copy goes with the row that it is of"
    else:
        np.testing.assert_array_equal(found, own)
    assert Setting.of(make_plan(), folded).rows != Setting.of(make_plan(), make_folded()).rows

"""Both layers of a search with the real fits, driven as Tune drives them: seeded, resumable, whoever ends first."""

import json
import random
from dataclasses import replace
from typing import NamedTuple

import pytest
from ray.tune.search import Searcher

from hybrid_ray.candidate import Candidate
from hybrid_ray.on_ray.batches import GAIN
from hybrid_ray.on_ray.search import candidate_trials, ensemble_trials
from hybrid_ray.quiet import quiet_optuna
from hybrid_ray.search import fits
from hybrid_ray.search.ensemble import EnsembleBook
from hybrid_ray.search.ensembler import Ensembler
from hybrid_ray.search.fits import Evaluator
from hybrid_ray.search.halving import gain
from hybrid_ray.search.oof import build_library
from hybrid_ray.search.plan import Choice
from hybrid_ray.search.recipes import Recipe
from hybrid_ray.search.trials import CandidateBook
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.root import StoreRoot


class Searched(NamedTuple):
    """Both layers of a search, done in this process as Tune would do them."""

    trials: list
    ensembles: list
    winner: tuple


def whole_search(plan, rows, ledger, lanes, seed):
    """Search candidates, then ensembles, with workers that answer in any order."""
    evaluate = Evaluator(plan, rows, ledger)
    book = CandidateBook(plan, evaluate.setting, ledger.records())
    serve(
        candidate_trials(plan, rows.dims(), book, n_rows=len(rows.y), lanes=lanes),
        lambda item: vars(evaluate(Candidate(**item["candidate"]), tuple(item["thresholds"]))),
        lanes,
        seed,
    )
    ranked = book.answer(0.0).ranked_trials()
    ensembler = Ensembler(build_library(ranked, rows, plan.scorer, ledger), plan.seed)
    tried = EnsembleBook(plan.scorer.direction)

    def try_ensemble(item):
        done = ensembler.try_recipe(item["number"], Recipe(**item["recipe"]))
        return {"score": done.score, "seconds": done.seconds, "error": done.error}

    serve(ensemble_trials(plan, len(ranked), tried, lanes=lanes), try_ensemble, lanes, seed)
    best = max(tried.trials.values(), key=lambda t: (gain(t.score, plan.scorer.direction), -t.number))
    return Searched(
        [(t.number, t.candidate, t.scores, t.pruned, t.repeats, t.proposal) for t in book.answer(0.0).trials],
        [(n, t.recipe, t.score) for n, t in sorted(tried.trials.items())],
        (best.recipe, ensembler.fit(best.recipe, ensembler.library.parts).weights),
    )


def serve(search, work, lanes, seed):
    """Hand out what a search proposes to so many workers, who end in an order that ``seed`` decides."""
    shuffled = random.Random(seed)
    running, serial = {}, 0
    with quiet_optuna():
        while True:
            while len(running) < lanes:
                config = search.suggest(f"t{serial}")
                if config is None or config == Searcher.FINISHED:
                    break
                running[f"t{serial}"] = json.loads(config["items"])
                serial += 1
            if not running:
                return
            name = shuffled.choice(sorted(running))
            answers = [work(item) for item in running.pop(name)]
            search.on_trial_complete(name, result={GAIN: 0.0, "answers": json.dumps(answers)})


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("cmaes", "gp", "random", "grid")]


@pytest.fixture
def plan(make_plan):
    """A small search with more than one batch in each layer."""
    families = (Choice("naive_bayes", "naive_bayes"), Choice("knn", "knn"))
    pools = (Choice("linear_pool", "linear_pool"), Choice("log_pool", "log_pool"))
    fusions = (Choice("concat", "concat"), Choice("canonical", "canonical"))
    return make_plan(estimators=families, fusions=fusions, combiners=pools, trials=12, batch=4, ensemble_trials=8)


@pytest.mark.parametrize("sampler", ["tpe", *SLOW])
def test_a_seed_gives_the_same_trials_and_the_same_winner_on_any_number_of_workers(
    sampler, tmp_path, plan, make_folded
):
    plan, rows = replace(plan, sampler=sampler), make_folded(90)
    found = [
        whole_search(plan, rows, Ledger(StoreRoot(str(tmp_path / str(lanes))), "run1"), lanes, seed)
        for lanes, seed in ((1, 0), (3, 1))
    ]
    assert found[0] == found[1]
    assert [number for number, *_ in found[0].trials] == list(range(12))
    assert {candidate.fusion for _, candidate, *_ in found[0].trials} == {"concat", "canonical"}
    other = whole_search(replace(plan, seed=1), rows, Ledger(StoreRoot(str(tmp_path / "other")), "run1"), 1, 0)
    assert other.trials != found[0].trials


class Killed(Exception):
    """The end of a driver."""


def test_killed_at_any_fit_and_resumed_is_as_if_it_had_never_been_killed(tmp_path, monkeypatch, plan, make_folded):
    rows = make_folded(90)
    whole_ledger = Ledger(StoreRoot(str(tmp_path / "whole")), "run1")
    whole = whole_search(plan, rows, whole_ledger, 2, 0)
    n_fits = len(whole_ledger.records())
    fit_fold = fits.fit_fold
    for after in (7, n_fits - 1):
        ledger = Ledger(StoreRoot(str(tmp_path / f"killed{after}")), "run1")
        done = []

        def fit(*given, done=done, after=after):
            if len(done) == after:
                raise Killed
            done.append(None)
            return fit_fold(*given)

        with monkeypatch.context() as patched:
            patched.setattr(fits, "fit_fold", fit)
            with pytest.raises(Killed):
                whole_search(plan, rows, ledger, 2, 3)
        kept = len(ledger.records())
        assert kept <= after
        assert whole_search(plan, rows, ledger, 1, 4) == whole
        assert ledger.records().keys() == whole_ledger.records().keys()

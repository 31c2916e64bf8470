"""Both layers of the search on a cluster."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import ray

from hybrid_ray.errors import RunFailedError
from hybrid_ray.on_ray.matrices import Folded
from hybrid_ray.on_ray.search import CandidateSearch, EnsembleSearch, search_candidates, search_ensembles
from hybrid_ray.plugins import load_plugins
from hybrid_ray.progress import SilentProgress
from hybrid_ray.search.budget import Budget
from hybrid_ray.search.costs import Cost
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.ensembler import TIME_UP
from hybrid_ray.search.plan import MOST_TRIALS, Choice, SearchPlan
from hybrid_ray.search.space import cover
from hybrid_ray.search.tradeoff import Option, first_of_equals
from hybrid_ray.store.chain import read_chain
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

FAMILIES = ("logistic", "naive_bayes", "knn")


def make_rows(n=240, folds=3, seed=0):
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 3, n)
    centres = np.eye(3)[y]
    image = np.hstack([1.5 * centres + draw.normal(size=(n, 3)), draw.normal(size=(n, 2))])
    text = centres + draw.normal(size=(n, 3))
    return FoldedData(
        task="multiclass",
        n_outputs=3,
        y=y.astype(np.int64),
        bounds=np.linspace(0, n, folds + 1).astype(np.int64),
        forward=False,
        frozen={name: Block(v.astype(np.float32), np.ones(n, bool)) for name, v in (("image", image), ("text", text))},
        trained={},
        digests={"image": f"image-{seed}", "text": f"text-{seed}"},
    )


def make_plan(**changes):
    load_plugins()
    plan = SearchPlan(
        task="multiclass",
        n_outputs=3,
        metric="log_loss",
        blocks=("image", "text"),
        modalities={"image": "image", "text": "text"},
        estimators=tuple(Choice(name, name) for name in FAMILIES),
        fusions=(Choice("concat", "concat"),),
        combiners=(Choice("linear_pool", "linear_pool"), Choice("stacking", "stacking")),
        trials=20,
        batch=5,
        ensemble_trials=8,
    )
    return replace(plan, **changes)


def put(rows):
    n_bytes = sum(block.values.nbytes for block in rows.frozen.values())
    return Folded(ray.put(rows), rows.dims(), n_bytes, "digest")


def run(cluster, plan, root, *, run_id="run1", rows=None):
    return search_candidates(cluster, plan, put(rows or make_rows()), root, run_id, SilentProgress())


def outline(found):
    return [(t.number, t.candidate.key, t.score, t.scores, t.pruned, t.failed, t.repeats) for t in found.trials]


def combined(ensemble):
    tried = [(t.number, t.recipe, t.score) for t in ensemble.tried]
    return tried, ensemble.weights, ensemble.score


@pytest.fixture(scope="module", autouse=True)
def several_lanes():
    """Two workers at a time, however little there is to do."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LANE_VALUES", "LANE_BYTES"):
            patch.setattr(f"hybrid_ray.on_ray.search.{name}", 1)
        yield


@pytest.fixture
def root(tmp_path):
    return StoreRoot(str(tmp_path / "store"))


@dataclass(frozen=True)
class Searched:
    """A finished search that several tests look at."""

    plan: SearchPlan
    folded: Folded
    rows: FoldedData
    root: StoreRoot
    found: CandidateSearch
    ensemble: EnsembleSearch


def search_both(cluster, plan, folded, root):
    found = search_candidates(cluster, plan, folded, root, "run1", SilentProgress())
    return found, search_ensembles(cluster, plan, folded, found, root, "run1", SilentProgress())


@pytest.fixture(scope="module")
def searched(cluster, several_lanes, tmp_path_factory):
    plan, rows = make_plan(keep_chains=0.0, max_concurrent=2), make_rows()
    root = StoreRoot(str(tmp_path_factory.mktemp("searched")))
    folded = put(rows)
    return Searched(plan, folded, rows, root, *search_both(cluster, plan, folded, root))


def test_any_number_of_workers_gives_the_same_search(cluster, searched, root):
    found, ensemble = search_both(cluster, replace(searched.plan, max_concurrent=1), searched.folded, root)
    assert outline(found) == outline(searched.found)
    assert len(found.trials) == 20
    assert [c.key for c in found.ranked()] == [c.key for c in searched.found.ranked()]
    assert combined(ensemble) == combined(searched.ensemble)


def test_every_trial_has_its_records_and_the_report_its_comparisons(searched):
    found = searched.found
    kept = set(Ledger(searched.root, "run1").records())
    assert kept == {key for trial in found.trials for key in trial.keys}
    assert (found.resumed, found.started) == (0, len(kept))
    assert {c.blocks for c in found.ranked()} >= set(cover(searched.plan))
    assert any(trial.pruned for trial in found.trials)
    assert all(len(trial.keys) == 3 for trial in found.ranked_trials())


def test_a_search_that_is_asked_for_again_costs_no_fit(cluster, searched):
    again = search_candidates(cluster, searched.plan, searched.folded, searched.root, "run1", SilentProgress())
    assert outline(again) == outline(searched.found)
    assert (again.resumed, again.started) == (searched.found.started, 0)
    assert again.chains == searched.found.chains


def test_chains_are_kept_for_a_graph_that_bags_them(searched):
    best = searched.found.ranked_trials()[0]
    ledger = Ledger(searched.root, "run1")
    for fold, (prefix, key) in enumerate(zip(searched.found.chains[best.candidate.key], best.keys, strict=True)):
        held = {name: searched.rows.frozen[name].take(searched.rows.held_out(fold)) for name in best.candidate.blocks}
        np.testing.assert_allclose(read_chain(searched.root, prefix).predict(held), ledger.oof(key), rtol=1e-12)


def test_the_ensemble_has_fitted_weights_over_complete_candidates(searched):
    ensemble = searched.ensemble
    assert {c.key for c in ensemble.members.values()} <= {c.key for c in searched.found.ranked()}
    assert set(ensemble.weights) == set(ensemble.members)
    assert ensemble.trials == 8
    # Members are chosen without the rows that they are scored on, so the yardstick is the procedure "the best alone",
    # not the score of the candidate that looks best on all of them. It takes the place of what comes before it in the
    # portfolio where it is told apart from that.
    [alone] = [t for t in ensemble.tried if (t.recipe.strategy, t.recipe.n_members) == ("best", 1)][:1]
    [taken] = [t for t in ensemble.tried if t.recipe == ensemble.recipe][:1]
    gaps = np.array(taken.scores) - np.array(alone.scores)
    assert gaps.mean() <= gaps.std(ddof=1) / np.sqrt(len(gaps))
    losses = [Option(t.recipe, tuple(-s for s in t.scores), Cost()) for t in ensemble.tried if not t.error]
    assert first_of_equals(losses)[0].choice == ensemble.recipe
    outputs = {name: np.full((4, 3), 1 / 3) for name in ensemble.members}
    np.testing.assert_allclose(ensemble.fusion.combine(outputs).sum(axis=1), 1.0)


def test_a_longer_search_begins_with_the_shorter_one(cluster, root):
    first = run(cluster, make_plan(trials=10), root)
    longer = run(cluster, make_plan(trials=15), root)
    assert outline(longer)[:10] == outline(first)
    assert longer.resumed == first.started
    assert longer.started > 0


def test_failed_fits_are_recorded_counted_and_never_win(cluster, root):
    broken = Choice("knn", "knn", {"n_neighbors": -1})
    found = run(cluster, make_plan(estimators=(Choice("logistic", "logistic"), broken), trials=10), root)
    failed = [trial for trial in found.trials if trial.failed]
    assert failed
    assert all(trial.candidate.estimator == "knn" for trial in failed)
    assert all("n_neighbors" in trial.error and trial.score == 1e30 for trial in failed)
    assert {c.estimator for c in found.ranked()} == {"logistic"}


def test_a_search_in_which_nothing_can_be_fitted_says_why(cluster, root):
    broken = (Choice("knn", "knn", {"n_neighbors": -1}),)
    with pytest.raises(RunFailedError, match=r"all 3 failed: fold 0: ValidationError.*n_neighbors"):
        run(cluster, make_plan(estimators=broken, trials=3), root)


def test_without_determinism_all_trials_are_done_all_the_same(cluster, root):
    found = run(cluster, make_plan(deterministic=False, trials=12), root)
    assert [trial.number for trial in found.trials] == list(range(12))
    assert found.ranked()


def test_a_time_limit_ends_the_search_and_its_record_replays_it(cluster, root):
    now = time.time()
    budget = Budget(search_until=now + 8.0, began=now)
    plan = make_plan(trials=MOST_TRIALS, batch=8)
    cut = search_candidates(cluster, plan, put(make_rows()), root, "cut", SilentProgress(), budget)
    assert cut.trials[0].complete
    again = replace(plan, trials=len(cut.trials), cut=tuple(t.number for t in cut.trials if t.cut))
    replayed = run(cluster, again, root, run_id="cut")
    assert replayed.started == 0
    assert replayed.ranked_trials() == [replace(t, resumed=t.folds_done) for t in cut.ranked_trials()]


@pytest.mark.slow
def test_a_fit_that_does_not_end_in_time_holds_neither_the_search_nor_a_cpu(cluster, root, all_free):
    endless = Choice("random_forest", "random_forest", {"n_estimators": 4000})
    plan = make_plan(estimators=(Choice("naive_bayes", "naive_bayes"), endless), trials=MOST_TRIALS)
    now = time.time()
    found = search_candidates(
        cluster, plan, put(make_rows(n=9000)), root, "cut", SilentProgress(), Budget(search_until=now + 25.0, began=now)
    )
    cut = [trial.candidate.estimator for trial in found.trials if trial.cut]
    assert "random_forest" in cut
    assert {trial.candidate.estimator for trial in found.ranked_trials()} == {"naive_bayes"}
    assert all_free()


@pytest.mark.slow
def test_ensembles_that_train_learners_are_cut_and_the_answer_is_whole(cluster, root):
    layered = Choice("layered_stacking", "layered_stacking", {"folds": 20})
    plan = make_plan(combiners=(layered, Choice("linear_pool", "linear_pool")), trials=4, batch=32, ensemble_trials=32)
    folded = put(make_rows(n=3000))
    found = search_candidates(cluster, plan, folded, root, "cut", SilentProgress())
    now = time.time()
    budget = Budget(search_until=now + 10.0, began=now)
    ensemble = search_ensembles(cluster, plan, folded, found, root, "cut", SilentProgress(), budget)
    cut = [trial for trial in ensemble.tried if trial.error == TIME_UP]
    done = [trial for trial in ensemble.tried if not trial.error]
    assert "layered_stacking" in {trial.recipe.combiner for trial in cut}
    assert "linear_pool" in {trial.recipe.combiner for trial in done}
    assert ensemble.recipe in [trial.recipe for trial in done]
    assert set(ensemble.weights) == set(ensemble.members)
    outputs = {name: np.full((4, 3), 1 / 3) for name in ensemble.members}
    np.testing.assert_allclose(ensemble.fusion.combine(outputs).sum(axis=1), 1.0)


def test_nothing_of_a_search_stays_in_the_object_store(cluster, root):
    """Tune's records must not hold references to the rows: what is pickled there would be kept for ever."""
    from ray._private.internal_api import memory_summary

    rows = make_rows(n=20_000)
    folded = put(rows)
    plan = make_plan(trials=5)
    search_both(cluster, plan, folded, root)
    name = folded.ref.hex()
    assert name in memory_summary(cluster.address)
    del folded
    deadline = time.monotonic() + 20
    while name in memory_summary(cluster.address) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert name not in memory_summary(cluster.address)


DRIVER = """
import sys
sys.path.insert(0, {folder!r})
import test_search as this
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.store.root import StoreRoot
with connect("local", num_cpus=2) as cluster:
    this.run(cluster, this.slow_plan(), StoreRoot({store!r}))
"""


def slow_plan():
    """Fits that take long enough to be killed between two of them."""
    trees = Choice("random_forest", "random_forest", {"n_estimators": 120})
    return make_plan(estimators=(trees, Choice("logistic", "logistic")), trials=10, batch=5)


def finished_fits(root):
    return {path: root.read(path) for path in root.list("runs/run1/fits")}


@pytest.mark.slow
def test_a_killed_search_goes_on_without_doing_a_finished_fit_again(cluster, tmp_path):
    killed = StoreRoot(str(tmp_path / "killed"))
    code = DRIVER.format(folder=str(Path(__file__).parent), store=killed.uri)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 240
    while len(finished_fits(killed)) < 6 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    time.sleep(3)

    whole = run(cluster, slow_plan(), StoreRoot(str(tmp_path / "whole")))
    before = finished_fits(killed)
    assert 6 <= len(before) < whole.started
    resumed = run(cluster, slow_plan(), killed)
    assert resumed.resumed == len(before)
    assert resumed.started == whole.started - len(before)
    assert outline(resumed) == outline(whole)
    after = finished_fits(killed)
    assert {path: after[path] for path in before} == before

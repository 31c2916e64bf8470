"""A search without labels: folds are scored by what held-out rows say, and one candidate is the answer."""

from dataclasses import replace

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.evaluation.clusters import WIDTH, Evidence
from hybrid_ray.evaluation.metrics import METRICS
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.graph import Chain, Graph, Member, fit_chain
from hybrid_ray.search.ensemble import finish_ensemble
from hybrid_ray.search.ensembler import Ensembler
from hybrid_ray.search.fits import Evaluator, FitFailedError, Setting, fit_fold
from hybrid_ray.search.judging import judged
from hybrid_ray.search.oof import build_library
from hybrid_ray.search.plan import Choice
from hybrid_ray.search.recipes import Recipe
from hybrid_ray.search.trials import CandidateBook
from hybrid_ray.store.artifact import load_graph, save_graph
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import TOY_COLUMNS, ToyTable, toy_batch, toy_rows

FREE = (None, None, None)


def kmeans(n_clusters, blocks=("image",)):
    return Candidate(blocks, "concat", "kmeans", params={"n_clusters": n_clusters, "n_init": 2})


@pytest.fixture
def folded(make_folded):
    """Three clusters that ``image`` tells apart; the labels are not there."""
    rows = make_folded(signal=8.0)
    return replace(rows, task="clustering", n_outputs=WIDTH, y=np.zeros(len(rows.y), np.int64))


@pytest.fixture
def plan(make_plan):
    return make_plan(
        task="clustering",
        n_outputs=WIDTH,
        metric="stable_silhouette",
        estimators=(Choice("kmeans", "kmeans"),),
        combiners=(Choice("linear_pool", "linear_pool"),),
        max_members=1,
        ensemble_trials=1,
    )


def test_a_fold_is_judged_by_its_held_out_rows(folded, plan):
    done = fit_fold(kmeans(3), folded, 1, Setting.of(plan, folded))
    assert done.outputs.shape == (60, WIDTH)
    held = folded.frozen["image"].take(folded.held_out(1))
    known = Evidence.of(done.outputs)
    np.testing.assert_array_equal(known.cluster, done.chain.predict({"image": held}).argmax(axis=1))
    assert done.score == METRICS["stable_silhouette"].score(np.zeros(60), done.outputs)
    assert done.chain.codes == (0, 1, 2)


def test_the_right_number_of_clusters_wins_and_is_the_answer_alone(folded, plan, ledger):
    evaluate = Evaluator(plan, folded, ledger)
    book = CandidateBook(plan, evaluate.setting, ledger.records())
    for number, candidate in enumerate([kmeans(2), kmeans(3), kmeans(7)]):
        book.begin(number, {"candidate": candidate.to_json()})
        book.finish(number, vars(evaluate(candidate, FREE)))
    ranked = book.answer(0.0).ranked_trials()
    assert ranked[0].candidate == kmeans(3)
    ensembler = Ensembler(build_library(ranked, folded, plan.scorer, ledger), plan.seed)
    found = finish_ensemble([ensembler.try_recipe(0, Recipe("best", 1, "linear_pool"))], ensembler)
    assert list(found.members.values()) == [kmeans(3)]
    assert list(found.weights.values()) == [1.0]
    assert found.score == pytest.approx(ranked[0].score)
    assert found.suspects is None


def test_a_fit_is_found_in_the_ledger(folded, plan, ledger):
    first = Evaluator(plan, folded, ledger)(kmeans(3), FREE)
    assert Evaluator(plan, folded, ledger)(kmeans(3), FREE) == replace(first, found=3)


def test_a_fusion_that_needs_labels_is_refused(folded, plan):
    candidate = replace(kmeans(3, ("image", "text")), fusion="gated")
    with pytest.raises(FitFailedError, match="a fusion network needs labels"):
        fit_fold(candidate, folded, 0, Setting.of(plan, folded))


def test_one_cluster_is_no_answer(folded, plan):
    with pytest.raises(FitFailedError, match="stable_silhouette must be a finite number; got nan"):
        fit_fold(kmeans(1), folded, 0, Setting.of(plan, folded))


def test_the_second_fit_sees_the_judged_rows_only(folded, plan):
    chain = fit_fold(kmeans(3), folded, 0, Setting.of(plan, folded)).chain
    member = Member("", kmeans(3), [chain])
    rows = folded.frozen["image"].take(slice(0, 60))
    whole = judged(member, [{"image": rows}], "clustering", 0)
    parts = [{"image": rows.take(slice(0, 20))}, {"image": rows.take(slice(20, 60))}]
    np.testing.assert_array_equal(judged(member, parts, "clustering", 0), whole)
    both = judged(member, parts, "clustering", 0, chance=True)
    np.testing.assert_array_equal(both[:, :WIDTH], whole)
    assert METRICS["stability"].score(np.zeros(60), both[:, WIDTH:]) < 0.1


def test_other_tasks_are_judged_by_predictions(make_folded, make_plan):
    rows = make_folded()
    candidate = Candidate(("image",), "concat", "naive_bayes")
    chain = fit_fold(candidate, rows, 0, Setting.of(make_plan(), rows)).chain
    held = {"image": rows.frozen["image"].take(rows.held_out(0))}
    np.testing.assert_array_equal(judged(Member("", candidate, [chain]), [held], "multiclass", 0), chain.predict(held))


def clustered_graph(n=90):
    """A graph of clusters over the numeric toy columns."""
    rows = toy_batch(list(toy_rows(n, missing=0.0)))
    columns = {name: kind for name, kind in TOY_COLUMNS.items() if kind in ("numeric", "categorical", "date")}
    extractor = ToyTable(ToyTable.Params(), columns)
    block = extractor.transform(rows)
    candidate = kmeans(3, ("table",))
    chain: Chain = fit_chain(
        candidate, {"table": block}, np.zeros(n, np.int64), task="clustering", n_outputs=WIDTH, seed=0
    )
    member = Member("kmeans", candidate, [chain])
    outputs = {"kmeans": member.predict({"table": block})}
    decision = LinearPool(LinearPoolParams()).fit(outputs, np.zeros(n), "clustering")
    return Graph("toy", "clustering", "", columns, [0, 1, 2], {"table": extractor}, [member], decision), rows


def test_a_graph_answers_clusters_and_memberships_and_is_saved(tmp_path):
    graph, rows = clustered_graph()
    graph.setup()
    batch = {name: rows[name] for name in graph.columns}
    outputs = graph.outputs(batch)
    assert outputs.shape == (90, 3)
    np.testing.assert_allclose(outputs.sum(axis=1), 1.0)
    answer = graph.answer(outputs)
    assert set(answer) == {"prediction", "proba_0", "proba_1", "proba_2"}
    assert set(answer["prediction"]) == {0, 1, 2}
    root = StoreRoot(str(tmp_path))
    save_graph(root, "model", graph, None)
    loaded = load_graph(root, "model")
    loaded.setup()
    np.testing.assert_array_equal(loaded.outputs(batch), outputs)
    one = {name: values[:1] for name, values in batch.items()}
    np.testing.assert_allclose(loaded.outputs(one), outputs[:1], atol=1e-9)

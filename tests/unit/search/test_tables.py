"""One table encoded in several ways, steps in front: from the fits of each fold to a saved graph, with no cluster."""

import numpy as np
import optuna
import pyarrow as pa
import pytest

from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.graph import Graph, Member
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.fits import Evaluator
from hybrid_ray.search.plan import Choice
from hybrid_ray.search.space import portfolio, propose
from hybrid_ray.store.artifact import load_graph, make_golden, save_graph
from hybrid_ray.store.chain import read_chain
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

KINDS = {"shop": "categorical", "size": "numeric"}
WAYS = {
    "ranks": ("tabular", {"scale": "quantile", "encode": "ordinal", "impute": "knn"}),
    "tabular": ("tabular", {"min_count": 2}),
    "tabular_target": ("tabular_target", {}),
}
N, FOLDS = 240, 3


def table(seed=0):
    rng = np.random.default_rng(seed)
    shop = rng.integers(0, 40, N)
    y = ((shop % 4 == 0) ^ (rng.random(N) < 0.05)).astype(np.int64)
    size = rng.lognormal(y, 1.0)
    size[::9] = np.nan
    return {"shop": np.array([f"s{s}" for s in shop], object), "size": size}, y


@pytest.fixture(scope="module")
def trained():
    """Copies of each extractor by key, and the training rows of a search."""
    batch, y = table()
    bounds = np.linspace(0, N, FOLDS + 1).astype(np.int64)
    copies, blocks = {}, {name: [] for name in WAYS}
    for name, (plugin, params) in WAYS.items():
        for fold in range(FOLDS):
            extractor = build_extractor(plugin, params, KINDS)
            prepared = extractor.prepare(batch)
            rows = np.setdiff1d(np.arange(N), np.arange(bounds[fold], bounds[fold + 1]))
            context = FitContext("binary", 2, seed=fold)
            extractor.fit(prepared.take(rows), y[rows], context)
            block = extractor.block(prepared)
            own = extractor.cross_fitted(prepared.take(rows), y[rows], context)
            if own is not None:
                block.values[rows] = own.values
            copies[f"{name}@{fold}"] = extractor
            blocks[name].append(Block(block.values, block.present))
    folded = FoldedData(
        task="binary",
        n_outputs=2,
        y=y,
        bounds=bounds,
        forward=False,
        frozen={},
        trained={name: tuple(own) for name, own in blocks.items()},
        digests={name: name for name in WAYS},
    )
    return copies, folded


@pytest.fixture
def plan(make_plan):
    return make_plan(
        task="binary",
        n_outputs=2,
        blocks=tuple(WAYS),
        modalities=dict.fromkeys(WAYS, "tabular"),
        estimators=(Choice("logistic", "logistic", {"C": 10.0}, search=False),),
        preparations=(Choice("clip", "clip", {"blocks": ["tabular"]}, always=True), Choice("smote", "smote")),
        keep_chains=0.0,
    )


def test_the_search_picks_among_them_and_the_graph_answers_as_its_chains_did(trained, plan, ledger, tmp_path):
    copies, folded = trained
    dims = folded.dims()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for point in portfolio(plan, dims):
        study.enqueue_trial(point)
    candidates = [propose(study.ask(), plan, dims) for _ in range(len(portfolio(plan, dims)) + 2)]
    assert {(name,) for name in WAYS} <= {candidate.blocks for candidate in candidates}
    assert {tuple(step["name"] for step in c.steps) for c in candidates} == {("clip",), ("clip", "smote")}
    evaluate = Evaluator(plan, folded, ledger)
    tried = [(candidate, evaluate(candidate, (None,) * FOLDS)) for candidate in candidates]
    assert not any(outcome.error for _, outcome in tried)
    chosen = {
        "best": min(tried, key=lambda pair: np.mean(pair[1].scores)),
        "prepared": next(pair for pair in tried if len(pair[0].steps) == 2),
    }
    members = [
        Member(name, candidate, [read_chain(ledger.root, prefix) for prefix in outcome.chains])
        for name, (candidate, outcome) in chosen.items()
    ]
    oof = {name: np.concatenate([ledger.oof(key) for key in outcome.keys]) for name, (_, outcome) in chosen.items()}
    decision = LinearPool(LinearPoolParams()).fit(oof, folded.y, "binary")
    graph = Graph("shops", "binary", "sells", dict(KINDS), [0, 1], copies, members, decision)
    fresh, truth = table(seed=1)
    rows = pa.table({"shop": pa.array(fresh["shop"], pa.string()), "size": fresh["size"]})
    save_graph(StoreRoot(str(tmp_path / "graph")), "", graph, make_golden(graph, rows.slice(0, 8)))
    loaded = load_graph(tmp_path / "graph")
    assert loaded.info["golden_check"] == "passed"
    np.testing.assert_array_equal(loaded.outputs(fresh), graph.outputs(fresh))
    assert [m.candidate for m in loaded.members] == [m.candidate for m in members]
    assert (graph.outputs(fresh).argmax(axis=1) == truth).mean() > 0.85


def test_labels_of_a_fold_reach_no_encoding_that_it_is_scored_with(trained):
    """Cross-fitted means: with other labels of the held-out rows every copy of that fold is the same."""
    copies, folded = trained
    batch, y = table()
    held = folded.held_out(1)
    y[held] = 1 - y[held]
    rows = np.setdiff1d(np.arange(N), np.arange(held.start, held.stop))
    for name, (plugin, params) in WAYS.items():
        extractor = build_extractor(plugin, params, KINDS)
        prepared = extractor.prepare(batch)
        extractor.fit(prepared.take(rows), y[rows], FitContext("binary", 2, seed=1))
        np.testing.assert_array_equal(extractor.block(prepared).values, copies[f"{name}@1"].block(prepared).values)

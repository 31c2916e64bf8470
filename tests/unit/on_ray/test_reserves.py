"""Reserves as Ray's tasks make them, run in this process: from an ensemble to the parts of a graph."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.graph import Member, fit_chain
from hybrid_ray.on_ray import reserves, saving
from hybrid_ray.on_ray.saving import HeldBack
from hybrid_ray.plugins import load_plugins
from hybrid_ray.progress import SilentProgress
from hybrid_ray.search.costs import Cost, Prices
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.plan import Choice, SearchPlan
from hybrid_ray.search.reserves import find_gaps
from hybrid_ray.search.tradeoff import Wish
from hybrid_ray.store.chain import read_chain
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

BOTH = Candidate(("img", "txt"), "concat", "naive_bayes")
READ = {"img": "image", "txt": "text"}


class Here:
    """A task of Ray that is done in this process."""

    def __init__(self, task: Any) -> None:
        self.remote = task._function

    def options(self, **asked: Any) -> Here:
        """The same: there is one CPU."""
        return self


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    load_plugins()
    monkeypatch.setattr(reserves, "ray", SimpleNamespace(get=lambda ref: ref))
    for name in ("_lacked", "cross_fit", "_make_reserves"):
        monkeypatch.setattr(reserves, name, Here(getattr(reserves, name)))


def block(n: int, present: np.ndarray | None = None, seed: int = 0) -> Block:
    y = np.arange(n) % 2
    values = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32) + y[:, None].astype(np.float32)
    return Block(values, np.ones(n, bool) if present is None else present)


def folded(images: np.ndarray | None = None) -> FoldedData:
    """Photos that are frozen, and texts that each of two folds has features of its own for."""
    return FoldedData(
        task="binary",
        n_outputs=2,
        y=np.arange(60) % 2,
        bounds=np.array([0, 30, 60]),
        forward=False,
        frozen={"img": block(60, images)},
        trained={"txt": (block(60, seed=1), block(60, seed=2))},
        digests={"img": "i", "txt": "t"},
    )


def plan_of(**changes: Any) -> SearchPlan:
    families = (Choice("naive_bayes", "naive_bayes"),)
    concat, pool = (Choice("concat", "concat"),), (Choice("linear_pool", "linear_pool"),)
    return SearchPlan("binary", 2, "log_loss", ("img", "txt"), READ, families, concat, pool, **changes)


def search(plan: SearchPlan, rows: FoldedData, root: StoreRoot) -> tuple[list[reserves.Reserved], str]:
    candidates: Any = SimpleNamespace(ranked_trials=list)
    ensemble: Any = SimpleNamespace(members={"m": BOTH})
    where: Any = SimpleNamespace(ref=rows)
    return reserves.search_reserves(plan, where, candidates, ensemble, root, "run1", SilentProgress(), 1)


@pytest.mark.usefixtures("here")
def test_each_modality_that_may_lack_has_a_reserve_whose_fits_are_done_once(tmp_path: Path) -> None:
    root, plan = StoreRoot(str(tmp_path)), plan_of(keep_chains=0.0)
    found, note = search(plan, folded(), root)
    assert note == ""
    assert [(r.gap.name, [c.blocks for c in r.ensemble.members.values()]) for r in found] == [
        ("without:image", [("txt",)]),
        ("without:text", [("img",)]),
    ]
    [stand_in] = found[0].ensemble.members.values()
    chains = [read_chain(root, prefix) for prefix in found[0].chains[stand_in.key]]
    assert [chain.inputs for chain in chains] == [{"txt": "txt@0"}, {"txt": "txt@1"}]
    records = Ledger(root, "run1").records()
    assert len(records) == 4
    again, _ = search(plan, folded(), root)
    assert Ledger(root, "run1").records() == records
    assert [r.ensemble.score for r in again] == [r.ensemble.score for r in found]


@pytest.mark.usefixtures("here")
def test_one_that_the_graph_has_no_room_for_is_left_out_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def priced(plan: SearchPlan, where: Any, trials: Any, extractors: Any) -> Prices:
        sizes = {BOTH.key: Cost(size_mb=1.0)} | {trial.candidate.key: Cost(size_mb=1.0) for trial in trials}
        assert all(trial.cost["size_mb"] > 0 for trial in trials)
        return Prices(sizes, extractors, 2)

    monkeypatch.setattr(reserves, "prices_of", priced)
    plan = plan_of(wish=Wish(("metric", "size"), max_size_mb=4.0))
    found, note = search(plan, folded(), StoreRoot(str(tmp_path)))
    assert [r.gap.name for r in found] == ["without:image"]
    assert note == "Rows that lack text: no reserve, it would not fit search.max_size_mb."


@pytest.mark.usefixtures("here")
def test_what_training_rows_lacked_too_has_none(tmp_path: Path) -> None:
    found, _ = search(plan_of(), folded(np.arange(60) % 5 > 0), StoreRoot(str(tmp_path)))
    assert [(r.gap.name, r.gap.lacks, r.gap.needs) for r in found] == [("without:text", ("txt",), ())]


def test_a_graph_holds_them_by_the_keys_of_its_extractors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "ray", SimpleNamespace(get=lambda ref: ref()))
    load_plugins()
    rows, y = {"img": block(60), "txt": block(60, seed=1)}, np.arange(60) % 2

    def member(candidate: Candidate, keys: dict[str, str]) -> Any:
        chain = fit_chain(candidate, rows, y, task="binary", n_outputs=2, seed=0, keys=keys)
        return lambda: Member("key", candidate, [chain])

    words = member(Candidate(("txt",), "concat", "naive_bayes"), {"txt": "txt@0"})
    members = {"whole": member(BOTH, {"txt": "txt@0"}), "words": words}
    decision = LinearPool(LinearPoolParams(solver="uniform")).fit(dict.fromkeys(members, np.eye(2)), y[:2], "binary")
    gap, _ = find_gaps(READ, READ)
    held = [HeldBack(gap, {"alone": words}, decision)]
    columns = SimpleNamespace(columns={"photo": "image", "title": "text"}, label="y")
    spec: Any = SimpleNamespace(task="binary", name="m", data=columns)
    copies = {
        f"txt@{fold}": SimpleNamespace(restore=lambda state: SimpleNamespace(columns={"title": "text"}))
        for fold in (0, 1)
    }
    image = SimpleNamespace(columns={"photo": "image"}, get_state=lambda: None)
    image.with_state = lambda state: image
    made: Any = saving._graph
    graph = made(spec, [0, 1], {"img": image}, copies, dict.fromkeys(copies, lambda: None), members, decision, held, {})
    [reserve] = graph.reserves
    assert (reserve.name, reserve.lacks, reserve.needs) == ("without:image", ("img",), ("txt@0",))
    assert [member.name for member in reserve.members] == ["alone"]
    assert reserve.members[0].chains[0] is graph.members[1].chains[0]
    assert (
        reserve.answers({"img": Block(rows["img"].values, y == 1), "txt@0": rows["txt"]}).tolist() == (y == 0).tolist()
    )

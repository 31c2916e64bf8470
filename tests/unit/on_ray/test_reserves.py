"""Chains that answer rows which lack a modality: for which candidates, and on which rows they are fitted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.on_ray import compose
from hybrid_ray.on_ray.compose import Fitting, needed_reserves, reserves_of
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.data import FoldedData
from hybrid_ray.types import Block

READ = {"img": "image", "txt": "text", "words": "text", "tab": "tabular", "row": "tabular+text"}
BOTH = Candidate(("img", "txt"), "concat", "naive_bayes")
FITTING = Fitting(seed=0, threads=1, transform="none", cpus=1)


def subsets(*blocks: str) -> list[tuple[str, ...]]:
    return [reserve.blocks for reserve in reserves_of(Candidate(blocks, "concat", "logistic"), READ)]


def test_each_modality_is_left_out_with_all_that_reads_it() -> None:
    assert subsets("img", "txt", "words", "tab") == [("tab", "txt", "words"), ("img", "txt", "words"), ("img", "tab")]
    assert subsets("img", "row", "tab") == [("row", "tab"), ("img",), ("img", "tab")]
    assert subsets("img") == subsets("txt", "words") == subsets("row") == []


def block(n: int, present: np.ndarray | None = None, seed: int = 0) -> Block:
    values = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
    return Block(values, np.ones(n, bool) if present is None else present)


def test_what_many_training_rows_lacked_needs_no_reserve() -> None:
    often = np.arange(60) % 5 > 0
    reserves = reserves_of(BOTH, READ)
    assert [r.blocks for r in reserves] == [("txt",), ("img",)]
    assert needed_reserves(BOTH, reserves, {"img": block(60), "txt": block(60)}) == reserves
    assert needed_reserves(BOTH, reserves, {"img": block(60, often), "txt": block(60)}) == [
        r for r in reserves if r.blocks == ("img",)
    ]


@pytest.fixture
def folded() -> FoldedData:
    load_plugins()
    return FoldedData(
        task="binary",
        n_outputs=2,
        y=np.arange(60) % 2,
        bounds=np.array([0, 30, 60]),
        forward=False,
        frozen={"img": block(60)},
        trained={"txt": (block(60, seed=1), block(60, seed=2))},
        digests={"img": "i", "txt": "t"},
    )


def test_a_refitted_member_has_a_chain_for_each_modality_that_may_be_missing(
    folded: FoldedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "ray", SimpleNamespace(get=lambda ref: ref))
    refit: Any = compose._refit._function  # the task's own body, in this process
    test = {"img": block(5), "txt": block(5, seed=3)}
    final = {"txt": folded.trained["txt"][0]}
    member, outputs = refit("m", BOTH, reserves_of(BOTH, READ), folded, FITTING, final, test)
    assert [set(chain.inputs) for chain in member.chains] == [{"img", "txt"}, {"txt"}, {"img"}]
    assert outputs.shape == (5, 2)
    plain, expected = refit("m", BOTH, (), folded, FITTING, final, test)
    assert len(plain.chains) == 1
    np.testing.assert_array_equal(outputs, expected)


def test_a_bagged_member_has_them_for_each_fold(folded: FoldedData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "ray", SimpleNamespace(get=lambda ref: ref))
    kept = {}
    for fold in folded.folds:
        rows, y, _, _ = folded.fold(BOTH.blocks, fold)
        kept[str(fold)] = compose._fit(BOTH, rows, y, folded, FITTING, {"img": "img", "txt": f"txt@{fold}"})
    monkeypatch.setattr(compose, "read_chain", lambda root, prefix: kept[prefix])
    bag: Any = compose._bag._function
    test = {"img": block(5), "txt@0": block(5, seed=3), "txt@1": block(5, seed=4)}
    member, _ = bag("m", BOTH, reserves_of(BOTH, READ), folded, FITTING, None, ["0", "1"], test)
    assert [chain.inputs for chain in member.chains[2:]] == [
        {"txt": "txt@0"},
        {"img": "img"},
        {"txt": "txt@1"},
        {"img": "img"},
    ]

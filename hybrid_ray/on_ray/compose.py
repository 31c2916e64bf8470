"""From the search's answer to the composed graph: refit or bag, and predict the test rows once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray

from hybrid_ray.candidate import Candidate
from hybrid_ray.graph import Chain, Member, TargetTransform, fit_chain
from hybrid_ray.on_ray.train import FoldFit
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.judging import judged
from hybrid_ray.store.chain import read_chain
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import AnyArray, Block, Task


@dataclass(frozen=True)
class Material:
    """What chains are made of; every ref lies in the object store.

    Attributes
    ----------
    folded : ObjectRef of FoldedData
    copies : mapping of str to (mapping of str to FoldFit)
        Extractor id to its fitted copies by extractor key (``cnn@0``; ``tabular`` for the fit on all training rows).
    test : sequence of mapping of str to ObjectRef of Block
        Features of the test rows, by extractor key: all of them, or one part of the rows after the other.
    """

    folded: Any
    copies: Mapping[str, Mapping[str, FoldFit]]
    test: Sequence[Mapping[str, Any]]

    def test_of(self, blocks: Collection[str]) -> list[dict[str, Any]]:
        """The same of some extractor keys only."""
        return [{key: part[key] for key in blocks} for part in self.test]


@dataclass(frozen=True)
class Fitting:
    """How chains are fitted.

    Attributes
    ----------
    seed : int
    threads : int
    transform : {"none", "log"}
    cpus : float
        CPUs of one task.
    """

    seed: int
    threads: int
    transform: TargetTransform
    cpus: float


@ray.remote(num_returns=2)
def _refit(
    name: str,
    candidate: Candidate,
    folded: FoldedData,
    fitting: Fitting,
    final: dict[str, Any],
    test: Sequence[Mapping[str, Any]],
) -> tuple[Member, AnyArray]:
    given = folded.given
    blocks: dict[str, Block] = {b: folded.frozen[b].take(given) for b in candidate.blocks if b in folded.frozen}
    blocks |= {b: ray.get(final[b]) for b in candidate.blocks if b in final}
    groups = None if folded.groups is None else folded.groups[given]
    member = Member(name, candidate, [_fit(candidate, blocks, folded.y[given], groups, folded, fitting)])
    return member, predict_parts(member, test, folded.task, fitting)


@ray.remote(num_returns=2)
def _bag(
    name: str,
    candidate: Candidate,
    folded: FoldedData,
    fitting: Fitting,
    root: StoreRoot,
    prefixes: Sequence[str],
    test: Sequence[Mapping[str, Any]],
) -> tuple[Member, AnyArray]:
    chains: list[Chain] = []
    for fold, prefix in zip(folded.folds, prefixes, strict=True):
        # A run that goes on after its end finds records of chains that were removed.
        with suppress(FileNotFoundError):
            if prefix:
                chains.append(read_chain(root, prefix))
                continue
        blocks, y, _, _ = folded.fold(candidate.blocks, fold)
        keys = {b: b if b in folded.frozen else f"{b}@{fold}" for b in candidate.blocks}
        chains.append(_fit(candidate, blocks, y, folded.groups_of(fold), folded, fitting, keys))
    member = Member(name, candidate, chains)
    return member, predict_parts(member, test, folded.task, fitting)


@ray.remote(num_returns=2)
def _read(
    name: str,
    candidate: Candidate,
    root: StoreRoot,
    prefix: str,
    task: Task,
    fitting: Fitting,
    test: Sequence[Mapping[str, Any]],
) -> tuple[Member, AnyArray]:
    member = Member(name, candidate, [read_chain(root, prefix)])
    return member, predict_parts(member, test, task, fitting)


def predict_parts(member: Member, test: Sequence[Mapping[str, Any]], task: Task, fitting: Fitting) -> AnyArray:
    """Outputs of a member for parts of rows, one after the other; the features of one part are held at a time."""
    parts = ({key: ray.get(part[key]) for key in member.keys} for part in test)
    return judged(member, parts, task, fitting.seed, fitting.threads, chance=True)


def _fit(
    candidate: Candidate,
    blocks: Mapping[str, Block],
    y: AnyArray,
    groups: AnyArray | None,
    folded: FoldedData,
    fitting: Fitting,
    keys: Mapping[str, str] | None = None,
) -> Chain:
    load_plugins()
    return fit_chain(
        candidate,
        blocks,
        y,
        task=folded.task,
        n_outputs=folded.n_outputs,
        seed=fitting.seed,
        threads=fitting.threads,
        transform=fitting.transform,
        keys=keys,
        groups=groups,
    )


def refit_members(
    candidates: Mapping[str, Candidate], material: Material, fitting: Fitting
) -> dict[str, tuple[Any, Any]]:
    """One chain for each candidate on all training rows: refs of (Member, test outputs), by name."""
    final = {name: next(iter(fits.values())).block for name, fits in material.copies.items()}
    return {
        name: _refit.options(num_cpus=fitting.cpus).remote(
            name,
            candidate,
            material.folded,
            fitting,
            {b: final[b] for b in candidate.blocks if b in final},
            material.test_of(candidate.blocks),
        )
        for name, candidate in candidates.items()
    }


def bag_members(
    candidates: Mapping[str, Candidate],
    chains: Mapping[str, Sequence[str]],
    root: StoreRoot,
    material: Material,
    fitting: Fitting,
) -> dict[str, tuple[Any, Any]]:
    """The fold chains of each candidate: refs of (Member, test outputs), by name.

    Chains that the search kept are read, the others are fitted again: the same fits on the same rows.

    Parameters
    ----------
    candidates : mapping of str to Candidate
    chains : mapping of str to sequence of str
        Prefixes of the fold chains in the store, by candidate key; empty where they were not kept.
    root : StoreRoot
    material : Material
    fitting : Fitting
    """
    return {
        name: _bag.options(num_cpus=fitting.cpus).remote(
            name, candidate, material.folded, fitting, root, list(chains[candidate.key]), material.test
        )
        for name, candidate in candidates.items()
    }


def kept_members(
    candidates: Mapping[str, Candidate],
    prefixes: Mapping[str, str],
    root: StoreRoot,
    task: Task,
    material: Material,
    fitting: Fitting,
) -> dict[str, tuple[Any, Any]]:
    """One chain for each candidate, which lies in the store: refs of (Member, test outputs), by name."""
    return {
        name: _read.options(num_cpus=fitting.cpus).remote(
            name, candidate, root, prefixes[name], task, fitting, material.test
        )
        for name, candidate in candidates.items()
    }

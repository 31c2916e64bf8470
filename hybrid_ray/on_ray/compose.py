"""From the search's answer to the composed graph: refit or bag, and predict the test rows once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import ray

from hybrid_ray.candidate import Candidate
from hybrid_ray.graph import Chain, Member, TargetTransform, fit_chain
from hybrid_ray.on_ray.train import FoldFit
from hybrid_ray.search.data import FoldedData
from hybrid_ray.store.chain import read_chain
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import AnyArray, Block, modalities_in

SELDOM = 0.02
"""Share of training rows that may lack a block for which a reserve is fitted."""


@dataclass(frozen=True)
class Material:
    """What chains are made of; every ref lies in the object store.

    Attributes
    ----------
    folded : ObjectRef of FoldedData
    copies : mapping of str to (mapping of str to FoldFit)
        Extractor id to its fitted copies by extractor key (``cnn@0``; ``tabular`` for the fit on all training rows).
    test : mapping of str to ObjectRef of Block
        Features of the test rows, by extractor key.
    """

    folded: Any
    copies: Mapping[str, Mapping[str, FoldFit]]
    test: Mapping[str, Any]


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
    reserves: Sequence[Candidate],
    folded: FoldedData,
    fitting: Fitting,
    final: dict[str, Any],
    test: dict[str, Any],
) -> tuple[Member, AnyArray]:
    blocks: dict[str, Block] = {b: folded.frozen[b] for b in candidate.blocks if b in folded.frozen}
    blocks |= {b: ray.get(final[b]) for b in candidate.blocks if b in final}
    fitted = [candidate, *needed_reserves(candidate, reserves, blocks)]
    member = Member(name, candidate, [_fit(each, blocks, folded.y, folded, fitting) for each in fitted])
    return member, member.predict({key: ray.get(test[key]) for key in member.chains[0].inputs.values()})


def _fit(
    candidate: Candidate,
    blocks: Mapping[str, Block],
    y: AnyArray,
    folded: FoldedData,
    fitting: Fitting,
    keys: Mapping[str, str] | None = None,
) -> Chain:
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
    )


@ray.remote(num_returns=2)
def _bag(
    name: str,
    candidate: Candidate,
    reserves: Sequence[Candidate],
    folded: FoldedData,
    fitting: Fitting,
    root: StoreRoot,
    prefixes: Sequence[str],
    test: dict[str, Any],
) -> tuple[Member, AnyArray]:
    chains: list[Chain] = [read_chain(root, prefix) for prefix in prefixes if prefix]
    for fold, prefix in zip(folded.folds, prefixes, strict=True):
        if prefix and not reserves:
            continue
        blocks, y, _, _ = folded.fold(candidate.blocks, fold)
        own = {b: b if b in folded.frozen else f"{b}@{fold}" for b in candidate.blocks}
        fitted = [*([] if prefix else [candidate]), *needed_reserves(candidate, reserves, blocks)]
        chains += [_fit(each, blocks, y, folded, fitting, {b: own[b] for b in each.blocks}) for each in fitted]
    member = Member(name, candidate, chains)
    keys = {key for chain in chains for key in chain.inputs.values()}
    return member, member.predict({key: ray.get(test[key]) for key in keys})


def reserves_of(candidate: Candidate, modality_of: Mapping[str, str]) -> list[Candidate]:
    """The candidate without each modality that it reads, where blocks are left: what answers rows that lack it.

    Parameters
    ----------
    candidate : Candidate
    modality_of : mapping of str to str
        Modality of each extractor id; several where inputs were put together before it, see ``types.modality_of``.
    """
    read = {block: modalities_in(modality_of[block]) for block in candidate.blocks}
    subsets = [
        tuple(block for block in candidate.blocks if modality not in read[block])
        for modality in sorted(frozenset[str]().union(*read.values()))
    ]
    return [replace(candidate, blocks=blocks) for blocks in dict.fromkeys(subsets) if blocks]


def needed_reserves(
    candidate: Candidate, reserves: Sequence[Candidate], blocks: Mapping[str, Block]
) -> list[Candidate]:
    """Reserves for blocks that hardly a training row lacked: where many did, the candidate learned what it means."""
    learned = {name for name in candidate.blocks if blocks[name].present.mean() < 1 - SELDOM}
    return [reserve for reserve in reserves if not learned - set(reserve.blocks)]


def refit_members(
    candidates: Mapping[str, Candidate],
    material: Material,
    fitting: Fitting,
    reserves: Mapping[str, Sequence[Candidate]] = MappingProxyType({}),
) -> dict[str, tuple[Any, Any]]:
    """One chain for each candidate, and one for each of its reserves, on all training rows.

    Parameters
    ----------
    candidates : mapping of str to Candidate
    material : Material
    fitting : Fitting
    reserves : mapping of str to sequence of Candidate, optional
        See ``reserves_of``, by the names of ``candidates``.

    Returns
    -------
    dict of str to (ObjectRef of Member, ObjectRef of ndarray)
        The member and its test outputs, by name.
    """
    final = {name: next(iter(fits.values())).block for name, fits in material.copies.items()}
    return {
        name: _refit.options(num_cpus=fitting.cpus).remote(
            name,
            candidate,
            reserves.get(name, ()),
            material.folded,
            fitting,
            {b: final[b] for b in candidate.blocks if b in final},
            {b: material.test[b] for b in candidate.blocks},
        )
        for name, candidate in candidates.items()
    }


def bag_members(
    candidates: Mapping[str, Candidate],
    chains: Mapping[str, Sequence[str]],
    root: StoreRoot,
    material: Material,
    fitting: Fitting,
    reserves: Mapping[str, Sequence[Candidate]] = MappingProxyType({}),
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
    reserves : mapping of str to sequence of Candidate, optional
        See ``reserves_of``, by the names of ``candidates``; fitted on each fold.
    """
    return {
        name: _bag.options(num_cpus=fitting.cpus).remote(
            name,
            candidate,
            reserves.get(name, ()),
            material.folded,
            fitting,
            root,
            list(chains[candidate.key]),
            dict(material.test),
        )
        for name, candidate in candidates.items()
    }

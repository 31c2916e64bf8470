"""Which candidates stand for which level of fusion in the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hybrid_ray.candidate import Candidate
from hybrid_ray.types import modalities_in

_Holds = Callable[[Candidate], bool]

BEST = "best candidate"
DATA_LEVEL = "data-level fusion"
FEATURE_LEVEL = "feature-level fusion"


def level_candidates(ranked: Sequence[Candidate], modality_of: Mapping[str, str]) -> dict[str, Candidate]:
    """The best candidate of each level, by the level's name.

    Levels are: each modality ``alone:<modality>``; each extractor ``alone:<id>`` where a modality has several; each
    modality left out ``without:<modality>`` where there are three or more; the best of one block that reads several
    modalities (``data-level fusion``); the best that puts several blocks together (``feature-level fusion``); and the
    best of all (``best candidate``). A level that no candidate of the search reached is left out.

    Parameters
    ----------
    ranked : sequence of Candidate
        Candidates with all folds, best out-of-fold score first.
    modality_of : mapping of str to str
        Modality of each extractor id; several where inputs were put together before it, see ``types.modality_of``.

    Returns
    -------
    dict of str to Candidate
    """
    read = {block: modalities_in(name) for block, name in modality_of.items()}
    modalities = sorted(frozenset[str]().union(*read.values()))
    several = {name for name in modality_of.values() if sum(name == other for other in modality_of.values()) > 1}
    wanted: dict[str, _Holds] = {f"alone:{m}": _only(m, read) for m in modalities}
    wanted |= {f"alone:{n}": _exactly(n) for n, m in sorted(modality_of.items()) if m in several}
    if len(modalities) > 2:
        wanted |= {f"without:{m}": _without(m, read) for m in modalities}
    wanted[DATA_LEVEL] = lambda c: len(c.blocks) == 1 and len(read[c.blocks[0]]) > 1
    wanted[FEATURE_LEVEL] = lambda c: len(c.blocks) > 1
    wanted[BEST] = lambda c: True
    found = {level: next((c for c in ranked if holds(c)), None) for level, holds in wanted.items()}
    return {level: candidate for level, candidate in found.items() if candidate is not None}


def _only(modality: str, read: Mapping[str, frozenset[str]]) -> _Holds:
    return lambda c: all(read[block] == {modality} for block in c.blocks)


def _exactly(block: str) -> _Holds:
    return lambda c: c.blocks == (block,)


def _without(modality: str, read: Mapping[str, frozenset[str]]) -> _Holds:
    return lambda c: all(modality not in read[block] for block in c.blocks)

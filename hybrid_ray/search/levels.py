"""Which candidates stand for which level of fusion in the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hybrid_ray.candidate import Candidate
from hybrid_ray.types import Modality

_Holds = Callable[[Candidate], bool]

BEST = "best candidate"
FEATURE_LEVEL = "feature-level fusion"


def level_candidates(ranked: Sequence[Candidate], modality_of: Mapping[str, Modality]) -> dict[str, Candidate]:
    """The best candidate of each level, by the level's name.

    Levels are: each modality ``alone:<modality>``; each extractor ``alone:<id>`` where a modality has several; each
    modality left out ``without:<modality>`` where there are three or more; the best that puts several blocks together
    (``feature-level fusion``); and the best of all (``best candidate``). A level that no candidate of the search
    reached is left out.

    Parameters
    ----------
    ranked : sequence of Candidate
        Candidates with all folds, best out-of-fold score first.
    modality_of : mapping of str to Modality
        Modality of each extractor id.

    Returns
    -------
    dict of str to Candidate
    """
    modalities = sorted(set(modality_of.values()))
    several = {m for m in modalities if sum(m == other for other in modality_of.values()) > 1}
    wanted: dict[str, _Holds] = {f"alone:{m}": _only(m, modality_of) for m in modalities}
    wanted |= {f"alone:{n}": _exactly(n) for n, m in sorted(modality_of.items()) if m in several}
    if len(modalities) > 2:
        wanted |= {f"without:{m}": _without(m, modality_of) for m in modalities}
    wanted[FEATURE_LEVEL] = lambda c: len(c.blocks) > 1
    wanted[BEST] = lambda c: True
    found = {level: next((c for c in ranked if holds(c)), None) for level, holds in wanted.items()}
    return {level: candidate for level, candidate in found.items() if candidate is not None}


def _only(modality: Modality, modality_of: Mapping[str, Modality]) -> _Holds:
    return lambda c: all(modality_of[block] == modality for block in c.blocks)


def _exactly(block: str) -> _Holds:
    return lambda c: c.blocks == (block,)


def _without(modality: Modality, modality_of: Mapping[str, Modality]) -> _Holds:
    return lambda c: all(modality_of[block] != modality for block in c.blocks)

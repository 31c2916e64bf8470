"""Which candidates stand for which level of fusion in the report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

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
    several = {name for name in modality_of.values() if sum(name == other for other in modality_of.values()) > 1}
    wanted = _ablation(read)
    wanted |= {f"alone:{n}": _exactly(n) for n, m in sorted(modality_of.items()) if m in several}
    wanted[DATA_LEVEL] = lambda c: len(c.blocks) == 1 and len(read[c.blocks[0]]) > 1
    wanted[FEATURE_LEVEL] = lambda c: len(c.blocks) > 1
    wanted[BEST] = lambda c: True
    found = {level: next((c for c in ranked if holds(c)), None) for level, holds in wanted.items()}
    return {level: candidate for level, candidate in found.items() if candidate is not None}


def ablation_note(levels: Collection[str], modality_of: Mapping[str, str]) -> str:
    """What a reader must know of an ablation that the search has not made whole; empty where nothing is missing.

    Parameters
    ----------
    levels : collection of str
        Names of the levels that were reached.
    modality_of : mapping of str to str
    """
    read = {block: modalities_in(name) for block, name in modality_of.items()}
    # Where inputs are put together before every extractor, no candidate can read one of them alone.
    lone = [Candidate((block,), "concat", "") for block in read]
    open_ = [name for name, holds in _ablation(read).items() if any(holds(candidate) for candidate in lone)]
    missing = [name.replace(":", " ") for name in open_ if name not in levels]
    if not missing:
        return ""
    return (
        f"The search ended before it had tried: {', '.join(missing)}. More time, or `search.begin_with: subsets`, "
        "tells what these inputs are worth."
    )


def _ablation(read: Mapping[str, frozenset[str]]) -> dict[str, _Holds]:
    """Each modality alone and, of three or more, each left out."""
    modalities = sorted(frozenset[str]().union(*read.values()))
    wanted: dict[str, _Holds] = {f"alone:{m}": _only(m, read) for m in modalities}
    if len(modalities) > 2:
        wanted |= {f"without:{m}": _without(m, read) for m in modalities}
    return wanted


def _only(modality: str, read: Mapping[str, frozenset[str]]) -> _Holds:
    return lambda c: all(read[block] == {modality} for block in c.blocks)


def _exactly(block: str) -> _Holds:
    return lambda c: c.blocks == (block,)


def _without(modality: str, read: Mapping[str, frozenset[str]]) -> _Holds:
    return lambda c: all(modality not in read[block] for block in c.blocks)

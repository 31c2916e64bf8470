"""Permutation importance: how much worse a graph gets when one of its inputs is shuffled.

References
----------
Breiman (2001), "Random Forests", Machine Learning 45, section 10.
Fisher, Rudin, Dominici (2019), "All Models are Wrong, but Many are Useful", JMLR 20(177).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ray.graph import Graph
from hybrid_ray.types import MODALITY_OF, AnyArray, Batch, Block


@dataclass(frozen=True)
class Importance:
    """Loss of score when a group of columns is shuffled together.

    Attributes
    ----------
    name : str
        A column, or ``modality:<name>``.
    mean : float
        Score on the rows as they are minus the mean score after shuffling; positive: the columns help.
    low, high : float
        2.5 % and 97.5 % quantiles over the repeats.
    read : float
        Share of the graph's chains whose estimator is given anything else when they are shuffled: 0 where no chain
        reads them, as where a fusion has dropped a column.
    """

    name: str
    mean: float
    low: float
    high: float
    read: float


def column_groups(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Every column alone, and every modality's columns together when the graph reads more than one modality."""
    groups: dict[str, tuple[str, ...]] = {column: (column,) for column in graph.columns}
    modalities: dict[str, tuple[str, ...]] = {}
    for column, kind in graph.columns.items():
        name = f"modality:{MODALITY_OF[kind]}"
        modalities[name] = (*modalities.get(name, ()), column)
    return groups | (modalities if len(modalities) > 1 else {})


def permutation_importance(
    graph: Graph,
    batch: Batch,
    y: AnyArray,
    score: Callable[[AnyArray, AnyArray], float],
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    repeats: int = 10,
    seed: int = 0,
) -> list[Importance]:
    """Importance of each column and each modality to a fitted graph, largest first.

    Only the extractors that read a shuffled column run again, so the cost is (extractors of the group) x ``repeats``
    passes over the rows, not a whole prediction each. A group is shuffled alike whatever other groups are asked for.
    Which chains read it is seen in the first shuffle.

    Parameters
    ----------
    graph : Graph
        Set up.
    batch : Batch
        n rows.
    y : ndarray (n,)
        Class codes or floats.
    score : callable
        ``score(y, outputs)``, larger is better.
    groups : mapping of str to sequence of str, optional
        Columns to shuffle together; default ``column_groups(graph)``.
    repeats : int, default 10
    seed : int, default 0

    Returns
    -------
    list of Importance
    """
    blocks = graph.extract(batch)
    base = score(y, graph.combine(blocks))
    found = []
    for name, columns in (groups if groups is not None else column_groups(graph)).items():
        rng = np.random.default_rng([seed, *name.encode()])
        touched = [group for group in graph.groups() if set(_columns(graph, group)) & set(columns)]
        losses, read = [], 0.0
        for repeat in range(repeats):
            order = rng.permutation(len(y))
            shuffled = {c: values[order] if c in columns else values for c, values in batch.items()}
            changed = dict(blocks)
            for group in touched:
                changed |= graph.blocks(group, graph.prepare(group, shuffled))
            if repeat == 0:
                read = _read(graph, blocks, changed)
            losses.append(base - score(y, graph.combine(changed)))
        low, high = np.quantile(losses, [0.025, 0.975])
        found.append(Importance(name, float(np.mean(losses)), float(low), float(high), read))
    return ranked(found)


def ranked(found: Iterable[Importance]) -> list[Importance]:
    """The largest first; equal ones by name."""
    return sorted(found, key=lambda importance: (-importance.mean, importance.name))


def _read(graph: Graph, blocks: Mapping[str, Block], changed: Mapping[str, Block]) -> float:
    """Share of the chains that give their estimator something else of changed blocks."""
    chains = [chain for member in graph.members for chain in member.chains]
    touched = [chain for chain in chains if any(blocks[key] is not changed[key] for key in chain.inputs.values())]
    return sum(not np.array_equal(chain.matrix(blocks), chain.matrix(changed)) for chain in touched) / len(chains)


def _columns(graph: Graph, group: str) -> Iterable[str]:
    return graph.extractors[graph.groups()[group][0]].columns

"""What a system of ``systems.py`` is: a spec, the rows of its table, and what they must show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hybrid_ray.types import AnyArray

SPEC = "spec"
"""Name of the row that is the spec as it stands."""
Means = Mapping[str, Mapping[str, float]]
"""Mean over seeds of each test metric, by row."""
Make = Callable[[Path], pd.DataFrame]
Reads = Callable[[Mapping[str, float]], Mapping[str, float]]
"""Share of the chains that read each column, by column, to scores that are made of them."""
Scores = Callable[[AnyArray, AnyArray], Mapping[str, float]]
"""Class codes (n,) and probabilities (n, C) to scores that the package does not know."""


@dataclass(frozen=True)
class Row:
    """One way to run the spec of a system.

    Attributes
    ----------
    says : str
        What it is, for the table.
    data : str or callable
        A file in the data folder, a URL, or what makes rows from that folder.
    changed : dict of str to object
        Values of the spec by path, as ``--set`` takes them.
    metric : str
        The test metric that the table shows; empty: the system's.
    beside : str
        The row whose gain over this one is recorded, with its paired interval, where both have the same data.
    files : dict of str to callable
        Values that are files which have to be made, by path, each with what gives its bytes from the data folder.
    """

    says: str
    data: str | Make
    changed: Mapping[str, Any] = field(default_factory=dict)
    metric: str = ""
    beside: str = SPEC
    files: Mapping[str, Callable[[Path], bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """One system.

    Attributes
    ----------
    name : str
        Of its spec in specs/.
    fuses, use, reference : str
        What is fused, when to use it, whose idea it is or whose figure it stands beside.
    metric : str
        The test metric that the table shows.
    rows : dict of str to Row
        The first, ``spec``, is the spec as it stands; the others stand beside it.
    must : str
        What it must show, in words.
    holds : callable
        Whether it does.
    scores : callable or None
        More scores of the test rows.
    reads : callable or None
        Scores of which columns the graph reads, as `hybrid-ray explain` tells of the test rows.
    tells : callable or None
        The figures that decide whether it holds, where these are none of the table's.
    also : tuple of str
        Further test metrics that the table shows, where a row has them.
    note : str
        What a reader must know of how the spec or its figures came about.
    """

    name: str
    fuses: str
    use: str
    reference: str
    metric: str
    rows: Mapping[str, Row]
    must: str
    holds: Callable[[Means], bool]
    scores: Scores | None = None
    reads: Reads | None = None
    tells: Callable[[Means], str] | None = None
    also: tuple[str, ...] = ()
    note: str = ""


def beats(metric: str, *others: str) -> Callable[[Means], bool]:
    """Whether the spec is better than each of the other rows."""
    return lambda means: all(means[SPEC][metric] > means[other][metric] for other in others)


def at_least(metric: str, least: float) -> Callable[[Means], bool]:
    return lambda means: means[SPEC][metric] >= least


def surely_beats(*others: str) -> Callable[[Means], bool]:
    """Whether the paired interval of the gain over each of the other rows lies above 0."""
    return lambda means: all(means[other]["gain_low"] > 0 for other in others)


def no_worse(*others: str) -> Callable[[Means], bool]:
    """Whether no paired interval of the gain over one of the other rows lies below 0."""
    return lambda means: all(means[other]["gain_high"] >= 0 for other in others)


def stands_beside(metric: str, *others: str, gains: Collection[str] = ()) -> Callable[[Means], bool]:
    """Whether the figures that are asked for are there, whatever they are.

    Parameters
    ----------
    metric : str
        Of the spec and of each of the other rows.
    *others : str
    gains : collection of str
        Rows over which a gain is told with its interval.
    """

    def holds(means: Means) -> bool:
        told = [means[row][metric] for row in (SPEC, *others)]
        told += [means[row][end] for row in gains for end in ("gain_low", "gain_high")]
        return bool(np.isfinite(told).all())

    return holds


def balanced_by(*steps: str) -> dict[str, Any]:
    return {"search.preparations": [{"name": step, "always": True} for step in steps]}


def only(*names: str) -> dict[str, Any]:
    return {"search.estimators": list(names)}

"""Once the search on a sample is over: on which rows each candidate is fitted, and what that takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hybrid_ray.candidate import Candidate
from hybrid_ray.estimators.base import EstimatorTags
from hybrid_ray.fusion.base import FeatureFusion
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray

Way = Literal["stream", "memory", "sample"]
"""stream: on all rows, batch by batch; memory: on all rows, in one task; sample: on the rows that the search saw."""


@dataclass(frozen=True)
class Refit:
    """How one candidate is fitted.

    Attributes
    ----------
    label : str
        The candidate's name for people.
    way : {"stream", "memory", "sample"}
    n_bytes : int
        Memory that a fit on all rows in one task takes, or would take.
    """

    label: str
    way: Way
    n_bytes: int


def passes_by(candidate: Candidate) -> bool:
    """Whether a candidate's training rows may pass batch by batch on their way to its learner.

    Preparations look at all training rows together, and a cross-fitted fusion gives each of them its own copy's answer.
    """
    fusion: type[FeatureFusion] = FUSIONS.get(candidate.fusion)
    return not candidate.steps and fusion.fit_combine is FeatureFusion.fit_combine


def plan_refit_of(
    label: str, tags: EstimatorTags, n_rows: int, n_features: int, memory: int, *, passes: bool = True
) -> Refit:
    """Choose the most rows that a family can be fitted on.

    Parameters
    ----------
    label : str
    tags : EstimatorTags
    n_rows : int
        All training rows.
    n_features : int
        Of the candidate's blocks together.
    memory : int
        Bytes that one task may take.
    passes : bool, default True
        Of ``passes_by``.
    """
    # The blocks, and the matrix that the fusion makes of them: four bytes a value each.
    n_bytes = 2 * 4 * n_rows * n_features + tags.fit_bytes(n_rows, n_features)
    slow = tags.max_rows is not None and n_rows > tags.max_rows
    way: Way = "stream" if tags.streams and passes else "sample" if slow or n_bytes > memory else "memory"
    return Refit(label, way, n_bytes)


def refit_note(refits: Sequence[Refit], n_rows: int, n_sample: int, workers: int) -> str:
    """What the report says of the rows that each candidate was fitted on."""
    by_way: dict[Way, list[str]] = defaultdict(list)
    for refit in refits:
        told = refit.label
        if refit.way == "sample":
            told += f" ({refit.n_bytes / n_rows:,.0f} bytes a row in memory)"
        by_way[refit.way].append(told)
    parts = []
    if by_way["stream"]:
        crew = "1 worker" if workers == 1 else f"{workers} workers"
        parts.append(f"on all {n_rows} training rows, read as a stream by {crew}: {', '.join(by_way['stream'])}")
    if by_way["memory"]:
        parts.append(f"on all {n_rows} training rows in the memory of one task: {', '.join(by_way['memory'])}")
    if by_way["sample"]:
        parts.append(
            f"on the {n_sample} rows of the sample, since they cannot be fitted on a stream and all rows are too many "
            f"for one task: {', '.join(by_way['sample'])}"
        )
    return (
        f"Fitted {'; '.join(parts)}. Feature-level fusion, rounds of boosting and ensemble weights are those that the "
        "sample decided."
    )


def shard_batches(sizes: Sequence[int], training: AnyArray, rows: int) -> list[tuple[int, int]]:
    """Runs of consecutive whole shards that hold at least so many training rows each; the last may hold fewer.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each shard, in row order.
    training : ndarray of bool (sum(sizes),)
    rows : int

    Returns
    -------
    list of (int, int)
        First row and the row after the last, of each run; shards without a training row may be left out.
    """
    bounds = np.cumsum([0, *sizes])
    held = np.add.reduceat(training, bounds[:-1], dtype=np.int64) if len(sizes) else np.zeros(0, np.int64)
    batches: list[tuple[int, int]] = []
    first, count = 0, 0
    for number, n in enumerate(held.tolist()):
        if count == 0:
            first = int(bounds[number])
        count += n
        if count >= rows or (number == len(held) - 1 and count):
            batches.append((first, int(bounds[number + 1])))
            count = 0
    return batches

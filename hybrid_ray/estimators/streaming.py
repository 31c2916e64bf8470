"""What a learner is given of training rows that do not fit its memory: batches, as often as it asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from hybrid_ray.types import AnyArray, FloatArray

Library = Literal["xgboost", "lightgbm"]
"""Libraries whose workers find each other and fit one model together."""


class RowStream(Protocol):
    """Training rows of one worker.

    Attributes
    ----------
    labels : ndarray (n,)
        Class codes 0..C-1, or floats; small enough to be held.
    n_features : int
    """

    labels: AnyArray
    n_features: int

    def __iter__(self) -> Iterator[FloatArray]:
        """Batches float32 (m, n_features), m > 0, that hold the rows in the order of ``labels``; the same each time."""


@dataclass(frozen=True)
class Team:
    """What a worker must know of a fit that it may share with others.

    Attributes
    ----------
    counts : ndarray of int (C,) or None
        Training rows of each class, over all workers; every class has one at least. None for numbers.
    folder : Path
        An empty folder on a local disk, for what the fit keeps there; its user removes it.
    threads : int
        CPU threads of this worker.
    size : int
        Workers.
    network : mapping
        Parameters by which the library finds the other workers; empty where it finds them itself, or is alone.
    """

    counts: AnyArray | None
    folder: Path
    threads: int = 1
    size: int = 1
    network: Mapping[str, Any] = field(default_factory=dict)

"""Explanations of answers, as they are asked for: one at a time, within a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from hybrid_ray.explain.attribution import Attribution, Explainer
from hybrid_ray.graph import Graph
from hybrid_ray.types import Batch


class Explaining:
    """Explains rows by a graph that is got when the first are to be explained.

    Parameters
    ----------
    graph : callable
        The whole graph, set up.
    background : Batch
        Rows of the kind that is usual.
    seconds : float
        What a row may take, roughly.
    """

    def __init__(self, graph: Callable[[], Graph], background: Batch, seconds: float) -> None:
        self._graph = graph
        self._background = background
        self._seconds = seconds
        self._lock = threading.Lock()
        self._made: Explainer | None = None

    def __call__(self, batch: Batch) -> list[dict[str, Any]]:
        """Why each row is answered as it is, JSON-able; called in a thread."""
        with self._lock:
            if self._made is None:
                self._made = Explainer(self._graph(), self._background)
            return [_told(each) for each in self._made.explain(batch, seconds=self._seconds)]


def _told(found: Attribution) -> dict[str, Any]:
    return asdict(found)

"""Watches what a version is asked: rows of its log make windows, and each window is compared with the reference.

served/<model>/<version>/drift/<n>.json    what was found in each window
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from hybrid_ray.graph import Graph
from hybrid_ray.monitoring.drift import Difference, Rule, differences
from hybrid_ray.monitoring.observed import Observed, prediction_files, read_files
from hybrid_ray.monitoring.reference import Reference, traits_of
from hybrid_ray.serving.log import AREA
from hybrid_ray.store.records import Journal
from hybrid_ray.store.root import StoreRoot, check_name

_TOLD = 50
"""Traits of a window that its record holds, those that differ most first."""


@dataclass(frozen=True)
class Window:
    """One window of a version's rows.

    Attributes
    ----------
    number : int
        From 1.
    rows : int
    start, end : str
        ISO times, UTC, of its first and last row.
    differences : list of Difference
        What drifted first.
    """

    number: int
    rows: int
    start: str
    end: str
    differences: list[Difference]

    @property
    def drifted(self) -> list[str]:
        """Traits that drifted."""
        return [each.trait for each in self.differences if each.drifted]


class Watch:
    """Windows of one version.

    Rows that no window holds yet are lost with it; windows that were told are not.

    Parameters
    ----------
    root : StoreRoot
    graph : Graph
        Of the version; its columns, classes and outlook are read, and nothing else.
    version : int
    reference : Reference
    rows : int
        Rows of a window.
    rule : Rule
    since : datetime, optional
        From when on rows count; default: now.
    """

    def __init__(
        self,
        root: StoreRoot,
        graph: Graph,
        version: int,
        reference: Reference,
        rows: int,
        rule: Rule = Rule(),
        since: datetime | None = None,
    ) -> None:
        self._root = root
        self._graph = graph
        self._version = version
        self._reference = reference
        self._rows = rows
        self._rule = rule
        self._since = since or datetime.now(UTC)
        self._journal = windows_of(root, graph.name, version)
        self._seen: set[str] = set()
        self._waiting: list[Observed] = []

    @property
    def waiting(self) -> int:
        """Rows that wait for the next window."""
        return sum(len(part) for part in self._waiting)

    def step(self) -> list[Window]:
        """Read what was logged since the last look: the windows that it fills, each written down."""
        files = prediction_files(self._root, self._graph.name, self._version, self._since)
        new = [path for path in files if path not in self._seen]
        self._seen |= set(new)
        found = []
        for path in new:
            part = read_files(self._root, [path], self._graph.columns)
            recent = int(np.searchsorted(part.times, np.datetime64(self._since.replace(tzinfo=None), "ms")))
            self._waiting.append(part.take(slice(recent, None)))
            while self.waiting >= self._rows:
                found.append(self._window())
        return found

    def _window(self) -> Window:
        whole = _joined(self._waiting)
        rows = whole.take(slice(0, self._rows))
        self._waiting = [whole.take(slice(self._rows, None))]
        traits = traits_of(self._graph, rows.batch, rows.embeddings, rows.outputs)
        told = differences(self._reference.traits, traits, self._rule)
        start, end = (str(rows.times[at]) + "Z" for at in (0, -1))
        record = {"rows": len(rows), "start": start, "end": end, "differences": [asdict(each) for each in told[:_TOLD]]}
        return Window(self._journal.append(record), len(rows), start, end, told)


def windows_of(root: StoreRoot, model: str, version: int) -> Journal:
    """The windows of a version, as records."""
    return Journal(root, f"{AREA}/{check_name(model, 'model name')}/{version}/drift")


def window_of(number: int, record: Mapping[str, Any]) -> Window:
    """A window out of its record."""
    told = [Difference(**each) for each in record["differences"]]
    return Window(number, int(record["rows"]), str(record["start"]), str(record["end"]), told)


def _joined(parts: list[Observed]) -> Observed:
    """The rows of several, one after another; an embedding that one lacks is left out."""
    names = [name for name in parts[0].embeddings if all(name in part.embeddings for part in parts)]
    return Observed(
        {name: np.concatenate([part.batch[name] for part in parts]) for name in parts[0].batch},
        np.concatenate([part.outputs for part in parts]),
        {
            name: type(parts[0].embeddings[name])(
                np.concatenate([part.embeddings[name].values for part in parts]),
                np.concatenate([part.embeddings[name].present for part in parts]),
            )
            for name in names
        },
        [label for part in parts for label in part.labels],
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.latency_ms for part in parts]),
    )

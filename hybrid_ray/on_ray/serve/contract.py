"""What the parts of the server say to each other. Imports neither ray nor FastAPI."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from hybrid_ray.forecasts import Outlook
from hybrid_ray.graph import Graph
from hybrid_ray.spec import ServeSpec
from hybrid_ray.types import AnyArray, Batch, Block, Kind, Task

MAX_FAULTS = 20
"""Faults of one request that are listed; the others are counted."""


class Loader(Protocol):
    """Gives a graph, or the parts of it that one replica needs; small, picklable, and importable on every node."""

    def __call__(self, keys: Collection[str] | None = None, members: bool = True) -> Graph:
        """The graph, not set up.

        Parameters
        ----------
        keys : collection of str, optional
            Extractor keys to load; default: all.
        members : bool, default True
            False leaves the members out.
        """


@dataclass(frozen=True)
class Reads:
    """What one extractor of a graph is made of and reads.

    Attributes
    ----------
    keys : tuple of str
        Keys of its copies in the graph.
    columns : dict of str to Kind
    """

    keys: tuple[str, ...]
    columns: dict[str, Kind]


@dataclass(frozen=True)
class Probe:
    """Rows that a server must answer before it is ready.

    Attributes
    ----------
    batch : Batch
    expected : ndarray (n, n_outputs) or None
        Outputs, as they were when the graph was saved; None: any finite ones.
    tolerance : float
        How far they may be off, relative to an output's size above 1.
    """

    batch: Batch
    expected: AnyArray | None = None
    tolerance: float = 0.0

    def fault(self, outputs: AnyArray) -> str:
        """What is wrong with the outputs; empty when nothing is."""
        if not np.isfinite(outputs).all():
            return "the probe rows have no finite answer"
        if self.expected is None:
            return ""
        distance = np.abs(outputs - self.expected) / np.maximum(1.0, np.abs(self.expected))
        if (distance <= self.tolerance).all():
            return ""
        row = int(distance.max(axis=1).argmax())
        return (
            f"golden row {row} must give {self.expected[row].tolist()} within {self.tolerance:g}; got "
            f"{outputs[row].tolist()}"
        )


@dataclass(frozen=True)
class Served:
    """What the ingress must know of a graph.

    Attributes
    ----------
    name : str
        Name of the model.
    version : int or str
        Stamped on every answer.
    task : Task
    columns : dict of str to Kind
        Input columns.
    classes : list or None
        Class labels in the order of the outputs; None for numbers.
    limits : ServeSpec
    extractors : dict of str to Reads
        By extractor id.
    probe : Probe
    outlook : Outlook or None
        How far it forecasts; None for any other task.
    """

    name: str
    version: int | str
    task: Task
    columns: dict[str, Kind]
    classes: list[Any] | None
    limits: ServeSpec
    extractors: dict[str, Reads]
    probe: Probe
    outlook: Outlook | None = None

    @classmethod
    def of(cls, graph: Graph, version: int | str, probe: Probe, limits: ServeSpec | None = None) -> Served:
        """The facts of a graph; limits default to those in ``graph.info["serve"]``, then to ``ServeSpec()``."""
        held = limits or ServeSpec.model_validate(graph.info.get("serve", {}))
        reads = {g: Reads(keys, dict(graph.extractors[keys[0]].columns)) for g, keys in graph.groups().items()}
        columns, classes = dict(graph.columns), graph.classes
        return cls(graph.name, version, graph.task, columns, classes, held, reads, probe, graph.outlook)

    @property
    def n_outputs(self) -> int:
        """Number of classes, or 1; of forecasts the steps, and the ends of each interval for each step."""
        if self.outlook is not None:
            return self.outlook.n_outputs
        return len(self.classes) if self.classes is not None else 1

    def answers(self, outputs: AnyArray) -> list[dict[str, Any]]:
        """Answers for people from outputs (n, n_outputs): ``prediction``, ``proba`` by class for classes.

        Of forecasts lists of steps: ``prediction``, ``low_<percent>`` and ``high_<percent>``.
        """
        if self.outlook is not None:
            parts = self.outlook.parts(outputs)
            return [{name: values[row].tolist() for name, values in parts.items()} for row in range(len(outputs))]
        if self.classes is None:
            return [{"prediction": float(value)} for value in outputs[:, 0]]
        names = [str(label) for label in self.classes]
        return [
            {"prediction": self.classes[int(row.argmax())], "proba": dict(zip(names, row.tolist(), strict=True))}
            for row in outputs
        ]


@dataclass(frozen=True)
class Fault:
    """One thing wrong in what the client sent: where, what must hold, and a stable word for it."""

    loc: tuple[str | int, ...]
    msg: str
    type: str

    def to_json(self) -> dict[str, Any]:
        """As in FastAPI's own 422 answers; text that no UTF-8 can carry is replaced."""
        loc = [part if isinstance(part, int) else _utf8(part) for part in self.loc]
        return {"loc": loc, "msg": _utf8(self.msg), "type": self.type}


class RequestError(Exception):
    """The client's request cannot be answered: the HTTP status and what is wrong.

    Parameters
    ----------
    status : int
        4xx, 503 or 504.
    faults : sequence of Fault
    headers : mapping of str to str, optional
    """

    def __init__(self, status: int, faults: Sequence[Fault], headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        super().__init__(status, "; ".join(fault.msg for fault in faults))

    def to_json(self) -> dict[str, Any]:
        """The body of the answer: the first faults, and how many more there are."""
        body: dict[str, Any] = {"detail": [fault.to_json() for fault in self.faults[:MAX_FAULTS]]}
        more = len(self.faults) - MAX_FAULTS
        return body | ({"more": more} if more > 0 else {})


def unprocessable(msg: str, *loc: str | int, type_: str = "value_error") -> RequestError:
    """A 422 with one fault at ``loc`` of the body."""
    return RequestError(422, [Fault(("body", *loc), msg, type_)])


def unavailable(msg: str, retry_after_s: int = 1) -> RequestError:
    """A 503 that says when to come back."""
    return RequestError(503, [Fault((), msg, "unavailable")], {"Retry-After": str(retry_after_s)})


@dataclass(frozen=True)
class Outcome:
    """What the graph says of n rows.

    Attributes
    ----------
    outputs : ndarray of float64 (n, n_outputs)
    errors : dict of int to (column, reason)
        Rows that hold something undecodable.
    embeddings : dict of str to Block
        What extractors made of the rows, on few directions; empty where nobody asked for it.
    without : tuple of str
        Extractors that did not answer in time: what they read was taken to be missing.
    """

    outputs: AnyArray
    errors: dict[int, tuple[str, str]] = field(default_factory=dict)
    embeddings: dict[str, Block] = field(default_factory=dict)
    without: tuple[str, ...] = ()


class Backend(Protocol):
    """What stands behind the ingress."""

    async def predict(self, batch: Batch) -> Outcome:
        """Outputs of a batch.

        Raises
        ------
        RequestError
            The graph cannot take these rows (422), or a part of it is away (503).
        """

    async def ready(self) -> str:
        """Empty when requests can be answered, else what is being waited for."""

    async def close(self) -> None:
        """End its threads; nothing is asked of it any more."""


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")

"""Words of the house as types: what flows between the rooms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Modality = Literal["image", "text", "tabular", "series", "graph", "audio"]
Kind = Literal["image", "text", "numeric", "categorical", "date", "series", "audio", "node"]
Task = Literal["binary", "multiclass", "regression", "clustering", "anomaly", "forecasting"]
CLASSIFICATION: frozenset[Task] = frozenset({"binary", "multiclass"})
REGRESSION: frozenset[Task] = frozenset({"regression"})
FORECASTING: frozenset[Task] = frozenset({"forecasting"})
BOTH = CLASSIFICATION | REGRESSION
"""Tasks of supervised learning on rows."""
NUMBERS = REGRESSION | FORECASTING
"""Tasks whose answers are numbers."""
CODED: frozenset[Task] = CLASSIFICATION | {"anomaly"}
"""Tasks whose labels are codes of classes."""
CLUSTERING: frozenset[Task] = frozenset({"clustering"})
"""Tasks that no label has a part in: one that is named is compared with afterwards."""
TASKS: tuple[Task, ...] = get_args(Task)
"""All of them."""
HISTORY = "history"
"""The input column of rows to forecast: the series up to the row's origin."""
WINDOW = "window"
"""The input column of rows that are windows of series."""
Direction = Literal["maximize", "minimize"]
SamplerName = Literal["tpe", "cmaes", "gp", "random", "grid"]
BeginWith = Literal["families", "subsets"]
Objective = Literal["metric", "latency", "size"]
Prefer = Literal["accuracy", "balanced", "speed"]
Tuned = Literal["auto", "always", "never"]

MODALITY_OF: Mapping[Kind, Modality] = {
    "image": "image",
    "text": "text",
    "numeric": "tabular",
    "categorical": "tabular",
    "date": "tabular",
    "series": "series",
    "audio": "audio",
    "node": "graph",
}
ENCODED: frozenset[Kind] = frozenset({"image", "audio"})
"""Kinds whose cells are encoded files, or name one."""

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
AnyArray = NDArray[Any]


def learned_as(task: Task) -> Task:
    """The task as fusions and preparations know it: to tell anomalous rows from normal ones is to tell two classes."""
    return "binary" if task == "anomaly" else task


def modality_of(kinds: Iterable[Kind]) -> str:
    """The modality of columns that are read as one: several are named together, sorted: ``tabular+text``."""
    return "+".join(sorted({MODALITY_OF[kind] for kind in kinds}))


def modalities_in(name: str) -> frozenset[str]:
    """The modalities that ``modality_of`` named together."""
    return frozenset(name.split("+"))


Batch = Mapping[str, AnyArray]
"""Raw columns of n rows, by name, after coercion to their kind:

image        object (n,): encoded image ``bytes``, a path or URL ``str``, or None
audio        object (n,): encoded sound ``bytes``, a path or URL ``str``, or None
text         object (n,): ``str`` or None
categorical  object (n,): ``str`` or None
numeric      float64 (n,): NaN where missing
date         datetime64[ms] (n,): NaT where missing
series       object (n,): float64 (steps, channels), NaN where a number is missing, or None
node         object (n,): ``str``, the id of a node, or JSON text of one that the graph lacks (``node_text``), or None
"""


class Block(NamedTuple):
    """The features that one extractor gives for n rows.

    ``values`` is float32 (n, d) and finite; where ``present`` (bool (n,)) is False the modality was missing
    and the row holds the extractor's missing vector.
    """

    values: FloatArray
    present: BoolArray

    def take(self, rows: AnyArray | slice) -> Block:
        """The same features for some rows (a view for a slice, a copy for an index array)."""
        return Block(self.values[rows], self.present[rows])


@dataclass(frozen=True)
class Prepared:
    """What ``Extractor.prepare`` hands to ``Extractor.extract``.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Arrays whose first dimension is m, the number of present rows.
    present : ndarray of bool (n,)
        Which of the n rows are present; m == present.sum().
    errors : dict of int to str
        Rows (0..n-1) that hold something undecodable, with the reason; such a row is present only when another of its
        columns could be read.
    """

    arrays: dict[str, AnyArray]
    present: BoolArray
    errors: dict[int, str] = field(default_factory=dict)

    def take(self, rows: AnyArray) -> Prepared:
        """The same for some rows, given as an index array (k,) over the n rows."""
        position = np.cumsum(self.present) - 1
        kept = self.present[rows]
        inner = position[rows][kept]
        wanted = {int(r): i for i, r in enumerate(rows)} if self.errors else {}
        errors = {wanted[r]: why for r, why in self.errors.items() if r in wanted}
        return Prepared({name: array[inner] for name, array in self.arrays.items()}, kept, errors)

    @classmethod
    def concat(cls, parts: Sequence[Prepared]) -> Prepared:
        """Parts one after another, in one."""
        errors: dict[int, str] = {}
        start = 0
        for part in parts:
            errors.update({start + row: why for row, why in part.errors.items()})
            start += len(part.present)
        names = parts[0].arrays
        return cls(
            {name: np.concatenate([part.arrays[name] for part in parts]) for name in names},
            np.concatenate([part.present for part in parts]),
            errors,
        )


@dataclass
class State:
    """Everything a fitted object needs to be built again, without pickle.

    Attributes
    ----------
    meta : dict
        JSON-able.
    tensors : dict of str to ndarray
        Numeric arrays, written as one safetensors file.
    blobs : dict of str to bytes
        Files in a native format (``model.ubj``, ``model.skops``, ``tokenizer.json``), by file name.
    folder : Path or None
        Where the blobs lie as files when the state was read from a local folder: lets a loader memory-map.
    """

    meta: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, AnyArray] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    folder: Path | None = None

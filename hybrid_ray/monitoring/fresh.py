"""Rows whose label came from feedback, as rows to learn from, beside those that a version learned from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa

from hybrid_ray.data.source import Source, read_piece
from hybrid_ray.monitoring.observed import Observed
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import ENCODED, AnyArray, Kind

_READ_ROWS = 4096


@dataclass(frozen=True)
class Fresh:
    """Labelled rows of the log, in order of time.

    Attributes
    ----------
    table : pa.Table
        Columns of the model, and the label as text.
    times : ndarray of datetime64[ms] (n,)
    """

    table: pa.Table
    times: AnyArray

    def __len__(self) -> int:
        return len(self.table)

    def divided(self, held: float) -> tuple[Fresh, Fresh]:
        """The earlier rows, to learn from, and the last share of them, to compare versions on."""
        cut = len(self) - math.ceil(held * len(self))
        return (
            Fresh(self.table.slice(0, cut), self.times[:cut]),
            Fresh(self.table.slice(cut), self.times[cut:]),
        )


def fresh_rows(
    parts: Sequence[Observed], columns: Mapping[str, Kind], label: str, root: StoreRoot, files: str
) -> Fresh:
    """The labelled rows of what several versions were asked; images and sounds become files of the store.

    Parameters
    ----------
    parts : sequence of Observed
    columns : mapping of str to Kind
    label : str
        Name of the label's column.
    root : StoreRoot
    files : str
        Folder of files, named by their content.
    """
    known = [[row for row, said in enumerate(part.labels) if said is not None] for part in parts]
    times = np.concatenate([part.times[rows] for part, rows in zip(parts, known, strict=True)] or [_NO_TIMES])
    order = np.argsort(times, kind="stable")
    cells: dict[str, pa.Array] = {}
    for name, kind in columns.items():
        values = [value for part, rows in zip(parts, known, strict=True) for value in part.batch[name][rows]]
        cells[name] = _column([values[i] for i in order], kind, root, files)
    labels = [part.labels[row] for part, rows in zip(parts, known, strict=True) for row in rows]
    cells[label] = pa.array([labels[i] for i in order], pa.string())
    return Fresh(pa.table(cells), times[order])


_NO_TIMES = np.zeros(0, "datetime64[ms]")


def _column(values: Sequence[Any], kind: Kind, root: StoreRoot, files: str) -> pa.Array:
    if kind == "numeric":
        return pa.array([None if np.isnan(value) else float(value) for value in values], pa.float64())
    if kind == "date":
        return pa.array([None if np.isnat(value) else value.astype(object) for value in values], pa.timestamp("ms"))
    if kind == "series":
        return pa.array([None if value is None else value.tolist() for value in values], _SERIES)
    if kind in ENCODED:
        return pa.array([None if value is None else _as_file(value, root, files) for value in values], pa.string())
    return pa.array(values, pa.string())


_SERIES = pa.large_list(pa.large_list(pa.float64()))


def _as_file(data: bytes, root: StoreRoot, files: str) -> str:
    """Where an encoded file lies in the store, put there if it is new."""
    path = f"{files}/{sha256(data).hexdigest()[:32]}"
    if not root.exists(path):
        root.write(path, data)
    local = root.local_path(path)
    return f"{root.uri}/{path}" if local is None else str(local)


def together(
    source: Source, kinds: Mapping[str, Kind], label: str, fresh: Fresh, roles: str | None
) -> Iterator[pa.Table]:
    """The rows that a version learned from, then fresh ones, as tables of one schema.

    Columns that fresh rows lack are missing in them. Values of two types become text where nothing else holds both.

    Parameters
    ----------
    source : Source
    kinds : mapping of str to Kind
        Of the model's columns.
    label : str
    fresh : Fresh
    roles : str or None
        Column that says who is for training: fresh rows all are.
    """
    more = fresh.table
    if roles is not None:
        more = more.append_column(roles, pa.array(["train"] * len(more), pa.string()))
    schema = pa.schema([_field(source.schema, more.schema, name) for name in source.schema.names])
    for piece in source.pieces:
        for table in read_piece(source, piece, list(source.schema.names), _READ_ROWS):
            yield _fitted(_absolute(table, kinds, source.base), schema)
    yield _fitted(more, schema)


def _field(old: pa.Schema, new: pa.Schema, name: str) -> pa.Field:
    """A type that holds the values of both."""
    kind = old.field(name).type
    if name not in new.names or kind == new.field(name).type:
        return pa.field(name, kind)
    other = new.field(name).type
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    if any(test(kind) for test in numeric) and any(test(other) for test in numeric):
        return pa.field(name, pa.float64())
    if pa.types.is_temporal(kind) and pa.types.is_temporal(other):
        return pa.field(name, pa.timestamp("ms"))
    if pa.types.is_nested(kind):
        return pa.field(name, kind)
    return pa.field(name, pa.large_string())


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
            continue
        columns.append(table[field.name].cast(field.type, safe=False))
    return pa.table(columns, schema=schema)


def _absolute(table: pa.Table, kinds: Mapping[str, Kind], base: str) -> pa.Table:
    """Paths of files as they are found from anywhere."""
    for at, name in enumerate(table.column_names):
        held = table[name].type
        if kinds.get(name) in ENCODED and (pa.types.is_string(held) or pa.types.is_large_string(held)):
            paths = [_from(base, path) for path in table[name].to_pylist()]
            table = table.set_column(at, name, pa.array(paths, pa.string()))
    return table


def _from(base: str, path: str | None) -> str | None:
    if path is None or not base or path.startswith("/") or "://" in path:
        return path
    return f"{base.rstrip('/')}/{path}"

"""Rows of a request: a model of one row made from the graph's columns, and from raw rows to a batch."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
)

from hybrid_ray.data.columns import coerce
from hybrid_ray.data.encoded import NOUN, DecodeError
from hybrid_ray.data.images import probe
from hybrid_ray.data.nodes import node_text
from hybrid_ray.data.sounds import encode_wav, probe_sound
from hybrid_ray.on_ray.serve.contract import MAX_FAULTS, Fault, RequestError, Served
from hybrid_ray.registry import nearest
from hybrid_ray.spec import ServeSpec
from hybrid_ray.types import Batch, Kind

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_DATA_URL = re.compile(r"data:[^,;]*(?:;[^,;]*)*;base64,", re.IGNORECASE)

# The smallest PNG there is, as an example.
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
# And a millisecond of silence.
_SILENCE = base64.b64encode(encode_wav(np.zeros(8), 8000)).decode()


def file_bytes(value: Any, kind: Kind, limits: ServeSpec) -> bytes:
    """An encoded image or sound from what a client may send: bytes of a form's file, base64, or a ``data:`` URL.

    A path or a link is never followed: it is text that is not base64, or no such file.

    Raises
    ------
    ValueError
        It is none of these, no file of that kind is in it, or it is larger than ``limits`` say.
    """
    noun = NOUN[kind]
    if isinstance(value, str):
        text = value[match.end() :] if (match := _DATA_URL.match(value)) else value
        try:
            value = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"{noun} must be base64 or a data: URL; {error}") from None
    if not isinstance(value, bytes):
        raise ValueError(f"{noun} must be base64 text, a data: URL or a form's file; got {_kind_of(value)}")
    if not value:
        raise ValueError(f"{noun} must hold bytes; got none. Leave it out, or null, when it is missing")
    try:
        _PROBES[kind](value, limits)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    return value


_PROBES: dict[Kind, Callable[[bytes, ServeSpec], Any]] = {
    "image": lambda data, limits: probe(data, max_pixels=limits.max_pixels),
    "audio": lambda data, limits: probe_sound(data, limits.max_sound_s),
}


def _file(kind: Kind) -> Any:
    """The type of a cell that holds an encoded file."""

    def read(value: Any, info: ValidationInfo) -> Any:
        return None if value is None else file_bytes(value, kind, (info.context or {})["limits"])

    return Annotated[Any, PlainValidator(read), WithJsonSchema(_SCHEMAS[kind])]


def _node(value: Any) -> Any:
    return None if value is None else node_text(value)


def _category(value: Any) -> Any:
    if isinstance(value, bool | int | float) and not isinstance(value, str):
        return pa.scalar(value).cast(pa.string()).as_py() if abs(value) < 2**63 else str(value)
    return value


_SCHEMAS: dict[Kind, dict[str, Any]] = {
    "image": {
        "type": ["string", "null"],
        "contentEncoding": "base64",
        "description": "Image: base64, or a data: URL.",
        "examples": [_PIXEL],
    },
    "audio": {
        "type": ["string", "null"],
        "contentEncoding": "base64",
        "description": "Sound (WAV, FLAC or OGG): base64, or a data: URL.",
        "examples": [_SILENCE],
    },
    "text": {"type": ["string", "null"], "description": "Text.", "examples": ["a few words"]},
    "numeric": {"type": ["number", "null"], "description": "Number.", "examples": [1.5]},
    "categorical": {"type": ["string", "number", "boolean", "null"], "description": "Category.", "examples": ["a"]},
    "date": {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "Date or time, ISO 8601.",
        "examples": ["2024-05-17T09:30:00"],
    },
    "series": {
        "type": ["array", "null"],
        "items": {"type": ["number", "null", "array"], "items": {"type": ["number", "null"]}},
        "description": "Series: a list of numbers, or of lists of as many numbers each; null where one is missing.",
        "examples": [[0.5, 1.0, None, 2.0]],
    },
    "node": {
        "anyOf": [
            {"type": ["string", "integer", "null"]},
            {
                "type": "object",
                "properties": {
                    "features": {"type": "array", "items": {"type": "number"}},
                    "neighbours": {"type": "array", "items": {"type": ["string", "integer"]}},
                },
                "required": ["features", "neighbours"],
                "additionalProperties": False,
            },
        ],
        "description": "Node: an id of the model's graph, or a new node's features and the ids of its neighbours.",
        "examples": ["17", {"features": [0.5, 1.0], "neighbours": ["17"]}],
    },
}
_Text = Annotated[str, Field(strict=True)]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)]
_CELLS: dict[Kind, Any] = {
    "image": _file("image"),
    "audio": _file("audio"),
    "text": Annotated[_Text | None, WithJsonSchema(_SCHEMAS["text"])],
    "numeric": Annotated[_Number | None, WithJsonSchema(_SCHEMAS["numeric"])],
    "categorical": Annotated[_Text | None, BeforeValidator(_category), WithJsonSchema(_SCHEMAS["categorical"])],
    "date": Annotated[_Text | None, WithJsonSchema(_SCHEMAS["date"])],
    "node": Annotated[Any, PlainValidator(_node), WithJsonSchema(_SCHEMAS["node"])],
    "series": Annotated[list[_Number | None] | list[list[_Number | None]] | None, WithJsonSchema(_SCHEMAS["series"])],
}
_TYPES: dict[Kind, pa.DataType] = {
    "image": pa.binary(),
    "audio": pa.binary(),
    "numeric": pa.float64(),
    "series": pa.large_list(pa.large_list(pa.float64())),
}
"""Types of cells in a table; text where there is none."""


def row_model(columns: Mapping[str, Kind], required: Sequence[str] = ()) -> type[BaseModel]:
    """The model of one row: a field for each column, by alias, so that any column name is allowed.

    Parameters
    ----------
    columns : mapping of str to Kind
    required : sequence of str, default ()
        Columns that every row must hold; any other may be left out or null.
    """
    fields: dict[str, Any] = {}
    for i, (name, kind) in enumerate(columns.items()):
        default = ... if name in required else None
        fields[f"f{i}"] = (_CELLS[kind], Field(default, alias=name, title=name))
    config = ConfigDict(extra="forbid", frozen=True)
    return create_model("Row", __config__=config, **fields)


class RowReader:
    """Turns raw rows into a batch; made once for a graph.

    Parameters
    ----------
    served : Served
    """

    def __init__(self, served: Served) -> None:
        self._columns = served.columns
        self._limits = served.limits
        self.model = row_model(served.columns, served.limits.required)
        self._rows = TypeAdapter(list[self.model])  # type: ignore[name-defined]

    def read(self, rows: Sequence[Any]) -> Batch:
        """The batch of raw rows.

        Raises
        ------
        RequestError
            422, with every fault: its row, its column and what must hold.
        """
        faults = self._shape_faults(rows)
        if faults:
            raise RequestError(422, faults)
        try:
            checked = self._rows.validate_python(list(rows), context={"limits": self._limits})
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise RequestError(
                422, [Fault(("body", "rows", *e["loc"]), _message(e["msg"]), e["type"]) for e in found]
            ) from None
        coerced = coerce(self._table(checked), self._columns, paths=False)
        if coerced.errors:
            raise RequestError(
                422, [Fault(("body", "rows", e.row, e.column), e.reason, "value_error") for e in coerced.errors]
            )
        return coerced.batch

    def _shape_faults(self, rows: Sequence[Any]) -> list[Fault]:
        """What can be seen without looking into cells; bounded work, however many unknown names there are."""
        limit = self._limits.max_rows
        if len(rows) > limit:
            return [Fault(("body", "rows"), f"a request must hold at most {limit} rows; got {len(rows)}", "too_long")]
        faults: list[Fault] = []
        for i, row in enumerate(rows):
            if not isinstance(row, dict):
                what = f"a row must be an object of column to value; got {_kind_of(row)}"
                faults.append(Fault(("body", "rows", i), what, "dict_type"))
            elif not row:
                what = f"a row must hold at least one of the columns {self._names()}; got none"
                faults.append(Fault(("body", "rows", i), what, "missing"))
            elif not row.keys() <= self._columns.keys():
                unknown = [name for name in row if name not in self._columns]
                faults += [self._unknown(i, str(name)) for name in unknown[:MAX_FAULTS]]
            if len(faults) > MAX_FAULTS:
                break
        return faults

    def _unknown(self, row: int, name: str) -> Fault:
        hint = nearest(name[:100], list(self._columns))
        what = f"unknown column; the model reads {self._names()}.{hint}"
        return Fault(("body", "rows", row, name[:100]), what, "extra_forbidden")

    def _names(self) -> str:
        names = list(self._columns)
        return f"{names[:12]}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")

    def _table(self, checked: Sequence[BaseModel]) -> pa.Table:
        columns = {}
        for i, (name, kind) in enumerate(self._columns.items()):
            cells = [getattr(row, f"f{i}") for row in checked]
            cells = [_steps(cell) for cell in cells] if kind == "series" else cells
            columns[name] = pa.array(cells, _TYPES.get(kind, pa.string()))
        return pa.table(columns)


def _steps(cell: list[Any] | None) -> list[list[Any]] | None:
    """A series whose steps are lists, whichever way it was sent."""
    return cell if not cell or isinstance(cell[0], list) else [[value] for value in cell]


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")


def _kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)

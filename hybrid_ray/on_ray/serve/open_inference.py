"""The Open Inference Protocol, version 2: tensors in and out, as JSON or with the binary extension.

A column is an input: numbers of any type, everything else BYTES; of a series a row is a list of steps. Outputs are
``prediction``, of classes ``proba`` beside it, of forecasts the ends of each interval.

References
----------
KServe, "Open Inference Protocol (V2)"; Triton's "Binary tensor data extension".
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import from_json

from hybrid_ray.on_ray.serve.contract import RequestError, Served, unprocessable
from hybrid_ray.types import ENCODED, AnyArray, Kind

HEADER_LENGTH = "inference-header-content-length"
"""Header that says how much of a body is JSON: tensors follow."""

_NUMBERS: Mapping[str, str] = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
DATATYPES = (*_NUMBERS, "BYTES")
_MOST_DIMENSIONS = 3
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Infer:
    """What a client asks.

    Attributes
    ----------
    id : str or None
        Comes back with the answer.
    rows : list of dict
        Raw rows.
    outputs : dict of str to bool
        Wanted outputs, and whether as bytes; empty: all.
    binary : bool
        Whether outputs that are not named are wanted as bytes.
    """

    id: str | None
    rows: list[dict[str, Any]]
    outputs: dict[str, bool]
    binary: bool


def read_infer(headers: Mapping[str, str], body: bytes, served: Served) -> Infer:
    """What a body asks.

    Raises
    ------
    RequestError
        422: it is no request of the protocol, a tensor does not suit its shape, or the model has no such tensor.
    """
    head, rest = _parts(headers, body)
    request = _object(head)
    columns: dict[str, list[Any]] = {}
    at = 0
    for i, given in enumerate(_listed(request, "inputs")):
        name, cells, used = _input(given, i, rest[at:], served)
        if name in columns:
            raise unprocessable("an input must be given once; got it twice", "inputs", i, "name")
        columns[name] = cells
        at += used
    if at != len(rest):
        raise unprocessable(f"binary data must be of the inputs; got {len(rest) - at} bytes more", "inputs")
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) != 1:
        raise unprocessable(f"inputs must have as many rows each; got {sorted(lengths)}", "inputs")
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    wanted = dict(map(_wanted, _listed(request, "outputs", needed=False)))
    unknown = sorted(set(wanted) - set(output_names(served)))
    if unknown:
        raise unprocessable(f"outputs must be of {output_names(served)}; got {unknown[:5]}", "outputs")
    asked = _parameters(request).get("binary_data_output", False) is True
    told = request.get("id")
    return Infer(None if told is None else str(told)[:200], rows, wanted, asked)


def write_infer(served: Served, outputs: AnyArray, asked: Infer) -> tuple[bytes, dict[str, str]]:
    """The body of an answer, and its headers.

    Parameters
    ----------
    served : Served
    outputs : ndarray (n, n_outputs)
    asked : Infer
    """
    found = output_tensors(served, outputs)
    wanted = asked.outputs or dict.fromkeys(found, asked.binary)
    told, tail = [], b""
    for name, binary in wanted.items():
        datatype, values = found[name]
        entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
        if binary:
            data = _to_bytes(datatype, values)
            entry["parameters"] = {"binary_data_size": len(data)}
            tail += data
        else:
            entry["data"] = values.ravel().tolist()
        told.append(entry)
    answer: dict[str, Any] = {"model_name": served.name, "model_version": str(served.version), "outputs": told}
    if asked.id is not None:
        answer["id"] = asked.id
    head = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
    if not tail:
        return head, {"content-type": "application/json"}
    return head + tail, {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}


def output_tensors(served: Served, outputs: AnyArray) -> dict[str, tuple[str, AnyArray]]:
    """Datatype and values of each output, by name."""
    if served.outlook is not None:
        return {name: ("FP64", values) for name, values in served.outlook.parts(outputs).items()}
    if served.classes is None:
        return {"prediction": ("FP64", outputs[:, 0])}
    datatype = _label_type(served.classes)
    labels = np.array([served.classes[int(code)] for code in outputs.argmax(axis=1)], _LABELS[datatype])
    return {"prediction": (datatype, labels), "proba": ("FP64", outputs)}


_LABELS: Mapping[str, Any] = {"BOOL": bool, "INT64": np.int64, "FP64": np.float64, "BYTES": object}


def _label_type(classes: Sequence[Any]) -> str:
    kinds = {type(label) for label in classes}
    found = {frozenset({bool}): "BOOL", frozenset({int}): "INT64", frozenset({float}): "FP64"}
    return found.get(frozenset(kinds), "BYTES")


def output_names(served: Served) -> list[str]:
    """Names of the outputs that a model has."""
    return list(output_tensors(served, np.zeros((0, served.n_outputs))))


def metadata(served: Served) -> dict[str, Any]:
    """What the protocol tells of a model."""
    empty = output_tensors(served, np.zeros((0, served.n_outputs)))
    return {
        "name": served.name,
        "versions": [str(served.version)],
        "platform": "hybrid_ray",
        "inputs": [{"name": name, **_TENSORS[kind]} for name, kind in served.columns.items()],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [-1, *values.shape[1:]]}
            for name, (datatype, values) in empty.items()
        ],
    }


_TENSORS: Mapping[Kind, dict[str, Any]] = {
    "numeric": {"datatype": "FP64", "shape": [-1]},
    "series": {"datatype": "FP64", "shape": [-1, -1, -1]},
    **{
        kind: {"datatype": "BYTES", "shape": [-1]} for kind in ("text", "categorical", "date", "node", "image", "audio")
    },
}


def _parts(headers: Mapping[str, str], body: bytes) -> tuple[bytes, bytes]:
    """The JSON of a body, and the tensors after it."""
    told = headers.get(HEADER_LENGTH)
    if told is None:
        return body, b""
    if not (told.isascii() and told.isdecimal() and len(told) < 12 and int(told) <= len(body)):
        raise unprocessable(f"{HEADER_LENGTH} must be at most the body's {len(body)} bytes; got {told[:20]!r}")
    return body[: int(told)], body[int(told) :]


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = from_json(text, allow_inf_nan=True)
    except ValueError as error:
        raise unprocessable(f"the body must be JSON; {error}", type_="json_invalid") from None
    if not isinstance(value, dict):
        raise unprocessable("the body must be an object with inputs", type_="dict_type")
    return value


def _listed(request: Mapping[str, Any], part: str, needed: bool = True) -> list[dict[str, Any]]:
    found = request.get(part) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found) or (needed and not found):
        raise unprocessable(f"{part} must be a list of tensors", part, type_="list_type")
    return found


def _parameters(part: Mapping[str, Any]) -> Mapping[str, Any]:
    found = part.get("parameters")
    return found if isinstance(found, dict) else {}


def _wanted(output: Mapping[str, Any]) -> tuple[str, bool]:
    return str(output.get("name"))[:100], _parameters(output).get("binary_data", False) is True


def _input(given: Mapping[str, Any], i: int, rest: bytes, served: Served) -> tuple[str, list[Any], int]:
    """Name and cells of an input, and how many bytes of binary data it took."""

    def wrong(what: str, part: str) -> RequestError:
        return unprocessable(what, "inputs", i, part)

    name = given.get("name")
    if not isinstance(name, str) or name not in served.columns:
        raise wrong(f"an input must be one of {list(served.columns)[:12]}; got {str(name)[:100]!r}", "name")
    kind, datatype, shape = served.columns[name], given.get("datatype"), given.get("shape")
    numeric = kind in ("numeric", "series")
    taken = [*(_NUMBERS if numeric or kind == "categorical" else ()), *(() if numeric else ("BYTES",))]
    if datatype not in taken:
        wanted = "of numbers" if numeric else "BYTES"
        raise wrong(f"the datatype of {name!r}, a {kind}, must be {wanted}; got {str(datatype)[:20]!r}", "datatype")
    if not (
        isinstance(shape, list)
        and 1 <= len(shape) <= _MOST_DIMENSIONS
        and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    ):
        raise wrong(f"a shape must be 1 to {_MOST_DIMENSIONS} whole numbers from 0; got {str(shape)[:100]}", "shape")
    if kind != "series" and math.prod(shape[1:]) != 1:
        raise wrong(f"the shape of {name!r}, a {kind}, must be [rows] or [rows, 1]; got {shape}", "shape")
    if shape[0] > served.limits.max_rows:
        raise wrong(f"a request must hold at most {served.limits.max_rows} rows; got {shape[0]}", "shape")
    size = _parameters(given).get("binary_data_size")
    count = math.prod(shape)
    if size is None:
        values, used = _from_data(given.get("data"), count, datatype, wrong), 0
    elif type(size) is int and 0 <= size <= len(rest):
        values, used = _FROM_BYTES[datatype == "BYTES"](rest[:size], count, datatype, wrong), size
    else:
        raise wrong(f"binary_data_size must be at most what is left of the body; got {str(size)[:20]}", "parameters")
    return name, _cells(values, shape, kind, wrong), used


_Wrong = Callable[[str, str], RequestError]


def _from_data(data: Any, count: int, datatype: Any, wrong: _Wrong) -> list[Any]:
    """Values of JSON, nested or flat."""
    flat, nested = data, 0
    while isinstance(flat, list) and flat and isinstance(flat[0], list) and nested < _MOST_DIMENSIONS:
        if not all(isinstance(part, list) for part in flat):
            raise wrong("data must be a list, or lists of one depth", "data")
        flat, nested = [value for part in flat for value in part], nested + 1
    if not isinstance(flat, list) or len(flat) != count:
        got = f"{len(flat)} values" if isinstance(flat, list) else "no list"
        raise wrong(f"data must be the {count} values of the shape; got {got}", "data")
    fits = (str, type(None)) if datatype == "BYTES" else (int, float, type(None))
    if not all(isinstance(value, fits) for value in flat):
        raise wrong(f"data must be values of {datatype}; got others", "data")
    return flat


def _numbers(data: bytes, count: int, datatype: Any, wrong: _Wrong) -> list[Any]:
    kind = np.dtype(_NUMBERS[datatype])
    if len(data) != count * kind.itemsize:
        raise wrong(f"binary data must have {count * kind.itemsize} bytes; got {len(data)}", "parameters")
    values: list[Any] = np.frombuffer(data, kind).tolist()
    return values


def _strings(data: bytes, count: int, _: Any, wrong: _Wrong) -> list[Any]:
    """Each string after its length, 4 bytes."""
    found: list[bytes] = []
    at = 0
    while at + _LENGTH.size <= len(data) and len(found) < count:
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + size
        found.append(data[at - size : at])
    if at != len(data) or len(found) != count:
        raise wrong(f"binary data must be {count} strings, each after its length; got something else", "parameters")
    return found


_FROM_BYTES: Mapping[bool, Callable[[bytes, int, Any, _Wrong], list[Any]]] = {True: _strings, False: _numbers}


def _cells(values: list[Any], shape: Sequence[int], kind: Kind, wrong: _Wrong) -> list[Any]:
    """A cell of each row, as in a JSON request: a number that is none is missing."""
    if kind in ENCODED:
        return values
    if kind not in ("numeric", "series"):
        try:
            return [value.decode() if isinstance(value, bytes) else value for value in values]
        except UnicodeDecodeError:
            raise wrong("text must be UTF-8", "data") from None
    known = [None if value is None or not math.isfinite(value) else value for value in values]
    if kind == "numeric":
        return known
    steps = math.prod(shape[1:])
    rows = [known[i * steps : (i + 1) * steps] for i in range(shape[0])]
    if len(shape) < _MOST_DIMENSIONS:
        return rows
    width = shape[2]
    return [[row[j : j + width] for j in range(0, steps, width)] if width else [] for row in rows]


def _to_bytes(datatype: str, values: AnyArray) -> bytes:
    if datatype == "BYTES":
        texts = [str(value).encode() for value in values.ravel()]
        return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    return np.ascontiguousarray(values, np.dtype(_NUMBERS[datatype])).tobytes()

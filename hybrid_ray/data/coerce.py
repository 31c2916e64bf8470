"""Raw columns become the arrays of their kind; a value of the wrong type becomes missing, and an error."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ray.data.dates import parse_dates
from hybrid_ray.data.encoded import NOUN
from hybrid_ray.data.files import resolve
from hybrid_ray.data.nodes import parse_nodes
from hybrid_ray.data.pieces import plain_type
from hybrid_ray.data.series import Reasons, parse_series
from hybrid_ray.types import ENCODED, AnyArray, Batch, BoolArray, Kind

MISSING_WORDS = ("", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "<na>", "nat", "?")
_FEW_ROWS = 256
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


class CellError(NamedTuple):
    """One value that is not of its column's kind. ``reason`` holds nothing of the value."""

    row: int
    column: str
    reason: str


@dataclass(frozen=True)
class Coerced:
    """A batch and what of it was of the wrong type.

    Attributes
    ----------
    batch : Batch
        The columns asked for, in the order asked for.
    errors : list of CellError
        Row numbers count within the batch.
    """

    batch: Batch
    errors: list[CellError]


def coerce(table: pa.Table, columns: Mapping[str, Kind], base: str = "", paths: bool = True) -> Coerced:
    """Columns of a table as arrays of their kinds.

    Parameters
    ----------
    table : pa.Table
        Rows, (n, any); a column that it does not have is missing in every row.
    columns : mapping of str to Kind
        What to return, in this order.
    base : str, default ""
        Folder (path or URL) that relative paths of images and sounds start from.
    paths : bool, default True
        False refuses images and sounds given as paths or URLs: for rows that a stranger sends.

    Returns
    -------
    Coerced

    Examples
    --------
    >>> out = coerce(pa.table({"area": ["12", "a few", None]}), {"area": "numeric"})
    >>> out.batch["area"].tolist(), out.errors
    ([12.0, nan, nan], [CellError(row=1, column='area', reason='not a number')])
    """
    there = set(table.column_names)
    raws = {name: one_array(table.column(name)) if name in there else pa.nulls(table.num_rows) for name in columns}
    found: dict[str, tuple[AnyArray, Reasons]] = {}
    for kind, names in _together(raws, columns):
        if kind in ENCODED:
            found[names[0]] = _encoded(raws[names[0]], base, paths, NOUN[kind])
        elif len(names) == 1:
            found[names[0]] = _COERCE[kind](raws[names[0]])
        else:
            found |= _divided(names, *_COERCE[kind](pa.concat_arrays([raws[name] for name in names])))
    errors = [CellError(row, name, why) for name in columns for row, why in sorted(found[name][1].items())]
    return Coerced({name: found[name][0] for name in columns}, errors)


def _together(raws: Mapping[str, pa.Array], columns: Mapping[str, Kind]) -> Iterator[tuple[Kind, list[str]]]:
    """Columns that are taken at once: of few rows those of one kind and type, for a call costs more than its rows."""
    alike: dict[tuple[Kind, str], list[str]] = {}
    for name, kind in columns.items():
        raw = raws[name]
        # Only what looks at each value alone: numbers and dates in text are read as their whole column allows.
        alone = kind in ("categorical", "text") or (kind == "numeric" and pa.types.is_floating(raw.type))
        if not alone or not 0 < len(raw) <= _FEW_ROWS:
            yield kind, [name]
        else:
            alike.setdefault((kind, str(raw.type)), []).append(name)
    for (kind, _), names in alike.items():
        yield kind, names


def _divided(names: Sequence[str], values: AnyArray, reasons: Reasons) -> dict[str, tuple[AnyArray, Reasons]]:
    """What was found of columns one below the other, by column."""
    rows = len(values) // len(names)
    apart: dict[str, tuple[AnyArray, Reasons]] = {
        name: (values[i * rows : (i + 1) * rows], {}) for i, name in enumerate(names)
    }
    for row, why in reasons.items():
        apart[names[row // rows]][1][row % rows] = why
    return apart


def clean_text(raw: pa.Array) -> pa.Array:
    """Text without white space around it; what is then empty is null."""
    trimmed = pc.utf8_trim_whitespace(raw.cast(pa.large_string()))
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.large_string()), trimmed)


def parse_numbers(raw: pa.Array) -> tuple[pa.Array, BoolArray]:
    """Numbers written as text: float64 with nulls, and which values are text that is no number.

    Words for "missing" (``NA``, ``null``, ``?`` and the like) are null and no error.
    """
    text = clean_text(raw)
    text = pc.if_else(pc.is_in(pc.utf8_lower(text), pa.array(MISSING_WORDS, pa.large_string())), None, text)
    try:
        return text.cast(pa.float64()), np.zeros(len(text), bool)
    except pa.ArrowInvalid:
        pass
    lower = pc.utf8_lower(text)
    text = pc.if_else(pc.equal(lower, "true"), "1", pc.if_else(pc.equal(lower, "false"), "0", text))
    fits = pc.match_substring_regex(text, NUMBER)
    bad = pc.fill_null(pc.invert(fits), False)
    return pc.if_else(fits, text, None).cast(pa.float64()), np.asarray(bad)


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array, of the type under an extension or a dictionary."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    plain = plain_type(column.type)
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if column.type != plain:
        column = column.cast(plain)
    joined = column.combine_chunks()
    return joined if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text of any width."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a type is bytes of any width."""
    types = pa.types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def _wrong(raw: pa.Array, reason: str) -> Reasons:
    return dict.fromkeys(np.flatnonzero(np.asarray(raw.is_valid())).tolist(), reason)


def _numeric(raw: pa.Array) -> tuple[AnyArray, Reasons]:
    kind = raw.type
    bad: BoolArray = np.zeros(len(raw), bool)
    if is_bytes(kind):
        raw, bad = _decoded(raw)
        kind = raw.type
    if is_text(kind):
        numbers, no_number = parse_numbers(raw)
        bad = bad | no_number
    elif pa.types.is_time(kind) or pa.types.is_duration(kind):
        numbers = raw.cast(pa.int64() if raw.type.bit_width == 64 else pa.int32()).cast(pa.float64())
    elif pa.types.is_boolean(kind) or pa.types.is_null(kind):
        numbers = raw.cast(pa.int8()).cast(pa.float64())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = raw.cast(pa.float64(), safe=False)
    else:
        return np.full(len(raw), np.nan), _wrong(raw, "not a number")
    values = np.array(numbers.to_numpy(zero_copy_only=False), np.float64)
    reasons = dict.fromkeys(np.flatnonzero(bad).tolist(), "not a number")
    infinite = np.isinf(values)
    if infinite.any():
        values[infinite] = np.nan
        reasons |= dict.fromkeys(np.flatnonzero(infinite).tolist(), "not a finite number")
    return values, reasons


def _as_text(raw: pa.Array, wanted: str) -> tuple[pa.Array, Reasons]:
    """Any scalar column as large_string; what cannot be text is null and has a reason."""
    kind = raw.type
    if is_text(kind) or pa.types.is_null(kind):
        return raw.cast(pa.large_string()), {}
    if is_bytes(kind):
        text, bad = _decoded(raw)
        return text, dict.fromkeys(np.flatnonzero(bad).tolist(), f"not {wanted}: bytes that are no UTF-8")
    if pa.types.is_nested(kind):
        return pa.nulls(len(raw), pa.large_string()), _wrong(raw, f"not {wanted}")
    if pa.types.is_floating(kind):
        raw = pc.if_else(pc.is_nan(raw), None, raw)
    return raw.cast(pa.large_string()), {}


def _decoded(raw: pa.Array) -> tuple[pa.Array, BoolArray]:
    """Bytes as text, and which of them are no UTF-8."""
    try:
        return raw.cast(pa.large_binary()).cast(pa.large_string()), np.zeros(len(raw), bool)
    except pa.ArrowInvalid:
        pass
    texts: list[str | None] = []
    bad = np.zeros(len(raw), bool)
    for i, value in enumerate(raw.to_pylist()):
        try:
            texts.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            texts.append(None)
            bad[i] = True
    return pa.array(texts, pa.large_string()), bad


def _text(raw: pa.Array) -> tuple[AnyArray, Reasons]:
    text, reasons = _as_text(raw, "text")
    shown = pc.if_else(pc.is_null(clean_text(text)), None, text)
    return shown.to_numpy(zero_copy_only=False), reasons


def canonical_category(text: pa.Array) -> pa.Array:
    """One way to write each category, however its file stores it: ``1.0`` is ``1``, ``True`` is ``true``."""
    clean = pc.replace_substring_regex(clean_text(text), r"^(-?\d+)\.0+$", r"\1")
    lower = pc.utf8_lower(clean)
    return pc.if_else(pc.is_in(lower, pa.array(["true", "false"], pa.large_string())), lower, clean)


def _categorical(raw: pa.Array) -> tuple[AnyArray, Reasons]:
    text, reasons = _as_text(raw, "a category")
    encoded = text.dictionary_encode()
    # Few categories, many rows: clean each once, and let equal rows share one string.
    names = np.append(canonical_category(encoded.dictionary).to_numpy(zero_copy_only=False), [None])
    codes = pc.fill_null(encoded.indices, len(names) - 1).to_numpy(zero_copy_only=False)
    return names[codes], reasons


def _date(raw: pa.Array) -> tuple[AnyArray, Reasons]:
    dates, bad = parse_dates(_as_text(raw, "a date")[0] if is_bytes(raw.type) else raw)
    values = dates.to_numpy(zero_copy_only=False).astype("datetime64[ms]")
    return values, dict.fromkeys(np.flatnonzero(bad).tolist(), "not a date")


def _encoded(raw: pa.Array, base: str, paths: bool, noun: str) -> tuple[AnyArray, Reasons]:
    """Encoded files, and the places of files; ``noun`` says what a cell is to hold."""
    kind = raw.type
    values = np.full(len(raw), None, object)
    if pa.types.is_struct(kind) and {"bytes", "path"} & {kind.field(i).name for i in range(kind.num_fields)}:
        given = [None if row is None else (row.get("bytes") or row.get("path")) for row in raw.to_pylist()]
    elif is_bytes(kind) or is_text(kind) or pa.types.is_null(kind):
        given = raw.to_pylist()
    else:
        return values, _wrong(raw, f"not {noun}: neither bytes nor a path or URL")
    reasons: Reasons = {}
    for i, value in enumerate(given):
        try:
            values[i] = _file_value(value, base, paths, noun)
        except ValueError as error:
            reasons[i] = str(error)
    return values, reasons


def _file_value(value: Any, base: str, paths: bool, noun: str) -> bytes | str | None:
    if not value or isinstance(value, bytes):
        return value or None
    text = str(value).strip()
    if text[:5].lower() == "data:":
        return _inline(text, noun)
    if text and not paths:
        raise ValueError(f"not {noun}: paths and URLs are not taken here, only bytes")
    return resolve(text, base) if text else None


def _inline(text: str, noun: str) -> bytes:
    """The bytes of a ``data:`` URL."""
    head, comma, body = text.partition(",")
    try:
        data = base64.b64decode(body, validate=True) if head.endswith(";base64") else unquote_to_bytes(body)
    except (binascii.Error, ValueError):
        data = b""
    if not comma or not data:
        raise ValueError(f"not {noun}: a data URL that cannot be read")
    return data


_COERCE: Mapping[Kind, Callable[[pa.Array], tuple[AnyArray, Reasons]]] = {
    "numeric": _numeric,
    "text": _text,
    "categorical": _categorical,
    "date": _date,
    "series": parse_series,
    "node": parse_nodes,
}

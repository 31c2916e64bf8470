"""Dates, however they are written, as milliseconds of universal time."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ray.types import AnyArray, BoolArray

MS = pa.timestamp("ms")
ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?$"
ISO_ZONE = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}(:?\d{2})?)$"
_OFFSET = r"(Z|[+-]\d{2}(:?\d{2})?)$"
# A number below is taken as seconds since 1970 (that is until the year 5138), one above as milliseconds.
SECONDS_BELOW = 1e11
_A_MS = {"us": 1000, "ns": 1_000_000}
"""Units of a timestamp in a millisecond, of those that are finer."""

FORMATS = (
    "%Y-%m",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%b %d %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d %b %Y",
    "%d %B %Y",
    "%d-%b-%Y",
    "%b %Y",
    "%m/%d/%Y",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
)
"""Other ways to write a date that are read. With slashes the month stands first."""


def parse_dates(raw: pa.Array) -> tuple[pa.Array, BoolArray]:
    """Dates as timestamp[ms] in universal time, and which values are given but are no date.

    Parameters
    ----------
    raw : pa.Array (n,)
        Timestamps, dates, numbers (seconds or milliseconds since 1970), or text: ISO 8601 or one of ``FORMATS``.

    Returns
    -------
    dates : pa.Array (n,)
        Null where missing or no date.
    bad : ndarray of bool (n,)
    """
    kind = raw.type
    if pa.types.is_timestamp(kind):
        return raw.cast(pa.timestamp("ms", kind.tz), safe=False).cast(pa.int64()).cast(MS), _none(raw)
    if pa.types.is_date(kind):
        return raw.cast(MS), _none(raw)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _from_numbers(raw)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _from_text(raw.cast(pa.string()))
    return pa.nulls(len(raw), MS), np.array(raw.is_valid())


def parse_times(raw: pa.Array) -> tuple[AnyArray, BoolArray]:
    """Dates as milliseconds of universal time with what is left of them, float64 (n,), to a quarter of a microsecond.

    Points of fast sensors are less than a millisecond apart. NaN where missing or no date; ``raw`` and which values are
    bad as of :func:`parse_dates`.
    """
    dates, bad = parse_dates(raw)
    millis = np.array(dates.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    kind = raw.type
    if pa.types.is_timestamp(kind) and kind.unit in _A_MS:
        units = np.array(pc.fill_null(raw.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), np.int64)
        whole, rest = np.divmod(units, _A_MS[kind.unit])
        return np.where(np.isnan(millis), np.nan, whole + rest / _A_MS[kind.unit]), bad
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        found = pc.extract_regex(raw.cast(pa.string()), r"\d\.\d{3}(?P<rest>\d{1,3})(?:\D|$)")
        rest = pc.utf8_rpad(pc.fill_null(pc.struct_field(found, "rest"), ""), 3, "0").cast(pa.int64())
        return millis + np.sign(millis) * np.asarray(rest, np.float64) / 1000, bad
    return millis, bad


def as_shown(raw: pa.Array) -> pa.Array | None:
    """Dates as the clocks of their own zones show them, without the zones; None where none has a zone."""
    kind = raw.type
    if pa.types.is_timestamp(kind):
        return pc.local_timestamp(raw) if kind.tz is not None else None
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return None
    text = pc.utf8_trim_whitespace(raw.cast(pa.string()))
    zoned = pc.fill_null(pc.match_substring_regex(text, ISO_ZONE), False)
    if not pc.any(zoned).as_py():
        return None
    return pc.if_else(zoned, pc.replace_substring_regex(text, _OFFSET, ""), text)


def _none(raw: pa.Array) -> BoolArray:
    return np.zeros(len(raw), bool)


def _from_numbers(raw: pa.Array) -> tuple[pa.Array, BoolArray]:
    values = np.array(raw.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    with np.errstate(invalid="ignore"):
        millis = np.where(np.abs(values) < SECONDS_BELOW, values * 1000, values)
        fits = np.abs(millis) < 1e15
    bad = ~fits & ~np.isnan(values)
    whole = np.where(fits, millis, 0).astype(np.int64)
    return pa.array(whole, mask=~fits).cast(MS), bad


def _from_text(raw: pa.Array) -> tuple[pa.Array, BoolArray]:
    text = pc.utf8_trim_whitespace(raw)
    text = pc.if_else(pc.equal(text, ""), None, text)
    dates = pa.nulls(len(text), MS)
    for pattern, zone in ((ISO, None), (ISO_ZONE, "UTC")):
        fits = pc.match_substring_regex(text, pattern)
        if pc.any(fits).as_py():
            dates = pc.coalesce(dates, _iso(pc.if_else(fits, text, None), zone))
    for form in FORMATS:
        open_ = pc.and_(pc.is_valid(text), pc.is_null(dates))
        if not pc.any(open_).as_py():
            break
        rest = pc.if_else(open_, text, None)
        dates = pc.coalesce(dates, pc.strptime(rest, format=form, unit="ms", error_is_null=True))
    bad = pc.and_(pc.is_valid(text), pc.is_null(dates))
    return dates, np.asarray(bad)


def _iso(text: pa.Array, zone: str | None) -> pa.Array:
    try:
        return text.cast(pa.timestamp("us", zone)).cast(pa.timestamp("ms", zone), safe=False).cast(pa.int64()).cast(MS)
    except pa.ArrowInvalid:
        # One day that no calendar has fails the whole cast: then each value by itself.
        return pa.array([_one(value) for value in text.to_pylist()], MS)


def _one(value: str | None) -> datetime | None:
    try:
        date = None if value is None else datetime.fromisoformat(value)
    except ValueError:
        return None
    return date.astimezone(UTC).replace(tzinfo=None) if date is not None and date.tzinfo is not None else date

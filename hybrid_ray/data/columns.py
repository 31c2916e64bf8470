"""What a column means: guessing kinds from a sample, with the reason of each guess."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ray.data.coerce import (
    MISSING_WORDS,
    CellError,
    Coerced,
    clean_text,
    coerce,
    is_bytes,
    is_text,
    one_array,
    parse_numbers,
)
from hybrid_ray.data.dates import parse_dates
from hybrid_ray.data.encoded import NOUN, PLURAL
from hybrid_ray.data.files import resolve, state_of
from hybrid_ray.data.folders import ends_like
from hybrid_ray.data.frames import to_table
from hybrid_ray.data.images import is_image
from hybrid_ray.data.pieces import plain_type
from hybrid_ray.data.series import is_series_text, is_series_type
from hybrid_ray.data.sounds import is_sound
from hybrid_ray.data.split import is_split_column
from hybrid_ray.errors import DataError
from hybrid_ray.types import Kind

__all__ = ["CellError", "Coerced", "Guess", "coerce", "infer_kinds", "to_table", "unreadable"]

NEARLY_ALL = 0.98
FEW = 20
LOOKED_AT = 200
MANY_WORDS = 4.0
SPLIT = "split"

_ID = re.compile(r"(?:^|[^a-z])(?:id|ids|uuid|guid|key|index|idx|rowid|unnamed_\d+)$")
_CODE = re.compile(r"(?:^|[^a-z])(?:id|zip|zipcode|zip_code|postcode|postal|postal_code|code|plz|fips|sku)(?:$|[^a-z])")
_FOLD = re.compile(r"^(?:cv_?)?folds?$")
_STARTS: Mapping[Kind, Callable[[bytes], bool]] = {"image": is_image, "audio": is_sound}
_BOOLEAN = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"}, {"on", "off"})


@dataclass(frozen=True)
class Guess:
    """What a column seems to be.

    Attributes
    ----------
    kind : Kind
    reason : str
        What of the sample says so.
    ambiguous : str
        What else it could be, and what to do then; empty when the sample leaves no doubt.
    id_like : bool
        True when it seems to number, name or divide the rows: of no use to learn from, and often a leak.
    """

    kind: Kind
    reason: str
    ambiguous: str = ""
    id_like: bool = False


def infer_kinds(sample: pa.Table, exclude: Collection[str], base: str | None = None) -> dict[str, Guess]:
    """Kinds of the columns of a table, by name, in its order.

    Left out are columns that no kind fits (see :func:`unreadable`), and a column ``split`` of train / dev / test.

    Parameters
    ----------
    sample : pa.Table
        Some rows.
    exclude : collection of str
        Columns to leave out: the label.
    base : str, optional
        Folder that relative paths of images and sounds start from: a few are then looked for, since names of files
        that are not there are only names.

    Examples
    --------
    >>> guesses = infer_kinds(pa.table({"area": [50.5, 61.0], "zip": ["04109", "04277"]}), ())
    >>> {name: guess.kind for name, guess in guesses.items()}
    {'area': 'numeric', 'zip': 'categorical'}
    """
    odd = unreadable(sample)
    guesses: dict[str, Guess] = {}
    for name in sample.column_names:
        if name in exclude or name in odd or (name == SPLIT and is_split_column(sample.column(name))):
            continue
        guesses[name] = _guess(name, one_array(sample.column(name)), base)
    return guesses


def unreadable(sample: pa.Table) -> dict[str, str]:
    """Columns that no kind fits, with the reason."""
    reasons: dict[str, str] = {}
    for name in sample.column_names:
        kind = plain_type(sample.column(name).type)
        fields = {kind.field(i).name for i in range(kind.num_fields)} if pa.types.is_struct(kind) else set()
        if pa.types.is_nested(kind) and not fields & {"bytes", "path"} and not is_series_type(kind):
            reasons[name] = f"values of the type {kind} are of no kind that extractors read"
        elif is_bytes(kind):
            held = one_array(sample.column(name)).drop_null()
            if len(held) and not any(_share_of(kind, held) for kind in _STARTS) and not _is_utf8(held):
                reasons[name] = "bytes that neither start like an image or a sound nor are text"
    return reasons


def _guess(name: str, column: pa.Array, base: str | None) -> Guess:
    kind, held = column.type, column.drop_null()
    if not len(held):
        return Guess(
            "categorical", "no value in the sample", "without a value nothing is known: drop it if it is empty"
        )
    if pa.types.is_boolean(kind):
        return Guess("categorical", "true and false")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Guess("date", f"stored as {kind}")
    if is_series_type(kind):
        return Guess("series", "lists of numbers")
    if pa.types.is_struct(kind):
        files = _kind_of_files(held)
        return Guess(files, f"bytes and paths of {PLURAL[files]}, as Hugging Face datasets store them")
    if is_bytes(kind):
        found = max(_STARTS, key=lambda files: _share_of(files, held))
        share = _share_of(found, held)
        if share:
            doubt = "" if share >= NEARLY_ALL else f"{1 - share:.0%} of the values are no {PLURAL[found]}"
            return Guess(found, f"bytes that start like {NOUN[found]}", doubt)
        held = held.cast(pa.large_binary()).cast(pa.large_string())
    if is_text(held.type):
        return _guess_text(name, held, base)
    values = held.cast(pa.float64(), safe=False) if not _is_time(kind) else None
    return _guess_numbers(name, values) if values is not None else Guess("numeric", f"stored as {kind}")


def _guess_numbers(name: str, held: pa.Array, as_text: str = "") -> Guess:
    values = held.to_numpy(zero_copy_only=False)
    values = values[np.isfinite(values)]
    distinct = np.unique(values)
    n, count, lower = len(values), len(distinct), _words(name)
    start = f"{as_text or 'numbers'}, {count} different in {n} rows"
    if not n:
        return Guess(
            "categorical", "no value in the sample", "without a value nothing is known: drop it if it is empty"
        )
    if count == 1:
        return Guess("numeric", start, "one value in the whole sample: drop it if it never changes")
    if (distinct != np.rint(distinct)).any():
        return Guess("numeric", start)
    if _FOLD.search(lower):
        return Guess("numeric", start, "its name says that it numbers folds; an input if it does not", True)
    if count == n and n >= FEW and (_ID.search(lower) or distinct[-1] - distinct[0] < 2 * n):
        why = "by its name" if _ID.search(lower) else "they count up without gaps"
        return Guess(
            "numeric", start, f"id-like, {why}: it numbers the rows; numeric if its size means something", True
        )
    if _CODE.search(lower):
        return Guess("categorical", f"{start}, codes by the name", "numeric if their size means something")
    if 2 < count <= FEW and n >= 5 * count:
        return Guess("numeric", start, "few different whole numbers: categorical if they are codes without order")
    return Guess("numeric", start)


def _guess_text(name: str, raw: pa.Array, base: str | None) -> Guess:
    held = clean_text(raw).drop_null()
    if not len(held):
        return Guess(
            "categorical", "no value in the sample", "without a value nothing is known: drop it if it is empty"
        )
    n, values = len(held), held.unique()
    count = len(values)
    for files in _STARTS:
        named = _guess_paths(files, held, base)
        if named is not None:
            return named
    if all(is_series_text(text) for text in _some(held)):
        return Guess("series", "lists of numbers, written as JSON")
    lower = set(pc.utf8_lower(values).to_pylist()) if count <= FEW else set()
    if count == 2 and lower in _BOOLEAN:
        return Guess("categorical", f"{' and '.join(sorted(lower))}")
    given = held.filter(pc.invert(pc.is_in(pc.utf8_lower(held), pa.array(MISSING_WORDS, pa.large_string()))))
    numbers, bad = parse_numbers(given)
    if len(given) and bad.mean() <= 1 - NEARLY_ALL:
        return _guess_digits(name, given, numbers, int(bad.sum()))
    _, no_date = parse_dates(given)
    if len(given) and no_date.mean() <= 1 - NEARLY_ALL:
        return _guess_dates(given, int(no_date.sum()))
    if count == 1:
        return Guess(
            "categorical", f"one value in {n} rows", "one value in the whole sample: drop it if it never changes"
        )
    return _guess_words(name, held, count)


def _guess_digits(name: str, given: pa.Array, numbers: pa.Array, n_bad: int) -> Guess:
    """Text that is numbers: measured, or a code that is written in digits."""
    coded = pc.sum(pc.match_substring_regex(given, r"^0\d")).as_py() or 0
    if coded:
        return Guess(
            "categorical",
            f"digits with leading zeros: a code ({coded} of {len(given)} rows)",
            "numeric if the zeros mean nothing",
        )
    guess = _guess_numbers(name, numbers.drop_null(), "numbers written as text")
    if not n_bad:
        return guess
    doubt = f"{n_bad} of {len(given)} values are no numbers and would be missing: categorical if they matter"
    return Guess(guess.kind, guess.reason, "; ".join(d for d in (guess.ambiguous, doubt) if d), guess.id_like)


def _guess_dates(given: pa.Array, n_bad: int) -> Guess:
    slashed = pc.any(pc.match_substring_regex(given, r"^\d{1,2}/\d{1,2}/")).as_py()
    doubts = []
    if slashed:
        doubts.append("read as month/day/year: write the dates as year-month-day if the day stands first")
    if n_bad:
        doubts.append(f"{n_bad} of {len(given)} values are no dates and would be missing")
    return Guess("date", "dates written as text", "; ".join(doubts))


def _guess_words(name: str, held: pa.Array, count: int) -> Guess:
    """Text to be read, names of categories, or names of the rows."""
    n = len(held)
    words = float(np.mean(np.asarray(pc.add(pc.count_substring_regex(held, r"\s+"), 1))))
    unique = count / n
    start = f"{count} different values in {n} rows"
    if (
        words >= 3 * MANY_WORDS
        or (words >= MANY_WORDS and unique >= 0.2)
        or (words >= 2 and unique >= 0.5 and n >= FEW)
    ):
        sure = words >= MANY_WORDS and unique >= 0.5
        return Guess(
            "text",
            f"{start}, {words:.1f} words each",
            "" if sure else "categorical if the values are names of a closed set",
        )
    if n >= FEW and unique >= 0.95 and words < 2:
        doubt = "id-like: it names the rows; text if the words in it mean something, categorical if values return"
        return Guess("categorical", start, doubt, True)
    if name == SPLIT:
        return Guess("categorical", start, "its name says that it divides the rows; an input if it does not", True)
    if count <= max(FEW, 0.02 * n):
        grouped = " or a group key: see data.split.kind grouped" if _ID.search(_words(name)) else ""
        return Guess("categorical", start, f"a code{grouped}" if grouped else "")
    doubt = "many values: text if the words in them mean something; if rows of one value belong together, "
    return Guess("categorical", start, doubt + "name it as data.split.column with kind grouped")


def _guess_paths(files: Kind, held: pa.Array, base: str | None) -> Guess | None:
    values = _some(held)
    inline = sum(v[:12].lower().startswith(f"data:{files}/") for v in values)
    if inline + sum(ends_like(files, v) for v in values) < NEARLY_ALL * len(values):
        return None
    remote = any("://" in v for v in values)
    looked = [v for v in values[:: max(1, len(values) // 5)] if "://" not in v and not v.lower().startswith("data:")]
    if base is not None and looked and not any(_is_there(resolve(v, base)) for v in looked):
        doubt = f"id-like: names of {files} files that are not there; {files} if you put the files beside the data"
        return Guess("categorical", f"names that end like {NOUN[files]}", doubt, True)
    return Guess(files, f"URLs that end like {NOUN[files]}" if remote else f"paths of {PLURAL[files]}")


def _some(held: pa.Array) -> list[Any]:
    """A few values, evenly spaced."""
    return list(held.take(pa.array(np.arange(0, len(held), max(1, len(held) // LOOKED_AT)))).to_pylist())


def _is_there(path: str) -> bool:
    try:
        state_of(path)
    except (DataError, OSError):
        return False
    return True


def _share_of(files: Kind, held: pa.Array) -> float:
    """Share of some values that start like encoded files of a kind."""
    heads = [value[:16] for value in _some(held)]
    return sum(_STARTS[files](head) for head in heads) / len(heads)


def _kind_of_files(held: pa.Array) -> Kind:
    """Of cells with bytes, a path or both: sounds where more of them look like sounds, else images."""
    cells = [(cell.get("bytes") or b"", cell.get("path") or "") for cell in _some(held)]

    def alike(files: Kind) -> int:
        return sum(_STARTS[files](data[:16]) if data else ends_like(files, path) for data, path in cells)

    return max(_STARTS, key=alike)


def _is_utf8(held: pa.Array) -> bool:
    try:
        held.cast(pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_time(kind) or pa.types.is_duration(kind))


def _words(name: str) -> str:
    """A name in lower case with its words apart: ``customerID`` is ``customer_id``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace(" ", "_").replace("-", "_")

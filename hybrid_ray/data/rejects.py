"""The rejects of a run: which rows held something unreadable, where, and why; never what they held."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence

from hybrid_ray.errors import BadRowsError

MAX_LINES = 100_000
HIDDEN = "[redacted]"


def rejects_lines(
    rejects: Iterable[tuple[int, str, str]],
    redact: Collection[str] = (),
    limit: int = MAX_LINES,
    *,
    left_out: int = 0,
) -> bytes:
    """Rejects as JSON lines, sorted by row.

    Parameters
    ----------
    rejects : iterable of (int, str, str)
        Row number, column (several: joined by ``+``), reason.
    redact : collection of str
        Columns of which neither the name nor the reason is shown.
    limit : int, default 100 000
        Lines at most; a last line then says how many there are more.
    left_out : int, default 0
        Lines of the input that are no row at all: the last line says how many.

    Returns
    -------
    bytes
        One ``{"row", "column", "reason"}`` a line.
    """
    shown = sorted({shown_reject(reject, redact) for reject in rejects})
    lines = [json.dumps({"row": row, "column": column, "reason": reason}) for row, column, reason in shown[:limit]]
    if len(shown) > limit:
        lines.append(json.dumps({"more": len(shown) - limit}))
    if left_out:
        lines.append(json.dumps({"lines_left_out": left_out}))
    return "".join(f"{line}\n" for line in lines).encode()


def shown_reject(reject: tuple[int, str, str], redact: Collection[str]) -> tuple[int, str, str]:
    """Row, column and reason as a record or a message may show them: nothing of a redacted column but the row."""
    row, column, reason = reject
    if set(redact) & {column, *column.split("+")}:
        return int(row), HIDDEN, "unreadable"
    return int(row), column, reason


def too_many_bad(bad: int, n_rows: int, share: float, rejects: Sequence[tuple[int, str, str]]) -> BadRowsError:
    """The error of a run with more unreadable rows than ``data.max_bad_fraction``.

    Parameters
    ----------
    bad : int
    n_rows : int
    share : float
        What is allowed.
    rejects : sequence of (int, str, str)
        As they may be shown; the first is named.
    """
    row, column, reason = rejects[0]
    return BadRowsError(
        f"data.max_bad_fraction: at most {share:g} of the rows may hold something unreadable; got {bad} of {n_rows}, "
        f"the first in row {row}, column {column!r}: {reason}. Mend the rows or raise the fraction",
        rejects,
    )

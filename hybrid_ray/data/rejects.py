"""The rejects of a run: which rows held something unreadable, where, and why; never what they held."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

MAX_LINES = 100_000
HIDDEN = "[redacted]"


def rejects_lines(
    rejects: Iterable[tuple[int, str, str]], redact: Collection[str] = (), limit: int = MAX_LINES
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

    Returns
    -------
    bytes
        One ``{"row", "column", "reason"}`` a line.
    """
    hidden = set(redact)
    shown = sorted({_shown(row, column, reason, hidden) for row, column, reason in rejects})
    lines = [json.dumps({"row": row, "column": column, "reason": reason}) for row, column, reason in shown[:limit]]
    if len(shown) > limit:
        lines.append(json.dumps({"more": len(shown) - limit}))
    return "".join(f"{line}\n" for line in lines).encode()


def _shown(row: int, column: str, reason: str, hidden: set[str]) -> tuple[int, str, str]:
    if hidden & {column, *column.split("+")}:
        return int(row), HIDDEN, "unreadable"
    return int(row), column, reason

"""Rows that are cut from a long table, a point a row.

Windows overlap, so that they are cut where they are read, by every process from its own copy of the points, and never
stored.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

import pyarrow as pa

from hybrid_ray.data.pieces import Piece, Scan
from hybrid_ray.data.scored import ScoredWindows
from hybrid_ray.data.sink import is_answer
from hybrid_ray.data.sliding import SlidingWindows
from hybrid_ray.data.windows import SPLIT, Windows, split_column
from hybrid_ray.digests import digest_json
from hybrid_ray.errors import DataError
from hybrid_ray.spec import DataSpec

if TYPE_CHECKING:
    from hybrid_ray.data.source import Source

CUT = "windows://"
_PIECE_ROWS = 512
_KEPT: OrderedDict[str, Cut] = OrderedDict()
"""The last tables that this process cut rows of, by digest of what was asked: pieces of one follow each other."""
_MOST_KEPT = 2


class Cut(Protocol):
    """Rows that were found in points; each is made when it is read.

    Attributes
    ----------
    added : tuple of str
        Columns that rows have and points must not, beside the split's.
    names_more : str
        What in the spec names further columns of the points.
    notes : list of str
        What a reader must know of how points became rows.
    step_length : str, float or None
        Of all series, as a spec says it; None where steps are points, or are put together.
    """

    added: ClassVar[tuple[str, ...]]
    names_more: ClassVar[str]
    notes: list[str]
    step_length: str | float | None

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        ...

    @property
    def n_series(self) -> int:
        """Of how many series."""
        ...

    @property
    def n_bytes(self) -> int:
        """Bytes of what the rows hold, about."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Of every table of rows."""
        ...

    def table(self, start: int, n: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows ``start`` to ``start + n``; nothing is made of the others."""
        ...


def cut_points(data: DataSpec, points: Source, training: bool, only_scored: bool = False) -> Cut:
    """The rows of a spec's points, which are open; read once by a process that asks again.

    Parameters
    ----------
    data : DataSpec
    points : Source
    training : bool
        False for rows to predict.
    only_scored : bool, default False
        True: of rows to forecast those of the final score alone.
    """
    from hybrid_ray.data.source import read_piece

    key = digest_json([points.digest, data.model_dump(mode="json"), training, only_scored])
    if key not in _KEPT:
        kind: type[Windows | SlidingWindows] = SlidingWindows
        if data.series is not None:
            kind = ScoredWindows if only_scored else Windows
        known = points.schema.names
        columns = _checked(kind.named_columns(data, known, training), known, kind.added)
        tables = [table for piece in points.pieces for table in read_piece(points, piece, columns, 65_536)]
        made = kind(pa.concat_tables(tables, promote_options="permissive"), data, training)
        read = {*columns, split_column(data, known), data.label}
        made.notes += _left_unread([name for name in known if name not in read], kind.names_more)
        _KEPT[key] = made
        while len(_KEPT) > _MOST_KEPT:
            _KEPT.popitem(last=False)
    _KEPT.move_to_end(key)
    return _KEPT[key]


def _checked(named: Mapping[str, str | None], known: Sequence[str], taken: Collection[str]) -> list[str]:
    """The columns that are read, after refusing one that is not there or is named like one that rows or answers get."""
    for where, name in named.items():
        if name is not None and name not in known:
            raise DataError(f"{where}: must be a column; got {name!r}. Columns of the points: {list(known[:40])}")
        if name in taken or (name == SPLIT and where != "data.split.column"):
            raise DataError(
                f"{where}: must not be named like a column that rows of series get; got {name!r}. Rename it"
            )
        # Answers say by these which series and time they are of: better refused now than after the training.
        if where.endswith((".id", ".time")) and is_answer(name or "", forecast=where.startswith("data.series.")):
            raise DataError(
                f"{where}: must not be named like a column that predictions are written under; got {name!r}. Rename it"
            )
    return list(dict.fromkeys(name for name in named.values() if name is not None))


def _left_unread(columns: Sequence[str], names_more: str) -> list[str]:
    """Which columns of the points nothing is made of."""
    if not columns:
        return []
    shown = ", ".join(map(repr, columns[:10])) + (f" and {len(columns) - 10} more" if len(columns) > 10 else "")
    return [f"Columns that are not read: {shown}; {names_more}."]


def points_of(data: DataSpec) -> DataSpec:
    """The same data as what it is before it is cut: a table of points."""
    bare = {"series": None, "windows": None, "columns": None, "drop": (), "redact": (), "groups": (), "limit": None}
    return data.model_copy(update=bare)


def scan_cut(made: Cut, shard_rows: int) -> Scan:
    """Pieces of rows, one after another, of a shard each where shards are small: workers share pieces."""
    size, n = min(shard_rows, _PIECE_ROWS), made.n_rows
    pieces = [Piece(0, CUT, 0, min(size, n - start), start, start + size) for start in range(0, n, size)]
    return Scan(made.schema, pieces, 0, {}, made.n_bytes)

"""Golden rows: a few rows kept with a graph, whose predictions are checked when it is loaded."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hybrid_ray.data.encoded import DecodeError, fetch
from hybrid_ray.data.images import decode, encode_png
from hybrid_ray.data.series import series_cell
from hybrid_ray.data.sounds import decode_sound, encode_wav
from hybrid_ray.errors import ArtifactError
from hybrid_ray.graph import Graph
from hybrid_ray.store.manifest import MAX_TOLERANCE, PARITY
from hybrid_ray.types import ENCODED, HISTORY, AnyArray, Batch, Kind

if TYPE_CHECKING:
    import pyarrow as pa

Mode = Literal["rows", "synthetic", "none"]

TOLERANCE = 1e-4
"""How far a golden row's outputs may be off in fp32, on another machine: relative to an output's size above 1."""
PRECISION_ROWS = 128
"""Rows on which it is measured how far answers depend on company, where they do."""
FILE_BYTES = 256 * 2**10
"""Bytes of an encoded image or sound above which a golden row holds a smaller one of it."""
IMAGE_SIDE = 256
"""Longer side of such a smaller picture, pixels."""
SOUND_RATE, SOUND_SECONDS = 16_000, 4.0
"""Samples a second, and seconds from the start, that a golden row holds of a sound that is as large."""
TEXT_CHARACTERS = 4096
"""Characters of a text that a golden row holds."""
SERIES_STEPS = 1024
"""Steps of a series that a golden row holds, the last ones."""


@dataclass(frozen=True)
class Golden:
    """Rows and what the graph answers to them.

    Attributes
    ----------
    rows : list of dict
        JSON-able cells by column: images and sounds as ``{"base64": …}``, dates as ISO text, series as lists of steps,
        None where missing.
    outputs : list of list of float
        Expected outputs, (n, n_outputs).
    tolerance : float
        How far outputs may be off at load: ``TOLERANCE``, or twice what another number format does to these rows.
    precision : float
        How far outputs of a row by itself and in a batch may differ on one machine: ``PARITY``, or twice the largest
        difference on ``PRECISION_ROWS`` rows where an extractor's features depend on company.
    mode : {"rows", "synthetic"}
        Whether the rows are real.
    """

    rows: list[dict[str, Any]]
    outputs: list[list[float]]
    tolerance: float = TOLERANCE
    precision: float = PARITY
    mode: Literal["rows", "synthetic"] = "rows"

    def to_json(self) -> dict[str, Any]:
        """The part that is written into the artifact's file."""
        return {"rows": self.rows, "outputs": self.outputs}


def make_golden(
    graph: Graph,
    table: pa.Table | None,
    mode: Mode = "rows",
    redact: Collection[str] = (),
    *,
    rows: int = 8,
    base: str = "",
    seed: int = 0,
) -> Golden | None:
    """Choose golden rows and let the graph answer them.

    The graph is set up on the CPU, where every artifact must load.

    Parameters
    ----------
    graph : Graph
    table : pa.Table or None
        Rows to choose from, evenly; not used for ``synthetic``.
    mode : {"rows", "synthetic", "none"}, default "rows"
        Real rows, rows generated from the columns' kinds, or none at all.
    redact : collection of str
        Columns whose values no golden row may show: they are missing in all of them, for the expected outputs too.
    rows : int, default 8
        Number of golden rows.
    base : str, default ""
        Folder against which relative paths of images and sounds are resolved.
    seed : int, default 0
        Seed of generated rows.

    Returns
    -------
    Golden or None
        None for the mode ``none``, and when there is no row to choose.

    Raises
    ------
    ArtifactError
        The graph's answers are not finite, or depend on the batch by more than any precision may.
    """
    if mode == "none":
        return None
    from hybrid_ray.data.columns import coerce

    chosen = _generated(graph, rows, seed) if mode == "synthetic" else _chosen(table, list(graph.columns), rows)
    if chosen is None or len(chosen) == 0:
        return None
    batch = coerce(chosen, graph.columns, base).batch
    cells = to_cells({c: values for c, values in batch.items() if c not in redact}, graph.columns)
    graph.setup("cpu")
    outputs = graph.outputs(to_batch(cells, graph.columns))
    if not np.isfinite(outputs).all():
        raise ArtifactError(f"{graph.name}: outputs of golden rows must be finite; got {outputs.tolist()}")
    company = _company_effect(graph, to_batch(cells, graph.columns))
    tolerance = 2 * max(company, _format_effect(graph, to_batch(cells, graph.columns)))
    if company > PARITY:
        more = _chosen(table, list(graph.columns), PRECISION_ROWS) if mode == "rows" else chosen
        company = max(company, _company_effect(graph, coerce(more, graph.columns, base).batch))
    if company > MAX_TOLERANCE:
        raise ArtifactError(
            f"{graph.name}: outputs of a row by itself and in a batch must agree within {MAX_TOLERANCE}; got a "
            f"difference of {company:.3g}. Use precision: fp32"
        )
    precision = PARITY if company <= PARITY else min(2 * company, MAX_TOLERANCE)
    tolerance = min(max(TOLERANCE, tolerance), MAX_TOLERANCE)
    return Golden(cells, outputs.tolist(), tolerance, precision, mode)


def replay(graph: Graph, golden: Golden, where: str) -> None:
    """Let a graph that is set up answer the golden rows.

    Raises
    ------
    ArtifactError
        An answer is off: row, expected, got, tolerance.
    """
    expected = np.asarray(golden.outputs, np.float64).reshape(len(golden.rows), -1)
    got = graph.outputs(to_batch(golden.rows, graph.columns))
    if got.shape != expected.shape:
        raise ArtifactError(f"{where}: golden rows must give outputs of shape {expected.shape}; got {got.shape}")
    off = np.flatnonzero(~(_difference(got, expected) <= golden.tolerance).all(axis=1))
    if len(off):
        row = int(off[0])
        raise ArtifactError(
            f"{where}: golden row {row} must give {_rounded(expected[row])} within {golden.tolerance:g}; got "
            f"{_rounded(got[row])}. The machine or its packages answer differently than those that saved the graph; "
            "check=False loads it all the same"
        )


def to_cells(batch: Batch, columns: Mapping[str, Kind]) -> list[dict[str, Any]]:
    """Rows of a batch as JSON-able cells; columns that are not in the batch are missing."""
    n = len(next(iter(batch.values()))) if batch else 0
    batch = _cut_together(batch, columns)
    return [
        {name: _cell(batch[name][row], kind) if name in batch else None for name, kind in columns.items()}
        for row in range(n)
    ]


def _cut_together(batch: Batch, columns: Mapping[str, Kind]) -> Batch:
    """A history and its covariates without as many first steps each, so that ``_cell`` cuts off no more of one."""
    series = [name for name, kind in columns.items() if kind == "series" and name in batch]
    if HISTORY not in series or len(series) == 1:
        return batch
    cut: dict[str, AnyArray] = {name: batch[name].copy() for name in series}
    for row, history in enumerate(batch[HISTORY]):
        longest = max(len(cut[name][row]) if cut[name][row] is not None else 0 for name in series)
        gone = min(max(longest - SERIES_STEPS, 0), len(history) - 1) if history is not None else 0
        for name in series:
            cut[name][row] = cut[name][row][gone:] if cut[name][row] is not None else None
    return {**batch, **cut}


def to_batch(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Kind]) -> Batch:
    """A batch of rows of cells.

    Raises
    ------
    ArtifactError
        A cell is not one that ``to_cells`` makes.
    """
    batch: dict[str, AnyArray] = {}
    try:
        for name, kind in columns.items():
            values = [row[name] for row in rows]
            if kind == "numeric":
                batch[name] = np.array([math.nan if v is None else float(v) for v in values], np.float64)
            elif kind == "date":
                batch[name] = np.array(["NaT" if v is None else v for v in values], "datetime64[ms]")
            else:
                batch[name] = np.empty(len(rows), object)
                for row, value in enumerate(values):  # one by one: arrays of one shape would become one array
                    batch[name][row] = _FROM_CELL.get(kind, _text)(value)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ArtifactError(f"golden rows: must hold a cell of its kind for every column; {error}") from error
    return batch


def _chosen(table: pa.Table | None, columns: list[str], rows: int) -> pa.Table | None:
    """Rows spread over the table."""
    if table is None or len(table) == 0:
        return None
    some = np.unique(np.linspace(0, len(table) - 1, min(rows, len(table))).round().astype(np.int64))
    return table.select([name for name in columns if name in table.column_names]).take(some)


def _generated(graph: Graph, rows: int, seed: int) -> pa.Table:
    from hybrid_ray.data.generate import generate_rows

    return generate_rows(graph.columns, graph.task, rows, max(graph.n_outputs, 2), seed, graph.label)


def _company_effect(graph: Graph, batch: Batch) -> float:
    """The largest difference between rows by themselves and all together."""
    n = len(next(iter(batch.values())))
    alone = [graph.outputs({c: values[row : row + 1] for c, values in batch.items()}) for row in range(n)]
    return float(_difference(np.concatenate(alone), graph.outputs(batch)).max())


def _format_effect(graph: Graph, batch: Batch) -> float:
    """The largest difference between this machine's answers and those of one with other number formats."""
    others = {key: extractor.counterpart("cpu") for key, extractor in graph.extractors.items()}
    elsewhere = {key: other for key, other in others.items() if other is not None}
    if not elsewhere:
        return 0.0
    moved = replace(graph, extractors=graph.extractors | elsewhere)
    return float(_difference(moved.outputs(batch), graph.outputs(batch)).max())


def _difference(got: AnyArray, expected: AnyArray) -> AnyArray:
    """Distance of outputs, in units of an output's size where that is above 1: probabilities and prices alike."""
    distance: AnyArray = np.abs(got - expected) / np.maximum(1.0, np.abs(expected))
    return distance


def _cell(value: Any, kind: Kind) -> Any:
    if kind == "numeric":
        return float(value) if math.isfinite(value) else None
    if kind == "date":
        return None if np.isnat(value) else str(np.datetime64(value, "ms"))
    if value is None:
        return None
    if kind == "series":
        return series_cell(value, SERIES_STEPS)
    if kind == "node":
        return value  # cut off, it would be no node any more
    return _small_file(value, kind) if kind in ENCODED else str(value)[:TEXT_CHARACTERS]


def _small_file(value: bytes | str, kind: Kind) -> dict[str, str] | None:
    """A file's own bytes, so that the artifact needs no other file; a large one made smaller."""
    try:
        data = fetch(value, kind=kind)
        data = data if len(data) <= FILE_BYTES else _SMALLER[kind](data)
    except DecodeError:
        return None
    return {"base64": base64.b64encode(data).decode()}


def _small_image(data: bytes) -> bytes:
    picture = decode(data)
    picture.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
    return encode_png(picture)


def _small_sound(data: bytes) -> bytes:
    return encode_wav(decode_sound(data, SOUND_RATE, SOUND_SECONDS), SOUND_RATE)


_SMALLER: Mapping[Kind, Callable[[bytes], bytes]] = {"image": _small_image, "audio": _small_sound}


def _file(value: Any) -> bytes | None:
    return None if value is None else base64.b64decode(value["base64"], validate=True)


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"a text must be a string; got a {type(value).__name__}")
    return value


def _series(value: Any) -> AnyArray | None:
    if value is None:
        return None
    steps = np.array([[math.nan if v is None else float(v) for v in step] for step in value], np.float64)
    if steps.ndim != 2:
        raise TypeError(f"a series must be steps of as many numbers each; got {steps.ndim} dimensions")
    return steps


_FROM_CELL: Mapping[Kind, Callable[[Any], Any]] = {"image": _file, "audio": _file, "series": _series}


def _rounded(values: AnyArray) -> list[float]:
    return [float(f"{v:.6g}") for v in values]

"""The data card: where the rows come from, what is missing, and what was done to them, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.files import public_uri
from hybrid_ray.data.parquet import count_nulls
from hybrid_ray.data.rows import Rows
from hybrid_ray.data.source import Source, read_piece
from hybrid_ray.spec import DataSpec
from hybrid_ray.types import ENCODED, Kind

COUNT_ROWS = 16_384

Step = dict[str, Any]


def data_card(
    data: DataSpec,
    source: Source,
    rows: Rows,
    *,
    reasons: Mapping[str, str],
    rejected_rows: int,
    reject_counts: Mapping[tuple[str, str], int],
    rejects_path: str,
    folds: int,
) -> dict[str, Any]:
    """What a reader must know of the data, JSON-able; no value of any row stands in it.

    Parameters
    ----------
    data : DataSpec
        Resolved.
    source : Source
    rows : Rows
    reasons : mapping of str to str
        Why each column is taken as it is, by ``data.columns.<name>``.
    rejected_rows : int
        Rows with something unreadable.
    reject_counts : mapping of (str, str) to int
        How often each column held what is unreadable for which reason.
    rejects_path : str
        File of the store that lists them; empty when there is none.
    folds : int
        Folds that were asked for.

    Returns
    -------
    dict
        As ``hybrid_ray.evaluation.schema.DataCard`` takes it.
    """
    kinds = data.columns or {}
    missing = count_missing(source, kinds)
    paths = [data.path] if isinstance(data.path, str) else list(data.path)
    columns = [
        {"name": name, "kind": kind, "missing": missing[name], "note": _note(name, data, reasons)}
        for name, kind in kinds.items()
    ]
    by_reason = Counter({key: n for key, n in reject_counts.items() if n})
    return {
        "path": ", ".join(public_uri(path) for path in paths),
        "label": data.label,
        "rows": source.n_rows,
        "source": data.source or source.about.get("source"),
        "licence": data.licence or source.about.get("licence"),
        "columns": columns,
        "preparation": _steps(data, source, rows, rejected_rows, sum(by_reason.values())),
        "split": {
            "kind": rows.split.kind,
            "note": rows.split.note,
            "train": int((rows.split.fold >= 0).sum()),
            "test": int(rows.split.test.sum()),
            "folds": int(rows.split.fold.max()) + 1 if len(rows.split.fold) else folds,
        },
        "rejects": {
            "rows": rejected_rows,
            "reasons": [{"reason": why, "rows": n, "column": column} for (column, why), n in by_reason.most_common()],
            "path": rejects_path,
        },
    }


def count_missing(source: Source, kinds: Mapping[str, Kind]) -> dict[str, int]:
    """Rows in which each column is missing or not of its kind. Reads every column but files, in a stream."""
    encoded = [name for name, kind in kinds.items() if kind in ENCODED]
    counts: Counter[str] = Counter()
    known = count_nulls(source.pieces, encoded) if source.format == "parquet" else None
    counts.update(known or {})
    read = {name: kind for name, kind in kinds.items() if known is None or name not in known}
    for piece in source.pieces if read else ():
        for table in read_piece(source, piece, list(read), COUNT_ROWS):
            batch = coerce(table, read, source.base).batch
            for name, kind in read.items():
                counts[name] += _absent(batch[name], kind)
    return {name: counts[name] for name in kinds}


def _absent(values: np.ndarray, kind: Kind) -> int:
    if kind == "numeric":
        return int(np.isnan(values).sum())
    if kind == "date":
        return int(np.isnat(values).sum())
    return sum(value is None for value in values)


def _note(name: str, data: DataSpec, reasons: Mapping[str, str]) -> str:
    why = reasons.get(f"data.columns.{name}", "")
    return "; ".join(part for part in ("redacted" if name in data.redact else "", why) if part)


def _steps(data: DataSpec, source: Source, rows: Rows, rejected_rows: int, rejected_values: int) -> list[Step]:
    about = source.about
    where = f"{about['files']} {source.format} files" if about.get("files", 0) > 1 else source.format
    held = ", ".join(f"{key} {about[key]}" for key in ("separator", "encoding") if key in about)
    steps = [_step("rows read", source.n_rows, f"{where}{': ' + held if held else ''}")]
    if data.limit is not None:
        steps.append(_step("rows limited", data.limit, "the first of the data (data.limit)"))
    if source.malformed:
        steps.append(_step("lines left out", source.malformed, f"they do not fit the {source.format} format"))
    if data.drop:
        steps.append(_step("columns dropped", len(data.drop), "no model reads them (data.drop)"))
    if data.redact:
        steps.append(_step("columns redacted", len(data.redact), "read by the model, shown in no record (data.redact)"))
    if data.groups:
        steps.append(_step("columns to group by", len(data.groups), "the test rows are scored by group (data.groups)"))
    if rows.annotated is not None:
        labelled, how = int(rows.annotated.labelled.sum()), rows.annotated.how
        steps.append(_step("labels made of annotators'", labelled, f"{len(data.annotators)} annotators, by {how}"))
    if rows.unlabelled:
        steps.append(_step("rows without a label left out", rows.unlabelled, "in no fold and not in the test rows"))
    classes = rows.target.classes
    if classes is not None:
        steps.append(_step("labels coded", rows.n_rows - rows.unlabelled, f"{len(classes)} classes, in sorted order"))
    elif rows.transform == "log":
        steps.append(_step("labels transformed", rows.n_rows - rows.unlabelled, "log(1 + y); undone in predictions"))
    detail = f"in {rejected_rows} rows: they count as missing" if rejected_values else "every value is of its kind"
    steps.append(_step("unreadable values set aside", rejected_values, detail))
    split = rows.split
    steps.append(_step("test rows set aside", int(split.test.sum()), f"{split.kind} split; used once, at the end"))
    n_folds = int(split.fold.max()) + 1 if len(split.fold) else 0
    order = "consecutive in time" if split.forward else "each held out once"
    steps.append(_step("training rows in folds", int((split.fold >= 0).sum()), f"{n_folds} folds, {order}"))
    return steps


def _step(step: str, count: int, detail: str) -> Step:
    return {"step": step, "count": count, "detail": detail}

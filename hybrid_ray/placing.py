"""The extractors of a spec with nothing left open: the defaults where none is named, their columns and their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_ray.errors import SpecError
from hybrid_ray.registry import EXTRACTORS, nearest
from hybrid_ray.spec import ExtractorSpec, SeriesSpec, Spec
from hybrid_ray.types import CLUSTERING, HISTORY, Kind, Task


def place_extractors(
    spec: Spec, kinds: Mapping[str, Kind], task: Task, n_rows: int, reasons: dict[str, str]
) -> tuple[tuple[ExtractorSpec, ...], list[str]]:
    """Extractors with ids that differ and explicit columns; and warnings about the defaults.

    Parameters
    ----------
    spec : Spec
    kinds : mapping of str to Kind
        The columns that are inputs.
    task : Task
    n_rows : int
    reasons : dict of str to str
        Takes the reason of each choice, by dotted path.

    Raises
    ------
    SpecError
        Extractors do not fit the columns or the task; every fault is named.
    """
    from hybrid_ray.extractors.defaults import default_extractors, left_open

    entries, warnings = [_told(entry, spec.data.series) for entry in spec.extractors], list[str]()
    for i, entry in enumerate(entries):
        weights = left_open(entry.name, entry.params)
        if weights is not None:
            entries[i] = entry.model_copy(update={"params": entry.params.model_copy(update=weights.params)})
            reasons[f"extractors.{i}"] = weights.reason
    if not entries:
        for i, choice in enumerate(default_extractors(kinds, task, n_rows)):
            entry = ExtractorSpec(name=choice.name, params=choice.params, columns=choice.columns)
            entries.append(_told(entry, spec.data.series))
            reasons[f"extractors.{i}"] = "; ".join(part for part in (choice.reason, choice.warning) if part)
            warnings += [choice.warning] if choice.warning else []
        unread = sorted(set(kinds).difference(*(entry.columns or () for entry in entries)))
        if entries and unread:
            of = sorted({kinds[name] for name in unread})
            warnings.append(f"no default reads the columns {unread}, of kind {of}: name an extractor that does")
    faults = (
        [] if entries else [f"extractors: no default reads columns of kind {sorted(set(kinds.values()))}. Name one"]
    )
    ids = ids_of(entries)
    placed = []
    for i, (entry, own_id) in enumerate(zip(entries, ids, strict=True)):
        columns, found = _columns_of(entry, kinds, f"extractors[{i}]")
        faults += found
        placed.append(entry.model_copy(update={"id": own_id, "columns": columns}))
    faults += _variant_faults(placed)
    faults += _unfit_faults(placed, task, spec.data.series)
    if faults:
        raise SpecError(faults)
    return tuple(placed), warnings


def _unfit_faults(entries: Sequence[ExtractorSpec], task: Task, series: SeriesSpec | None) -> list[str]:
    """Extractors that learn from labels where there are none to learn from, or do not forecast what is asked."""
    forecasts, unlabelled = task == "forecasting", task in ("anomaly", *CLUSTERING)
    faults = []
    for i, entry in enumerate(entries):
        tags = EXTRACTORS.get(entry.name).tags
        if unlabelled and tags.supervised:
            faults.append(
                f"extractors[{i}].name: must learn without labels for a task of {task}; got {entry.name!r}, which "
                "needs them"
            )
        if forecasts and not tags.forecasts:
            faults.append(f"extractors[{i}].name: must be a forecaster for the task forecasting; got {entry.name!r}")
        if forecasts and series is not None:
            faults += [
                f"extractors[{i}].params.{name}: must be data.series.{name}, {value}, whose units forecasts are put "
                f"together in; got {own}. Leave it out"
                for name, value in _units(series).items()
                if (own := getattr(entry.params, name, None)) not in (None, value)
            ]
    return faults


def _units(series: SeriesSpec) -> dict[str, int]:
    """Parameters that all forecasters of a spec share: one level and one scale of each row."""
    return {"horizon": series.horizon, "season": series.season, "history": series.longest}


def _told(entry: ExtractorSpec, series: SeriesSpec | None) -> ExtractorSpec:
    """The extractor with what ``data.series`` says of steps, where it has such parameters and they are open."""
    asked: dict[str, Any] = _units(series) if series is not None else {}
    if series is not None and series.covariates.known:
        asked["known"] = series.covariates.known
    known = {name: value for name, value in asked.items() if getattr(entry.params, name, 0) is None}
    return entry.model_copy(update={"params": entry.params.model_copy(update=known)}) if known else entry


def ids_of(entries: Sequence[ExtractorSpec]) -> list[str]:
    """The id of each extractor: its own, else its plugin's name, numbered where it stands more than once."""
    taken = {entry.id for entry in entries if entry.id is not None}
    often = Counter(entry.name for entry in entries if entry.id is None)
    ids: list[str] = []
    for entry in entries:
        own = entry.id
        if own is None:
            own, number = entry.name, 1
            while own in taken or (number == 1 and often[entry.name] > 1):
                own, number = f"{entry.name}{number}", number + 1
        taken.add(own)
        ids.append(own)
    return ids


def _variant_faults(entries: Sequence[ExtractorSpec]) -> list[str]:
    """Variants of what is not there, or is a variant itself."""
    bases = [entry.id for entry in entries if entry.id is not None and entry.variant_of is None]
    return [
        f"extractors[{i}].variant_of: must be the id of an extractor that is no variant, of {bases}; "
        f"got {entry.variant_of!r}.{nearest(entry.variant_of, bases)}"
        for i, entry in enumerate(entries)
        if entry.variant_of is not None and entry.variant_of not in bases
    ]


def _columns_of(entry: ExtractorSpec, kinds: Mapping[str, Kind], where: str) -> tuple[tuple[str, ...], list[str]]:
    """Columns of an extractor, and what is wrong with them."""
    takes = entry.takes
    reader = entry.name if entry.fusion is None else entry.fusion.name
    tags = EXTRACTORS.get(entry.name).tags
    if entry.columns is None:
        fitting = tuple(name for name, kind in kinds.items() if kind in takes)
        if tags.forecasts and not tags.covariates:
            fitting = tuple(name for name in fitting if name == HISTORY) or fitting
        shown = dict(kinds) if len(kinds) <= 12 else dict(Counter(kinds.values()))
        fault = f"{where}: {reader} must have a column of kind {sorted(takes)}; got {shown}"
        return fitting, [] if fitting else [fault]
    faults = []
    for i, name in enumerate(entry.columns):
        at = f"{where}.columns[{i}]"
        if name not in kinds:
            faults.append(f"{at}: must be one of data.columns; got {name!r}.{nearest(name, list(kinds))}")
        elif kinds[name] not in takes:
            faults.append(f"{at}: {reader} reads columns of kind {sorted(takes)}; got {name!r}, a {kinds[name]}")
    if not entry.columns:
        faults.append(f"{where}.columns: must name a column; got none")
    elif tags.forecasts and HISTORY in kinds and HISTORY not in entry.columns:
        faults.append(f"{where}.columns: must name {HISTORY!r}, which is forecast; got {list(entry.columns)}")
    elif tags.forecasts and not tags.covariates and len(entry.columns) > 1:
        faults.append(
            f"{where}.columns: must name {HISTORY!r} alone for {reader}, which reads no covariates; got "
            f"{list(entry.columns)}"
        )
    return entry.columns, faults

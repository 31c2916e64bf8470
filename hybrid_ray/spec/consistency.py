"""What parts of a spec must hold together, told from the raw document: other faults then hide none of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_ray.errors import BadInputError
from hybrid_ray.metric_names import metric_name
from hybrid_ray.types import CLUSTERING, HISTORY, TASKS, WINDOW


class Contradiction(ValueError):
    """Parts of a document that do not fit together. ``load_spec`` finds them all by ``contradictions``."""


def refuse(found: Sequence[str]) -> None:
    """Raise what was found, if anything.

    Raises
    ------
    Contradiction
    """
    if found:
        raise Contradiction("; ".join(found))


def contradictions(document: Mapping[str, Any]) -> list[str]:
    """Every fault of a document that lies between its values, each with its path."""
    data = _mapping(document, "data")
    search = _mapping(document, "search")
    found = [f"data.split: {fault}" for fault in split_faults(_mapping(data, "split"))]
    found += [f"data: {fault}" for fault in data_faults(data)]
    found += [f"spec: {fault}" for fault in id_faults(document.get("extractors"))]
    found += [f"spec: {fault}" for fault in optional_faults(document.get("extractors"))]
    found += [f"search: {fault}" for fault in preference_faults(search)]
    if data:
        found += label_faults(data.get("label"), document.get("task"))
    if document.get("task") in CLUSTERING:
        found += clustering_faults(data, _mapping(document, "graph"))
    found += repeats_faults(search.get("repeats"), _mapping(data, "split").get("kind"), document.get("task"))
    return found + metric_faults(search.get("metric"), document.get("task"))


def split_faults(split: Mapping[str, Any]) -> list[str]:
    """A split that lacks the column which its kind needs, or has one that its kind does not read."""
    kind = split.get("kind")
    if split.get("together") is not None and kind != "column":
        return [f"`together` must come with `kind: column`; got {kind}. A grouped split keeps groups together anyway"]
    if kind in ("grouped", "temporal") and split.get("column") is None:
        return [f"a {kind} split must name its column; got none. Add `column: <name>`"]
    return []


def data_faults(data: Mapping[str, Any]) -> list[str]:
    """Columns that are asked to be two things at once."""
    label, split = data.get("label"), _mapping(data, "split")
    drop, redact, columns = _texts(data.get("drop")), _texts(data.get("redact")), _texts(data.get("columns"))
    groups = _texts(data.get("groups"))
    column = split.get("column")
    found = _annotator_faults(data)
    if label in drop:
        found.append(f"`drop` must not name the label; got {label!r}. Take it out of `drop`")
    if label in redact:
        found.append(f"`redact` must not name the label, which every report shows; got {label!r}. Take it out")
    if label in columns:
        found.append(f"`columns` must hold inputs only; got the label {label!r}. Take it out of `columns`")
    if label in groups:
        found.append(f"`groups` must not name the label; got {label!r}. Take it out of `groups`")
    several = sorted({name for name in groups if groups.count(name) > 1})
    if several:
        found.append(f"`groups` must name each column once; got {several} more than once. Take one out")
    if column in drop:
        found.append(f"`drop` must not name the split's column; got {column!r}. Take it out of `drop`")
    found += _series_faults(data)
    found += _windows_faults(data)
    twice = sorted(set(columns) & set(drop))
    if twice:
        found.append(f"a column must not be both in `columns` and in `drop`; got {twice}. Choose one")
    return found


def _series_faults(data: Mapping[str, Any]) -> list[str]:
    """What points of series cannot be beside series."""
    series, split = data.get("series"), _mapping(data, "split")
    if series is None:
        return []
    others = [part for part in ("annotators", "drop", "groups", "redact") if data.get(part)]
    named = _mapping(_mapping(data, "series"), "covariates")
    covariates = {part: _texts(named.get(part)) for part in ("known", "observed")}
    rows = dict.fromkeys([HISTORY, *(name for names in covariates.values() for name in names)], "series")
    others += ["columns"] if data.get("columns") not in (None, rows) else []
    found = [
        f"`{part}` must be left out beside `series`, whose rows hold a history, covariates and nothing else"
        for part in others
    ]
    found += _covariate_faults(covariates, data)
    if _mapping(data, "series").get("resample") is not None and _mapping(data, "series").get("steps") == "points":
        found.append("`series.resample` must be left out where `series.steps` is points: it makes steps of equal times")
    found += _step_faults(data, "series")
    if split.get("kind") not in (None, "auto", "column"):
        found.append(
            f"`split.kind` must be auto or column beside `series`, as the last points are the test; got "
            f"{split.get('kind')!r}. `series.folds` says how training rows are divided"
        )
    return found


def _windows_faults(data: Mapping[str, Any]) -> list[str]:
    """What points of windows cannot be beside windows."""
    windows, split = data.get("windows"), _mapping(data, "split")
    if windows is None:
        return []
    others = [part for part in ("series", "annotators", "drop", "groups", "redact") if data.get(part)]
    others += ["columns"] if data.get("columns") not in (None, {WINDOW: "series"}) else []
    others += ["split.together"] if split.get("together") is not None else []
    found = [
        f"`{part}` must be left out beside `windows`, whose rows hold a window and nothing else" for part in others
    ]
    found += _step_faults(data, "windows")
    if split.get("kind") not in (None, "auto", "column"):
        found.append(
            f"`split.kind` must be auto or column beside `windows`; got {split.get('kind')!r}. `windows.holdout` says "
            "what is held out"
        )
    used = {name: f"`{part}`" for part, name in _named_beside(data, "windows").items() if isinstance(name, str)}
    for i, name in enumerate(_texts(_mapping(data, "windows").get("channels"))):
        if name in used:
            found.append(
                f"`windows.channels[{i}]` must name a column that is nothing else; got {name!r}, which is {used[name]} "
                "too. Take it out"
            )
        used[name] = f"`windows.channels[{i}]`"
    return found


def _step_faults(data: Mapping[str, Any], part: str) -> list[str]:
    """A length of steps that have another, or none."""
    asked = _mapping(data, part)
    if asked.get("step_length") is None:
        return []
    others = {
        "beside `resample`, which says how long steps are": asked.get("resample") is not None,
        "where `steps` is points, which have no length": asked.get("steps") == "points",
    }
    return [f"`{part}.step_length` must be left out {where}" for where, there in others.items() if there]


def _named_beside(data: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Columns that points have beside what is learned from, by what names each."""
    own, split = _mapping(data, part), _mapping(data, "split")
    return {
        "label": data.get("label") or None,
        f"{part}.id": own.get("id"),
        f"{part}.time": own.get("time"),
        "split.column": split.get("column"),
    }


def _covariate_faults(covariates: Mapping[str, list[str]], data: Mapping[str, Any]) -> list[str]:
    """Covariates that are something else as well, or stand twice."""
    used = {name: f"`{part}` too" for part, name in _named_beside(data, "series").items() if isinstance(name, str)}
    used |= dict.fromkeys((HISTORY, "origin", "split"), "the name of a column that rows of series get")
    found = []
    for part, names in covariates.items():
        for i, name in enumerate(names):
            if name in used:
                found.append(
                    f"`series.covariates.{part}[{i}]` must name a column that is nothing else; got {name!r}, which is "
                    f"{used[name]}. Take it out or rename it"
                )
            used[name] = f"`series.covariates.{part}[{i}]` too"
    return found


def _annotator_faults(data: Mapping[str, Any]) -> list[str]:
    """Columns of annotators that are too few, or something else as well."""
    annotators = _texts(data.get("annotators"))
    if not annotators:
        return []
    if len(set(annotators)) < 2 or len(set(annotators)) < len(annotators):
        return [f"`annotators` must name two columns or more, each once; got {annotators}"]
    split = _mapping(data, "split").get("column")
    used: dict[str, list[Any]] = {"label": [data.get("label")], "split.column": [split]}
    used |= {part: _texts(data.get(part)) for part in ("columns", "drop", "redact", "groups")}
    return [
        f"`annotators` must hold labels only; got {name!r}, which is in `{part}` too. Take it out there"
        for name in annotators
        for part, names in used.items()
        if name in names
    ]


def preference_faults(search: Mapping[str, Any]) -> list[str]:
    """A preference for cheap answers without a cost to look at."""
    prefer, objectives = search.get("prefer"), search.get("objectives")
    named = objectives if isinstance(objectives, list | tuple) else ()
    limited = search.get("max_latency_ms") is not None or search.get("max_size_mb") is not None
    if prefer in ("balanced", "speed") and not limited and not {"latency", "size"} & set(map(str, named)):
        return [
            f"`prefer` must have a cost among the `objectives`; got {prefer!r} and none. "
            "Add `objectives: [metric, latency]`"
        ]
    return []


def repeats_faults(repeats: Any, kind: Any, task: Any) -> list[str]:
    """Folds that are to be cut again over time, or with counterexamples in them, which are cut once; with its path."""
    if not isinstance(repeats, int) or repeats <= 1:
        return []
    why = "for a temporal split, which can be cut into folds in one way only" if kind == "temporal" else ""
    why = why or ("for anomalies, whose folds are cut once" if task == "anomaly" else "")
    return [f"search.repeats: must be 1 {why}; got {repeats}. Leave it out"] if why else []


def label_faults(label: Any, task: Any) -> list[str]:
    """No label where one is to be learned; with its path."""
    if label not in (None, "") or task in CLUSTERING:
        return []
    return ["data.label: must be given; got nothing. Only a task of clustering can go without"]


def clustering_faults(data: Mapping[str, Any], graph: Mapping[str, Any]) -> list[str]:
    """What cannot be where labels are not looked at and every fit numbers its clusters in its own way; with paths."""
    found = []
    if graph.get("members") == "bag":
        found.append("graph.members: must be refit for clustering, as clusters of two folds do not correspond; got bag")
    if graph.get("reserves"):
        found.append("graph.reserves: must be false for clustering, as their clusters would be others; got true")
    if _mapping(data, "split").get("kind") == "stratified":
        found.append("data.split.kind: must not look at a label for clustering; got stratified. Use random")
    if data.get("annotators"):
        found.append("data.annotators: must be left out for clustering, which learns no label. Name a `label`, if any")
    return found


def id_faults(extractors: Any) -> list[str]:
    """Ids that more than one extractor has."""
    entries = extractors if isinstance(extractors, list | tuple) else ()
    ids = [entry.get("id") for entry in entries if isinstance(entry, Mapping)]
    twice = sorted({own for own in ids if isinstance(own, str) and ids.count(own) > 1})
    if not twice:
        return []
    return [f"extractors must have different ids; got {twice} more than once. Give each its own `id`"]


def optional_faults(extractors: Any) -> list[str]:
    """Extractors that a run may go without, and no other."""
    entries = extractors if isinstance(extractors, list | tuple) else ()
    needed = [entry for entry in entries if not (isinstance(entry, Mapping) and entry.get("optional") is True)]
    if not entries or needed:
        return []
    return ["extractors must hold one that is not `optional`; got only optional ones. Take `optional` from one"]


def metric_faults(metric: Any, task: Any) -> list[str]:
    """A metric that does not exist, or does not serve the task; with its path."""
    if not isinstance(metric, str):
        return []
    try:
        metric_name(metric, task if task in TASKS else None)
    except BadInputError as error:
        return [str(error)]
    return []


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def _texts(value: Any) -> list[str]:
    """The texts of a list, or the keys of a mapping; nothing of anything else."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple | Mapping) else []

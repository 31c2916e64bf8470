"""From a table to a spec: every choice that is left open is made, and the reason of each is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ray.data.columns import SPLIT, Guess, infer_kinds, unreadable
from hybrid_ray.data.rows import given_labels, label_columns, read_columns
from hybrid_ray.data.source import Source, open_source
from hybrid_ray.data.split import is_split_column
from hybrid_ray.data.target import encode_target
from hybrid_ray.data.window_split import MANY_SERIES
from hybrid_ray.errors import BadInputError, SpecError
from hybrid_ray.placing import ids_of, place_extractors
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, EXTRACTORS
from hybrid_ray.search.recipes import POOL
from hybrid_ray.spec import (
    CombinerSpec,
    DataSpec,
    EstimatorSpec,
    ExtractorSpec,
    FusionSpec,
    GraphSpec,
    SearchSpec,
    Spec,
    SplitSpec,
    load_spec,
)
from hybrid_ray.types import CLUSTERING, CODED, HISTORY, WINDOW, Kind, Modality, Task

BEFORE = ("time_limit_s", "search.folds", "search.tuned")
"""Values of a spec that choices depend on: those that are given with a table are known before it is looked at."""

_FUSIONS: Mapping[Task, tuple[str, str]] = {"forecasting": ("forecasts", "forecasts side by side, as they are")}

WIDTH: Mapping[Modality, int] = {
    "image": 1000,
    "text": 400,
    "tabular": 10,
    "series": 40,
    "audio": 500,
    "graph": 200,
}
"""How many features one column gives, about: enough to tell narrow data from wide before anything is extracted."""

FEW_ROWS = 10_000
"""Rows up to which the chains of the folds are averaged: measured on german_credit, AUC 0.006 above one chain on all
rows."""


class Resolved(NamedTuple):
    """A spec with nothing left open.

    Attributes
    ----------
    spec : Spec
        Task, columns, split, extractors (with ids and columns), estimators, fusions, metric and members are there.
    reasons : dict of str to str
        Why each choice was made, by dotted path; a choice of the user has none.
    warnings : tuple of str
        What the user should know before the run.
    """

    spec: Spec
    reasons: Mapping[str, str] = MappingProxyType({})
    warnings: tuple[str, ...] = ()

    def knowing(self, before: Resolved) -> Resolved:
        """The same spec, with the reasons and warnings of an earlier look too."""
        warnings = dict.fromkeys([*before.warnings, *self.warnings])
        return self._replace(reasons={**before.reasons, **self.reasons}, warnings=tuple(warnings))


def infer_spec(
    path: str | Sequence[str],
    label: str | None,
    task: Task | Literal["auto"] | str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Resolved:
    """A complete spec for a table; its reasons are comments for :func:`hybrid_ray.spec.dump_yaml`.

    Columns that number, name or divide the rows, and columns that nothing can read, are in ``data.drop``.

    Parameters
    ----------
    path : str or sequence of str
        File, folder, glob or URL; the spec holds its absolute form.
    label : str or None
        Column to predict; None for clustering where clusters are compared with nothing.
    task : Task or "auto", optional
        Default: from the label.
    overrides : mapping of str to object, optional
        Other values of the spec, by path.

    Raises
    ------
    SpecError
        An override is not valid.
    BadInputError
        The rows cannot be read, or cannot serve the task.
    """
    given = path if isinstance(path, str) else list(path)
    document = {"name": _name(path), "task": task or "auto", "data": {"path": given, "label": label or ""}}
    asked = load_spec(document, {name: value for name, value in (overrides or {}).items() if name in BEFORE})
    source = open_source(asked.data)
    look = _Look(asked, source)
    dropped = look.useless()
    data = asked.data.model_copy(update={"drop": tuple(dropped)})
    resolved = look.resolve(asked.model_copy(update={"data": data}))
    reasons = dict(resolved.reasons)
    reasons |= {f"data.drop.{i}": why for i, why in enumerate(dropped.values())}
    reasons["data.path"] = f"{source.n_rows} rows, {source.format}"
    reasons.pop("data.columns", None)
    # The split follows the spec's own seed: one number to change.
    split = resolved.spec.data.split.model_copy(update={"seed": None})
    data = resolved.spec.data.model_copy(update={"split": split})
    spec = resolved.spec.model_copy(update={"data": data})
    if overrides:
        spec = load_spec(spec.model_dump(mode="json", exclude_defaults=True), overrides)
    return Resolved(spec, reasons, resolved.warnings)


def resolve_spec(spec: Spec, source: Source) -> Resolved:
    """Make every choice that a spec leaves open.

    Parameters
    ----------
    spec : Spec
    source : Source
        The opened rows of ``spec.data``.

    Raises
    ------
    SpecError
        Extractors or estimators do not fit the columns or the task; every fault is named.
    BadInputError
        The label cannot serve the task, the metric does not serve it, or default weights cannot be had.
    """
    return _Look(spec, source).resolve(spec)


def _name(path: str | Sequence[str]) -> str:
    first = path if isinstance(path, str) else path[0]
    stem = first.rstrip("/").rsplit("/", 1)[-1].partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_").lstrip("0123456789-_")[:64] or "model"


class _Look:
    """One look at the rows: the sample, and what its columns seem to be. Called by the two functions above."""

    def __init__(self, spec: Spec, source: Source) -> None:
        self.source = source
        self.sample: pa.Table = source.sample()
        split = spec.data.split
        set_aside = {spec.data.label, split.column, split.together, *spec.data.annotators}
        self.guesses = infer_kinds(self.sample, {name for name in set_aside if name}, source.base)

    def useless(self) -> dict[str, str]:
        """Columns to drop, with the reason."""
        names = {name: guess.ambiguous for name, guess in self.guesses.items() if guess.id_like}
        return {**unreadable(self.sample), **names}

    def resolve(self, spec: Spec) -> Resolved:
        """The spec with every choice made."""
        load_plugins()
        reasons: dict[str, str] = {}
        task = self._task(spec, reasons)
        columns = self._columns(spec.data, reasons)
        split = self._split(spec, task, columns, reasons)
        data = spec.data.model_copy(update={"columns": columns, "split": split})
        extractors, warnings = place_extractors(spec, columns, task, self.source.n_rows, reasons)
        warnings += self.source.about.get("notes", [])
        extractors = self._with_twins(spec, extractors, task, split, columns, reasons)
        search = _search(spec, task, self.source.n_rows, _width(extractors), reasons)
        warnings += _too_slow(search.estimators, self._n_training(split))
        deep = any(EXTRACTORS.get(e.name).tags.trained and EXTRACTORS.get(e.name).tags.costly for e in extractors)
        graph = _graph(spec.graph, task, deep, self._forward(spec.data, split), self.source.n_rows, reasons)
        changes = {"task": task, "data": data, "extractors": extractors, "search": search, "graph": graph}
        return Resolved(spec.model_copy(update=changes), reasons, tuple(warnings))

    def _task(self, spec: Spec, reasons: dict[str, str]) -> Task:
        if spec.data.series is not None or spec.task == "forecasting":
            return _forecasting(spec, reasons)
        if spec.task != "auto":
            return spec.task
        # The whole label decides, not the sample: sorted files show one class at their start.
        table = read_columns(self.source, list(label_columns(spec.data)))
        target = encode_target(given_labels(spec.data, table), "auto")
        reasons["task"] = target.reason
        return target.task

    def _columns(self, data: DataSpec, reasons: dict[str, str]) -> dict[str, Kind]:
        if data.series is not None:
            return {HISTORY: "series", **dict.fromkeys(data.series.covariates.names, "series")}
        if data.windows is not None:
            return {WINDOW: "series"}
        if data.columns is not None:
            return dict(data.columns)
        used = {n: g for n, g in self.guesses.items() if not g.id_like and n not in data.drop}
        if not used:
            raise BadInputError(
                f"data: must have a column to learn from beside the label {data.label or 'none'!r}; got "
                f"{sorted(self.guesses) or 'none'}. Say data.columns if one of these is an input"
            )
        reasons |= {f"data.columns.{name}": _why(guess) for name, guess in used.items()}
        left_out = [name for name, guess in self.guesses.items() if guess.id_like and name not in data.drop]
        if left_out:
            reasons["data.columns"] = f"left out, as they number, name or divide the rows: {', '.join(left_out)}"
        return {name: guess.kind for name, guess in used.items()}

    def _split(self, spec: Spec, task: Task, columns: Mapping[str, Kind], reasons: dict[str, str]) -> SplitSpec:
        split = spec.data.split
        changes: dict[str, Any] = {} if split.seed is not None else {"seed": spec.seed}
        if spec.data.series is not None or spec.data.windows is not None:
            return split.model_copy(update=changes | {"kind": "column"})
        if split.kind == "auto":
            held = SPLIT in self.source.schema.names and spec.data.label != SPLIT
            if split.column is not None or (held and is_split_column(self._whole(SPLIT))):
                changes |= {"kind": "column", "column": split.column or SPLIT}
                reasons["data.split.kind"] = f"the column {changes['column']!r} holds train and test"
            else:
                changes["kind"] = "stratified" if task in CODED else "random"
                how = "classes are divided alike" if task in CODED else "rows are divided at random"
                dates = [name for name, kind in columns.items() if kind == "date"]
                hint = f"; if the past shall tell the future: temporal, with column {dates[0]}" if dates else ""
                reasons["data.split.kind"] = f"no column `split` of train, dev and test: {how}{hint}"
        elif split.kind == "column" and split.column is None:
            if SPLIT not in self.source.schema.names:
                raise SpecError(
                    [f"data.split.column: must be a column; got {SPLIT!r}, the default, which is not there"]
                )
            changes["column"] = SPLIT
        return split.model_copy(update=changes)

    def _with_twins(
        self,
        spec: Spec,
        extractors: tuple[ExtractorSpec, ...],
        task: Task,
        split: SplitSpec,
        columns: Mapping[str, Kind],
        reasons: dict[str, str],
    ) -> tuple[ExtractorSpec, ...]:
        """The extractors, and after them the tuned twins of some."""
        from hybrid_ray.extractors.twins import Work, propose_twins

        n_rows = self._n_training(split)
        work = Work(task, n_rows, spec.search.folds, spec.time_limit_s, self._characters(columns))
        found = propose_twins(spec.search.tuned, extractors, not spec.extractors, work)
        if found.why:
            reasons["search.tuned"] = found.why
        reasons |= {f"extractors.{len(extractors) + i}": reason for i, reason in enumerate(found.reasons)}
        both = [*extractors, *found.twins]
        return tuple(e.model_copy(update={"id": own}) for e, own in zip(both, ids_of(both), strict=True))

    def _forward(self, data: DataSpec, split: SplitSpec) -> bool:
        """Whether folds follow each other in time."""
        if data.series is None or data.series.folds != "auto":
            return split.kind == "temporal" or (data.series is not None and data.series.folds == "time")
        return bool(self.source.about["series"] < MANY_SERIES)

    def _n_training(self, split: SplitSpec) -> int:
        """Training rows, about."""
        return round((1.0 if split.kind == "column" else 1.0 - split.test) * self.source.n_rows)

    def _characters(self, kinds: Mapping[str, Kind]) -> dict[str, float]:
        """Characters of a cell of each text column, in the mean of the sample."""
        found = {}
        for name in (name for name, kind in kinds.items() if kind == "text"):
            column = self.sample[name]
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                found[name] = float(pc.mean(pc.utf8_length(column)).as_py() or 0.0)
        return found

    def _whole(self, name: str) -> pa.ChunkedArray:
        return read_columns(self.source, [name])[name]


def _forecasting(spec: Spec, reasons: dict[str, str]) -> Task:
    if spec.task not in ("auto", "forecasting") or spec.data.series is None:
        held = "left out" if spec.data.series is None else "set"
        raise SpecError(
            [f"task: must be forecasting where data.series is set, and only there; got {spec.task!r}, with it {held}"]
        )
    if spec.task == "auto":
        reasons["task"] = "data.series says what to forecast"
    return "forecasting"


def _why(guess: Guess) -> str:
    return f"{guess.reason}; ambiguous: {guess.ambiguous}" if guess.ambiguous else guess.reason


def _graph(graph: GraphSpec, task: Task, deep: bool, forward: bool, n_rows: int, reasons: dict[str, str]) -> GraphSpec:
    """What the winner is made of, also where the search will see a sample only: that is not known yet."""
    members, sampled = graph.members, graph.sampled
    if sampled == "auto":
        sampled = "refit" if members == "auto" else members
    if members == "auto":
        members, reasons["graph.members"] = _members(task, deep, forward, n_rows)
    return graph.model_copy(update={"members": members, "sampled": sampled})


def _members(task: Task, deep: bool, forward: bool, n_rows: int) -> tuple[Literal["bag", "refit"], str]:
    """What the winner is made of, and why."""
    if task in CLUSTERING:
        return "refit", "clusters of two folds do not correspond: one chain is fitted on all rows"
    if forward:
        return "refit", "time goes on: the chains of the folds have not seen the last rows"
    if deep:
        return "bag", "an extractor is trained on each fold"
    if n_rows <= FEW_ROWS:
        return "bag", f"{n_rows} rows: chains that were fitted on less agree better than one that was fitted on all"
    return "refit", f"{n_rows} rows: one chain on all rows is as good as those of the folds, and quicker"


def _width(extractors: Sequence[ExtractorSpec]) -> int:
    """How many features the extractors give together, about."""
    read = [(EXTRACTORS.get(e.name).tags.modality, 1 if e.fusion else len(e.columns or ())) for e in extractors]
    return sum(WIDTH.get(modality, 0) * n_columns for modality, n_columns in read)


def _search(spec: Spec, task: Task, n_rows: int, n_features: int, reasons: dict[str, str]) -> SearchSpec:
    from hybrid_ray.estimators.defaults import default_estimators
    from hybrid_ray.evaluation.metrics import get_metric
    from hybrid_ray.fusion.defaults import default_combiners

    search = spec.search
    changes: dict[str, Any] = {"metric": get_metric(search.metric, task).name}
    if search.metric == "auto":
        reasons["search.metric"] = f"the default for {task}"
    if search.begin_with == "auto":
        timed = spec.time_limit_s is not None or search.time_limit_s is not None
        changes["begin_with"] = "families" if timed else "subsets"
        if timed:
            reasons["search.begin_with"] = "the time limit may come before what the report compares"
    if not search.estimators:
        names = default_estimators(task, n_rows, n_features)
        changes["estimators"] = tuple(EstimatorSpec(name=name) for name in names)
        reasons["search.estimators"] = f"the default for {task}, {n_rows} rows and about {n_features} features"
    if not search.fusions:
        name, why = _FUSIONS.get(task, ("concat", "blocks side by side, each reduced by its own PCA where that helps"))
        changes["fusions"] = (FusionSpec(name=name),)
        reasons["search.fusions"] = why
    if task in CLUSTERING:
        alone = {"combiners": (CombinerSpec(name=POOL),), "trials": 1, "max_members": 1}
        changes["ensemble"] = search.ensemble.model_copy(update=alone)
        reasons["search.ensemble"] = "clusters of two fits do not correspond: the best candidate is the answer"
    elif not search.ensemble.combiners:
        combiners = tuple(CombinerSpec(name=name) for name in default_combiners(task))
        changes["ensemble"] = search.ensemble.model_copy(update={"combiners": combiners})
        reasons["search.ensemble.combiners"] = f"the default for {task}"
    return search.model_copy(update=changes)


def _too_slow(estimators: Sequence[EstimatorSpec], n_rows: int) -> list[str]:
    """What to say of estimators that a spec names and that so many training rows are too many for."""
    most = {entry.name: ESTIMATORS.get(entry.name).tags.max_rows for entry in estimators}
    return [
        f"{name} is fitted on a stratified sample of {bound} of about {n_rows} training rows: it is too slow for more"
        for name, bound in most.items()
        if bound is not None and n_rows > bound
    ]

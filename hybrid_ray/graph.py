"""The composed graph: extractors → preparation → feature fusion → estimators → decision fusion, as one plain object.

In-process prediction, batch prediction on Ray Data and the answer of Ray Serve all run this code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import DataError
from hybrid_ray.estimators.base import Model
from hybrid_ray.estimators.models.resample import fit_grouped, stratified_sample
from hybrid_ray.evaluation.uncertainty import row_uncertainty
from hybrid_ray.extractors.base import Extractor
from hybrid_ray.forecasts import OUTLOOK, Came, Outlook, scale_in
from hybrid_ray.fusion.base import DecisionFusion, FeatureFusion
from hybrid_ray.preparation.base import Preparation
from hybrid_ray.preparation.training import emphasise, prepare_training, transformed, with_prior
from hybrid_ray.registry import ESTIMATORS, FUSIONS
from hybrid_ray.types import (
    CLUSTERING,
    CODED,
    AnyArray,
    Batch,
    Block,
    BoolArray,
    FloatArray,
    Kind,
    Prepared,
    Task,
    learned_as,
)

TargetTransform = Literal["none", "log"]


@dataclass
class Chain:
    """One fitted way from features to a prediction.

    Attributes
    ----------
    inputs : dict of str to str
        Block name (extractor id) to the key of the extractor in ``Graph.extractors``: a trained extractor has one
        fitted copy a fold, so several chains may mean different copies by the same name.
    fusion : FeatureFusion
        Fitted.
    family : str
        Registered name of the estimator.
    model : Model
        Fitted.
    codes : tuple of int
        Class codes that the training rows held, sorted, for anomalies both; or numbers of the clusters; empty for
        regression.
    n_outputs : int
        Number of classes, or of clusters, or 1.
    transform : {"none", "log"}
        What was done to a numeric label; undone in ``predict``.
    steps : tuple of Preparation
        Fitted; applied in order before the fusion.
    prior : tuple of float
        By entry of ``codes``: what a probability is multiplied with, so that the share of each class is that of the
        training rows before they were resampled; empty: nothing is.
    bounds : tuple of float
        Least and largest logarithm that ``transform`` undoes: what lies further from the training rows' own than they
        vary would rule every mean that it is part of; empty: there are none.
    """

    inputs: dict[str, str]
    fusion: FeatureFusion
    family: str
    model: Model
    codes: tuple[int, ...]
    n_outputs: int
    transform: TargetTransform = "none"
    steps: tuple[Preparation, ...] = ()
    prior: tuple[float, ...] = ()
    bounds: tuple[float, ...] = ()

    def matrix(self, blocks: Mapping[str, Block]) -> FloatArray:
        """What the estimator sees of blocks by extractor key, float32 (n, d)."""
        return self.fusion.combine(transformed(self.steps, {name: blocks[key] for name, key in self.inputs.items()}))

    def predict(self, blocks: Mapping[str, Block]) -> AnyArray:
        """Outputs float64 (n, n_outputs) from blocks by extractor key: probabilities, memberships, or values."""
        X = self.matrix(blocks)
        outputs = np.zeros((len(X), self.n_outputs), np.float64)
        if not len(X):
            return outputs
        if not self.codes:
            values = np.asarray(self.model.predict(X), np.float64).reshape(len(X), self.n_outputs)
            values = np.clip(values, self.bounds[0], self.bounds[1]) if self.bounds else values
            return np.expm1(values) if self.transform == "log" else values
        proba: AnyArray = self.model.predict_proba(X)  # type: ignore[attr-defined]
        outputs[:, list(self.codes)] = with_prior(proba, self.prior) if self.prior else proba
        return outputs


def fit_chain(
    candidate: Candidate,
    blocks: Mapping[str, Block],
    y: AnyArray,
    *,
    task: Task,
    n_outputs: int,
    seed: int,
    threads: int = 1,
    transform: TargetTransform = "none",
    keys: Mapping[str, str] | None = None,
    groups: AnyArray | None = None,
) -> Chain:
    """Fit a candidate on training rows: its steps first, each on what those before it made of the rows.

    To find anomalies, normal rows alone are fitted on: anomalous ones serve to choose.

    An estimator that is too slow for so many rows (``EstimatorTags.max_rows``) is fitted on a stratified sample of what
    the steps and the fusion make of all of them.

    Parameters
    ----------
    candidate : Candidate
    blocks : mapping of str to Block
        Features of the training rows, by extractor id.
    y : ndarray (n,)
        Class codes, or floats; zeros for clustering.
    task : Task
    n_outputs : int
        Number of classes, or 1; for clustering the chain has as many as it finds.
    seed : int
    threads : int, default 1
        CPU threads that the estimator may use.
    transform : {"none", "log"}, default "none"
    keys : mapping of str to str, optional
        Extractor id to extractor key of the chain; default: the id itself.
    groups : ndarray of int (n,), optional
        Rows of one number go together wherever rows are held out of these; default: every row is its own.

    Returns
    -------
    Chain
    """
    chosen = {name: blocks[name] for name in candidate.blocks}
    if task == "anomaly":
        normal = np.flatnonzero(y == 0)
        chosen, y = {name: block.take(normal) for name, block in chosen.items()}, y[normal]
        groups = None if groups is None else groups[normal]
    learned = learned_as(task)
    rows = prepare_training(candidate.steps, chosen, y, learned, seed, groups)
    inputs, y, groups = rows.blocks, rows.y, rows.groups
    fusion_class = FUSIONS.get(candidate.fusion)
    fusion: FeatureFusion = fusion_class(fusion_class.Params.model_validate(dict(candidate.fusion_params)))
    if task == "forecasting":
        y = Came.of(y).values
    logs = task == "regression" and transform == "log"
    target = np.log1p(y) if logs else y
    bounds = _bounds_of(target) if logs else ()
    # A fusion that cannot do without labels says so.
    X = fusion.fit_combine(inputs, None if task in CLUSTERING else target, learned, seed, groups)
    family = ESTIMATORS.get(candidate.estimator)
    model = family.build(family.Params.model_validate(dict(candidate.params)), task, seed, threads)
    codes: tuple[int, ...] = ()
    classes = np.zeros(len(target), np.int64)
    if task in CODED:
        present, target = np.unique(y, return_inverse=True)
        codes = (0, 1) if task == "anomaly" else tuple(int(c) for c in present)
        if rows.weights:
            dense_weights = {position: rows.weights[code] for position, code in enumerate(codes)}
            X, target, groups = emphasise(model, X, target, dense_weights, seed, groups)
        classes = target
    if family.tags.max_rows is not None and len(X) > family.tags.max_rows:
        kept = stratified_sample(classes, family.tags.max_rows, seed)
        X, target, groups = X[kept], target[kept], None if groups is None else groups[kept]
    fit_grouped(model, X, target, groups)
    if task in CLUSTERING:
        n_outputs = int(model.n_clusters_)
        codes = tuple(range(n_outputs))
    return Chain(
        inputs={name: (keys or {}).get(name, name) for name in candidate.blocks},
        fusion=fusion,
        family=candidate.estimator,
        model=model,
        codes=codes,
        n_outputs=n_outputs,
        transform=transform,
        steps=rows.steps,
        prior=rows.prior,
        bounds=bounds,
    )


def _bounds_of(logs: AnyArray) -> tuple[float, float]:
    """How far forecasts of a logarithm may go: beyond the training rows' (n,) by their deviation."""
    return float(logs.min() - logs.std()), float(logs.max() + logs.std())


@dataclass
class Member:
    """One member of the ensemble: a candidate's chain, or the chains of its folds, averaged.

    Attributes
    ----------
    name : str
    candidate : Candidate
    chains : list of Chain
    """

    name: str
    candidate: Candidate
    chains: list[Chain]

    @property
    def keys(self) -> set[str]:
        """Keys of the extractors that its chains read."""
        return {key for chain in self.chains for key in chain.inputs.values()}

    def predict(self, blocks: Mapping[str, Block]) -> AnyArray:
        """Outputs float64 (n, n_outputs): the mean over the chains."""
        return _mean(self.chains, blocks)


def _mean(chains: Sequence[Chain], blocks: Mapping[str, Block]) -> AnyArray:
    total = chains[0].predict(blocks)
    for chain in chains[1:]:
        total = total + chain.predict(blocks)
    return total / len(chains)


@dataclass
class Reserve:
    """An ensemble that was made without a modality, and answers rows that lack it.

    Attributes
    ----------
    name : str
        What it was made of, as the report's levels are named: ``without:text``, ``alone:image``.
    lacks, needs : tuple of str
        Extractor keys: it answers rows that lack some of the first and have all of the second.
    members : list of Member
    decision : DecisionFusion
        Fitted on their out-of-fold predictions.

    References
    ----------
    Saar-Tsechansky and Provost, "Handling missing values when applying classification models", JMLR 2007: models
    without a feature predict better than those with it and an imputed value.
    """

    name: str
    lacks: tuple[str, ...]
    needs: tuple[str, ...]
    members: list[Member]
    decision: DecisionFusion

    def answers(self, blocks: Mapping[str, Block]) -> BoolArray:
        """Which rows (n,) it answers."""
        whole: BoolArray = np.all([blocks[key].present for key in self.lacks], axis=0)
        if whole.all():
            return ~whole
        found: BoolArray = ~whole & np.all([np.ones_like(whole), *(blocks[key].present for key in self.needs)], axis=0)
        return found

    def taken(self, blocks: Mapping[str, Block], rows: AnyArray) -> dict[str, Block]:
        """What its members read of some rows, given as an index array (k,)."""
        return {key: blocks[key].take(rows) for key in set[str]().union(*(member.keys for member in self.members))}


@dataclass
class Graph:
    """The winner of a search, composed.

    Attributes
    ----------
    name : str
        Name of the model.
    task : Task
    label : str
    columns : dict of str to Kind
        Input columns.
    classes : list or None
        Class labels in code order, or numbers of the clusters; None for regression.
    extractors : dict of str to Extractor
        By key: ``mobilenet`` for a frozen one, ``cnn@0`` for the copy that fold 0 trained.
    members : list of Member
    decision : DecisionFusion
        Fitted on out-of-fold predictions.
    info : dict
        JSON-able facts for the manifest: metric, seed, how members were made.
    reserves : list of Reserve
        A row that lacks a modality is answered by the first that answers it; where none does, by the members, whose
        feature fusion fills in what is missing.
    """

    name: str
    task: Task
    label: str
    columns: dict[str, Kind]
    classes: list[Any] | None
    extractors: dict[str, Extractor]
    members: list[Member]
    decision: DecisionFusion
    info: dict[str, Any] = field(default_factory=dict)
    reserves: list[Reserve] = field(default_factory=list)

    @property
    def n_outputs(self) -> int:
        """Number of classes, or 1; of forecasts the steps, and the ends of each interval for each step."""
        if self.outlook is not None:
            return self.outlook.n_outputs
        return len(self.classes) if self.classes is not None else 1

    @property
    def outlook(self) -> Outlook | None:
        """What it forecasts; None for any other task."""
        form = self.info.get(OUTLOOK)
        return None if form is None else Outlook.from_json(form)

    def setup(self, device: str = "cpu") -> None:
        """Load every extractor on a device; copies of one extractor load what they share once."""
        for first, *others in self.groups().values():
            self.extractors[first].setup(device)
            for key in others:
                self.extractors[key].adopt(self.extractors[first])
                self.extractors[key].setup(device)

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Extractor id to the keys of its copies (``cnn`` to ``cnn@0``, ``cnn@1``): copies share one ``prepare``."""
        keys: dict[str, list[str]] = {}
        for key in self.extractors:
            keys.setdefault(key.partition("@")[0], []).append(key)
        return {group: tuple(copies) for group, copies in keys.items()}

    def prepare(self, group: str, batch: Batch) -> Prepared:
        """What the copies of one extractor need of a batch; undecodable rows are in ``errors``."""
        extractor = self.extractors[self.groups()[group][0]]
        return extractor.prepare({c: batch[c] for c in extractor.columns})

    def blocks(self, group: str, prepared: Prepared) -> dict[str, Block]:
        """Blocks of all copies of one extractor, by extractor key."""
        keys = self.groups()[group]
        rows = self.extractors[keys[0]].shared(prepared) if len(keys) > 1 else prepared
        return {key: self.extractors[key].block(rows) for key in keys}

    def extract(self, batch: Batch) -> dict[str, Block]:
        """Blocks of a batch, by extractor key."""
        return self.examine(batch)[0]

    def examine(self, batch: Batch) -> tuple[dict[str, Block], dict[int, str]]:
        """Blocks of a batch, and the rows that hold something undecodable with the reasons, each once."""
        blocks: dict[str, Block] = {}
        errors: dict[int, dict[str, None]] = {}
        for group in self.groups():
            prepared = self.prepare(group, batch)
            blocks |= self.blocks(group, prepared)
            for row, reason in prepared.errors.items():
                errors.setdefault(row, {})[reason] = None
        return blocks, {row: "; ".join(reasons) for row, reasons in errors.items()}

    def member_outputs(self, blocks: Mapping[str, Block]) -> dict[str, AnyArray]:
        """Outputs (n, n_outputs) of each member, by name; reserves have no part in it."""
        return _member_outputs(self.members, blocks)

    def combine(self, blocks: Mapping[str, Block]) -> AnyArray:
        """Outputs float64 (n, n_outputs) of the whole graph from extracted blocks."""
        outputs = self.decision.combine(self.member_outputs(blocks))
        for reserve, rows in self.reserved(blocks):
            outputs[rows] = reserve.decision.combine(_member_outputs(reserve.members, reserve.taken(blocks, rows)))
        return outputs if self.outlook is None else self.outlook.around(outputs, scale_in(blocks))

    def reserved(self, blocks: Mapping[str, Block]) -> Iterator[tuple[Reserve, AnyArray]]:
        """Reserves that answer rows of these, each with its rows as an index array (k,); no row twice."""
        free: BoolArray | None = None
        for reserve in self.reserves:
            found = reserve.answers(blocks)
            rows = np.flatnonzero(found if free is None else found & free)
            if len(rows):
                free = ~found if free is None else free & ~found
                yield reserve, rows

    def uncertainty(self, blocks: Mapping[str, Block]) -> dict[str, AnyArray]:
        """How unsure the graph is of each row (n,), by measure: see ``row_uncertainty`` of the evaluation.

        NaN where a reserve answers a row and has no such measure.
        """
        found = _uncertainty(self.member_outputs(blocks), self.decision)
        for reserve, rows in self.reserved(blocks):
            own = _uncertainty(_member_outputs(reserve.members, reserve.taken(blocks, rows)), reserve.decision)
            for measure, values in found.items():
                values[rows] = own.get(measure, np.nan)
        return found

    def outputs(self, batch: Batch) -> AnyArray:
        """Outputs float64 (n, n_outputs) of raw rows: probabilities or memberships in ``classes`` order, or values."""
        missing = sorted(set(self.columns) - set(batch))
        if missing:
            raise DataError(f"{self.name}: rows must have the columns {sorted(self.columns)}; missing {missing}")
        n = len(next(iter(batch.values()))) if batch else 0
        if n == 0:
            return np.zeros((0, self.n_outputs), np.float64)
        return self.combine(self.extract(batch))

    def labels(self, outputs: AnyArray) -> list[Any]:
        """Predicted labels (class labels, floats, or lists of steps) of outputs, as plain Python values."""
        if self.outlook is not None:
            return [row.tolist() for row in outputs[:, : self.outlook.horizon]]
        if self.classes is None:
            return [float(v) for v in outputs[:, 0]]
        return [self.classes[int(c)] for c in outputs.argmax(axis=1)] if len(outputs) else []

    def answer(self, outputs: AnyArray) -> dict[str, Sequence[Any]]:
        """Columns of the answer for people: ``prediction``, and ``proba_<class>`` for each class.

        Of forecasts: a list of steps each, and ``low_<percent>`` and ``high_<percent>`` of each interval.
        """
        if self.outlook is not None:
            return {name: values.tolist() for name, values in self.outlook.parts(outputs).items()}
        columns: dict[str, Sequence[Any]] = {"prediction": self.labels(outputs)}
        for code, label in enumerate(self.classes or []):
            columns[f"proba_{label}"] = outputs[:, code].tolist()
        return columns


def _member_outputs(members: Sequence[Member], blocks: Mapping[str, Block]) -> dict[str, AnyArray]:
    return {member.name: member.predict(blocks) for member in members}


def _uncertainty(outputs: Mapping[str, AnyArray], decision: DecisionFusion) -> dict[str, AnyArray]:
    return row_uncertainty(outputs, decision.weights, decision.predictive(outputs))

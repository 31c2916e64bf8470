"""The spec: what the user asked for, as one validated, frozen document."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_serializer, field_validator, model_validator

from hybrid_ray.documented import Documented
from hybrid_ray.params import PluginParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, EXTRACTORS, FUSIONS, PREPARATIONS, Registry, nearest
from hybrid_ray.spec.compression import CompressionSpec
from hybrid_ray.spec.consistency import (
    clustering_faults,
    data_faults,
    id_faults,
    label_faults,
    metric_faults,
    optional_faults,
    preference_faults,
    refuse,
    repeats_faults,
    split_faults,
)
from hybrid_ray.spec.series import SeriesSpec
from hybrid_ray.spec.serving import ServeSpec
from hybrid_ray.spec.windows import WindowsSpec
from hybrid_ray.types import CLUSTERING, BeginWith, Kind, Objective, Prefer, SamplerName, Task, Tuned

SPEC_VERSION = 1
"""The newest spec format that this code reads."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]


class Section(Documented):
    """Base of every part of the spec."""


def _fusion_of_level(name: str, level: str) -> str:
    """The name again, if it is a registered fusion of that level; else ValueError with the names that are."""
    load_plugins()
    known = [n for n, fusion in FUSIONS.items() if fusion.level == level]
    if name not in known:
        raise ValueError(f"unknown {level}-level fusion {name!r}; expected one of {known}.{nearest(name, known)}")
    return name


class PluginSpec(Section):
    """A plugin by name, with its parameters checked by the plugin's own ``Params``."""

    registry: ClassVar[Registry[Any]]

    name: str
    """Registered name of the plugin."""
    params: Any = Field(default_factory=dict, validate_default=True)
    """Parameters of the plugin; left out, the plugin's defaults."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        load_plugins()
        cls.registry.get(value)
        return value

    @field_validator("params")
    @classmethod
    def _typed(cls, value: Any, info: ValidationInfo) -> Any:
        if "name" not in info.data:
            return value
        model: type[PluginParams] = cls.registry.get(info.data["name"]).Params
        return value if isinstance(value, model) else model.model_validate(value)


class Resources(Section):
    """What one worker of an extractor's actor pool asks of Ray, and how many there may be."""

    num_cpus: float | None = Field(None, ge=0)
    """CPUs of one worker; left out, planned from the cluster."""
    num_gpus: float | None = Field(None, ge=0)
    """GPUs of one worker, fractions allowed; left out, 1 if the cluster has one and the extractor uses it."""
    batch_size: int | None = Field(None, ge=1, le=65536)
    """Rows a batch; left out, planned from the device."""
    min_workers: int = Field(1, ge=1)
    """Workers that the pool starts with."""
    max_workers: int | None = Field(None, ge=1)
    """Workers that the pool may grow to; left out, what the cluster holds."""


class DataFusionSpec(PluginSpec):
    """One data-level fusion: what makes one column of several before an extractor reads them."""

    registry: ClassVar[Registry[Any]] = FUSIONS
    level: ClassVar[str] = "data"

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        return _fusion_of_level(value, cls.level)


class ExtractorSpec(PluginSpec):
    """One extractor and the columns it reads."""

    registry: ClassVar[Registry[Any]] = EXTRACTORS

    id: Name | None = None
    """Name of its features; left out, the plugin's name (numbered when it is used twice)."""
    fusion: DataFusionSpec | None = None
    """Data-level fusion: makes one text, image or series of ``columns``, which the extractor then reads; left out,
    columns are read as they are."""
    columns: tuple[str, ...] | None = None
    """Columns it reads; left out, every column of a kind that it, or its ``fusion``, takes."""
    variant_of: Name | None = None
    """Id of another entry that this is another way of, with other parameters: a candidate reads one of them at most."""
    optional: bool = False
    """True, for one that is trained: it is given up, with a warning, where training it would take more than half of
    what ``time_limit_s`` has left; the run goes on with the others."""
    resources: Resources = Resources()

    @field_validator("fusion")
    @classmethod
    def _readable(cls, value: DataFusionSpec | None, info: ValidationInfo) -> DataFusionSpec | None:
        if value is None or "name" not in info.data:
            return value
        takes, gives = EXTRACTORS.get(info.data["name"]).tags.kinds, FUSIONS.get(value.name).gives
        if gives not in takes:
            raise ValueError(
                f"must give what {info.data['name']} reads, kind {sorted(takes)}; got {value.name!r}, which gives "
                f"{gives}"
            )
        return value

    @field_validator("optional")
    @classmethod
    def _can_be_given_up(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "name" in info.data and not EXTRACTORS.get(info.data["name"]).tags.trained:
            raise ValueError(f"must be false for an extractor that is not trained; got true for {info.data['name']!r}")
        return value

    @property
    def takes(self) -> frozenset[Kind]:
        """Kinds of column that it can be given."""
        fusion, tags = self.fusion, EXTRACTORS.get(self.name).tags
        kinds: frozenset[Kind] = tags.kinds if fusion is None else FUSIONS.get(fusion.name).takes
        return kinds


class SearchedSpec(PluginSpec):
    """A plugin whose parameters are searched, but for those that are set."""

    search: bool = True
    """False: only ``params`` is tried; True: fields set in ``params`` stay fixed, the others are searched."""

    @field_serializer("params")
    def _set_fields(self, params: PluginParams) -> dict[str, Any]:
        """What was set, and no more: written out, a default would come back as a field that is fixed."""
        return params.model_dump(mode="json", exclude_unset=True)


class EstimatorSpec(SearchedSpec):
    """One family of learners in the search."""

    registry: ClassVar[Registry[Any]] = ESTIMATORS


class FusionSpec(SearchedSpec):
    """One feature-level fusion in the search."""

    registry: ClassVar[Registry[Any]] = FUSIONS
    level: ClassVar[str] = "feature"

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        return _fusion_of_level(value, cls.level)


class CombinerSpec(FusionSpec):
    """One decision-level fusion in the ensemble search."""

    level: ClassVar[str] = "decision"


class PreparationSpec(SearchedSpec):
    """One step before the feature-level fusion; the search decides whether a candidate takes it."""

    registry: ClassVar[Registry[Any]] = PREPARATIONS

    always: bool = False
    """True: every candidate takes it."""


class SplitSpec(Section):
    """How rows are divided into training rows and test rows, and training rows into folds."""

    kind: Literal["auto", "random", "stratified", "grouped", "temporal", "column"] = "auto"
    """auto: the column ``split`` if there is one, else stratified for classes, random for numbers."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of rows held out for the final score."""
    column: str | None = None
    """grouped: the group, of which intervals and p values draw whole ones; temporal: the time; column: holds train /
    dev / test."""
    together: str | None = None
    """column: rows with the same value here are in one fold, and drawn together for intervals and p values; of one
    machine, say, whose rows are alike."""
    seed: int | None = None
    """Seed of the split; left out, the spec's seed."""

    @model_validator(mode="after")
    def _column_there(self) -> Self:
        refuse(split_faults(dict(self)))
        return self


class DataSpec(Section):
    """Where the rows are and what their columns mean."""

    path: str | tuple[str, ...]
    """File, folder, glob or URL (any fsspec protocol), or several; ``bundled://digits`` for bundled rows."""
    format: Literal["auto", "parquet", "csv", "jsonl", "images", "audio"] = "auto"
    """auto: from the file name; a folder of class folders is ``images`` or ``audio``, by the files in them."""
    label: str = ""
    """Column to predict; for a folder of images or sounds, ``label`` (the folder's name). For clustering, where nothing
    is predicted, what clusters are compared with in the end; left out, nothing."""
    annotators: tuple[str, ...] = ()
    """Columns of several people's labels, one each, of which the label is made; it is then no column of its own. Left
    out, the label is a column."""
    consensus: Literal["dawid_skene", "majority"] = "dawid_skene"
    """How it is made. dawid_skene: votes are weighed by how often each annotator takes which class for which; majority:
    the class with the most votes, the first of equals."""
    series: SeriesSpec | None = None
    """How points are cut into rows to forecast; ``label`` is the column of values, test points are the last of their
    series. Left out, rows are rows."""
    windows: WindowsSpec | None = None
    """How points are cut into rows that hold a window each, for any task but forecasting; ``label`` is a column of the
    points, test points may be named by a column ``split``. Left out, rows are rows."""
    columns: dict[str, Kind] | None = None
    """Kind of each input column; left out, inferred."""
    drop: tuple[str, ...] = ()
    """Columns that no model may read, nor anything else but ``groups``."""
    redact: tuple[str, ...] = ()
    """Columns that models may read, and that no record, reject, golden row or log may show."""
    groups: tuple[str, ...] = ()
    """Columns by whose values the test rows are scored: every category, or bands of numbers. Models read them only if
    they are inputs too; name them in ``drop`` as well if no model may."""
    source: str | None = None
    """Where the data comes from, for the data card."""
    licence: str | None = None
    """Under which licence, for the data card."""
    split: SplitSpec = SplitSpec()
    max_bad_fraction: float = Field(0.05, ge=0, le=1)
    """Share of rows with something unreadable above which the run is refused."""
    verify: Literal["stat", "content"] = "stat"
    """How a file that was seen before is known again: by size and time, or by reading it."""
    shard_rows: int = Field(1024, ge=1, le=1_000_000)
    """Rows of a shard of the feature cache."""
    limit: int | None = Field(None, ge=1)
    """Rows to read at most, from the start; left out, all."""

    @model_validator(mode="after")
    def _columns_are_one_thing(self) -> Self:
        series = self.series.model_dump() if self.series is not None else None
        windows = self.windows.model_dump() if self.windows is not None else None
        refuse(data_faults(dict(self) | {"split": dict(self.split), "series": series, "windows": windows}))
        return self


class TargetSpec(Section):
    """How the label is read, and what is done to a numeric one before it is learned."""

    transform: Literal["auto", "none", "log"] = "auto"
    """auto: log1p for a positive, right-skewed label (skewness of training rows above 1), else none."""
    anomalous: bool | int | float | str | None = None
    """anomaly: the label of anomalous rows; left out, the greater of the two."""
    false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """anomaly: share of normal training rows that may be taken for anomalous; it sets the threshold."""


class HalvingSpec(Section):
    """When a candidate is stopped before its last fold."""

    min_folds: int = Field(1, ge=1)
    """Folds that every candidate is given."""
    reduction: float = Field(2.0, ge=1)
    """After each fold the best 1/reduction of what earlier candidates of the same family reached goes on; 1 stops
    nothing."""


class EnsembleSpec(Section):
    """The second layer of the search: which members, put together how."""

    trials: int = Field(24, ge=1)
    """Points of the ensemble search."""
    combiners: tuple[CombinerSpec, ...] = ()
    """Decision-level fusions to try; left out, linear_pool, stacking, log_pool (classes) and bayesian_fusion."""
    max_members: int = Field(8, ge=1, le=64)
    """Members the graph may have: each is paid for at prediction."""


class SearchSpec(Section):
    """The search over candidates and ensembles."""

    trials: int | None = Field(None, ge=1)
    """Candidates to try; left out, 32, or under a time limit as many as there is time for."""
    time_limit_s: float | None = Field(None, gt=0)
    """Seconds for the search, ensembles included; what runs then is cut. Left out, the trials decide."""
    cut: tuple[int, ...] = ()
    """Numbers of trials that are proposed and not done: with ``trials``, they replay a search that a time limit ended;
    its record in the store lists them."""
    folds: int = Field(5, ge=2, le=20)
    """Folds of the training rows."""
    repeats: int = Field(1, ge=1, le=20)
    """Cuts of the training rows into folds that the best candidates are compared over: those after the first are fitted
    for them alone, after the search, see docs/evaluation.md."""
    batch: int = Field(8, ge=1)
    """Candidates that are open at a time, in two halves that take turns; part of what is searched, not of how many
    workers there are."""
    deterministic: bool = True
    """Proposals and prunings only between half batches, so that any number of workers gives the same trials."""
    sampler: SamplerName = "tpe"
    """Who proposes, see docs/search.md; cmaes and gp learn from groups of parameters, grid ends with its points."""
    begin_with: Literal["auto"] | BeginWith = "auto"
    """families: each family of learners on all extractors comes first; subsets: what the report compares, each modality
    alone and left out; auto: families under a time limit, which may come before the others, else subsets."""
    metric: str = "auto"
    """auto: log_loss for classes, rmse for numbers, roc_auc for anomalies, stable_silhouette for clusters, mase for
    forecasts; any metric of the task, by scikit-learn's name where it has one."""
    objectives: tuple[Objective, ...] = ("metric",)
    """What the choice of the ensemble looks at, beside the metric: the time that a row takes, the size of the graph."""
    prefer: Prefer = "accuracy"
    """accuracy: the best score; balanced, speed: the cheapest within one, within two standard errors of it."""
    max_latency_ms: float | None = Field(None, gt=0)
    """Milliseconds that an answer to one row may take on one CPU, extractors included, as measured in the search."""
    max_size_mb: float | None = Field(None, gt=0)
    """Megabytes that the graph may have, as measured in the search."""
    estimators: tuple[EstimatorSpec, ...] = ()
    """Families in the search; left out, a good default set for the task and the number of rows."""
    preparations: tuple[PreparationSpec, ...] = ()
    """Steps on the training rows of each fold, in this order: each is taken by a candidate or not; left out, none."""
    fusions: tuple[FusionSpec, ...] = ()
    """Feature-level fusions in the search; left out, concat."""
    tuned: Tuned = "auto"
    """Tuned twins beside pretrained extractors, so that the search decides which of the two a candidate reads. auto:
    beside those that a spec without ``extractors`` gets, where ``time_limit_s`` leaves the time; always: beside every
    one, those that the spec names too, whatever it takes; never: none but what the spec names."""
    halving: HalvingSpec = HalvingSpec()
    ensemble: EnsembleSpec = EnsembleSpec()
    max_concurrent: int | None = Field(None, ge=1)
    """Candidates at the same time; left out, what the cluster holds."""
    max_matrix: float = Field(0.3, gt=0, le=1)
    """Share of the smallest node's object store that the matrices may take; above it the search runs on a sample of the
    training rows, drawn by class and fold."""

    @model_validator(mode="after")
    def _preference_has_a_cost(self) -> Self:
        refuse(preference_faults(dict(self)))
        return self


class GraphSpec(Section):
    """What the winner is made of."""

    members: Literal["auto", "bag", "refit"] = "auto"
    """bag: the chains of all folds, averaged; refit: one chain on all training rows; auto: bag when an extractor is
    trained on the folds and for few rows, else refit."""
    sampled: Literal["auto", "bag", "refit"] = "auto"
    """The same where the search sees a sample of the training rows only; auto: what ``members`` says where it was set,
    else refit, as the chains of the folds know no row outside the sample."""
    refit_workers: int | None = Field(None, ge=1)
    """Workers that fit one member together where the search saw a sample only; left out, one a node, without nodes too
    small for that."""
    reserves: bool = False
    """True: rows that lack a modality which the training rows had are answered by small ensembles made without it, see
    docs/data-fusion.md."""
    compression: CompressionSpec = CompressionSpec()
    """How pretrained networks are made smaller after the search, and what that may cost; left out, they are not."""
    golden: Literal["rows", "synthetic", "none"] = "rows"
    """Rows kept in the artifact whose predictions are checked at load."""
    golden_rows: int = Field(8, ge=1, le=64)
    promote: Literal["always", "first", "never"] = "always"
    """When a run's version becomes the champion."""


class SmokeSpec(Section):
    """A form of the spec that runs in seconds: what the tests run."""

    rows: int = Field(120, ge=20, le=200)
    """Rows: the first of the bundled data, or generated from the schema."""
    trials: int = Field(2, ge=1)
    generate: bool = False
    """True: rows are generated from ``columns``; False: rows come from ``data.path``."""
    classes: int = Field(2, ge=2)
    """Number of classes of generated labels."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Other values of the spec, as dotted paths: ``search.folds: 2``."""


class Spec(Section):
    """What the user asked for.

    Read one with :func:`hybrid_ray.spec.load_spec`; it reports every fault at once.
    """

    version: Literal[1] = 1
    """Format of this document."""
    name: Name
    """Name of the model in the registry."""
    task: Task | Literal["auto"] = "auto"
    """auto: forecasting with ``data.series``; else from the label: two values binary, up to 50 values (or text)
    multiclass, else regression. anomaly: normal rows are learned, see docs/anomaly.md."""
    seed: int = Field(0, ge=0, lt=2**31)
    time_limit_s: float | None = Field(None, gt=0)
    """Seconds for the whole run, as far as it can be kept: the search gets what its other stages leave."""
    data: DataSpec
    target: TargetSpec = TargetSpec()
    extractors: tuple[ExtractorSpec, ...] = ()
    """Left out, defaults for each kind of column."""
    search: SearchSpec = SearchSpec()
    graph: GraphSpec = GraphSpec()
    serve: ServeSpec = ServeSpec()
    smoke: SmokeSpec = SmokeSpec()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        entries = [dict(entry) for entry in self.extractors]
        refuse([*id_faults(entries), *optional_faults(entries), *metric_faults(self.search.metric, self.task)])
        refuse(repeats_faults(self.search.repeats, self.data.split.kind, self.task))
        refuse(label_faults(self.data.label, self.task))
        if self.task in CLUSTERING:
            refuse(clustering_faults(dict(self.data) | {"split": dict(self.data.split)}, dict(self.graph)))
        return self

"""What a search is told: the part of a resolved spec that decides its trials."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Self

from hybrid_ray.errors import SpecError
from hybrid_ray.evaluation.metrics import Metric, get_metric
from hybrid_ray.extractors.twins import twin_pairs
from hybrid_ray.fusion.defaults import default_combiners
from hybrid_ray.fusion.inner import combiner_effort
from hybrid_ray.graph import TargetTransform
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, FUSIONS, PREPARATIONS
from hybrid_ray.search.tradeoff import Wish
from hybrid_ray.spec import EstimatorSpec, ExtractorSpec, FusionSpec, PreparationSpec, SearchSpec, Spec
from hybrid_ray.types import BeginWith, SamplerName, Task, learned_as

STEP_COPIES = 5.0
"""Copies of the training rows that a preparation makes, in float32: what it looks at side by side, scaled in float64,
and what it gives."""

CHAIN_S = 0.25
"""Seconds of a fit from which its chain is kept: what is fitted quicker is fitted again more cheaply than written."""
TRIALS = 32
"""Candidates of a search that is told neither a number nor a time."""
MOST_TRIALS = 10_000
"""Candidates of a search that is told a time only."""


@dataclass(frozen=True)
class Choice:
    """One entry of the search: a plugin, and what the user fixed of it.

    Attributes
    ----------
    key : str
        Its name in the names of search parameters; the plugin's name, numbered when it stands there twice.
    name : str
        Registered name of the plugin.
    fixed : mapping
        Parameters that the user set: never searched.
    search : bool
        False: the other parameters have their defaults; True: they are searched.
    always : bool
        A preparation that every candidate takes.
    """

    key: str
    name: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    search: bool = True
    always: bool = False


@dataclass(frozen=True)
class SearchPlan:
    """Everything that decides the trials of a search, and how much of a cluster they may take.

    Attributes
    ----------
    task : Task
    n_outputs : int
        Number of classes, or 1.
    metric : str
        Name of the metric, resolved.
    blocks : tuple of str
        Ids of the extractors, sorted.
    modalities : mapping of str to str
        Modality of each extractor id; of inputs put together before it, see ``types.modality_of``.
    estimators, fusions, combiners : tuple of Choice
        Learners, feature-level fusions and decision-level fusions to try.
    preparations : tuple of Choice
        Steps that a candidate may take, in order.
    twins : tuple of (str, str)
        Ids of frozen extractors and of their tuned twins.
    variants : tuple of tuple of str
        Ids of extractors of which a candidate reads one at most; the first of each is the one that it reads by default.
    seed : int
    trials : int
        Candidates to try at most.
    cut : tuple of int
        Numbers of trials that are proposed and not done.
    batch : int
        Candidates that are open at a time, in two halves that take turns.
    deterministic : bool
        Proposals and prunings only between half batches.
    sampler : {"tpe", "cmaes", "gp", "random", "grid"}
    min_folds : int
        Folds that every candidate is given.
    reduction : float
        After each fold the best 1/reduction of what earlier batches reached goes on.
    ensemble_trials : int
    max_members : int
    transform : {"none", "log"}
        What is done to a numeric label.
    wish : Wish
        Which ensemble is taken, where some are better and others cheaper.
    begin_with : {"families", "subsets"}
        What the portfolio begins with.
    keep_chains : float or None
        Seconds of a fit from which its chain is kept for a graph that bags folds, so that it is not fitted twice; None:
        no graph will bag them.
    max_concurrent : int or None
        Trials at the same time; None: what the cluster holds.
    """

    task: Task
    n_outputs: int
    metric: str
    blocks: tuple[str, ...]
    modalities: Mapping[str, str]
    estimators: tuple[Choice, ...]
    fusions: tuple[Choice, ...]
    combiners: tuple[Choice, ...]
    preparations: tuple[Choice, ...] = ()
    twins: tuple[tuple[str, str], ...] = ()
    variants: tuple[tuple[str, ...], ...] = ()
    seed: int = 0
    trials: int = TRIALS
    cut: tuple[int, ...] = ()
    batch: int = 8
    deterministic: bool = True
    sampler: SamplerName = "tpe"
    min_folds: int = 1
    reduction: float = 2.0
    ensemble_trials: int = 24
    max_members: int = 8
    transform: TargetTransform = "none"
    wish: Wish = field(default_factory=Wish)
    begin_with: BeginWith = "subsets"
    keep_chains: float | None = None
    max_concurrent: int | None = None

    @classmethod
    def of(
        cls,
        spec: Spec,
        modality_of: Mapping[str, str],
        task: Task,
        n_outputs: int,
        transform: TargetTransform = "none",
    ) -> Self:
        """The plan of a resolved spec.

        Parameters
        ----------
        spec : Spec
        modality_of : mapping of str to str
            Modality of each extractor id.
        task : Task
        n_outputs : int
            Number of classes, or 1.
        transform : {"none", "log"}
            The spec's ``target.transform``, decided from the training rows where the spec says ``auto``.

        Raises
        ------
        SpecError
            Extractors or estimators are not resolved, or a plugin does not serve the task; every fault is named.
        BadInputError
            The metric does not serve the task.
        """
        search = spec.search
        told = {"false_alarms": spec.target.false_alarms} if task == "anomaly" else {}
        faults = _faults(search, task, modality_of)
        if not modality_of:
            faults.append("extractors: must be resolved before a search; got none")
        if faults:
            raise SpecError(faults)
        return cls(
            task=task,
            n_outputs=n_outputs,
            metric=get_metric(search.metric, task).name,
            blocks=tuple(sorted(modality_of)),
            modalities=dict(modality_of),
            estimators=_choices(search.estimators, told),
            fusions=_choices(search.fusions) or (Choice("concat", "concat"),),
            combiners=_choices(search.ensemble.combiners, told) or tuple(Choice(n, n) for n in default_combiners(task)),
            preparations=_choices(search.preparations),
            twins=tuple(pair for pair in twin_pairs(spec.extractors) if set(pair) <= set(modality_of)),
            variants=_variants(spec.extractors, modality_of),
            seed=spec.seed,
            trials=_trials(spec),
            cut=search.cut,
            batch=search.batch,
            deterministic=search.deterministic,
            sampler=search.sampler,
            min_folds=search.halving.min_folds,
            reduction=search.halving.reduction,
            ensemble_trials=search.ensemble.trials,
            max_members=search.ensemble.max_members,
            transform=transform,
            wish=Wish(search.objectives, search.prefer, search.max_latency_ms, search.max_size_mb),
            begin_with="families" if search.begin_with == "families" else "subsets",
            keep_chains=CHAIN_S if spec.graph.members == "bag" else None,
            max_concurrent=search.max_concurrent,
        )

    @property
    def scorer(self) -> Metric:
        """The metric."""
        return get_metric(self.metric, self.task)

    @property
    def slots(self) -> tuple[tuple[str, ...], ...]:
        """Ids of extractors by what a candidate chooses: of each tuple it reads one, or none; the first by default."""
        led = {group[0]: group for group in self.variants}
        others = {name for group in self.variants for name in group[1:]}
        return tuple(led.get(name, (name,)) for name in self.blocks if name not in others)

    @property
    def whole(self) -> tuple[str, ...]:
        """Ids of the extractors of a candidate that reads all there is: the first of every slot."""
        return tuple(slot[0] for slot in self.slots)

    @property
    def effort(self) -> float:
        """What fitting an ensemble takes in the mean of the combiners, see ``DecisionFusion.effort``."""
        return sum(combiner_effort(choice.name, choice.fixed) for choice in self.combiners) / len(self.combiners)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able form; ``SearchPlan.from_json`` gives the plan back."""
        return asdict(self)

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Self:
        """The plan that ``to_json`` wrote."""
        roles = ("estimators", "fusions", "combiners", "preparations")
        lists = {name: tuple(Choice(**entry) for entry in form[name]) for name in roles}
        wish = Wish(**{**form["wish"], "objectives": tuple(form["wish"]["objectives"])})
        plain = {"blocks": tuple(form["blocks"]), "cut": tuple(form["cut"])}
        twins = tuple((frozen, tuned) for frozen, tuned in form["twins"])
        variants = tuple(tuple(group) for group in form["variants"])
        return cls(**{**form, **lists, **plain, "twins": twins, "variants": variants, "wish": wish})


def _variants(extractors: Sequence[ExtractorSpec], there: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of ids of which a candidate reads one, of those extractors that are there."""
    groups: dict[str, list[str]] = {}
    for entry in sorted(extractors, key=lambda entry: entry.variant_of is not None):
        if entry.id is not None and entry.id in there:
            groups.setdefault(entry.variant_of or entry.id, []).append(entry.id)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _trials(spec: Spec) -> int:
    if spec.search.trials is not None:
        return spec.search.trials
    return TRIALS if spec.time_limit_s is None and spec.search.time_limit_s is None else MOST_TRIALS


def copies_of(preparations: Sequence[Choice], learning: float) -> float:
    """Copies of the training rows that a fit makes which takes every step, and whose learner makes ``learning``."""
    grown = 1.0
    for choice in preparations:
        plugin = PREPARATIONS.get(choice.name)
        grown *= plugin(plugin.Params.model_validate(dict(choice.fixed))).growth
    return (learning + (STEP_COPIES if preparations else 0.0)) * grown


def _choices(
    entries: Sequence[EstimatorSpec | FusionSpec | PreparationSpec], told: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Choice, ...]:
    """Entries of the spec with keys that differ: ``svm``, ``svm2``; what is ``told`` stays fixed where they have it."""
    seen: dict[str, int] = {}
    choices = []
    for entry in entries:
        seen[entry.name] = seen.get(entry.name, 0) + 1
        key = entry.name if seen[entry.name] == 1 else f"{entry.name}{seen[entry.name]}"
        known = {name: value for name, value in told.items() if name in type(entry.params).model_fields}
        fixed = known | entry.params.model_dump(mode="json", exclude_unset=True)
        always = isinstance(entry, PreparationSpec) and entry.always
        choices.append(Choice(key, entry.name, fixed, entry.search, always))
    return tuple(choices)


def _faults(search: SearchSpec, task: Task, blocks: Collection[str]) -> list[str]:
    """What cannot be searched for this task, with these blocks."""
    load_plugins()
    served = (
        [
            (f"search.estimators[{i}].name", entry.name, ESTIMATORS.get(entry.name).tags.tasks)
            for i, entry in enumerate(search.estimators)
        ]
        + [
            (f"search.ensemble.combiners[{i}].name", entry.name, FUSIONS.get(entry.name).tasks_of(entry.params))
            for i, entry in enumerate(search.ensemble.combiners)
        ]
        + [
            (f"search.preparations[{i}].name", entry.name, PREPARATIONS.get(entry.name).tasks)
            for i, entry in enumerate(search.preparations)
        ]
    )
    faults = [
        f"{path}: must serve the task {task}; got {name!r}, which serves {sorted(tasks)}"
        for path, name, tasks in served
        if (task if path.startswith("search.estimators") else learned_as(task)) not in tasks
    ] + [
        f"search.preparations[{i}].params.blocks: must be ids of extractors, {sorted(blocks)}; got {name!r}"
        for i, entry in enumerate(search.preparations)
        for name in getattr(entry.params, "blocks", None) or ()
        if blocks and name not in blocks
    ]
    return faults if search.estimators else ["search.estimators: must be resolved before a search; got none", *faults]

"""What a search is told: the part of a resolved spec that decides its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from hybrid_ray.errors import SpecError
from hybrid_ray.evaluation.metrics import Metric, get_metric
from hybrid_ray.fusion.defaults import default_combiners
from hybrid_ray.graph import TargetTransform
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, FUSIONS
from hybrid_ray.spec import EstimatorSpec, FusionSpec, SearchSpec, Spec
from hybrid_ray.types import Modality, Task


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
    """

    key: str
    name: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    search: bool = True


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
    modalities : mapping of str to Modality
        Modality of each extractor id.
    estimators, fusions, combiners : tuple of Choice
        Learners, feature-level fusions and decision-level fusions to try.
    seed : int
    trials : int
        Candidates to try.
    batch : int
        Candidates proposed together.
    deterministic : bool
        Proposals and prunings only between batches.
    sampler : {"tpe", "random"}
    min_folds : int
        Folds that every candidate is given.
    reduction : float
        After each fold the best 1/reduction of what earlier batches reached goes on.
    ensemble_trials : int
    max_members : int
    transform : {"none", "log"}
        What is done to a numeric label.
    time_limit_s : float or None
        Seconds after which no further batch is proposed.
    keep_chains : bool
        Fitted chains of complete candidates are kept, so that the winner is not fitted twice.
    max_concurrent : int or None
        Trials at the same time; None: what the cluster holds.
    """

    task: Task
    n_outputs: int
    metric: str
    blocks: tuple[str, ...]
    modalities: Mapping[str, Modality]
    estimators: tuple[Choice, ...]
    fusions: tuple[Choice, ...]
    combiners: tuple[Choice, ...]
    seed: int = 0
    trials: int = 32
    batch: int = 8
    deterministic: bool = True
    sampler: Literal["tpe", "random"] = "tpe"
    min_folds: int = 1
    reduction: float = 2.0
    ensemble_trials: int = 24
    max_members: int = 8
    transform: TargetTransform = "none"
    time_limit_s: float | None = None
    keep_chains: bool = False
    max_concurrent: int | None = None

    @classmethod
    def of(
        cls,
        spec: Spec,
        modality_of: Mapping[str, Modality],
        task: Task,
        n_outputs: int,
        transform: TargetTransform = "none",
    ) -> Self:
        """The plan of a resolved spec.

        Parameters
        ----------
        spec : Spec
        modality_of : mapping of str to Modality
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
        faults = _faults(search, task)
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
            estimators=_choices(search.estimators),
            fusions=_choices(search.fusions) or (Choice("concat", "concat"),),
            combiners=_choices(search.ensemble.combiners) or tuple(Choice(n, n) for n in default_combiners(task)),
            seed=spec.seed,
            trials=search.trials,
            batch=search.batch,
            deterministic=search.deterministic,
            sampler=search.sampler,
            min_folds=search.halving.min_folds,
            reduction=search.halving.reduction,
            ensemble_trials=search.ensemble.trials,
            max_members=search.ensemble.max_members,
            transform=transform,
            time_limit_s=search.time_limit_s,
            keep_chains=spec.graph.members == "bag",
            max_concurrent=search.max_concurrent,
        )

    @property
    def scorer(self) -> Metric:
        """The metric."""
        return get_metric(self.metric, self.task)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able form; ``SearchPlan.from_json`` gives the plan back."""
        return asdict(self)

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Self:
        """The plan that ``to_json`` wrote."""
        lists = {
            name: tuple(Choice(**entry) for entry in form[name]) for name in ("estimators", "fusions", "combiners")
        }
        return cls(**{**form, **lists, "blocks": tuple(form["blocks"])})


def _choices(entries: Sequence[EstimatorSpec | FusionSpec]) -> tuple[Choice, ...]:
    """Entries of the spec with keys that differ: ``svm``, ``svm2``."""
    seen: dict[str, int] = {}
    choices = []
    for entry in entries:
        seen[entry.name] = seen.get(entry.name, 0) + 1
        key = entry.name if seen[entry.name] == 1 else f"{entry.name}{seen[entry.name]}"
        fixed = entry.params.model_dump(mode="json", exclude_unset=True)
        choices.append(Choice(key, entry.name, fixed, entry.search))
    return tuple(choices)


def _faults(search: SearchSpec, task: Task) -> list[str]:
    """What cannot be searched for this task."""
    load_plugins()
    served = [
        (f"search.estimators[{i}].name", entry.name, ESTIMATORS.get(entry.name).tags.tasks)
        for i, entry in enumerate(search.estimators)
    ] + [
        (f"search.ensemble.combiners[{i}].name", entry.name, FUSIONS.get(entry.name).tasks_of(entry.params))
        for i, entry in enumerate(search.ensemble.combiners)
    ]
    faults = [
        f"{path}: must serve the task {task}; got {name!r}, which serves {sorted(tasks)}"
        for path, name, tasks in served
        if task not in tasks
    ]
    return faults if search.estimators else ["search.estimators: must be resolved before a search; got none", *faults]

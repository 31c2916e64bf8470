"""Decision-level fusion with a threshold: how many false alarms are borne decides what is told from the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.fusion.inner import check_combiner, combiner_effort, combiner_tasks, fit_combiner, make_combiner
from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, State, Task

COMBINERS = ("linear_pool", "voting", "log_pool")
"""Combiners that a search puts the threshold on, each with its defaults."""
LEAST = 1e-12
"""What is said, and the threshold, stay so far from 0 and 1: odds are taken of them."""


class AlarmParams(PluginParams):
    """Parameters of :class:`Alarm`."""

    combiner: str = "linear_pool"
    """Decision-level fusion inside."""
    combiner_params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the fusion inside; left out, its defaults."""
    false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Share of the rows of the first class that may be taken for the second."""

    @model_validator(mode="after")
    def _inner_is_valid(self) -> Self:
        check_combiner(self.combiner, self.combiner_params, without=Alarm.name)
        return self


@FUSIONS.register("alarm")
class Alarm(DecisionFusion):
    """Another fusion of two classes whose answer is moved so that 0.5 is where few rows of the first class lie above.

    The threshold is a quantile of what the fusion inside says, out of fold, of rows of the first class; the odds of
    every answer are divided by its odds. The order of rows stays, and whoever takes the more probable class keeps to
    the false alarms that are borne.

    References
    ----------
    Scott and Nowak, "A Neyman-Pearson approach to statistical learning", IEEE Trans. Information Theory 51, 2005.
    """

    tasks = frozenset[Task]({"binary"})
    Params = AlarmParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._inner = make_combiner(self.params.combiner, self.params.combiner_params)
        self._threshold: float | None = None

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Few false alarms, and many."""
        yield AlarmParams()
        yield AlarmParams(combiner="voting", false_alarms=0.3)

    @classmethod
    def tasks_of(cls, params: PluginParams) -> frozenset[Task]:
        """Two classes, where the combiner inside does them."""
        own: Any = params
        return cls.tasks & combiner_tasks(own.combiner, own.combiner_params)

    @classmethod
    def effort(cls, params: PluginParams) -> float:
        """That of the combiner inside."""
        own: Any = params
        return combiner_effort(own.combiner, own.combiner_params)

    def fit(
        self,
        inputs: Mapping[str, AnyArray],
        y: AnyArray,
        task: Task,
        seed: int = 0,
        metric: Scoring | None = None,
        groups: AnyArray | None = None,
    ) -> Self:
        """Fit the combiner, and take the threshold from the rows of the first class; of none, it stays at 0.5."""
        fit_combiner(self._inner, inputs, y, task, seed, metric, groups)
        said = self._inner.combine(inputs)[:, 1][np.asarray(y) == 0]
        # Just as much becomes 0.5, of which the first class is taken: no alarm.
        found = np.quantile(said, 1 - self.params.false_alarms, method="higher") if len(said) else 0.5
        self._threshold = float(np.clip(found, LEAST, 1 - LEAST))
        return self

    @property
    def threshold(self) -> float:
        """What the fusion inside says where the answer is 0.5."""
        if self._threshold is None:
            raise NotFittedError("alarm: fit must come before combine")
        return self._threshold

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Class probabilities float64 (n, 2).

        Raises
        ------
        KeyError
            A member that has weight is not there.
        """
        threshold = self.threshold
        second = np.clip(self._inner.combine(inputs)[:, 1], LEAST, 1 - LEAST)
        above, below = second * (1 - threshold), (1 - second) * threshold
        moved = above / (above + below)
        return np.column_stack([1 - moved, moved])

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the fusion inside."""
        return self._inner.weights

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """Around which combiner."""
        return {"combiner": trial.suggest_categorical("combiner", COMBINERS)}

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """Weights that are solved, then equal ones."""
        return [{"combiner": combiner} for combiner in COMBINERS]

    def get_state(self) -> State:
        """State of the combiner inside, and the threshold."""
        return nest({"inner": self._inner.get_state()}, {"threshold": self.threshold})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        threshold = state.meta.get("threshold")
        if not isinstance(threshold, float) or not 0 < threshold < 1:
            raise ArtifactError(f"alarm: a saved fusion must hold its threshold, between 0 and 1; got {threshold!r}")
        inner: type[DecisionFusion] = FUSIONS.get(fusion.params.combiner)
        fusion._inner = inner.from_state(fusion._inner.params, part(state, "inner"))
        fusion._threshold = threshold
        return fusion

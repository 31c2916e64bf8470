"""Decision-level fusion by Bayesian model averaging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.predictive import NormalMixture
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.fusion.weighted import WeightedFusion, weighted_mean, without_negligible
from hybrid_ray.fusion.weights import true_class
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, State, Task

_ROWS = 4096
"""Rows whose weights are drawn together: replicates x rows float64 are held."""


class BayesianAveragingParams(PluginParams):
    """Parameters of :class:`BayesianAveraging`."""

    power: float = Field(0.03, gt=0, le=1)
    """Power of the likelihood: with 1 the weights of many rows fall on one member, as exact Bayes has it when one
    member is taken to be the truth; below 1 they stay spread."""
    replicates: int = Field(200, ge=1, le=100_000)
    """Draws of the Bayesian bootstrap."""


@FUSIONS.register("bayesian_averaging")
class BayesianAveraging(WeightedFusion):
    """Members averaged by their posterior probability, out-of-fold likelihoods standing for the evidence (pseudo-BMA+).

    A member's likelihood of a number is normal around what it says, with its own mean squared error. The Bayesian
    bootstrap puts the rows' own randomness into the weights, which plain pseudo-BMA leaves out.

    References
    ----------
    Yao, Vehtari, Simpson and Gelman, "Using stacking to average Bayesian predictive distributions", Bayesian Analysis
    2018, section 3.4; Rubin, "The Bayesian bootstrap", Annals of Statistics 1981.
    """

    pool = True
    Params = BayesianAveragingParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._deviations: dict[str, float] = {}

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Spread weights, and the exact ones."""
        yield BayesianAveragingParams(replicates=50)
        yield BayesianAveragingParams(replicates=50, power=1.0)

    def fit(
        self, inputs: Mapping[str, AnyArray], y: AnyArray, task: Task, seed: int = 0, metric: Scoring | None = None
    ) -> Self:
        """Weigh the members, O(replicates * rows * members); ``seed`` draws the bootstrap."""
        names = sorted(inputs)
        likelihoods = np.stack([_log_likelihood(inputs[name], y, task) for name in names])
        n = likelihoods.shape[1]
        rng = np.random.default_rng(seed)
        sums, totals = np.zeros((self.params.replicates, len(names))), np.zeros((self.params.replicates, 1))
        for start in range(0, n, _ROWS):
            part = likelihoods[:, start : start + _ROWS]
            drawn = rng.standard_exponential((self.params.replicates, part.shape[1]))
            sums += drawn @ part.T
            totals += drawn.sum(axis=1, keepdims=True)
        evidence = self.params.power * n * sums / totals
        posterior = np.exp(evidence - evidence.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
        self._keep(names, without_negligible(posterior.mean(axis=0)))
        self._deviations = {}
        if task == "regression":
            self._deviations = {name: float(np.sqrt(_mean_square(inputs[name], y))) for name in names}
        return self

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Weighted mean float64 (n, C) or (n, 1) of the members that have weight.

        Raises
        ------
        KeyError
            A member that has weight is not there.
        """
        return weighted_mean(inputs, self._used(inputs))

    def predictive(self, inputs: Mapping[str, AnyArray]) -> NormalMixture | None:
        """For numbers a mixture: each member's normal distribution, by the member's weight."""
        used = self._used(inputs)
        if not self._deviations:
            return None
        means = np.column_stack([np.asarray(inputs[name], np.float64)[:, 0] for name in used])
        return NormalMixture(np.array(list(used.values())), means, np.array([self._deviations[name] for name in used]))

    def get_state(self) -> State:
        """The weights and, for numbers, each member's deviation."""
        state = super().get_state()
        return State(state.meta | {"deviations": dict(self._deviations)})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = super().from_state(params, state)
        fusion._deviations = {str(name): float(value) for name, value in state.meta.get("deviations", {}).items()}
        return fusion

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """The power of the likelihood."""
        return {} if n_members < 2 else {"power": trial.suggest_float("power", 1e-4, 1.0, log=True)}

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """Spread weights first."""
        return [{}] if n_members < 2 else [{"power": power} for power in (0.03, 0.003, 1.0)]


def _log_likelihood(outputs: AnyArray, y: AnyArray, task: Task) -> AnyArray:
    """Log likelihood (n,) that a member gives to the truth."""
    if task != "regression":
        logs: AnyArray = np.log(true_class(outputs, y))
        return logs
    squares = np.square(np.asarray(outputs, np.float64)[:, 0] - y)
    variance = _mean_square(outputs, y)
    density: AnyArray = -0.5 * (np.log(2 * np.pi * variance) + squares / variance)
    return density


def _mean_square(outputs: AnyArray, y: AnyArray) -> float:
    """Mean squared error of values (n, 1), above 0."""
    return max(float(np.square(np.asarray(outputs, np.float64)[:, 0] - y).mean()), np.finfo(np.float64).tiny)

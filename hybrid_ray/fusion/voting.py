"""Decision-level fusion by votes of equal weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.fusion.weighted import WeightedFusion, weighted_mean
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Task

Votes = Literal["soft", "hard"]


class VotingParams(PluginParams):
    """Parameters of :class:`Voting`."""

    votes: Votes = "soft"
    """soft: the mean of the members; hard: each member names one class, and for numbers the median is taken."""
    softness: float = Field(0.5, gt=0, le=1)
    """hard, classes only: how many votes the mean probability has beside one vote of each member. It decides ties, and
    keeps a class that no member names from probability 0; with one vote at most it never overrules more votes."""


@FUSIONS.register("voting")
class Voting(WeightedFusion):
    """Every member counts the same: nothing is learned, so nothing can be overfitted.

    References
    ----------
    Kittler et al., "On combining classifiers", IEEE TPAMI 1998: the sum, majority and median rules.
    """

    Params = VotingParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Both kinds of vote."""
        yield VotingParams()
        yield VotingParams(votes="hard")
        yield VotingParams(votes="hard", softness=1.0)

    def fit(
        self, inputs: Mapping[str, AnyArray], y: AnyArray, task: Task, seed: int = 0, metric: Scoring | None = None
    ) -> Self:
        """Take the names; nothing else is learned."""
        self._keep(sorted(inputs), np.ones(len(inputs)))
        return self

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Class probabilities float64 (n, C), or values (n, 1).

        Raises
        ------
        KeyError
            A member is not there.
        """
        used = self._used(inputs)
        soft = weighted_mean(inputs, used)
        if self.params.votes == "soft":
            return soft
        if soft.shape[1] == 1:
            middle: AnyArray = np.median(np.stack([np.asarray(inputs[name], np.float64) for name in used]), axis=0)
            return middle
        votes = {name: np.eye(soft.shape[1])[np.asarray(inputs[name]).argmax(axis=1)] for name in used}
        # A class that leads by a vote is ahead by 1 / m, and the mean probabilities of two classes differ by 1 at most.
        share = self.params.softness / (len(used) + self.params.softness)
        return (1 - share) * weighted_mean(votes, used) + share * soft

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """The kind of vote."""
        if n_members < 2:
            return {}
        point: dict[str, Any] = {"votes": trial.suggest_categorical("votes", ("soft", "hard"))}
        if point["votes"] == "hard" and task != "regression":
            point["softness"] = trial.suggest_float("softness", 0.05, 1.0, log=True)
        return point

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """Soft first."""
        if n_members < 2:
            return [{}]
        hard = {"votes": "hard"} if task == "regression" else {"votes": "hard", "softness": 0.5}
        return [{"votes": "soft"}, hard]

"""Training rows that are unlike the others, left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.base import Blocks, Preparation, Rows
from hybrid_ray.preparation.columns import side_by_side, taken
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import AnyArray, Task

FEWEST = 10
"""Rows of a group below which none is left out."""


class DropOutliersParams(PluginParams):
    """Parameters of :class:`DropOutliers`."""

    share: float = Field(0.02, ge=0, lt=0.5)
    """Share of the rows of each class (of all rows, for numbers) that is left out, the most isolated first."""
    trees: int = Field(100, ge=1, le=1000)
    """Trees of the forest."""


@PREPARATIONS.register("drop_outliers")
class DropOutliers(Preparation):
    """The training rows that an isolation forest isolates first are not learned from.

    Every class gives up the same share: a rare class is not taken for an outlier as a whole, and the shares of classes
    stay. Rows that lack a block stay. Rows to predict are never left out.

    References
    ----------
    Liu, Ting, Zhou, "Isolation forest", ICDM 2008.
    """

    Params = DropOutliersParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """A tenth, by a small forest."""
        yield DropOutliersParams(share=0.1, trees=10)

    def resample(self, blocks: Blocks, y: AnyArray, task: Task, seed: int = 0) -> Rows:
        """The training rows that stay, in their order."""
        X, whole = side_by_side(blocks)
        rows = np.flatnonzero(whole)
        if len(rows) < FEWEST or X.shape[1] == 0:
            return Rows(blocks, y)
        from sklearn.ensemble import IsolationForest

        forest = IsolationForest(n_estimators=self.params.trees, random_state=seed % 2**32)
        isolation = -forest.fit(X[rows]).score_samples(X[rows])
        groups = np.unique(y[rows], return_inverse=True)[1] if task != "regression" else np.zeros(len(rows), np.int64)
        kept = np.delete(np.arange(len(y)), rows[worst(isolation, groups, self.params.share)])
        return Rows(taken(blocks, kept), y[kept], kept)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How many."""
        return {"share": trial.suggest_float("share", 0.005, 0.1, log=True)}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A fiftieth."""
        return [{"share": 0.02}]


def worst(badness: AnyArray, groups: AnyArray, share: float, above: float = -np.inf) -> AnyArray:
    """Positions of the rows (n,) of each group that are worst, at most a share of the group, and above a bar.

    A group of fewer than ``FEWEST`` rows loses none.
    """
    chosen = [np.zeros(0, np.int64)]
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) < FEWEST:
            continue
        ranked = members[np.argsort(-badness[members], kind="stable")][: int(share * len(members))]
        chosen.append(ranked[badness[ranked] > above])
    return np.concatenate(chosen)

"""What families of clusterers share: how many clusters there are to be, and what a search tries of that."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from hybrid_ray.estimators.base import EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import OwnFamily, check_task, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.types import CLUSTERING, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator

FEWEST, MOST = 2, 20
"""Numbers of clusters that a search tries where a spec sets no others."""
STARTS = (10, 5, 15)
"""Numbers of clusters that it begins with."""
PAIRED_ROWS = 10_000
"""Up to this many rows all their distances are held at once; more are fitted on a sample."""


_BOUNDS = {"min_clusters", "max_clusters"}
"""Parameters that a search looks at, and no clusterer."""


class ClustersParams(PluginParams):
    """Parameters of clusterers that are told how many clusters to find."""

    n_clusters: int = Field(8, ge=1, le=1000)
    """Clusters; fewer where fewer rows differ."""
    min_clusters: int = Field(FEWEST, ge=1, le=1000)
    """Fewest clusters that a search tries, where ``n_clusters`` is left to it."""
    max_clusters: int = Field(MOST, ge=1, le=1000)
    """Most clusters that it tries."""


class ClustererFamily(OwnFamily):
    """A family of clusterers. Its ``Params`` are the keyword parameters of its clusterer, but for bounds of a search.

    Attributes
    ----------
    seeded : bool
        True when the clusterer draws, and takes a ``random_state``.
    """

    tags: ClassVar[EstimatorTags] = EstimatorTags(tasks=CLUSTERING)
    Params: ClassVar[type[PluginParams]]
    seeded: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def clusterer(cls) -> type[OwnEstimator]:
        """The class that ``build`` builds; imported here, so that naming a family imports no scikit-learn."""

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """The one clusterer."""
        return (cls.clusterer(),)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted clusterer; ``seed`` has no effect on one that draws nothing."""
        check_task(cls.name, cls.tags, task)
        own = typed(params, cls.Params).model_dump(exclude=_BOUNDS)
        model: Model = cls.clusterer()(**own, **({"random_state": seed} if cls.seeded else {}))
        return model


def suggest_clusters(trial: Trial) -> dict[str, Any]:
    """The number of clusters, within bounds that a spec may set."""
    least = trial.suggest_int("min_clusters", FEWEST, FEWEST)
    most = max(trial.suggest_int("max_clusters", MOST, MOST), least)
    # A start may lie outside the bounds that a spec sets.
    n_clusters = min(max(trial.suggest_int("n_clusters", least, most), least), most)
    return {"min_clusters": least, "max_clusters": most, "n_clusters": n_clusters}


def cluster_starts(*others: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Each number of clusters to begin with, under the first of the other parameters; then the others under the first.

    Parameters
    ----------
    *others : mapping of str to object
        Parameters beside the number of clusters, best first.
    """
    told = [{"min_clusters": FEWEST, "max_clusters": MOST, "n_clusters": n} for n in STARTS]
    return [{**n, **others[0]} for n in told] + [{**told[0], **other} for other in others[1:]]

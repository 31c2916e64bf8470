"""What the test rows say of the clusters."""

from __future__ import annotations

from hybrid_ray.evaluation.schema.base import Part, Score


class ClusterRow(Part):
    """One cluster, on the test rows."""

    cluster: int
    rows: int
    share: float
    """Of the test rows."""
    silhouette: Score
    """Mean of its rows."""
    nearest: list[int]
    """Numbers of the rows of the data that lie nearest to its centre, nearest first."""
    labels: list[int] = []
    """Its rows of each label, in the order of ``ClusterCard.labels``."""


class ClusterCard(Part):
    """The clusters of the graph, largest of the training rows first; one without a test row has zeros."""

    rows: list[ClusterRow]
    labels: list[str] = []
    """Values of the label that clusters are compared with; empty where there is none."""
    silhouettes: list[list[float]]
    """Silhouettes of each cluster's rows, largest first; of many rows evenly spaced ones."""
    points: list[tuple[float, float, int]]
    """Test rows on their two principal axes, with their cluster; of many rows a sample."""

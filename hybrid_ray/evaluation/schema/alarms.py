"""How normal and anomalous test rows are told apart."""

from __future__ import annotations

from hybrid_ray.evaluation.schema.base import Part, Score


class ScoreBin(Part):
    """Test rows whose score lies between two numbers."""

    low: float
    high: float
    normal: int
    anomalous: int


class Stretch(Part):
    """Test rows that follow each other in the data."""

    rows: int
    score: float
    """Mean of their scores."""
    anomalous: float
    """Share of them that are anomalous."""


class AlarmCard(Part):
    """Scores of test rows, and the alarms that they raise at 0.5."""

    borne: float
    """Share of normal training rows that may raise an alarm: what the threshold was chosen by, out of fold."""
    threshold: Score
    """The fused score that became 0.5; null where none was chosen."""
    normal: int
    anomalous: int
    false_alarms: int
    """Normal test rows that raise an alarm."""
    missed: int
    """Anomalous test rows that raise none."""
    all_f1: Score
    """F1 of an alarm for every row."""
    random_f1: Score
    """F1 of as many alarms as there were, raised at random."""
    bins: list[ScoreBin]
    """From 0 to 1."""
    stretches: list[Stretch]
    """All test rows, in the order of the data."""

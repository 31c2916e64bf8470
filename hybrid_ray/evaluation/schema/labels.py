"""What the labels are worth: how annotators agree, and which labels are likely to be wrong."""

from __future__ import annotations

from hybrid_ray.evaluation.schema.base import Part, Score


class AnnotatorRow(Part):
    """One annotator."""

    name: str
    labelled: int
    """Rows with a label of this annotator."""
    accuracy: Score
    """Mean probability of these labels by the consensus; null where there are none."""


class PairRow(Part):
    """Two annotators."""

    first: str
    second: str
    kappa: Score
    """Cohen's kappa on the rows that both labelled; null where it is not defined."""


class AnnotationCard(Part):
    """Several annotators' labels, of which one was made."""

    how: str
    rows: int
    """Rows that someone labelled."""
    unanimous: int
    """Of the rows with two labels or more, those on which all agree."""
    several: int
    """Rows with two labels or more."""
    tied: int
    """Rows where two classes are equally probable: the first one in sorted order is the label."""
    krippendorff: Score
    """Krippendorff's alpha for nominal data: 1 where all agree, 0 where they agree as chance would have it."""
    fleiss: Score
    """Fleiss' kappa on the rows that all labelled."""
    annotators: list[AnnotatorRow]
    pairs: list[PairRow]


class LabelErrorRow(Part):
    """One row whose label is likely wrong."""

    row: int
    """Number of the row in the data, from 0."""
    given: str
    likely: str
    given_probability: float
    """Out-of-fold probability of the label that it has."""
    likely_probability: float


class LabelErrorsCard(Part):
    """Likely label errors among the training rows (confident learning)."""

    rows: int
    """Rows that were looked at."""
    found: int
    path: str = ""
    """File of the store that lists them all."""
    first: list[LabelErrorRow] = []
    """The likeliest ones."""


class LabelsCard(Part):
    """What the labels are worth."""

    annotation: AnnotationCard | None = None
    errors: LabelErrorsCard | None = None

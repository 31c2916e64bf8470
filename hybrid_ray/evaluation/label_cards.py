"""What the report says of labels."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from hybrid_ray.data.annotated import Annotated
from hybrid_ray.evaluation.agreement import cohen, fleiss, krippendorff
from hybrid_ray.evaluation.label_errors import LabelErrors
from hybrid_ray.evaluation.schema import AnnotationCard, AnnotatorRow, LabelErrorRow, PairRow
from hybrid_ray.types import AnyArray


def annotation_card(annotated: Annotated) -> AnnotationCard:
    """How several annotators agree, and how right each is.

    Parameters
    ----------
    annotated : Annotated
    """
    votes, names = annotated.votes, annotated.names
    given = votes >= 0
    several = given.sum(axis=1) > 1
    alike = (votes == votes.max(axis=1, keepdims=True)) | ~given
    accuracy = annotated.consensus.accuracy(votes)
    return AnnotationCard(
        how=annotated.how,
        rows=int(annotated.labelled.sum()),
        unanimous=int((alike.all(axis=1) & several).sum()),
        several=int(several.sum()),
        tied=int(annotated.tied.sum()),
        krippendorff=_known(krippendorff(votes)),
        fleiss=_known(fleiss(votes)),
        annotators=[
            AnnotatorRow(name=name, labelled=int(given[:, i].sum()), accuracy=_known(float(accuracy[i])))
            for i, name in enumerate(names)
        ],
        pairs=[PairRow(first=names[a], second=names[b], kappa=_known(k)) for (a, b), k in cohen(votes).items()],
    )


def label_error_rows(found: LabelErrors, y: AnyArray, rows: AnyArray, classes: Sequence[Any]) -> list[LabelErrorRow]:
    """Likely label errors as the report has them, the likeliest first.

    Parameters
    ----------
    found : LabelErrors
    y : ndarray int (n,)
        Given class codes of the rows that were looked at.
    rows : ndarray int (n,)
        Their numbers in the data.
    classes : sequence
        Labels in code order.
    """
    return [
        LabelErrorRow(
            row=int(rows[at]),
            given=str(classes[y[at]]),
            likely=str(classes[likely]),
            given_probability=float(own),
            likely_probability=float(other),
        )
        for at, likely, (own, other) in zip(found.rows, found.likely, found.probabilities, strict=True)
    ]


def label_error_lines(rows: Sequence[LabelErrorRow]) -> bytes:
    """The same as JSON lines."""
    return "".join(f"{json.dumps(row.model_dump(mode='json'))}\n" for row in rows).encode()


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None

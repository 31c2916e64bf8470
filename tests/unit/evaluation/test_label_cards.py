"""What the report says of labels."""

import json

import numpy as np
import pytest

from hybrid_ray.data.annotated import Annotated
from hybrid_ray.data.consensus import majority
from hybrid_ray.evaluation.label_cards import annotation_card, label_error_lines, label_error_rows
from hybrid_ray.evaluation.label_errors import label_errors


def annotated(votes, n_classes=2):
    votes = np.array(votes)
    return Annotated(tuple("abc"[: votes.shape[1]]), votes, "majority", majority(votes, n_classes))


def test_rows_are_counted_by_how_they_were_labelled():
    card = annotation_card(annotated([[0, 0, 0], [1, 0, -1], [1, -1, -1], [-1, -1, -1], [1, 1, -1]]))
    assert (card.rows, card.several, card.unanimous, card.tied) == (4, 3, 2, 1)
    assert [row.labelled for row in card.annotators] == [4, 3, 1]
    assert [(pair.first, pair.second) for pair in card.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_what_is_not_defined_is_null():
    card = annotation_card(annotated([[0, -1], [-1, 0]], 2))
    assert (card.krippendorff, card.fleiss, card.pairs[0].kappa) == (None, None, None)


def test_likely_errors_are_told_with_the_number_of_their_row():
    y = np.repeat([0, 1], 20)
    probabilities = np.eye(2)[y] * 0.8 + 0.1
    probabilities[[3, 25]] = [[0.05, 0.95], [0.97, 0.03]]
    rows = label_error_rows(label_errors(y, probabilities), y, np.arange(40) * 10, ["no", "yes"])
    assert [(row.row, row.given, row.likely) for row in rows] == [(250, "yes", "no"), (30, "no", "yes")]
    assert (rows[0].given_probability, rows[0].likely_probability) == pytest.approx((0.03, 0.97))
    assert [json.loads(line)["row"] for line in label_error_lines(rows).splitlines()] == [250, 30]
    assert label_error_lines([]) == b""

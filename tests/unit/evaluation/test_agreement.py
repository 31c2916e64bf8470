"""How far annotators agree, against published and worked examples."""

import numpy as np
import pytest

from hybrid_ray.evaluation.agreement import cohen, fleiss, krippendorff


def test_krippendorff_gives_the_published_example():
    """Krippendorff, "Computing Krippendorff's alpha-reliability", 2011, example C: four observers, twelve units."""
    x = -1
    votes = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, x, x, x],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, x, 3],
            [x, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, x],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, x],
        ]
    ).T
    assert krippendorff(votes) == pytest.approx(0.743, abs=5e-4)


def test_fleiss_gives_the_textbook_example():
    """Fleiss 1971 as commonly worked: ten subjects, fourteen raters, five categories, kappa 0.210."""
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    votes = np.array([np.repeat(np.arange(5), row) for row in counts])
    assert fleiss(votes) == pytest.approx(0.210, abs=5e-4)


def test_cohen_is_of_pairs_on_rows_that_both_labelled():
    a, b = np.repeat([0, 0, 1, 1], [20, 5, 10, 15]), np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    found = cohen(np.column_stack([a, b, np.full(50, -1)]))
    assert found[0, 1] == pytest.approx(0.4)
    assert np.isnan(found[0, 2])


def test_those_who_agree_have_one_and_those_who_guess_have_none():
    rng = np.random.default_rng(0)
    one = rng.integers(3, size=3000)
    same, guessed = np.column_stack([one, one, one]), rng.integers(3, size=(3000, 3))
    for measure in (fleiss, krippendorff):
        assert measure(same) == pytest.approx(1)
        assert measure(guessed) == pytest.approx(0, abs=0.03)
    assert cohen(same)[0, 2] == pytest.approx(1)


@pytest.mark.parametrize("votes", [np.full((4, 2), -1), np.array([[0, -1], [-1, 1]]), np.zeros((5, 3), int)])
def test_where_nothing_can_be_said_nothing_is_said(votes):
    assert np.isnan(fleiss(votes))
    assert np.isnan(krippendorff(votes))
    assert np.isnan(cohen(votes)[0, 1])

"""Several annotators' votes become one label."""

import numpy as np
import pytest

from hybrid_ray.data.consensus import NO_VOTE, dawid_skene, majority


def annotated(skills, n=600, n_classes=3, seed=0, missing=0.0):
    """True classes, and votes of annotators that are right as often as their skill says."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(n_classes, size=n)
    right = rng.random((n, len(skills))) < np.array(skills)
    wrong = (truth[:, None] + rng.integers(1, n_classes, size=(n, len(skills)))) % n_classes
    votes = np.where(right, truth[:, None], wrong)
    votes[rng.random(votes.shape) < missing] = NO_VOTE
    return truth, votes


def test_the_majority_is_the_share_of_votes():
    found = majority(np.array([[0, 0, 1], [1, 1, 1], [0, 1, NO_VOTE], [NO_VOTE] * 3]), 2).probabilities
    assert found[:3] == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1], [0.5, 0.5]]))
    assert found[3] == pytest.approx([3 / 8, 5 / 8])  # nothing but what the classes' shares say


def test_one_expert_among_guessers_is_believed():
    truth, votes = annotated([0.95, 0.45, 0.45, 0.45, 0.45])
    right = {how.__name__: (how(votes, 3).probabilities.argmax(1) == truth).mean() for how in (majority, dawid_skene)}
    assert right["dawid_skene"] > 0.93
    assert right["dawid_skene"] > right["majority"] + 0.1


def test_it_finds_how_right_each_annotator_is_with_votes_missing():
    skills = [0.9, 0.75, 0.6]
    _, votes = annotated(skills, n=4000, missing=0.3)
    assert dawid_skene(votes, 3).accuracy(votes) == pytest.approx(skills, abs=0.04)


def test_an_annotator_who_takes_one_class_for_another_still_tells():
    truth, votes = annotated([0.9, 0.9, 0.9], n_classes=2)
    swapped = 1 - truth  # always wrong, so always telling
    votes = np.column_stack([votes, swapped])
    found = dawid_skene(votes, 2)
    assert (found.probabilities.argmax(1) == truth).mean() > 0.99
    assert found.accuracy(votes)[3] < 0.05


def test_the_names_of_classes_do_not_matter():
    _, votes = annotated([0.8, 0.7, 0.6])
    turned = np.array([2, 0, 1])
    found, again = dawid_skene(votes, 3), dawid_skene(turned[votes], 3)
    assert again.probabilities[:, turned] == pytest.approx(found.probabilities, abs=1e-9)


def test_one_annotator_is_the_label():
    _, votes = annotated([0.8], missing=0.1)
    found = dawid_skene(votes, 3)
    given = votes[:, 0] != NO_VOTE
    assert (found.probabilities.argmax(1)[given] == votes[given, 0]).all()
    assert found.probabilities.sum(1) == pytest.approx(1)


def shared_out(n=1000, shares=(0.86, 0.14), annotators=2, overlap=0.0, seed=0):
    """Rows that annotators divide among them, all right; a share of them is labelled by another as well."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(shares), n, p=shares)
    votes = np.full((n, annotators), NO_VOTE)
    own = rng.integers(annotators, size=n)
    votes[np.arange(n), own] = truth
    twice = rng.random(n) < overlap
    votes[twice, (own[twice] + 1) % annotators] = truth[twice]
    return truth, votes


@pytest.mark.parametrize("shares", [(0.86, 0.14), (0.7, 0.2, 0.07, 0.03)])
@pytest.mark.parametrize(("annotators", "overlap"), [(1, 0.0), (2, 0.0), (3, 0.1)])
def test_whom_nobody_contradicts_is_believed(shares, annotators, overlap):
    truth, votes = shared_out(shares=shares, annotators=annotators, overlap=overlap)
    np.testing.assert_array_equal(dawid_skene(votes, len(shares)).probabilities.argmax(1), truth)


def test_a_column_without_a_vote_changes_nothing():
    truth, votes = shared_out(annotators=1)
    found = dawid_skene(np.column_stack([votes, np.full(len(votes), NO_VOTE)]), 2)
    np.testing.assert_array_equal(found.probabilities.argmax(1), truth)


def test_rows_that_nobody_labelled_change_nothing():
    _, votes = annotated([0.8, 0.7, 0.6], n=300, missing=0.2)
    votes = votes[(votes != NO_VOTE).any(axis=1)]
    more = np.concatenate([votes, np.full((6000, 3), NO_VOTE)])
    found, again = dawid_skene(votes, 3).probabilities, dawid_skene(more, 3).probabilities
    np.testing.assert_allclose(again[: len(votes)], found, atol=1e-4)
    np.testing.assert_allclose(again[len(votes) :], np.tile(found.mean(axis=0), (6000, 1)), atol=1e-3)


def test_an_annotator_is_as_right_as_its_own_votes():
    """Two agree on all of ten rows and a third says the other thing on half of them; a fourth says nothing."""
    votes = np.array([[0, 0, i % 2, NO_VOTE] if i < 5 else [1, 1, i % 2, NO_VOTE] for i in range(10)])
    right = dawid_skene(votes, 2).accuracy(votes)
    assert right[:2] == pytest.approx(1, abs=0.01)
    assert right[2] == pytest.approx(np.mean([v[2] == v[0] for v in votes]), abs=0.01)
    assert np.isnan(right[3])

import numpy as np
import pytest

from hybrid_ray.fusion.voting import Voting, VotingParams

ROWS = {
    "a": np.array([[0.6, 0.4, 0.0], [0.2, 0.5, 0.3]]),
    "b": np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]]),
    "c": np.array([[0.0, 0.1, 0.9], [0.1, 0.2, 0.7]]),
}
Y = np.array([0, 1])


def vote(rows, task="multiclass", **params):
    return Voting(VotingParams(**params)).fit(rows, Y, task).combine(rows)


def test_soft_votes_are_the_mean():
    np.testing.assert_allclose(vote(ROWS), np.mean(list(ROWS.values()), axis=0))


def test_hard_votes_are_counted():
    counted = np.array([[2, 0, 1], [1, 1, 1]]) / 3
    soft = np.mean(list(ROWS.values()), axis=0)  # a quarter of a vote beside three
    np.testing.assert_allclose(vote(ROWS, votes="hard", softness=0.25), (3 * counted + 0.25 * soft) / 3.25)


@pytest.mark.parametrize("softness", [0.05, 0.5, 1.0])
def test_votes_are_never_overruled_by_probabilities(softness):
    sure, unsure = np.array([[0.001, 0.999]]), np.array([[0.501, 0.499]])
    for m in (3, 5, 9):
        rows = {f"m{i}": unsure if i <= m // 2 else sure for i in range(m)}
        assert vote(rows, "binary")[0].argmax() == 1
        assert vote(rows, "binary", votes="hard", softness=softness)[0].argmax() == 0


def test_the_probabilities_decide_a_tie():
    answer = vote(ROWS, votes="hard", softness=0.01)
    assert answer[0].argmax() == 0
    assert answer[1].argmax() == 2  # one vote for each class, the third is the surest


def test_hard_votes_of_numbers_are_the_median():
    rows = {"a": np.array([[1.0], [2.0]]), "b": np.array([[3.0], [2.5]]), "c": np.array([[100.0], [-9.0]])}
    np.testing.assert_array_equal(vote(rows, "regression", votes="hard"), [[3.0], [2.0]])
    np.testing.assert_allclose(vote(rows, "regression"), [[104 / 3], [-1.5]])


def test_every_member_is_needed():
    fusion = Voting(VotingParams()).fit(ROWS, Y, "multiclass")
    with pytest.raises(KeyError, match="missing \\['c'\\]"):
        fusion.combine({"a": ROWS["a"], "b": ROWS["b"]})

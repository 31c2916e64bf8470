from types import SimpleNamespace

import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.on_ray.record import _params, _search, _size_note
from hybrid_ray.on_ray.search import _library_note
from hybrid_ray.search.ensembler import TIME_UP
from hybrid_ray.search.tradeoff import Wish


def test_parameters_in_the_report_tell_whose_they_are():
    steps = ({"name": "clip", "params": {"tail": 0.01}}, {"name": "unskew", "params": {}})
    candidate = Candidate(("a",), "concat", "logistic", {"pca": 8}, {"C": 1.0}, steps)
    assert _params(candidate) == {
        "C": 1.0,
        "fusion.pca": 8,
        "prepare.clip": True,
        "prepare.clip.tail": 0.01,
        "prepare.unskew": True,
    }
    assert _params(Candidate(("a",), "concat", "logistic", {}, {"C": 1.0})) == {"C": 1.0}


def test_what_had_no_room_in_the_library_is_told():
    assert _library_note(12, 40).startswith("Ensembles are made of 12 of 40 candidates")
    assert _library_note(40, 40) == ""


@pytest.mark.parametrize(
    ("most", "n_bytes", "told"), [(None, 10**9, False), (2.0, 2 * 10**6, False), (2.0, 3 * 10**6, True)]
)
def test_a_graph_that_is_larger_than_it_may_be_is_told(most, n_bytes, told):
    found = SimpleNamespace(plan=SimpleNamespace(wish=Wish(("metric", "size"), max_size_mb=most)))
    assert ("has 3 MB, search.max_size_mb is 2" in _size_note(found, SimpleNamespace(n_bytes=n_bytes))) == told


@pytest.mark.parametrize(
    ("cut", "errors", "samples", "note"),
    [
        (0, ("", ""), None, "2 ensembles tried"),
        (
            3,
            ("", TIME_UP),
            11,
            "2 ensembles tried; the time limit cut 1 of these, 3 candidates, the bootstrap of the weights to 11 of 50 "
            "samples",
        ),
    ],
)
def test_what_the_time_limit_cut_is_told(cut, errors, samples, note):
    trials = [SimpleNamespace(cut=number < cut, folds_done=3, pruned=False) for number in range(5)]
    tried = [SimpleNamespace(error=error) for error in errors]
    found = SimpleNamespace(
        candidates=SimpleNamespace(trials=trials, resumed=0, seconds=1.0),
        ensemble=SimpleNamespace(
            tried=tried, trials=2, seconds=1.0, samples=samples, fusion=LinearPool(LinearPoolParams())
        ),
    )
    job = SimpleNamespace(spec=SimpleNamespace(search=SimpleNamespace(folds=3), seed=0))
    assert _search(job, found).note == note

from hybrid_ray.candidate import Candidate
from hybrid_ray.on_ray.record import _params


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

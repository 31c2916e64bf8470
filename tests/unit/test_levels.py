from hybrid_ray.candidate import Candidate
from hybrid_ray.search.levels import BEST, FEATURE_LEVEL, level_candidates


def candidate(*blocks, C=1.0):
    return Candidate(blocks, "concat", "logistic", params={"C": C})


def test_each_level_is_its_best_candidate():
    ranked = [
        candidate("img", "txt"),
        candidate("txt"),
        candidate("img", "txt", "tab"),
        candidate("img"),
        candidate("tab"),
        candidate("txt", C=2),
    ]
    levels = level_candidates(ranked, {"img": "image", "txt": "text", "tab": "tabular"})
    assert levels["alone:text"] == candidate("txt")
    assert levels["alone:image"] == candidate("img")
    assert levels["without:text"] == candidate("img")
    assert levels["without:tabular"] == candidate("img", "txt")
    assert levels[FEATURE_LEVEL] == levels[BEST] == candidate("img", "txt")


def test_two_extractors_of_one_modality_stand_alone_too():
    levels = level_candidates([candidate("cnn", "pixels"), candidate("pixels")], {"cnn": "image", "pixels": "image"})
    assert levels["alone:image"] == candidate("cnn", "pixels")
    assert levels["alone:pixels"] == candidate("pixels")
    assert "alone:cnn" not in levels
    assert not any(name.startswith("without:") for name in levels)

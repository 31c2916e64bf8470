from hybrid_ray.candidate import Candidate
from hybrid_ray.search.levels import BEST, DATA_LEVEL, FEATURE_LEVEL, level_candidates


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


def test_a_block_of_several_modalities_is_no_modality_alone_and_is_left_out_with_each_that_it_reads():
    read = {"img": "image", "txt": "text", "tab": "tabular", "row": "tabular+text"}
    ranked = [
        candidate("img", "row"),
        candidate("row"),
        candidate("txt", "tab"),
        candidate("img", "tab"),
        candidate("txt"),
        candidate("tab"),
        candidate("img"),
    ]
    levels = level_candidates(ranked, read)
    assert levels["alone:text"] == candidate("txt")
    assert levels["alone:tabular"] == candidate("tab")
    assert levels["without:text"] == candidate("img", "tab")
    assert levels["without:tabular"] == candidate("txt")
    assert levels["without:image"] == candidate("row")
    assert levels[DATA_LEVEL] == candidate("row")
    assert levels[FEATURE_LEVEL] == candidate("img", "row")
    assert not [name for name in levels if "+" in name]


def test_images_put_together_are_one_more_block_of_their_modality():
    levels = level_candidates(
        [candidate("views", "grid"), candidate("grid")], {"views": "image", "grid": "image", "tab": "tabular"}
    )
    assert levels["alone:image"] == candidate("views", "grid")
    assert levels["alone:grid"] == candidate("grid")
    assert DATA_LEVEL not in levels

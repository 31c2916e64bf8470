from hybrid_ray.candidate import Candidate
from hybrid_ray.search.levels import BEST, DATA_LEVEL, FEATURE_LEVEL, ablation_note, level_candidates


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


def test_what_of_the_ablation_was_not_tried_is_told():
    read = {"img": "image", "txt": "text", "tab": "tabular"}
    assert ablation_note(["alone:image", "alone:text", "without:text", "without:image"], read) == (
        "The search ended before it had tried: alone tabular, without tabular. More time, or `search.begin_with: "
        "subsets`, tells what these inputs are worth."
    )
    every = [f"{kind}:{name}" for kind in ("alone", "without") for name in read.values()]
    assert ablation_note(every, read) == ""
    assert ablation_note(["alone:image"], {"cnn": "image", "pixels": "image"}) == ""


def test_what_no_candidate_can_do_is_not_missed():
    # The image is read together with the text only.
    assert ablation_note(["alone:text"], {"txt": "text", "both": "image+text"}) == ""

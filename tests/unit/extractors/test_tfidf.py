import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from hybrid_ray.errors import SpecError
from hybrid_ray.extractors.base import FitContext, build_extractor

CONTEXT = FitContext("binary", 2)
TEXTS = ["the cat sat on the mat", "a cat and a dog", "the dog ran", None, "", "mat of a cat, a big mat"]


def objects(values):
    column = np.empty(len(values), object)
    column[:] = values
    return column


def fitted(batch, columns=("text",), **params):
    extractor = build_extractor("tfidf", params, dict.fromkeys(columns, "text"))
    return extractor.fit(extractor.prepare(batch), None, CONTEXT)


def test_it_is_what_scikit_learn_gives():
    extractor = fitted({"text": objects(TEXTS)}, min_count=1)
    reference = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
    known = [t for t in TEXTS if t is not None]
    expected = reference.fit_transform(known).toarray()
    block = extractor.transform({"text": objects(TEXTS)})
    np.testing.assert_allclose(block.values[block.present], expected, rtol=1e-6)
    np.testing.assert_array_equal(block.present, [t is not None for t in TEXTS])


def test_the_most_frequent_terms_are_kept():
    extractor = fitted({"text": objects(TEXTS)}, max_features=4, words=1, min_count=1)
    assert extractor.n_features == 4
    assert set(extractor.get_state().meta["parts"][0]["terms"]) == {"a", "cat", "mat", "the"}


def test_rare_terms_are_left_out():
    extractor = fitted({"text": objects(TEXTS)}, words=1, min_count=2)
    assert "big" not in extractor.get_state().meta["parts"][0]["terms"]


def test_columns_and_kinds_share_the_features():
    batch = {"a": objects(["x y z"] * 3 + [None]), "b": objects([None, "u v", "u w", None])}
    extractor = fitted(batch, ("a", "b"), max_features=8, chars=3, min_count=1)
    assert extractor.n_features <= 8
    parts = extractor.get_state().meta["parts"]
    assert [(p["column"], p["analyzer"]) for p in parts] == [(0, "word"), (0, "char_wb"), (1, "word"), (1, "char_wb")]
    assert all(len(p["terms"]) <= 2 for p in parts)
    block = extractor.transform(batch)
    np.testing.assert_array_equal(block.present, [True, True, True, False])
    width = len(parts[0]["terms"]) + len(parts[1]["terms"])
    assert not block.values[0, width:].any()


@pytest.mark.parametrize("texts", [[None, None], ["", " "], ["?!", "…"]])
def test_texts_without_a_term_give_one_empty_column(texts):
    block = fitted({"text": objects(texts)}, min_count=1).transform({"text": objects(["words at last", None])})
    np.testing.assert_array_equal(block.values, np.zeros((2, 1), np.float32))


def test_neither_words_nor_letters_is_refused():
    with pytest.raises(SpecError, match="words or chars must be above 0"):
        build_extractor("tfidf", {"words": 0}, {"text": "text"})


def test_letters_alone_catch_what_words_do_not():
    extractor = fitted({"text": objects(["running", "runner", "sitting", "sitter"])}, words=0, chars=3, min_count=2)
    values = extractor.transform({"text": objects(["runs", "sits"])}).values
    assert values[0] @ values[0] > 0
    assert values[0] @ values[1] < 0.3


def test_terms_of_nearly_all_texts_are_left_out_where_that_is_asked():
    texts = {"text": np.array([f"the word{i % 3} stands" for i in range(12)], object)}
    names = {}
    for share in (1.0, 0.9):
        extractor = build_extractor("tfidf", {"words": 1, "max_share": share}, {"text": "text"})
        extractor.fit(extractor.prepare(texts), None, FitContext("binary", 2))
        names[share] = extractor.get_state().meta["parts"][0]["terms"]
    assert names[1.0] == ["stands", "the", "word0", "word1", "word2"]
    assert names[0.9] == ["word0", "word1", "word2"]

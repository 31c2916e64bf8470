"""Networks over words: what they learn that counts of words do not tell, and what a text's vector depends on."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hybrid_ray.errors import BadInputError, NotFittedError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.networks.text_nets import ConvolutionalText, RecurrentText, TransformerText
from hybrid_ray.extractors.networks.vocabulary import UNKNOWN, Vocabulary, tokens
from hybrid_ray.testing.encoders import WORDS
from hybrid_ray.types import Prepared

TEXT = {"text": "text"}
CONTEXT = FitContext("binary", 2, seed=3)
SMALL = {
    "text_cnn": {"embedding": 16, "filters": 8, "widths": (2, 3)},
    "text_rnn": {"embedding": 16, "hidden": 16},
    "text_transformer": {"embedding": 32, "width": 32, "heads": 2, "word_dropout": 0.1},
}
NETS = {
    "cnn": ConvolutionalText(9, 4, 3, (1, 4)),
    "rnn": RecurrentText(9, 4, 3, 2, "lstm"),
    "transformer": TransformerText(9, 4, 6, 2, 2, 0.1),
}


def rows(n, seed=0):
    """Texts that all have the words ``not`` and ``good``; the label says whether one stands right before the other."""
    rng = np.random.default_rng(seed)
    texts, y = np.empty(n, object), np.arange(n) % 2
    for i, label in enumerate(y):
        words = list(rng.choice(WORDS, 7))
        at = int(rng.integers(0, 8))
        words[at:at] = ["not", "good"] if label else ["good", "not"]
        texts[i] = " ".join(words)
    return {"text": texts}, y


def fitted(name, n=60, context=CONTEXT, **params):
    extractor = build_extractor(name, {**SMALL[name], "epochs": 2, **params}, TEXT)
    batch, y = rows(n)
    return extractor.fit(extractor.prepare(batch), y, context)


@pytest.mark.parametrize("name", SMALL)
def test_the_order_of_words_is_learned(name):
    (batch, y), (other, y_other) = rows(400), rows(200, seed=1)
    lr, right = (0.005, 0.9) if name == "text_transformer" else (0.01, 0.95)
    extractor = build_extractor(name, {**SMALL[name], "epochs": 30, "patience": 30, "lr": lr}, TEXT)
    extractor.fit(extractor.prepare(batch), y, CONTEXT)
    reader = LogisticRegression(max_iter=1000).fit(extractor.transform(batch).values, y)
    assert reader.score(extractor.transform(other).values, y_other) > right


@pytest.mark.parametrize("name", SMALL)
def test_trainings_can_be_taken_up_again_elsewhere(name):
    """What another process is sent knows the words, and no network."""
    sent = []

    def conduct(training):
        blank = training.blank()
        sent.append(blank.extractor)
        return blank.run("cpu")

    there = fitted(name, context=FitContext("binary", 2, 3, conduct=conduct))
    here = fitted(name)
    batch, _ = rows(20, seed=2)
    np.testing.assert_array_equal(there.transform(batch).values, here.transform(batch).values)
    with pytest.raises(NotFittedError):
        sent[0].transform(batch)


@pytest.mark.parametrize("name", SMALL)
def test_rows_without_a_text_have_no_part(name):
    extractor = build_extractor(name, {**SMALL[name], "epochs": 1}, {"title": "text", "body": "text"})
    batch, y = rows(40)
    title = batch["text"].copy()
    title[::3] = None
    body = batch["text"][::-1].copy()
    body[::6] = None
    block = extractor.fit(extractor.prepare({"title": title, "body": body}), y, CONTEXT).transform(
        {"title": title, "body": body}
    )
    assert not block.present[::6].any()
    assert block.present[1::6].all()
    width = extractor.item_features
    assert not block.values[3::6, :width].any(), "an absent title is zeros"
    assert block.values[3::6, width:].any()


def test_labels_and_rows_are_needed():
    extractor = build_extractor("text_cnn", {}, TEXT)
    batch, y = rows(1)
    with pytest.raises(BadInputError, match="at least two rows"):
        extractor.fit(extractor.prepare(batch), y, CONTEXT)
    with pytest.raises(BadInputError, match="needs labels"):
        extractor.fit(extractor.prepare(rows(9)[0]), None, CONTEXT)


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_how_far_a_text_is_padded_changes_nothing(net):
    numbers, lengths = torch.tensor([[2, 3, 4, 0], [5, 6, 7, 8]]), torch.tensor([3, 4])
    with torch.inference_mode():
        both, alone = net(numbers, lengths), net(numbers[:1, :3], lengths[:1])
        wide = net(torch.nn.functional.pad(numbers, (0, 9)), lengths)
    np.testing.assert_allclose(both[:1], alone, atol=1e-6)
    np.testing.assert_allclose(wide, both, atol=1e-6)


def test_texts_of_a_pass_have_about_one_length():
    extractor = fitted("text_cnn")
    texts = np.array(["word " * int(n) for n in np.random.default_rng(0).integers(1, 250, 600)], object)
    numbers = extractor.encoded({"texts": texts})
    lengths = (numbers["numbers"] != 0).sum(axis=1)
    passes = extractor.passes(numbers)
    assert np.array_equal(np.sort(np.concatenate(passes)), np.arange(600))
    assert all(len(cells) * lengths[cells].max() <= 20_000 for cells in passes)
    assert len(passes) < 10


def test_words():
    assert tokens("It's GOOD, isn't it?") == ["it", "'", "s", "good", ",", "isn", "'", "t", "it", "?"]
    words = Vocabulary.of(["b a a", "c b", "d"], most=3, min_count=1)
    assert words.words == ["a", "b", "c"]
    assert len(words) == 5
    np.testing.assert_array_equal(words.encode(["c a x b", " ", "b b"], 3), [[4, 2, UNKNOWN], [1, 0, 0], [3, 3, 0]])
    assert Vocabulary.of(["b a a", "c b"], most=9, min_count=2).words == ["a", "b"]
    assert Vocabulary([]).encode([], 5).shape == (0, 1)


def test_words_are_left_out_while_training():
    extractor = build_extractor("text_cnn", {"word_dropout": 0.5}, TEXT)
    numbers = np.array([[5, 6, 7, 8, 0, 0]] * 200, np.int32)
    changed = extractor.augment({"numbers": numbers}, np.random.default_rng(0))["numbers"]
    assert not changed[:, 4:].any()
    assert 0.4 < (changed[:, :4] == UNKNOWN).mean() < 0.6
    assert set(np.unique(changed)) == {0, 1, 5, 6, 7, 8}
    assert not build_extractor("text_cnn", {"word_dropout": 0}, TEXT).augmented


def test_most_features_is_what_it_has():
    extractor = build_extractor("text_rnn", {"hidden": 7}, {"title": "text", "body": "text"})
    assert extractor.most_features == 28
    assert isinstance(extractor.prepare({"title": np.array(["a"], object), "body": np.array([None], object)}), Prepared)

"""Pixels and tokens that answers come from: they add up, and put first what was planted to decide."""

from dataclasses import replace

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import BadInputError
from hybrid_ray.explain.piece_plots import pixels_chart, tokens_page
from hybrid_ray.explain.pieces import TOLERANCE, PieceExplainer, integrated
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.fused import FusionEntry, build_fused
from hybrid_ray.extractors.precision import native_formats
from hybrid_ray.extractors.sight import Sight
from hybrid_ray.graph import Graph, Member, fit_chain
from hybrid_ray.testing.encoders import WORDS, tiny_encoder
from hybrid_ray.testing.graphs import ToyMean, png, toy_batch, toy_graph, toy_rows

SIDE = 32
SQUARE = (slice(4, 12), slice(20, 28))
CONTEXT = FitContext("binary", 2, seed=3)
PHOTO, TITLE = {"photo": "image"}, {"title": "text"}
RESNET = {"model": "resnet18", "weights": "none", "image_size": SIDE, "precision": "fp32"}
FEW = {"epochs": 15, "patience": 15, "lr": 0.01}
TUNED = {"model": "squeezenet1_1", "weights": "none", "image_size": SIDE, "blocks": 1, "rank": 2, "epochs": 1}
ATTENTIVE = {"embedding": 32, "width": 32, "heads": 2, "word_dropout": 0.1, **FEW}
OVER_PIXELS = {
    "torchvision": ("torchvision", RESNET, "random_forest"),
    "torchvision-layers": ("torchvision", {**RESNET, "layers": ("layer2",)}, "logistic"),
    "cnn": ("cnn", {"size": SIDE, "epochs": 5}, "random_forest"),
    "tuned_torchvision": ("tuned_torchvision", TUNED, "logistic"),
}
OVER_TOKENS = {
    "transformers": ("transformers", {"precision": "fp32"}, "logistic"),
    "tuned_transformers": ("tuned_transformers", {**FEW, "blocks": 1, "rank": 4, "epochs": 5}, "random_forest"),
    "text_cnn": ("text_cnn", {"embedding": 16, "filters": 8, "widths": (2, 3), **FEW}, "random_forest"),
    "text_rnn": ("text_rnn", {"embedding": 16, "hidden": 16, **FEW}, "random_forest"),
    "text_transformer": ("text_transformer", ATTENTIVE, "logistic"),
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return str(tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny"))


def photos(n, seed=0):
    """Noise, and in every second image a bright square, which is the label."""
    rng = np.random.default_rng(seed)
    cells, y = np.empty(n, object), np.arange(n) % 2
    for i, bright in enumerate(y):
        pixels = rng.integers(0, 90, (SIDE, SIDE, 3))
        if bright:
            pixels[SQUARE] = 255
        cells[i] = png(pixels)
    return cells, y


def titles(n, seed=0):
    """Words, and among them the one of two that is the label."""
    rng = np.random.default_rng(seed)
    cells, y = np.empty(n, object), np.arange(n) % 2
    for i, label in enumerate(y):
        words = [word for word in rng.choice(WORDS, 8) if word not in ("river", "engine")]
        words.insert(int(rng.integers(len(words) + 1)), "river" if label else "engine")
        cells[i] = " ".join(words)
    return cells, y


def made(name, params, columns, batch, y, encoder=""):
    """The extractor, set up and fitted."""
    extractor = build_extractor(name, params | ({"model": encoder} if name.endswith("transformers") else {}), columns)
    extractor.setup()
    if extractor.tags.trained:
        extractor.fit(extractor.prepare(batch), y, CONTEXT)
    extractor.setup()
    return extractor


def graph_of(extractors, batch, y, columns, estimator="random_forest"):
    """A graph of one member over extractors by key, of which those of one name share a chain each."""
    groups = {}
    for key in extractors:
        groups.setdefault(key.partition("@")[0], []).append(key)
    blocks = {key: extractor.transform(batch) for key, extractor in extractors.items()}
    candidate = Candidate(tuple(groups), "concat", estimator)
    chains = []
    for copy in range(max(len(keys) for keys in groups.values())):
        keys = {group: keys[copy % len(keys)] for group, keys in groups.items()}
        inputs = {group: blocks[key] for group, key in keys.items()}
        chains.append(fit_chain(candidate, inputs, y, task="binary", n_outputs=2, seed=copy, keys=keys))
    member = Member("m", candidate, chains)
    decision = ToyMean(ToyMean.Params()).fit({"m": member.predict(blocks)}, y, "binary")
    return Graph("g", "binary", "label", dict(columns), ["no", "yes"], dict(extractors), [member], decision)


def explained(graph, pieces, batch, rows=6, output=None):
    """Maps of the first rows beside the next ones."""
    usual = {name: cells[rows : rows + 16] for name, cells in batch.items()}
    explainer = PieceExplainer(graph, usual, pieces)
    return list(explainer.explain({name: cells[:rows] for name, cells in batch.items()}, output))


def adds_up(maps):
    """Of the maps of one extractor on one row."""
    total = sum(float(each.values.sum()) for each in maps)
    gap = sum(each.gap for each in maps)
    changed = maps[0].answer - maps[0].nothing
    assert total + gap == pytest.approx(changed, abs=1e-6)
    assert abs(gap) <= TOLERANCE * max(abs(changed), 0.01 * abs(maps[0].answer)) + 1e-6


@pytest.mark.parametrize(("name", "params", "estimator"), OVER_PIXELS.values(), ids=OVER_PIXELS)
def test_pixels_add_up_and_the_square_comes_first(name, params, estimator):
    cells, y = photos(100)
    batch = {"photo": cells}
    graph = graph_of({"e": made(name, params, PHOTO, batch, y)}, batch, y, PHOTO, estimator)
    outputs = graph.outputs(batch)
    for row, maps in enumerate(explained(graph, "pixels", batch)):
        (found,) = maps
        adds_up(maps)
        assert found.values.shape == found.picture.shape[:2] == (SIDE, SIDE)
        assert (found.extractor, found.column, found.output) == ("e", "photo", ["no", "yes"][y[row]])
        assert found.answer == pytest.approx(outputs[row].max(), abs=1e-6)
        if y[row]:
            sizes = np.abs(found.values)
            quarters = sizes.reshape(4, 8, 4, 8).sum(axis=(1, 3))  # of the sixteen eighths, four hold the square
            held = sizes[SQUARE].sum() / sizes.sum()
            assert held > 3 * 64 / SIDE**2
            assert sizes[SQUARE].mean() > 1.1 * quarters[:, :2].max() / 64
            assert found.values[SQUARE].sum() > 0


@pytest.mark.parametrize(("name", "params", "estimator"), OVER_TOKENS.values(), ids=OVER_TOKENS)
def test_tokens_add_up_and_the_word_comes_first(name, params, estimator, encoder):
    cells, y = titles(240)
    batch = {"title": cells}
    graph = graph_of({"e": made(name, params, TITLE, batch, y, encoder)}, batch, y, TITLE, estimator)
    first = []
    for maps, text in zip(explained(graph, "tokens", batch, rows=8), cells, strict=False):
        (found,) = maps
        adds_up(maps)
        assert found.picture is None
        words = [token for token in found.tokens if token not in ("[CLS]", "[SEP]")]
        assert words == text.split()
        if len(words) < len(found.tokens):
            assert found.values[0] == found.values[-1] == 0  # ends are there in any text
        if found.answer - found.nothing > 0.1:  # where no word is needed for the answer, none comes first
            first.append(found.tokens[int(found.values.argmax())] in ("river", "engine"))
    assert len(first) >= 4
    assert sum(first) >= len(first) - (name == "transformers")  # which was never told of the two words


def test_what_is_seen_is_what_the_features_are_made_of(encoder):
    """Vectors at the end of the way are the extractor's, also of two columns, of one that is empty, and of no word."""
    (front, y), (title, _) = photos(20), titles(20)
    back = front[::-1].copy()
    back[3] = None
    title[2], title[3], title[4] = "", "Üßé 漢 unheard", " ".join(WORDS * 5)
    texts = {"title": title}
    two, images = {"front": "image", "back": "image"}, {"front": front, "back": back}
    cases = [made(name, params, two, images, y) for name, params, _ in OVER_PIXELS.values()]
    cases += [made(name, params, TITLE, texts, y, encoder) for name, params, _ in OVER_TOKENS.values()]
    for extractor in cases:
        batch = texts if extractor.columns == TITLE else images
        prepared = extractor.prepare(batch)
        block = extractor.block(prepared)
        for row in range(1, 5):
            arrays = prepared.take(np.array([row])).arrays
            sights = extractor.sights(arrays, prepared.arrays)
            width = extractor.n_features // len(sights)
            vectors = [np.zeros(width) if sight is None else sight.features(1.0) for sight in sights]
            np.testing.assert_allclose(np.concatenate(vectors), block.values[row], rtol=1e-4, atol=1e-4)
            for sight in sights:
                if sight is not None and sight.tokens:
                    assert len(sight.tokens) == len(sight.slopes([0.5], np.ones(width)))
        assert [sight is None for sight in sights] == [False] * len(sights)
        if len(sights) == 2:
            assert extractor.sights(prepared.take(np.array([3])).arrays, prepared.arrays)[1] is None


def test_columns_and_copies_of_an_extractor_add_up_together():
    (front, y), (back, _) = photos(80), photos(80, seed=1)
    back[2] = None
    columns = {"front": "image", "back": "image"}
    batch = {"front": front, "back": back}
    copies = {f"cnn@{fold}": build_extractor("cnn", {"size": 16, "epochs": 3}, columns) for fold in range(2)}
    for fold, extractor in enumerate(copies.values()):
        extractor.fit(extractor.prepare(batch), y, replace(CONTEXT, seed=fold))
    graph = graph_of(copies, batch, y, columns)
    graph.setup()
    maps = explained(graph, "pixels", batch, rows=4)
    for row, of_row in enumerate(maps):
        assert [each.column for each in of_row] == (["front"] if row == 2 else ["front", "back"])
        assert {each.extractor for each in of_row} == {"cnn"}
        adds_up(of_row)
    away = {**batch, "front": front.copy()}
    away["front"][0] = away["back"][0] = None
    assert explained(graph, "pixels", away, rows=1) == [[]]


def test_other_extractors_stay_as_the_row_has_them():
    """Of a graph that reads images and texts, each network's pieces add up to what it alone changes."""
    (cells, y), (texts, _) = photos(100), titles(100)
    batch, columns = {"photo": cells, "title": texts}, PHOTO | TITLE
    extractors = {
        "seen": made("cnn", {"size": 16, "epochs": 3}, PHOTO, batch, y),
        "read": made("text_cnn", {"embedding": 8, "filters": 4, **FEW}, TITLE, batch, y),
    }
    graph = graph_of(extractors, batch, y, columns, "logistic")
    for pieces, name in (("pixels", "seen"), ("tokens", "read")):
        for (found,) in explained(graph, pieces, batch, rows=3):
            assert found.extractor == name
            adds_up([found])


def test_behind_a_data_level_fusion_it_is_what_was_put_together():
    cells, y = titles(120)
    columns = {"body": "text", "title": "text"}
    batch = {"title": cells, "body": np.array(["very old film"] * 120, object)}
    params = {"embedding": 8, "filters": 4, "widths": (1, 2), **FEW}
    fused = build_fused("text_cnn", params, columns, FusionEntry("joined"))
    fused.fit(fused.prepare(batch), y, CONTEXT)
    graph = graph_of({"e": fused}, batch, y, columns)
    (found,) = explained(graph, "tokens", batch, rows=1)[0]
    adds_up([found])
    assert found.column == "body+title"
    assert {"film", "engine"} <= set(found.tokens)
    assert found.tokens[int(found.values.argmax())] == "engine"


def test_a_network_that_rounds_is_seen_without_rounding(encoder):
    cells, y = titles(40)
    batch = {"title": cells}
    smaller = {"precision": "fp32", "compress": {"int8": "dynamic"}}
    formats = [smaller] + [{"precision": name} for name in native_formats("cpu")]
    for params in formats:
        graph = graph_of({"e": made("transformers", params, TITLE, batch, y, encoder)}, batch, y, TITLE, "logistic")
        (found,) = explained(graph, "tokens", batch, rows=1)[0]
        adds_up([found])
        assert found.answer == pytest.approx(graph.outputs(batch)[0].max(), abs=0.1)
        assert np.abs(found.values).sum() > 0


def test_any_label_can_be_asked_for_and_one_seed_gives_one_map():
    cells, y = photos(60)
    batch = {"photo": cells}
    graph = graph_of({"e": made("cnn", {"size": 16, "epochs": 2}, PHOTO, batch, y)}, batch, y, PHOTO)
    (no,), (yes,), (again,) = (explained(graph, "pixels", batch, rows=1, output=code)[0] for code in (0, 1, 1))
    assert (no.output, yes.output) == ("no", "yes")
    assert no.answer + yes.answer == pytest.approx(1)
    np.testing.assert_allclose(no.values, -yes.values, atol=1e-3)
    assert np.array_equal(yes.values, again.values)


class Curved(Sight):
    """A feature that grows with the cube of the share, or in a step that places hardly ever meet."""

    def __init__(self, steep):
        self.steep, self.asked = steep, []

    def features(self, share):
        return np.array([share**3], np.float32)

    def slopes(self, shares, weights):
        self.asked += shares
        rates = np.where(np.abs(np.array(shares) - 0.5) < 0.001, 500, 0) if self.steep else 3 * np.array(shares) ** 2
        return weights[0] * rates.sum(keepdims=True)


def test_more_places_are_asked_until_the_sum_is_near():
    easy, hard = Curved(False), Curved(True)
    assert integrated(easy, np.ones(1), 1.0, 0.01)[0] == pytest.approx(1, abs=0.01)
    assert len(easy.asked) == 16
    assert integrated(easy, np.ones(1), 1.0, 1e-5)[0] == pytest.approx(1, abs=1e-5)
    integrated(hard, np.ones(1), 1.0, 0.01)
    assert len(hard.asked) == len(set(hard.asked)) == 432


def test_a_graph_without_such_a_network_is_refused():
    graph = toy_graph()
    graph.setup()
    usual = toy_batch(list(toy_rows(3)))
    with pytest.raises(BadInputError, match=r"--pixels: .* one of \['cnn', 'torchvision', .*'toy_image'"):
        PieceExplainer(graph, usual, "pixels")
    with pytest.raises(BadInputError, match=r"--tokens: .*'text_cnn'.*'transformers'.*Leave it out"):
        PieceExplainer(graph, usual, "tokens")
    with pytest.raises(TypeError, match="toy_image: its features have no gradients"):
        graph.extractors["picture"].sights({}, {})


def test_pictures():
    cells, y = photos(40)
    grey = graph_of({"e": made("cnn", {"size": 16, "mode": "grey", "epochs": 2}, PHOTO, {"photo": cells}, y)},
                    {"photo": cells}, y, PHOTO)  # fmt: skip
    (found,) = explained(grey, "pixels", {"photo": cells}, rows=1)[0]
    flat = replace(found, values=np.zeros_like(found.values), column="a $b$ column")
    assert pixels_chart([(3, found), (4, flat)]).startswith(b"\x89PNG")
    text = replace(found, tokens=("<b>", "мир", "&"), values=np.array([0.5, -1.0, 0.0]), picture=None, column="<c>")
    page = tokens_page([(7, text), (8, replace(text, values=np.zeros(3)))])
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "row 7, &lt;c&gt; by e" in page
    assert page.count("<span") == 6
    assert 'rgba(214, 39, 40, 0.400)" title="+0.5"' in page
    assert 'rgba(31, 119, 180, 0.800)" title="-1"' in page

"""An extractor behind a data-level fusion is an extractor like any other."""

import pickle

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.images import decode
from hybrid_ray.errors import BadInputError, SpecError
from hybrid_ray.extractors._pixels import PixelsExtractor, PixelsParams
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.fused import FUSED, FusedExtractor, FusionEntry, build_fused
from hybrid_ray.graph import Graph, Member, Reserve, fit_chain
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import FUSIONS
from hybrid_ray.store.artifact import load_graph, save_graph
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.rows import toy_batch, toy_labels

ROW = {"note": "text", "amount": "numeric", "colour": "categorical", "day": "date"}
VIEWS = {"front": "image", "back": "image", "side": "image"}
TILED = FusionEntry("tiled", {"size": 32})
WORDS = FusionEntry("serialised", {})
READS_ROW = Candidate(("row",), "concat", "logistic")


@pytest.fixture(autouse=True)
def plugins():
    load_plugins()


def words(columns=ROW):
    extractor = build_fused("tfidf", {}, columns, WORDS)
    extractor.fit(extractor.prepare(toy_batch(ROW)), toy_labels(), FitContext("multiclass", 3))
    return extractor


@pytest.mark.parametrize("n", [0, 1, 24, 257])
def test_features_are_those_of_the_fused_column(n):
    batch = toy_batch(VIEWS, n)
    block = build_fused("pixels", {"size": 8}, VIEWS, TILED).transform(batch)
    fused = TILED.build().combine(batch, VIEWS)
    expected = build_extractor("pixels", {"size": 8}, {FUSED: "image"}).transform({FUSED: fused.values})
    np.testing.assert_array_equal(block.values, expected.values)
    np.testing.assert_array_equal(block.present, expected.present)
    assert block.present.sum() == n - (n > 2)


def test_a_row_is_missing_when_all_its_parts_are_and_counts_with_any_of_them():
    extractor = words()
    batch = toy_batch(ROW, missing=False)
    empty = {"numeric": np.nan, "date": "NaT"}
    gone = {column: np.full(24, empty.get(kind), batch[column].dtype) for column, kind in ROW.items()}
    assert not extractor.transform(gone).present.any()
    for column in ROW:
        block = extractor.transform({**gone, column: batch[column]})
        assert block.present.all()
        assert block.values.any(axis=1).all()


def test_what_cannot_be_read_is_told_with_its_column():
    batch = toy_batch(VIEWS, 6, missing=False)
    for column, row in (("back", 1), ("side", 1), ("front", 4)):
        batch[column][row] = b"no image"
    prepared = build_fused("pixels", {}, VIEWS, TILED).prepare(batch)
    assert set(prepared.errors) == {1, 4}
    assert prepared.errors[1].startswith("back: an image must be decodable")
    assert "; side: an image must be decodable" in prepared.errors[1]
    assert prepared.present.all()


def test_the_order_of_columns_has_no_effect():
    turned = dict(reversed(ROW.items()))
    batch = toy_batch(ROW)
    np.testing.assert_array_equal(words().transform(batch).values, words(turned).transform(batch).values)
    assert words().fingerprint() == words(turned).fingerprint()
    assert list(words(turned).columns) == sorted(ROW)


def test_the_fingerprint_tells_fusions_parameters_and_columns_apart():
    made = [
        build_extractor("tfidf", {}, {"note": "text"}),
        build_fused("tfidf", {}, {"note": "text"}, WORDS),
        build_fused("tfidf", {}, {"note": "text"}, FusionEntry("joined")),
        build_fused("tfidf", {}, {"note": "text"}, FusionEntry("serialised", {"digits": 3})),
        build_fused("tfidf", {}, {"remark": "text"}, WORDS),
        build_fused("tfidf", {}, {"note": "categorical"}, WORDS),
        build_fused("tfidf", {"words": 3}, {"note": "text"}, WORDS),
    ]
    assert len({extractor.fingerprint() for extractor in made}) == len(made)
    # A default that is written out is the same fusion.
    written = FusionEntry("serialised", WORDS.build().params.model_dump())
    assert build_fused("tfidf", {}, {"note": "text"}, written).fingerprint() == made[1].fingerprint()


def test_it_travels_and_keeps_what_it_learned():
    batch = toy_batch(ROW, seed=3)
    extractor = words()
    for other in (pickle.loads(pickle.dumps(extractor)), words().with_state(extractor.get_state())):
        assert (other.name, other.tags, other.columns) == (extractor.name, extractor.tags, extractor.columns)
        np.testing.assert_array_equal(other.transform(batch).values, extractor.transform(batch).values)
    with pytest.raises(TypeError, match="call with_state"):
        FusedExtractor.from_state(extractor.params, ROW, extractor.get_state())


class Undecided(PixelsExtractor):
    """Leaves its size to the rows that it is shown, and has another form and weights."""

    refused = ""

    @property
    def undecided(self):
        return self.params.size == 1

    def resolve(self, batch, device="cpu"):
        height = decode(batch[FUSED][0]).size[1]
        return self.params.model_copy(update={"size": height})

    def counterpart(self, device="cpu"):
        return type(self)(self.params.model_copy(update={"mode": "rgb"}), self.columns)

    def weights_digest(self):
        return "w"

    def check(self):
        if self.refused:
            raise BadInputError(self.refused)


def test_choices_left_to_the_machine_are_made_behind_the_fusion():
    made = Undecided(PixelsParams(size=1), {FUSED: "image"})
    extractor = FusedExtractor(made, TILED.build(), VIEWS)
    assert extractor.undecided
    params = extractor.resolve(toy_batch(VIEWS, missing=False))
    assert params.size == 32
    assert extractor.weights_digest() == "w"
    assert extractor.identity() == made.identity()
    assert extractor.most_features is None
    other = extractor.counterpart()
    assert isinstance(other, FusedExtractor)
    assert other.transform(toy_batch(VIEWS)).values.shape == (24, 3)
    assert build_fused("pixels", {}, VIEWS, TILED).counterpart() is None
    extractor.check()
    made.refused = "no such weights"
    with pytest.raises(BadInputError, match="no such weights"):
        extractor.check()


def test_faults_say_what_does_not_fit():
    with pytest.raises(SpecError, match=r"tfidf\.columns: joined must be given columns of kind \['text'\].*'amount'"):
        build_fused("tfidf", {}, ROW, FusionEntry("joined"))
    with pytest.raises(SpecError, match=r"must be given columns of kind .*; got none"):
        build_fused("tfidf", {}, {}, WORDS)
    with pytest.raises(SpecError, match=r"pixels\.columns: must be of kind \['image'\]; got 'fused' of kind 'text'"):
        build_fused("pixels", {}, ROW, WORDS)
    with pytest.raises(SpecError, match="must be of data level; got 'concat', of feature level"):
        FusionEntry("concat").build()
    with pytest.raises(SpecError, match=r"fusion serialised\.params\.digits: .* got 0"):
        FusionEntry("serialised", {"digits": 0}).build()
    with pytest.raises(BadInputError, match="Did you mean 'tiled'"):
        FusionEntry("tile").build()


def test_a_saved_graph_has_its_fusion_again(tmp_path):
    columns, y = {**ROW, **VIEWS}, toy_labels()
    batch = toy_batch(columns)
    extractors = {"row": words(), "views": build_fused("pixels", {"size": 8}, VIEWS, TILED)}
    blocks = {key: extractor.transform(batch) for key, extractor in extractors.items()}
    candidate = Candidate(tuple(blocks), "concat", "logistic")
    chain = fit_chain(candidate, blocks, y, task="multiclass", n_outputs=3, seed=0)
    pool = FUSIONS.get("linear_pool")
    decision = pool(pool.Params()).fit({"m": chain.predict(blocks)}, y, "multiclass")
    reserve = fit_chain(READS_ROW, blocks, y, task="multiclass", n_outputs=3, seed=0)
    member = Member("m", candidate, [chain])
    graph = Graph("fused", "multiclass", "y", columns, ["a", "b", "c"], extractors, [member], decision)
    graph.reserves = [Reserve("without:image", ("views",), ("row",), [Member("m", READS_ROW, [reserve])], decision)]
    root = StoreRoot(str(tmp_path))
    save_graph(root, "m", graph, None)
    loaded = load_graph(root, "m")
    other = toy_batch(columns, seed=8)
    np.testing.assert_array_equal(loaded.outputs(other), graph.outputs(other))
    unseen = {name: np.full_like(values, None) if name in VIEWS else values for name, values in other.items()}
    blocks = graph.extract(unseen)
    answered = blocks["row"].present  # a row of nothing at all is left to the members
    assert answered.sum() == len(answered) - 1
    np.testing.assert_allclose(loaded.outputs(unseen)[answered], reserve.predict(blocks)[answered], atol=1e-12)
    assert loaded.extractors["views"].entry == FusionEntry("tiled", TILED.build().params.model_dump())
    assert {k: e.fingerprint() for k, e in loaded.extractors.items()} == {
        k: e.fingerprint() for k, e in extractors.items()
    }

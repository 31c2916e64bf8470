"""Tuned extractors: what is learned, from which rows, and what a state of it holds."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hybrid_ray.errors import BadInputError, NotFittedError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.testing.checkpoints import MemoryCheckpoints
from hybrid_ray.testing.encoders import WORDS, tiny_encoder
from hybrid_ray.testing.rows import toy_batch, toy_labels
from hybrid_ray.types import Prepared, State

TEXT, IMAGE = {"text": "text"}, {"image": "image"}
CONTEXT = FitContext("binary", 2, seed=3)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return str(tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny"))


def rows(n=120, seed=0):
    """Texts of eight words, and whether two words that mean nothing to a random encoder stand in it together."""
    rng = np.random.default_rng(seed)
    words = [list(rng.choice(WORDS, 8)) for _ in range(n)]
    y = np.arange(n) % 2
    for row, label in zip(words, y, strict=True):
        others = [word for word in row if word not in ("river", "engine")]
        row[:] = (["river", "engine"] if label else ["river", "road"]) + others[:6]
        rng.shuffle(row)
    texts = np.empty(n, object)
    texts[:] = [" ".join(row) for row in words]
    return {"text": texts}, y


def build(encoder, columns=TEXT, **params):
    fields = {"model": encoder, "blocks": 1, "rank": 4, "epochs": 3, "max_length": 16}
    return build_extractor("tuned_transformers", fields | params, columns)


def fitted(encoder, n=120, context=CONTEXT, **params):
    extractor, (batch, y) = build(encoder, **params), rows(n)
    return extractor.fit(extractor.prepare(batch), y, context)


def frozen(encoder):
    extractor = build_extractor("transformers", {"model": encoder, "max_length": 16, "precision": "fp32"}, TEXT)
    extractor.setup()
    return extractor


def test_tuned_features_tell_what_frozen_ones_do_not(encoder):
    (batch, y), (other, y_other) = rows(160), rows(120, seed=1)
    tuned = build(encoder, blocks=2, rank=8, epochs=12, patience=12, lr=0.01)
    tuned.fit(tuned.prepare(batch), y, CONTEXT)

    def loss(extractor):
        learner = LogisticRegression(max_iter=1000).fit(extractor.transform(batch).values, y)
        return -np.log(learner.predict_proba(extractor.transform(other).values)[np.arange(120), y_other]).mean()

    assert loss(tuned) < 0.5 * loss(frozen(encoder))


def test_what_learned_nothing_gives_what_the_frozen_extractor_gives(encoder):
    tuned = fitted(encoder, n=20, epochs=1, blocks=2)
    nothing = {name: np.zeros_like(values) for name, values in tuned.learned().tensors.items()}
    same = type(tuned).from_state(tuned.params, TEXT, State(tuned.learned().meta, nothing))
    same.setup()
    batch, _ = rows(20)
    expected = frozen(encoder).transform(batch).values
    np.testing.assert_allclose(same.transform(batch).values, expected, atol=1e-5)
    assert np.abs(tuned.transform(batch).values - expected).max() > 1e-3


def test_only_the_last_blocks_learn(encoder):
    tensors = fitted(encoder, n=20, epochs=1, rank=3).learned().tensors
    shapes = {name: values.shape for name, values in tensors.items()}
    # The upper part holds the tuned layers alone: the last of two is its first.
    assert len(shapes) == 12
    assert all(".layer.0." in name for name in shapes)
    assert shapes["net.encoder.layer.0.intermediate.dense.A"] == (3, 32)
    assert shapes["net.encoder.layer.0.intermediate.dense.B"] == (64, 3)


def test_held_out_rows_have_no_part_in_a_fit(encoder):
    batch, y = rows(100)
    extractor, sharing, other = build(encoder), build(encoder), build(encoder)
    prepared = extractor.prepare(batch)
    extractor.fit(prepared.take(np.arange(60)), y[:60], CONTEXT)
    other.fit(other.prepare({"text": batch["text"][:60]}), y[:60], CONTEXT)
    expected = other.transform(batch).values
    np.testing.assert_array_equal(extractor.transform(batch).values, expected)
    sharing.setup()
    shared = sharing.before_fits(prepared)
    assert set(shared.arrays) == {"activations", "filled"}
    sharing.fit(shared.take(np.arange(60)), y[:60], CONTEXT)
    # Activations of other batches differ in the last bit, which the optimiser's first steps make more of.
    np.testing.assert_allclose(sharing.block(shared).values, expected, atol=2e-2)


@pytest.mark.parametrize("params", [{"cache_mb": 0}, {"activations": "fp16"}], ids=str)
def test_how_activations_are_kept_changes_next_to_nothing(encoder, params):
    batch, _ = rows(60)
    expected = fitted(encoder, n=60).transform(batch).values
    np.testing.assert_allclose(fitted(encoder, n=60, **params).transform(batch).values, expected, atol=2e-2)


@pytest.mark.parametrize("params", [{}, {"drop": 0.2}], ids=["kept", "augmented"])
def test_a_training_goes_on_as_if_it_had_never_been_cut_off(encoder, params):
    def run(checkpoints):
        def conduct(training):
            return training.run("cpu", checkpoints=checkpoints)

        return fitted(encoder, n=60, context=FitContext("binary", 2, 3, conduct=conduct), epochs=4, **params)

    expected = run(None).learned().tensors
    cut_off = MemoryCheckpoints(dies_at=2)
    with pytest.raises(KeyboardInterrupt):
        run(cut_off)
    cut_off.dies_at = None
    tensors = run(cut_off).learned().tensors
    assert [state.meta["done"] for state in cut_off.states] == [1, 2, 3, 4]
    for name, values in expected.items():
        np.testing.assert_array_equal(tensors[name], values)


def test_training_stops_when_the_hold_out_gets_no_better(encoder):
    checkpoints = MemoryCheckpoints()

    def conduct(training):
        return training.run("cpu", checkpoints=checkpoints)

    batch, y = rows(100)
    y = np.random.default_rng(0).permutation(y)  # nothing can be learned
    extractor = build(encoder, epochs=30, patience=2, lr=0.02)
    extractor.fit(extractor.prepare(batch), y, FitContext("binary", 2, 3, conduct=conduct))
    assert len(checkpoints.states) < 30
    best = checkpoints.states[-1 - checkpoints.states[-1].meta["worse"]]
    for name, values in extractor.learned().tensors.items():
        np.testing.assert_array_equal(values, best.tensors[f"learning/{name}"])


def test_the_seed_decides(encoder):
    first, again = (fitted(encoder, n=40, epochs=1).learned().tensors for _ in range(2))
    other = fitted(encoder, n=40, epochs=1, context=FitContext("binary", 2, seed=4)).learned().tensors
    batch, y = rows(40)
    ready = build(encoder, epochs=1)
    ready.setup()
    ready.fit(ready.prepare(batch), y, CONTEXT)
    for tensors in (again, ready.learned().tensors):
        assert all(np.array_equal(first[name], tensors[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_copies_share_the_frozen_blocks(encoder, monkeypatch):
    batch, _ = rows(30)
    states = [fitted(encoder, n=40, epochs=1, context=FitContext("binary", 2, s)).learned() for s in (1, 2)]
    params = build(encoder).params
    alone = [build_from(params, state) for state in states]
    expected = [copy.transform(batch).values for copy in alone]
    first, second = (type(copy).from_state(params, TEXT, state) for copy, state in zip(alone, states, strict=True))
    first.setup()
    second.adopt(first)
    second.setup()
    assert second.split() is first.split()
    lower, calls = first.split().lower, []
    monkeypatch.setattr(first.split(), "lower", lambda *args: calls.append(1) or lower(*args))
    shared = first.shared(first.prepare(batch))
    np.testing.assert_array_equal(first.block(shared).values, expected[0])
    np.testing.assert_array_equal(second.block(shared).values, expected[1])
    assert len(calls) == 1
    assert np.abs(expected[0] - expected[1]).max() > 1e-4


def build_from(params, state):
    extractor = type(build_extractor("tuned_transformers", params, TEXT)).from_state(params, TEXT, state)
    extractor.setup()
    return extractor


def test_a_state_without_the_pretrained_weights_wants_those_that_were_tuned(encoder, tmp_path):
    tuned = fitted(encoder, n=20, epochs=1)
    state = tuned.learned()
    assert not state.blobs
    assert {"model.safetensors", "tokenizer.json"} <= set(tuned.get_state().blobs)
    other = tuned.params.model_copy(update={"model": str(tiny_encoder(tmp_path / "other", seed=9))})
    with pytest.raises(BadInputError, match="the pretrained weights must be those that were tuned"):
        type(tuned).from_state(other, TEXT, state)


@pytest.mark.parametrize(
    ("columns", "task", "n_outputs"),
    [({"title": "text", "body": "text"}, "multiclass", 3), (TEXT, "regression", 1)],
    ids=["two columns", "numbers"],
)
def test_several_columns_and_numbers_are_learned_too(encoder, columns, task, n_outputs):
    batch = toy_batch(columns, 40)
    y = toy_labels(40) if task == "multiclass" else np.exp(toy_labels(40) * 2.0)
    extractor = build(encoder, columns, epochs=2)
    extractor.fit(extractor.prepare(batch), y, FitContext(task, n_outputs))
    block = extractor.transform(batch)
    assert block.values.shape == (40, 32 * len(columns)) == (40, extractor.most_features)
    assert np.isfinite(block.values).all()
    assert not block.values[~block.present].any()


def test_every_class_may_be_absent_but_one(encoder):
    extractor, (batch, _) = build(encoder), rows(20)
    extractor.fit(extractor.prepare(batch), np.full(20, 2), FitContext("multiclass", 5))
    assert np.isfinite(extractor.transform(batch).values).all()


def test_without_labels_or_rows_or_a_fit_it_says_so(encoder):
    extractor, (batch, y) = build(encoder), rows(4)
    prepared = extractor.prepare(batch)
    with pytest.raises(BadInputError, match="tuned_transformers: needs labels and at least two rows"):
        extractor.fit(prepared, None, CONTEXT)
    nothing = Prepared({n: a[:0] for n, a in prepared.arrays.items()}, np.zeros(4, bool))
    with pytest.raises(BadInputError, match="got 0 rows"):
        extractor.fit(nothing, y, CONTEXT)
    with pytest.raises(NotFittedError, match="must be fitted"):
        extractor.learned()


def test_more_blocks_than_there_are_are_refused(encoder):
    with pytest.raises(BadInputError, match=r"blocks: must be at most the 2 layers of .*; got 3"):
        build(encoder, blocks=3).check()
    image = {"model": "squeezenet1_1", "weights": "none", "image_size": 32}
    with pytest.raises(BadInputError, match=r"blocks: must be at most the 8 blocks of squeezenet1_1; got 9"):
        build_extractor("tuned_torchvision", image | {"blocks": 9}, IMAGE).check()


def test_an_encoder_whose_layers_need_each_other_is_refused(tmp_path):
    """T5's first layer makes the position bias of all others."""
    import shutil

    import torch
    from transformers import T5Config, T5Model

    folder = tiny_encoder(tmp_path / "bert")
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 64}
    torch.manual_seed(0)
    T5Model(T5Config(**sizes, pad_token_id=0)).save_pretrained(tmp_path / "t5")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / "t5" / name)
    extractor = build(str(tmp_path / "t5"))
    with pytest.raises(BadInputError, match="must be an encoder that can be cut between its layers"):
        extractor.setup()


@pytest.mark.slow
def test_the_blocks_of_the_guide_run(project_root):
    import re

    from hybrid_ray.spec import load_spec

    text = (project_root / "docs" / "tuned-extractors.md").read_text()
    blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    assert set(blocks) == {"yaml", "python"}
    exec(blocks["python"], {})
    import yaml

    spec = load_spec(yaml.safe_load(blocks["yaml"]))
    assert [entry.name for entry in spec.extractors] == ["transformers", "tuned_transformers"]

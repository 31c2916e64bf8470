"""Transformers over words and series: what is drawn while training, what a pass holds, and how they are taken up."""

import numpy as np
import pytest
import torch

from hybrid_ray.errors import SpecError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.networks.transformer import by_attention
from hybrid_ray.extractors.networks.transformer_nets import Transformer, turned
from hybrid_ray.extractors.trained import Training
from hybrid_ray.seeding import reproducible
from hybrid_ray.testing.checkpoints import MemoryCheckpoints
from hybrid_ray.testing.rows import toy_batch
from hybrid_ray.training.items import CellDropout
from hybrid_ray.training.loop import Dropout, Step

COLUMNS = {
    "text_transformer": {"title": "text", "body": "text"},
    "series_transformer": {"left": "series", "right": "series"},
}
SMALL = {
    "text_transformer": {"embedding": 4, "width": 6, "heads": 2, "min_count": 1},
    "series_transformer": {"width": 6, "heads": 2, "patch": 4, "channels": 2},
}


def build(name, **params):
    return build_extractor(name, {**SMALL[name], "inner_dropout": 0.5, **params}, COLUMNS[name])


def training_of(name):
    """A training on rows of which some lack a cell."""
    extractor = build(name)
    prepared = extractor.prepare(toy_batch(COLUMNS[name], 40))
    extractor.look({key: array[prepared.arrays["filled"]] for key, array in prepared.arrays.items() if key != "filled"})
    n = int(prepared.present.sum())
    return Training(extractor, dict(prepared.arrays), np.arange(n, dtype=np.int64) % 2, 2, 3, 1)


@pytest.mark.parametrize("name", SMALL)
def test_a_training_goes_on_as_if_it_had_never_been_cut_off(name):
    def run(checkpoints):
        def conduct(training):
            return training.run("cpu", checkpoints=checkpoints)

        extractor = build(name, epochs=4, patience=4)
        prepared = extractor.prepare(toy_batch(COLUMNS[name], 40))
        y = np.arange(40) % 2
        return extractor.fit(prepared, y, FitContext("binary", 2, 3, conduct=conduct)).get_state().tensors

    expected = run(None)
    cut_off = MemoryCheckpoints(dies_at=2)
    with pytest.raises(KeyboardInterrupt):
        run(cut_off)
    cut_off.dies_at = None
    tensors = run(cut_off)
    assert [state.meta["done"] for state in cut_off.states] == [1, 2, 3, 4]
    for key, values in expected.items():
        np.testing.assert_array_equal(tensors[key], values)


@pytest.mark.parametrize("name", SMALL)
def test_the_shares_of_workers_add_up_to_the_whole_batch(name):
    """Dropout inside the layers too: the shares have other cells, padded to other lengths."""
    training = training_of(name)

    def losses(own):
        with reproducible(0, 1):
            learner = training.extractor.learner(training)
        dropouts = [module for module in learner.net.modules() if isinstance(module, Dropout)]
        assert sum(isinstance(module, CellDropout) for module in dropouts) == 4
        step = Step(np.arange(11), own, (0, 1, 2))
        for number, module in enumerate(dropouts):
            module.step, module.stream = step, 16 + number
        return learner.losses(learner.net, step).detach()

    whole = losses(slice(None))
    for rank in (0, 1):
        np.testing.assert_allclose(losses(slice(rank, None, 2)), whole[rank::2], rtol=1e-5)


def test_dropout_leaves_out_features_of_whole_cells():
    dropout = CellDropout(0.5)
    x = torch.ones(3, 5, 40)
    assert dropout(x) is x, "nothing is left out outside a step"
    dropout.step = Step(np.arange(4), slice(1, None, 2), (0, 0, 0))
    dropout.n_columns, dropout.places = 2, torch.tensor([0, 2, 3])
    left = dropout(x)
    assert set(left.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(left, left[:, :1].expand_as(left)), "the same at every step"
    assert not torch.equal(left[0], left[1])
    dropout.step = Step(np.arange(4), slice(None), (0, 0, 0))
    dropout.places = torch.tensor([6])
    assert torch.equal(dropout(x[:1])[0], left[1]), "a cell's draw is that of its place in the whole batch"


@pytest.mark.parametrize("name", SMALL)
def test_the_width_is_a_multiple_of_heads(name):
    with pytest.raises(SpecError, match=r"width must be a multiple of heads \(4\); got 30\. The nearest is 32"):
        build(name, width=30, heads=4)
    with pytest.raises(SpecError, match=r"width must be a multiple of heads \(8\); got 3\. The nearest is 8"):
        build(name, width=3, heads=8)


def test_products_of_turned_parts_tell_how_far_apart_they_stand():
    x = torch.randn(7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    there = turned(x.expand(1, 1, 300, 7))[0, 0]
    products = there @ there.T
    np.testing.assert_allclose(products[5, :100], products[200, 195:295], atol=1e-9)
    assert (products[0, 1:] < products[0, 0]).all()
    assert turned(x[:1].expand(1, 1, 4, 1)).shape == (1, 1, 4, 1)


def test_no_cells_have_no_vectors():
    net = Transformer(3, 6, 2, 1, 0.1)
    assert net(torch.zeros(0, 1, 3), torch.zeros(0, dtype=torch.int64)).shape == (0, 6)


def test_passes_of_long_cells_hold_fewer():
    lengths = np.random.default_rng(0).integers(1, 4000, 500)
    passes = by_attention(lengths, 20_000)
    assert np.array_equal(np.sort(np.concatenate(passes)), np.arange(500))
    for cells in passes:
        longest = int(lengths[cells].max())
        assert len(cells) == 1 or len(cells) * longest * max(longest, 128) <= 20_000 * 128
    (together,) = by_attention(np.full(200, 100), 20_000)
    assert len(together) == 200


@pytest.mark.parametrize(("name", "array"), [("text_transformer", "numbers"), ("series_transformer", "steps")])
def test_passes_are_bound_by_the_square_of_the_length(name, array):
    extractor = build(name, **({"max_tokens": 4096} if array == "numbers" else {"max_steps": 8192, "patch": 1}))
    encoded = {array: np.full((64, 2048), 5, np.int32), "lengths": np.full(64, 2048)}
    found = extractor.passes(encoded)
    assert len(found) > len(build_extractor(name.replace("transformer", "rnn"), {}, COLUMNS[name]).passes(encoded))
    assert np.array_equal(np.concatenate(found), np.arange(64))

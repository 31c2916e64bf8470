import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from hybrid_ray.errors import ArtifactError
from hybrid_ray.extractors import _compressed_net as compressed
from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.extractors.pretrained import COMPRESSED
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.spec.compression import Compression
from hybrid_ray.testing.encoders import tiny_sentence_encoder
from hybrid_ray.testing.rows import toy_batch
from hybrid_ray.types import State

IMAGE = {"image": "image"}
SMALL = {"model": "resnet18", "weights": "none", "image_size": 32, "precision": "fp32"}


class Texts(nn.Module):
    """Two names for one embedding, a layer that is called, and one whose weights its parent reads."""

    def __init__(self) -> None:
        super().__init__()
        self.words = self.tokens = nn.Embedding(50, 24)
        self.up = nn.Linear(24, 40)
        self.read = nn.Linear(40, 24, bias=False)

    def forward(self, ids):
        return F.linear(self.up(self.tokens(ids)).relu(), self.read.weight)


def texts(seed=0):
    torch.manual_seed(seed)
    return Texts().eval().requires_grad_(False)


def ids(n=6):
    return torch.arange(n * 5).view(n, 5) % 50


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def made(net, share=0.0, int8="dynamic"):
    """A network made smaller, and its numbers."""
    run = (lambda: net(ids())) if int8 == "dynamic" else None
    packed = compressed.packed(net, share, int8 != "none", run)
    return packed.put_into(net, int8 == "dynamic"), packed


@pytest.mark.parametrize(("int8", "most"), [("weights", 0.01), ("dynamic", 0.03)])
def test_a_network_of_8_bits_gives_nearly_the_same(int8, most):
    net, packed = made(texts(), int8=int8)
    assert 0 < relative(net(ids()), texts()(ids())) < most
    for name in ("up.weight", "read.weight", "words.weight"):
        assert packed.tensors[name].dtype == torch.int8
    assert "tokens.weight" not in packed.tensors
    assert net.words is net.tokens
    # A layer whose weights its parent reads stays a layer of floats.
    assert type(net.read) is nn.Linear
    assert isinstance(net.up, compressed.IntegerLinear) == (int8 == "dynamic")


@pytest.mark.parametrize(
    ("kernel", "channels", "multiplies"),
    [(1, compressed.WIDE, True), (1, compressed.WIDE - 1, False), (3, compressed.WIDE, False)],
)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_wide_convolution_over_single_pixels_multiplies_integers(kernel, channels, multiplies, stride):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, 16, kernel, stride, kernel // 2)).eval().requires_grad_(False)
    x = torch.randn(3, channels, 9, 8).to(memory_format=torch.channels_last)
    expected = net(x)
    compressed.packed(net, 0.0, True, lambda: net(x)).put_into(net, True)
    assert isinstance(net[0], compressed.IntegerPixels) == multiplies
    assert 0 < relative(net(x), expected) < 0.03
    np.testing.assert_allclose(net(x)[1:2], net(x[1:2]), atol=0 if multiplies else 1e-5)


def test_integers_and_the_same_numbers_as_floats_give_the_same(monkeypatch):
    net, _ = made(texts())
    x = torch.randn(40, 24)
    found = {}
    for way in (True, False):
        monkeypatch.setattr(compressed, "exact", lambda way=way: way)
        found[way] = net.up(x)
    assert torch.equal(found[True], found[False])


def test_rows_of_zeros_stay_zeros():
    layer = compressed.IntegerLinear(torch.ones(4, 8, dtype=torch.int8), torch.ones(4), None)
    assert layer(torch.zeros(3, 8)).abs().max() == 0
    assert layer(torch.zeros(0, 8)).shape == (0, 4)


def test_the_smallest_weights_of_each_layer_become_zero():
    net, plain = made(texts(), 0.25, "none")[0], texts()
    for name in ("up", "read"):
        weight, whole = getattr(net, name).weight, getattr(plain, name).weight
        assert (weight == 0).sum() == round(0.25 * weight.numel())
        assert whole.abs()[weight == 0].max() <= weight.abs()[weight != 0].min()
        assert torch.equal(weight[weight != 0], whole[weight != 0])
    assert torch.equal(net.words.weight, plain.words.weight)


def test_depthwise_convolutions_keep_all_their_weights():
    net = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3)).eval().requires_grad_(False)
    compressed.packed(net, 0.5, False)
    assert [int((layer.weight == 0).sum()) for layer in net] == [0, 8 * 8 * 9 // 2]


@pytest.mark.parametrize(("share", "int8"), [(0.0, "weights"), (0.5, "none"), (0.5, "dynamic")])
def test_what_is_packed_comes_out_as_it_was(share, int8):
    net, packed = made(texts(), share, int8)
    data, other = packed.to_bytes(), texts(seed=1)
    compressed.Packed.from_bytes(data, other).put_into(other, int8 == "dynamic")
    assert torch.equal(other(ids()), net(ids()))
    assert len(data) < len(compressed.Packed.of(texts(), int8=False).to_bytes())


def test_numbers_of_another_network_are_refused():
    _, packed = made(texts())
    with pytest.raises(ValueError, match="the network's own names and shapes"):
        compressed.Packed.from_bytes(packed.to_bytes(), nn.Linear(24, 40))
    for data in (packed.to_bytes()[:-40], b"no deflated safetensors"):
        with pytest.raises(ValueError, match="as they were saved"):
            compressed.Packed.from_bytes(data, texts())


def test_no_more_is_inflated_than_a_network_can_hold():
    big = nn.Linear(3000, 1000)
    nn.init.zeros_(big.weight)
    with pytest.raises(ValueError, match="as they were saved"):
        compressed.Packed.from_bytes(compressed.Packed.of(big, int8=False).to_bytes(), nn.Linear(3, 1))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_sentence_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.mark.parametrize("int8", ["weights", "dynamic"])
def test_a_text_is_what_it_is_whatever_stands_beside_it(encoder, int8):
    params = {"model": str(encoder), "precision": "fp32", "compress": {"int8": int8}}
    own = build_extractor("transformers", params, {"text": "text"})
    own.setup()
    cells = np.array(["a", "a film", *("a fine film of the year " * n for n in range(1, 9))], object)
    together = own.transform({"text": cells}).values
    alone = np.concatenate([own.transform({"text": cells[row : row + 1]}).values for row in range(len(cells))])
    np.testing.assert_allclose(alone, together, atol=0 if int8 == "dynamic" else 1e-6)


@pytest.mark.parametrize("compress", [{"int8": "weights"}, {"prune": 0.2}, {"int8": "weights", "prune": 0.2}], ids=str)
@pytest.mark.parametrize("name", ["torchvision", "transformers"])
def test_a_reduced_format_is_saved_and_loaded(encoder, name, compress):
    params = SMALL if name == "torchvision" else {"model": str(encoder)}
    columns = IMAGE if name == "torchvision" else {"text": "text"}
    own = build_extractor(name, params | {"precision": "bf16", "compress": compress}, columns)
    back = own.with_state(own.get_state())
    for each in (own, back):
        each._emulate = True
        each.setup()
    batch = toy_batch(columns, 6)
    np.testing.assert_array_equal(back.transform(batch).values, own.transform(batch).values)


def test_elsewhere_inputs_of_products_may_be_rounded_otherwise(encoder):
    def built(int8):
        params = {"model": str(encoder), "precision": "fp32", "compress": {"int8": int8, "prune": 0.1}}
        extractor = build_extractor("transformers", params, {"text": "text"})
        extractor.setup()
        return extractor

    batch = toy_batch({"text": "text"}, 6)
    saved = built("dynamic").with_state(built("dynamic").get_state())
    saved.setup()
    other = saved.counterpart()
    np.testing.assert_allclose(other.transform(batch).values, built("weights").transform(batch).values, atol=1e-6)
    assert np.abs(other.transform(batch).values - saved.transform(batch).values).max() > 0
    assert built("weights").counterpart() is None


def test_what_is_damaged_is_refused_each_time():
    own = build_extractor("torchvision", SMALL | {"compress": {"int8": "weights"}}, IMAGE)
    state = own.get_state()
    broken = type(own).from_state(own.params, IMAGE, State(state.meta, {}, {COMPRESSED: state.blobs[COMPRESSED][:-9]}))
    for _ in range(2):
        with pytest.raises(ArtifactError, match="as they were saved"):
            broken.setup()


def test_a_saved_smaller_network_needs_no_weights():
    whole = build_extractor("torchvision", SMALL, IMAGE)
    own = build_extractor("torchvision", SMALL | {"compress": {"int8": "dynamic"}}, IMAGE)
    pixels = {"pixels": np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)}
    own.setup()
    state = own.get_state()
    assert list(state.blobs) == [COMPRESSED]
    assert len(state.blobs[COMPRESSED]) < 0.3 * sum(map(len, whole.get_state().blobs.values()))
    back = type(own).from_state(own.params, IMAGE, state)
    back.setup()
    np.testing.assert_array_equal(back.encode(pixels), own.encode(pixels))
    assert back.get_state() is state


def test_a_network_that_its_library_builds_otherwise_is_refused():
    own = build_extractor("torchvision", SMALL | {"compress": {"int8": "dynamic"}}, IMAGE)
    state = own.get_state()
    other = own.params.model_copy(update={"model": "resnet34"})
    stranger = type(own).from_state(other, IMAGE, State(state.meta, {}, state.blobs))
    with pytest.raises(ArtifactError, match=r"torchvision: .* own names and shapes. Load the model with the versions"):
        stranger.setup()


def test_a_smaller_network_is_another_extractor():
    plain, smaller = (build_extractor("torchvision", SMALL | {"compress": how}, IMAGE) for how in ({}, {"prune": 0.1}))
    assert plain.fingerprint() == build_extractor("torchvision", SMALL, IMAGE).fingerprint() != smaller.fingerprint()
    assert "compress" not in plain.identity()


def test_8_bits_take_the_place_of_a_reduced_format():
    params = EXTRACTORS.get("torchvision").Params
    assert params().compressed(Compression(int8="dynamic")).precision == "fp32"
    assert params(precision="bf16").compressed(Compression(int8="weights", prune=0.1)).precision == "bf16"
    assert params(precision="bf16").compressed(Compression(int8="dynamic")).precision == "fp32"
    with pytest.raises(ValidationError, match=r"precision must be auto or fp32 with compress.int8: dynamic; got bf16"):
        params(precision="bf16", compress={"int8": "dynamic"})

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


def test_a_network_of_8_bits_gives_nearly_the_same():
    net, plain = texts(), texts()
    compressed.shrink(net, 0.0, True, lambda: net(ids()))
    assert 0 < relative(net(ids()), plain(ids())) < 0.03
    assert isinstance(net.up, compressed.QuantisedLinear)
    assert net.up.weight.dtype == torch.int8
    assert isinstance(net.words, compressed.QuantisedEmbedding)
    assert net.words is net.tokens
    # Its parent reads the weights: they stay floats.
    assert type(net.read) is nn.Linear


@pytest.mark.parametrize(("kernel", "channels", "kind"), [
    (1, compressed.WIDE, "QuantisedPixels"),
    (1, compressed.WIDE - 1, "QuantisedConvolution"),
    (3, compressed.WIDE, "QuantisedConvolution"),
])  # fmt: skip
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_of_8_bits_gives_nearly_the_same(kernel, channels, kind, stride):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, 16, kernel, stride, kernel // 2)).eval().requires_grad_(False)
    x = torch.randn(3, channels, 9, 8).to(memory_format=torch.channels_last)
    expected = net(x)
    compressed.shrink(net, 0.0, True, lambda: net(x))
    assert type(net[0]).__name__ == kind
    assert 0 < relative(net(x), expected) < 0.03
    np.testing.assert_allclose(net(x)[1:2], net(x[1:2]), atol=0 if kind == "QuantisedPixels" else 1e-5)


def test_a_row_is_what_it_is_whatever_stands_beside_it():
    net = texts()
    compressed.shrink(net, 0.2, True, lambda: net(ids()))
    loud = torch.cat([ids(1), 49 - ids(5)])
    np.testing.assert_array_equal(net(loud)[:1], net(ids(1)))


def test_rows_of_zeros_stay_zeros():
    net = nn.Sequential(nn.Linear(8, 4, bias=False))
    compressed.shrink(net, 0.0, True, lambda: net(torch.ones(1, 8)))
    assert net(torch.zeros(3, 8)).abs().max() == 0
    assert net(torch.zeros(0, 8)).shape == (0, 4)


def test_the_smallest_weights_of_each_layer_become_zero():
    net, plain = texts(), texts()
    compressed.shrink(net, 0.25, False, lambda: net(ids()))
    for name in ("up", "read"):
        weight, whole = getattr(net, name).weight, getattr(plain, name).weight
        assert (weight == 0).sum() == round(0.25 * weight.numel())
        assert whole.abs()[weight == 0].max() <= weight.abs()[weight != 0].min()
        assert torch.equal(weight[weight != 0], whole[weight != 0])
    assert torch.equal(net.words.weight, plain.words.weight)


@pytest.mark.parametrize(("share", "int8"), [(0.0, True), (0.5, False), (0.5, True)])
def test_what_is_packed_comes_out_as_it_was(share, int8):
    net, other = texts(), texts(seed=1)
    compressed.shrink(net, share, int8, lambda: net(ids()))
    compressed.shrink(other, 0.0, int8, lambda: other(ids()))
    packed = compressed.pack(net)
    assert not torch.equal(other(ids()), net(ids()))
    compressed.unpack(other, packed)
    assert torch.equal(other(ids()), net(ids()))
    assert len(packed) < len(compressed.pack(texts()))


def test_numbers_of_another_network_are_refused():
    net, plain = texts(), texts()
    compressed.shrink(net, 0.0, True, lambda: net(ids()))
    with pytest.raises(ValueError, match="the network's own names and shapes"):
        compressed.unpack(plain, compressed.pack(net))
    with pytest.raises(ValueError, match="as they were saved"):
        compressed.unpack(net, compressed.pack(net)[:-40])
    with pytest.raises(ValueError, match="as they were saved"):
        compressed.unpack(net, b"no deflated safetensors")


def test_no_more_is_inflated_than_a_network_can_hold():
    big = nn.Linear(3000, 1000)
    nn.init.zeros_(big.weight)
    with pytest.raises(ValueError, match="as they were saved"):
        compressed.unpack(nn.Linear(3, 1), compressed.pack(big))


def test_a_saved_smaller_network_needs_no_weights():
    whole = build_extractor("torchvision", SMALL, IMAGE)
    own = build_extractor("torchvision", SMALL | {"compress": {"int8": True}}, IMAGE)
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
    own = build_extractor("torchvision", SMALL | {"compress": {"int8": True}}, IMAGE)
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
    assert params().compressed(Compression(int8=True)).precision == "fp32"
    assert params(precision="bf16").compressed(Compression(prune=0.1)).precision == "bf16"
    assert params(precision="bf16").compressed(Compression(int8=True)).precision == "fp32"
    with pytest.raises(ValidationError, match=r"precision must be auto or fp32 with compress.int8; got bf16"):
        params(precision="bf16", compress={"int8": True})

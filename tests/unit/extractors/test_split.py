"""Image networks cut in two: the parts together are the whole, and the tuned blocks are in the upper one."""

import numpy as np
import pytest

from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.extractors.imaging import PIXELS
from hybrid_ray.testing.rows import toy_batch, toy_labels

IMAGE = {"image": "image"}
NETWORKS = [
    ("mobilenet_v2", 17, "features.17"),
    ("squeezenet1_1", 8, "features.12"),
    ("vgg11", 10, "classifier.3"),
    pytest.param("resnet18", 8, "layer4.1", marks=pytest.mark.slow),
    pytest.param("shufflenet_v2_x0_5", 16, "stage4.3", marks=pytest.mark.slow),
    pytest.param("convnext_tiny", 18, "features.7.2", marks=pytest.mark.slow),
    pytest.param("swin_t", 12, "features.7.1", marks=pytest.mark.slow),
    pytest.param("densenet121", 58, "features.denseblock4.denselayer16", marks=pytest.mark.slow),
    pytest.param("efficientnet_b0", 16, "features.7.0", marks=pytest.mark.slow),
]


def split_of(model, blocks=1, **params):
    from hybrid_ray.extractors._torchvision_split import TorchvisionSplit, block_names

    fields = {"model": model, "weights": "none", "image_size": 64, "precision": "fp32"}
    base = build_extractor("torchvision", fields | params, IMAGE)
    base.setup()
    width = base.item_features
    names = block_names(model)
    return base, TorchvisionSplit(base.network, names, blocks, base.normalised, 64, width, "cpu")


@pytest.mark.parametrize(("model", "n_blocks", "last"), NETWORKS)
def test_the_two_parts_are_the_whole(model, n_blocks, last):
    from hybrid_ray.extractors._torchvision_split import block_names

    names = block_names(model)
    assert (len(names), names[-1]) == (n_blocks, last)
    base, split = split_of(model)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    expected = base.encode({PIXELS: pixels})
    found = split.upper(split.top, split.lower({PIXELS: pixels}, np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert split.targets
    assert {name for name, _ in split.top.named_modules()} >= set(split.targets)


def test_padding_for_tensorflow_is_kept():
    base, split = split_of("mobilenet_v2", blocks=5, padding="same")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    found = split.upper(split.top, split.lower({PIXELS: pixels}, np.float32))
    np.testing.assert_allclose(found, base.encode({PIXELS: pixels}), rtol=1e-3, atol=1e-4)


def test_a_depthwise_convolution_is_no_target_and_frozen_blocks_hold_none():
    _, split = split_of("mobilenet_v2", blocks=2)
    # Two inverted residuals, each with a depthwise convolution (conv.1.0) between two others, and the last convolution.
    names = [name.removeprefix("net.features.") for name in split.targets]
    assert names == ["16.conv.0.0", "16.conv.2", "17.conv.0.0", "17.conv.2", "18.0"]


def test_a_kernel_of_more_than_one_pixel_is_learned_as_one(monkeypatch):
    """The product that is kept is what the adapters computed side by side."""
    import torch

    from hybrid_ray.extractors._tuned_net import adapters, with_adapters, with_learned

    _, split = split_of("squeezenet1_1")
    torch.manual_seed(0)
    beside = with_adapters(split.top, split.targets, 3, 6.0)
    learned = {}
    for name, weight in adapters(beside, split.targets).items():
        torch.nn.init.normal_(weight, std=0.1)
        learned[name] = weight.detach().numpy()
    maps = torch.randn(2, *split.nothing(np.float32).shape[1:])
    with torch.no_grad():
        expected = beside(maps)
        assert (expected - split.top(maps)).abs().max() > 0.1
        torch.testing.assert_close(with_learned(split.top, learned, 2.0)(maps), expected, rtol=1e-3, atol=1e-3)


def test_images_may_be_changed_anew_in_each_pass():
    fields = {"model": "squeezenet1_1", "weights": "none", "image_size": 32, "blocks": 1, "rank": 2, "epochs": 1}
    extractor = build_extractor("tuned_torchvision", fields | {"shift": 0.1, "colour": 0.2, "erase": 0.1}, IMAGE)
    prepared = extractor.prepare(toy_batch(IMAGE))
    extractor.setup()
    assert extractor.before_fits(prepared) is prepared
    from hybrid_ray.extractors.base import FitContext

    extractor.fit(prepared, toy_labels(), FitContext("multiclass", 3))
    assert extractor.block(prepared).values.shape == (24, 512) == (24, extractor.most_features)

import runpy

import numpy as np
import pyarrow.parquet as pq
import pytest

from hybrid_ray.extractors._torchvision_weights import made_for_same_padding
from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.testing.rows import toy_batch

IMAGE = {"image": "image"}
MOBILENET = "mobilenet_v2_imagenet/mobilenet_v2_imagenet_fp16.safetensors"


def build(**params):
    return build_extractor("torchvision", params, IMAGE)


def test_same_padding_is_tensorflows_for_odd_and_even_sizes():
    import torch

    from hybrid_ray.extractors._torchvision_net import pad_same

    for kernel, stride, side in [(3, 2, 8), (3, 2, 9), (5, 2, 8), (5, 2, 11), (3, 3, 10), (7, 4, 13)]:
        conv = torch.nn.Conv2d(1, 1, kernel, stride, kernel // 2, bias=False)
        x = torch.randn(1, 1, side, side)
        out = -(-side // stride)
        total = max((out - 1) * stride + kernel - side, 0)
        padded = torch.zeros(1, 1, side + total, side + total)
        padded[:, :, total // 2 : total // 2 + side, total // 2 : total // 2 + side] = x
        expected = torch.nn.functional.conv2d(padded, conv.weight, stride=stride)
        net = pad_same(torch.nn.Sequential(conv))
        torch.testing.assert_close(net(x), expected)
        assert net(x).shape[-1] == out


def save_with(path, folded, metadata=None):
    import torch
    from safetensors.torch import save_file
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    tensors = mobilenet_v2(weights=None).state_dict()
    if not folded:
        for name in tensors:
            if name.endswith("running_mean"):
                tensors[name] = torch.rand_like(tensors[name])
    save_file(tensors, path, metadata)
    return path


@pytest.mark.parametrize(
    ("name", "folded", "metadata", "same"),
    [
        ("plain.safetensors", False, None, False),
        ("plain.safetensors", True, None, True),
        ("plain.safetensors", True, {"padding": "torch"}, False),
        ("plain.safetensors", False, {"padding": "same"}, True),
        ("mobilenet_v2_tf.safetensors", False, None, True),
        ("mobilenet_tfx.safetensors", False, None, False),
    ],
)
def test_weights_tell_their_padding(tmp_path, name, folded, metadata, same):
    path = save_with(tmp_path / name, folded, metadata)
    assert made_for_same_padding(path, "mobilenet_v2") is same
    assert build(model="mobilenet_v2", weights=str(path)).settle().padding == ("same" if same else "torch")
    if metadata is None and name.startswith("plain"):
        assert made_for_same_padding(path, "resnet18") is False


def test_mobilenet_from_tensorflow_is_what_its_own_loader_gives(shared_data):
    import torch

    path = shared_data / MOBILENET
    load = runpy.run_path(str(path.parent / "load_mobilenet_v2.py"))["load_mobilenet_v2"]
    net = load(str(path))
    extractor = build(weights=str(path))
    extractor.check()
    extractor.setup()
    cells = pq.read_table(shared_data / "sign_digits" / "sign_digits.parquet", columns=["image"])["image"][
        :6
    ].to_pylist()
    prepared = extractor.prepare({"image": np.array(cells, object)})
    pixels = torch.from_numpy(prepared.arrays["pixels"][:, 0]).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.inference_mode():
        expected = net.features((pixels - mean) / std).mean((2, 3)).numpy()
    np.testing.assert_allclose(extractor.extract(prepared.arrays), expected, atol=1e-4)
    other = build(weights=str(path), padding="torch")
    other.setup()
    assert np.abs(other.extract(prepared.arrays) - expected).mean() > 0.01


def test_mobilenet_keeps_its_features_in_a_state_without_its_file(shared_data, tmp_path):
    copy = tmp_path / "moved.safetensors"
    copy.write_bytes((shared_data / MOBILENET).read_bytes())
    extractor = build(weights=str(copy), image_size=64)
    extractor.setup()
    batch = toy_batch(IMAGE, 6)
    expected = extractor.transform(batch).values
    state, params = extractor.get_state(), extractor.params
    copy.unlink()
    loaded = type(extractor).from_state(params, IMAGE, state)
    loaded.setup()
    np.testing.assert_array_equal(loaded.transform(batch).values, expected)
    assert len(state.blobs["weights.safetensors"]) < 5_000_000, "half precision, without the classifier"

import io
import socket

import numpy as np
import pytest
import torch
from PIL import Image

from hybrid_ray.errors import BadInputError, HubError
from hybrid_ray.extractors import _torchvision_net, pretrained
from hybrid_ray.extractors import weights as hubs
from hybrid_ray.extractors._torchvision import TorchvisionExtractor
from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.extractors.precision import native_formats
from hybrid_ray.extractors.tensors import to_features
from hybrid_ray.testing.rows import toy_batch

IMAGE = {"image": "image"}
MOBILENET = "mobilenet_v2_imagenet/mobilenet_v2_imagenet_fp16.safetensors"


def build(**params):
    return build_extractor("torchvision", params, IMAGE)


def photo(seed=0, size=(90, 70)):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


def photos(n=3):
    cells = np.empty(n, object)
    cells[:] = [photo(i) for i in range(n)]
    return {"image": cells}


def cut_off(monkeypatch):
    """No server can be reached: the way out leads to a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    hubs.reachable.cache_clear()


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory):
    """A seeded random resnet18 as a safetensors file."""
    import torch
    from safetensors.torch import save_file
    from torchvision.models import resnet18

    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "deep" / "resnet18_made.safetensors"
    path.parent.mkdir()
    save_file(resnet18(weights=None).state_dict(), path)
    return path


# Side of the smallest image that each family takes, and the module whose input the features are.
FAMILIES = [
    ("resnet18", 64, "fc", 512),
    ("mobilenet_v2", 64, "classifier.1", 1280),
    ("efficientnet_b0", 64, "classifier.1", 1280),
    ("squeezenet1_1", 64, None, 512),
    ("shufflenet_v2_x0_5", 64, "fc", 1024),
    ("swin_t", 64, "head", 768),
    ("convnext_tiny", 64, "classifier.2", 768),
    ("densenet121", 64, "classifier", 1024),
    pytest.param("regnet_y_400mf", 64, "fc", 440, marks=pytest.mark.slow),
    pytest.param("vit_b_16", 224, "heads.head", 768, marks=pytest.mark.slow),
    pytest.param("googlenet", 64, "fc", 1024, marks=pytest.mark.slow),
    pytest.param("vgg11_bn", 64, "classifier.6", 4096, marks=pytest.mark.slow),
    pytest.param("maxvit_t", 224, "classifier.5", 512, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("model", "side", "head", "width"), FAMILIES)
def test_features_are_what_the_last_layer_sees(model, side, head, width):
    import torch
    from torchvision.models import get_model

    extractor = build(model=model, weights="none", image_size=side, resize=side, seed=3)
    extractor.setup()
    prepared = extractor.prepare(photos())
    features = extractor.extract(prepared.arrays)
    assert features.shape == (3, width)
    assert extractor.n_features == width

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        options = {"init_weights": True} if model == "googlenet" else {}
        net = get_model(model, weights=None, **options).eval()
    seen = []
    if head is not None:
        net.get_submodule(head).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    view = extractor._view()
    pixels = torch.from_numpy(prepared.arrays["pixels"][:, 0]).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (view.mean, view.std))
    with torch.inference_mode():
        net((pixels - mean) / std)
        expected = seen[0] if head is not None else net.features((pixels - mean) / std).mean((2, 3))
    np.testing.assert_allclose(
        features, expected.flatten(1).numpy(), rtol=2e-3, atol=1e-3 * float(expected.abs().max())
    )


@pytest.mark.parametrize(
    ("model", "side", "layers", "widths"),
    [
        ("mobilenet_v2", 64, ("features.7", "features.14"), (64, 160, 1280)),
        ("resnet18", 64, ("layer2",), (128, 512)),
        ("squeezenet1_1", 64, ("features.7",), (256, 512)),
        pytest.param("vit_b_16", 224, ("encoder.layers.encoder_layer_3",), (768, 768), marks=pytest.mark.slow),
        pytest.param("swin_t", 64, ("features.3",), (192, 768), marks=pytest.mark.slow),
    ],
)
def test_layers_come_before_the_last_features(model, side, layers, widths):
    plain = build(model=model, weights="none", image_size=side, resize=side, seed=3)
    extractor = build(model=model, weights="none", image_size=side, resize=side, seed=3, layers=layers)
    for each in (plain, extractor):
        each.setup()
    arrays = plain.prepare(photos()).arrays
    features = extractor.extract(arrays)
    assert extractor.n_features == features.shape[1] == sum(widths)
    np.testing.assert_allclose(features[:, -widths[-1] :], plain.extract(arrays), rtol=1e-3, atol=1e-4)

    seen = []
    net, _ = _torchvision_net.random(model, 3)
    net.eval().get_submodule(layers[0]).register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.inference_mode():
        net(plain.normalised(arrays["pixels"][:, 0]))
    maps = seen[0].numpy()
    places = {3: (1,), 4: (1, 2) if model == "swin_t" else (2, 3)}[maps.ndim]
    np.testing.assert_allclose(features[:, : widths[0]], maps.mean(places), rtol=2e-3, atol=1e-3)
    assert extractor.fingerprint() != plain.fingerprint()

    again = type(extractor).from_state(extractor.params, extractor.columns, extractor.get_state())
    again.setup()
    np.testing.assert_array_equal(again.extract(arrays), features)


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        (("features.140",), r"torchvision\.layers\[0\]: must be a module of mobilenet_v2.*Did you mean 'features.1"),
        (("features.3.conv.9",), r"torchvision\.layers\[0\]"),
    ],
)
def test_layers_that_are_not_there_are_refused(layers, match):
    with pytest.raises(BadInputError, match=match):
        build(weights="none", layers=layers).check()


def test_the_preprocessing_is_the_weights_own():
    from torchvision.models import EfficientNet_B0_Weights

    preset = EfficientNet_B0_Weights.IMAGENET1K_V1.transforms()
    extractor = build(model="efficientnet_b0", weights="none")
    data = photo(size=(300, 400))
    expected = preset(Image.open(io.BytesIO(data)))
    pixels = extractor.prepare({"image": np.array([data], object)}).arrays["pixels"][:, 0]
    extractor.setup()
    mine = extractor.normalised(pixels)[0]
    np.testing.assert_allclose(mine.numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("params", "resize", "crop"),
    [
        ({}, 232, 224),
        ({"image_size": 112}, 116, 112),
        ({"image_size": 112, "resize": 200}, 200, 112),
        ({"resize": 160}, 160, 160),
        ({"resize": 300}, 300, 224),
    ],
)
def test_sizes_may_be_given(params, resize, crop):
    view = build(model="mobilenet_v2", weights="none", **params)._view()
    assert (view.resize, view.crop) == (resize, crop)


def test_a_resize_below_the_image_size_is_refused():
    with pytest.raises(BadInputError, match="resize must be at least image_size"):
        build(image_size=128, resize=100)


def test_weights_come_from_a_file_and_the_classifier_does_not_matter(resnet_file, tmp_path):
    import torch
    from safetensors.torch import load_file

    expected = build(model="resnet18", weights=str(resnet_file), image_size=64)
    expected.check()
    expected.setup()
    features = expected.transform(photos()).values
    tensors = {
        f"module.{name}": tensor for name, tensor in load_file(resnet_file).items() if not name.startswith("fc.")
    }
    tensors |= {"module.fc.weight": torch.zeros(7, 512), "module.fc.bias": torch.zeros(7)}
    path = tmp_path / "mine.pth"
    torch.save({"state_dict": tensors, "epoch": 3}, path)
    extractor = build(model="resnet18", weights=str(path), image_size=64)
    extractor.check()
    extractor.setup()
    np.testing.assert_array_equal(extractor.transform(photos()).values, features)


def test_a_file_is_found_under_the_folder_of_weights(resnet_file, monkeypatch):
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(resnet_file.parent.parent))
    by_name = build(model="resnet18", weights="resnet18_made.safetensors", image_size=64)
    by_path = build(model="resnet18", weights=str(resnet_file), image_size=64)
    assert by_name.fingerprint() == by_path.fingerprint()


def test_the_fingerprint_follows_the_content_not_the_place(resnet_file, tmp_path):
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(resnet_file.read_bytes())
    fingerprint = build(model="resnet18", weights=str(copy)).fingerprint()
    assert fingerprint == build(model="resnet18", weights=str(resnet_file)).fingerprint()
    data = bytearray(copy.read_bytes())
    data[-1] ^= 1
    copy.write_bytes(data)
    assert build(model="resnet18", weights=str(copy)).fingerprint() != fingerprint


def test_weights_of_another_architecture_are_refused_in_one_line(resnet_file):
    extractor = build(model="mobilenet_v2", weights=str(resnet_file))
    for attempt in (extractor.check, extractor.setup):
        with pytest.raises(BadInputError) as raised:
            attempt()
        message = str(raised.value)
        assert "\n" not in message
        assert message.startswith("torchvision.weights: must be weights of mobilenet_v2; got ")
        assert "missing (features.0.0.weight, " in message
        assert "unexpected (" in message
        assert message.endswith("set `model: resnet18`")


@pytest.mark.slow
def test_a_tensor_of_another_shape_is_named(resnet_file, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(resnet_file) | {"conv1.weight": torch.zeros(64, 3, 5, 5)}
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(BadInputError, match=r"1 of another shape \(conv1\.weight\)\. Give weights of that model"):
        build(model="resnet18", weights=str(tmp_path / "odd.safetensors")).check()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.safetensors", b"not weights at all"),
        ("b.safetensors", b""),
        ("c.pth", b"not weights at all"),
        ("d.pth", b""),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    extractor = build(model="resnet18", weights=str(tmp_path / name))
    for attempt in (extractor.check, extractor.setup):
        with pytest.raises(BadInputError, match="must be a"):
            attempt()


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    import pickle

    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    (tmp_path / "x.pth").write_bytes(pickle.dumps({"a": Harmful()}))
    with pytest.raises(BadInputError, match="state dict of tensors"):
        build(model="resnet18", weights=str(tmp_path / "x.pth")).setup()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"model": "resnet19"}, r"params\.model: .*must be a classification model .*'resnet19'.*Did you mean 'resnet1"),
        (
            {"model": "resnet18", "weights": "IMAGENET1K_V3"},
            r"must be one of \['DEFAULT', 'IMAGENET1K_V1'\].*Did you mean",
        ),
        ({"model": "resnet18", "weights": "/nowhere/x.safetensors"}, "must be a file that is there"),
        ({"model": "resnet18", "weights": "x.pth"}, "must be a file that is there"),
    ],
)
def test_what_cannot_be_is_refused_by_name(params, match):
    with pytest.raises(BadInputError, match=match):
        build(**params).check()


def test_the_known_models_are_torchvisions():
    from hybrid_ray.extractors._torchvision_names import KNOWN_MODELS
    from hybrid_ray.extractors._torchvision_net import model_names

    assert set(model_names()) >= KNOWN_MODELS


def test_an_image_size_that_the_network_cannot_take_is_refused():
    with pytest.raises(BadInputError, match=r"torchvision\.image_size: must suit vit_b_16; got 64"):
        build(model="vit_b_16", weights="none", image_size=64).setup()


def test_an_unreachable_server_is_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cut_off(monkeypatch)
    extractor = build(model="resnet18")
    extractor.fingerprint()  # the address names the content: nothing is downloaded for it
    for attempt in (extractor.check, extractor.setup):
        with pytest.raises(HubError) as raised:
            attempt()
        message = str(raised.value)
        assert "\n" not in message
        assert "resnet18 IMAGENET1K_V1 must come from https://download.pytorch.org/models/resnet18" in message
        assert "does not answer" in message


def test_cached_weights_need_no_server(monkeypatch, tmp_path, resnet_file):
    """torch.hub's cache is asked first; here it holds a file that is not the published one, and loading says so."""
    import torch
    from safetensors.torch import load_file

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cut_off(monkeypatch)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(load_file(resnet_file), tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    extractor = build(model="resnet18", image_size=64)
    extractor.check()
    extractor.setup()
    same = build(model="resnet18", weights=str(resnet_file), image_size=64)
    same.setup()
    np.testing.assert_array_equal(extractor.transform(photos()).values, same.transform(photos()).values)


# ---------------------------------------------------------------------------------------- precision


def test_an_unresolved_extractor_is_fp32_in_features_and_fingerprint():
    auto, fp32 = (build(model="resnet18", weights="none", image_size=32, precision=p) for p in ("auto", "fp32"))
    assert auto.undecided
    assert not fp32.undecided
    assert auto.fingerprint() == fp32.fingerprint()
    bf16 = build(model="resnet18", weights="none", image_size=32, precision="bf16")
    assert bf16.fingerprint() != fp32.fingerprint()
    auto.setup()
    fp32.setup()
    np.testing.assert_array_equal(auto.transform(photos()).values, fp32.transform(photos()).values)


def test_resolving_writes_every_choice_out():
    extractor = build(model="resnet18", weights="none")
    params = extractor.resolve(toy_batch(IMAGE))
    assert (params.image_size, params.resize, params.interpolation, params.padding) == (224, 256, "bilinear", "torch")
    assert params.precision in ("fp32", *native_formats("cpu"))
    resolved = build_extractor("torchvision", params, IMAGE)
    assert not resolved.undecided
    assert resolved.resolve(toy_batch(IMAGE)) == params


def test_in_a_reduced_format_company_changes_no_bit():
    extractor = build(model="resnet18", weights="none", image_size=32, precision="bf16")
    extractor.setup()
    rows = photos()
    together = extractor.transform(rows).values
    alone = [extractor.transform({"image": rows["image"][i : i + 1]}).values for i in range(len(rows["image"]))]
    np.testing.assert_array_equal(np.concatenate(alone), together)


@pytest.mark.parametrize(("company", "chosen"), [(0.0, "bf16"), (1.0, "fp32")])
def test_a_format_whose_features_depend_on_company_is_not_taken(monkeypatch, company, chosen):
    """The machine is told that bf16 is native to it; the arithmetic is real, the dependence is added."""

    class Company(TorchvisionExtractor):
        def encode(self, items):
            features = super().encode(items)
            spread = company * (self.params.precision == "bf16") * (len(features) > 1)
            return features * np.float32(1 + 1e-3 * spread)

    monkeypatch.setattr(pretrained, "native_formats", lambda device: ("bf16",))
    params = TorchvisionExtractor.Params(model="resnet18", weights="none", image_size=32)
    assert Company(params, IMAGE).resolve(toy_batch(IMAGE)).precision == chosen


def test_without_a_row_to_judge_by_precision_stays_fp32():
    empty = {"image": np.array([None, None], object)}
    assert build(model="resnet18", weights="none", image_size=32).resolve(empty).precision == "fp32"


def test_what_overflows_fp16_stays_finite():
    import torch

    values = to_features(torch.tensor([[float("inf"), -float("inf"), float("nan"), 1.0]], dtype=torch.float16))
    np.testing.assert_array_equal(values, np.array([[65504.0, -65504.0, 0.0, 1.0]], np.float32))

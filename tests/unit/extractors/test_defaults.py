from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from hybrid_ray.extractors import defaults
from hybrid_ray.extractors import weights as hubs
from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.extractors.defaults import IMAGE_WEIGHTS, default_extractors, left_open, model_of
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.testing.encoders import tiny_encoder, tiny_sentence_encoder

load_plugins()
KINDS = {"photo": "image", "title": "text", "price": "numeric", "brand": "categorical", "day": "date", "back": "image"}


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No weights, no packages, no caches, and hubs that do not answer."""
    for name in ("HYBRID_RAY_WEIGHTS", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hubs, "package_roots", lambda: [tmp_path / "packages"])
    (tmp_path / "packages").mkdir()
    return tmp_path


@pytest.fixture
def server():
    """A hub that answers, and the paths it was asked for."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        hubs.reachable.cache_clear()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()
    hubs.reachable.cache_clear()


def names(choices):
    return [choice.name for choice in choices]


def found(choices, name):
    return next(choice for choice in choices if choice.name == name)


def save_mobilenet(path, drop=0):
    import torch
    from safetensors.torch import save_file
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    tensors = mobilenet_v2(weights=None).state_dict()
    for name in list(tensors)[:drop]:
        del tensors[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def test_without_any_weights_the_classical_and_trained_ones_stand_in(bare):
    choices = default_extractors(KINDS, "multiclass")
    assert names(choices) == ["pixels", "cnn", "tfidf", "tabular"]
    assert "no pretrained image network" in choices[0].warning
    assert "no pretrained text encoder" in found(choices, "tfidf").warning
    assert found(choices, "cnn").columns == ("photo", "back")
    assert found(choices, "tabular").columns == ("price", "brand", "day")


def test_random_weights_are_never_a_default(bare):
    for task in ("binary", "multiclass", "regression", "clustering"):
        assert all(choice.params.get("weights") != "none" for choice in default_extractors(KINDS, task))


def test_a_network_is_not_trained_without_labels(bare):
    assert names(default_extractors({"photo": "image"}, "clustering")) == ["pixels"]


def test_every_choice_has_a_reason_and_can_be_built(bare, monkeypatch):
    save_mobilenet(bare / "w" / "mobilenet_v2_made.safetensors")
    tiny_encoder(bare / "w" / "deep" / "tiny")
    for weights in ("", str(bare / "w")):
        monkeypatch.setenv("HYBRID_RAY_WEIGHTS", weights)
        for choice in default_extractors(KINDS, "binary"):
            assert choice.reason
            extractor = build_extractor(choice.name, choice.params, {c: KINDS[c] for c in choice.columns})
            extractor.check()


def test_weights_in_the_folder_come_first(bare, monkeypatch):
    path = save_mobilenet(bare / "w" / "a" / "b" / "mobilenet_v2_made.safetensors")
    tiny_sentence_encoder(bare / "w" / "encoder")
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(bare / "w"))
    choices = default_extractors(KINDS, "multiclass", n_rows=2000)
    assert names(choices) == ["torchvision", "cnn", "transformers", "tfidf", "tabular"]
    expected = {"model": "mobilenet_v2", "weights": str(path.resolve()), "padding": "same"}
    assert found(choices, "torchvision").params == expected  # a fresh network's statistics look folded
    assert found(choices, "transformers").params == {"model": str((bare / "w" / "encoder").resolve())}
    assert not any(choice.warning for choice in choices)


def params_of(name, **given):
    return EXTRACTORS.get(name).Params(**given)


@pytest.mark.parametrize("twin", ["", "tuned_"])
def test_a_named_extractor_gets_the_weights_that_a_default_would(bare, monkeypatch, twin):
    path = save_mobilenet(bare / "w" / "mobilenet_v2_made.safetensors")
    tiny_sentence_encoder(bare / "w" / "encoder")
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(bare / "w"))
    expected = {"model": "mobilenet_v2", "weights": str(path.resolve()), "padding": "same"}
    assert left_open(f"{twin}torchvision", params_of(f"{twin}torchvision")).params == expected
    own = left_open(f"{twin}torchvision", params_of(f"{twin}torchvision", model="mobilenet_v2", padding="torch"))
    assert own.params == {"weights": str(path.resolve())}, "what is set stays"
    assert left_open(f"{twin}transformers", params_of(f"{twin}transformers")).params == {
        "model": str((bare / "w" / "encoder").resolve())
    }


def test_a_named_extractor_keeps_what_it_says(bare, monkeypatch):
    save_mobilenet(bare / "w" / "mobilenet_v2_made.safetensors")
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(bare / "w"))
    assert left_open("torchvision", params_of("torchvision", weights="DEFAULT")) is None
    assert left_open("torchvision", params_of("torchvision", model="resnet18")) is None, "no weights of it are there"
    assert left_open("transformers", params_of("transformers", model="some/encoder")) is None
    assert left_open("pixels", params_of("pixels")) is None


def test_a_file_that_does_not_fit_its_name_is_passed_over(bare, monkeypatch):
    save_mobilenet(bare / "w" / "mobilenet_v2_broken.safetensors", drop=3)
    save_mobilenet(bare / "w" / "resnet18_is_not.safetensors")
    (bare / "w" / "mobilenet_v2.safetensors").write_bytes(b"junk")
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(bare / "w"))
    assert names(default_extractors({"photo": "image"}, "binary")) == ["pixels", "cnn"]


def test_an_installed_package_with_an_encoder_is_used(bare):
    package = bare / "packages" / "some_encoder"
    tiny_sentence_encoder(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('never imported')")
    choice = default_extractors({"title": "text"}, "binary")[0]
    assert choice.params == {"model": "package:some_encoder"}
    extractor = build_extractor("transformers", choice.params, {"title": "text"})
    extractor.setup()
    assert extractor.n_features == 32


def test_the_local_caches_are_looked_into(bare, monkeypatch):
    from huggingface_hub import constants

    cache = bare / "hf" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    repository = cache / "models--BAAI--bge-small-en-v1.5"
    tiny_encoder(repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    checkpoints = bare / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "resnet18-f37072fd.pth").write_bytes(b"x")
    choices = default_extractors({"photo": "image", "title": "text"}, "regression")
    assert names(choices) == ["torchvision", "transformers", "tfidf"]
    assert choices[0].params == {"model": "resnet18", "weights": "IMAGENET1K_V1"}
    assert choices[1].params == {"model": "BAAI/bge-small-en-v1.5"}


def test_hubs_that_answer_come_last_and_are_asked_once(bare, monkeypatch, server):
    address, asked = server
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(defaults, "IMAGE_SERVER", f"{address}/models/")
    for _ in range(2):
        choices = default_extractors({"photo": "image", "title": "text"}, "regression")
        assert found(choices, "torchvision").params == {"model": "mobilenet_v2", "weights": "IMAGENET1K_V2"}
        assert found(choices, "transformers").params == {"model": "sentence-transformers/all-MiniLM-L6-v2"}
    assert asked == ["/models/mobilenet_v2-7ebf99e0.pth", "/"]


@pytest.mark.parametrize(
    ("task", "n_rows", "trained"),
    [("multiclass", 2000, True), ("multiclass", 100, False), ("multiclass", 10**6, False), ("regression", 2000, False)],
)
def test_a_trained_network_beside_pretrained_features_must_be_worth_it(bare, monkeypatch, task, n_rows, trained):
    save_mobilenet(bare / "mobilenet_v2.safetensors")
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(bare))
    choices = default_extractors({"photo": "image"}, task, n_rows)
    assert ("cnn" in names(choices)) is trained


def test_more_rows_get_fewer_epochs(bare):
    epochs = [
        found(default_extractors({"p": "image"}, "binary", n), "cnn").params["epochs"] for n in (100, 3000, 10**6)
    ]
    assert epochs == [30, 20, 8]


def test_the_named_weights_are_torchvisions_own():
    from torchvision.models import get_model_weights

    for model, member, file in IMAGE_WEIGHTS:
        assert get_model_weights(model)[member].url == f"https://download.pytorch.org/models/{file}"


@pytest.mark.parametrize(
    ("stem", "model"),
    [
        ("mobilenet_v2_imagenet_fp16", "mobilenet_v2"),
        ("resnet50-11ad3fa6", "resnet50"),
        ("resnet50", "resnet50"),
        ("resnet501", ""),
        ("vgg16_bn-6c64b313", "vgg16_bn"),
        ("vgg16-397923af", "vgg16"),
        ("my_resnet50", ""),
        ("model", ""),
    ],
)
def test_a_file_is_named_after_its_model(stem, model):
    known = ["mobilenet_v2", "resnet50", "vgg16", "vgg16_bn"]
    assert model_of(stem, known) == model


def test_defaults_on_the_shared_weights_are_sane(bare, monkeypatch, shared_data):
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(shared_data))
    choice = default_extractors({"photo": "image"}, "regression")[0]
    assert choice.name == "torchvision"
    assert choice.params["model"] == "mobilenet_v2"
    assert choice.params["padding"] == "same"
    assert choice.params["weights"].endswith("mobilenet_v2_imagenet_fp16.safetensors")

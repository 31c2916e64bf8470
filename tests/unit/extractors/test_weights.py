import os
import time

import pytest

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors.weights import (
    file_digest,
    files_digest,
    find_file,
    hub_offline,
    is_model_folder,
    model_folders,
    safetensors_header,
    walk,
)


def test_a_digest_is_of_the_content(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"weights")
    b.write_bytes(b"weights")
    assert file_digest(a) == file_digest(b)
    b.write_bytes(b"weightz")
    os.utime(b, ns=(time.time_ns(), time.time_ns() + 10**9))
    assert file_digest(a) != file_digest(b)


def test_a_digest_of_files_knows_their_names(tmp_path):
    for name, data in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(data)
    a, b, c = (tmp_path / name for name in "abc")
    assert files_digest([a, b]) == files_digest([b, a])
    assert files_digest([a, b]) != files_digest([c, b])


def test_files_are_found_by_their_last_parts(tmp_path, monkeypatch):
    deep = tmp_path / "w" / "one" / "two" / "net.safetensors"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"x")
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(tmp_path / "w"))
    assert find_file("net.safetensors") == deep
    assert find_file("two/net.safetensors") == deep
    assert find_file("three/net.safetensors") is None
    assert find_file("et.safetensors") is None
    assert find_file(str(deep)) == deep
    assert find_file("/net.safetensors") is None
    monkeypatch.delenv("HYBRID_RAY_WEIGHTS")
    assert find_file("net.safetensors") is None


def test_a_folder_of_weights_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(BadInputError, match=r"HYBRID_RAY_WEIGHTS: must name a folder that is there; got .*none'"):
        find_file("net.safetensors")


def test_a_walk_is_sorted_shallow_first_and_bounded(tmp_path):
    for path in ("b", "a/z", "a/c/d", ".git/x", "a/1/2/3/4/5/6/7/8/far"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    found = [str(path.relative_to(tmp_path)) for path in walk(tmp_path)]
    assert found == ["b", "a/z", "a/c/d"]


@pytest.mark.parametrize(
    ("files", "whole"),
    [
        (["config.json", "tokenizer.json", "model.safetensors"], True),
        (["config.json", "vocab.txt", "model-00001-of-00002.safetensors"], True),
        (["config.json", "tokenizer.json", "pytorch_model.bin"], False),
        (["config.json", "model.safetensors"], False),
        (["tokenizer.json", "model.safetensors"], False),
        (["modules.json", "0_T/config.json", "0_T/tokenizer.json", "0_T/model.safetensors"], True),
        (["modules.json", "0_T/config.json", "0_T/tokenizer.json"], False),
    ],
)
def test_a_model_folder_has_all_its_parts(tmp_path, files, whole):
    for name in files:
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(b"{}")
    assert is_model_folder(tmp_path / "m") is whole
    assert list(model_folders(tmp_path)) == [tmp_path / "m"] * whole


@pytest.mark.parametrize(
    "data", [b"", b"1234567", b"\x00" * 40, b"\xff" * 40, b'\x08\x00\x00\x00\x00\x00\x00\x00{"a": 1']
)
def test_a_damaged_header_is_refused(tmp_path, data):
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(BadInputError, match="must be a safetensors file; its header is damaged"):
        safetensors_header(tmp_path / "x.safetensors")


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("ON", True), ("0", False), ("", False)])
def test_the_environment_may_forbid_the_hub(monkeypatch, value, offline):
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert hub_offline() is offline

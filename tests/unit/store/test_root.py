import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.errors import StoreError
from hybrid_ray.store.root import StoreRoot, check_name


def test_a_folder_is_made_absolute_where_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = StoreRoot("store")
    assert root.uri == str(tmp_path / "store") == StoreRoot(f"file://{tmp_path}/store").uri
    monkeypatch.chdir("/")
    root.write("a/b", b"1")
    assert (tmp_path / "store" / "a" / "b").read_bytes() == b"1"
    assert root.local_path("a") == tmp_path / "store" / "a"
    assert StoreRoot("memory://x").local_path("a") is None
    assert StoreRoot("memory://x/").uri == "memory://x"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "must be a folder or a URL"),
        ("  ", "must be a folder or a URL"),
        ("s3://", "a bucket or folder must follow s3://"),
        ("nope://x/y", "must be a folder or a URL that fsspec can open"),
        ("simplecache::s3://b/x", "must be one place"),
    ],
)
def test_roots_that_cannot_be(uri, said):
    with pytest.raises(StoreError, match=said):
        StoreRoot(uri)


def test_a_store_below_a_file_is_not_writable(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    root = StoreRoot(str(tmp_path / "file" / "store"))
    for call in (root.check_writable, lambda: root.write("a", b"1"), lambda: root.create("a", b"1"), root.list):
        with pytest.raises(StoreError, match=r"^store .*/file/store: must be a folder .*: Not a directory$"):
            call()
    assert not root.exists("a")


def test_a_read_only_folder_is_said(tmp_path):
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        root, said = StoreRoot(str(tmp_path / "store")), "Permission denied"
    else:  # root may write anywhere but in the kernel's folders
        root, said = StoreRoot("/proc/store"), "No such file or directory|Permission denied"
    with pytest.raises(StoreError, match=said):
        root.check_writable()
    tmp_path.chmod(0o700)


@pytest.mark.slow  # the client tries again and again
def test_an_unreachable_server_is_said_in_one_line(tmp_path):
    code = "from hybrid_ray.store.root import StoreRoot; StoreRoot('s3://bucket/x').check_writable()"
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=os.environ | environment
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("hybrid_ray.errors.StoreError: store s3://bucket/x: must exist and be readable")
    assert "Could not connect" in last


def test_a_folder_keeps_no_empty_folders_and_no_half_files(tmp_path):
    root = StoreRoot(str(tmp_path))
    root.write("a/b/c", b"1")
    root.delete("a/b/c")
    assert list(tmp_path.iterdir()) == []
    root.write("d/e", b"1")
    (tmp_path / "d" / ".tmp-old").write_bytes(b"half")
    os.utime(tmp_path / "d" / ".tmp-old", (1, 1))
    (tmp_path / "d" / ".tmp-new").write_bytes(b"half")
    assert root.list() == ["d/e"]
    assert root.sweep(time.time() - 60) == 1
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == [".tmp-new", "e"]


def test_files_that_others_put_are_seen(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".DS_Store").write_bytes(b"")
    (tmp_path / "a" / "a b").write_bytes(b"")
    assert StoreRoot(str(tmp_path)).list("a") == ["a/.DS_Store", "a/a b"]


def test_a_folder_behind_a_link_is_part_of_the_store(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "features").symlink_to(tmp_path / "disk")
    root = StoreRoot(str(tmp_path / "store"))
    root.write("features/a", b"1")
    assert (tmp_path / "disk" / "a").read_bytes() == b"1"
    assert root.list() == ["features/a"]
    assert root.folders() == ["features"]


@given(st.text(max_size=20))
def test_no_path_leads_out_of_the_store(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "fenced"
    root = StoreRoot(str(folder / "store"))
    try:
        path = root.local_path(text)
    except StoreError:
        return
    assert text == "" or (folder / "store") in path.resolve().parents


@pytest.mark.parametrize("name", ["", "1a", "a/b", "..", "a b", "a" * 65, "a@b", "a:1"])
def test_names_that_cannot_be(name):
    with pytest.raises(StoreError, match="model name: must begin with a letter"):
        check_name(name, "model name")
    assert check_name("Churn_v2.1-x", "model name") == "Churn_v2.1-x"


def test_writers_and_removers_of_one_folder_do_not_hinder_each_other(tmp_path):
    root = StoreRoot(str(tmp_path))
    stop = threading.Event()

    def remove() -> None:
        while not stop.is_set():
            root.delete_many(root.list("a"))

    with ThreadPoolExecutor(2) as pool:
        removers = [pool.submit(remove) for _ in range(2)]
        try:
            for n in range(300):
                root.write(f"a/b/{n}", b"1")
                root.create(f"a/c/{n}", b"1")
        finally:
            stop.set()
        assert [remover.result() for remover in removers] == [None, None]

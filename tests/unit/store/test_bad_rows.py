"""Undecodable rows are known again by what they hold."""

from hybrid_ray.store import bad_rows
from hybrid_ray.store.bad_rows import BadRows
from hybrid_ray.store.root import StoreRoot

FINGERPRINT = "0" * 32


def digest(number):
    return number.to_bytes(16, "big")


def test_rows_come_back_with_their_reasons(tmp_path):
    held = BadRows(StoreRoot(str(tmp_path)), FINGERPRINT)
    assert held.read() == {}
    held.add({digest(1): "image: cannot be decoded"})
    held.add({digest(2): "image: truncated", digest(1): "image: cannot be decoded"})
    held.add({})
    assert held.read() == {digest(1): "image: cannot be decoded", digest(2): "image: truncated"}


def test_extractors_do_not_share_them(tmp_path):
    root = StoreRoot(str(tmp_path))
    BadRows(root, FINGERPRINT).add({digest(1): "broken"})
    assert BadRows(root, "1" * 32).read() == {}


def test_what_is_no_record_is_passed_over(tmp_path):
    root = StoreRoot(str(tmp_path))
    held = BadRows(root, FINGERPRINT)
    held.add({digest(1): "broken"})
    for name, data in {"torn": b'{"00', "list": b"[1]", "short": b'{"00ff": "no digest"}'}.items():
        root.write(f"features/{FINGERPRINT}/bad/{name}.json", data)
    assert held.read() == {digest(1): "broken"}


def test_many_files_become_one(tmp_path, monkeypatch):
    root = StoreRoot(str(tmp_path))
    held = BadRows(root, FINGERPRINT)
    monkeypatch.setattr(bad_rows, "MAX_FILES", 3)
    for number in range(3):
        held.add({digest(number): f"reason {number}"})
    held.compact()
    assert len(root.list("features")) == 3
    held.add({digest(3): "reason 3"})
    held.compact()
    assert len(root.list("features")) == 1
    assert held.read() == {digest(n): f"reason {n}" for n in range(4)}

"""Identity of rows: the same for the same content, another for any other."""

import os

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.identity import FileDigests, row_digests

KINDS = {"a": "text", "b": "categorical", "x": "numeric", "d": "date"}
rows = st.lists(
    st.tuples(
        st.one_of(st.none(), st.text(max_size=5)),
        st.one_of(st.none(), st.text(max_size=5)),
        st.one_of(st.none(), st.floats(allow_infinity=False)),
        st.one_of(st.none(), st.datetimes()),
    ),
    min_size=1,
    max_size=8,
)


def batch_of(listed):
    a, b, x, d = zip(*listed, strict=True)
    table = pa.table({"a": pa.array(a, pa.string()), "b": pa.array(b, pa.string()), "x": pa.array(x, pa.float64()),
                      "d": pa.array(d, pa.timestamp("us"))})  # fmt: skip
    return coerce(table, KINDS).batch


def hexes(batch, kinds=KINDS, files=None):
    return [bytes(row).hex() for row in row_digests(batch, kinds, files)]


def content(batch, i):
    values = [batch[name][i] for name in KINDS]
    return tuple("missing" if v is None or v != v else (0.0 if v == 0 else v) for v in values)


@given(listed=rows)
def test_rows_are_equal_when_their_content_is(listed):
    batch = batch_of(listed)
    found = hexes(batch)
    for i in range(len(listed)):
        for j in range(i):
            assert (found[i] == found[j]) == (content(batch, i) == content(batch, j))


@given(listed=rows, cut=st.integers(0, 8))
def test_a_row_has_one_identity_in_every_batch(listed, cut):
    batch = batch_of(listed)
    parts = [hexes({k: v[s] for k, v in batch.items()}) for s in (slice(None, cut), slice(cut, None))]
    assert hexes(batch) == parts[0] + parts[1]


@given(left=st.text(max_size=6), right=st.text(max_size=6), cut=st.integers(0, 12))
def test_neighbouring_texts_do_not_run_into_one_another(left, right, cut):
    joined = left + right
    one = {"a": np.array([left], object), "b": np.array([right], object)}
    two = {"a": np.array([joined[:cut]], object), "b": np.array([joined[cut:]], object)}
    kinds = {"a": "text", "b": "text"}
    assert (hexes(one, kinds) == hexes(two, kinds)) == ((left, right) == (joined[:cut], joined[cut:]))


def test_it_is_stable_over_versions():
    batch = coerce(
        pa.table({"a": ["ä", None], "b": ["x", "y"], "x": [1.5, None], "d": ["2020-01-01", None], "i": [b"png", None]}),
        {**KINDS, "i": "image"},
    ).batch
    assert hexes(batch, {**KINDS, "i": "image"}) == [
        "3a278b2c881a75cae971caa76b2feedf",
        "31882ddcbedbb9a2155866cc6dac8e48",
    ]


def test_shape_and_empty_batches():
    digests = row_digests(batch_of([("a", "b", 1.0, None)] * 3), KINDS, None)
    assert (digests.shape, digests.dtype) == ((3, 16), np.uint8)
    empty = {name: values[:0] for name, values in batch_of([("a", "b", 1.0, None)]).items()}
    assert row_digests(empty, KINDS, None).shape == (0, 16)


def test_order_of_columns_and_kinds_count_but_names_do_not():
    values = np.array(["v"], object), np.array(["w"], object)
    base = hexes({"a": values[0], "b": values[1]}, {"a": "text", "b": "text"})
    assert hexes({"x": values[0], "y": values[1]}, {"x": "text", "y": "text"}) == base
    assert hexes({"a": values[0], "b": values[1]}, {"b": "text", "a": "text"}) != base
    assert hexes({"a": values[0], "b": values[1]}, {"a": "text", "b": "categorical"}) != base


def test_zeros_and_nans_have_one_identity():
    numbers = np.array([0.0, -0.0, np.nan, -np.nan, np.frombuffer(np.int64(0x7FF8000000000001).tobytes())[0]])
    found = hexes({"x": numbers}, {"x": "numeric"})
    assert found[0] == found[1]
    assert len(set(found[2:])) == 1
    assert np.signbit(numbers[1])


class TestImages:
    def images(self, *values):
        column = np.empty(len(values), object)
        column[:] = values
        return {"i": column}

    def test_bytes_and_files_of_one_content_are_one(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"same")
        (tmp_path / "b.png").write_bytes(b"same")
        fsspec.filesystem("memory").pipe({"/test_identity/c.png": b"same"})
        batch = self.images(b"same", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "memory://test_identity/c.png")
        assert len(set(hexes(batch, {"i": "image"}))) == 1
        assert len(set(hexes(self.images(b"same", b"other", None), {"i": "image"}))) == 3

    def test_a_file_is_read_again_only_when_it_changed(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(b"one")
        os.utime(path, (1, 1))
        files = FileDigests()
        before = hexes(self.images(str(path)), {"i": "image"}, files)
        path.write_bytes(b"two")
        os.utime(path, (1, 1))
        assert hexes(self.images(str(path)), {"i": "image"}, files) == before
        os.utime(path, (2, 2))
        after = hexes(self.images(str(path)), {"i": "image"}, files)
        assert after == hexes(self.images(b"two"), {"i": "image"})
        assert after != before

    def test_by_content_what_is_remembered_is_not_trusted(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(b"one")
        os.utime(path, (1, 1))
        kept = FileDigests()
        kept.digest(str(path))
        path.write_bytes(b"two")
        os.utime(path, (1, 1))
        again = FileDigests.from_bytes(kept.to_bytes(), verify="content")
        assert again.digest(str(path)) != kept.digest(str(path))
        assert FileDigests.from_bytes(kept.to_bytes()).digest(str(path)) == kept.digest(str(path))

    def test_what_is_remembered_travels(self, tmp_path):
        kept = FileDigests()
        for i in range(3):
            (tmp_path / f"{i}.png").write_bytes(bytes([i]))
            kept.digest(str(tmp_path / f"{i}.png"))
        data = kept.to_bytes()
        assert FileDigests.from_bytes(data + b"{broken\n[1]\n").to_bytes() == data
        assert len(FileDigests.from_bytes(data)) == 3

    def test_a_file_that_cannot_be_read_is_known_by_its_name(self, tmp_path):
        path = tmp_path / "late.png"
        files = FileDigests()
        before = hexes(self.images(str(path), str(tmp_path / "other.png")), {"i": "image"}, files)
        assert before[0] != before[1]
        path.write_bytes(b"there")
        assert hexes(self.images(str(path)), {"i": "image"}, files) == hexes(self.images(b"there"), {"i": "image"})


@pytest.mark.parametrize("kind", ["numeric", "text"])
def test_the_batch_is_not_changed(kind):
    values = np.array([1.0, -0.0]) if kind == "numeric" else np.array(["a", None], object)
    before = values.copy()
    row_digests({"c": values}, {"c": kind}, None)
    np.testing.assert_array_equal(values, before)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ray.errors import StoreError
from hybrid_ray.store import index
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.store.index import RowIndex
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

# Few different bytes: digests share first halves, buckets and whole digests all the time.
DIGEST = st.tuples(st.sampled_from([0, 1, 16, 255]), st.sampled_from([0, 255]), st.sampled_from([0, 1, 2, 255])).map(
    lambda v: bytes([v[0], *[v[1]] * 7, *[v[1]] * 7, v[2]])
)


def as_array(digests):
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


def key(n: int) -> str:
    return f"{n:032x}"


@settings(max_examples=60)
@given(
    writes=st.lists(st.lists(st.lists(DIGEST, min_size=1, max_size=12), min_size=1, max_size=3), max_size=4),
    asked=st.lists(DIGEST, max_size=30),
    lost=st.sets(st.integers(0, 11)),
    largest=st.sampled_from([1, 3, 1 << 18]),
)
def test_lookup_is_a_dictionary(writes, asked, lost, largest):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "MAX_SEGMENT_ROWS", largest)
        patch.setattr(index, "MAX_SEGMENTS", 2)
        patch.setattr(index, "FLUSH_ROWS", 10)
        root = StoreRoot("memory://index")
        root.delete_many(root.list())
        rows = RowIndex(root, "i")
        places: dict[bytes, set[tuple[str, int]]] = {}
        number = 0
        for shards in writes:
            entries = []
            for digests in shards:
                entries.append((key(number), as_array(digests)))
                for row, digest in enumerate(digests):
                    places.setdefault(digest, set()).add((key(number), row))
                number += 1
            assert rows.add(iter(entries)) == sum(map(len, shards))
        assert rows.covered() == {key(n) for n in range(number)}
        found = rows.lookup(as_array(asked), {key(n) for n in range(number)})
        for i, digest in enumerate(asked):
            if digest in places:
                assert (found.keys[found.shard[i]], found.row[i]) in places[digest]
            else:
                assert (found.shard[i], found.row[i]) == (-1, -1)
        known = {key(n) for n in range(number) if n not in lost}
        for i, shard in enumerate(rows.lookup(as_array(asked), known).shard):
            assert shard < 0 or found.keys is None or asked[i] in places
        survivors = rows.lookup(as_array(asked), known)
        assert set(survivors.keys) <= known
        assert rows.damaged == 0


def test_a_growing_index_stays_few_files(monkeypatch):
    monkeypatch.setattr(index, "MAX_SEGMENT_ROWS", 256)
    root = StoreRoot("memory://growing")
    rows = RowIndex(root, "i")
    all_digests = np.random.default_rng(0).integers(0, 256, (6000, 16), dtype=np.uint8)
    for n in range(60):
        rows.add([(key(n), all_digests[n * 100 : n * 100 + 100])])
    segments = [path for path in root.list("i") if path.endswith(".safetensors")]
    assert len({path.split("/")[-2] for path in segments}) > 1
    assert len(segments) <= 17 * index.MAX_SEGMENTS
    found = rows.lookup(all_digests, {key(n) for n in range(60)})
    assert found.hit.all()
    np.testing.assert_array_equal(found.row, np.arange(6000) % 100)


def test_a_lookup_reads_only_the_buckets_it_needs(monkeypatch):
    monkeypatch.setattr(index, "MAX_SEGMENT_ROWS", 8)
    root = StoreRoot("memory://buckets")
    rows = RowIndex(root, "i")
    digests = np.random.default_rng(0).integers(0, 256, (100, 16), dtype=np.uint8)
    rows.add([(key(0), digests)])
    for path in root.list("i"):
        if path.endswith(".safetensors") and not path.split("/")[1].startswith("x3"):
            root.write(path, b"never read")
    wanted = digests[digests[:, 0] >> 4 == 3]
    assert len(wanted)
    assert rows.lookup(wanted, {key(0)}).hit.all()
    assert rows.damaged == 0


def test_an_index_merged_meanwhile_is_read_again(monkeypatch):
    monkeypatch.setattr(index, "MAX_SEGMENTS", 100)
    root = StoreRoot("memory://meanwhile")
    rows = RowIndex(root, "i")
    digests = np.random.default_rng(0).integers(0, 256, (60, 16), dtype=np.uint8)
    for n in range(6):
        rows.add([(key(n), digests[n * 10 : n * 10 + 10])])
    known = {key(n) for n in range(6)}
    monkeypatch.setattr(index, "MAX_SEGMENTS", 2)

    class Merging(RowIndex):
        def _read(self, paths):
            if not merged:
                merged.append(True)
                RowIndex(root, "i")._compact()
            return super()._read(paths)

    merged: list[bool] = []
    assert Merging(root, "i").lookup(digests, known).hit.all()
    assert len([path for path in root.list("i") if path.endswith(".safetensors")]) == 1


@pytest.mark.parametrize("fingerprint", ["", "..", "AB" * 16, "ab" * 15, "ab/" + "0" * 29])
def test_fingerprints_that_cannot_be(fingerprint):
    with pytest.raises(StoreError, match="must be 32 hex digits"):
        FeatureCache(StoreRoot("memory://x"), fingerprint)


def test_rows_and_digests_must_fit():
    cache = FeatureCache(StoreRoot("memory://fit"), "ab" * 16)
    block = Block(np.zeros((3, 2), np.float32), np.ones(3, bool))
    with pytest.raises(ValueError, match="must have the same rows"):
        cache.write_shard(key(0), np.zeros((2, 16), np.uint8), block)
    for bad in (np.zeros((3, 8), np.uint8), np.zeros(16, np.uint8)):
        with pytest.raises(ValueError, match=r"must be uint8 \(n, 16\)"):
            cache.shard_key(bad)
        with pytest.raises(ValueError, match=r"must be uint8 \(n, 16\)"):
            cache.lookup(bad, set())


def test_an_empty_shard_and_an_empty_lookup():
    cache = FeatureCache(StoreRoot("memory://empty"), "ab" * 16)
    none = np.zeros((0, 16), np.uint8)
    cache.write_shard(cache.shard_key(none), none, Block(np.zeros((0, 4), np.float32), np.zeros(0, bool)))
    assert cache.read_shard(cache.shard_key(none)).values.shape == (0, 4)
    assert cache.write_index([(cache.shard_key(none), none)]) == 0
    found = cache.lookup(none)
    block, there = cache.read_rows(found)
    assert (block.values.shape, there.shape) == ((0, 0), (0,))


def test_keys_tell_order_and_extractor():
    root = StoreRoot("memory://keys")
    rows = np.random.default_rng(0).integers(0, 256, (4, 16), dtype=np.uint8)
    cache = FeatureCache(root, "ab" * 16)
    keys = {cache.shard_key(rows), cache.shard_key(rows[::-1]), cache.shard_key(rows[:3])}
    keys.add(FeatureCache(root, "cd" * 16).shard_key(rows))
    assert len(keys) == 4


@given(
    values=st.lists(st.floats(width=32, allow_nan=False), min_size=4, max_size=4),
    bit=st.integers(0, 31),
    at=st.integers(0, 3),
)
def test_any_flipped_bit_of_a_row_is_seen(values, bit, at):
    from hybrid_ray.store.features import _row_checks

    good = np.array([values], np.float32)
    bad = good.copy()
    bad.view(np.uint32)[0, at] ^= np.uint32(1 << bit)
    present = np.ones(1, bool)
    assert _row_checks(Block(good, present)) != _row_checks(Block(bad, present))
    assert _row_checks(Block(good, present)) != _row_checks(Block(good, ~present))
    assert _row_checks(Block(np.zeros((1, 4), np.float32), ~present)) != 0

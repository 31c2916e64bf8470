"""Which rows are computed, and how they are put into units: pure, no cluster."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.digests import digest_bytes
from hybrid_ray.on_ray.dataset import Shard
from hybrid_ray.on_ray.extractor_worker import Unit, Units
from hybrid_ray.on_ray.identities import Part, Reject, part_bad, shard_digests
from hybrid_ray.on_ray.resolve import decide, shard_rows_of
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

FINGERPRINT = "a" * 32


def digests_of(values):
    joined = b"".join(bytes.fromhex(digest_bytes(str(value).encode())) for value in values)
    return np.frombuffer(joined, np.uint8).reshape(-1, 16)


def part_of(shards, wrong=()):
    """Identities of consecutive shards; ``wrong``: (shard, row, column, reason)."""
    starts = np.cumsum([0] + [len(s) for s in shards])
    rows = []
    for number, values in enumerate(shards):
        errors = [[row, column, reason] for shard, row, column, reason in wrong if shard == number]
        bits = np.zeros(len(values), bool)
        bits[[row for row, _, _ in errors]] = True
        rows.append(
            {
                "shard": number,
                "start": int(starts[number]),
                "rows": len(values),
                "key": f"{number:032x}",
                "digests": digests_of(values).tobytes(),
                "wrong": np.packbits(bits).tobytes() if errors else b"",
                "errors": str(errors).replace("'", '"'),
            }
        )
    schema = pa.schema(
        [
            *((name, pa.int64()) for name in ("shard", "start", "rows")),
            ("key", pa.string()),
            ("digests", pa.large_binary()),
            ("wrong", pa.large_binary()),
            ("errors", pa.string()),
        ]
    )
    return pa.Table.from_pylist(rows, schema)


shard_lists = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), min_size=1, max_size=6)


@given(shards=shard_lists, data=st.data(), size=st.integers(1, 15), split=st.booleans())
def test_units_hold_exactly_the_rows_asked_for(shards, data, size, split):
    table = part_of(shards)
    part = Part(table, far=False)
    todo = {}
    for number, values in enumerate(shards):
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))), bool)
        if mask.any():
            todo[number] = None if mask.all() else mask
    transform = Units(todo, dict.fromkeys(todo, part), size, split)
    reads = (Shard(i, 0, pa.table({"value": values})) for i, values in enumerate(shards))
    units = list(transform.units(reads))

    wanted = [
        v for number, mask in todo.items() for v in np.array(shards[number])[slice(None) if mask is None else mask]
    ]
    found = [v for unit in units for v in unit.table["value"].to_pylist()]
    assert sorted(found) == sorted(wanted)
    for unit in units:
        np.testing.assert_array_equal(unit.digests, digests_of(unit.table["value"].to_pylist()))
    whole = {tuple(shards[number]) for number, mask in todo.items() if mask is None} if not split else set()
    gathered = [unit for unit in units if tuple(unit.table["value"].to_pylist()) not in whole]
    assert all(len(unit.digests) <= size for unit in gathered)
    if split:
        assert all(len(unit.digests) == size for unit in units[:-1])
    else:
        assert all(
            shards[number] in [u.table["value"].to_pylist() for u in units] for number, m in todo.items() if m is None
        )


def test_a_packed_unit_comes_back():
    table = pa.table({"text": ["a", None, "c"], "image": pa.array([b"\x00\x01", b"", None], pa.large_binary())})
    unit = Unit(digests_of([1, 2, 3]), table)
    packed = pa.concat_tables([unit.pack(), unit.pack()])
    assert packed.num_rows == 2
    for back in Unit.unpack(packed):
        assert back.table.equals(table)
        np.testing.assert_array_equal(back.digests, unit.digests)


@given(cached=st.lists(st.integers(0, 15), max_size=12), values=st.lists(st.integers(0, 20), min_size=1, max_size=40))
def test_of_equal_rows_the_first_is_computed_unless_the_cache_has_it(cached, values):
    cache = FeatureCache(StoreRoot("memory://decide"), FINGERPRINT)
    for path in cache.root.list():
        cache.root.delete(path)
    if cached:
        digests = digests_of(cached)
        block = Block(np.zeros((len(cached), 2), np.float32), np.ones(len(cached), bool))
        cache.write_shard(cache.shard_key(digests), digests, block)
        cache.repair_index()
    rows = np.arange(100, 100 + len(values))
    answer = decide(cache, cache.known_shards(), digests_of(values), rows)

    expected, seen = [], set()
    for row, value in zip(rows, values, strict=True):
        if value not in cached and value not in seen:
            expected.append(row)
        seen.add(value)
    assert answer.rows.tolist() == expected
    assert answer.cached == sum(value in cached for value in values)
    assert answer.deduplicated == len(values) - answer.cached - len(expected)


def test_rows_of_some_shards_keep_their_global_numbers():
    table = part_of([[1, 2, 3], [4, 5], [6]])
    digests, rows = shard_rows_of(table, {0, 2})
    assert rows.tolist() == [0, 1, 2, 5]
    np.testing.assert_array_equal(digests, digests_of([1, 2, 3, 6]))
    assert list(shard_digests(table)) == [0, 1, 2]


def test_bad_rows_are_the_wrong_and_the_undecodable_each_counted_once():
    wrong = [(0, 1, "age", "not a number"), (1, 0, "age", "not a number"), (1, 0, "day", "not a date")]
    table = part_of([[1, 2, 3], [4, 5], [6]], wrong)
    reasons = {digests_of([5])[0].tobytes(): "cannot be decoded", digests_of([4])[0].tobytes(): "truncated"}
    bad = part_bad(table, reasons, "image")
    assert bad.rows == 3
    assert bad.rejects == [
        Reject(1, "age", "not a number"),
        Reject(3, "age", "not a number"),
        Reject(3, "day", "not a date"),
        Reject(3, "image", "truncated"),
        Reject(4, "image", "cannot be decoded"),
    ]
    assert part_bad(part_of([[1], [2]]), {}, "image") == (0, [])

"""What a store promises on every kind of root: a folder, memory://, and S3."""

import json
import os
import pickle
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import boto3
import numpy as np
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer

from hybrid_ray.errors import ArtifactError, StoreError
from hybrid_ray.store import inputs
from hybrid_ray.store.artifact import load_graph, save_graph
from hybrid_ray.store.chain import read_chain
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.store.golden import make_golden
from hybrid_ray.store.ledger import FitRecord, Ledger
from hybrid_ray.store.memos import Memos
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.records import Journal
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore
from hybrid_ray.store.trained import TrainedCache
from hybrid_ray.store.usage import gc, usage
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows
from hybrid_ray.types import Block, State

FINGERPRINT = "ab" * 16


class Gate:
    """Stands before the S3 server: one request at a time, and faults on demand.

    S3 decides a conditional put atomically; moto looks first and puts then, which threads may come between.
    """

    def __init__(self, app: Callable) -> None:
        self.app = app
        self.lock = threading.Lock()
        self.faults: list[str] = []

    def __call__(self, environ, start_response):
        with self.lock:
            fault = self.faults.pop(0) if self.faults else ""
            if fault == "busy":
                start_response("503 Slow Down", [("Content-Type", "application/xml")])
                return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]
            answer = list(self.app(environ, start_response if fault != "lost" else lambda *_: None))
            if fault == "lost":  # the request was carried out, its answer never arrives
                start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
                return [b"<Error><Code>InternalError</Code><Message>We encountered an error.</Message></Error>"]
            return answer


@pytest.fixture(scope="session")
def s3():
    """A local S3 server with the bucket ``bucket``; the environment leads to it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    gate = server._server.app = Gate(server._server.app)
    host, port = server.get_host_and_port()
    mine = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in mine}
    os.environ.update(mine)
    boto3.client("s3").create_bucket(Bucket="bucket")
    yield gate
    server.stop()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


LONG_ON_S3 = [
    "test_one_changed_byte_in_any_file_is_refused",
    "test_index_writers_side_by_side_lose_nothing",
    "test_aliases_go_back_and_versions_go",
    "test_registering_at_once_loses_no_version",
]
"""These make so many requests that with the S3 server they are for the slow tier."""


def pytest_generate_tests(metafunc):
    stores = {"root": ["folder", "memory", "s3"], "shared_root": ["folder", "s3"]}
    for name in stores.keys() & set(metafunc.fixturenames):
        long = metafunc.function.__name__ in LONG_ON_S3
        marked = [pytest.param(s, marks=pytest.mark.slow if long and s == "s3" else []) for s in stores[name]]
        metafunc.parametrize(name, marked, indirect=True)


@pytest.fixture
def root(request, tmp_path):
    if request.param == "folder":
        return StoreRoot(str(tmp_path / "store"))
    if request.param == "memory":
        return StoreRoot(f"memory://{uuid.uuid4().hex}")
    request.getfixturevalue("s3")
    return StoreRoot(f"s3://bucket/{uuid.uuid4().hex}")


@pytest.fixture
def shared_root(request, tmp_path):
    """A root that other processes reach too."""
    if request.param == "folder":
        return StoreRoot(str(tmp_path / "store"))
    request.getfixturevalue("s3")
    return StoreRoot(f"s3://bucket/{uuid.uuid4().hex}")


class CrashingRoot(StoreRoot):
    """The process dies when it is about to put a path that ends so."""

    def __init__(self, uri: str, at: str) -> None:
        super().__init__(uri)
        self.at = at

    def write(self, path, data):
        if path.endswith(self.at):
            raise KeyboardInterrupt
        super().write(path, data)


@pytest.fixture(scope="module")
def graph():
    return toy_graph()


@pytest.fixture(scope="module")
def golden(graph):
    return make_golden(graph, pa.Table.from_pylist(list(toy_rows(20, 5))))


def digests(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16), dtype=np.uint8)


def block(seed: int, n: int, d: int = 3) -> Block:
    rng = np.random.default_rng(seed)
    return Block(rng.normal(size=(n, d)).astype(np.float32), rng.random(n) < 0.9)


def flip(root: StoreRoot, path: str, at: int = -1) -> None:
    """Change one byte of a file."""
    data = bytearray(root.read(path))
    data[at] ^= 1
    root.write(path, bytes(data))


def together(n: int, work: Callable[[int], object]) -> list:
    """Do the same in n threads that start at once; the answers."""
    start = threading.Barrier(n)

    def run(i: int) -> object:
        start.wait()
        return work(i)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(run, range(n)))


# Root


def test_files_are_put_read_listed_and_removed(root):
    assert root.list() == []
    with pytest.raises(FileNotFoundError):
        root.read("a/1/x")
    with pytest.raises(FileNotFoundError):
        root.size("a/1/x")
    root.write("a/1/x", b"old")
    root.write("a/1/x", b"one")
    root.write_many({"a/10/x": b"ten", "b/y": b""})
    assert root.read("a/1/x") == b"one"
    assert (root.size("a/10/x"), root.size("b/y")) == (3, 0)
    assert root.list() == ["a/1/x", "a/10/x", "b/y"]
    assert root.list("a/1") == ["a/1/x"]
    assert root.list("a/1/x") == root.list("nowhere") == []
    assert root.folders("a") == ["1", "10"]
    assert root.folders("nowhere") == []
    assert root.exists("a/1/x")
    assert not root.exists("a/1")
    assert root.read_many(["a/10/x", "a/2/x", "b/y"]) == {"a/10/x": b"ten", "b/y": b""}
    assert root.read_many([]) == {}
    assert root.read_ranges([("a/10/x", 1, 9), ("a/2/x", 0, 2), ("a/1/x", 0, 2)]) == [b"en", None, b"on"]
    assert root.read_ranges([]) == []
    root.delete("a/1/x")
    root.delete("a/1/x")
    root.delete_many(["b/y", "nowhere/z"])
    assert root.list() == ["a/10/x"]
    assert abs(root.entries()[0].modified - time.time()) < 60


def test_a_root_travels_to_another_process(root):
    root.write("a", b"1")
    copy = pickle.loads(pickle.dumps(root))
    assert copy == root
    assert copy.read("a") == b"1"


def test_a_writable_store_says_nothing_and_keeps_nothing(root):
    root.check_writable()
    assert root.list() == []


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "a/.tmp-1", "a\\b", "a b", "ü", "a" * 600]
)
def test_paths_that_could_lead_elsewhere_are_refused(root, path):
    for call in (root.read, root.delete, root.exists, lambda p: root.write(p, b""), lambda p: root.create(p, b"")):
        with pytest.raises(StoreError, match="store path: must be relative"):
            call(path)


def test_of_many_creators_one_wins(root):
    for round_ in range(5):
        wins = together(8, lambda i, r=round_: root.create(f"k/{r}", str(i).encode()))
        assert sum(wins) == 1
        assert root.read(f"k/{round_}") == str(wins.index(True)).encode()


def test_a_reader_never_sees_half_a_file(root):
    sizes = (300_000, 200_000)
    contents = [bytes([65 + i]) * n for i, n in enumerate(sizes)]
    root.write("big", contents[0])
    stop = threading.Event()

    def write() -> None:
        for i in range(30):
            root.write("big", contents[i % 2])
        stop.set()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(write)
        seen = {root.read("big") for _ in iter(stop.is_set, True)} | {root.read("big")}
        done.result()
    assert seen <= set(contents)


def test_journal_numbers_are_taken_once_by_threads(root):
    def add(i: int) -> list[int]:
        journal = Journal(root, "journal")
        return [journal.append({"writer_no": i, "n": n}) for n in range(4)]

    taken = together(4, add)
    records = Journal(root, "journal").records()
    assert sorted(records) == list(range(1, 17)) == sorted(n for numbers in taken for n in numbers)
    for i, numbers in enumerate(taken):
        assert numbers == sorted(numbers)
        assert [(records[n]["writer_no"], records[n]["n"]) for n in numbers] == [(i, n) for n in range(4)]
    assert Journal(root, "journal").last() == (16, records[16])


def test_journal_numbers_are_taken_once_by_processes(shared_root):
    code = (
        "import sys\nfrom hybrid_ray.store.records import Journal\nfrom hybrid_ray.store.root import StoreRoot\n"
        "journal = Journal(StoreRoot(sys.argv[1]), 'j')\n"
        "print(*[journal.append({'who': sys.argv[2]}) for _ in range(10)])"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, shared_root.uri, str(i)], stdout=subprocess.PIPE, text=True)
        for i in range(3)
    ]
    taken = [[int(n) for n in process.communicate(timeout=120)[0].split()] for process in processes]
    records = Journal(shared_root, "j").records()
    assert sorted(n for numbers in taken for n in numbers) == list(range(1, 31)) == sorted(records)
    for i, numbers in enumerate(taken):
        assert {records[n]["who"] for n in numbers} == {str(i)}


def test_a_torn_record_is_ignored(root):
    journal = Journal(root, "j")
    journal.append({"a": 1})
    root.write(journal.path(2), b'{"a": ')
    assert sorted(journal.records()) == [1]
    assert journal.append({"a": 3}) == 3


# S3 only


def test_s3_that_is_busy_is_asked_again(s3):
    root = StoreRoot(f"s3://bucket/{uuid.uuid4().hex}")
    root.write("a", b"1")
    s3.faults[:] = ["busy"] * 3
    assert root.read("a") == b"1"
    s3.faults[:] = ["busy"] * 2
    root.write("b", b"2")
    assert root.list() == ["a", "b"]
    assert s3.faults == []


def test_a_create_whose_answer_was_lost_is_known_again(s3):
    root = StoreRoot(f"s3://bucket/{uuid.uuid4().hex}")
    s3.faults[:] = ["lost"]
    assert root.create("k", b"mine")
    assert not root.create("k", b"theirs")
    s3.faults[:] = ["lost"]
    assert Journal(root, "j").append({"a": 1}) == 1
    assert list(Journal(root, "j").records()) == [1]


def test_a_missing_bucket_is_said_in_one_line(s3):
    root = StoreRoot("s3://no-such-bucket/store")
    for call in (root.check_writable, root.list, lambda: root.write("a", b"")):
        with pytest.raises(StoreError, match=r"^store s3://no-such-bucket/store: must exist .*bucket does not exist$"):
            call()


# Features


def test_shards_come_back_as_they_were_written(root):
    cache = FeatureCache(root, FINGERPRINT)
    rows = digests(0, 50)
    key = cache.shard_key(rows)
    assert cache.known_shards() == set()
    assert cache.read_shard(key) is None
    cache.write_shard(key, rows, block(0, 50))
    assert cache.known_shards() == {key}
    again = pickle.loads(pickle.dumps(cache)).read_shard(key)
    np.testing.assert_array_equal(again.values, block(0, 50).values)
    np.testing.assert_array_equal(again.present, block(0, 50).present)
    assert cache.damaged == 1


def test_rows_are_found_in_whatever_shard_they_lie(root):
    cache = FeatureCache(root, FINGERPRINT)
    shards = {cache.shard_key(digests(i, 40)): i for i in range(6)}
    for key, i in shards.items():
        cache.write_shard(key, digests(i, 40), block(i, 40))
    assert cache.write_index((key, digests(i, 40)) for key, i in shards.items()) == 240
    order = np.random.default_rng(9).permutation(250)
    rows = np.concatenate([*(digests(i, 40) for i in range(6)), digests(99, 10)])[order]
    found = cache.lookup(rows)
    np.testing.assert_array_equal(found.hit, order < 240)
    features, there = cache.read_rows(found)
    np.testing.assert_array_equal(there, order < 240)
    expected = np.concatenate([block(i, 40).values for i in range(6)])
    np.testing.assert_array_equal(features.values[there], expected[order[there]])
    assert not features.values[~there].any()
    assert cache.damaged == 0


@pytest.mark.parametrize("harm", ["lost", "torn", "flipped"])
def test_a_damaged_shard_is_a_miss(root, harm):
    cache = FeatureCache(root, FINGERPRINT)
    for i in (0, 1):
        cache.write_shard(cache.shard_key(digests(i, 20)), digests(i, 20), block(i, 20))
    keys = [cache.shard_key(digests(i, 20)) for i in (0, 1)]
    cache.write_index((key, digests(i, 20)) for i, key in enumerate(keys))
    path = f"features/{FINGERPRINT}/shards/{keys[0]}.safetensors"
    found = cache.lookup(np.concatenate([digests(0, 20), digests(1, 20)]))
    data = root.read(path)
    if harm == "lost":
        root.delete(path)
    elif harm == "torn":
        root.write(path, data[: len(data) // 2])
    else:
        bytes_of_first_value = block(0, 20).values[0, 0].tobytes()
        flip(root, path, data.index(bytes_of_first_value))
    assert cache.read_shard(keys[0]) is None
    assert cache.damaged == 1
    _, there = cache.read_rows(found)
    assert there[20:].all()
    assert there[:20].sum() == (19 if harm == "flipped" else 0)
    assert cache.damaged == 2
    if harm == "lost":
        assert not cache.lookup(digests(0, 20)).hit.any()


def test_a_run_killed_before_its_index_loses_nothing(root):
    cache = FeatureCache(root, FINGERPRINT)
    for i in (0, 1):
        cache.write_shard(cache.shard_key(digests(i, 20)), digests(i, 20), block(i, 20))
    cache.write_index([(cache.shard_key(digests(0, 20)), digests(0, 20))])
    assert not cache.lookup(digests(1, 20)).hit.any()
    root.write(f"features/{FINGERPRINT}/shards/{'0' * 32}.safetensors", b"torn")
    assert cache.repair_index() == 20
    assert cache.damaged == 1
    assert cache.lookup(digests(1, 20)).hit.all()
    assert cache.repair_index() == 0


def test_index_writers_side_by_side_lose_nothing(root, monkeypatch):
    monkeypatch.setattr("hybrid_ray.store.index.MAX_SEGMENTS", 3)
    monkeypatch.setattr("hybrid_ray.store.index.MAX_SEGMENT_ROWS", 64)
    keys = {i: FeatureCache(root, FINGERPRINT).shard_key(digests(i, 30)) for i in range(16)}

    def write(thread: int) -> None:
        cache = FeatureCache(root, FINGERPRINT)
        for i in range(thread * 4, thread * 4 + 4):
            cache.write_shard(keys[i], digests(i, 30), block(i, 30))
            cache.write_index([(keys[i], digests(i, 30))])

    together(4, write)
    cache = FeatureCache(root, FINGERPRINT)
    found = cache.lookup(np.concatenate([digests(i, 30) for i in range(16)]))
    assert found.hit.all()
    assert [found.keys[n] for n in found.shard[::30]] == [keys[i] for i in range(16)]
    assert cache.damaged == 0


def test_a_damaged_index_segment_is_a_miss(root):
    cache = FeatureCache(root, FINGERPRINT)
    cache.write_shard(cache.shard_key(digests(0, 20)), digests(0, 20), block(0, 20))
    cache.write_index([(cache.shard_key(digests(0, 20)), digests(0, 20))])
    (segment,) = root.list(f"features/{FINGERPRINT}/index/x")
    flip(root, segment)
    assert not cache.lookup(digests(0, 20)).hit.any()
    assert cache.damaged == 1


# Ledger and trained extractors


def record(key: str, fold: int = 0) -> FitRecord:
    return FitRecord(key, {"blocks": ["a"]}, fold, 0.5, 1.25, 10)


def test_the_ledger_gives_back_what_was_put(root, graph):
    ledger = pickle.loads(pickle.dumps(Ledger(root, "run")))
    assert ledger.get("k0") is None
    assert ledger.records() == {}
    oofs = {f"k{i}": np.random.default_rng(i).random((10, 2)) for i in range(30)}
    for i, (key, oof) in enumerate(oofs.items()):
        ledger.put(record(key, i), oof)
    records = ledger.records()
    assert {key: r.fold for key, r in records.items()} == {f"k{i}": i for i in range(30)}
    assert records["k3"] == ledger.get("k3")
    assert replace(records["k3"], oof="") == record("k3", 3)
    for key, oof in oofs.items():
        np.testing.assert_array_equal(ledger.oof(key), oof)
    assert Ledger(root, "other").records() == {}

    chain = graph.members[-1].chains[0]
    kept = ledger.put(record("bagged"), oofs["k0"], chain)
    again = read_chain(root, kept.chain)
    blocks = graph.extract(toy_batch(list(toy_rows(9, 7))))
    np.testing.assert_array_equal(again.predict(blocks), chain.predict(blocks))
    assert ledger.get("bagged") == kept


def test_a_fit_without_its_record_was_never_done(root, graph):
    ledger = Ledger(CrashingRoot(root.uri, at="fits/k.json"), "run")
    with pytest.raises(KeyboardInterrupt):
        ledger.put(record("k"), np.zeros((10, 2)), graph.members[0].chains[0])
    ledger = Ledger(root, "run")
    assert len(root.list("runs/run/oof")) == 1
    assert ledger.get("k") is None
    assert ledger.records() == {}
    with pytest.raises(KeyError):
        ledger.oof("k")


@pytest.mark.parametrize("torn", [b"", b'{"key": "k"', b'{"key": "k"}', b'{"key": "other"}', b"[]", b"\xff\xfe"])
def test_a_torn_fit_record_is_ignored(root, torn):
    ledger = Ledger(root, "run")
    ledger.put(record("good"), np.zeros((10, 2)))
    root.write("runs/run/fits/k.json", torn)
    assert ledger.get("k") is None
    assert list(ledger.records()) == ["good"]


@pytest.mark.parametrize("harm", ["lost", "flipped"])
def test_lost_predictions_are_made_again(root, harm):
    ledger = Ledger(root, "run")
    path = ledger.put(record("k"), np.zeros((10, 2))).oof
    if harm == "lost":
        root.delete(path)
    else:
        flip(root, path)
    with pytest.raises(StoreError, match="Run the same command again"):
        ledger.oof("k")
    assert ledger.get("k") is None


def trained() -> tuple[State, Block]:
    state = State(meta={"classes": 3}, tensors={"w": np.arange(6.0).reshape(2, 3).T}, blobs={"net.json": b"{}"})
    return state, block(0, 12)


def test_trained_extractors_come_back(root):
    cache = pickle.loads(pickle.dumps(TrainedCache(root)))
    key = cache.key({"rows": "a", "fold": 1})
    assert key == cache.key({"fold": 1, "rows": "a"}) != cache.key({"fold": 2, "rows": "a"})
    assert cache.get(key) is None
    cache.put(key, *trained())
    cache.put(key, *trained())
    state, features = cache.get(key)
    assert (state.meta, state.blobs) == ({"classes": 3}, {"net.json": b"{}"})
    np.testing.assert_array_equal(state.tensors["w"], trained()[0].tensors["w"])
    np.testing.assert_array_equal(features.values, block(0, 12).values)


def test_a_trained_extractor_that_is_not_whole_is_a_miss(root):
    with pytest.raises(KeyboardInterrupt):
        TrainedCache(CrashingRoot(root.uri, at="manifest.json")).put("k", *trained())
    cache = TrainedCache(root)
    assert root.list("trained/k")
    assert cache.get("k") is None
    cache.put("k", *trained())
    for path in root.list("trained/k"):
        data = root.read(path)
        flip(root, path, len(data) // 2)
        got = cache.get("k")
        assert got is None or path.endswith("manifest.json"), path
        root.delete(path)
        assert cache.get("k") is None, path
        root.write(path, data)
    assert cache.get("k") is not None


# Artifacts and models


def test_a_graph_answers_as_it_did(root, graph, golden):
    manifest = save_graph(root, "somewhere/toy", graph, golden)
    assert set(root.list()) == {f"somewhere/toy/{path}" for path in (*manifest["files"], "manifest.json")}
    loaded = load_graph(root, "somewhere/toy")
    batch = toy_batch(list(toy_rows(15, 8)))
    np.testing.assert_array_equal(loaded.outputs(batch), graph.outputs(batch))
    assert (loaded.name, loaded.columns, loaded.classes) == (graph.name, graph.columns, graph.classes)
    assert loaded.info["golden_check"] == "passed"
    outside = load_graph(f"{root.uri}/somewhere/toy")
    np.testing.assert_array_equal(outside.outputs(batch), graph.outputs(batch))
    with pytest.raises(StoreError, match="must be empty"):
        save_graph(root, "somewhere/toy", graph, golden)


def test_a_graph_without_its_manifest_is_none(root, graph, golden):
    with pytest.raises(KeyboardInterrupt):
        save_graph(CrashingRoot(root.uri, at="manifest.json"), "toy", graph, golden)
    assert root.list("toy")
    with pytest.raises(ArtifactError, match=r"holds no manifest\.json"):
        load_graph(root, "toy")


def test_one_changed_byte_in_any_file_is_refused(root, graph, golden):
    save_graph(root, "toy", graph, golden)
    paths = root.list("toy")
    if root.uri.startswith("s3"):  # the same code; requests to the local server are slow
        paths = [path for path in paths if path.startswith(("toy/manifest", "toy/golden", "toy/members/3"))]
    for path in paths:
        data = root.read(path)
        for at in (0, len(data) // 2, len(data) - 1):
            flip(root, path, at)
            with pytest.raises(
                ArtifactError, match="manifest.json: must" if "manifest" in path else f"{path}: must be as"
            ):
                load_graph(root, "toy")
            with pytest.raises(ArtifactError):
                load_graph(root, "toy", check=False)
            root.write(path, data)
    load_graph(root, "toy")


def test_files_of_their_own_accord_and_lost_files_are_refused(root, graph, golden):
    save_graph(root, "toy", graph, golden)
    for extra in ("toy/model.pkl", "toy/members/0/0/model/hook.json", "toy/decision/weights.bin"):
        root.write(extra, pickle.dumps({"a": 1}))
        with pytest.raises(ArtifactError, match=f"must hold only the files that its manifest names; got .*{extra}"):
            load_graph(root, "toy")
        root.delete(extra)
    root.delete("toy/decision/state.json")
    with pytest.raises(ArtifactError, match=r"toy/decision/state\.json: must be there"):
        load_graph(root, "toy")


def test_registering_at_once_loses_no_version(root, graph, golden):
    registered = together(4, lambda i: ModelStore(root).register(graph, golden, {"writer": i}))
    assert sorted(v.version for v in registered) == [1, 2, 3, 4]
    versions = ModelStore(root).list("toy")
    assert [v.version for v in versions] == [1, 2, 3, 4]
    assert {v.version: v.info["writer"] for v in versions} == {v.version: v.info["writer"] for v in registered}
    assert len({v.prefix for v in versions}) == 4
    for version in versions:
        ModelStore(root).verify(version.ref)


def test_an_alias_moves_for_one_of_two_writers(root, graph):
    models = ModelStore(root)
    for _ in range(3):
        models.register(graph, None)
    assert models.resolve("toy").version == 3
    moved = together(3, lambda i: ModelStore(root).swap_alias("toy", "champion", i + 1, expected=None))
    assert sum(moved) == 1
    champion = moved.index(True) + 1
    assert models.resolve("toy").version == models.resolve("toy@champion").version == champion
    assert not models.swap_alias("toy", "champion", 2, expected=None)
    other = champion % 3 + 1
    assert models.swap_alias("toy", "champion", other, expected=champion)
    together(4, lambda i: ModelStore(root).set_alias("toy", f"a{i % 2}", i % 3 + 1))
    assert set(models.aliases("toy")) == {"champion", "a0", "a1"}


def test_a_version_killed_while_it_was_saved_is_none(root, graph, golden):
    with pytest.raises(KeyboardInterrupt):
        ModelStore(CrashingRoot(root.uri, at="manifest.json")).register(graph, golden)
    models = ModelStore(root)
    assert list(models.list()) == []
    assert usage(root)["models"]["files"] > 0
    assert models.register(graph, golden).version == 1
    removed = gc(root, min_age_s=-1)["removed"]["models"]["files"]
    assert removed == usage(root)["models"]["files"] - 2
    assert models.verify("toy:1")["golden_rows"] == 8


def test_a_replaced_artifact_is_not_the_registered_one(root, graph, golden):
    models = ModelStore(root)
    first, second = models.register(graph, golden), models.register(replace(graph, classes=["c", "b", "a"]), golden)
    root.write(f"{first.prefix}/manifest.json", root.read(f"{second.prefix}/manifest.json"))
    with pytest.raises(ArtifactError, match="must be the artifact registered as toy:1"):
        models.load("toy:1")


def test_aliases_go_back_and_versions_go(root, graph):
    models = ModelStore(root)
    for _ in range(4):
        models.register(graph, None, {"metric": "log_loss", "oof": 0.25})
    for version in (1, 2, 3):
        models.set_alias("toy", "champion", version)
    assert models.rollback("toy") == 2
    assert models.rollback("toy") == 1
    with pytest.raises(StoreError, match="must have pointed at another version before"):
        models.rollback("toy")
    models.set_alias("toy", "champion", 4)
    models.set_alias("toy", "champion", 2)
    models.delete("toy", 4)
    with pytest.raises(StoreError, match="no alias may point at what is deleted"):
        models.delete("toy", 2)
    assert models.rollback("toy") == 1
    assert [v.version for v in models.list()] == [1, 2, 3]
    assert models.register(graph, None).version == 5
    with pytest.raises(StoreError, match="version 4 must be there"):
        models.resolve("toy:4")
    with pytest.raises(StoreError, match="version 4 must be there"):
        models.set_alias("toy", "champion", 4)
    lines = models.summary()
    assert [(m["version"], m["aliases"], m["score"]) for m in lines][:2] == [(1, ["champion"], 0.25), (2, [], 0.25)]
    json.dumps(lines)


# Runs, usage, gc


def test_runs_begin_once_and_end(root):
    runs = RunStore(root)
    run_id = runs.run_id({"name": "a"}, "data", 0, "0.1")
    assert run_id == runs.run_id({"name": "a"}, "data", 0, "0.1") != runs.run_id({"name": "a"}, "data", 1, "0.1")
    assert list(runs.list()) == []
    with pytest.raises(StoreError, match="must be in"):
        runs.get(run_id)
    began = together(4, lambda i: RunStore(root).begin(run_id, {"name": "a", "who": i}))
    assert sum(began) == 1
    assert runs.get(run_id)["record"]["who"] == began.index(True)
    assert runs.get(run_id)["status"] == "unfinished"
    assert runs.result(run_id) is None
    fresh = together(4, lambda i: RunStore(root).fresh_id(run_id))
    assert sorted(fresh) == [f"{run_id}-{n}" for n in (2, 3, 4, 5)]
    runs.begin(fresh[0], {"name": "a"})
    runs.finish(run_id, {"model": "toy", "version": 1, "members": []})
    assert runs.result(run_id) == {"model": "toy", "version": 1, "members": []}
    newest, oldest = runs.list()
    assert (newest["run_id"], newest["status"]) == (fresh[0], "unfinished")
    assert (oldest["run_id"], oldest["status"], oldest["version"]) == (run_id, "finished", 1)
    with pytest.raises(StoreError, match=f"Did you mean '{run_id}"):
        runs.get(run_id[:-1])


def test_gc_keeps_what_is_used(root, graph, golden):
    runs = RunStore(root)
    used, unused = "aa" * 16, "bb" * 16
    for fingerprint in (used, unused):
        cache = FeatureCache(root, fingerprint)
        cache.write_shard(cache.shard_key(digests(0, 9)), digests(0, 9), block(0, 9))
        TrainedCache(root).put(fingerprint, *trained())
    runs.begin("done", {"name": "a"})
    chain = graph.members[0].chains[0]
    Ledger(root, "done").put(record("k"), np.zeros((10, 2)), chain)
    runs.begin("going", {"name": "a"})
    kept = Ledger(root, "going").put(record("k"), np.zeros((10, 2)), chain)
    with pytest.raises(KeyboardInterrupt):
        Ledger(CrashingRoot(root.uri, at="k2.json"), "going").put(record("k2"), np.ones((10, 2)), chain)
    runs.finish("done", {})
    assert gc(root)["total"]["files"] == 0

    told = gc(root, min_age_s=-1)
    assert "has not noted what it uses" in told["kept"]
    assert told["removed"]["features"]["files"] == 0
    assert not root.list("runs/done/chains")
    assert Ledger(root, "done").oof("k").shape == (10, 2)
    assert len(root.list("runs/going/oof")) == 1
    assert read_chain(root, kept.chain) is not None

    runs.use("done", features=[used])
    runs.use("done", trained=[used])
    runs.use("going")
    told = gc(root, min_age_s=-1)
    assert told["kept"] == ""
    assert root.folders("features") == root.folders("trained") == [used]
    assert told["total"] == {
        k: told["removed"]["features"][k] + told["removed"]["trained"][k] for k in ("files", "bytes")
    }

    gc(root, keep_runs=0, min_age_s=-1)
    assert root.folders("runs") == ["going"]
    assert list(root.folders("features")) == []
    counts = usage(root)
    assert counts["total"]["bytes"] == sum(e.size for e in root.entries())
    assert counts["runs"]["files"] == counts["total"]["files"]


def test_gc_keeps_tables_that_a_run_names(root):
    runs = RunStore(root)
    url = {n: inputs.keep(root, pa.table({"x": list(range(n))})) for n in (1, 2, 3)}
    assert inputs.keep(root, pa.table({"x": [0]})) == url[1]
    for n, run in ((1, "done"), (2, "going")):
        runs.begin(run, {"spec": {"data": {"path": url[n]}}})
        runs.use(run)
    runs.finish("done", {})
    assert gc(root)["removed"]["inputs"]["files"] == 0, "too young: a run may be about to name it"
    assert gc(root, min_age_s=-1)["removed"]["inputs"]["files"] == 1
    left = [f"{root.uri.rstrip('/')}/{path}" for path in root.list("inputs")]
    assert sorted(left) == sorted([url[1], url[2]])
    gc(root, keep_runs=0, min_age_s=-1)
    assert [f"{root.uri.rstrip('/')}/{path}" for path in root.list("inputs")] == [url[2]]


def test_memos_are_kept_until_they_are_old(root, monkeypatch):
    memos = Memos(root, "decided")
    assert memos.get("aa") is None
    memos.put("aa", b"1")
    memos.put("aa", b"22")
    assert memos.get("aa") == b"22"
    assert usage(root)["memos"] == {"files": 1, "bytes": 2}
    assert gc(root, min_age_s=-1)["removed"]["memos"]["files"] == 0
    monkeypatch.setattr("hybrid_ray.store.usage.MEMO_AGE_S", -1)
    assert gc(root, min_age_s=-1)["removed"]["memos"]["files"] == 1
    assert memos.get("aa") is None

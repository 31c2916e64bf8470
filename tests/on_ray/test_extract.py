"""A row is extracted once: through pools and single tasks, across reruns, crashes, growth, repeats and bad rows."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.source import open_source
from hybrid_ray.errors import ArtifactError, BadRowsError, DataError, ResourceError, RunFailedError
from hybrid_ray.on_ray import extract, identities, resolve
from hybrid_ray.on_ray.extract import extract_features, load_block
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.spec import DataSpec, ExtractorSpec
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.store.root import StoreRoot

SHARD, PIECE = 64, 200
KINDS = {"text": "text", "number": "numeric"}


class Bench:
    """A store, a log of what the extractor saw, and sources made of texts."""

    def __init__(self, folder, cluster):
        self.folder, self.cluster = folder, cluster
        self.root = StoreRoot(str(folder / "store"))
        self.log = folder / "log"
        self.log.mkdir()

    def source(self, texts, name="rows", numbers=None):
        """Files of 200 rows: each is a piece."""
        columns = {"text": texts, "y": [i % 2 for i in range(len(texts))]}
        if numbers is not None:
            columns["number"] = numbers
        table = pa.table(columns)
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for start in range(0, len(texts), PIECE):
            pq.write_table(table.slice(start, PIECE), folder / f"{start:06d}.parquet")
        return open_source(DataSpec(path=str(folder), label="y", shard_rows=SHARD))

    def spec(self, columns=("text",), resources=None, **params):
        return ExtractorSpec(
            name="toy", id="toy", columns=columns, resources=resources or {}, params={"log": str(self.log), **params}
        )

    def extract(self, source, spec=None, **options):
        options = {"shard_rows": SHARD, **options}
        return extract_features(self.cluster, source, spec or self.spec(), KINDS, self.root, **options)

    @property
    def seen(self):
        """Rows that the extractor was given so far, in any process."""
        return sum(int(path.read_text()) for path in self.log.iterdir())

    def expected(self, texts):
        batch = {"text": np.array(texts, object)}
        return Entry.of(self.spec(log=""), KINDS).build().transform(batch)


@pytest.fixture
def bench(tmp_path, cluster):
    return Bench(tmp_path, cluster)


def texts_of(n, start=0):
    return [f"row {i}" for i in range(start, start + n)]


def same(block, other):
    np.testing.assert_array_equal(block.values, other.values)
    np.testing.assert_array_equal(block.present, other.present)


@pytest.mark.parametrize("n", [1, 64, 150, 700], ids=lambda n: f"{n} rows")
def test_features_are_those_of_one_process(bench, n):
    texts = texts_of(n)
    texts[n // 2] = None
    features = bench.extract(bench.source(texts))
    assert features.stats.computed == features.stats.rows == n
    assert [rows for _, rows in features.shards] == [
        size for start in range(0, n, PIECE) for size in sizes(min(PIECE, n - start))
    ]
    assert features.n_features == 8
    same(load_block(bench.root, features), bench.expected(texts))
    assert bench.seen == n - 1  # the empty row is not present


def sizes(rows):
    return [min(SHARD, rows - start) for start in range(0, rows, SHARD)]


def test_rows_are_loaded_in_the_order_asked_for(bench):
    texts = texts_of(250)
    features = bench.extract(bench.source(texts))
    rows = np.random.default_rng(0).permutation(250)[:77]
    same(load_block(bench.root, features, rows), bench.expected(texts).take(rows))
    assert load_block(bench.root, features, np.zeros(0, int)).values.shape == (0, 8)


def test_a_rerun_decodes_nothing_and_loads_no_model(bench):
    source = bench.source(texts_of(250))
    first = bench.extract(source)
    again = bench.extract(source, bench.spec(fault="setup"))
    assert (again.stats.computed, again.stats.cached) == (0, 250)
    assert again.shards == first.shards
    assert bench.seen == 250


def test_grown_and_shuffled_rows_cost_only_the_new_ones(bench):
    texts = texts_of(250)
    bench.extract(bench.source(texts))
    grown = list(np.random.default_rng(1).permutation(texts + texts_of(25, 250)))
    features = bench.extract(bench.source(grown, "grown"))
    assert (features.stats.computed, features.stats.cached, features.stats.deduplicated) == (25, 250, 0)
    assert bench.seen == 275
    same(load_block(bench.root, features), bench.expected(grown))


def test_equal_rows_are_computed_once(bench):
    texts = texts_of(100) * 5 + ["twin"] * 40
    features = bench.extract(bench.source(texts))
    assert (features.stats.computed, features.stats.deduplicated, features.stats.cached) == (101, 439, 0)
    assert bench.seen == 101
    same(load_block(bench.root, features), bench.expected(texts))


def test_equal_shards_are_computed_once(bench):
    texts = texts_of(SHARD) * 3
    features = bench.extract(bench.source(texts))
    assert features.stats.computed == bench.seen == SHARD
    assert len({key for key, _ in features.shards}) == 1
    same(load_block(bench.root, features), bench.expected(texts))


def test_large_sources_go_through_tasks_and_buckets(bench, monkeypatch):
    monkeypatch.setattr(identities, "SMALL_ROWS", 0)
    monkeypatch.setattr(identities, "TASK_ROWS", 200)
    monkeypatch.setattr(resolve, "BUCKET_ROWS", 100)
    monkeypatch.setattr(extract, "TASK_ROWS", 150)
    monkeypatch.setattr(extract, "FEW_ROWS", 100)
    texts = texts_of(300) + texts_of(300) + ["bad one"]
    features = bench.extract(bench.source(texts))
    stats = features.stats
    assert (stats.rows, stats.computed, stats.deduplicated, stats.bad) == (601, 301, 300, 1)
    assert [reject.row for reject in features.rejects] == [600]
    same(load_block(bench.root, features), bench.expected(texts))
    again = bench.extract(bench.source(texts[::-1], "reversed"))
    assert (again.stats.computed, again.stats.cached) == (0, 601)
    assert [reject.row for reject in again.rejects] == [0]
    same(load_block(bench.root, again), bench.expected(texts[::-1]))


@pytest.mark.parametrize("n", [100, 640], ids=lambda n: f"{n} rows")
def test_bad_rows_are_missing_listed_and_known_again(bench, n):
    texts = texts_of(n)
    texts[7] = texts[n - 1] = "bad apple"
    texts[8] = None
    numbers = ["1", "x", *["2"] * (n - 2)]
    source = bench.source(texts, numbers=numbers)
    features = bench.extract(source, bench.spec(("text", "number")))
    expected = [
        (1, "number", "not a number"),
        (7, "text+number", "begins with bad"),
        (n - 1, "text+number", "begins with bad"),
    ]
    assert [tuple(reject) for reject in features.rejects] == expected
    assert features.stats.bad == 3
    assert not load_block(bench.root, features).present[[7, n - 1]].any()
    seen = bench.seen
    again = bench.extract(source, bench.spec(("text", "number")))
    assert again.rejects == features.rejects
    assert (again.stats.computed, again.stats.bad, bench.seen) == (0, 3, seen)


def test_too_many_bad_rows_are_refused_and_finished_shards_kept(bench):
    texts = [f"bad {i}" if i % 3 == 0 else f"row {i}" for i in range(600)]
    source = bench.source(texts)
    said = r"at most 0\.1 of the rows may hold something unreadable; got \d+ of 600, the first in row 0, column 'text'"
    with pytest.raises(BadRowsError, match=said) as caught:
        bench.extract(source, max_bad_fraction=0.1)
    assert caught.value.rejects[0] == (0, "text", "begins with bad")
    kept = bench.seen
    assert kept
    with pytest.raises(DataError, match="max_bad_fraction"):
        bench.extract(source, max_bad_fraction=0.1)
    features = bench.extract(source, max_bad_fraction=0.5)
    assert features.stats.bad == 200
    assert features.stats.cached > 0
    # Beside units that were under way when it was refused, no row is seen twice.
    assert 400 <= bench.seen <= 400 + 4 * SHARD


def test_an_actor_that_dies_loses_and_doubles_nothing(bench):
    texts = texts_of(640)
    texts[333] = "boom"
    features = bench.extract(bench.source(texts), bench.spec(dies_once=str(bench.folder / "died")))
    assert (bench.folder / "died").exists()
    assert (features.stats.rows, features.stats.computed) == (640, 640)
    same(load_block(bench.root, features), bench.expected(texts))
    again = bench.extract(bench.source(texts))
    assert again.stats.computed == 0


@pytest.mark.parametrize("n", [100, pytest.param(640, marks=pytest.mark.slow)], ids=lambda n: f"{n} rows")
@pytest.mark.parametrize(
    ("fault", "said"), [("exit", r"SystemExit: it called exit\(3\)"), ("raise", "ValueError: toy: cannot stand boom")]
)
def test_a_worker_that_fails_is_said_so_and_the_rest_is_kept(bench, all_free, n, fault, said):
    texts = texts_of(n)
    texts[n - 1] = "boom"
    refused = rf"extractor toy: its workers must not fail; got .*{said}.*are kept"
    with pytest.raises(RunFailedError, match=refused) as caught:
        bench.extract(bench.source(texts), bench.spec(fault=fault))
    assert all_free(), f"somebody who keeps the exception does not keep the CPUs: {caught}"
    features = bench.extract(bench.source(texts))
    assert features.stats.cached + features.stats.computed == n
    same(load_block(bench.root, features), bench.expected(texts))


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 640], ids=lambda n: f"{n} rows")
def test_a_worker_that_always_dies_ends_the_run(bench, n):
    texts = texts_of(n)
    texts[n - 1] = "boom"
    with pytest.raises(RunFailedError, match=r"extractor toy: its workers must not fail; got .*are kept"):
        bench.extract(bench.source(texts), bench.spec(fault="die"))
    features = bench.extract(bench.source(texts))
    assert features.stats.cached + features.stats.computed == n


@pytest.mark.parametrize("n", [100, 640], ids=lambda n: f"{n} rows")
def test_an_error_of_ours_comes_through_as_it_is(bench, n):
    with pytest.raises(ArtifactError, match="weights must be of this architecture"):
        bench.extract(bench.source(texts_of(n)), bench.spec(fault="setup"))


def test_rows_that_are_gone_are_bad_input_wherever_they_are_read(bench, monkeypatch):
    source = bench.source(texts_of(640))
    (bench.folder / "rows" / "000400.parquet").unlink()
    with pytest.raises(DataError, match=r"must be there; got .*000400\.parquet"):
        bench.extract(source)
    monkeypatch.setattr(identities, "SMALL_ROWS", 0)
    with pytest.raises(DataError, match=r"must be there; got .*000400\.parquet"):
        bench.extract(source)


def test_more_gpus_than_there_are_is_refused_before_anything_is_read(bench):
    with pytest.raises(ResourceError, match=r"extractors\[toy\]\.resources\.num_gpus: .*got 4") as caught:
        bench.extract(bench.source(texts_of(10)), bench.spec(resources={"num_gpus": 4}))
    assert caught.value.exit_code == 2
    assert bench.root.list("features") == []


def test_a_damaged_shard_is_found_and_only_it_is_computed_again(bench):
    texts = texts_of(250)
    source = bench.source(texts)
    features = bench.extract(source)
    key, rows = features.shards[2]
    path = bench.root.local_path(f"features/{features.fingerprint}/shards/{key}.safetensors")
    data = bytearray(path.read_bytes())
    data[-200:] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(RunFailedError, match=f"{key} in .* is damaged and was removed. Start the same command again"):
        load_block(bench.root, features)
    again = bench.extract(source)
    assert (again.stats.computed, again.stats.cached) == (rows, 250 - rows)
    same(load_block(bench.root, again), bench.expected(texts))


def test_rows_of_a_damaged_shard_are_computed_again_when_another_shard_wants_them(bench):
    texts = texts_of(250)
    features = bench.extract(bench.source(texts))
    cache = FeatureCache(bench.root, features.fingerprint)
    key, rows = features.shards[0]
    path = bench.root.local_path(f"features/{features.fingerprint}/shards/{key}.safetensors")
    path.write_bytes(path.read_bytes()[: -rows * 16])
    shuffled = list(np.random.default_rng(2).permutation(texts))
    again = bench.extract(bench.source(shuffled, "shuffled"))
    assert again.stats.computed == rows
    assert key not in cache.known_shards()
    same(load_block(bench.root, again), bench.expected(shuffled))


def test_an_index_that_a_killed_run_left_behind_is_mended(bench):
    texts = texts_of(250)
    features = bench.extract(bench.source(texts))
    for path in bench.root.list(f"features/{features.fingerprint}/index"):
        bench.root.delete(path)
    again = bench.extract(bench.source(texts[::-1], "reversed"))
    assert (again.stats.computed, again.stats.cached) == (0, 250)


KILLED = """
import sys
from hybrid_ray.data.source import open_source
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.extract import extract_features
from hybrid_ray.spec import DataSpec, ExtractorSpec
from hybrid_ray.store.root import StoreRoot

path, store, log = sys.argv[1:4]
spec = ExtractorSpec(name="toy", id="toy", columns=("text",), params={"log": log, "seconds": 0.01})
source = open_source(DataSpec(path=path, label="y", shard_rows=64))
with connect() as cluster:
    extract_features(cluster, source, spec, {"text": "text"}, StoreRoot(store), shard_rows=64)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(bench):
    texts = texts_of(1280)
    source = bench.source(texts)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(bench.folder / "rows"), bench.root.uri, str(bench.log)],
        env={**os.environ, "RAY_ADDRESS": bench.cluster.address},
        stderr=subprocess.DEVNULL,
    )
    shards = f"features/{Entry.of(bench.spec(), KINDS).build().fingerprint()}/shards"
    deadline = time.monotonic() + 120
    while len(bench.root.list(shards)) < 6 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(3)  # Ray ends the workers of a driver that is gone
    finished = len(bench.root.list(shards))
    assert 6 <= finished < 20
    seen = bench.seen
    features = bench.extract(source)
    assert features.stats.computed == bench.seen - seen
    assert features.stats.computed == 1280 - features.stats.cached
    assert features.stats.cached >= 6 * 8
    same(load_block(bench.root, features), bench.expected(texts))


def run(code, *arguments):
    """Run code in a process of its own with a cluster of its own; its last line is JSON."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**kept, "HYBRID_RAY_OBJECT_STORE_MB": "100"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


OWN_CLUSTER = """
import json, sys
from hybrid_ray.data.source import open_source
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.extract import extract_features
from hybrid_ray.spec import DataSpec, ExtractorSpec
from hybrid_ray.store.root import StoreRoot

path, store = sys.argv[1:3]
source = open_source(DataSpec(path=path, label="y", shard_rows=64))
computed = []
for i, (cpus, gpus, share) in enumerate(json.loads(sys.argv[3])):
    spec = ExtractorSpec(name="toy", id="toy", columns=("text",), resources={"num_gpus": share, "batch_size": 16})
    with connect(num_cpus=cpus, num_gpus=gpus) as cluster:
        root = StoreRoot(f"{store}/{i}")
        computed.append(extract_features(cluster, source, spec, {"text": "text"}, root, shard_rows=64).stats.computed)
print(json.dumps(computed))
"""


@pytest.mark.slow
def test_it_ends_on_one_cpu_with_one_gpu_and_with_half_of_one(bench):
    texts = texts_of(640)
    source, stores = bench.source(texts), str(bench.folder / "stores")
    clusters = [(1, None, None), (4, 1, None), (3, 1, 0.5)]
    assert run(OWN_CLUSTER, str(bench.folder / "rows"), stores, json.dumps(clusters)) == [640] * 3
    for i in range(3):
        bench.root = StoreRoot(f"{stores}/{i}")
        features = bench.extract(source)
        assert features.stats.computed == 0
        same(load_block(bench.root, features), bench.expected(texts))


THREE_NODES = """
import json, os, sys
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "c" * 64}
from ray.cluster_utils import Cluster
from hybrid_ray.data.source import open_source
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.extract import extract_features
from hybrid_ray.spec import DataSpec, ExtractorSpec
from hybrid_ray.store.root import StoreRoot

path, store = sys.argv[1:3]
node = {"num_cpus": 1, "object_store_memory": 80 << 20}
nodes = Cluster(initialize_head=True, head_node_args=node)
for _ in range(2):
    nodes.add_node(**node)
spec = ExtractorSpec(name="toy", id="toy", columns=("text",))
source = open_source(DataSpec(path=path, label="y", shard_rows=64))
with connect(nodes.address) as cluster:
    features = extract_features(cluster, source, spec, {"text": "text"}, StoreRoot(store), shard_rows=64)
    answer = [len(cluster.view().nodes), features.stats.computed]
nodes.shutdown()
print(json.dumps(answer))
"""


@pytest.mark.slow
def test_it_ends_on_three_nodes_of_one_cpu(bench):
    texts = texts_of(640)
    source = bench.source(texts)
    assert run(THREE_NODES, str(bench.folder / "rows"), bench.root.uri) == [3, 640]
    features = bench.extract(source)
    assert features.stats.computed == 0
    same(load_block(bench.root, features), bench.expected(texts))


def test_progress_counts_every_row_once(bench):
    counted = []

    class Stage:
        def advance(self, n=1, note=""):
            counted.append(n)

        def note(self, text):
            pass

    class Progress:
        seconds = {}

        def stage(self, name, total=None):
            from contextlib import nullcontext

            assert total == 250
            return nullcontext(Stage())

    texts = texts_of(200) + texts_of(50)
    bench.extract(bench.source(texts), progress=Progress())
    assert sum(counted) == 250


def test_image_files_are_opened_once_for_their_identity(bench, tmp_path, monkeypatch):
    """The content digest of a file is remembered by size and time; data.verify: content reads it again."""
    from PIL import Image

    folder = tmp_path / "images"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (8, 8), (i * 20, 0, ord(label))).save(folder / label / f"{i}.png")
    source = open_source(DataSpec(path=str(folder), label="label"))
    spec = ExtractorSpec(name="pixels", id="pixels", columns=("image",))
    opened = []
    fetch = identities.row_digests.__globals__["fetch"]
    monkeypatch.setitem(identities.row_digests.__globals__, "fetch", lambda uri: opened.append(uri) or fetch(uri))

    def extract_images(verify):
        return extract_features(
            bench.cluster, source, spec, {"image": "image"}, bench.root, shard_rows=4, verify=verify
        )

    assert extract_images("stat").stats.computed == 10
    assert len(opened) == 10
    assert extract_images("stat").stats.computed == 0
    assert len(opened) == 10
    assert extract_images("content").stats.computed == 0
    assert len(opened) == 20
    Image.new("RGB", (8, 8), (7, 7, 7)).save(folder / "a" / "0.png")
    os.utime(folder / "a" / "0.png", (1, 1))
    source = open_source(DataSpec(path=str(folder), label="label"))
    assert extract_images("stat").stats.computed == 1

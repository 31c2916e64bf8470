"""What is left to the machine is chosen once for an extractor and a kind of hardware, and remembered."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hybrid_ray.data.source import open_source
from hybrid_ray.on_ray.decide import decide
from hybrid_ray.on_ray.resources import plan_extraction
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.spec import DataSpec, ExtractorSpec, Resources
from hybrid_ray.store.memos import AREA
from hybrid_ray.store.root import StoreRoot


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"image": [png(i) for i in range(12)], "y": [i % 2 for i in range(12)]}), path)
    return open_source(DataSpec(path=str(path), label="y", columns={"image": "image"}))


def entry_of(seed=0):
    params = {"model": "resnet18", "weights": "none", "image_size": 32, "seed": seed}
    return Entry.of(ExtractorSpec(name="torchvision", id="net", columns=("image",), params=params), {"image": "image"})


def test_a_choice_is_made_once(tmp_path, cluster, source):
    root = StoreRoot(str(tmp_path / "store"))
    plan = plan_extraction(cluster.view(), gpu=True, asked=Resources(), units=1, where="x")
    first = decide(entry_of(), source, root, plan)
    assert first.precision in ("fp32", "bf16", "fp16")
    assert (first.image_size, first.padding) == (32, "torch")
    [memo] = root.list(AREA)
    # Another answer under the same key shows that the second call reads it.
    other = "bf16" if first.precision == "fp32" else "fp32"
    root.write(memo, first.model_copy(update={"precision": other}).model_dump_json().encode())
    assert decide(entry_of(), source, root, plan) == first.model_copy(update={"precision": other})
    assert decide(entry_of(seed=1), source, root, plan).seed == 1
    assert len(root.list(AREA)) == 2


def test_a_memo_that_cannot_be_read_is_made_again(tmp_path, cluster, source):
    root = StoreRoot(str(tmp_path / "store"))
    plan = plan_extraction(cluster.view(), gpu=True, asked=Resources(), units=1, where="x")
    first = decide(entry_of(), source, root, plan)
    [memo] = root.list(AREA)
    root.write(memo, b'{"precision": "of another version"}')
    assert decide(entry_of(), source, root, plan) == first
    assert root.read(memo) == first.model_dump_json().encode()

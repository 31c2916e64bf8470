"""A cluster of one CPU runs a spec, predicts and serves: nothing waits for a CPU that never comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.testing.graphs import toy_rows

SCRIPT = """
import contextlib, json, sys, urllib.request
from hybrid_ray.data.source import open_source
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.predict import predict_dataset
from hybrid_ray.on_ray.run import run_spec
from hybrid_ray.on_ray.serve import serve_graph
from hybrid_ray.progress import SilentProgress
from hybrid_ray.spec import DataSpec, ServeSpec, load_spec, smoke_form
from hybrid_ray.testing.graphs import ToyModel, toy_graph

source = open_source(DataSpec(path=sys.argv[1], label="label"), training=False)
with connect("local", num_cpus=1) as cluster:
    spec, borrowed = smoke_form(load_spec(sys.argv[3])), contextlib.nullcontext(cluster)
    answer = run_spec(spec, sys.argv[4], cluster=lambda: borrowed, progress=SilentProgress())
    print(answer["model"], answer["version"])
    print(predict_dataset(cluster, source, toy_graph(), ToyModel(), sys.argv[2])["rows"])
    limits = ServeSpec(placement="split")
    with serve_graph(cluster, toy_graph(), ToyModel(), 1, port=0, limits=limits, ready_timeout_s=120) as serving:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(serving.url + "/predict", b'{"title": "word2"}', headers)
        print(len(serving.plan.extractors), json.load(urllib.request.urlopen(request))["predictions"][0]["prediction"])
"""


@pytest.mark.slow
def test_one_cpu_is_enough(tmp_path: Path, project_root: Path) -> None:
    pq.write_table(pa.Table.from_pylist(list(toy_rows(1500))), tmp_path / "rows.parquet")
    paths = [tmp_path / "rows.parquet", tmp_path / "answers.parquet", project_root / "specs" / "digits.yaml"]
    command = [sys.executable, "-c", SCRIPT, *map(str, paths), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["digits", "1", "1500", "3", "blue"]
    assert pq.read_table(tmp_path / "answers.parquet").num_rows == 1500

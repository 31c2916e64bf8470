"""A whole run on a cluster of several nodes, beside the same run on one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore

SPEC = {
    "name": "nodes",
    "task": "multiclass",
    "data": {"path": "bundled://digits", "label": "label", "limit": 240, "shard_rows": 64},
    "extractors": [
        {"name": "cnn", "params": {"epochs": 2}},
        {"name": "pixels", "params": {"size": 8}},
    ],
    "search": {
        "trials": 6,
        "folds": 2,
        "batch": 4,
        "metric": "log_loss",
        "estimators": ["logistic", "knn"],
        "ensemble": {"trials": 4},
    },
}

THREE_NODES = """
import json, os, sys
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "c" * 64}
from ray.cluster_utils import Cluster
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.run import run_spec
from hybrid_ray.progress import SilentProgress
from hybrid_ray.spec import load_spec

spec, store = sys.argv[1:3]
node = {"num_cpus": 1, "object_store_memory": 80 << 20}
nodes = Cluster(initialize_head=True, head_node_args=node)
for _ in range(2):
    nodes.add_node(**node)
answer = run_spec(load_spec(spec), store, cluster=lambda: connect(nodes.address), progress=SilentProgress())
nodes.shutdown()
print(json.dumps(answer))
"""


def trained(store):
    """Features that each training gave, by its key."""
    paths = sorted(store.glob("trained/*/*/block.safetensors"))
    return {path.parts[-3]: load_file(path)["values"] for path in paths}


def trials(answer, store):
    record = json.loads(StoreRoot(str(store)).read(f"runs/{answer['run_id']}/trials.json"))
    named = ("number", "state", "candidate", "keys")
    candidates = [{name: trial[name] for name in named} for trial in record["trials"]]
    return candidates, [(trial["recipe"], trial["score"]) for trial in record["ensembles"]]


@pytest.mark.slow
def test_three_nodes_give_the_run_that_one_gives(run, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(SPEC))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", THREE_NODES, str(path), str(tmp_path / "three")],
        env={**kept, "HYBRID_RAY_OBJECT_STORE_MB": "100"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    three = json.loads(done.stdout.splitlines()[-1])
    one = run(SPEC, tmp_path / "one")
    assert three["run_id"] == one["run_id"]
    # Kernels of a network's training may round otherwise in another process: features agree to 1e-5, and what was made
    # of them to what a combiner's solver, which stops somewhere near its optimum, makes of such a difference.
    blocks = [trained(tmp_path / "three"), trained(tmp_path / "one")]
    assert blocks[0]
    assert blocks[0].keys() == blocks[1].keys()
    runs = RunStore(StoreRoot(str(tmp_path / "one")))
    assert runs.uses(one["run_id"])["trained"] >= blocks[1].keys(), "gc keeps every fit, that on all rows too"
    for key, values in blocks[0].items():
        np.testing.assert_allclose(values, blocks[1][key], rtol=0, atol=1e-5)
    (candidates, ensembles), (same, others) = trials(three, tmp_path / "three"), trials(one, tmp_path / "one")
    assert candidates == same
    assert [recipe for recipe, _ in ensembles] == [recipe for recipe, _ in others]
    assert [score for _, score in ensembles] == pytest.approx([score for _, score in others], abs=2e-3)
    assert [member["name"] for member in three["members"]] == [member["name"] for member in one["members"]]
    assert three["test"] == pytest.approx(one["test"], abs=2e-3)

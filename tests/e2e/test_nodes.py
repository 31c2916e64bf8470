"""A whole run on a cluster of several nodes, beside the same run on one."""

import json
import os
import subprocess
import sys

import pytest

from hybrid_ray.store.root import StoreRoot

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
    assert trials(three, tmp_path / "three") == trials(one, tmp_path / "one")
    assert [member["name"] for member in three["members"]] == [member["name"] for member in one["members"]]
    assert three["test"] == pytest.approx(one["test"], abs=1e-9)

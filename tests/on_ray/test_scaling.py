"""A GPU node is asked for where an autoscaler can start one, and only there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from hybrid_ray.errors import BadInputError
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.scaling import AUTOSCALED, gpu_node, wanted_gpus
from hybrid_ray.progress import SilentProgress
from hybrid_ray.spec import ExtractorSpec, Resources

PROBE = """
import ray
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.scaling import gpu_node
from hybrid_ray.progress import SilentProgress

def gpus():
    return sum(node["Resources"].get("GPU", 0) for node in ray.nodes() if node["Alive"])

with connect("{address}") as cluster:
    print("before", gpus())
    with gpu_node(1.0, SilentProgress(), wait_s=120):
        print("inside", gpus(), cluster.view().gpus)
"""
NODES = {
    "head": {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
    "gpu": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
}
COMMANDS = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")


def autoscaling(gcs: int, folder: Path) -> str:
    """Ray's own provider that starts nodes as processes of this machine; their GPU is a number."""
    provider = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
    config = {
        "cluster_name": "fake",
        "max_workers": 1,
        "upscaling_speed": 1,
        "idle_timeout_minutes": 5,
        "provider": {"type": "external", "module": provider, "gcs_address": f"127.0.0.1:{gcs}"},
        "auth": {"ssh_user": "nobody"},
        "available_node_types": NODES,
        "head_node_type": "head",
        "file_mounts": {},
        "cluster_synced_files": [],
        **{name: [] for name in COMMANDS},
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
    }
    (folder / "autoscaling.json").write_text(json.dumps(config))
    return str(folder / "autoscaling.json")


@pytest.mark.slow
def test_an_autoscaler_starts_a_gpu_node(
    start_head: Callable[..., AbstractContextManager[Any]], tmp_path: Path
) -> None:
    environment = {"RAY_AUTH_MODE": "disabled", "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with start_head(environment, lambda gcs: (f"--autoscaling-config={autoscaling(gcs, tmp_path)}",)) as head:
        done = subprocess.run(
            [sys.executable, "-c", PROBE.format(address=f"127.0.0.1:{head.gcs}")],
            env=os.environ | environment | {AUTOSCALED: "1"},
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["before 0", "inside 1.0 1.0"]


def test_without_an_autoscaler_nothing_is_waited_for(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[str] = []

    class Noted(SilentProgress):
        def stage(self, name: str, total: int | None = None) -> Any:
            stages.append(name)
            return super().stage(name, total)

    monkeypatch.delenv(AUTOSCALED, raising=False)
    with gpu_node(1.0, Noted()):
        pass
    monkeypatch.setenv(AUTOSCALED, "1")
    with gpu_node(0.0, Noted()), gpu_node(2.0, Noted()):
        pass
    assert stages == []
    monkeypatch.setenv(AUTOSCALED, "many")
    with (
        pytest.raises(BadInputError, match=f"{AUTOSCALED}: must be a number of GPUs; got 'many'"),
        gpu_node(1, Noted()),
    ):
        pass


def test_what_extractors_want() -> None:
    frozen, table = ExtractorSpec(name="transformers"), ExtractorSpec(name="tabular")
    assert wanted_gpus([table]) == wanted_gpus([]) == 0
    assert wanted_gpus([table, frozen]) == 1
    none = frozen.model_copy(update={"resources": Resources(num_gpus=0)})
    half = frozen.model_copy(update={"resources": Resources(num_gpus=0.5)})
    assert (wanted_gpus([none, table]), wanted_gpus([half, none])) == (0, 0.5)

"""cluster.yaml and the KubeRay manifests: what ray up and KubeRay would be given."""

from __future__ import annotations

import importlib
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hybrid_ray.on_ray.serve.proxy import IMPORT_PATH

SERVE_FLAGS = {"RAY_SERVE_THROUGHPUT_OPTIMIZED", "RAY_SERVE_ENABLE_HA_PROXY"}
PROXY = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
MANIFESTS = ["rayjob", "rayservice"]


def autoscaler_schema() -> dict[str, Any]:
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    return json.loads((Path(spec.origin).parent / "autoscaler" / "ray-schema.json").read_text())


@pytest.fixture
def cluster(project_root: Path) -> dict[str, Any]:
    return yaml.safe_load((project_root / "cluster.yaml").read_text())


@pytest.fixture(params=MANIFESTS)
def manifest(request: pytest.FixtureRequest, project_root: Path) -> dict[str, Any]:
    return yaml.safe_load((project_root / "deploy" / "kuberay" / f"{request.param}.yaml").read_text())


def test_it_is_what_ray_up_reads(cluster: dict[str, Any]) -> None:
    jsonschema.validate(cluster, autoscaler_schema())


def test_ray_fills_in_the_rest_and_finds_it_good(cluster: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_a_misspelt_key_is_found(cluster: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError, match="available_node_typos"):
        jsonschema.validate(cluster | {"available_node_typos": {}}, autoscaler_schema())


def test_the_head_is_small_and_the_workers_scale(cluster: dict[str, Any]) -> None:
    kinds = cluster["available_node_types"]
    assert kinds[cluster["head_node_type"]]["resources"]["CPU"] <= 2
    workers = {name: kind for name, kind in kinds.items() if name != cluster["head_node_type"]}
    assert set(workers) == {"cpu_worker", "gpu_worker"}
    assert all(kind["max_workers"] > kind.get("min_workers", 0) for kind in workers.values())
    assert sum(kind["max_workers"] for kind in workers.values()) <= cluster["max_workers"]


def test_every_node_authenticates_and_serves_fast(cluster: dict[str, Any]) -> None:
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        start = commands[-1]
        assert "RAY_AUTH_MODE=token" in start
        assert all(f"{flag}=1" in start for flag in SERVE_FLAGS)
        assert f"{PROXY}={IMPORT_PATH};" in start
        assert start.index("RAY_AUTH_MODE") < start.index("ray start")
    assert "/home/ray/.ray/auth_token" in cluster["file_mounts"]


def test_manifests_use_tokens_and_scale(manifest: dict[str, Any]) -> None:
    assert manifest["apiVersion"] == "ray.io/v1"
    spec = manifest["spec"]
    config = spec.get("rayClusterSpec") or spec["rayClusterConfig"]
    assert config["authOptions"] == {"mode": "token"}
    assert config["enableInTreeAutoscaling"] is True
    assert config["headGroupSpec"]["rayStartParams"]["num-cpus"] in ("0", "1")
    groups = {group["groupName"]: group for group in config["workerGroupSpecs"]}
    assert set(groups) == {"cpu", "gpu"}
    for group in groups.values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    images = {
        c["image"] for g in [config["headGroupSpec"], *groups.values()] for c in g["template"]["spec"]["containers"]
    }
    assert len(images) == 1


def test_the_service_runs_on_every_node_with_the_fast_flags(project_root: Path) -> None:
    manifest = yaml.safe_load((project_root / "deploy" / "kuberay" / "rayservice.yaml").read_text())
    config = manifest["spec"]["rayClusterConfig"]
    for group in [config["headGroupSpec"], *config["workerGroupSpecs"]]:
        env = {entry["name"]: entry["value"] for entry in group["template"]["spec"]["containers"][0]["env"]}
        assert all(env[flag] == "1" for flag in SERVE_FLAGS)
        assert env[PROXY] == IMPORT_PATH


def test_the_serve_config_is_what_serve_reads(project_root: Path) -> None:
    from ray.serve.schema import ServeDeploySchema

    from hybrid_ray.on_ray.serve.config import ApplicationArgs

    manifest = yaml.safe_load((project_root / "deploy" / "kuberay" / "rayservice.yaml").read_text())
    config = ServeDeploySchema.model_validate(yaml.safe_load(manifest["spec"]["serveConfigV2"]))
    module, _, name = config.applications[0].import_path.partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    ApplicationArgs.model_validate(config.applications[0].args)


def test_one_version_of_ray_everywhere(project_root: Path) -> None:
    pinned = re.search(r"^ray==(\S+)$", (project_root / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    for name in MANIFESTS:
        assert f'rayVersion: "{pinned[1]}"' in (project_root / "deploy" / "kuberay" / f"{name}.yaml").read_text()
    assert f"rayproject/ray:{pinned[1]}-" in (project_root / "Dockerfile").read_text()


@pytest.mark.parametrize("verb", ["extract", "search", "evaluate", "serve", "predict", "retrain"])
def test_every_job_script_calls_its_command(project_root: Path, verb: str) -> None:
    text = (project_root / "jobs" / f"{verb}.py").read_text()
    assert f'main(["{verb}", *sys.argv[1:]])' in text
    assert f"python jobs/{verb}.py" in text

"""Nodes that are not there yet: asking an autoscaler for the GPU that an extractor would use."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ray

from hybrid_ray.errors import BadInputError
from hybrid_ray.progress import Progress
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.spec import ExtractorSpec

AUTOSCALED = "HYBRID_RAY_AUTOSCALED_GPUS"
"""Environment of a cluster whose autoscaler can start nodes with so many GPUs: set in cluster.yaml and for KubeRay."""
SCALE_UP_S = 900.0
"""Time that a node may take to start: a GPU instance with a large image takes minutes."""
POLL_S = 2.0


def wanted_gpus(extractors: Sequence[ExtractorSpec]) -> float:
    """GPUs of the largest worker: what is asked, or one where an extractor uses one and nothing is said."""
    return max(
        (
            float(EXTRACTORS.get(spec.name).tags.gpu) if spec.resources.num_gpus is None else spec.resources.num_gpus
            for spec in extractors
        ),
        default=0.0,
    )


@contextmanager
def gpu_node(gpus: float, progress: Progress, wait_s: float = SCALE_UP_S) -> Iterator[None]:
    """Have the cluster start a node with GPUs, when it has none and its autoscaler knows how; let it go at the end.

    What is planned is planned against nodes that run, and a pool that asks for no GPU makes none start. Without an
    autoscaler, or when no node comes in time, nothing changes: planning then says what is missing, or does without.

    Parameters
    ----------
    gpus : float
        GPUs that one worker needs; 0 asks for nothing.
    progress : Progress
    wait_s : float, default 900
        Longest wait, seconds.
    """
    if gpus <= 0 or _runs(gpus) or _startable() < gpus:
        yield
        return
    from ray.autoscaler.sdk import request_resources

    with progress.stage("scale up") as stage:
        request_resources(bundles=[{"GPU": gpus}])
        deadline = time.monotonic() + wait_s
        while not _runs(gpus) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        stage.note("a GPU node has started" if _runs(gpus) else f"no GPU node came within {wait_s:g} s")
    try:
        yield
    finally:
        request_resources(bundles=[])


def _runs(gpus: float) -> bool:
    return any(node["Alive"] and node["Resources"].get("GPU", 0.0) >= gpus for node in ray.nodes())


def _startable() -> float:
    """GPUs of a node that the cluster's autoscaler can start, as its templates say; Ray itself tells nobody."""
    said = os.environ.get(AUTOSCALED, "0")
    try:
        return max(float(said), 0.0)
    except ValueError:
        raise BadInputError(f"{AUTOSCALED}: must be a number of GPUs; got {said!r}") from None

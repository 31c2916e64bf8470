"""Where each stage of a served graph runs, and what it asks of Ray. Arithmetic and measuring; nothing talks to Ray."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybrid_ray.data.columns import coerce
from hybrid_ray.data.generate import generate_rows
from hybrid_ray.errors import ResourceError
from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.resources import ClusterView
from hybrid_ray.spec import ScaleSpec, ServeSpec
from hybrid_ray.types import AnyArray, Batch

HOP_MS = 7.0
"""CPU time of one hop between deployments with Serve as it is installed, milliseconds."""
FAST_HOP_MS = 2.0
"""The same with Serve's high-throughput flags."""
MEMBERS = "members"
"""Name of the classical stages among the nodes of a graph."""


@dataclass(frozen=True)
class Share:
    """What one deployment asks of Ray.

    Attributes
    ----------
    num_cpus, num_gpus : float
        Of one replica.
    min_replicas, max_replicas : int
    target_ongoing_requests : float
    """

    num_cpus: float
    num_gpus: float
    min_replicas: int
    max_replicas: int
    target_ongoing_requests: float


@dataclass(frozen=True)
class ServePlan:
    """Deployments of a graph.

    Attributes
    ----------
    ingress : Share
    extractors : dict of str to Share
        Extractors with a deployment of their own, by id; the others run in the ingress.
    members : Share or None
        The classical stages' own deployment; None: they run in the ingress.
    costs_ms : dict of str to float
        What was measured, by extractor id and ``members``; empty when nothing had to be.
    hop_ms : float
        What a hop was taken to cost.
    """

    ingress: Share
    extractors: dict[str, Share]
    members: Share | None
    costs_ms: dict[str, float]
    hop_ms: float

    def describe(self) -> str:
        """One line for people."""
        away = [*self.extractors, *([MEMBERS] if self.members else [])]
        costs = ", ".join(f"{name} {cost:.1f} ms" for name, cost in self.costs_ms.items())
        where = f"deployments of their own: {', '.join(away)}" if away else "everything runs in the ingress"
        return where + (f" (a row costs: {costs}; a hop {self.hop_ms:g} ms)" if costs else "")


def generated_batch(graph: Graph, n: int = 1) -> Batch:
    """Generated rows with every modality present: sound input for a first prediction and for measuring."""
    classes = max(graph.n_outputs, 2)
    table = generate_rows(graph.columns, graph.task, n, classes, seed=0, label=graph.label)
    return coerce(table, graph.columns).batch


def measure_nodes(graph: Graph, batch: Batch, repeats: int = 5) -> dict[str, float]:
    """Median milliseconds that each extractor and the classical stages (``members``) take for one row.

    The row is the one of the batch that has most columns; a first call warms up. The graph must be set up. Called when
    a graph is registered, and kept as ``graph.info["costs_ms"]``.
    """
    row = _fullest_row(batch)
    costs: dict[str, float] = {}
    for group in graph.groups():

        def extract(group: str = group) -> Any:
            return graph.blocks(group, graph.prepare(group, row))

        costs[group] = _median_ms(extract, repeats)
    blocks = graph.extract(row)
    costs[MEMBERS] = _median_ms(lambda: graph.combine(blocks), repeats)
    return costs


def _fullest_row(batch: Batch) -> Batch:
    row = int(np.sum([_there(values) for values in batch.values()], axis=0).argmax())
    return {name: values[row : row + 1] for name, values in batch.items()}


def _there(values: AnyArray) -> AnyArray:
    """Which cells (n,) hold something: not None, NaN or NaT."""
    if values.dtype == object:
        return np.array([value is not None for value in values], bool)
    return np.asarray(values == values)


def _median_ms(call: Callable[[], Any], repeats: int) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1000


def plan_serve(
    graph: Graph,
    limits: ServeSpec,
    view: ClusterView,
    costs_ms: Mapping[str, float] | None = None,
    hop_ms: float = HOP_MS,
) -> ServePlan:
    """Place the stages of a graph and divide the cluster among them.

    ``split`` gives each extractor and the classical stages deployments of their own, ``together`` keeps all in the
    ingress, ``auto`` moves out what costs more than a hop, and extractors that use a GPU where there is one.

    Parameters
    ----------
    graph : Graph
    limits : ServeSpec
    view : ClusterView
    costs_ms : mapping of str to float, optional
        As from :func:`measure_nodes`; needed for ``auto``.
    hop_ms : float, default 7

    Raises
    ------
    ResourceError
        The cluster has no CPU at all.
    """
    if view.cpus <= 0:
        raise ResourceError("cluster: serving needs a CPU; got 0 CPUs. Start nodes with --num-cpus 1 or more")
    costs = dict(costs_ms or {})
    gpu = {group for group, keys in graph.groups().items() if graph.extractors[keys[0]].tags.gpu and view.gpus > 0}
    if limits.placement == "together":
        away: list[str] = []
    elif limits.placement == "split":
        away = [*graph.groups(), MEMBERS]
    else:
        away = [name for name in [*graph.groups(), MEMBERS] if name in gpu or costs.get(name, 0.0) > hop_ms]
        if away == [MEMBERS]:
            away = []  # a hop for the only costly stage saves nothing: the ingress scales with it
    here_gpu = bool(gpu - set(away))
    scales: dict[str, ScaleSpec] = {"": limits.ingress} | dict.fromkeys(away, limits.extractors)
    cpus = _cpus_of_one(view, scales)
    gpus = _gpus_of_one(view, {name: scales[name] for name in scales if name in gpu or (name == "" and here_gpu)})

    def share(name: str) -> Share:
        scale = scales[name]
        num_gpus = gpus if name in gpu or (name == "" and here_gpu) else 0.0
        fits = int(view.cpus / cpus + 1e-9)
        if num_gpus:
            fits = min(fits, int(view.gpus / num_gpus + 1e-9))
        most = max(scale.min_replicas, min(scale.max_replicas, fits), 1)
        return Share(cpus, num_gpus, scale.min_replicas, most, scale.target_ongoing_requests)

    return ServePlan(
        ingress=share(""),
        extractors={name: share(name) for name in away if name != MEMBERS},
        members=share(MEMBERS) if MEMBERS in away else None,
        costs_ms=costs,
        hop_ms=hop_ms,
    )


def _cpus_of_one(view: ClusterView, scales: Mapping[str, ScaleSpec]) -> float:
    """CPUs of one replica, the same for all: at most 1, and so small that all that must start fit any nodes' sizes."""
    replicas = sum(max(scale.min_replicas, 1) for scale in scales.values())
    smallest = min(node.cpus for node in view.nodes if node.cpus > 0)
    one = min(1.0, smallest, view.cpus / replicas)
    # a node holds a whole number of replicas: what does not fit one node must find room on another
    while one > 0.01 and sum(int(node.cpus / one + 1e-9) for node in view.nodes) < replicas:
        one *= 0.9
    one = math.floor(one * 100) / 100
    if one < 0.01:
        raise ResourceError(
            f"serve: {replicas} replicas must fit the cluster; got {view.cpus:g} CPUs. Lower min_replicas, or serve "
            "with placement: together"
        )
    return one


def _gpus_of_one(view: ClusterView, scales: Mapping[str, ScaleSpec]) -> float:
    """GPUs of one replica that uses them: whole ones where there are enough, else a fraction."""
    replicas = sum(max(scale.min_replicas, 1) for scale in scales.values())
    if not replicas:
        return 0.0
    return max(math.floor(min(1.0, view.gpus / replicas) * 100) / 100, 0.01)

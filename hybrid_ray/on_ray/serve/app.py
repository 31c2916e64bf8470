"""A graph compiled to a Serve application: an ingress, and deployments for what costs more than a hop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import ray
from ray import serve
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError, WorkerCrashedError
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.serve.api import build_api
from hybrid_ray.on_ray.serve.batching import Arrays, RowBatcher
from hybrid_ray.on_ray.serve.conductor import Conductor
from hybrid_ray.on_ray.serve.contract import Loader, Served, unavailable
from hybrid_ray.on_ray.serve.desk import Desk
from hybrid_ray.on_ray.serve.follower import Follower
from hybrid_ray.on_ray.serve.guard import Guard
from hybrid_ray.on_ray.serve.pipeline import Extraction, Pipeline, Stage, chunked, combination, whole
from hybrid_ray.on_ray.serve.placement import ServePlan, Share
from hybrid_ray.on_ray.serve.registered import Registered, batcher, explaining_of, quickened
from hybrid_ray.on_ray.serve.switch import Live, Switch
from hybrid_ray.serving.counts import Counts
from hybrid_ray.spec import ServeSpec

_LOG = logging.getLogger(__name__)

BY_VALUE_BYTES = 512 * 1024
"""Arrays above this travel through the object store: by value they are copied at every step, and gRPC refuses 4 MiB."""
CHUNK_ROWS = 256
TOKENS_S = 2.0
"""Seconds after which a token that was issued or revoked counts."""
_ATTEMPTS = 3
_HEADROOM = 32


async def ship(arrays: Arrays) -> Any:
    """Arrays as they travel between deployments: themselves, or a reference when they are large."""
    if sum(_n_bytes(array) for array in arrays.values()) <= BY_VALUE_BYTES:
        return dict(arrays)
    return [await asyncio.to_thread(ray.put, dict(arrays))]


async def receive(sent: Any) -> Arrays:
    """The arrays that :func:`ship` sent."""
    return await sent[0] if isinstance(sent, list) else sent


def _n_bytes(array: Any) -> int:
    if array.dtype != object:
        return int(array.nbytes)
    return sum(len(value) if isinstance(value, bytes | str) else 16 for value in array)


def remote_stage(handle: DeploymentHandle) -> Stage:
    """A stage that runs in another deployment; a call whose replica died is made again, for it changes nothing."""

    async def run(arrays: Arrays) -> Arrays:
        sent = await ship(arrays)
        for attempt in range(_ATTEMPTS):
            try:
                return await receive(await handle.run.remote(sent))
            except RayTaskError:
                raise
            except (RayActorError, WorkerCrashedError, ObjectLostError) as error:
                _LOG.warning("a replica died with a request (attempt %d): %s", attempt + 1, error)
            except RayServeException as error:
                raise unavailable(f"a part of the model is away ({type(error).__name__})") from error
        raise unavailable("a part of the model keeps failing", retry_after_s=5)

    return run


class ExtractorReplica:
    """One extractor of a graph, all its copies; called by the ingress.

    Parameters
    ----------
    loader : Loader
    group : str
        Extractor id.
    keys : sequence of str
        Keys of its copies.
    limits : ServeSpec
    device : str
    warm : mapping of str to ndarray
        Raw rows that are extracted before the first request is taken.
    """

    def __init__(
        self, loader: Loader, group: str, keys: Sequence[str], limits: ServeSpec, device: str, warm: Arrays
    ) -> None:
        graph = loader(keys, members=False)
        graph.setup(device)
        extraction = Extraction(graph, [group])
        extraction(warm)
        self._stage = batcher(extraction, limits, slots=2).submit

    async def run(self, sent: Any) -> Any:
        """Packed blocks of raw columns."""
        return await ship(await self._stage(await receive(sent)))


class MembersReplica:
    """The classical stages of a graph; called by the ingress.

    Parameters
    ----------
    loader : Loader
    limits : ServeSpec
    """

    def __init__(self, loader: Loader, limits: ServeSpec) -> None:
        self._stage = batcher(combination(loader(())), limits).submit

    async def run(self, sent: Any) -> Any:
        """Outputs of packed blocks."""
        return await ship(await self._stage(await receive(sent)))


class _Bridge:
    """The ASGI application that Serve is given: hands every request to the replica's own API.

    The API is made from a graph, so it can only be built in the replica, after the graph was loaded there.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _no_lifespan(receive, send)
            return
        ingress = serve.get_replica_context().servable_object
        ingress.follow()
        await ingress.api(scope, receive, send)


async def _no_lifespan(receive: Any, send: Any) -> None:
    for step in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{step}.complete"})


@serve.ingress(_Bridge())
class Ingress:
    """Takes HTTP requests, checks them, runs the stages that are placed here and calls the others.

    Parameters
    ----------
    loader : Loader
    served : Served
    device : str
    extractors : mapping of str to DeploymentHandle
        Extractors with a deployment of their own, by id.
    members : DeploymentHandle or None
        The classical stages, when they have one.
    registered : Registered or None
        The model in its store: other versions may answer too, labels are taken, and a share of requests is logged.
        None: what ``loader`` gives answers everybody.
    conductor : DeploymentHandle or None
        Adds up what replicas count, for a model that is followed.
    """

    def __init__(
        self,
        loader: Loader,
        served: Served,
        device: str,
        extractors: Mapping[str, DeploymentHandle],
        members: DeploymentHandle | None,
        registered: Registered | None,
        conductor: DeploymentHandle | None,
    ) -> None:
        self._device = device
        self._registered = registered
        self._conductor = conductor
        pipeline = _pipeline(loader, served, device, extractors, members)
        log = registered.log(served, loader((), members=False).info) if registered is not None else None
        self._switch = Switch(Live(served, pipeline, log, explaining_of(served, lambda: _whole(loader))))
        self._follower: Follower | None = None
        if registered is None:
            self.api = build_api(self._switch, Guard(None))
            return
        desk = Desk(registered.store, registered.name)
        counted = self._totals if conductor is not None else None
        self._guard = Guard(registered.keyring())
        self._renewing: asyncio.Task[None] | None = None
        self.api = build_api(self._switch, self._guard, desk, counted)
        if registered.follows:
            self._follower = Follower(self._switch, registered.look, self._another, self._report)

    def follow(self) -> None:
        """Look at traffic and tokens from now on, where the model is one that has them."""
        if self._follower is not None:
            self._follower.start()
        if self._registered is not None and self._registered.guarded and self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(self._registered))

    async def _renew(self, registered: Registered) -> None:
        """Take the tokens that are good now, again and again."""
        while True:
            await asyncio.sleep(TOKENS_S)
            try:
                keyring = await asyncio.to_thread(registered.keyring)
            except Exception:  # while the store is away, tokens that were good stay good
                _LOG.exception("the tokens could not be read")
                continue
            if keyring is not None:
                self._guard.change(keyring)

    async def check_health(self) -> None:
        """Called by Serve, on the loop of requests: a replica that nobody asks follows too."""
        self.follow()

    async def _another(self, version: int) -> Live:
        """A further version, as a whole in this replica."""
        assert self._registered is not None
        return await asyncio.to_thread(self._registered.live, version, self._device)

    async def _report(self) -> None:
        if self._conductor is None:
            return
        counts = {int(number): live.counts() for number, live in self._switch.versions.items()}
        await self._conductor.report.remote(serve.get_replica_context().replica_id.unique_id, counts)

    async def _totals(self) -> Mapping[int, Counts]:
        assert self._conductor is not None
        await self._report()
        return await self._conductor.totals.remote()

    def __del__(self) -> None:
        switch: Switch | None = vars(self).get("_switch")
        for live in switch.versions.values() if switch is not None else ():
            if live.log is not None:
                live.log.close()


def _whole(loader: Loader) -> Graph:
    """The whole graph on the CPU: what explains is asked seldom, and one row at a time."""
    graph = loader()
    graph.setup("cpu")
    return graph


def _pipeline(
    loader: Loader,
    served: Served,
    device: str,
    extractors: Mapping[str, DeploymentHandle],
    members: DeploymentHandle | None,
) -> Pipeline:
    """Stages that run here, and those that others run."""
    limits = served.limits
    rows = min(limits.max_batch_rows, CHUNK_ROWS)
    here = [group for group in served.extractors if group not in extractors]
    graph = loader([key for group in here for key in served.extractors[group].keys], members=members is None)
    graph.setup(device)
    stages: dict[str, Stage] = {g: chunked(remote_stage(handle), rows) for g, handle in extractors.items()}
    batchers: list[RowBatcher] = []
    combine: Stage | None = None
    if members is not None:
        combine = chunked(remote_stage(members), rows)
    elif extractors:
        batchers.append(batcher(combination(graph), limits))
        combine = batchers[-1].submit
    if here:
        if combine is None:
            quickened(graph, served.probe.batch)
        run = Extraction(graph, here) if combine is not None else whole(graph, embeddings=limits.log.share > 0)
        run(served.probe.batch)
        batchers.append(batcher(run, limits, slots=2))
        stages["+".join(here)] = batchers[-1].submit
    return Pipeline(served, stages, combine, batchers)


def compile_app(loader: Loader, served: Served, plan: ServePlan, registered: Registered | None = None) -> Any:
    """The Serve application of a graph.

    Parameters
    ----------
    loader : Loader
    served : Served
    plan : ServePlan
    registered : Registered, optional
        The model in its store.

    Returns
    -------
    ray.serve.Application
        Deployments ``ingress``, ``extractor-<id>`` and ``members``, and ``conductor`` of a model that is followed.
    """
    limits = served.limits
    extractors = {
        group: _deployment(ExtractorReplica, f"extractor-{group}", share, _ongoing(limits)).bind(
            loader, group, served.extractors[group].keys, limits, _device(share), _warm(served, group)
        )
        for group, share in plan.extractors.items()
    }
    members = (
        _deployment(MembersReplica, "members", plan.members, _ongoing(limits)).bind(loader, limits)
        if plan.members is not None
        else None
    )
    # The ingress itself refuses what is above max_queued, with a Retry-After: Serve must let that much through to it.
    # What is above even that is refused by Serve, in words of its own but with the header too.
    ingress = _deployment(Ingress, "ingress", plan.ingress, limits.max_queued + _HEADROOM, limits.max_queued).options(
        backpressure_config=BackpressureConfig(retry_after_s=1)
    )
    conductor = None
    if registered is not None and registered.follows:
        options = {"num_cpus": 0, "num_gpus": 0}
        conductor = serve.deployment(Conductor).options(name="conductor", ray_actor_options=options).bind(registered)
    return ingress.bind(loader, served, _device(plan.ingress), extractors, members, registered, conductor)


def _warm(served: Served, group: str) -> Arrays:
    """The columns of the probe rows that an extractor reads."""
    return {column: served.probe.batch[column] for column in served.extractors[group].columns}


def _ongoing(limits: ServeSpec) -> int:
    """Requests that a replica must hold at once for its batches to fill."""
    return max(2 * limits.max_batch_rows, 8)


def _device(share: Share) -> str:
    return "cuda" if share.num_gpus else "cpu"


def _deployment(cls: type, name: str, share: Share, max_ongoing: int, max_queued: int = -1) -> Any:
    asked: Any = serve.deployment(cls).options
    # A version that comes in place of another starts beside it; Ray before 2.60 stops the old replicas first.
    surge = {"max_surge_percent": 100} if "max_surge_percent" in signature(asked).parameters else {}
    return asked(
        **surge,
        name=name,
        ray_actor_options={"num_cpus": share.num_cpus, "num_gpus": share.num_gpus},
        autoscaling_config=AutoscalingConfig(
            min_replicas=share.min_replicas,
            max_replicas=share.max_replicas,
            target_ongoing_requests=share.target_ongoing_requests,
        ),
        max_ongoing_requests=max_ongoing,
        max_queued_requests=max_queued,
        max_constructor_retry_count=3,
        logging_config={"enable_access_log": False},
    )

"""Serving a model: start what is not there, wait until it answers, take down only what was started."""

from __future__ import annotations

import errno
import http.client
import ipaddress
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import ray
from ray import serve
from ray.exceptions import GetTimeoutError, RayActorError
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus, LoggingConfig

from hybrid_ray.errors import BadInputError, RunFailedError
from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.haproxy import THROUGHPUT
from hybrid_ray.on_ray.model import StoredModel
from hybrid_ray.on_ray.serve.app import compile_app
from hybrid_ray.on_ray.serve.contract import Loader, Probe, Served
from hybrid_ray.on_ray.serve.pipeline import WRONG
from hybrid_ray.on_ray.serve.placement import (
    FAST_HOP_MS,
    HOP_MS,
    ServePlan,
    generated_batch,
    measure_nodes,
    plan_serve,
)
from hybrid_ray.on_ray.serve.registered import Registered
from hybrid_ray.serving.tokens import TokenStore
from hybrid_ray.spec import ServeSpec

READY_TIMEOUT_S = 600.0
_POLL_S = 0.2
_SHUTDOWN_S = 60.0
_EVERYWHERE = ("0.0.0.0", "::", "")


@dataclass(frozen=True)
class Serving:
    """A model that answers.

    Attributes
    ----------
    url : str
        Base address: ``http://127.0.0.1:8000``.
    model : str
    version : int or str
    app : str
        Name of the Serve application.
    plan : ServePlan
    """

    url: str
    model: str
    version: int | str
    app: str
    plan: ServePlan

    @property
    def banner(self) -> str:
        """What is said to people."""
        return (
            f"{self.model}:{self.version} answers at {self.url}/predict (documentation: {self.url}/docs); "
            f"{self.plan.describe()}"
        )

    def wait(self) -> None:
        """Return when the process is interrupted or asked to end (SIGINT, SIGTERM).

        Raises
        ------
        RunFailedError
            The application stopped running by itself.
        """
        ended = threading.Event()

        def end(_: int, __: FrameType | None) -> None:
            ended.set()

        held = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not ended.wait(5.0):
                status = serve.status().applications.get(self.app)
                if status is None or status.status == ApplicationStatus.DEPLOY_FAILED:
                    raise RunFailedError(f"serve: the application {self.app!r} must run; it was deleted or failed")
        finally:
            for number, handler in held.items():
                signal.signal(number, handler)


@contextmanager
def serve_model(
    cluster: Cluster,
    ref: str,
    store: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    tokens: bool | None = None,
    limits: ServeSpec | None = None,
    ready_timeout_s: float = READY_TIMEOUT_S,
) -> Iterator[Serving]:
    """Serve a stored model while the context lasts.

    Parameters
    ----------
    cluster : Cluster
    ref : str
        ``name``, ``name@champion``, ``name:version`` or a folder.
    store : str
        URI of the store.
    host : str, default "127.0.0.1"
        Address that the proxy binds.
    port : int, default 8000
        Port that the proxy binds; 0: any free one.
    tokens : bool, optional
        Whether a token of the store is asked for; default: for any address but this machine's own.
    limits : ServeSpec, optional
        Default: those the model was registered with.
    ready_timeout_s : float, default 600

    Yields
    ------
    Serving

    Raises
    ------
    BadInputError
        The port is in use, Serve already listens elsewhere on this cluster, or tokens are to be asked for and the store
        has none.
    RunFailedError
        The application did not become ready.
    """
    port = _front_door(cluster, host, port)
    model = StoredModel.find(store, ref)
    guarded = _guarded(model, host, tokens)
    graph, probe = model.checked(), model.probe()
    served = Served.of(graph, model.version, probe or Probe(generated_batch(graph)), limits)
    plan = plan_for(cluster, graph, served.limits)
    del graph
    app = compile_app(model, served, plan, Registered.of(model, ref, limits, guarded))
    with _serving(app, served, plan, host, port, ready_timeout_s) as serving:
        yield serving


def _guarded(model: StoredModel, host: str, tokens: bool | None) -> bool:
    """Whether tokens are asked for.

    Raises
    ------
    BadInputError
        They are, and there is none; or the model is a folder, which has no store to hold them.
    """
    asked = not _is_loopback(host) if tokens is None else tokens
    if asked:
        need_tokens(model, f"--host {host}" if tokens is None else "--tokens", "say --no-tokens")
    return asked


def need_tokens(model: StoredModel, where: str, otherwise: str) -> None:
    """Refuse to ask for tokens of which there are none.

    Parameters
    ----------
    model : StoredModel
    where, otherwise : str
        What asks for them, and what to do instead of making one.

    Raises
    ------
    BadInputError
        The store has none, or the model is a folder, which has no store to hold them.
    """
    if not model.found.version:
        raise BadInputError(
            f"{where}: the model must be in a store, which holds tokens; got a folder. Register it, or {otherwise}"
        )
    if not TokenStore(model.store).tokens():
        raise BadInputError(
            f"{where}: the store must hold a token; it has none. Make one: hybrid-ray tokens issue --role predict "
            f"--store {model.store.uri}, or {otherwise}"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def serve_graph(
    cluster: Cluster,
    graph: Graph,
    loader: Loader,
    version: int | str,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: ServeSpec | None = None,
    ready_timeout_s: float = READY_TIMEOUT_S,
) -> Iterator[Serving]:
    """As :func:`serve_model`, for a graph in hand; ``loader`` gives the same graph to the replicas."""
    port = _front_door(cluster, host, port)
    served = Served.of(graph, version, Probe(generated_batch(graph)), limits)
    plan = plan_for(cluster, graph, served.limits)
    with _serving(compile_app(loader, served, plan), served, plan, host, port, ready_timeout_s) as serving:
        yield serving


@contextmanager
def _serving(
    app: Any, served: Served, plan: ServePlan, host: str, port: int, ready_timeout_s: float
) -> Iterator[Serving]:
    with ExitStack() as undo:
        undo.enter_context(_quiet())
        if _get_global_client(raise_if_no_controller_running=False) is None:
            undo.callback(_shut_down, host, port)
            serve.start(
                proxy_location="EveryNode" if host in _EVERYWHERE else "HeadOnly",
                http_options={"host": host, "port": port},
                logging_config=LoggingConfig(enable_access_log=False, log_level=logging.WARNING),
            )
        undo.callback(_delete, served.name)
        serve.run_many([serve.RunTarget(app, name=served.name)], wait_for_applications_running=False)
        deadline = time.monotonic() + ready_timeout_s
        _wait_running(served.name, deadline)
        _wait_ready(_reachable(host), port, deadline)
        yield Serving(f"http://{_reachable(host)}:{port}", served.name, served.version, served.name, plan)


def _delete(name: str) -> None:
    if name in serve.status().applications:
        serve.delete(name)


def _shut_down(host: str, port: int) -> None:
    """End Serve on this cluster, and return when its port is free again.

    The controller is told by a call that is not made again when it has gone: ``serve.shutdown`` alone makes Ray
    complain of that on standard output, where only the answer of a command may stand.
    """
    try:
        controller = ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
        ray.get(controller.graceful_shutdown.options(max_task_retries=0).remote(), timeout=_SHUTDOWN_S)
    except (RayActorError, GetTimeoutError, ValueError):
        pass  # gone, which is what is wanted, or slow: said by what follows
    serve.shutdown()
    deadline = time.monotonic() + _SHUTDOWN_S
    while _listens(host, port) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _listens(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as knock:
        knock.settimeout(1.0)
        return knock.connect_ex((_reachable(host).strip("[]"), port)) == 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Serve's own notes kept off the terminal."""
    logger = logging.getLogger("ray.serve")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def plan_for(cluster: Cluster, graph: Graph, limits: ServeSpec) -> ServePlan:
    """Place a graph on a cluster: by the costs it was registered with, else by measuring it here."""
    costs = dict(graph.info.get("costs_ms", {}))
    if limits.placement == "auto" and not costs:
        graph.setup()
        costs = measure_nodes(graph, generated_batch(graph))
    fast = all(os.environ.get(name) == value for name, value in THROUGHPUT.items())
    return plan_serve(graph, limits, cluster.view(), costs, FAST_HOP_MS if fast else HOP_MS)


def _can_bind(host: str) -> bool:
    """True for an address of this machine."""
    try:
        claim_port(host, 0)
    except BadInputError:
        return False
    return True


def claim_port(host: str, port: int) -> int:
    """A port that can be bound now: the one asked for, or any free one for 0.

    Raises
    ------
    BadInputError
        It is in use, or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                what = f"--port: must be free; got {port}, which is in use on {host}. Give another, or 0 for any"
            else:
                what = f"--host: must be an address of this machine that may be bound; got {host}:{port} ({error})"
            raise BadInputError(what) from error
        return int(probe.getsockname()[1])


def _front_door(cluster: Cluster, host: str, port: int) -> int:
    """The port that will be listened on; checked before anything is loaded or started.

    Raises
    ------
    BadInputError
        It is in use, Serve of this cluster listens elsewhere, or another application has the route.
    """
    running = _get_global_client(raise_if_no_controller_running=False)
    if running is None:
        return claim_port(host, port) if _can_bind(cluster.address.rpartition(":")[0]) else port
    held = (running.http_config.host, running.http_config.port)
    if port != 0 and (host, port) != held:
        raise BadInputError(
            f"--port: Serve already listens on {held[0]}:{held[1]} of this cluster and cannot listen elsewhere; got "
            f"{host}:{port}. Give --host {held[0]} --port {held[1]}"
        )
    taken = _routes().get("/")
    if taken is not None:
        raise BadInputError(f"serve: the route / must be free; the application {taken!r} has it. Delete that first")
    return int(held[1])


def _routes() -> dict[str, str]:
    """Route to application, of those that run."""
    applications = _get_global_client().get_serve_details()["applications"]
    return {str(details["route_prefix"]): name for name, details in applications.items()}


def _reachable(host: str) -> str:
    named = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"[{named}]" if ":" in named and not named.startswith("[") else named


def _wait_running(name: str, deadline: float) -> None:
    while True:
        app = serve.status().applications.get(name)
        if app is not None and app.status == ApplicationStatus.RUNNING:
            return
        if app is not None and app.status in (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY):
            raise RunFailedError(f"serve: the application {name!r} must start; {_reasons(name)}")
        if time.monotonic() > deadline:
            raise RunFailedError(
                f"serve: the application {name!r} must start in time; {_reasons(name)}. Free CPUs on the cluster, or "
                "serve with placement: together"
            )
        time.sleep(_POLL_S)


def _reasons(name: str) -> str:
    app = serve.status().applications[name]
    parts = [app.message, *(f"{n}: {d.message}" for n, d in app.deployments.items())]
    return "; ".join(part.strip().splitlines()[-1] for part in parts if part and part.strip()) or "no reason was given"


def _wait_ready(host: str, port: int, deadline: float) -> None:
    said = "no answer"
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            said = answer.read(2000).decode("utf-8", "replace")
            if answer.status == 200:
                return
            if f'"{WRONG}' in said:
                raise RunFailedError(f"serve: the replicas must answer as the saved graph did; {said}")
        except OSError as error:
            said = str(error)
        finally:
            connection.close()
        time.sleep(_POLL_S)
    raise RunFailedError(f"serve: http://{host}:{port}/readyz must answer 200 in time; got {said}")

"""The one place where Ray is started or joined, and left again."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hybrid_ray.errors import BadInputError, ResourceError, RunFailedError, StoreError
from hybrid_ray.on_ray import haproxy
from hybrid_ray.on_ray.resources import ClusterView, Node
from hybrid_ray.store.root import StoreRoot

ANSWER_S = 5.0
"""Time that a cluster has to answer before it is called unreachable."""
SETTLE_S = 3.0
"""Time that resources are waited for when a pool that has just ended may still hold them."""
BUSY_S = 20.0
"""The same where no CPU is free."""
STORE_SHARE = 0.3
"""Part of the machine's memory that a local cluster gives to the object store."""
QUIET_THREADS = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
"""Threads that wait for each other sleep soon. By default they spin: beside other work on the same cores, two threads
are then many times slower than one (measured with MobileNetV2: 1.6 rows/s instead of 127)."""
_ALWAYS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1", **QUIET_THREADS}
_LOCAL = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "hybrid_ray.on_ray.serve.proxy:middlewares"}
"""Serve's proxy reads it from the environment in which Ray is started."""
_QUIET = {"RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Ray's core writes its errors to the terminal past all of Python's logging."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to; made by :func:`connect` only.

    Attributes
    ----------
    address : str
        ``host:port`` of the cluster.
    started : bool
        True when it was started for this command and ends with it.
    """

    address: str
    started: bool

    def view(self) -> ClusterView:
        """What the cluster has free for us, node by node.

        Resources of a pool that has just ended come back a moment later: a cluster that is not idle is asked again
        for a few seconds, and longer where no CPU is free, without which nothing can be done.
        """
        start = time.monotonic()
        view, idle = _look()
        while not idle and time.monotonic() < start + (SETTLE_S if view.cpus > 0 else BUSY_S):
            time.sleep(0.1)
            view, idle = _look()
        return view

    @property
    def task_cpus(self) -> float:
        """CPUs of a plain task: one, or less on a machine that has less; what is held now does not count."""
        return min(1.0, max(node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]))

    def check_store(self, root: StoreRoot) -> None:
        """Refuse a store that workers cannot share: every node must read what we write, and write where we read.

        Raises
        ------
        StoreError
            Some node sees another store, or none; the message names the node.
        """
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if len(nodes) == 1 and self.started and root.local_path("") is not None:
            return
        token = uuid.uuid4().hex
        root.write(f"probe/{token}", token.encode())
        try:
            answers = {
                node["NodeID"]: _probe.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(root, token, node["NodeID"])
                for node in nodes
            }
            for node in nodes:
                fault = ray.get(answers[node["NodeID"]], timeout=60) or _unseen(root, token, node["NodeID"])
                if fault:
                    raise StoreError(
                        f"store: every node must read and write it; got {root.uri!r}, and node "
                        f"{node['NodeManagerAddress']}: {fault}. Use a shared folder, or a bucket such as s3://"
                    )
        finally:
            for path in root.list("probe"):
                if Path(path).name.startswith(token):
                    root.delete(path)


@contextmanager
def connect(
    address: str | None = None, *, num_cpus: int | None = None, num_gpus: int | None = None, quiet: bool = True
) -> Iterator[Cluster]:
    """Connect to a Ray cluster for as long as the block lasts, and close only what was opened here.

    Parameters
    ----------
    address : str, optional
        ``host:port``, or ``auto`` for the cluster of this machine. Left out: the cluster this process is connected to
        already; else ``$RAY_ADDRESS`` (inside a Ray job, the job's cluster); else a local cluster that ends with the
        block. ``ray://`` is refused: Ray Data does not run through Ray's client.
    num_cpus, num_gpus : int, optional
        What a local cluster has; left out, what the machine has.
    quiet : bool, default True
        Keep Ray's own logs and messages off the terminal; else they go to standard error. Standard output is left to
        the caller's answer either way.

    Yields
    ------
    Cluster

    Raises
    ------
    BadInputError
        The address is malformed, or this process is connected to another cluster.
    ResourceError
        Nothing answers there, or it refuses us.

    Notes
    -----
    A local cluster listens on every interface of the machine, so it is started with a token of its own that only
    this process and its workers know, unless ``RAY_AUTH_MODE`` says otherwise. A cluster that is joined is met with
    the token of the environment (``RAY_AUTH_TOKEN``, ``RAY_AUTH_TOKEN_PATH``, ``~/.ray/auth_token``) if there is one.
    """
    if ray.is_initialized():
        yield _borrow(address)
        return
    wanted = address or os.environ.get("RAY_ADDRESS") or "local"
    started = wanted == "local"
    with ExitStack() as stack:
        fast = stack.enter_context(haproxy.settings()) if started else {}
        stack.enter_context(_environment(_settings(wanted, quiet, fast)))
        stack.enter_context(_messages_off_stdout(quiet))
        with _without_announcement():
            context = _start(num_cpus, num_gpus, quiet) if started else _join(wanted, quiet)
        try:
            yield Cluster(str(context.address_info["gcs_address"]), started)
        finally:
            ray.shutdown()


@contextmanager
def _messages_off_stdout(quiet: bool) -> Iterator[None]:
    """Keep what Ray's processes tell every driver off standard output, where ``log_to_driver=False`` lets it through.

    Ray has no setting for it (its issue 63800): the driver's thread that receives the messages looks this function up.
    """
    worker = ray._private.worker
    shown = worker.print_to_stdstream

    def to_stderr(data: dict[str, Any], ignore_prefix: bool) -> None:
        if not quiet:
            shown(data | {"is_err": True}, ignore_prefix)

    worker.print_to_stdstream = to_stderr
    try:
        yield
    finally:
        worker.print_to_stdstream = shown


@contextmanager
def _without_announcement() -> Iterator[None]:
    """Hold back what is written to the terminal meanwhile, and leave out the line that announces the log level."""
    try:
        terminal = os.dup(2)
    except OSError:  # this process has no standard error
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            held.seek(0)
            os.write(terminal, b"".join(line for line in held if b"RAY_BACKEND_LOG_LEVEL" not in line))
            os.close(terminal)


def _borrow(address: str | None) -> Cluster:
    here = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", "local", here):
        raise BadInputError(
            f"--address: this process is connected to {here} already; got {address!r}. Call ray.shutdown() first"
        )
    return Cluster(here, started=False)


def _settings(wanted: str, quiet: bool, fast: Mapping[str, str]) -> dict[str, str]:
    """Environment for Ray: what is set already stays."""
    settings = _ALWAYS | (_QUIET if quiet else {}) | dict(fast)
    if wanted == "local":
        settings |= _LOCAL | {"RAY_AUTH_MODE": "token"}
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:
            settings["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    else:
        settings["RAY_AUTH_MODE"] = "token" if _has_token() else "disabled"
    return {name: os.environ.get(name, value) for name, value in settings.items()}


def _has_token() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return True
    return (Path.home() / ".ray" / "auth_token").is_file()


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    _reread_environment()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _reread_environment()


def _reread_environment() -> None:
    """Make this process see its authentication settings: Ray keeps what it found when it was imported."""
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


def _logging(quiet: bool) -> dict[str, Any]:
    return {"log_to_driver": not quiet, "logging_level": logging.ERROR if quiet else logging.INFO}


def _start(num_cpus: int | None, num_gpus: int | None, quiet: bool) -> Any:
    store_bytes = _store_bytes()
    try:
        return ray.init(
            "local",
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            object_store_memory=store_bytes,
            include_dashboard=False,
            **_logging(quiet),
        )
    except (RuntimeError, ValueError, ConnectionError, OSError) as error:
        line = str(error).strip().splitlines()[0]
        raise RunFailedError(f"cluster: a local Ray must start on this machine; got {line!r}. See /tmp/ray") from error


def _store_bytes() -> int:
    """Bytes of a local object store: 30 % of what is free, within shared memory, or ``$HYBRID_RAY_OBJECT_STORE_MB``."""
    asked = os.environ.get("HYBRID_RAY_OBJECT_STORE_MB")
    if asked is not None:
        if not asked.isdigit() or int(asked) < 80:
            raise BadInputError(f"HYBRID_RAY_OBJECT_STORE_MB: must be a whole number, 80 or more; got {asked!r}")
        return int(asked) * 2**20
    from ray._private.utils import estimate_available_memory, get_shared_memory_bytes

    free = estimate_available_memory() * STORE_SHARE
    shared = get_shared_memory_bytes() * 0.9 if Path("/dev/shm").is_dir() else free
    return max(int(min(free, shared)), 80 * 2**20)


def _join(address: str, quiet: bool) -> Any:
    try:
        _check_answers(_running_here() if address == "auto" else address)
        return ray.init(address, **_logging(quiet))
    except BadInputError:
        raise
    except ray.exceptions.AuthenticationError as error:
        raise ResourceError(
            f"--address: the cluster at {address!r} must accept our token; it refused. Put its token in RAY_AUTH_TOKEN "
            "or RAY_AUTH_TOKEN_PATH, and set RAY_AUTH_MODE=token"
        ) from error
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ResourceError(
            f"--address: a Ray cluster must answer there; got {address!r}: {line}. Start one with `ray start --head`, "
            "or leave the address out for a local one"
        ) from error


def _running_here() -> str:
    """``host:port`` of the cluster that runs on this machine."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    return str(canonicalize_bootstrap_address_or_die("auto"))


def _check_answers(address: str) -> None:
    """Knock first: Ray itself tries for minutes, and ends the process when it gives up."""
    import grpc

    if "://" in address:
        raise BadInputError(
            f"--address: must be host:port or auto, since Ray Data does not run through a proxy; got {address!r}. From "
            "outside the cluster, use `hybrid-ray submit --address http://HEAD:8265 -- …`"
        )
    parsed = ray._raylet.parse_address(address)
    if parsed is None or not str(parsed[1]).isdigit():
        raise BadInputError(f"--address: must be host:port or auto; got {address!r}")
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return
    channel = grpc.insecure_channel(address)
    try:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_S)
    except grpc.FutureTimeoutError:
        raise TimeoutError(f"no answer within {ANSWER_S:g} s") from None
    finally:
        channel.close()
    ray._raylet.GcsClient(address=address)


def _look() -> tuple[ClusterView, bool]:
    """Free resources by node, and whether nothing is taken."""
    free = ray._private.state.available_resources_per_node()
    nodes: list[Node] = []
    idle = True
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        has, left = node["Resources"], free.get(node["NodeID"], {})
        nodes.append(
            Node(
                cpus=left.get("CPU", 0.0),
                gpus=left.get("GPU", 0.0),
                memory=int(left.get("memory", 0)),
                object_store=int(has.get("object_store_memory", 0)),
                computes=has.get("CPU", 0.0) > 0,
            )
        )
        idle = idle and all(left.get(name, 0.0) >= has.get(name, 0.0) for name in ("CPU", "GPU"))
    return ClusterView(tuple(nodes)), idle


@ray.remote(num_cpus=0, max_retries=0)
def _probe(root: StoreRoot, token: str, node_id: str) -> str:
    """What is wrong with the store as this node sees it; empty when nothing is."""
    try:
        if root.read(f"probe/{token}") != token.encode():
            return "it holds something else there"
        root.write(f"probe/{token}-{node_id}", token.encode())
    except FileNotFoundError:
        return "what we write is not seen there"
    except (StoreError, OSError) as error:
        return f"it cannot use it ({error})"
    return ""


def _unseen(root: StoreRoot, token: str, node_id: str) -> str:
    return "" if root.exists(f"probe/{token}-{node_id}") else "what it writes is not seen here"


def use_threads(threads: int) -> None:
    """Give the arithmetic of this process so many threads, before and after torch is imported.

    To be called at the start of every task that runs an extractor: Ray uses a process for one task after the other, and
    what ran there before may have asked for more. Sums of other threads round otherwise.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    for name, value in QUIET_THREADS.items():
        os.environ.setdefault(name, value)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def usable_device(wanted: Literal["cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """The device, or the CPU where Ray gives a GPU that torch cannot use."""
    if wanted == "cpu":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"

"""What to ask of Ray: plans made from what the cluster really has, so that nothing ever waits for ever.

Everything here is arithmetic on a :class:`ClusterView`; nothing talks to Ray. The rules:

- every request fits one node;
- what is held for long (the actors of a pool) leaves room, on any placement, for one read: a pool that holds all CPUs
  would wait for rows that no read could bring;
- a plan that cannot be is refused at once with what is missing.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice, repeat
from operator import truediv
from typing import Literal

from hybrid_ray.errors import ResourceError
from hybrid_ray.spec import Resources

ACTOR_BYTES = int(1.5 * 2**30)
"""Memory that one worker is taken to need: torch itself, a model of ordinary size, a batch and its activations."""
MODEL_BYTES = 256 * 2**20
"""Memory that a trial needs beside its matrices: the process itself and a fitted model."""
BATCH_ROWS = 256
"""Rows that are decoded and handed to an extractor at once; it divides them as suits its network. Fewer rows would
leave it less choice of texts of one length."""
MAX_READ_CPUS = 1.0
"""What an ordinary short task asks for."""
SHARE_OF_MEMORY = 0.8
"""Part of the free memory that is given out; the rest is for Ray and for what was estimated too low."""


@dataclass(frozen=True)
class Node:
    """What one node has for us.

    Attributes
    ----------
    cpus, gpus : float
        Logical CPUs and GPUs, as Ray counts them.
    memory : int
        Bytes for workers.
    object_store : int
        Bytes of the shared-memory object store.
    computes : bool
        False for a node that was started without CPUs, as a head may be: no task of ours runs there.
    """

    cpus: float
    gpus: float
    memory: int
    object_store: int
    computes: bool = True


@dataclass(frozen=True)
class ClusterView:
    """What a cluster has for us, node by node."""

    nodes: tuple[Node, ...]

    @classmethod
    def single(
        cls, cpus: float, gpus: float = 0, memory: int = 8 * 2**30, object_store: int = 2 * 2**30
    ) -> ClusterView:
        """A cluster of one node."""
        return cls((Node(cpus, gpus, memory, object_store),))

    @property
    def cpus(self) -> float:
        """Logical CPUs of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)

    @property
    def memory(self) -> int:
        """Bytes for workers, of all nodes."""
        return sum(node.memory for node in self.nodes)

    @property
    def object_store(self) -> int:
        """Bytes of the object stores of all nodes."""
        return sum(node.object_store for node in self.nodes)

    @property
    def smallest_store(self) -> int:
        """Bytes of the smallest object store of a node that can compute: what an object for every node must fit.

        Whether such a node has a CPU free at this moment says nothing of its store.
        """
        return min((node.object_store for node in self.nodes if node.computes), default=0)

    @property
    def most_cpus(self) -> float:
        """Logical CPUs of the largest node."""
        return max((node.cpus for node in self.nodes), default=0.0)


@dataclass(frozen=True)
class ExtractionPlan:
    """How one extractor runs.

    Attributes
    ----------
    actors : int
        Size of the actor pool, from the start.
    cpus, gpus : float
        What one actor asks of Ray.
    device : {"cpu", "cuda"}
    threads : int
        Threads of one actor's arithmetic.
    batch_size : int
        Rows of one pass of the extractor.
    decoders : int
        CPU tasks that one actor keeps decoding for it; 0: it decodes its own rows, no pixel is copied.
    read_cpus : float
        What one read task asks of Ray.
    readers : int
        Read tasks at the same time.
    """

    actors: int
    cpus: float
    gpus: float
    device: Literal["cpu", "cuda"]
    threads: int
    batch_size: int
    decoders: int
    read_cpus: float
    readers: int


@dataclass(frozen=True)
class SearchResources:
    """How the trials of a search run.

    Attributes
    ----------
    concurrent : int
        Trials at the same time.
    cpus : float
        What one trial asks of Ray.
    threads : int
        Threads that a fit may use.
    memory : int
        Bytes that one trial may need beside the shared matrices.
    spare : float
        CPUs that a short task may ask for while the trials hold theirs.
    """

    concurrent: int
    cpus: float
    threads: int
    memory: int
    spare: float


def plan_extraction(view: ClusterView, *, gpu: bool, asked: Resources, units: int, where: str) -> ExtractionPlan:
    """Plan the actor pool of one extractor.

    Parameters
    ----------
    view : ClusterView
    gpu : bool
        True when the extractor runs faster on a GPU.
    asked : Resources
        What the spec asks for; what it leaves out is planned.
    units : int
        Pieces of work that can be done at the same time: more actors than that would stand idle.
    where : str
        Path of the entry in the spec, for messages.

    Raises
    ------
    ResourceError
        The cluster has no CPU, or lacks what is asked; the message says what is missing.
    """
    _check_cpus(view)
    gpus = _gpus_of_one(view, gpu, asked, where)
    if asked.num_cpus is not None and asked.num_cpus > view.most_cpus:
        raise ResourceError(
            f"{where}.resources.num_cpus: one worker must fit one node; got {asked.num_cpus:g}, the largest node has "
            f"{view.most_cpus:g} CPUs. Ask for less"
        )
    plan = _plan_on_gpus(view, gpus, asked, units) if gpus else _plan_on_cpus(view, asked, units)
    if asked.min_workers > plan.actors and asked.min_workers <= units:
        raise ResourceError(
            f"{where}.resources.min_workers: the cluster must hold the workers that the pool starts with; got "
            f"{asked.min_workers}, it holds {plan.actors} of {plan.cpus:g} CPUs and {plan.gpus:g} GPUs. Ask for less"
        )
    return plan


def _check_cpus(view: ClusterView) -> None:
    if view.cpus <= 0:
        raise ResourceError(
            f"cluster: at least one node must have a CPU; got {len(view.nodes)} nodes and 0 CPUs. Start nodes with "
            "--num-cpus 1 or more, or wait until what runs there has ended"
        )


def _gpus_of_one(view: ClusterView, gpu: bool, asked: Resources, where: str) -> float:
    """GPUs of one actor: as asked, else one where there is one and the extractor uses it."""
    most = max(node.gpus for node in view.nodes)
    if asked.num_gpus is None:
        return 1.0 if gpu and most >= 1 else 0.0
    if asked.num_gpus > most:
        raise ResourceError(
            f"{where}.resources.num_gpus: one worker must fit one node; got {asked.num_gpus:g}, the largest node has "
            f"{most:g} GPUs ({view.gpus:g} in the cluster). Ask for less, or add a node with GPUs"
        )
    if asked.num_gpus > 1 and asked.num_gpus != int(asked.num_gpus):
        raise ResourceError(
            f"{where}.resources.num_gpus: above one GPU it must be whole; got {asked.num_gpus:g}. Give 1 or "
            f"{math.ceil(asked.num_gpus)}"
        )
    return asked.num_gpus


def _short_task_cpus(view: ClusterView) -> float:
    """CPUs kept free for short tasks such as reads: half of a tiny cluster, at most one, within the largest node."""
    return _floor(min(MAX_READ_CPUS, view.cpus / 2, view.most_cpus))


def _room(view: ClusterView, reserve: float) -> float:
    """CPUs that may be held for long so that, wherever they are, some node still has ``reserve`` free.

    If no node had ``reserve`` free, each would have more than ``cpus - reserve`` taken: more than is given out.
    """
    return view.cpus - sum(min(reserve, node.cpus) for node in view.nodes)


def _plan_on_cpus(view: ClusterView, asked: Resources, units: int) -> ExtractionPlan:
    read = _short_task_cpus(view)
    room = _room(view, read)
    by_memory = sum(max(int(node.memory * SHARE_OF_MEMORY) // ACTOR_BYTES, 0) for node in view.nodes if node.cpus > 0)
    most = min(int(view.cpus) or 1, max(by_memory, 1), max(units, 1), asked.max_workers or 2**31)
    if asked.num_cpus is None:
        actors, cpus = most, _largest_share(view, room, most)
    elif asked.num_cpus > 0:
        actors, cpus = max(min(most, _fitting(view, asked.num_cpus)), 1), asked.num_cpus
        # A read that asks for nothing always finds its place, whatever the workers hold.
        read = read if actors * cpus <= room else 0.0
    else:
        actors, cpus = most, 0.0
    return ExtractionPlan(
        actors=actors,
        cpus=cpus,
        gpus=0.0,
        device="cpu",
        threads=max(int(asked.num_cpus or 0) or int(min(view.cpus / actors, view.most_cpus)), 1),
        batch_size=asked.batch_size or BATCH_ROWS,
        decoders=0,
        read_cpus=read,
        readers=_readers(view.cpus - actors * cpus, read),
    )


def _largest_share(view: ClusterView, room: float, n: int) -> float:
    """The most CPUs that each of ``n`` requests may ask for: all fit the nodes, and together stay within ``room``.

    A node is one request, or two of half its CPUs, or three of a third: of these shares of all nodes, the ``n``-th
    largest is the most that ``n`` requests fit.
    """
    by_node = (map(truediv, repeat(node.cpus), count(1)) for node in view.nodes)
    share = next(islice(heapq.merge(*by_node, reverse=True), n - 1, None))
    return max(_floor(min(room / n, share)), 0.0)


def _plan_on_gpus(view: ClusterView, gpus: float, asked: Resources, units: int) -> ExtractionPlan:
    nodes = [node for node in view.nodes if node.gpus >= gpus]
    slots = sum(_gpu_slots(node, gpus) for node in nodes)
    by_memory = sum(min(_gpu_slots(n, gpus), int(n.memory * SHARE_OF_MEMORY) // ACTOR_BYTES) for n in nodes)
    actors = min(max(by_memory, 1), slots, max(units, 1), asked.max_workers or 2**31)
    read = _short_task_cpus(view)
    room = _room(view, read)
    per_gpu_node = min(_floor(node.cpus / (2 * _gpu_slots(node, gpus))) for node in nodes)
    cpus = asked.num_cpus if asked.num_cpus is not None else max(min(1.0, per_gpu_node, _floor(room / actors)), 0.0)
    if cpus > 0:
        actors = min(actors, sum(min(_gpu_slots(n, gpus), _times(n.cpus, cpus)) for n in nodes))
        if actors * cpus > room:
            fitting = int(room / cpus + 1e-9)
            actors, read = (fitting, read) if fitting else (1, 0.0)
    actors = max(actors, 1)
    free = view.cpus - actors * cpus
    # A decoder is a task of one CPU: it must find a node with a whole CPU free beside the actors and a read.
    spare = int(_room(view, 1.0) - actors * cpus - read + 1e-9)
    decoders = max(spare // actors, 0) if view.most_cpus >= 1 else 0
    return ExtractionPlan(
        actors=actors,
        cpus=cpus,
        gpus=gpus,
        device="cuda",
        threads=max(int(cpus), 1),
        batch_size=asked.batch_size or BATCH_ROWS,
        decoders=decoders,
        read_cpus=read,
        readers=_readers(free - actors * decoders, read),
    )


def _gpu_slots(node: Node, gpus: float) -> int:
    """Actors of ``gpus`` that the node's devices hold: a fraction never spans two devices."""
    if gpus > 1:
        return int(node.gpus / gpus)
    whole = int(node.gpus)
    return whole * _times(1.0, gpus) + _times(node.gpus - whole, gpus)


def _readers(free: float, read: float) -> int:
    """Read tasks at the same time: what the free CPUs hold, at least one."""
    return max(_times(free, read), 1) if read > 0 else 1


def _fitting(view: ClusterView, cpus: float) -> int:
    """How many requests of ``cpus`` fit, each in one node."""
    return sum(_times(node.cpus, cpus) for node in view.nodes)


def _times(have: float, need: float) -> int:
    """How often ``need`` goes into ``have``, rounding errors forgiven."""
    return int(have / need + 1e-9) if need > 0 else 2**31


def _floor(cpus: float) -> float:
    """Rounded down to hundredths: Ray counts in ten-thousandths and would round a third up."""
    return math.floor(cpus * 100 + 1e-9) / 100


def plan_search(
    view: ClusterView,
    *,
    matrix_bytes: int,
    copies: float,
    model_bytes: int = MODEL_BYTES,
    max_concurrent: int | None = None,
    batch: int | None = None,
) -> SearchResources:
    """Plan the trials of a search over matrices that lie in the object store.

    Parameters
    ----------
    view : ClusterView
    matrix_bytes : int
        Bytes of the widest matrix that a candidate trains on. The stored matrices themselves are shared and need no
        memory of a trial.
    copies : float
        Copies of it that the hungriest estimator makes; one more is the training rows of a fold.
    model_bytes : int, default 256 MiB
        The process itself and a fitted model.
    max_concurrent, batch : int, optional
        Most trials at the same time that the spec allows, and how many the search proposes at once.

    Raises
    ------
    ResourceError
        No node has the memory of a single trial, or the matrices do not fit the smallest object store.
    """
    _check_cpus(view)
    memory = int(matrix_bytes * (1 + copies)) + model_bytes
    if matrix_bytes > view.smallest_store:
        raise ResourceError(
            f"search: the matrices must fit the object store of every node; got {_size(matrix_bytes)}, the smallest "
            f"holds {_size(view.smallest_store)}. Lower search.max_matrix, or start nodes with a larger object store"
        )
    by_memory = [int(node.memory * SHARE_OF_MEMORY) // memory for node in view.nodes]
    if not any(by_memory):
        most = max(node.memory for node in view.nodes)
        raise ResourceError(
            f"search: one trial must fit the memory of a node; got {_size(memory)} (the matrix, {copies:g} copies and "
            f"the model), the largest node has {_size(most)}. Lower search.max_matrix, or use larger nodes"
        )
    spare = _short_task_cpus(view)
    room = _room(view, spare)
    held = sum(min(int(node.cpus) or 1, n) for node, n in zip(view.nodes, by_memory, strict=True) if node.cpus > 0)
    most_trials = min(held, max_concurrent or 2**31, batch or 2**31)
    concurrent = max(most_trials, 1)
    return SearchResources(
        concurrent=concurrent,
        cpus=_largest_share(view, room, concurrent),
        threads=max(int(min(view.cpus / concurrent, view.most_cpus)), 1),
        memory=memory,
        spare=spare,
    )


SHARE_OF_STORE = 0.25
"""Part of the smallest object store that what the fits of an extractor have in common may take."""


def shared_bytes(view: ClusterView) -> int:
    """Bytes that what the fits of an extractor have in common may take: every node that fits holds a copy."""
    return int(SHARE_OF_STORE * view.smallest_store)


def plan_team(view: ClusterView, cpus: float, gpus: float, *, asked: Resources, where: str) -> int:
    """Workers of one training of an extractor.

    One, unless ``asked`` says more: folds train side by side, which uses a cluster better than teams that exchange
    gradients, as long as there are no more CPUs or GPUs than folds. The most that is asked for and fits is given.

    Parameters
    ----------
    view : ClusterView
    cpus, gpus : float
        Of one worker.
    asked : Resources
        ``min_workers`` and ``max_workers``; where only the first is given, it is the number.
    where : str
        Path of the entry in the spec, for messages.

    Raises
    ------
    ResourceError
        The cluster does not hold the workers asked for at least.
    """
    most = max(asked.max_workers or 1, asked.min_workers)
    if most == 1:
        return 1
    memory = [int(node.memory * SHARE_OF_MEMORY) // ACTOR_BYTES for node in view.nodes]
    held = [
        min(_times(node.cpus, cpus), _gpu_slots(node, gpus) if gpus else 2**31, by_memory)
        for node, by_memory in zip(view.nodes, memory, strict=True)
    ]
    if sum(held) < asked.min_workers:
        raise ResourceError(
            f"{where}.resources.min_workers: the cluster must hold the workers of one training; got "
            f"{asked.min_workers}, it holds {sum(held)} of {cpus:g} CPUs, {gpus:g} GPUs and {_size(ACTOR_BYTES)}. Ask "
            "for less"
        )
    return max(min(most, sum(held)), 1)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"


@dataclass(frozen=True)
class RefitResources:
    """How the workers of a distributed fit run.

    Attributes
    ----------
    workers : int
    cpus : float
        What one worker asks of Ray.
    threads : int
        Threads that it fits on.
    memory : int
        Bytes that a fit in one task may take instead.
    """

    workers: int
    cpus: float
    threads: int
    memory: int


def plan_refit(view: ClusterView, workers: int | None = None) -> RefitResources:
    """Plan the workers that fit one model together: as many as are asked for, else one a node.

    All workers have the same CPUs, so that one on a tiny node would make the others as small. Without a number that is
    asked for, there are n with the CPUs of the n-th largest node each, the n that uses most CPUs; of equals, the most
    workers: each then reads and holds fewer rows.

    Parameters
    ----------
    view : ClusterView
    workers : int, optional
        ``graph.refit_workers``.

    Raises
    ------
    ResourceError
        The cluster has no CPU, or does not hold so many workers.
    """
    _check_cpus(view)
    nodes = [node for node in view.nodes if node.cpus > 0]
    if workers is None:
        sizes = sorted((node.cpus for node in nodes), reverse=True)
        workers = max(range(1, len(sizes) + 1), key=lambda n: (n * sizes[n - 1], n))
        cpus = _floor(sizes[workers - 1])
    else:
        cpus = _largest_share(view, view.cpus, workers)
    if cpus <= 0:
        raise ResourceError(
            f"graph.refit_workers: the cluster must hold all workers at the same time; got {workers}, it holds "
            f"{_fitting(view, 0.01)} of 0.01 CPUs. Ask for fewer"
        )
    memory = int(max(node.memory for node in nodes) * SHARE_OF_MEMORY)
    return RefitResources(workers, cpus, max(int(cpus), 1), memory)


def makespan(sizes: Sequence[int], workers: int) -> int:
    """Time that ``workers`` need for pieces of these sizes, taken in order by whoever is free."""
    ends = [0] * workers
    for size in sizes:
        first = ends.index(min(ends))
        ends[first] += size
    return max(ends, default=0)

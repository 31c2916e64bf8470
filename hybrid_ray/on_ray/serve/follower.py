"""Keeps a replica at what its model's traffic says: versions are made ready beside those that answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from hybrid_ray.errors import HybridRayError
from hybrid_ray.on_ray.serve.pipeline import WRONG
from hybrid_ray.on_ray.serve.switch import Live, Switch
from hybrid_ray.serving.standing import Standing
from hybrid_ray.serving.traffic import Traffic

_LOG = logging.getLogger(__name__)

EVERY_S = 1.0
"""Seconds between two looks at the traffic."""
AGAIN_S = 30.0
"""Seconds after which a version that could not be made ready is tried again."""
_ASK_S = 0.05


class Follower:
    """Looks at the traffic of a model and changes a switch, on the replica's event loop.

    A version that is new is loaded and must answer its golden rows as when it was saved; until then the versions before
    it answer. If it cannot, a champion leaves all as it was, a challenger or a shadow takes no part, and why is told.

    Parameters
    ----------
    switch : Switch
    look : callable
        The traffic as it stands; called in a thread.
    make : callable
        A version, not yet asked to answer.
    report : callable, optional
        Called at every look: tells what this replica has counted.
    every_s : float, default 1
    """

    def __init__(
        self,
        switch: Switch,
        look: Callable[[], Standing],
        make: Callable[[int], Awaitable[Live]],
        report: Callable[[], Awaitable[None]] | None = None,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._switch = switch
        self._look = look
        self._make = make
        self._report = report
        self._every_s = every_s
        self._revision = ""
        self._tried = 0.0
        self._task: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Look from now on; idempotent. Must be called on the loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            for act in (self.step, self._report):
                try:
                    if act is not None:
                        await act()
                except Exception:  # whatever it was, the versions that answer go on
                    _LOG.exception("the traffic could not be followed")
            await asyncio.sleep(self._every_s)

    async def step(self) -> None:
        """Look once, and do what the traffic says."""
        standing = await asyncio.to_thread(self._look)
        now = asyncio.get_running_loop().time()
        if standing.revision == self._revision and not (self._switch.problems and now - self._tried > AGAIN_S):
            return
        self._tried = now
        lives, problems = await self._ready(standing.traffic)
        self._switch.problems = problems
        self._revision = standing.revision
        if standing.traffic.champion not in lives:
            return
        before = self._switch.versions
        self._switch.change(_of_ready(standing.traffic, lives), lives)
        for version, live in before.items():
            if int(version) not in lives:
                task = asyncio.create_task(_closed(live))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def _ready(self, traffic: Traffic) -> tuple[dict[int, Live], dict[int, str]]:
        """Versions that answer as they should, and what is wrong with the others."""
        held = self._switch.versions
        lives: dict[int, Live] = {}
        problems: dict[int, str] = {}
        for version in traffic.versions:
            known = held.get(str(version))
            try:
                lives[version] = known if known is not None else await self._made(version)
            except (HybridRayError, OSError, ValueError, RuntimeError) as error:
                problems[version] = str(error)
                _LOG.warning("version %d cannot answer: %s", version, error)
        return lives, problems

    async def _made(self, version: int) -> Live:
        live = await self._make(version)
        limit = live.served.limits.ready_timeout_s
        deadline = asyncio.get_running_loop().time() + limit
        while waiting := await live.backend.ready():
            if waiting.startswith(WRONG) or asyncio.get_running_loop().time() > deadline:
                await live.close()
                raise RuntimeError(f"version {version}: must answer its golden rows as saved; {waiting}")
            await asyncio.sleep(_ASK_S)
        return live


def _of_ready(traffic: Traffic, lives: Mapping[int, Live]) -> Traffic:
    """The traffic without versions that are not ready: their share is the champion's."""
    challengers = tuple(each for each in traffic.challengers if each.version in lives)
    shadows = tuple(version for version in traffic.shadows if version in lives)
    rule = traffic.rule if challengers else None
    return traffic.model_copy(update={"challengers": challengers, "shadows": shadows, "rule": rule})


async def _closed(live: Live) -> None:
    """End a version once the requests that it may still hold are over."""
    await asyncio.sleep(live.served.limits.timeout_s)
    await live.close()

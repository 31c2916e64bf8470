"""Which version answers a request: versions that are ready, and the traffic among them, changed whole."""

from __future__ import annotations

import asyncio
import random
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from hybrid_ray.on_ray.serve.contract import Backend, Served
from hybrid_ray.on_ray.serve.explaining import Explaining
from hybrid_ray.on_ray.serve.rows import RowReader
from hybrid_ray.serving.counts import Counter, Counts
from hybrid_ray.serving.log import PredictionLog
from hybrid_ray.serving.traffic import Traffic

REQUEST_ID = "x-request-id"
"""Header by which a client names its request; it comes back, and feedback is told by it."""

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@dataclass(frozen=True)
class Live:
    """A version that can answer.

    Attributes
    ----------
    served : Served
    backend : Backend
    log : PredictionLog or None
        Where a share of its answers is kept.
    explaining : Explaining or None
        Says why it answers as it does.
    reader : RowReader
        Of its own columns: versions may read different ones.
    counted : Counter
    """

    served: Served
    backend: Backend
    log: PredictionLog | None = None
    explaining: Explaining | None = None
    reader: RowReader = field(init=False)
    counted: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", RowReader(self.served))

    def counts(self) -> Counts:
        """What was counted of it in this replica."""
        return self.counted.counts(self.log.dropped if self.log is not None else 0)

    async def close(self) -> None:
        """End what works for it, and write what of the log still waits."""
        await self.backend.close()
        if self.log is not None:
            await asyncio.to_thread(self.log.close)


@dataclass(frozen=True)
class _Now:
    """What holds for requests that come now; never changed, only replaced."""

    champion: Live
    versions: Mapping[str, Live]
    traffic: Traffic | None


class Switch:
    """Chooses who answers. A request is answered by one version as a whole, whatever changes meanwhile.

    Parameters
    ----------
    champion : Live
        Answers all, until :meth:`change`.
    """

    def __init__(self, champion: Live) -> None:
        self._now = _Now(champion, {str(champion.served.version): champion}, None)
        self.problems: Mapping[int, str] = {}
        """Versions that cannot answer, and why."""

    @property
    def champion(self) -> Live:
        """The version that answers who is not given to another."""
        return self._now.champion

    @property
    def traffic(self) -> Traffic | None:
        """What decides; None: the champion answers all."""
        return self._now.traffic

    @property
    def versions(self) -> dict[str, Live]:
        """All that are ready, by number."""
        return dict(self._now.versions)

    def change(self, traffic: Traffic, live: Mapping[int, Live]) -> None:
        """Let other versions answer, from the next request on.

        Parameters
        ----------
        traffic : Traffic
        live : mapping of int to Live
            All versions that ``traffic`` names.
        """
        missing = sorted(set(traffic.versions) - set(live))
        if missing:
            raise ValueError(f"switch: versions that traffic names must be ready; {missing} are not")
        versions = {str(number): live[number] for number in traffic.versions}
        self._now = _Now(live[traffic.champion], versions, traffic)

    def chosen(self, headers: Mapping[str, str]) -> tuple[Live, tuple[Live, ...]]:
        """Who answers a request, and who looks on."""
        now = self._now
        if now.traffic is None:
            return now.champion, ()
        key = headers.get(now.traffic.key) if now.traffic.key is not None else None
        place = random.random() if key is None else now.traffic.place_of(key)
        answering = now.versions[str(now.traffic.version_at(place))]
        shadows = tuple(now.versions[str(number)] for number in now.traffic.shadows)
        return answering, tuple(live for live in shadows if live is not answering)

    def named(self, version: str) -> Live | None:
        """A version by its number, where it is ready."""
        return self._now.versions.get(version)


def request_id(headers: Mapping[str, str]) -> str:
    """The id that a client gave its request, else a new one."""
    told = headers.get(REQUEST_ID, "")
    return told if _ID.fullmatch(told) else uuid.uuid4().hex

"""One for all replicas of a model: adds up what they count, and decides about canaries by their rule."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hybrid_ray.monitoring.losses import row_losses, with_losses
from hybrid_ray.monitoring.observed import read_observed
from hybrid_ray.monitoring.watch import Watch, Window
from hybrid_ray.on_ray.retraining import WAITING, Retrainer
from hybrid_ray.on_ray.serve.registered import Registered
from hybrid_ray.serving.alerts import send_alert
from hybrid_ray.serving.counts import Counts, Totals
from hybrid_ray.serving.standing import Standing, TrafficStore
from hybrid_ray.serving.verdict import Tally, Verdict, verdict
from hybrid_ray.spec import CanaryRule
from hybrid_ray.store.models import ModelStore

_LOG = logging.getLogger(__name__)

EVERY_S = 1.0
"""Seconds between two looks at a canary."""
LABELS_S = 10.0
"""Seconds between two readings of labels."""
GONE_S = 60.0
"""Seconds without a report after which a replica is taken for gone."""


class Conductor:
    """Adds up and decides. What it knows is lost with it, and a canary's test begins anew: never wrongly decided.

    Parameters
    ----------
    registered : Registered
    """

    def __init__(self, registered: Registered) -> None:
        self._registered = registered
        self._traffic = TrafficStore(ModelStore(registered.store))
        self._totals = Totals()
        self._heard: dict[str, float] = {}
        self._began: tuple[str, dict[int, Counts]] = ("", {})
        self._losses: tuple[float, dict[int, Tally]] = (-LABELS_S, {})
        self._tasks: list[asyncio.Task[None]] = []
        self._watch: tuple[int, Watch | None] = (0, None)
        self._training: asyncio.Task[None] | None = None
        self._why = ""

    async def report(self, replica: str, counts: Mapping[int, Counts]) -> None:
        """Take what a replica has counted since it began."""
        self._heard[replica] = time.monotonic()
        self._totals.report(replica, counts)
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._every(EVERY_S, self.step)), asyncio.create_task(self._watching())]

    async def totals(self) -> dict[int, Counts]:
        """What all replicas have counted, by version."""
        return self._totals.now()

    async def _every(self, seconds: float, act: Callable[[], Awaitable[Any]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await act()
            except Exception:  # the next look may go better; who answers is not changed meanwhile
                _LOG.exception("a look at the model failed")

    async def _watching(self) -> None:
        monitor = (await asyncio.to_thread(self._registered.limits_of, None)).monitor
        await self._every(monitor.every_s, self.watch)

    async def watch(self) -> list[Window]:
        """Look at the champion's log once: the windows that were filled. Who is to be told of drift is told."""
        standing = await asyncio.to_thread(self._registered.look)
        champion = standing.traffic.champion
        if self._watch[0] != champion:
            self._why = ""
            self._watch = (champion, await asyncio.to_thread(self._registered.watch, champion))
        watch = self._watch[1]
        found = [] if watch is None else await asyncio.to_thread(watch.step)
        for window in found:
            if window.drifted:
                what = f"{len(window.drifted)} of {len(window.differences)} traits have drifted"
                await self._tell("drift", champion, what, traits=window.drifted, window=window.number)
        await self._consider(champion, found)
        return found

    async def _consider(self, champion: int, windows: Sequence[Window]) -> None:
        """Let the model be trained again where its limits say so, beside all else."""
        asked = (await asyncio.to_thread(self._registered.limits_of, champion)).retrain
        if asked is None or (self._training is not None and not self._training.done()):
            return
        for window in windows:
            if window.drifted and "drift" in asked.on:
                self._why = f"window {window.number} has drifted: {', '.join(window.drifted[:5])}"
        if not self._why and "score" in asked.on and asked.floor is not None:
            self._why = await asyncio.to_thread(self._registered.below, champion, asked.floor)
        if self._why:
            retrainer = Retrainer(self._registered.store, self._registered.name, asked)
            self._training = asyncio.create_task(self._trained(champion, retrainer, self._why))

    async def _trained(self, champion: int, retrainer: Retrainer, why: str) -> None:
        """Train again; while labels are waited for, the reason stands."""
        record = await retrainer.consider(why)
        if record is None:
            return
        if record["step"] != WAITING:
            self._why = ""
            await self._tell(f"retraining {record['step']}", champion, record.get("reason", why))

    async def _tell(self, event: str, version: int, what: str, **more: Any) -> None:
        _LOG.warning("%s:%d: %s", self._registered.name, version, what)
        webhook = (await asyncio.to_thread(self._registered.limits_of, version)).monitor.webhook
        if webhook is not None:
            message = {"event": event, "model": self._registered.name, "version": version, "message": what, **more}
            await asyncio.to_thread(send_alert, webhook, message)

    async def step(self) -> Verdict | None:
        """Look at the canary once: what was decided, None where there is none to judge."""
        now = time.monotonic()
        self._heard = {replica: heard for replica, heard in self._heard.items() if now - heard < GONE_S}
        self._totals.forget(self._heard)
        standing = await asyncio.to_thread(self._registered.look)
        rule = standing.traffic.rule
        if rule is None:
            return None
        if self._began[0] != standing.revision:
            self._began = (standing.revision, self._totals.now())
            self._losses = (-LABELS_S, {})
        canary = standing.traffic.challengers[0].version
        champion = standing.traffic.champion
        tallies = await self._tallies(standing, rule, (champion, canary))
        found = verdict(rule, tallies[champion], tallies[canary])
        await self._carry_out(found, canary)
        return found

    async def _tallies(self, standing: Standing, rule: CanaryRule, versions: tuple[int, ...]) -> dict[int, Tally]:
        """What versions did since the canary began, with losses where the rule asks for them."""
        totals = self._totals.now()
        tallies = {
            version: (totals.get(version, Counts()) - self._began[1].get(version, Counts())).tally()
            for version in versions
        }
        if rule.margin is None:
            return tallies
        read_at, losses = self._losses
        if time.monotonic() - read_at >= LABELS_S:
            since = datetime.fromisoformat(standing.since)
            losses = {version: await asyncio.to_thread(self._labelled, version, since) for version in versions}
            self._losses = (time.monotonic(), losses)
        return {version: tally._replace(**_losses_of(losses[version])) for version, tally in tallies.items()}

    def _labelled(self, version: int, since: datetime) -> Tally:
        """Losses of the rows that a version answered since, and whose label came."""
        registered = self._registered
        models = ModelStore(registered.store)
        manifest = models.open(models.resolve(f"{registered.name}:{version}")).manifest
        found = read_observed(
            registered.store, registered.name, version, manifest.columns, since=since, until=datetime.now(UTC)
        )
        classes = None if manifest.classes is None else list(manifest.classes)
        return with_losses(Tally(), row_losses(found.outputs, found.labels, classes))

    async def _carry_out(self, found: Verdict, canary: int) -> None:
        """Write the decision, and why, into the journal of the traffic."""
        name = self._registered.name
        figures = "; ".join(f"{what} {bounds.low:.4g} to {bounds.high:.4g}" for what, bounds in found.figures.items())
        reason = f"{found.reason} ({figures})"
        if found.action == "wait":
            return
        if found.action == "promote":
            await asyncio.to_thread(self._traffic.promote, name, canary, by="rule", reason=reason)
        else:
            await asyncio.to_thread(self._traffic.clear, name, by="rule", reason=reason)
        await self._tell(found.action, canary, reason)


def _losses_of(tally: Tally) -> dict[str, Any]:
    return {"labelled": tally.labelled, "loss": tally.loss, "squares": tally.squares}

"""A model of a store, as a replica needs it: its versions, its traffic, its log and its tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pyarrow as pa

from hybrid_ray.data.target import encode_known
from hybrid_ray.estimators.models.quick import quicken
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.graph import Graph
from hybrid_ray.monitoring.drift import Rule
from hybrid_ray.monitoring.observed import read_observed
from hybrid_ray.monitoring.watch import Watch
from hybrid_ray.on_ray.model import StoredModel
from hybrid_ray.on_ray.referring import read_reference
from hybrid_ray.on_ray.retraining import DAYS
from hybrid_ray.on_ray.serve.batching import Arrays, RowBatcher
from hybrid_ray.on_ray.serve.contract import Probe, Served
from hybrid_ray.on_ray.serve.explaining import Explaining
from hybrid_ray.on_ray.serve.pipeline import Pipeline, whole
from hybrid_ray.on_ray.serve.placement import generated_batch
from hybrid_ray.on_ray.serve.switch import Live
from hybrid_ray.serving.log import REDACT, PredictionLog
from hybrid_ray.serving.standing import Standing, TrafficStore
from hybrid_ray.serving.tokens import Keyring, TokenStore
from hybrid_ray.spec import ServeSpec
from hybrid_ray.store.models import CHAMPION, ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Batch


@dataclass(frozen=True)
class Registered:
    """A model of a store. Picklable; every replica asks the store itself, so that none depends on another.

    Attributes
    ----------
    store : StoreRoot
    name : str
    follows : bool
        Whether the champion and its traffic answer, whatever they become; False: one version, for good.
    limits : ServeSpec or None
        Of all versions; None: each has its own.
    guarded : bool
        Whether a token is asked for.
    """

    store: StoreRoot
    name: str
    follows: bool
    limits: ServeSpec | None = None
    guarded: bool = False

    @classmethod
    def of(cls, model: StoredModel, ref: str, limits: ServeSpec | None, guarded: bool = False) -> Self | None:
        """What ``ref`` means: a name or its champion is followed, a version is not, a folder is in no store."""
        if not model.found.version:
            return None
        return cls(model.store, model.name, ref in (model.name, f"{model.name}@{CHAMPION}"), limits, guarded)

    def look(self) -> Standing:
        """The traffic as it stands."""
        return TrafficStore(ModelStore(self.store)).now(self.name)

    def keyring(self) -> Keyring | None:
        """Tokens that are good now; None where none is asked for."""
        return Keyring(TokenStore(self.store).tokens()) if self.guarded else None

    def live(self, version: int, device: str) -> Live:
        """A version, as a whole in this process, not yet asked to answer."""
        stored = StoredModel.find(self.store.uri, f"{self.name}:{version}")
        graph = stored()
        graph.setup(device)
        served = Served.of(graph, version, stored.probe() or Probe(generated_batch(graph)), self.limits)
        quickened(graph, served.probe.batch)
        run = batcher(whole(graph, embeddings=served.limits.log.share > 0), served.limits, slots=2)
        pipeline = Pipeline(served, {"+".join(graph.groups()): run.submit}, batchers=[run])
        return Live(served, pipeline, self.log(served, graph.info), explaining_of(served, lambda: graph))

    def limits_of(self, version: int | None) -> ServeSpec:
        """Limits of a version, the champion for None."""
        if self.limits is not None:
            return self.limits
        asked = self.look().traffic.champion if version is None else version
        info = ModelStore(self.store).manifest(f"{self.name}:{asked}")["info"]
        return ServeSpec.model_validate(info.get("serve", {}))

    def watch(self, version: int) -> Watch | None:
        """What watches a version's log from now on; None where it has no reference, or no log."""
        limits, reference = self.limits_of(version), read_reference(self.store, self.name, version)
        if reference is None or not limits.log.share:
            return None
        head = StoredModel.find(self.store.uri, f"{self.name}:{version}")((), members=False)
        monitor = limits.monitor
        return Watch(self.store, head, version, reference, monitor.window, Rule(monitor.level, monitor.min_psi))

    def below(self, version: int, floor: float) -> str:
        """How far the score of a version's last labelled rows is below a floor; empty where it is not, or they are few.

        As many rows count as a window has.
        """
        head = StoredModel.find(self.store.uri, f"{self.name}:{version}")((), members=False)
        window = self.limits_of(version).monitor.window
        since = datetime.now(UTC) - timedelta(days=DAYS)
        found = read_observed(self.store, self.name, version, head.columns, since=since)
        known = [row for row, said in enumerate(found.labels) if said is not None][-window:]
        if len(known) < window:
            return ""
        target = encode_known(pa.array([found.labels[row] for row in known]), head.task, head.classes)
        metric = get_metric(head.info.get("metric", "auto"), head.task)
        score = metric.score(target.y[~target.missing], found.outputs[known][~target.missing])
        worse = score < floor if metric.direction == "maximize" else score > floor
        return f"{metric.name} of {len(known)} labelled rows is {score:.4g}; {floor:g} must be kept" if worse else ""

    def log(self, served: Served, info: Mapping[str, Any]) -> PredictionLog | None:
        """Where a share of a version's requests is kept; None where the share is 0."""
        if not served.limits.log.share or not isinstance(served.version, int):
            return None
        redact = info.get(REDACT, ())
        return PredictionLog(self.store, self.name, served.version, served.columns, served.limits.log, redact)


def explaining_of(served: Served, graph: Callable[[], Graph]) -> Explaining | None:
    """What explains a version's answers; None where its limits say that nothing does."""
    limits = served.limits
    return Explaining(graph, served.probe.batch, limits.explain_s) if limits.explain_rows else None


def quickened(graph: Graph, batch: Batch) -> None:
    """Let the chains of a graph that is set up answer few rows by compiled trees, where these are quicker."""
    blocks = graph.extract(batch)
    for member in graph.members:
        for chain in member.chains:
            quicken(chain.model, chain.matrix(blocks))


def batcher(run: Callable[[Arrays], Arrays], limits: ServeSpec, slots: int = 1) -> RowBatcher:
    """Runs a stage on the rows of requests that come together."""
    return RowBatcher(run, limits.max_batch_rows, limits.batch_wait_s, slots)

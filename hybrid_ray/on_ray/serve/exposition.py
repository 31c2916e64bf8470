"""What was counted, as Prometheus reads it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from hybrid_ray.serving.counts import SECONDS, Counts
from hybrid_ray.serving.traffic import Traffic

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABELS = ("model", "version")


def exposition(model: str, totals: Mapping[int, Counts], traffic: Traffic | None) -> bytes:
    """Counts of each version, and its share of the traffic, in Prometheus' text format.

    Parameters
    ----------
    model : str
    totals : mapping of int to Counts
        By version.
    traffic : Traffic or None
        None: there is one version.
    """
    registry = CollectorRegistry()
    registry.register(_Told(model, totals, traffic))
    found: bytes = generate_latest(registry)
    return found


class _Told:
    """A collector of what was told."""

    def __init__(self, model: str, totals: Mapping[int, Counts], traffic: Traffic | None) -> None:
        self._model = model
        self._totals = totals
        self._traffic = traffic

    def collect(self) -> Iterable[Any]:
        """Families of metrics."""
        requests = CounterMetricFamily("hybrid_ray_requests", "Requests that were answered.", labels=_LABELS)
        errors = CounterMetricFamily("hybrid_ray_errors", "Of these, failed.", labels=_LABELS)
        dropped = CounterMetricFamily("hybrid_ray_log_dropped_rows", "Rows that the log lost.", labels=_LABELS)
        took = HistogramMetricFamily("hybrid_ray_request_seconds", "What answers took.", labels=_LABELS)
        for version, counts in sorted(self._totals.items()):
            labels = (self._model, str(version))
            requests.add_metric(labels, counts.requests)
            errors.add_metric(labels, counts.errors)
            dropped.add_metric(labels, counts.dropped)
            ends = ["+Inf" if math.isinf(end) else repr(end) for end in SECONDS]
            took.add_metric(labels, list(zip(ends, accumulate(counts.bins), strict=True)), counts.seconds)
        yield from (requests, errors, dropped, took)
        if self._traffic is not None:
            share = GaugeMetricFamily("hybrid_ray_traffic_share", "Of all requests.", labels=_LABELS)
            given = {each.version: each.share for each in self._traffic.challengers}
            for version, part in {self._traffic.champion: 1.0 - sum(given.values()), **given}.items():
                share.add_metric((self._model, str(version)), part)
            yield share

"""What was counted, as Prometheus reads it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from hybrid_ray.monitoring.watch import Window
from hybrid_ray.serving.counts import SECONDS, Counts
from hybrid_ray.serving.traffic import Traffic

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABELS = ("model", "version")


def exposition(
    model: str, totals: Mapping[int, Counts], traffic: Traffic | None, window: tuple[int, Window] | None = None
) -> bytes:
    """Counts of each version, its share of the traffic, and what drifted, in Prometheus' text format.

    Parameters
    ----------
    model : str
    totals : mapping of int to Counts
        By version.
    traffic : Traffic or None
        None: there is one version.
    window : (int, Window), optional
        The version whose rows are watched, and their last window.
    """
    registry = CollectorRegistry()
    registry.register(_Told(model, totals, traffic, window))
    found: bytes = generate_latest(registry)
    return found


class _Told:
    """A collector of what was told."""

    def __init__(
        self, model: str, totals: Mapping[int, Counts], traffic: Traffic | None, window: tuple[int, Window] | None
    ) -> None:
        self._window = window
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
        if self._window is not None:
            yield from self._drift(*self._window)

    def _drift(self, version: int, window: Window) -> Iterable[Any]:
        labels = (self._model, str(version))
        drifted = GaugeMetricFamily("hybrid_ray_drifted_traits", "In the last window.", labels=_LABELS)
        drifted.add_metric(labels, len(window.drifted))
        apart = GaugeMetricFamily("hybrid_ray_trait_psi", "Stability index, last window.", labels=(*_LABELS, "trait"))
        for each in window.differences:
            if each.psi is not None:
                apart.add_metric((*labels, each.trait), each.psi)
        yield from (drifted, apart)

"""Whether smaller networks may stand in for those that the search saw: what was measured, and the verdict."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from hybrid_ray.extractors.base import Extractor
from hybrid_ray.extractors.precision import cosines
from hybrid_ray.search.halving import gain
from hybrid_ray.types import Batch, Direction, FloatArray

PASSES = 3
"""Passes that are timed; the quickest counts."""


@dataclass(frozen=True)
class Measured:
    """A network on some rows.

    Attributes
    ----------
    features : ndarray (m, d)
        Of the rows that are present.
    ms : float
        Milliseconds a row, decoding left out.
    size_mb : float
        Of what is saved of it.
    """

    features: FloatArray
    ms: float
    size_mb: float


@dataclass(frozen=True)
class Smaller:
    """A network before and after it was made smaller.

    Attributes
    ----------
    id : str
        Of the extractor.
    cosine : float or None
        Smallest of the sample's rows; None where the network could not be made smaller.
    ms, size_mb : tuple of (float, float)
        Before and after, see ``Measured``.
    fault : str
        Why its features may not stand in for the others; empty where they may.
    """

    id: str
    cosine: float | None = None
    ms: tuple[float, float] = (math.nan, math.nan)
    size_mb: tuple[float, float] = (math.nan, math.nan)
    fault: str = ""


@dataclass(frozen=True)
class CompressionTrial:
    """What became of a wish for smaller networks.

    Attributes
    ----------
    networks : tuple of Smaller
        In the order of their ids.
    before, after : float or None
        Out-of-fold score of the ensemble on the features of either; None where it came to no comparison.
    fault : str
        Why the graph keeps the networks that the search saw; empty where it has the smaller ones.
    """

    networks: tuple[Smaller, ...] = ()
    before: float | None = None
    after: float | None = None
    fault: str = ""

    @property
    def taken(self) -> list[str]:
        """Ids of the extractors whose networks are smaller in the graph."""
        return [] if self.fault else [network.id for network in self.networks if not network.fault]


def measure(extractor: Extractor, batch: Batch) -> Measured:
    """Set a network up and take rows through it.

    Parameters
    ----------
    extractor : Extractor
        Frozen.
    batch : Batch
        Rows of the run.
    """
    extractor.setup("cpu")
    prepared = extractor.prepare(batch)
    features, spent = extractor.extract(prepared.arrays), list[float]()
    for _ in range(PASSES):
        began = time.perf_counter()
        extractor.extract(prepared.arrays)
        spent.append(time.perf_counter() - began)
    state = extractor.get_state()
    n_bytes = sum(map(len, state.blobs.values())) + sum(array.nbytes for array in state.tensors.values())
    return Measured(features, 1000 * min(spent) / max(len(features), 1), n_bytes / 1e6)


def compare(name: str, before: Measured, after: Measured, min_cosine: float) -> Smaller:
    """Judge the features of a smaller network by those of the network that it is made of."""
    cosine = float(cosines(before.features, after.features).min()) if len(before.features) else 1.0
    fault = ""
    if not cosine >= min_cosine:  # nor where it is no number
        fault = f"its features would change: cosine {cosine:.4f}, min_cosine is {min_cosine:g}"
    return Smaller(name, cosine, (before.ms, after.ms), (before.size_mb, after.size_mb), fault)


def loss_fault(before: float, after: float, direction: Direction, max_loss: float) -> str:
    """Why a score may not take the place of another; empty where it may."""
    lost = gain(before, direction) - gain(after, direction)
    if lost <= max_loss * abs(before):
        return ""
    return f"the out-of-fold score goes from {before:.4g} to {after:.4g}, max_loss is {max_loss:g} of it"

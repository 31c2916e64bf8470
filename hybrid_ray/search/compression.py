"""Whether smaller networks may stand in for those that the search saw: what was measured, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_ray.extractors.base import Extractor
from hybrid_ray.extractors.precision import company_free, cosines, one_by_one
from hybrid_ray.search.costs import Cost, extractor_cost
from hybrid_ray.search.halving import gain
from hybrid_ray.types import Batch, Direction, FloatArray


@dataclass(frozen=True)
class Measured:
    """A network on some rows.

    Attributes
    ----------
    features : ndarray (m, d)
        Of the rows that are present.
    alone : ndarray (k, d)
        Of the first of them, each by itself.
    cost : Cost
        Decoding included.
    """

    features: FloatArray
    alone: FloatArray
    cost: Cost


@dataclass(frozen=True)
class Smaller:
    """A network before and after it was made smaller.

    Attributes
    ----------
    id : str
        Of the extractor.
    cosine : float or None
        Smallest of the sample's rows; None where there is none.
    before, after : Cost or None
        None where it could not be measured.
    fault : str
        Why its features may not stand in for the others; empty where they may.
    """

    id: str
    cosine: float | None = None
    before: Cost | None = None
    after: Cost | None = None
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


def measure(extractor: Extractor, batch: Batch, rows: int) -> Measured:
    """Set a network up and take rows through it.

    Parameters
    ----------
    extractor : Extractor
        Frozen.
    batch : mapping of str to array (rows,)
        Rows of the run.
    rows : int
    """
    extractor.setup("cpu")
    arrays = extractor.prepare(batch).arrays
    features = extractor.extract(arrays)
    alone = one_by_one(extractor.extract, arrays) if len(features) else features
    return Measured(features, alone, extractor_cost(extractor, batch, rows))


def compare(name: str, before: Measured, after: Measured, min_cosine: float) -> Smaller:
    """Judge the features of a smaller network by those of the network that it is made of."""
    if not len(before.features):
        return Smaller(name, None, before.cost, after.cost, "no row of the sample tells how its features would change")
    cosine, fault = float(cosines(before.features, after.features).min()), ""
    if not cosine >= min_cosine:  # nor where it is no number
        fault = f"its features would change: cosine {cosine:.4f}, min_cosine is {min_cosine:g}"
    elif not company_free(after.features[: len(after.alone)], after.alone):
        fault = "a row's features would depend on the rows that it is computed with"
    return Smaller(name, cosine, before.cost, after.cost, fault)


def loss_fault(before: float, after: float, direction: Direction, max_loss: float) -> str:
    """Why a score may not take the place of another; empty where it may."""
    lost = gain(before, direction) - gain(after, direction)
    if lost <= max_loss * abs(before):
        return ""
    return f"the out-of-fold score goes from {before:.4g} to {after:.4g}, max_loss is {max_loss:g} of it"

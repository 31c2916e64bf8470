"""What a network sees of one cell: pixels or tokens, and how its features depend on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from hybrid_ray.types import AnyArray, FloatArray

Pieces = Literal["pixels", "tokens"]
"""What a cell is made of, for a person: of an image, or of a text."""


class Sight(ABC):
    """One cell on the straight way from nothing (share 0) to itself (share 1), as a network sees it.

    Given by :meth:`Extractor.sights`; asked by the explanations. Its numbers are those of the extractor in fp32.

    Attributes
    ----------
    picture : ndarray of uint8 (height, width, channels) or None
        The image as the network is given it: resized and cropped.
    tokens : tuple of str
        Of a text; empty for an image.
    """

    picture: AnyArray | None = None
    tokens: tuple[str, ...] = ()

    @abstractmethod
    def features(self, share: float) -> FloatArray:
        """The cell's vector (d,) at a place of the way: what ``encode`` gives at 1."""

    @abstractmethod
    def slopes(self, shares: Sequence[float], weights: AnyArray) -> AnyArray:
        """How fast a sum of features grows along the way, by piece, added up over some places of it.

        Parameters
        ----------
        shares : sequence of float
            The places, k > 0 of them, each in [0, 1].
        weights : ndarray (d,)
            Of the features in the sum.

        Returns
        -------
        ndarray of float64 (height, width) or (tokens,)
            Over the places, the sum of (itself - nothing) times the gradient, channels of a pixel or numbers of a
            token's vector added up.
        """

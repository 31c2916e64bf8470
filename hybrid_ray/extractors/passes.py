"""How texts are put together into passes of a network.

In fp32 a text's vector depends on its company by no more than 1e-5, so a pass takes what fits: as many texts as its
tokens allow, padded to the longest of them. In bf16 and fp16 every rounding that falls differently is a thousandth, and
which way it falls depends on the kernel, which depends on the shape. So in a reduced format a pass has a shape that a
text's own length decides: short passes are filled with blank texts, and company changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hybrid_ray.types import AnyArray

_WIDTHS = np.array([8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048], np.int64)
"""Lengths that texts are padded to in passes of a fixed shape: at most half of a pass is padding, mostly a sixth."""


class Pass(NamedTuple):
    """Texts that go through the network together.

    Attributes
    ----------
    texts : ndarray of int (k,)
        Their positions.
    rows : int
        Rows of the pass: k, or more when it is filled with blank texts.
    width : int
        Tokens that each row is padded to.
    """

    texts: AnyArray
    rows: int
    width: int


def packed_passes(lengths: AnyArray, tokens: int) -> Iterator[Pass]:
    """Passes of at most ``tokens`` tokens with their padding (or one text), the longest texts first. O(n log n).

    Parameters
    ----------
    lengths : ndarray of int (n,)
        Tokens of each text.
    tokens : int
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = int(lengths[order[start]])
        texts = order[start : start + max(tokens // width, 1)]
        yield Pass(texts, len(texts), width)
        start += len(texts)


def fixed_passes(lengths: AnyArray, tokens: int, longest: int) -> Iterator[Pass]:
    """Passes whose shape is that of the width a text falls in, whatever else there is. O(n log n).

    Parameters
    ----------
    lengths : ndarray of int (n,)
        Tokens of each text.
    tokens : int
        A pass has as many rows of its width as fit into so many tokens, and at least one.
    longest : int
        Tokens that no text exceeds: the last width.
    """
    widths = np.append(_WIDTHS[longest > _WIDTHS], longest)
    falls = np.searchsorted(widths, lengths)
    for place in np.unique(falls):
        width = int(widths[place])
        rows = max(tokens // width, 1)
        there = np.flatnonzero(falls == place)
        for start in range(0, len(there), rows):
            yield Pass(there[start : start + rows], rows, width)

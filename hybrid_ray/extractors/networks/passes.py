"""Which cells go through a network together."""

from __future__ import annotations

import numpy as np

from hybrid_ray.types import AnyArray


def by_length(lengths: AnyArray, most: int) -> list[AnyArray]:
    """Positions of cells of about the same length, so many that together they have ``most`` steps; one at least."""
    order, parts, start = np.argsort(lengths, kind="stable"), [], 0
    while start < len(order):
        # The longest of a pass is its last: as many as still fit with it.
        widths = lengths[order[start:]] * np.arange(1, len(order) - start + 1)
        end = start + max(int(np.searchsorted(widths, most, side="right")), 1)
        parts.append(order[start:end])
        start = end
    return parts

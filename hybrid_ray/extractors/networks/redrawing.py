"""What autoencoders share that tell how badly they draw an item again: what normal rows never showed is drawn badly."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from hybrid_ray.dealing import parts_of_groups
from hybrid_ray.extractors.base import FitContext
from hybrid_ray.extractors.networks.base import TrainedNetwork
from hybrid_ray.types import AnyArray, Block, Prepared

PARTS = 2
"""Parts of the training rows: the errors of each are those of a network that was trained on the others."""


class RedrawingExtractor(TrainedNetwork):
    """The last ``n_errors`` numbers of an item's vector are errors of a network that draws items again.

    A network draws items that it was trained on better than others. What a learner sees of the training rows are
    therefore errors of networks that were trained on other rows; the numbers before the errors are of the one network.
    """

    @property
    @abstractmethod
    def n_errors(self) -> int:
        """Errors of an item; 0 for none."""

    def cross_fitted(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Block | None:
        """The rows of the fit, with errors of networks that did not see them."""
        rows = np.flatnonzero(prepared.present)
        if not self.n_errors or len(rows) < 2 * PARTS:
            return None
        block = self.block(prepared)
        told = block.values.reshape(len(block.values), self.n_items, self.item_features)
        for part, own in enumerate(_parts(rows, context)):
            twin = type(self)(self.params, self.columns)
            twin.setup(self._device)
            others = np.setdiff1d(rows, own)
            twin.fit(prepared.take(others), None, context.further(f"twin-{part}", others, context.seed + 1 + part))
            errors = twin.block(prepared.take(own)).values.reshape(len(own), *told.shape[1:])
            told[own, :, -self.n_errors :] = errors[:, :, -self.n_errors :]
        return block


def _parts(rows: AnyArray, context: FitContext) -> list[AnyArray]:
    """Rows of the fit in parts: those that go together in one, or else whole stretches of rows.

    Rows that follow each other, such as windows of one series, may hardly differ.
    """
    found = parts_of_groups(context.on(rows, 0).groups, PARTS, context.seed)
    return np.array_split(rows, PARTS) if found is None else [rows[found == part] for part in range(PARTS)]

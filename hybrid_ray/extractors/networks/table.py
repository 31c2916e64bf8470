"""The base of networks that read the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hybrid_ray.extractors._tabular import CategoryParams, TabularExtractor, TabularParams
from hybrid_ray.extractors.base import FitContext
from hybrid_ray.extractors.items import FILLED
from hybrid_ray.extractors.networks.base import TrainedNetwork
from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, Batch, Kind, Prepared, State

if TYPE_CHECKING:
    import torch

ROWS = "rows"
_TABLE, _NET = "table.", "net."
"""What the names of tensors of a state begin with."""


class TableNetwork(TrainedNetwork):
    """A row is one item: its columns as ``tabular`` encodes them, which learns that from the same training rows.

    A row is present when any of its cells is.
    """

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        shared = {name: getattr(self.params, name) for name in CategoryParams.model_fields}
        self._reading = TabularParams(**shared, encode="one_hot")
        self.table = TabularExtractor(self._reading, columns)

    @property
    def n_items(self) -> int:
        """One."""
        return 1

    def prepare(self, batch: Batch) -> Prepared:
        """As ``tabular``; each row is an item that is there."""
        prepared = self.table.prepare(batch)
        filled = np.ones((int(prepared.present.sum()), 1), bool)
        arrays = {name: values[:, None] for name, values in prepared.arrays.items()}
        return Prepared(arrays | {FILLED: filled}, prepared.present)

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Learn how columns are encoded, then train on the present rows, see ``TrainedNetwork.fit``."""
        rows = {name: values[:, 0] for name, values in prepared.arrays.items() if name != FILLED}
        table = TabularExtractor(self._reading, self.columns)
        self.table = table.fit(Prepared(rows, prepared.present), None, context)
        return super().fit(prepared, y, context)

    def encoded(self, items: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Encoded rows, float32 (k, d)."""
        return {ROWS: self.table.extract(items)}

    def collate(self, items: Mapping[str, AnyArray], device: str) -> tuple[torch.Tensor, ...]:
        """Encoded rows."""
        import torch

        return (torch.from_numpy(np.ascontiguousarray(items[ROWS])).to(device),)

    def blank(self) -> Self:
        """The same without a network, with what was learned of the table."""
        extractor = super().blank()
        extractor.table = self.table
        return extractor

    def get_state(self) -> State:
        """The trunk's tensors, and how columns are encoded."""
        own = super().get_state()
        table = self.table.get_state()
        tensors: dict[str, Any] = {_NET + name: values for name, values in own.tensors.items()}
        tensors |= {_TABLE + name: values for name, values in table.tensors.items()}
        return State(meta={"seen": own.meta, "table": table.meta}, tensors=tensors)

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The trained extractor."""
        extractor = cls(params, columns)
        table = State(state.meta["table"], _under(_TABLE, state.tensors))
        extractor.table = TabularExtractor.from_state(extractor._reading, columns, table)
        extractor.see(state.meta["seen"])
        extractor._know(_under(_NET, state.tensors))
        return extractor


def _under(prefix: str, tensors: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Tensors whose names begin so, without that."""
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}

"""Features of a residual network over the rows of a table, trained on the training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.extractors._tabular import CategoryParams
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.networks.base import NetworkParams
from hybrid_ray.extractors.networks.table import TableNetwork
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    from torch import nn


class TabularNetworkParams(NetworkParams, CategoryParams):
    """Parameters of ``tabular_network``."""

    numbers: Literal["piecewise", "periodic", "plain"] = "piecewise"
    """What a number is beside itself. piecewise: how far it fills each of the ``pieces`` between quantiles of the
    training rows; periodic: as many learned features of its sines and cosines; plain: nothing."""
    pieces: int = Field(16, ge=1, le=256)
    """Pieces, or waves, of a number."""
    frequency: float = Field(0.1, gt=0, le=100)
    """How many waves lie in a deviation of a number, about, before they are trained; for ``numbers: periodic``."""
    width: int = Field(64, ge=1, le=2048)
    """Width of the network, and features of a row."""
    layers: int = Field(2, ge=0, le=16)
    """Residual blocks, each twice as wide inside."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of the numbers inside the blocks, and of the features, that are gone without in a step."""
    epochs: int = Field(60, ge=1, le=1000)
    """Most passes over the training rows."""
    patience: int = Field(8, ge=1)
    """Passes without a better hold-out loss after which training stops."""


@EXTRACTORS.register("tabular_network")
class TabularNetworkExtractor(TableNetwork):
    """The last hidden layer of a residual network over a row: numbers in pieces or waves, categories, dates.

    Columns are encoded as by ``tabular``; the first layer learns a vector for each value of a category.

    References
    ----------
    Gorishniy et al., "Revisiting deep learning models for tabular data", NeurIPS 2021 (ResNet, normalised row by row);
    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS 2022.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="tabular",
        kinds=frozenset({"numeric", "categorical", "date"}),
        trained=True,
        supervised=True,
        spreads=True,
    )
    Params: ClassVar[type[PluginParams]] = TabularNetworkParams

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._bounds: list[list[float]] = []

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Tiny networks over all kinds together, over numbers and over a category alone."""
        few: dict[str, Any] = {"width": 4, "pieces": 3, "epochs": 2, "min_count": 1}
        kinds: dict[str, Kind] = {"amount": "numeric", "colour": "categorical", "day": "date"}
        yield TabularNetworkParams(**few), kinds
        yield TabularNetworkParams(**few, numbers="periodic", scale="quantile", dates="cycles"), kinds
        yield TabularNetworkParams(**few, layers=1, impute="knn"), {"amount": "numeric"}
        yield TabularNetworkParams(**few, numbers="plain", layers=0), {"colour": "categorical"}

    @property
    def item_features(self) -> int:
        """Width of the network."""
        return int(self.params.width)

    def look(self, items: Mapping[str, AnyArray]) -> None:
        """Learn the quantiles between which numbers are cut into pieces."""
        if self.params.numbers == "piecewise":
            rows = self.table.extract(items)[:, self._numeric]
            shares = np.linspace(0, 1, self.params.pieces + 1)
            self._bounds = [np.unique(np.quantile(n, shares)).tolist() if len(n) else [] for n in rows.T]

    @property
    def _numeric(self) -> AnyArray:
        """Which encoded columns are numbers."""
        return np.flatnonzero(self.table.layout().where("number"))

    def seen(self) -> dict[str, Any]:
        """The bounds of the pieces of each number."""
        return {"bounds": self._bounds}

    def see(self, seen: Mapping[str, Any]) -> None:
        """Know the bounds."""
        self._bounds = [list(bounds) for bounds in seen["bounds"]]

    def trunk(self) -> nn.Module:
        """What numbers become, and residual blocks."""
        from hybrid_ray.extractors.networks.tabular_nets import Periodic, Piecewise, Plain, ResidualRows

        p, numeric = self.params, self._numeric
        if p.numbers == "piecewise":
            numbers: Piecewise | Periodic | Plain = Piecewise(numeric, self._bounds)
        elif p.numbers == "periodic":
            numbers = Periodic(numeric, p.pieces, p.frequency)
        else:
            numbers = Plain()
        return ResidualRows(numbers, self.table.n_features, p.width, p.layers, p.dropout)

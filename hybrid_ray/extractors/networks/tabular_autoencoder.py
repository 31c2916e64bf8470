"""Features of a network that learns to draw rows of a table again from a few numbers; labels are not looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from hybrid_ray.extractors._tabular import CategoryParams
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.networks.base import UnsupervisedParams
from hybrid_ray.extractors.networks.redrawing import RedrawingExtractor
from hybrid_ray.extractors.networks.table import ROWS, TableNetwork
from hybrid_ray.extractors.trained import Training
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hybrid_ray.training.loop import Learner

CHANGED, TOLD, CODES = "changed", "told", "codes"


class TabularAutoencoderParams(UnsupervisedParams, CategoryParams):
    """Parameters of ``tabular_autoencoder``."""

    width: int = Field(64, ge=1, le=4096)
    """Width of the layer on each side of the few numbers."""
    features: int = Field(8, ge=1, le=2048)
    """Numbers from which a row is drawn again: its vector."""
    noise: float = Field(0.15, ge=0, le=1)
    """Share of the cells of training rows that have the value of another row, and are to be drawn as they were."""
    errors: bool = False
    """True: the vector also holds how badly each column is drawn again."""
    epochs: int = Field(60, ge=1, le=1000)
    """Most passes over the training rows."""
    patience: int = Field(8, ge=1)
    """Passes without a better hold-out loss after which training stops."""


@EXTRACTORS.register("tabular_autoencoder")
class TabularAutoencoderExtractor(RedrawingExtractor, TableNetwork):
    """The few numbers from which a network draws a row again, learned from rows of which cells were swapped.

    Columns are encoded as by ``tabular``. What is drawn are numbers, dates, whether they are missing, and the value of
    a category: rare, unknown and missing ones are values too. A number that is missing is not to be drawn. Where it is
    trained on normal rows, errors tell how unlike them the columns of a row are together.

    References
    ----------
    Vincent et al., "Stacked denoising autoencoders: learning useful representations in a deep network with a local
    denoising criterion", JMLR 11, 2010; Bahri et al., "SCARF: self-supervised contrastive learning using random feature
    corruption", ICLR 2022: cells that have the value of another row.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="tabular", kinds=frozenset({"numeric", "categorical", "date"}), trained=True, spreads=True
    )
    Params: ClassVar[type[PluginParams]] = TabularAutoencoderParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Tiny networks over all kinds together, with errors and without, and over a single column."""
        few: dict[str, Any] = {"width": 4, "features": 3, "epochs": 2, "min_count": 1}
        kinds: dict[str, Kind] = {"amount": "numeric", "colour": "categorical", "day": "date"}
        yield TabularAutoencoderParams(**few), kinds
        yield TabularAutoencoderParams(**few, errors=True, scale="robust", indicator=False, dates="elapsed"), kinds
        yield TabularAutoencoderParams(**few, errors=True, noise=0.0), {"amount": "numeric"}
        yield TabularAutoencoderParams(**few, errors=True), {"colour": "categorical"}

    @property
    def n_errors(self) -> int:
        """One a column, where they are asked for."""
        return len(self.columns) if self.params.errors else 0

    @property
    def item_features(self) -> int:
        """The numbers that a row is drawn from, and the errors."""
        return int(self.params.features) + self.n_errors

    @property
    def _drawn(self) -> AnyArray:
        """Encoded columns that are drawn as numbers: all but those of categories."""
        categories = [kind == "categorical" for kind in self.columns.values()]
        return np.flatnonzero(~np.array(categories)[self.table.layout().columns])

    def encoded(self, items: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Encoded rows, what of them is to be drawn (k, drawn), and values of categories by number (k, categories)."""
        layout, drawn = self.table.layout(), self._drawn
        missing = self.table.missing(items)[:, layout.columns[drawn]]
        told = ~missing | layout.where("flag")[drawn]
        return {**super().encoded(items), TOLD: told, CODES: self.table.codes(items)}

    def trunk(self) -> nn.Module:
        """Both halves: what makes numbers of a row, and what draws it again."""
        from hybrid_ray.extractors.networks.tabular_redrawing import TabularAutoencoder

        p, layout, drawn = self.params, self.table.layout(), self._drawn
        categories = [place for place, kind in enumerate(self.columns.values()) if kind == "categorical"]
        sizes = self.table.sizes()
        return TabularAutoencoder(
            self.table.n_features,
            drawn,
            layout.columns[drawn],
            dict(zip(categories, sizes, strict=True)),
            len(self.columns),
            p.width,
            p.features,
            p.errors,
        )

    def learner(self, training: Training) -> Learner:
        """The network, and the rows of a training."""
        from hybrid_ray.extractors.networks.redrawing_learner import RedrawerLearner

        arrays, filled = self.encoded_rows(training.arrays)
        return RedrawerLearner(self, arrays | {CHANGED: arrays[ROWS]}, filled, self._device)

    def collate(self, items: Mapping[str, AnyArray], device: str) -> tuple[torch.Tensor, ...]:
        """Encoded rows and what is to be drawn of them; of training, also as they were changed."""
        import torch

        names = [ROWS, TOLD, CODES, *([CHANGED] if CHANGED in items else [])]
        return tuple(torch.from_numpy(np.ascontiguousarray(items[name])).to(device) for name in names)

    @property
    def augmented(self) -> bool:
        """True when cells are swapped."""
        return bool(self.params.noise)

    def augment(self, items: Mapping[str, AnyArray], rng: np.random.Generator) -> dict[str, AnyArray]:
        """Rows of which some cells, with all that is made of them, are those of another row of the step."""
        rows, owner = items[ROWS], self.table.layout().columns
        k, shape = len(rows), (len(rows), len(self.columns))
        swapped = rng.random(shape, np.float32) < self.params.noise
        other = (np.arange(k)[:, None] + rng.integers(1, max(k, 2), shape)) % max(k, 1)
        taken = rows[other[:, owner], np.arange(rows.shape[1])]
        return {CHANGED: np.where(swapped[:, owner], taken, rows)}

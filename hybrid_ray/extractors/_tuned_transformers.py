"""Sentence vectors of transformers' encoders whose last layers are tuned on the training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.data.augment import TextAugmentation
from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors._transformers import EncoderParams, TransformersExtractor
from hybrid_ray.extractors._transformers_files import PACKAGE
from hybrid_ray.extractors._tuned import TunedExtractor, TuningParams
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.pretrained import PretrainedExtractor
from hybrid_ray.extractors.sight import Sight
from hybrid_ray.extractors.weights import installed_encoders
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    import torch

    from hybrid_ray.extractors._tuned_net import Split


class TunedTransformersParams(TuningParams, EncoderParams):
    """Parameters of ``tuned_transformers``: those of ``transformers``, and of the tuning."""

    precision: Literal["fp32"] = "fp32"
    """Number format of the network: gradients need it whole."""
    drop: float = Field(0.0, ge=0, lt=1)
    """Share of the words of a training text that are left out. Any change of training texts makes the frozen layers run
    anew in each pass: several times the work."""
    swap: float = Field(0.0, ge=0, lt=1)
    """Share of the words of a training text that change places with the next."""


@EXTRACTORS.register("tuned_transformers")
class TunedTransformersExtractor(TunedExtractor):
    """What ``transformers`` gives, after its last layers were tuned on the training rows' labels."""

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="text",
        kinds=frozenset({"text"}),
        trained=True,
        supervised=True,
        gpu=True,
        spreads=True,
        pieces="tokens",
    )
    Params: ClassVar[type[PluginParams]] = TunedTransformersParams
    Base: ClassVar[type[PretrainedExtractor]] = TransformersExtractor

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """The installed encoder packages, their last layer, on one column."""
        for package, _ in installed_encoders():
            model = f"{PACKAGE}{package}"
            yield TunedTransformersParams(model=model, max_length=16, blocks=1, rank=2, epochs=1), {"text": "text"}

    def cut(self, base: PretrainedExtractor) -> Split:
        """The network before its last layers, and these."""
        from hybrid_ray.extractors._transformers_split import TransformersSplit

        assert isinstance(base, TransformersExtractor)
        return TransformersSplit(base, base.network, base.encoder, self.params.blocks, base.device)

    def sight(self, cell: Mapping[str, AnyArray], usual: Mapping[str, AnyArray]) -> Sight:
        """A text as ``transformers`` sees it."""
        from hybrid_ray.extractors._transformers_split import TransformersSplit

        base, split, top = self._base, self.split(), self.tuned()
        assert isinstance(base, TransformersExtractor)
        assert isinstance(split, TransformersSplit)

        def run(tokens: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
            return split.through(top, tokens, sizes)

        return base.sight_by(cell, split.words, run)

    def check(self) -> None:
        """Refuse what ``transformers`` would refuse, and more layers than there are."""
        super().check()
        assert isinstance(self._base, TransformersExtractor)
        n = self._base.n_layers
        if n is not None and self.params.blocks > n:
            raise BadInputError(
                f"tuned_transformers.blocks: must be at most the {n} layers of {self.params.model!r}; got "
                f"{self.params.blocks}"
            )

    @property
    def most_features(self) -> int | None:
        """The width of the encoder's hidden layer, for each column, where its configuration tells it."""
        assert isinstance(self._base, TransformersExtractor)
        width = self._base.told_width
        return None if width is None else len(self.columns) * width

    def _augmentation(self) -> TextAugmentation:
        return TextAugmentation(self.params.drop, self.params.swap)

    @property
    def augmented(self) -> bool:
        """True when some change is asked for."""
        return self._augmentation() != TextAugmentation()

    def augment(self, items: Mapping[str, AnyArray], rng: np.random.Generator) -> dict[str, AnyArray]:
        """Texts changed as the parameters say: their tokens are put into words, changed, and read again."""
        assert isinstance(self._base, TransformersExtractor)
        return self._base.read(self._augmentation()(self._base.texts(items), rng)).arrays

"""The base of networks that read the words of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.items import Items
from hybrid_ray.extractors.networks.base import NetworkExtractor, NetworkParams
from hybrid_ray.extractors.networks.passes import by_length
from hybrid_ray.extractors.networks.vocabulary import PAD, UNKNOWN, Vocabulary, tokens
from hybrid_ray.extractors.sight import Sight
from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    import torch

TAGS = ExtractorTags(
    modality="text",
    kinds=frozenset({"text"}),
    trained=True,
    supervised=True,
    gpu=True,
    spreads=True,
    pieces="tokens",
)
TEXTS, NUMBERS = "texts", "numbers"
STEPS = 20_000
"""Words, about, of one pass: few long texts or many short ones."""


class TextParams(NetworkParams):
    """Parameters of a network over words."""

    max_words: int = Field(20_000, ge=1, le=1_000_000)
    """Words that are told apart, the most frequent ones of the training texts; all others are one."""
    min_count: int = Field(2, ge=1)
    """Places of the training texts that a word must be in."""
    max_tokens: int = Field(256, ge=1, le=4096)
    """Words and marks of a text that are read."""
    embedding: int = Field(128, ge=2, le=2048)
    """Length of a word's vector."""
    word_dropout: float = Field(0.3, ge=0, lt=1)
    """Share of the words that a training text is read without in each pass."""


class TextExtractor(NetworkExtractor):
    """Vectors of texts, by a network over their words.

    The words are those of the training texts; they are found by letters and digits, in lower case, and every other
    mark is one of its own.
    """

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self.vocabulary = Vocabulary([])

    def read(self, cells: Sequence[Any]) -> Items:
        """Texts as they are: object (k,)."""
        texts = np.empty(len(cells), object)
        texts[:] = cells
        return Items({TEXTS: texts})

    def look(self, items: Mapping[str, AnyArray]) -> None:
        """Learn the words."""
        self.vocabulary = Vocabulary.of(items[TEXTS], self.params.max_words, self.params.min_count)

    def seen(self) -> dict[str, Any]:
        """The words."""
        return {"words": self.vocabulary.words}

    def see(self, seen: Mapping[str, Any]) -> None:
        """Know words."""
        self.vocabulary = Vocabulary(seen["words"])

    def encoded(self, items: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Numbers int32 (k, longest) of the words of texts; of an empty cell, one unknown word."""
        texts = [text if isinstance(text, str) else "" for text in items[TEXTS]]
        return {NUMBERS: self.vocabulary.encode(texts, self.params.max_tokens)}

    def collate(self, items: Mapping[str, AnyArray], device: str) -> tuple[torch.Tensor, ...]:
        """Numbers int64 (k, longest of these) and lengths int64 (k,), on the CPU."""
        import torch

        numbers = items[NUMBERS]
        lengths = lengths_of(items)
        longest = int(lengths.max(initial=1))
        return torch.from_numpy(numbers[:, :longest].astype(np.int64)).to(device), torch.from_numpy(lengths)

    def passes(self, items: Mapping[str, AnyArray]) -> list[AnyArray]:
        """Texts of about the same length together."""
        return by_length(lengths_of(items), STEPS)

    def sight(self, cell: Mapping[str, AnyArray], usual: Mapping[str, AnyArray]) -> Sight:
        """A text as its words; nothing is as many words that are not known, which trainings are made to do without."""
        import torch

        from hybrid_ray.extractors._sight_net import NetworkSight

        trunk: Any = self._fitted()
        text = str(cell[TEXTS])
        numbers, lengths = self.collate(self.encoded({TEXTS: np.array([text], object)}), self._device)
        told = tokens(text)[: self.params.max_tokens] or [text]

        def copies(k: int) -> torch.Tensor:
            vectors: torch.Tensor = trunk(numbers.expand(k, -1), lengths.expand(k))
            return vectors

        return NetworkSight.of_text(trunk.embedding, numbers[0], torch.full_like(numbers[0], UNKNOWN), told, copies)

    @property
    def augmented(self) -> bool:
        """True when words are left out."""
        return bool(self.params.word_dropout)

    def augment(self, items: Mapping[str, AnyArray], rng: np.random.Generator) -> dict[str, AnyArray]:
        """Some words as if they were not known."""
        numbers = items[NUMBERS]
        gone = (rng.random(numbers.shape, np.float32) < self.params.word_dropout) & (numbers != PAD)
        return {NUMBERS: np.where(gone, np.int32(UNKNOWN), numbers)}


def lengths_of(items: Mapping[str, AnyArray]) -> AnyArray:
    """Words int64 (k,) of encoded texts."""
    lengths: AnyArray = (items[NUMBERS] != PAD).sum(axis=1)
    return lengths

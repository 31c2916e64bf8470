"""Words of texts as numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from hybrid_ray.types import AnyArray

PAD, UNKNOWN = 0, 1
"""Numbers of no word, and of a word that is not known."""
_TOKEN = re.compile(r"\w+|[^\w\s]")


def tokens(text: str) -> list[str]:
    """Words and single marks of a text, in lower case."""
    return _TOKEN.findall(text.lower())


class Vocabulary:
    """Words that training texts have, the most frequent ones first.

    Parameters
    ----------
    words : sequence of str
        The first one is number 2.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._numbers = {word: number for number, word in enumerate(self.words, start=UNKNOWN + 1)}

    def __len__(self) -> int:
        """Numbers in all, those of no word and of an unknown one included."""
        return len(self.words) + UNKNOWN + 1

    @classmethod
    def of(cls, texts: Iterable[str], most: int, min_count: int) -> Vocabulary:
        """At most ``most`` words, each in ``min_count`` places of the texts at least; equal counts by the alphabet."""
        counts = Counter(word for text in texts for word in tokens(text))
        ranked = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        return cls([word for _, word in ranked[:most]])

    def encode(self, texts: Sequence[str], most: int) -> AnyArray:
        """Numbers int32 (k, longest) of the first ``most`` words of each text; one that has none is an unknown word."""
        found = [[self._numbers.get(word, UNKNOWN) for word in tokens(text)[:most]] or [UNKNOWN] for text in texts]
        encoded = np.full((len(found), max(map(len, found), default=1)), PAD, np.int32)
        for row, numbers in zip(encoded, found, strict=True):
            row[: len(numbers)] = numbers
        return encoded

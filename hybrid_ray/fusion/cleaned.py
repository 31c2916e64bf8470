"""Data-level fusion: texts of a row, cleaned, as one."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from hybrid_ray.fusion.base import DataFusion, Fused
from hybrid_ray.fusion.joined import Joined, JoinedParams
from hybrid_ray.fusion.stop_words import Language, stop_words, without_accents
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS, nearest
from hybrid_ray.types import AnyArray, Batch, Kind

_TAG = re.compile(r"<[A-Za-z/!][^<>]{0,2000}>")
_LINK = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,255}\.[\w.-]{1,255}\b")
"""Of bounded length, from where nothing of the kind stands before: a long run of dots and letters is read once."""
_WORD = re.compile(r"\w+", re.UNICODE)
_DIGIT = re.compile(r"\d")
_REMEMBERED = 50_000
"""Words whose stems are remembered."""


class CleanedParams(PluginParams):
    """Parameters of :class:`Cleaned`."""

    later: ClassVar[frozenset[str]] = frozenset({"leave_out"})

    markup: bool = True
    """True: HTML tags are left out and entities are the signs that they stand for."""
    links: bool = True
    """True: web and mail addresses are the words ``link`` and ``address``."""
    lower: bool = True
    """True: letters are small, and written in one way (Unicode NFKC)."""
    accents: bool = True
    """False: letters lose their accents."""
    digits: bool = True
    """False: each digit is a 0: numbers of one length are one word."""
    stop_words: Literal["none"] | Language = "none"
    """Language whose words that say little by themselves (articles, pronouns, forms of to be) are left out."""
    leave_out: tuple[str, ...] = Field((), max_length=10_000)
    """More words that are left out, in any language; capitals do not count."""
    stem: str = Field("", max_length=32)
    """Language whose endings are taken off words, as Snowball does; empty: they stay."""
    missing: str = Field("missing", max_length=64)
    """What stands in place of a missing text, where there are several; empty: it is left out."""
    max_characters: int = Field(100_000, ge=16, le=1_000_000)
    """Length of the whole; where it would be longer, the longest texts are cut."""

    @field_validator("stem")
    @classmethod
    def _known(cls, value: str) -> str:
        if value:
            import snowballstemmer

            known = sorted(snowballstemmer.algorithms())
            if value not in known:
                raise ValueError(f"must be one of {known}; got {value!r}.{nearest(value, known)}")
        return value


@FUSIONS.register("cleaned")
class Cleaned(DataFusion):
    """Texts in plain words, one after another in the order of their columns' names.

    A text of which nothing would stay keeps its stop words.

    References
    ----------
    Porter, "Snowball: a language for stemming algorithms", 2001.
    """

    takes: ClassVar[frozenset[Kind]] = frozenset({"text"})
    gives: ClassVar[Kind] = "text"
    Params = CleanedParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Little, and all of it."""
        yield CleanedParams()
        yield CleanedParams(accents=False, digits=False, stop_words="english", stem="english", max_characters=400)
        yield CleanedParams(stop_words="german", stem="german", leave_out=("very",))

    def combine(self, inputs: Batch, kinds: Mapping[str, Kind]) -> Fused:
        """Texts (n,).

        Raises
        ------
        KeyError
            A column is not there.
        """
        self._check_there(kinds, inputs)
        p = self.params
        missing = p.missing if len(kinds) > 1 else ""
        whole = JoinedParams(markers=False, separator=" ", missing=missing, max_characters=p.max_characters)
        return Joined(whole).combine({name: self._column(inputs[name]) for name in kinds}, kinds)

    def _column(self, texts: AnyArray) -> AnyArray:
        cleaned = np.empty(len(texts), object)
        cleaned[:] = [None if text is None else self(text) for text in texts]
        return cleaned

    def __call__(self, text: str) -> str:
        """One text, cleaned."""
        p = self.params
        if p.markup:
            text = html.unescape(_TAG.sub(" ", text))
        if p.links:
            text = _LINK.sub("link", _ADDRESS.sub("address", text))
        text = self._plain(text)
        fewer = self._without_stop_words(text)
        return " ".join(self._stemmed(fewer if _WORD.search(fewer) else text).split()) or "empty"

    def _plain(self, text: str) -> str:
        """Letters and digits as they are compared."""
        p = self.params
        if p.lower:
            text = unicodedata.normalize("NFKC", text).lower()
        if not p.accents:
            text = without_accents(text)
        return text if p.digits else _DIGIT.sub("0", text)

    def _without_stop_words(self, text: str) -> str:
        left_out = self._stop_words
        return _WORD.sub(lambda word: "" if word[0].lower() in left_out else word[0], text) if left_out else text

    def _stemmed(self, text: str) -> str:
        stem = self._stem
        return _WORD.sub(lambda word: stem(word[0]), text) if stem is not None else text

    @cached_property
    def _stop_words(self) -> frozenset[str]:
        p = self.params
        own = frozenset(self._plain(word).lower() for word in p.leave_out)
        return own if p.stop_words == "none" else own | stop_words(p.stop_words)

    @cached_property
    def _stem(self) -> Callable[[str], str] | None:
        """Stems of words; those of the words that come again and again are remembered."""
        if not self.params.stem:
            return None
        import snowballstemmer

        return lru_cache(_REMEMBERED)(snowballstemmer.stemmer(self.params.stem).stemWord)

    def __getstate__(self) -> dict[str, object]:
        """Without what is made when it is needed."""
        return {"params": self.params}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)

"""Weighted word counts: the classical baseline of texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from hybrid_ray.errors import NotFittedError
from hybrid_ray.extractors.base import Extractor, ExtractorTags, FitContext
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Batch, BoolArray, FloatArray, Kind, Prepared, State

TEXTS = "texts"


class TfidfParams(PluginParams):
    """Parameters of ``tfidf``."""

    max_features: int = Field(2000, ge=1, le=65536)
    """Terms that are kept, the most frequent ones; the matrix is dense."""
    words: int = Field(2, ge=0, le=5)
    """Longest run of words that is a term; 0: no words."""
    chars: int = Field(0, ge=0, le=8)
    """Longest run of letters inside a word that is a term, from 2 up; 0: none."""
    min_count: int = Field(2, ge=1)
    """Texts that a term must be in."""
    max_share: float = Field(1.0, gt=0, le=1)
    """Share of the texts above which a term is left out: what stands in nearly all says nothing, in any language."""

    later: ClassVar[frozenset[str]] = frozenset({"max_share"})

    @model_validator(mode="after")
    def _some_terms(self) -> Self:
        if not (self.words or self.chars):
            raise ValueError("words or chars must be above 0; got 0 for both")
        return self


@EXTRACTORS.register("tfidf")
class TfidfExtractor(Extractor):
    """TF-IDF with logarithmic counts and rows of length 1, over terms of the training rows; labels are not looked at.

    With several columns each has its own terms, and an equal share of ``max_features``; words and letters share it
    likewise.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="text", kinds=frozenset({"text"}), trained=True, costly=False
    )
    Params: ClassVar[type[PluginParams]] = TfidfParams

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._terms: list[_Terms] | None = None

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Words on one column, words and letters on two."""
        yield TfidfParams(max_features=32, min_count=1), {"text": "text"}
        yield TfidfParams(max_features=40, words=1, chars=3, max_share=0.9), {"title": "text", "body": "text"}

    def prepare(self, batch: Batch) -> Prepared:
        """Texts side by side: object (m, n_columns), None where absent."""
        texts = np.empty((len(batch[next(iter(self.columns))]), len(self.columns)), object)
        for j, column in enumerate(self.columns):
            texts[:, j] = batch[column]
        present: BoolArray = np.asarray((texts != None).any(axis=1))  # noqa: E711 - element by element
        return Prepared({TEXTS: texts[present]}, present)

    def _kinds(self) -> list[tuple[str, int]]:
        kinds = (("word", self.params.words), ("char_wb", self.params.chars))
        return [(analyzer, longest) for analyzer, longest in kinds if longest]

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Learn terms and their weights from training rows."""
        texts = prepared.arrays[TEXTS]
        parts = [(column, *kind) for column in range(texts.shape[1]) for kind in self._kinds()]
        share = max(self.params.max_features // max(len(parts), 1), 1)
        self._terms = [
            _Terms.fit(texts[:, column], column, analyzer, longest, share, self.params)
            for column, analyzer, longest in parts
        ]
        return self

    def _fitted(self) -> list[_Terms]:
        if self._terms is None:
            raise NotFittedError("tfidf: must be fitted before it is used; got an unfitted one. Call fit")
        return self._terms

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """Weights of the terms, float32 (m, d)."""
        texts = arrays[TEXTS]
        features = np.zeros((len(texts), self.n_features), np.float32)
        start = 0
        for terms in self._fitted():
            features[:, start : start + len(terms)] = terms(texts[:, terms.column])
            start += len(terms)
        return features

    @property
    def n_features(self) -> int:
        """Terms in all; 1 where training held no term, so that there is a column."""
        return max(sum(len(terms) for terms in self._fitted()), 1)

    @property
    def most_features(self) -> int:
        """``max_features`` of each column."""
        most: int = self.params.max_features * len(self.columns)
        return most

    def get_state(self) -> State:
        """Terms as JSON, their weights as tensors."""
        parts = self._fitted()
        return State(
            meta={
                "parts": [
                    {"column": t.column, "analyzer": t.analyzer, "longest": t.longest, "terms": t.terms} for t in parts
                ]
            },
            tensors={f"idf{i}": t.idf for i, t in enumerate(parts)},
        )

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The fitted extractor."""
        extractor = cls(params, columns)
        extractor._terms = [
            _Terms(part["column"], part["analyzer"], part["longest"], part["terms"], state.tensors[f"idf{i}"])
            for i, part in enumerate(state.meta["parts"])
        ]
        return extractor


class _Terms:
    """The terms of one column, of one kind."""

    def __init__(self, column: int, analyzer: str, longest: int, terms: list[str], idf: AnyArray) -> None:
        self.column = column
        self.analyzer = analyzer
        self.longest = longest
        self.terms = terms
        self.idf = idf
        self._vectorizer: Any = None

    def __len__(self) -> int:
        return len(self.terms)

    @classmethod
    def fit(cls, texts: AnyArray, column: int, analyzer: str, longest: int, limit: int, params: TfidfParams) -> _Terms:
        """Terms of the texts that are there; none when they hold no term."""
        known = [text for text in texts if text is not None]
        vectorizer = _vectorizer(
            analyzer, longest, max_features=limit, min_df=params.min_count, max_df=params.max_share
        )
        try:
            vectorizer.fit(known)
        except ValueError:  # scikit-learn refuses an empty vocabulary
            return cls(column, analyzer, longest, [], np.zeros(0))
        return cls(column, analyzer, longest, [str(t) for t in vectorizer.get_feature_names_out()], vectorizer.idf_)

    def __call__(self, texts: AnyArray) -> AnyArray:
        """Weights (m, len) of texts (m,), zeros where there is none."""
        if not self.terms or not len(texts):
            return np.zeros((len(texts), len(self.terms)), np.float32)
        if self._vectorizer is None:
            self._vectorizer = _vectorizer(self.analyzer, self.longest, vocabulary=self.terms)
            self._vectorizer.idf_ = self.idf
        weights: AnyArray = self._vectorizer.transform(["" if t is None else t for t in texts]).toarray()
        return weights


def _vectorizer(analyzer: str, longest: int, **options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = analyzer == "word"
    return TfidfVectorizer(
        analyzer=analyzer,
        ngram_range=(1 if words else min(2, longest), longest),
        token_pattern=r"(?u)\b\w+\b" if words else None,
        sublinear_tf=True,
        dtype=np.float32,
        **options,
    )

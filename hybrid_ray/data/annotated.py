"""The label of rows that several people labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from hybrid_ray.data.consensus import Consensus, dawid_skene, majority
from hybrid_ray.data.target import Target, plain_labels
from hybrid_ray.errors import DataError
from hybrid_ray.types import AnyArray

How = Literal["dawid_skene", "majority"]


@dataclass(frozen=True)
class Annotated:
    """Several annotators' labels, and what was made of them.

    Attributes
    ----------
    names : tuple of str
        Columns, one an annotator.
    votes : ndarray int (n, k)
        Class codes, -1 where an annotator has no label.
    how : {"dawid_skene", "majority"}
    consensus : Consensus
    """

    names: tuple[str, ...]
    votes: AnyArray
    how: How
    consensus: Consensus

    @property
    def labelled(self) -> AnyArray:
        """Which rows (n,) have a label at all."""
        return np.asarray((self.votes >= 0).any(axis=1))

    @property
    def tied(self) -> AnyArray:
        """Which rows (n,) have two classes that are equally probable: the first one is the label."""
        first, second = np.sort(self.consensus.probabilities, axis=1)[:, -1:-3:-1].T
        return np.asarray(self.labelled & (first - second < 1e-9))


def end_to_end(columns: Sequence[pa.ChunkedArray], like: Sequence[Any] | None = None) -> pa.ChunkedArray:
    """Labels of all annotators, one column (n,) after another, in one type.

    Parameters
    ----------
    columns : sequence of pa.ChunkedArray
    like : sequence, optional
        Classes that are known: whether text that is all numbers is numbers; left out, it is.
    """
    numbers = None if not like else not isinstance(like[0], str)
    return pa.chunked_array(_alike([plain_labels(column, numbers) for column in columns]))


def agreed(every: Target, names: Sequence[str], how: How) -> tuple[Target, Annotated]:
    """One label a row of several annotators' labels.

    Parameters
    ----------
    every : Target
        Of all annotators, one after another, see ``end_to_end``.
    names : sequence of str
        The annotators.
    how : {"dawid_skene", "majority"}

    Returns
    -------
    target : Target
        The most probable class of each row; a row that nobody labelled is missing.
    annotated : Annotated

    Raises
    ------
    DataError
        The labels are numbers to be predicted.
    """
    if every.classes is None:
        raise DataError(
            f"data.annotators: must hold classes, of which a consensus is made; got numbers in {list(names)}. Give "
            "their mean as one label"
        )
    votes = every.y.reshape(len(names), -1).T
    find = dawid_skene if how == "dawid_skene" else majority
    annotated = Annotated(tuple(names), votes, how, find(votes, len(every.classes)))
    y = np.where(annotated.labelled, annotated.consensus.probabilities.argmax(axis=1), -1)
    return replace(every, y=y, missing=y < 0), annotated


def _alike(columns: list[pa.Array]) -> list[pa.Array]:
    """Columns in one type: text where one is text, else fractions where one has them."""
    kinds = {column.type for column in columns}
    if len(kinds) == 1:
        return columns
    text = any(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in kinds)
    wanted = pa.large_string() if text else pa.float64()
    return [column.cast(wanted) for column in columns]

"""Feature-level fusion that keeps the columns that tell most of the label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.base import FeatureFusion
from hybrid_ray.fusion.concat import SCALES, Concat, ConcatParams
from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Block, FloatArray, State

BINS = 16
"""Parts of equal size that a column, or a numeric label, is cut into to count by."""
_ROWS = 20_000
"""Rows that are counted at most: more change no ranking."""


class SelectedParams(PluginParams):
    """Parameters of :class:`Selected`."""

    share: float = Field(0.3, gt=0, le=1)
    """Share of all columns that is kept: those of the largest mutual information with the label."""
    scale: Literal["column", "block"] = "column"
    """column: every column gets variance 1; block: columns keep their variances relative to each other."""


@FUSIONS.register("selected")
class Selected(FeatureFusion):
    """Blocks side by side, of which the columns of the largest mutual information with the label are kept.

    References
    ----------
    Battiti, "Using mutual information for selecting features in supervised neural net learning", IEEE Trans. Neural
    Networks 1994.
    """

    Params = SelectedParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._concat = Concat(ConcatParams(scale=self.params.scale))
        self._columns: AnyArray | None = None

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Some, few and all columns."""
        yield SelectedParams()
        yield SelectedParams(share=0.05, scale="block")
        yield SelectedParams(share=1.0)

    def fit(self, inputs: Mapping[str, Block], y: AnyArray | None, seed: int = 0) -> Self:
        """Rank columns on training rows, O(rows * columns); without ``y`` by their variance."""
        self._concat.fit(inputs, y, seed)
        matrix = self._concat.combine(inputs)
        worth = matrix.var(axis=0) if y is None else mutual_information(matrix, y)
        kept = max(1, round(self.params.share * matrix.shape[1]))
        self._columns = np.sort(np.argsort(-worth, kind="stable")[:kept])
        return self

    def combine(self, inputs: Mapping[str, Block]) -> FloatArray:
        """One matrix float32 (n, d) of the kept columns, in the order of the blocks' names.

        Raises
        ------
        KeyError
            A block that ``fit`` saw is not there.
        """
        if self._columns is None:
            raise NotFittedError("selected: fit must come before combine")
        return np.ascontiguousarray(self._concat.combine(inputs)[:, self._columns])

    @classmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """How many columns, and how they are scaled."""
        return {
            "share": trial.suggest_float("share", 0.03, 1.0, log=True),
            "scale": trial.suggest_categorical("scale", SCALES),
        }

    @classmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """A third, then a tenth of the columns."""
        return [{"share": share, "scale": "column"} for share in (0.3, 0.1)]

    def get_state(self) -> State:
        """What was learned of each block, and the kept columns."""
        if self._columns is None:
            raise NotFittedError("selected: fit must come before it is saved")
        return nest({"concat": self._concat.get_state(), "kept": State({}, {"columns": self._columns})})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        try:
            fusion._concat = Concat.from_state(fusion._concat.params, part(state, "concat"))
            fusion._columns = part(state, "kept").tensors["columns"]
        except KeyError as error:
            raise ArtifactError(f"selected: a saved fusion must hold all its parts; missing {error}") from error
        return fusion


def mutual_information(X: AnyArray, y: AnyArray, bins: int = BINS) -> AnyArray:
    """Mutual information (d,) of each column with the label, in nats, from counts in parts of equal size.

    Parameters
    ----------
    X : ndarray (n, d)
        Finite.
    y : ndarray (n,)
        Class codes (integers), or numbers, which are cut into parts too.
    bins : int, default 16
        Parts of a column; fewer where values repeat.

    Notes
    -----
    The estimate is too large by about (parts - 1)(classes - 1) / 2n, for all columns alike; that much is taken off, so
    that a column of many parts has no advantage over one of two.
    """
    if len(X) > _ROWS:
        step = -(-len(X) // _ROWS)
        X, y = X[::step], y[::step]
    n = len(X)
    codes = y.astype(np.int64) if np.issubdtype(y.dtype, np.integer) else _parts(y, bins)
    codes = np.unique(codes, return_inverse=True)[1]
    classes = int(codes.max()) + 1 if n else 1
    found = np.zeros(X.shape[1])
    for column in range(X.shape[1]):
        parts = _parts(X[:, column], bins)
        counts = np.bincount(parts * classes + codes, minlength=(int(parts.max(initial=0)) + 1) * classes)
        joint = counts.reshape(-1, classes) / max(n, 1)
        apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        held = joint > 0
        bias = (np.count_nonzero(joint.any(axis=1)) - 1) * (classes - 1) / (2.0 * max(n, 1))
        found[column] = (joint[held] * np.log(joint[held] / apart[held])).sum() - bias
    return found


def _parts(values: AnyArray, bins: int) -> AnyArray:
    """Number of the part of about equal size that each value falls into; equal values share one."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])) if len(values) else np.empty(0)
    found: AnyArray = np.searchsorted(edges, values, side="right")
    return found

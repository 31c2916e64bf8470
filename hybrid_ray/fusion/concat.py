"""Feature-level fusion by concatenation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.base import FeatureFusion
from hybrid_ray.fusion.components import principal_axes, whitened_axes, zero_phase
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Block, FloatArray, State, Task

WIDE = 64
"""A block wider than this is worth reducing."""
WHITENED = 512
"""Components that whitening keeps at most where ``pca`` is left out: it takes the whole covariance."""
_CHUNK = 4096
_TINY = 1e-30
PCA_CHOICES: tuple[int | None, ...] = (None, 32, 64, 128, 256)
Scale = Literal["column", "block", "none"]
SCALES: tuple[Scale, ...] = ("column", "block")
BALANCES: tuple[Literal["columns", "blocks"], ...] = ("columns", "blocks")
WHITENINGS: tuple[Literal["none", "pca"], ...] = ("none", "pca")
Normalize = Literal["none", "unit", "power"]


class BlockParams(PluginParams):
    """What is done to one block; what is left out is done as to every block."""

    scale: Scale | None = None
    """column, block or none, as for all blocks."""
    pca: int | None = Field(None, ge=1, le=65_536)
    """Principal components kept of it."""
    whiten: Literal["none", "pca", "zca"] | None = None
    """none, pca or zca, as for all blocks."""
    normalize: Normalize | None = None
    """none, unit or power, as for all blocks."""
    weight: float = Field(1.0, gt=0, le=1e6)
    """What its features are multiplied with in the end."""


class ConcatParams(PluginParams):
    """Parameters of :class:`Concat`."""

    normalize: Normalize = "none"
    """What is done to each row of a block before anything is learned. unit: it is brought to length 1; power: every
    value becomes the root of its size, under its sign, then the row is brought to length 1: large values of a few
    features then no longer decide which rows are near each other, as kernels see it."""
    scale: Scale = "column"
    """column: every column gets variance 1; block: columns keep their variances relative to each other; none: columns
    are centred only."""
    pca: int | None = Field(None, ge=1, le=65_536)
    """Principal components kept of a block that is wider; left out, blocks stay as they are."""
    whiten: Literal["none", "pca", "zca"] = "none"
    """Whether the columns of a block are made uncorrelated: pca gives principal components of one variance, zca turns
    these back, so that a column stays as near as can be to what it was."""
    shrinkage: float | None = Field(None, ge=0, le=1)
    """How far whitening takes a block's covariance towards that of equal variances: 0 not at all, 1 no whitening; left
    out, by the estimate of Ledoit and Wolf."""
    balance: Literal["columns", "blocks"] = "columns"
    """columns: every column weighs the same, and a wide block much; blocks: every block weighs the same."""
    each: Mapping[str, BlockParams] = Field(default_factory=dict)
    """What is done otherwise to some blocks, by name; names that a candidate does not use are passed over."""


@dataclass(frozen=True)
class FittedBlock:
    """What was learned of one block.

    Attributes
    ----------
    mean, factor : ndarray float32 (d,)
        Taken off, and multiplied with; a column that never varied has factor 0.
    axes : ndarray float32 (k, d) or None
        Principal axes; None when the block is kept whole.
    gain : float
        What the components are multiplied with, so that every block weighs the same.
    indicator : bool
        Whether a column says which rows have the block.
    normalize : {"none", "unit", "power"}
        What was done to each row before.
    """

    mean: FloatArray
    factor: FloatArray
    axes: FloatArray | None
    gain: float
    indicator: bool
    normalize: Normalize

    @property
    def width(self) -> int:
        """Columns that come out."""
        return (len(self.factor) if self.axes is None else len(self.axes)) + self.indicator

    def write(self, block: Block, out: FloatArray) -> None:
        """Fill (n, width) with the features of some rows; a row without the block gets zeros: the mean."""
        if block.values.shape[1] != len(self.mean):
            raise ValueError(f"a block must be {len(self.mean)} wide, as in training; got {block.values.shape[1]}")
        features = out[:, : self.width - self.indicator]
        values = _normalized(block.values, self.normalize)
        if self.axes is None:
            np.subtract(values, self.mean, out=features)
            features *= self.factor
        else:
            np.matmul((values - self.mean) * self.factor, self.axes.T, out=features)
            features *= np.float32(self.gain)
        if not block.present.all():
            out[~block.present] = 0.0
        if self.indicator:
            out[:, -1] = block.present


@FUSIONS.register("concat")
class Concat(FeatureFusion):
    """Blocks side by side, each standardised; on request rows of one length, principal components, whitened columns.

    Everything is learned on the rows that have the block. A row without it gets zeros, which is the mean; where
    training rows lacked the block, one more column tells rows that have it from rows that have not.

    References
    ----------
    Kessy, Lewin and Strimmer, "Optimal whitening and decorrelation", The American Statistician 2018, for both ways to
    whiten; Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
    Multivariate Analysis 2004; Escofier and Pages, "Multiple factor analysis", Computational Statistics & Data Analysis
    1994, for blocks of one weight; Perronnin, Sanchez and Mensink, "Improving the Fisher kernel for large-scale image
    classification", ECCV 2010, for rows of one length after the signed square root.
    """

    Params = ConcatParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._blocks: dict[str, FittedBlock] = {}

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """With and without components."""
        yield ConcatParams()
        yield ConcatParams(pca=3)
        yield ConcatParams(scale="block", pca=2, normalize="power")
        yield ConcatParams(whiten="pca", pca=3, balance="blocks")
        own = BlockParams(whiten="none", weight=2.0, normalize="unit")
        yield ConcatParams(scale="none", whiten="zca", each={"text": own})

    def fit(self, inputs: Mapping[str, Block], y: AnyArray | None, task: Task, seed: int = 0) -> Self:
        """Learn means, factors and axes of each block from training rows; ``y`` is not looked at."""
        self._blocks = {name: self._fit_block(name, inputs[name], seed) for name in sorted(inputs)}
        return self

    def _fit_block(self, name: str, block: Block, seed: int) -> FittedBlock:
        own = self.params.each.get(name, BlockParams())
        whiten, cap = own.whiten or self.params.whiten, own.pca or self.params.pca
        normalize = own.normalize or self.params.normalize
        values = _normalized(block.values if block.present.all() else block.values[block.present], normalize)
        indicator = len(values) < len(block.values)
        mean, deviation = _moments(values)
        factor = _factors(mean, deviation, own.scale or self.params.scale)
        if whiten == "none" and (cap is None or values.shape[1] <= cap):
            gain = own.weight * self._balance(values.shape[1])
            return FittedBlock(mean, factor * np.float32(gain), None, 1.0, indicator, normalize)
        scaled = (values - mean) * factor
        most = WHITENED if cap is None else cap
        axes = principal_axes(scaled, min(most, *values.shape), seed)
        if whiten != "none":
            axes = whitened_axes(scaled, axes, self.params.shrinkage)
        if whiten == "zca":
            axes = zero_phase(axes)
        components = scaled @ axes.T
        spread = float(np.sqrt(np.square(components, dtype=np.float64).mean())) if components.size else 0.0
        gain = own.weight * self._balance(len(axes)) / spread if spread > 0 else 0.0
        return FittedBlock(mean, factor, axes, gain, indicator, normalize)

    def _balance(self, width: int) -> float:
        return 1.0 if self.params.balance == "columns" else float(1.0 / np.sqrt(max(width, 1)))

    def combine(self, inputs: Mapping[str, Block]) -> FloatArray:
        """One matrix float32 (n, d), blocks in the order of their names.

        Raises
        ------
        KeyError
            A block that ``fit`` saw is not there.
        """
        if not self._blocks:
            raise NotFittedError("concat: fit must come before combine")
        self._check_there(self._blocks, inputs)
        n = len(inputs[next(iter(self._blocks))].values)
        matrix = np.empty((n, sum(block.width for block in self._blocks.values())), np.float32)
        start = 0
        for name, fitted in self._blocks.items():
            fitted.write(inputs[name], matrix[:, start : start + fitted.width])
            start += fitted.width
        return matrix

    @property
    def spans(self) -> dict[str, slice]:
        """Columns of the matrix that come from each block, indicator included: what an explanation adds up over."""
        ends = np.cumsum([block.width for block in self._blocks.values()])
        return {
            name: slice(int(end) - block.width, int(end))
            for (name, block), end in zip(self._blocks.items(), ends, strict=True)
        }

    @classmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """How columns are scaled, what several blocks weigh and, for wide ones, which components are kept.

        The choices never depend on ``dims``: Optuna holds a categorical parameter to the choices it first saw.
        """
        point: dict[str, Any] = {"scale": trial.suggest_categorical("scale", SCALES)}
        if len(dims) > 1:
            point["balance"] = trial.suggest_categorical("balance", BALANCES)
        widest = max(dims.values())
        if widest > WIDE:
            cap = trial.suggest_categorical("pca", PCA_CHOICES)
            # A cap that reduces nothing is written as none, so that equal candidates have equal keys.
            point["pca"] = None if cap is None or cap >= widest else cap
            if cap is not None:
                point["whiten"] = trial.suggest_categorical("whiten", WHITENINGS)
        return point

    @classmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """Everything as it is, then blocks that weigh the same; for wide blocks also components, whitened last."""
        balances = [{"balance": balance} for balance in BALANCES] if len(dims) > 1 else [{}]
        widest = max(dims.values())
        if widest <= WIDE:
            return [{"scale": "column", **balance} for balance in balances]
        whole = [{"scale": "column", "pca": None, **balance} for balance in balances]
        reduced = [
            {"scale": "column", "pca": cap, "whiten": whiten, **balance}
            for cap, whiten in ((64, "none"), (128, "none"), (64, "pca"))
            if cap < widest
            for balance in balances
        ]
        return [*whole, *reduced]

    def get_state(self) -> State:
        """Means, factors and axes by block."""
        blocks = list(self._blocks.items())
        meta = {
            "blocks": [
                {
                    "name": name,
                    "gain": b.gain,
                    "indicator": b.indicator,
                    "reduced": b.axes is not None,
                    "normalize": b.normalize,
                }
                for name, b in blocks
            ]
        }
        tensors: dict[str, AnyArray] = {}
        for i, (_, block) in enumerate(blocks):
            tensors[f"mean.{i}"], tensors[f"factor.{i}"] = block.mean, block.factor
            if block.axes is not None:
                tensors[f"axes.{i}"] = block.axes
        return State(meta, tensors)

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        try:
            for i, entry in enumerate(state.meta["blocks"]):
                fusion._blocks[entry["name"]] = FittedBlock(
                    mean=state.tensors[f"mean.{i}"],
                    factor=state.tensors[f"factor.{i}"],
                    axes=state.tensors[f"axes.{i}"] if entry["reduced"] else None,
                    gain=float(entry["gain"]),
                    indicator=bool(entry["indicator"]),
                    normalize=entry.get("normalize", "none"),  # what was saved before had none
                )
        except KeyError as error:
            raise ArtifactError(f"concat: a saved fusion must hold all of each block; missing {error}") from error
        return fusion


def _normalized(values: FloatArray, how: Normalize) -> FloatArray:
    """Values (n, d) with what is done to each row; a row of zeros stays one."""
    if how == "none":
        return values
    powered = np.sign(values) * np.sqrt(np.abs(values)) if how == "power" else values
    lengths = np.sqrt(np.square(powered, dtype=np.float64).sum(axis=1, keepdims=True))
    normalized: FloatArray = (powered / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return normalized


def _moments(values: FloatArray) -> tuple[FloatArray, AnyArray]:
    """Mean float32 and deviation float64 (d,) of each column; zeros for no rows.

    Summed in float64, a few rows at a time: a float64 copy of the whole block would be twice its size.
    """
    n, d = values.shape
    total, squares = np.zeros(d), np.zeros(d)
    if not n:
        return np.zeros(d, np.float32), squares
    for start in range(0, n, _CHUNK):
        total += values[start : start + _CHUNK].sum(axis=0, dtype=np.float64)
    mean = (total / n).astype(np.float32)
    for start in range(0, n, _CHUNK):
        centred = values[start : start + _CHUNK].astype(np.float64) - mean
        squares += np.einsum("ij,ij->j", centred, centred)
    return mean, np.sqrt(squares / n)


def _factors(mean: FloatArray, deviation: AnyArray, scale: str) -> FloatArray:
    """What centred columns are multiplied with: 0 for columns that are constant up to float32 rounding."""
    varies = deviation > np.maximum(1e-6 * np.abs(mean), _TINY)
    if scale == "block" and varies.any():
        deviation = np.full_like(deviation, np.sqrt(np.square(deviation[varies]).mean()))
    if scale == "none":
        deviation = np.ones_like(deviation)
    factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
    return factor.astype(np.float32)

"""What fusion networks share: how they are trained, cross-fitted, and applied."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import ArtifactError, DataError, NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.estimators.models.resample import answering_folds, hold_out
from hybrid_ray.fusion.base import FeatureFusion
from hybrid_ray.fusion.concat import Concat, ConcatParams
from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.fusion.networks.layers import Weights
from hybrid_ray.params import PluginParams
from hybrid_ray.seeding import reproducible
from hybrid_ray.types import CLASSIFICATION, AnyArray, Block, FloatArray, State, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.training import Named
    from hybrid_ray.fusion.networks.net import FusionNet

MAX_ROWS = 100_000
"""Rows that networks are trained on at most, all copies together."""
MIN_ROWS = 16
"""Fewer training rows than this train no network: the blocks are all there is."""
_STEPS = 200
"""Steps of an epoch at most: with more rows, more of them go into one step."""
_CHUNK = 1024
_RIDGE = 0.05
_TINY = 1e-12


class NetworkParams(PluginParams):
    """Parameters of every fusion network."""

    pca: int | None = Field(64, ge=1, le=4096)
    """Principal components that a wider block is reduced to first; left out, blocks stay as they are."""
    hidden: int = Field(64, ge=1, le=2048)
    """Width of the fused representation."""
    keep: bool = True
    """True: the blocks stand beside the representation; False: the representation alone."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Share of units left out of each step."""
    block_dropout: float = Field(0.2, ge=0, lt=1)
    """Share of present blocks that a step of training takes for missing; no row loses its last one."""
    learning_rate: float = Field(2e-3, gt=0, le=1)
    """Learning rate of AdamW that training starts with; it falls as a cosine does."""
    weight_decay: float = Field(1e-2, ge=0, le=10)
    """Strength of the penalty on weights."""
    batch_size: int = Field(128, ge=2, le=8192)
    """Rows of one step."""
    max_epochs: int = Field(60, ge=1, le=1000)
    """Most passes over the training rows."""
    patience: int = Field(8, ge=1, le=1000)
    """Epochs without a gain on the held-out rows after which training stops."""
    held_share: float = Field(0.15, gt=0, le=0.5)
    """Share of a network's rows held out to decide when to stop."""
    folds: int = Field(4, ge=2, le=20)
    """Copies of the network, each trained without the rows of one inner fold, which it then stands for."""


@dataclass(frozen=True)
class Copy:
    """A trained copy of the network.

    Attributes
    ----------
    weights : dict of str to ndarray
    turn, shift : ndarray float64 (h, h), (h,)
        The affine map from its own hidden units to those that all copies share.
    """

    weights: Weights
    turn: AnyArray
    shift: AnyArray


class NetworkFusion(FeatureFusion):
    """A network that is trained on the labels; what it makes of a row, before its last layer, is the representation.

    An estimator that is given training rows as the network that was fitted on them sees them takes memory for
    knowledge. So there are several copies, each trained without one inner fold, and a training row is represented by
    the copy that did not see it. A new row is represented by the mean of all copies.

    Copies that begin differently end in coordinates of their own, which must not stand in one matrix. Each is therefore
    turned into the coordinates of one more network, trained on all rows, by the linear map that fits best on the rows
    that both saw; that network is then forgotten. The rows that a copy stands for are not among those.

    A row that lacks a block has a learned vector in its place, at training and after; while training, blocks that are
    there are taken for missing now and then, so that the vector is learned where no training row lacks the block.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 1992; Li et al., "Convergent learning: do different neural
    networks learn the same representations?", ICLR 2016, for how well a linear map takes one to another; Neverova et
    al., "ModDrop", IEEE TPAMI 2016.
    """

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._blocks: dict[str, Concat] = {}
        self._copies: list[Copy] = []

    @abstractmethod
    def _build(
        self, widths: Sequence[int], n_outputs: int, X: FloatArray, y: AnyArray
    ) -> tuple[FusionNet, Sequence[Named]]:
        """A network, and what it wants done while it is trained on rows (n, sum of widths + k), of which y is known."""

    @abstractmethod
    def _represent(self, weights: Weights, widths: Sequence[int], columns: AnyArray, present: AnyArray) -> AnyArray:
        """Hidden units (n, h) of rows (n, sum of widths), float64, where ``present`` (n, k) says which blocks count."""

    def fit(self, inputs: Mapping[str, Block], y: AnyArray | None, task: Task, seed: int = 0) -> Self:
        """Learn from training rows; ``combine`` then sees these as it sees new ones."""
        self.fit_combine(inputs, y, task, seed)
        return self

    def fit_combine(
        self,
        inputs: Mapping[str, Block],
        y: AnyArray | None,
        task: Task,
        seed: int = 0,
        groups: AnyArray | None = None,
    ) -> FloatArray:
        """Learn from training rows, and represent each by a network that was not trained on it, nor on a copy of it.

        Raises
        ------
        DataError
            There are no labels.
        """
        if y is None:
            raise DataError(f"{self.name}: a fusion network needs labels to learn from; got none. Use concat")
        inner = ConcatParams(pca=self.params.pca)
        self._blocks = {name: Concat(inner).fit({name: inputs[name]}, y, task, seed) for name in sorted(inputs)}
        self._copies = []
        shown = self._shown(inputs)
        if len(y) < MIN_ROWS:
            return self._beside(shown, None)
        target = _Target.of(y, task)
        return self._beside(shown, self._cross_fit(shown, target, seed, groups))

    def _cross_fit(self, shown: FloatArray, target: _Target, seed: int, groups: AnyArray | None) -> AnyArray:
        """Train the copies; the representation float32 (n, h) of each row by a copy that did not see it."""
        n = len(shown)
        rows = np.arange(n)
        if n > MAX_ROWS:
            rows = np.sort(np.random.default_rng(seed).choice(n, MAX_ROWS, replace=False))
        codes = np.zeros(n, np.int64) if target.codes is None else target.codes
        folds = answering_folds(codes, self.params.folds, seed, groups)
        wanted = self._hidden(self._trained(shown, target, rows, seed, groups), shown[rows])
        copies = []
        # Of few groups a fold may have no row, and needs no copy.
        standing = np.unique(folds[folds >= 0]).tolist() or list(range(self.params.folds))
        for fold in standing:
            mine = folds[rows] != fold
            weights = self._trained(shown, target, rows[mine], seed + 1 + fold, groups)
            copies.append(Copy(weights, *_turn(self._hidden(weights, shown[rows[mine]]), wanted[mine])))
        fused = np.empty((n, wanted.shape[1]), np.float32)
        for fold, copy in zip(standing, copies, strict=True):
            fused[folds == fold] = self._turned(copy, shown[folds == fold])
        alone = folds < 0  # the only row of its class, which every copy needed
        if alone.any():
            fused[alone] = np.mean([self._turned(copy, shown[alone]) for copy in copies], axis=0)
        mean = fused.mean(axis=0, dtype=np.float64)
        spread = float(np.sqrt(fused.var(axis=0, dtype=np.float64).mean()))
        gain = 1.0 / spread if spread > _TINY else 0.0
        self._copies = [Copy(copy.weights, copy.turn * gain, (copy.shift - mean) * gain) for copy in copies]
        return (fused - mean) * gain

    def _trained(
        self, shown: FloatArray, target: _Target, rows: AnyArray, seed: int, groups: AnyArray | None
    ) -> Weights:
        from hybrid_ray.estimators.models.training import Training, train_network

        own = self.params
        codes = None if target.codes is None else target.codes[rows]
        copies = None if groups is None else groups[rows]
        train, held = hold_out(len(rows), codes, own.held_share, seed, copies)
        training = Training(
            optimizer="adamw",
            learning_rate=own.learning_rate,
            weight_decay=own.weight_decay,
            schedule="cosine",
            batch_size=max(own.batch_size, -(-len(train) // _STEPS)),
            max_epochs=own.max_epochs,
            patience=own.patience,
        )
        X, y = shown[rows], target.values[rows]
        with reproducible(seed, 1):
            net, callbacks = self._build(self._widths, target.n_outputs, X[train], y[train])
            trained, _ = train_network(net, X, y, (train, held), training, callbacks=callbacks)
            weights: Weights = trained.weights()
        return weights

    @property
    def _widths(self) -> list[int]:
        """Columns of each block."""
        return [concat.spans[name].stop for name, concat in self._blocks.items()]

    def _shown(self, inputs: Mapping[str, Block]) -> FloatArray:
        """What networks are given, float32: the blocks side by side, and a column a block that says who has it."""
        columns = [concat.combine({name: inputs[name]}) for name, concat in self._blocks.items()]
        there = [inputs[name].present.astype(np.float32)[:, None] for name in self._blocks]
        return np.hstack([*columns, *there])

    def _hidden(self, weights: Weights, shown: FloatArray) -> AnyArray:
        """Hidden units (n, h) of a network, some rows at a time."""
        widths = self._widths
        end = sum(widths)
        parts = []
        for start in range(0, max(len(shown), 1), _CHUNK):
            rows = shown[start : start + _CHUNK]
            parts.append(self._represent(weights, widths, rows[:, :end].astype(np.float64), rows[:, end:] > 0.5))
        return np.concatenate(parts)

    def _turned(self, copy: Copy, shown: FloatArray) -> AnyArray:
        turned: AnyArray = self._hidden(copy.weights, shown) @ copy.turn + copy.shift
        return turned

    def _beside(self, shown: FloatArray, fused: AnyArray | None) -> FloatArray:
        """The matrix of blocks and representation, or of what there is of them."""
        blocks = shown[:, : sum(self._widths)]
        if fused is None:
            return np.ascontiguousarray(blocks)
        parts = [blocks, fused.astype(np.float32)] if self.params.keep else [fused.astype(np.float32)]
        return np.hstack(parts)

    def combine(self, inputs: Mapping[str, Block]) -> FloatArray:
        """One matrix float32 (n, d): blocks in the order of their names if kept, then the mean of all copies.

        Raises
        ------
        KeyError
            A block that ``fit`` saw is not there.
        """
        if not self._blocks:
            raise NotFittedError(f"{self.name}: fit must come before combine")
        self._check_there(self._blocks, inputs)
        shown = self._shown(inputs)
        if not self._copies:
            return self._beside(shown, None)
        fused = self._turned(self._copies[0], shown)
        for copy in self._copies[1:]:
            fused = fused + self._turned(copy, shown)
        return self._beside(shown, fused / len(self._copies))

    def get_state(self) -> State:
        """What was learned of each block, and every copy."""
        parts = {f"block.{i}": concat.get_state() for i, concat in enumerate(self._blocks.values())}
        for i, copy in enumerate(self._copies):
            parts[f"copy.{i}"] = State({}, copy.weights)
            parts[f"turn.{i}"] = State({}, {"turn": copy.turn, "shift": copy.shift})
        return nest(parts, {"names": list(self._blocks), "copies": len(self._copies)})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        try:
            names = [str(name) for name in state.meta["names"]]
            inner = ConcatParams(pca=fusion.params.pca)
            fusion._blocks = {n: Concat.from_state(inner, part(state, f"block.{i}")) for i, n in enumerate(names)}
            for i in range(int(state.meta["copies"])):
                weights, turn = part(state, f"copy.{i}").tensors, part(state, f"turn.{i}").tensors
                missing = sorted(fusion._needed() - set(weights))
                if missing:
                    raise KeyError(missing[0])
                fusion._copies.append(Copy(weights, turn["turn"], turn["shift"]))
        except KeyError as error:
            raise ArtifactError(f"{cls.name}: a saved fusion must hold all its parts; missing {error}") from error
        return fusion

    @abstractmethod
    def _needed(self) -> set[str]:
        """Names of the arrays that a copy of the network needs."""


NETWORK_PCA: tuple[int | None, ...] = (32, 64, 128)
WIDTHS = (16, 32, 64, 128)


def network_space(trial: Trial) -> dict[str, Any]:
    """What is searched of every fusion network, ``pca`` left out."""
    return {
        "hidden": trial.suggest_categorical("hidden", WIDTHS),
        "keep": trial.suggest_categorical("keep", (True, False)),
        "dropout": trial.suggest_float("dropout", 0.0, 0.6),
        "block_dropout": trial.suggest_float("block_dropout", 0.0, 0.5),
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
    }


NETWORK_START: Mapping[str, Any] = {
    "hidden": 64,
    "keep": True,
    "dropout": 0.3,
    "block_dropout": 0.2,
    "learning_rate": 2e-3,
    "weight_decay": 1e-2,
}
"""A good start of what ``network_space`` searches."""


@dataclass(frozen=True)
class _Target:
    """What a network learns to tell.

    Attributes
    ----------
    values : ndarray (n,)
        int64 class codes without gaps, or float32 standardised values.
    codes : ndarray of int64 (n,) or None
        The codes again; None for regression.
    n_outputs : int
    """

    values: AnyArray
    codes: AnyArray | None
    n_outputs: int

    @classmethod
    def of(cls, y: AnyArray, task: Task) -> _Target:
        if task in CLASSIFICATION:
            codes = np.unique(y, return_inverse=True)[1].astype(np.int64)
            return cls(codes, codes, int(codes.max()) + 1)
        values = y.astype(np.float64) - y.mean()
        deviation = float(values.std())
        return cls((values / deviation if deviation > _TINY else values).astype(np.float32), None, 1)


def _turn(own: AnyArray, wanted: AnyArray) -> tuple[AnyArray, AnyArray]:
    """The affine map, by ridge regression, from hidden units of one network to those of another (n, h)."""
    mean, goal = own.mean(axis=0), wanted.mean(axis=0)
    centred = own - mean
    gram = centred.T @ centred
    penalty = _RIDGE * float(np.trace(gram)) / len(gram) + _TINY
    turn = np.linalg.solve(gram + penalty * np.eye(len(gram)), centred.T @ (wanted - goal))
    return turn, goal - mean @ turn

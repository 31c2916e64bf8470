"""LightGBM behind the interface of :mod:`hybrid_ray.estimators.models.boosting`."""

from __future__ import annotations

from typing import Any, Self

import lightgbm
import numpy as np

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.models.base import ClassWeight
from hybrid_ray.estimators.models.boosting import MIN_GAIN, Boosted, BoostedClassifier, BoostedRegressor, bins
from hybrid_ray.estimators.models.quick import QuickTrees
from hybrid_ray.estimators.streaming import RowStream, Team
from hybrid_ray.types import AnyArray, FloatArray, State

BLOB = "model.txt"
BIN_ROWS, BIN_CELLS = 200_000, 2**24
"""Rows, and values, at most that a worker's bins are made from; they lie in its memory three times meanwhile."""


class LightGBMBoosted(Boosted):
    """How LightGBM trains, is asked and is kept; the learning task comes from ``_objective``."""

    learning_rate: float
    num_leaves: int
    min_child_samples: int
    subsample: float
    colsample_bytree: float
    reg_lambda: float
    extra_trees: bool
    n_jobs: int

    def _objective(self) -> dict[str, Any]:
        """LightGBM's objective, metric and number of classes."""
        raise NotImplementedError

    def _settings(self, n_features: int, threads: int) -> dict[str, Any]:
        return {
            **self._objective(),
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_child_samples,
            "bagging_fraction": self.subsample,
            "bagging_freq": 1 if self.subsample < 1 else 0,
            "feature_fraction": self.colsample_bytree,
            "lambda_l2": self.reg_lambda,
            "extra_trees": self.extra_trees,
            "max_bin": bins(n_features),
            "num_threads": threads,
            "seed": self.random_state,
            "deterministic": True,
            # Chosen here, because LightGBM chooses by timing both, which is not deterministic.
            "force_col_wise": True,
            "feature_pre_filter": False,
            "verbosity": -1,
        }

    def _train(
        self,
        X: FloatArray,
        y: AnyArray,
        weights: AnyArray | None,
        rounds: int,
        held: tuple[FloatArray, AnyArray, AnyArray | None] | None,
    ) -> tuple[Any, int]:
        settings = self._settings(X.shape[1], self.n_jobs)
        train = lightgbm.Dataset(X, y, weight=weights, params=settings)
        if held is None:
            booster = lightgbm.train(settings, train, rounds)
            best = rounds
        else:
            judges = lightgbm.Dataset(held[0], held[1], weight=held[2], reference=train, params=settings)
            stop = lightgbm.early_stopping(self.patience, verbose=False, min_delta=MIN_GAIN)
            booster = lightgbm.train(settings, train, rounds, valid_sets=[judges], callbacks=[stop])
            best = int(booster.best_iteration) or rounds
        return _answering(booster, best), best

    def train_stream(self, stream: RowStream, y: AnyArray, weights: AnyArray | None, team: Team) -> Any:
        """Binned in one pass over the rows after another that looks at a sample: a byte of each value is held."""
        settings = self._settings(stream.n_features, team.threads)
        settings["bin_construct_sample_cnt"] = min(BIN_ROWS, max(BIN_CELLS // stream.n_features, 1000))
        if team.size > 1:
            settings |= {"tree_learner": "data", "pre_partition": True, **team.network}
        train = lightgbm.Dataset(_Rows(stream), y, weight=weights, params=settings)
        rounds = int(self.rounds_[0])
        return _answering(lightgbm.train(settings, train, rounds), rounds)

    def compiled(self) -> QuickTrees:
        """The booster's trees, compiled."""
        import treelite

        return QuickTrees(treelite.frontend.from_lightgbm(self.booster_))

    def slow_outputs(self, X: FloatArray) -> AnyArray:
        """What the booster answers."""
        outputs: AnyArray = self.booster_.predict(X, num_threads=self.n_jobs)
        return outputs

    def pack(self) -> State:
        """Text of the booster, beside what the class keeps."""
        state = super().pack()
        return State(state.meta, state.tensors, {BLOB: self.booster_.model_to_string().encode()})

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted estimator back, on one thread."""
        model = super().unpack(state)
        try:
            model.booster_ = lightgbm.Booster(model_str=state.blobs[BLOB].decode())
        except (KeyError, UnicodeDecodeError, lightgbm.basic.LightGBMError) as error:
            raise ArtifactError(f"{BLOB}: must be a booster that LightGBM reads; got {error}") from error
        return model


def _answering(booster: lightgbm.Booster, rounds: int) -> lightgbm.Booster:
    """What is kept is what answers: the text form, read back."""
    return lightgbm.Booster(model_str=booster.model_to_string(num_iteration=rounds))


class _Rows(lightgbm.Sequence):
    """Rows of a stream by their number, as LightGBM asks for them: upwards, and then once more from the first."""

    batch_size = 16_384

    def __init__(self, stream: RowStream) -> None:
        self._stream = stream
        self._rewind()

    def _rewind(self) -> None:
        self._batches = iter(self._stream)
        self._first = 0
        self._batch = np.empty((0, self._stream.n_features), np.float32)

    def _from(self, row: int) -> FloatArray:
        """The rest of a batch, from a row on."""
        if row < self._first:
            self._rewind()
        while row >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = next(self._batches)
        return self._batch[row - self._first :]

    def __len__(self) -> int:
        return len(self._stream.labels)

    def __getitem__(self, rows: int | slice | list[int]) -> AnyArray:
        if isinstance(rows, list):
            raise TypeError("rows of a stream are read upwards; got a list of them")
        if not isinstance(rows, slice):
            return self._from(rows)[0].astype(np.float64)
        parts: list[FloatArray] = []
        start = rows.start
        while start < rows.stop:
            parts.append(self._from(start)[: rows.stop - start])
            start += len(parts[-1])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class LightGBMClassifier(LightGBMBoosted, BoostedClassifier):
    """LightGBM for classes.

    Parameters
    ----------
    n_estimators : int, default=1000
        Most rounds; fewer for many classes.
    learning_rate : float, default=0.05
    num_leaves : int, default=15
    min_child_samples : int, default=20
    subsample, colsample_bytree : float, default=0.8
        Share of rows, of features, that a tree sees.
    reg_lambda : float, default=1.0
    extra_trees : bool, default=False
        True: one random threshold a feature is looked at.
    class_weight : {"balanced"}, dict or None, default=None
    patience : int, default=40
        Rounds without a gain on the held-out rows after which growing stops.
    held_share : float, default=0.15
        Share of the training rows held out to decide the number of rounds.
    refit_rows : int, default=3000
        Up to this many training rows a last fit uses all of them, with the rounds found.
    n_jobs : int, default=1
    random_state : int, default=0
    """

    def __init__(
        self,
        *,
        n_estimators: int = 1000,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_child_samples: int = 20,
        subsample: float = 0.8,
        colsample_bytree: float = 0.8,
        reg_lambda: float = 1.0,
        extra_trees: bool = False,
        class_weight: ClassWeight = None,
        patience: int = 40,
        held_share: float = 0.15,
        refit_rows: int = 3000,
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_lambda = reg_lambda
        self.extra_trees = extra_trees
        self.class_weight = class_weight
        self.patience = patience
        self.held_share = held_share
        self.refit_rows = refit_rows
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _objective(self) -> dict[str, Any]:
        if len(self.classes_) == 2:
            return {"objective": "binary", "metric": "binary_logloss"}
        return {"objective": "multiclass", "metric": "multi_logloss", "num_class": len(self.classes_)}


class LightGBMRegressor(LightGBMBoosted, BoostedRegressor):
    """LightGBM for numbers; parameters as for :class:`LightGBMClassifier`, without ``class_weight``."""

    def __init__(
        self,
        *,
        n_estimators: int = 1000,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_child_samples: int = 20,
        subsample: float = 0.8,
        colsample_bytree: float = 0.8,
        reg_lambda: float = 1.0,
        extra_trees: bool = False,
        patience: int = 40,
        held_share: float = 0.15,
        refit_rows: int = 3000,
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_lambda = reg_lambda
        self.extra_trees = extra_trees
        self.patience = patience
        self.held_share = held_share
        self.refit_rows = refit_rows
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _objective(self) -> dict[str, Any]:
        return {"objective": "regression", "metric": "l2"}

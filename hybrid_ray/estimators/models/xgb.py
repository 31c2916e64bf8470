"""XGBoost behind the interface of :mod:`hybrid_ray.estimators.models.boosting`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import xgboost

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.models.base import ClassWeight
from hybrid_ray.estimators.models.boosting import MIN_GAIN, Boosted, BoostedClassifier, BoostedRegressor, bins
from hybrid_ray.estimators.models.quick import QuickTrees
from hybrid_ray.estimators.models.thresholds import neighbours
from hybrid_ray.estimators.streaming import RowStream, Team
from hybrid_ray.types import AnyArray, FloatArray, State

BLOB = "model.ubj"


class XGBoosted(Boosted):
    """How XGBoost trains, is asked and is kept; the learning task comes from ``_objective``."""

    learning_rate: float
    max_depth: int
    min_child_weight: float
    subsample: float
    colsample_bytree: float
    reg_lambda: float
    device: str
    n_jobs: int

    def _objective(self) -> dict[str, Any]:
        """XGBoost's objective, metric and number of classes."""
        raise NotImplementedError

    def _settings(self, n_features: int, device: str, threads: int) -> dict[str, Any]:
        return {
            **self._objective(),
            "eta": self.learning_rate,
            "max_depth": self.max_depth,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "lambda": self.reg_lambda,
            "tree_method": "hist",
            "max_bin": bins(n_features),
            "device": device,
            "nthread": threads,
            "seed": self.random_state,
            "verbosity": 0,
        }

    def _train(
        self,
        X: FloatArray,
        y: AnyArray,
        weights: AnyArray | None,
        rounds: int,
        held: tuple[FloatArray, AnyArray, AnyArray | None] | None,
    ) -> tuple[Any, int]:
        settings = self._settings(X.shape[1], self.device, self.n_jobs)
        train = xgboost.QuantileDMatrix(X, y, weight=weights, max_bin=settings["max_bin"], nthread=self.n_jobs)
        if held is None:
            return halfway(xgboost.train(settings, train, rounds, verbose_eval=False), X, settings), rounds
        judges = xgboost.QuantileDMatrix(
            held[0], held[1], weight=held[2], ref=train, max_bin=settings["max_bin"], nthread=self.n_jobs
        )
        booster = xgboost.train(
            settings,
            train,
            rounds,
            evals=[(judges, "held")],
            callbacks=[xgboost.callback.EarlyStopping(rounds=self.patience, min_delta=MIN_GAIN)],
            verbose_eval=False,
        )
        best = int(booster.best_iteration) + 1
        return halfway(booster[:best], X, settings), best

    def train_stream(self, stream: RowStream, y: AnyArray, weights: AnyArray | None, team: Team) -> Any:
        """By external memory: pages of binned values lie on the disk, of each row only its gradient is held.

        Always on CPUs. Other workers are met in the communicator that the caller has opened.
        """
        settings = self._settings(stream.n_features, "cpu", team.threads)
        pages = _Pages(stream, y, weights, team.folder)
        train = xgboost.ExtMemQuantileDMatrix(pages, max_bin=settings["max_bin"], nthread=team.threads)
        return xgboost.train(settings, train, int(self.rounds_[0]), verbose_eval=False)

    def compiled(self) -> QuickTrees:
        """The booster's trees, compiled."""
        import treelite

        return QuickTrees(treelite.frontend.from_xgboost(self.booster_))

    def slow_outputs(self, X: FloatArray) -> AnyArray:
        """What the booster answers."""
        outputs: AnyArray = self.booster_.inplace_predict(X)
        return outputs

    def pack(self) -> State:
        """UBJ bytes of the booster, beside what the class keeps."""
        state = super().pack()
        return State(state.meta, state.tensors, {BLOB: bytes(self.booster_.save_raw("ubj"))})

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted estimator back, on one CPU thread wherever it was fitted."""
        model = super().unpack(state)
        model.booster_ = xgboost.Booster({"device": "cpu", "nthread": 1})
        try:
            model.booster_.load_model(bytearray(state.blobs[BLOB]))
        except (KeyError, xgboost.core.XGBoostError) as error:
            raise ArtifactError(f"{BLOB}: must be a booster that XGBoost reads; got {error}") from error
        if "device" in state.meta["params"]:
            model.set_params(device="cpu")
        return model


def halfway(booster: Any, X: FloatArray, settings: dict[str, Any]) -> Any:
    """The booster with thresholds half-way between the rows that it was trained on, which fall as they fell.

    Parameters
    ----------
    booster : xgboost.Booster
        Trees of numeric splits only.
    X : ndarray float32 (n, d)
        The rows.
    settings : dict
        Its parameters: those of the machine and of training are no part of what a booster saves.
    """
    model = json.loads(booster.save_raw("json"))
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    inner = [np.array(tree["left_children"]) >= 0 for tree in trees]
    features = np.concatenate([np.array(tree["split_indices"])[own] for tree, own in zip(trees, inner, strict=True)])
    each = [np.array(tree["split_conditions"], np.float32)[own] for tree, own in zip(trees, inner, strict=True)]
    low, high = neighbours(X, features, np.concatenate(each), goes_left="below")
    middle = ((low + high) / 2).astype(np.float32)
    # Between neighbouring float32 there is nothing: the upper one is what tells them apart.
    moved = np.where(middle > low, middle, high)
    for tree, own, values in zip(trees, inner, np.split(moved, np.cumsum([len(t) for t in each])[:-1]), strict=True):
        # A leaf keeps its value where an inner node keeps its threshold.
        for node, value in zip(np.flatnonzero(own), values, strict=True):
            tree["split_conditions"][node] = float(value)
    booster.load_model(bytearray(json.dumps(model).encode()))
    booster.set_param(settings)
    return booster


class _Pages(xgboost.DataIter):
    """Batches of a stream as XGBoost asks for them: several times over the rows, then never again."""

    def __init__(self, stream: RowStream, y: AnyArray, weights: AnyArray | None, folder: Path) -> None:
        super().__init__(cache_prefix=str(folder / "pages"))
        self._stream = stream
        self._y, self._weights = y, weights
        self.reset()

    def reset(self) -> None:
        self._batches = iter(self._stream)
        self._start = 0

    def next(self, input_data: Callable[..., Any]) -> bool:
        batch = next(self._batches, None)
        if batch is None:
            return False
        rows = slice(self._start, self._start + len(batch))
        self._start = rows.stop
        input_data(data=batch, label=self._y[rows], weight=None if self._weights is None else self._weights[rows])
        return True


class XGBoostClassifier(XGBoosted, BoostedClassifier):
    """XGBoost for classes.

    Parameters
    ----------
    n_estimators : int, default=1000
        Most rounds; fewer for many classes.
    learning_rate : float, default=0.05
    max_depth : int, default=5
    min_child_weight : float, default=1.0
    subsample, colsample_bytree : float, default=0.8
        Share of rows, of features, that a tree sees.
    reg_lambda : float, default=1.0
    class_weight : {"balanced"}, dict or None, default=None
    device : {"cpu", "cuda"}, default="cpu"
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
        max_depth: int = 5,
        min_child_weight: float = 1.0,
        subsample: float = 0.8,
        colsample_bytree: float = 0.8,
        reg_lambda: float = 1.0,
        class_weight: ClassWeight = None,
        device: Literal["cpu", "cuda"] = "cpu",
        patience: int = 40,
        held_share: float = 0.15,
        refit_rows: int = 3000,
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_lambda = reg_lambda
        self.class_weight = class_weight
        self.device = device
        self.patience = patience
        self.held_share = held_share
        self.refit_rows = refit_rows
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _objective(self) -> dict[str, Any]:
        if len(self.classes_) == 2:
            return {"objective": "binary:logistic", "eval_metric": "logloss"}
        return {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": len(self.classes_)}


class XGBoostRegressor(XGBoosted, BoostedRegressor):
    """XGBoost for numbers; parameters as for :class:`XGBoostClassifier`, without ``class_weight``."""

    def __init__(
        self,
        *,
        n_estimators: int = 1000,
        learning_rate: float = 0.05,
        max_depth: int = 5,
        min_child_weight: float = 1.0,
        subsample: float = 0.8,
        colsample_bytree: float = 0.8,
        reg_lambda: float = 1.0,
        device: Literal["cpu", "cuda"] = "cpu",
        patience: int = 40,
        held_share: float = 0.15,
        refit_rows: int = 3000,
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_lambda = reg_lambda
        self.device = device
        self.patience = patience
        self.held_share = held_share
        self.refit_rows = refit_rows
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _objective(self) -> dict[str, Any]:
        return {"objective": "reg:squarederror", "eval_metric": "rmse"}

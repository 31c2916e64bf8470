"""Third parties' estimator families: the nearest mean of a class, and one whose workers are killed."""

import os
import signal

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import EstimatorFamily, EstimatorTags
from hybrid_ray.estimators.xgboost import XGBoost
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import State


class NearestMean:
    """Probabilities that fall with the distance to each class's mean."""

    def __init__(self, sharpness, means=None):
        self.sharpness = sharpness
        self.means = means

    @property
    def classes_(self):
        return np.arange(len(self.means))

    def fit(self, X, y):
        self.means = np.stack([X[y == code].mean(axis=0, dtype=np.float64) for code in np.unique(y)])
        return self

    def predict_proba(self, X):
        distances = ((X[:, None].astype(np.float64) - self.means) ** 2).sum(axis=2) / X.shape[1]
        scores = -self.sharpness * distances
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)


class ToyCentroidParams(PluginParams):
    sharpness: float = Field(4.0, gt=0, le=100, description="How fast probability falls with squared distance.")


@ESTIMATORS.register("toy_centroid")
class ToyCentroid(EstimatorFamily):
    tags = EstimatorTags(tasks=frozenset({"binary", "multiclass"}), scaled=True)
    Params = ToyCentroidParams

    @classmethod
    def build(cls, params, task, seed, threads=1):
        return NearestMean(params.sharpness)

    @classmethod
    def space(cls, trial, task):
        return {"sharpness": trial.suggest_float("sharpness", 0.1, 50.0, log=True)}

    @classmethod
    def portfolio(cls, task):
        return [{"sharpness": 4.0}]

    @classmethod
    def dump(cls, model):
        return State(meta={"sharpness": model.sharpness}, tensors={"means": model.means})

    @classmethod
    def load(cls, state):
        return NearestMean(state.meta["sharpness"], state.tensors["means"])


class Deadly:
    """A stream in whose second pass one process, once for a store, is killed; the store then knows its scratch."""

    def __init__(self, stream, folder):
        self.stream, self.labels, self.n_features = stream, stream.labels, stream.n_features
        self.folder, self.passes = folder, 0

    def __iter__(self):
        self.passes += 1
        for batch in self.stream:
            yield batch
            if self.passes == 2 and self.stream._rows.root.create("killed", bytes(self.folder)):
                os.kill(os.getpid(), signal.SIGKILL)


@ESTIMATORS.register("mortal_xgboost")
class MortalXGBoost(XGBoost):
    """XGBoost whose fit on a stream is killed once."""

    @classmethod
    def fit_stream(cls, model, stream, team):
        return super().fit_stream(model, Deadly(stream, team.folder), team)

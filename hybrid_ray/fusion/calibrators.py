"""Maps from class probabilities to calibrated ones, fitted on predictions of rows that were held out."""

from __future__ import annotations

from typing import Literal, Protocol, Self

import numpy as np

from hybrid_ray.errors import ArtifactError
from hybrid_ray.types import AnyArray, State

Method = Literal["none", "temperature", "isotonic"]
FLOOR = 1e-7
"""Probabilities are kept this far from 0 before their logarithm is taken."""
HOTTEST = 20.0
"""Farthest from 1, either way, that a temperature may be."""


class Calibrator(Protocol):
    """A fitted map."""

    def __call__(self, P: AnyArray) -> AnyArray:
        """Calibrated probabilities (n, C) of probabilities (n, C)."""

    def get_state(self) -> State:
        """What ``from_state`` needs."""


class Identity:
    """No calibration."""

    def __call__(self, P: AnyArray) -> AnyArray:
        """The probabilities themselves, float64."""
        return np.array(P, np.float64)

    def get_state(self) -> State:
        """Nothing."""
        return State()


class Temperature:
    """All log probabilities divided by one number, above 1 for predictions that are too sure.

    References
    ----------
    Guo et al., "On calibration of modern neural networks", ICML 2017.
    """

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    @classmethod
    def fit(cls, P: AnyArray, y: AnyArray) -> Self:
        """The temperature of the least log loss, from probabilities (n, C) and class codes (n,)."""
        from scipy.optimize import minimize_scalar
        from scipy.special import log_softmax

        logs = _logs(P)
        rows = np.arange(len(y))

        def loss(log_temperature: float) -> float:
            return -float(log_softmax(logs / np.exp(log_temperature), axis=1)[rows, y].mean())

        far = float(np.log(HOTTEST))
        found = minimize_scalar(loss, bounds=(-far, far), method="bounded", options={"xatol": 1e-4})
        return cls(float(np.exp(found.x)))

    def __call__(self, P: AnyArray) -> AnyArray:
        """Probabilities (n, C) at the temperature."""
        from scipy.special import softmax

        proba: AnyArray = softmax(_logs(P) / self.temperature, axis=1)
        return proba

    def get_state(self) -> State:
        """The temperature."""
        return State({"temperature": self.temperature})

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The map back."""
        value = state.meta.get("temperature")
        if not isinstance(value, int | float) or not value > 0:
            raise ArtifactError(f"calibration: a saved temperature must be a number above 0; got {value!r}")
        return cls(float(value))


class Isotonic:
    """A rising step function for each class, the answers brought to sum 1.

    One row of the class shares is mixed into the ``n`` that were learned from, so that nothing gets probability 0.

    References
    ----------
    Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
    """

    def __init__(self, steps: list[tuple[AnyArray, AnyArray]], shares: AnyArray, mixed: float) -> None:
        self._steps = steps
        self._shares = shares
        self._mixed = mixed

    @classmethod
    def fit(cls, P: AnyArray, y: AnyArray) -> Self:
        """A function for each class, from probabilities (n, C) and class codes (n,)."""
        from sklearn.isotonic import IsotonicRegression

        n, n_classes = P.shape
        steps = []
        for code in range(n_classes):
            map_ = IsotonicRegression(y_min=0.0, y_max=1.0).fit(np.asarray(P[:, code], np.float64), y == code)
            steps.append((map_.X_thresholds_, map_.y_thresholds_))
        shares = (np.bincount(y, minlength=n_classes) + 1.0) / (n + n_classes)
        return cls(steps, shares, 1.0 / (n + 1.0))

    def __call__(self, P: AnyArray) -> AnyArray:
        """Calibrated probabilities (n, C)."""
        mapped = np.column_stack([np.interp(P[:, code], *step) for code, step in enumerate(self._steps)])
        totals = mapped.sum(axis=1, keepdims=True)
        spread = np.where(totals > 0, mapped / np.where(totals > 0, totals, 1.0), self._shares)
        mixture: AnyArray = (1.0 - self._mixed) * spread + self._mixed * self._shares
        return mixture

    def get_state(self) -> State:
        """The steps of each class, and the class shares."""
        tensors = {
            f"{axis}.{code}": part
            for code, step in enumerate(self._steps)
            for axis, part in zip("xy", step, strict=True)
        }
        return State({"classes": len(self._steps), "mixed": self._mixed}, tensors | {"shares": self._shares})

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The map back."""
        try:
            codes = range(int(state.meta["classes"]))
            steps = [(state.tensors[f"x.{code}"], state.tensors[f"y.{code}"]) for code in codes]
            return cls(steps, state.tensors["shares"], float(state.meta["mixed"]))
        except KeyError as error:
            raise ArtifactError(f"calibration: saved steps must be whole; missing {error}") from error


def fit_calibrator(method: Method, P: AnyArray, y: AnyArray) -> Calibrator:
    """A map by name, from probabilities (n, C) and class codes (n,)."""
    if method == "temperature":
        return Temperature.fit(P, y)
    return Isotonic.fit(P, y) if method == "isotonic" else Identity()


def load_calibrator(method: Method, state: State) -> Calibrator:
    """The map that ``get_state`` wrote."""
    if method == "temperature":
        return Temperature.from_state(state)
    return Isotonic.from_state(state) if method == "isotonic" else Identity()


def _logs(P: AnyArray) -> AnyArray:
    logs: AnyArray = np.log(np.maximum(np.asarray(P, np.float64), FLOOR))
    return logs

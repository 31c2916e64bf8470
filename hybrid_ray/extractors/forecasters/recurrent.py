"""A recurrent network over histories, one for all series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import NotFittedError
from hybrid_ray.extractors.base import ExtractorTags, FitContext
from hybrid_ray.extractors.forecasters.base import CovariateParams, Forecaster, ForecasterParams
from hybrid_ray.extractors.networks.base import UnsupervisedParams
from hybrid_ray.extractors.trained import Training, teach
from hybrid_ray.forecasts import UNTESTED, scale_of
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.training.settings import Settings
from hybrid_ray.types import HISTORY, AnyArray, FloatArray, Kind, Prepared, State

if TYPE_CHECKING:
    from torch import nn

    from hybrid_ray.training.loop import Learner

_MOST_WEIGHT = 20.0
"""Weight of a window whose seasons differ little beside its own spread: more would let a few rule the loss."""
_STILL = 1e-9
"""Spread of a window that does not vary, as a share of its level: a counter that has come far varies by little more."""
_FURTHEST = 30.0
"""Spreads from its level beyond which what follows a window is no lesson."""


class ForecastRnnParams(ForecasterParams, CovariateParams, UnsupervisedParams):
    """Parameters of ``forecast_rnn``."""

    window: int | None = Field(None, ge=4, le=65536)
    """Last steps that the network reads; left out: the horizon and two seasons, a season at least of whole ones."""
    cell: Literal["lstm", "gru"] = "lstm"
    """What is recurrent."""
    hidden: int = Field(64, ge=1, le=2048)
    """Length of its state."""
    windows: int = Field(32, ge=1, le=10_000)
    """Windows of each history that are learned from, at even places."""
    logs: bool = True
    """True: logarithms of positive windows are read and forecast, so that seasons multiply."""
    batch_size: int = Field(256, ge=1, le=4096)
    """Windows of a step, over all workers; fewer where there are few."""
    patience: int = Field(5, ge=1)
    """Passes without a better hold-out loss after which training stops."""


class Windows(NamedTuple):
    """Windows in their own units, for a network.

    Attributes
    ----------
    inputs : ndarray float32 (n, window)
        Less their level, over their spread.
    level, spread : ndarray float64 (n, 1)
    logs : ndarray of bool (n, 1)
        Whether those are of logarithms.
    """

    inputs: FloatArray
    level: AnyArray
    spread: AnyArray
    logs: AnyArray

    @classmethod
    def of(cls, values: AnyArray, season: int, logs: bool) -> Windows:
        """Of windows float64 (n, window) without gaps."""
        positive = np.asarray((values > 0).all(axis=1, keepdims=True) & logs)
        seen = np.where(positive, np.log(np.where(positive, values, 1.0)), values)
        level = seen[:, -season:].mean(axis=1, keepdims=True)
        spread = np.abs(seen - level).mean(axis=1, keepdims=True) + _STILL * np.maximum(np.abs(level), 1.0)
        return cls(((seen - level) / spread).astype(np.float32), level, spread, positive)

    def within(self, values: AnyArray) -> AnyArray:
        """Numbers (n, h) that follow, in units of the windows."""
        seen = np.where(self.logs, np.log(np.maximum(np.where(self.logs, values, 1.0), 1e-300)), values)
        return (seen - self.level) / self.spread

    def back(self, steps: AnyArray) -> AnyArray:
        """Steps (n, h) in units of the windows as numbers."""
        seen = np.clip(steps, -_FURTHEST, _FURTHEST) * self.spread + self.level
        return np.where(self.logs, np.exp(np.where(self.logs, seen, 0.0)), seen)


@EXTRACTORS.register("forecast_rnn")
class ForecastRnn(Forecaster):
    """One LSTM or GRU for all series, which reads the last steps season by season and forecasts all steps at once.

    It learns from windows of the training rows' histories, each in its own units, under the absolute error in units of
    MASE; beside the recurrent network stands a linear one that begins as the seasonal naive forecast. Nothing after a
    row's origin is looked at: labels are not needed. The windows of a tenth of the rows say when to stop.

    Covariates are read season by season beside the history, in units of their own; of those that are known ahead each
    step forecast is told its own, and what that differs by from the last season's.

    References
    ----------
    Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 1997; Smyl, "A hybrid method of exponential
    smoothing and recurrent neural networks for time series forecasting", International Journal of Forecasting 2020, for
    one network of all series in units of each; Lai et al., "Modeling long- and short-term temporal patterns with deep
    neural networks", SIGIR 2018, for the linear part beside it.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="series",
        kinds=frozenset({"series"}),
        trained=True,
        gpu=True,
        spreads=True,
        forecasts=True,
        covariates=True,
        version=3,
    )
    Params: ClassVar[type[PluginParams]] = ForecastRnnParams

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._net: nn.Module | None = None
        self._device = "cpu"

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A tiny LSTM and a tiny GRU."""
        few = {"horizon": 4, "season": 3, "hidden": 4, "epochs": 2, "windows": 6}
        yield ForecastRnnParams(**few), {"history": "series"}
        yield ForecastRnnParams(**few, cell="gru", window=8, logs=False), {"history": "series"}

    @property
    def season(self) -> int:
        """Steps of a season; 1 as long as nobody has said."""
        return int(self.params.season or 1)

    @property
    def takes_logs(self) -> bool:
        """Whether positive windows are read as logarithms."""
        return bool(self.params.logs)

    @property
    def window(self) -> int:
        """Steps that the network reads: whole seasons."""
        steps = self.params.window or self.horizon + 2 * self.season
        return -(-steps // self.season) * self.season

    @property
    def most_features(self) -> int:
        """As the parameters say."""
        return self.n_features

    @property
    def settings(self) -> Settings:
        """How it is trained."""
        own: UnsupervisedParams = self.params
        return own.settings

    def setup(self, device: str = "cpu") -> None:
        """Move to the device; ``fit`` trains there."""
        self._device = device
        if self._net is not None:
            self._net.to(device)

    # ------------------------------------------------------------------ fit

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Train on the histories of the present rows; ``y`` is not looked at.

        Raises
        ------
        BadInputError
            Fewer than two rows have a history.
        """
        self._know(teach(self, prepared, None, context, self._device))
        return self

    def learner(self, training: Training) -> Learner:
        """A fresh network, and the windows of a training."""
        from hybrid_ray.extractors.forecasters.recurrent_net import WindowLearner

        return WindowLearner(self.net().to(self._device), *self.lessons(training.arrays))

    def lessons(self, arrays: Mapping[str, AnyArray]) -> tuple[AnyArray, ...]:
        """Histories (n,) by their numbers, windows (n, window) of them, what followed (n, h), and weights (n,).

        All but the numbers are float32; there is one at least of any history. With covariates these of each window and
        what followed, (n, window + h, k), as the network reads them.
        """
        values, followed, scales, told, of = [], [], [], [], []
        for at, history in enumerate(arrays[HISTORY]):
            whole = _padded(self.parts(np.asarray(history, np.float64))[0], self.window + self.horizon)
            beside = self._told(arrays, at, len(history), len(whole))
            stops = np.unique(np.linspace(self.window, len(whole) - self.horizon, self.params.windows).astype(np.int64))
            scale = scale_of(whole, self.season)
            of += [at] * len(stops)
            for stop in stops:
                values.append(whole[stop - self.window : stop])
                followed.append(whole[stop : stop + self.horizon])
                scales.append(scale)
                if beside is not None:
                    told.append(self._seen(beside[stop - self.window : stop + self.horizon]))
        windows = Windows.of(np.array(values), self.season, self.takes_logs)
        after = windows.within(np.array(followed))
        unit = windows.spread * np.where(windows.logs, np.exp(np.where(windows.logs, windows.level, 0.0)), 1.0)
        weights = np.minimum(unit[:, 0] / np.array(scales), _MOST_WEIGHT)
        after = np.clip(after, -_FURTHEST, _FURTHEST)
        lessons = (np.array(of), windows.inputs, after.astype(np.float32), weights.astype(np.float32))
        return (*lessons, np.array(told, np.float32)) if told else lessons

    def _told(self, arrays: Mapping[str, AnyArray], row: int, n: int, steps: int) -> AnyArray | None:
        """Covariates (steps + h, k) of the last steps of a history of n, in their units; None where there are none."""
        beside = self.beside(arrays, row)
        if beside is None:
            return None
        return _padded(in_own_units(beside.values, n), steps + self.horizon)[-(steps + self.horizon) :]

    def _seen(self, beside: AnyArray) -> AnyArray:
        """Covariates (window + h, k) without what is not known ahead."""
        seen = beside.copy()
        seen[self.window :, len(self.known) :] = 0.0
        return seen

    def parts(self, history: AnyArray) -> tuple[AnyArray, AnyArray]:
        """What the network reads of a history (t,), and what is added to its forecast (h,): itself, and nothing."""
        return history, np.zeros(self.horizon)

    def net(self) -> nn.Module:
        """A fresh network."""
        from hybrid_ray.extractors.forecasters.recurrent_net import RecurrentForecast

        p = self.params
        beside = (len(self.known), len(self.covariates))
        return RecurrentForecast(self.window, self.horizon, self.season, p.hidden, p.cell, *beside)

    def blank(self) -> Self:
        """The same without a network."""
        return type(self)(self.params, self.columns)

    def _know(self, learned: Mapping[str, AnyArray]) -> None:
        """Become the fitted forecaster."""
        import torch

        net = self.net()
        net.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in learned.items()})
        self._net = net.eval().requires_grad_(False).to(self._device)

    # ------------------------------------------------------------------ rows

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """Features of the present rows."""
        import torch

        if self._net is None:
            raise NotFittedError(f"{self.name}: must be fitted before it is used; got an unfitted one. Call fit")
        histories = [np.asarray(history, np.float64) for history in arrays[HISTORY]]
        features = np.zeros((len(histories), self.n_features), np.float32)
        if not histories:
            return features
        parts = [self.parts(history) for history in histories]
        last = np.array([_padded(read, self.window)[-self.window :] for read, _ in parts])
        windows = Windows.of(last, self.season, self.takes_logs)
        inputs = [windows.inputs]
        if self.covariates:
            beside = [self._told(arrays, at, len(history), self.window) for at, history in enumerate(histories)]
            inputs.append(np.array([self._seen(each) for each in beside if each is not None], np.float32))
        with torch.inference_mode():
            told = self._net(*(torch.from_numpy(each).to(self._device) for each in inputs)).cpu().numpy()
        steps = windows.back(told.astype(np.float64))
        for row, history, own, (_, linear) in zip(features, histories, steps, parts, strict=True):
            row[:] = self.in_units(history, own + linear, UNTESTED)
        return features

    def get_state(self) -> State:
        """The network's tensors."""
        if self._net is None:
            raise NotFittedError(f"{self.name}: must be fitted before it is saved; got an unfitted one. Call fit")
        return State(tensors={name: tensor.detach().cpu().numpy() for name, tensor in self._net.state_dict().items()})

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The trained forecaster."""
        extractor = cls(params, columns)
        extractor._know(state.tensors)
        return extractor


def in_own_units(beside: AnyArray, n: int) -> AnyArray:
    """Covariates (t, k) less their mean in the first n steps, over their spread there, within 10; 0 and 1 as they are.

    The spread of one that does not vary there is its size.
    """
    flags = np.isin(beside, (0.0, 1.0)).all(axis=0)
    level, spread = beside[:n].mean(axis=0), beside[:n].std(axis=0)
    still = spread <= 1e-9 * np.abs(level)
    spread = np.where(still, np.where(level == 0, 1.0, np.abs(level)), spread)
    return np.where(flags, beside, np.clip((beside - level) / spread, -10.0, 10.0))


def _padded(history: AnyArray, steps: int) -> AnyArray:
    """A history of at least so many steps: of a shorter one the first step is repeated before it."""
    short = steps - len(history)
    return np.concatenate([np.repeat(history[:1], short, axis=0), history]) if short > 0 else history

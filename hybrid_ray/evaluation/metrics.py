"""Metrics, under scikit-learn's names and with its values where it has them.

References
----------
Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015: expected
calibration error, in ten bins.
Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017: the same of the predicted class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from hybrid_ray.evaluation import blocks, cluster_metrics
from hybrid_ray.evaluation.statistics import (
    Ranking,
    Scorer,
    Statistic,
    Tally,
    calibration_scorer,
    divide,
    mean_scorer,
    median_scorer,
    rank_scorer,
    tally_scorer,
)
from hybrid_ray.forecasts import Came
from hybrid_ray.metric_names import METRIC_NAMES, metric_name
from hybrid_ray.types import FORECASTING, AnyArray, Direction, Task

Needs = Literal["labels", "probabilities", "values", "clusters"]


@dataclass(frozen=True)
class Metric:
    """One way to score outputs against labels.

    Attributes
    ----------
    name : str
        scikit-learn's name of the function.
    direction : {"maximize", "minimize"}
    tasks : frozenset of Task
    needs : {"labels", "probabilities", "values", "clusters"}
        What of the outputs it looks at: the most probable class, the probabilities, predicted numbers, or the columns
        of :class:`~hybrid_ray.evaluation.clusters.Evidence`.
    fn : callable
        Labels (n,) and outputs (n, n_outputs) to a scorer of row weights.
    per_class : bool
        True when a score costs a pass over the rows for each class.
    biased : bool
        True when a resample scores worse than all rows on average, so that the interval must be turned round.
    block : callable or None
        Labels (n,) and several outputs (b, n, n_outputs) to scores (b,), where that is quicker than one by one.
    """

    name: str
    direction: Direction
    tasks: frozenset[Task]
    needs: Needs
    fn: Statistic
    per_class: bool = False
    biased: bool = False
    block: blocks.Block | None = None

    def scorer(self, y: AnyArray, outputs: AnyArray) -> Scorer:
        """A function from row weights (b, n) to scores (b,).

        Raises
        ------
        ValueError
            Labels and outputs do not belong together, there are no rows, or an output is not finite.
        """
        y, outputs = np.asarray(y), np.asarray(outputs, np.float64)
        dims = (1, 2) if self.tasks & FORECASTING else (1,)
        if outputs.ndim != 2 or y.ndim not in dims or len(y) != len(outputs) or len(y) == 0:
            raise ValueError(
                f"{self.name}: y must be (n,), of forecasts (n, 3 h + 2), and outputs (n, n_outputs) with n > 0; got "
                f"{y.shape} and {outputs.shape}"
            )
        if not np.isfinite(outputs).all():
            raise ValueError(
                f"{self.name}: outputs must be finite; got {int((~np.isfinite(outputs)).sum())} that are not"
            )
        return self.fn(y.astype(np.float64 if self.needs == "values" else np.int64), outputs)

    def score(self, y: AnyArray, outputs: AnyArray) -> float:
        """The score of outputs.

        Parameters
        ----------
        y : ndarray (n,)
            Class codes, or floats; of forecasts (n, 3 h + 2), see ``hybrid_ray.forecasts.Came``.
        outputs : ndarray (n, n_outputs)
            Class probabilities in code order, values (n, 1), or forecasts (n, h) and more.

        Returns
        -------
        float
            NaN where the metric is not defined (a ROC area of one class only).
        """
        return float(self.scorer(y, outputs)(np.ones((1, len(y))))[0])

    def scores(self, y: AnyArray, outputs: AnyArray) -> AnyArray:
        """The scores of several sets of outputs for the same rows.

        Parameters
        ----------
        y : ndarray (n,)
            Class codes, or floats.
        outputs : ndarray float64 (b, n, n_outputs)
            Finite.

        Returns
        -------
        ndarray float64 (b,)
            NaN where the metric is not defined.
        """
        if self.block is None or y.ndim == 2:
            return np.array([self.score(y, one) for one in outputs], np.float64)
        return self.block(y, outputs)

    def gain(self, score: float, reference: float) -> float:
        """How much better ``score`` is than ``reference``: positive is better, whatever the direction."""
        return score - reference if self.direction == "maximize" else reference - score


def _mean_over(values: AnyArray, classes: AnyArray) -> AnyArray:
    return divide((values * classes).sum(axis=1), classes.sum(axis=1))


def _weighted(values: AnyArray, tally: Tally) -> AnyArray:
    return divide((values * tally.true).sum(axis=1), tally.true.sum(axis=1))


def _matthews_corrcoef(tally: Tally) -> AnyArray:
    total, hits = tally.true.sum(axis=1), tally.hits.sum(axis=1)
    together = hits * total - (tally.predicted * tally.true).sum(axis=1)
    spread = (total**2 - (tally.predicted**2).sum(axis=1)) * (total**2 - (tally.true**2).sum(axis=1))
    return divide(together, np.sqrt(spread))


def _accuracy(y: AnyArray, outputs: AnyArray) -> Scorer:
    return mean_scorer((outputs.argmax(axis=1) == y)[:, None].astype(np.float64), lambda means: means[:, 0])


def _balanced_accuracy(tally: Tally) -> AnyArray:
    return _mean_over(tally.recall, tally.true > 0)


def _precision(tally: Tally) -> AnyArray:
    return tally.precision[:, 1]


def _precision_macro(tally: Tally) -> AnyArray:
    return _mean_over(tally.precision, tally.seen)


def _precision_weighted(tally: Tally) -> AnyArray:
    return _weighted(tally.precision, tally)


def _recall(tally: Tally) -> AnyArray:
    return tally.recall[:, 1]


def _recall_macro(tally: Tally) -> AnyArray:
    return _mean_over(tally.recall, tally.seen)


def _recall_weighted(tally: Tally) -> AnyArray:
    return _weighted(tally.recall, tally)


def _f1(tally: Tally) -> AnyArray:
    return tally.f1[:, 1]


def _false_alarm_rate(tally: Tally) -> AnyArray:
    return divide(tally.true[:, 0] - tally.hits[:, 0], tally.true[:, 0])


def _missed_alarm_rate(tally: Tally) -> AnyArray:
    return divide(tally.true[:, 1] - tally.hits[:, 1], tally.true[:, 1])


def _f1_macro(tally: Tally) -> AnyArray:
    return _mean_over(tally.f1, tally.seen)


def _f1_weighted(tally: Tally) -> AnyArray:
    return _weighted(tally.f1, tally)


def _log_loss(y: AnyArray, outputs: AnyArray) -> Scorer:
    eps = np.finfo(np.float64).eps
    chosen = np.clip(outputs[np.arange(len(y)), y], eps, 1 - eps)
    return mean_scorer(-np.log(chosen)[:, None], lambda means: means[:, 0])


def _brier(y: AnyArray, outputs: AnyArray) -> Scorer:
    chosen = outputs[np.arange(len(y)), y]
    loss = (outputs**2).sum(axis=1) - chosen**2 + (1 - chosen) ** 2
    halved = 0.5 if outputs.shape[1] == 2 else 1.0
    return mean_scorer(halved * loss[:, None], lambda means: means[:, 0])


def _roc_auc(y: AnyArray, outputs: AnyArray) -> Scorer:
    return rank_scorer(y, outputs, Ranking.area)


def _average_precision(y: AnyArray, outputs: AnyArray) -> Scorer:
    return rank_scorer(y, outputs, Ranking.precision)


def _r2(y: AnyArray, outputs: AnyArray) -> Scorer:
    centred = y - y.mean()
    terms = np.stack([(y - outputs[:, 0]) ** 2, centred, centred**2], axis=1)

    def finish(means: AnyArray) -> AnyArray:
        error, spread = means[:, 0], means[:, 2] - means[:, 1] ** 2
        constant = spread <= 4 * np.finfo(np.float64).eps * means[:, 2]
        return np.where(constant, error == 0, 1 - divide(error, spread))

    return mean_scorer(terms, finish)


def _missed(y: AnyArray, outputs: AnyArray) -> AnyArray:
    """Errors (n, h) of forecasts, or (n, 1) of numbers."""
    came = Came.of(y).values if y.ndim == 2 else y[:, None]
    errors: AnyArray = outputs[:, : came.shape[1]] - came
    return errors


def _root_mean_squared_error(y: AnyArray, outputs: AnyArray) -> Scorer:
    squared = (_missed(y, outputs) ** 2).mean(axis=1, keepdims=True)
    return mean_scorer(squared, lambda means: np.sqrt(means[:, 0]))


def _mean_absolute_error(y: AnyArray, outputs: AnyArray) -> Scorer:
    absolute = np.abs(_missed(y, outputs)).mean(axis=1, keepdims=True)
    return mean_scorer(absolute, lambda means: means[:, 0])


def _percentage(came: AnyArray, outputs: AnyArray) -> AnyArray:
    """Symmetric percentage error of each row (n,), 0 to 200, as M4 has it; 0 where both numbers are 0."""
    size = np.abs(came) + np.abs(outputs)
    return np.asarray(divide(200 * np.abs(outputs - came), size).mean(axis=1))


def _mase(y: AnyArray, outputs: AnyArray) -> Scorer:
    scaled = np.abs(_missed(y, outputs)) / Came.of(y).scale
    return mean_scorer(scaled.mean(axis=1, keepdims=True), lambda means: means[:, 0])


def _smape(y: AnyArray, outputs: AnyArray) -> Scorer:
    came = Came.of(y).values
    return mean_scorer(_percentage(came, outputs[:, : came.shape[1]])[:, None], lambda means: means[:, 0])


def _owa(y: AnyArray, outputs: AnyArray) -> Scorer:
    came = Came.of(y)
    own = outputs[:, : came.values.shape[1]]
    terms = [_percentage(came.values, own), _percentage(came.values, came.naive2)]
    terms += [(np.abs(each - came.values) / came.scale).mean(axis=1) for each in (own, came.naive2)]

    def finish(means: AnyArray) -> AnyArray:
        percentage = divide(means[:, 0], means[:, 1], np.nan)
        return 0.5 * (percentage + divide(means[:, 2], means[:, 3], np.nan))

    return mean_scorer(np.stack(terms, axis=1), finish)


def _mean_absolute_percentage_error(y: AnyArray, outputs: AnyArray) -> Scorer:
    share = np.abs(y - outputs[:, 0]) / np.maximum(np.abs(y), np.finfo(np.float64).eps)
    return mean_scorer(share[:, None], lambda means: means[:, 0])


def _median_absolute_error(y: AnyArray, outputs: AnyArray) -> Scorer:
    return median_scorer(np.abs(y - outputs[:, 0]))


def _metric(
    name: str,
    needs: Needs,
    fn: Statistic,
    *,
    per_class: bool = False,
    biased: bool = False,
    block: blocks.Block | None = None,
) -> Metric:
    return Metric(name, METRIC_NAMES[name].direction, METRIC_NAMES[name].tasks, needs, fn, per_class, biased, block)


def _tallied(name: str, finish: Callable[[Tally], AnyArray]) -> Metric:
    return _metric(
        name, "labels", partial(tally_scorer, finish=finish), block=partial(blocks.tally_block, finish=finish)
    )


_ALL = (
    _metric("accuracy", "labels", _accuracy, block=blocks.accuracy_block),
    _tallied("balanced_accuracy", _balanced_accuracy),
    _tallied("precision", _precision),
    _tallied("precision_macro", _precision_macro),
    _tallied("precision_weighted", _precision_weighted),
    _tallied("recall", _recall),
    _tallied("recall_macro", _recall_macro),
    _tallied("recall_weighted", _recall_weighted),
    _tallied("f1", _f1),
    _tallied("f1_macro", _f1_macro),
    _tallied("f1_weighted", _f1_weighted),
    _tallied("matthews_corrcoef", _matthews_corrcoef),
    _tallied("false_alarm_rate", _false_alarm_rate),
    _tallied("missed_alarm_rate", _missed_alarm_rate),
    _metric("roc_auc", "probabilities", _roc_auc, per_class=True, block=blocks.area_block),
    _metric("roc_auc_ovr", "probabilities", _roc_auc, per_class=True, block=blocks.area_block),
    _metric("average_precision", "probabilities", _average_precision, per_class=True, block=blocks.precision_block),
    _metric("log_loss", "probabilities", _log_loss, block=blocks.log_loss_block),
    _metric("brier_score_loss", "probabilities", _brier),
    _metric("expected_calibration_error", "probabilities", calibration_scorer, biased=True),
    _metric("r2", "values", _r2),
    _metric("root_mean_squared_error", "values", _root_mean_squared_error, block=blocks.squared_block),
    _metric("mean_absolute_error", "values", _mean_absolute_error, block=blocks.absolute_block),
    _metric("mean_absolute_percentage_error", "values", _mean_absolute_percentage_error, block=blocks.percentage_block),
    _metric("median_absolute_error", "values", _median_absolute_error, block=blocks.median_block),
    _metric("stable_silhouette", "clusters", cluster_metrics.stable_silhouette),
    _metric("stability", "clusters", cluster_metrics.stability),
    _metric("silhouette", "clusters", cluster_metrics.silhouette),
    _metric("calinski_harabasz", "clusters", cluster_metrics.calinski_harabasz),
    _metric("davies_bouldin", "clusters", cluster_metrics.davies_bouldin),
    _metric("aic", "clusters", cluster_metrics.information_criterion(lambda n: 2.0 + 0.0 * n)),
    _metric("bic", "clusters", cluster_metrics.information_criterion(np.log)),
    _metric("nmi", "clusters", cluster_metrics.compared(cluster_metrics.normalised_information)),
    _metric("ari", "clusters", cluster_metrics.compared(cluster_metrics.adjusted_rand)),
    _metric("purity", "clusters", cluster_metrics.compared(cluster_metrics.purity)),
    _metric("mase", "values", _mase),
    _metric("smape", "values", _smape),
    _metric("owa", "values", _owa),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric, by name."""


def metrics_of(task: Task) -> dict[str, Metric]:
    """The metrics that serve a task, by name."""
    return {name: metric for name, metric in METRICS.items() if task in metric.tasks}


def get_metric(name: str, task: Task) -> Metric:
    """The metric of a name, see ``metric_name``.

    Raises
    ------
    BadInputError
        No such metric, it does not serve the task, or no search may go by it.
    """
    return METRICS[metric_name(name, task)]


def score_all(y: AnyArray, outputs: AnyArray, task: Task) -> dict[str, float]:
    """The score of outputs by every metric of a task, by name."""
    return {name: metric.score(y, outputs) for name, metric in metrics_of(task).items()}

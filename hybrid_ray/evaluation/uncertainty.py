"""How sure an ensemble is of each row, and whether it is right to be.

Members that disagree are a sign that the data did not decide between them; a member that is itself unsure is a sign
that the row does not. For classes the two are told apart by entropy, for numbers by the spread of the members and by
the predictive distribution of combiners that have one.

References
----------
Houlsby et al., "Bayesian active learning for classification and preference learning", 2011 (mutual information);
Depeweg et al., "Decomposition of uncertainty in Bayesian deep learning", ICML 2018; Vovk, "Cross-conformal
predictors", Annals of Mathematics and Artificial Intelligence 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hybrid_ray.evaluation.intervals import bootstrap, wilson
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.evaluation.schema import CoverageRow, Estimate, UncertaintyCard, UncertaintyRow
from hybrid_ray.evaluation.ties import Ties, rows_for_share
from hybrid_ray.fusion.predictive import NormalMixture
from hybrid_ray.types import AnyArray

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Probabilities of the intervals whose coverage is counted."""
TOTAL, ALEATORIC, EPISTEMIC = "total", "aleatoric", "epistemic"
SPREAD, DEVIATION = "spread", "deviation"


class EntropyParts(NamedTuple):
    """Entropy of each row in nats, float64 (n,): ``total`` is ``aleatoric`` plus ``epistemic``.

    ``total`` is that of the members' mean, ``aleatoric`` the mean of the members' own, and ``epistemic`` what is
    between them: the mutual information of the class and the member that is asked.
    """

    total: AnyArray
    aleatoric: AnyArray
    epistemic: AnyArray


def entropy_parts(outputs: AnyArray, weights: AnyArray) -> EntropyParts:
    """What the members leave open, and what is open between them.

    Parameters
    ----------
    outputs : ndarray (m, n, n_classes)
        Class probabilities of each member.
    weights : ndarray (m,)
        None negative, summing to 1.
    """
    total = _entropy(np.tensordot(weights, outputs, 1))
    aleatoric: AnyArray = weights @ _entropy(outputs)
    return EntropyParts(total, aleatoric, np.maximum(total - aleatoric, 0.0))


def _entropy(outputs: AnyArray) -> AnyArray:
    from scipy.special import entr

    entropy: AnyArray = entr(np.maximum(outputs, 0.0)).sum(axis=-1)
    return entropy


def spread(outputs: AnyArray, weights: AnyArray) -> AnyArray:
    """Weighted standard deviation (n,) of the members' values (m, n)."""
    mean = weights @ outputs
    deviation: AnyArray = np.sqrt(weights @ np.square(outputs - mean))
    return deviation


def row_uncertainty(
    members: Mapping[str, AnyArray], weights: Mapping[str, float], predictive: NormalMixture | None = None
) -> dict[str, AnyArray]:
    """How unsure the ensemble is of each row, by every measure that there is.

    Parameters
    ----------
    members : mapping of str to ndarray (n, n_outputs)
        Outputs of each member.
    weights : mapping of str to float
        Of either sign; members without one are left aside.
    predictive : NormalMixture, optional
        Of the combiner, for numbers.

    Returns
    -------
    dict of str to ndarray (n,)
        ``total``, ``aleatoric`` and ``epistemic`` entropy in nats for classes; for numbers the ``spread`` of the
        members and, where the combiner has a distribution, its ``deviation``, in the number's unit.
    """
    used = [name for name in sorted(members) if weights.get(name, 0.0) != 0]
    if not used:
        return {}
    outputs = np.stack([np.asarray(members[name], np.float64) for name in used])
    shares = np.abs(np.array([weights[name] for name in used]))
    shares /= shares.sum()
    if outputs.shape[2] > 1:
        return entropy_parts(outputs, shares)._asdict()
    found = {SPREAD: spread(outputs[:, :, 0], shares)}
    return found if predictive is None else found | {DEVIATION: predictive.deviation()}


def measure_uncertainty(
    y: AnyArray,
    answer: AnyArray,
    members: Mapping[str, AnyArray],
    weights: Mapping[str, float],
    *,
    predictive: NormalMixture | None = None,
    margins: Mapping[float, float] | None = None,
    seed: int = 0,
    ties: Ties | None = None,
) -> UncertaintyCard | None:
    """Whether the ensemble knows where it is wrong, and whether its intervals hold what they promise.

    Parameters
    ----------
    y : ndarray (n,)
        Class codes, or floats.
    answer : ndarray (n, n_outputs)
        Of the ensemble.
    members, weights, predictive
        See :func:`row_uncertainty`.
    margins : mapping of float to float, optional
        Half the width of the interval of each level around the answer, from errors on rows held out in training.
    seed : int, default 0
        Of the bootstrap.
    ties : Ties, optional
        Which rows go together; default: row by row.

    Returns
    -------
    UncertaintyCard or None
        None where no member has weight.
    """
    found = row_uncertainty(members, weights, predictive)
    if not found:
        return None
    classes = answer.shape[1] > 1
    if classes:
        wrong = answer.argmax(axis=1) != y
    else:
        error = np.abs(answer[:, 0] - y)
        wrong = error > np.median(error)
    rows = [_uncertainty_row(name, values, wrong, seed, ties) for name, values in found.items()]
    coverage: list[CoverageRow] = []
    if not classes:
        for level in LEVELS if predictive is not None else ():
            assert predictive is not None, "looked for above"
            ends = predictive.interval(level)
            coverage.append(_coverage("predictive distribution", level, y, *ends, ties))
        for level, margin in (margins or {}).items():
            ends = answer[:, 0] - margin, answer[:, 0] + margin
            coverage.append(_coverage("held-out errors", level, y, *ends, ties))
    return UncertaintyCard(
        unit="nats" if classes else "unit of the label",
        split=("right", "wrong") if classes else ("smaller half of the errors", "larger half"),
        members=sum(weights.get(name, 0.0) != 0 for name in members),
        measures=rows,
        coverage=coverage,
    )


def _uncertainty_row(name: str, values: AnyArray, wrong: AnyArray, seed: int, ties: Ties | None) -> UncertaintyRow:
    area = get_metric("roc_auc", "binary")
    scores = np.column_stack([-values, values])
    codes = wrong.astype(np.int64)
    low, high = bootstrap(codes, scores, area, seed=seed, ties=ties)
    return UncertaintyRow(
        name=name,
        mean=float(values.mean()),
        right=float(values[~wrong].mean()) if not wrong.all() else None,
        wrong=float(values[wrong].mean()) if wrong.any() else None,
        finds=Estimate(value=area.score(codes, scores), low=low, high=high),
    )


def _coverage(of: str, level: float, y: AnyArray, low: AnyArray, high: AnyArray, ties: Ties | None) -> CoverageRow:
    held = (low <= y) & (y <= high)
    share, counted = int(held.sum()) / len(y), rows_for_share(held, ties)
    ends = wilson(int(held.sum()) if ties is None else share * counted, counted)
    return CoverageRow(
        of=of,
        level=level,
        covered=Estimate(value=share, low=float(ends[0]), high=float(ends[1])),
        width=float((high - low).mean()),
    )

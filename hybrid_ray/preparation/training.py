"""The steps of a candidate on the training rows of a fold, and what they mean for its predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybrid_ray.dealing import groups_for
from hybrid_ray.preparation.balance import COPIES, repeated
from hybrid_ray.preparation.base import Blocks, Preparation, Rows
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import CLASSIFICATION, AnyArray, FloatArray, Task

Step = Mapping[str, Any]
"""``{"name": registered name, "params": fields of its Params}``."""


@dataclass(frozen=True)
class TrainingRows:
    """Training rows after every step.

    Attributes
    ----------
    steps : tuple of Preparation
        Fitted, in order.
    blocks : mapping of str to Block
    y : ndarray (m,)
    weights : dict of int to float
        Weight of the rows of each class code; empty: all rows count the same.
    prior : tuple of float
        By class code that ``y`` holds, sorted: what its predicted probability is multiplied with; empty: nothing is.
    groups : ndarray of int (m,) or None
        Rows of one group go together, or are copies of one row; None: every row is its own.
    """

    steps: tuple[Preparation, ...]
    blocks: Blocks
    y: AnyArray
    weights: dict[int, float]
    prior: tuple[float, ...]
    groups: AnyArray | None = None


def build_step(step: Step) -> Preparation:
    """A step by its registered name, not yet fitted.

    Raises
    ------
    BadInputError
        No such preparation.
    """
    plugin: type[Preparation] = PREPARATIONS.get(step["name"])
    return plugin(plugin.Params.model_validate(dict(step["params"])))


def prepare_training(
    steps: Sequence[Step], blocks: Blocks, y: AnyArray, task: Task, seed: int, together: AnyArray | None = None
) -> TrainingRows:
    """Fit each step on what the steps before it made of the training rows, and apply it to them.

    Parameters
    ----------
    steps : sequence of mapping
        In order.
    blocks : mapping of str to Block
        Features of the training rows.
    y : ndarray (n,)
        Class codes, or floats.
    task : Task
    seed : int
    together : ndarray of int (n,), optional
        Rows of one number go together, and so do their copies; default: every row is its own.

    Raises
    ------
    ValueError
        A step left a class without rows, or gave other rows than it got and not where they are from.

    Notes
    -----
    A step that changes the shares of classes and ``corrects`` adds a factor for each class: its share before the step
    over its share after it, weights included. Where the rows of a class are a random draw of the class before and
    after, the corrected probabilities are those that the unchanged shares would have given.

    References
    ----------
    Elkan, "The foundations of cost-sensitive learning", IJCAI 2001, theorem 2.
    Saerens, Latinne, Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural
    Computation 2002, equation 2.4.
    """
    fitted: list[Preparation] = []
    weights: dict[int, float] = {}
    codes = np.unique(y) if task in CLASSIFICATION else np.zeros(0, np.int64)
    factors = np.ones(len(codes))
    corrected = False
    groups = np.arange(len(y)) if together is None else np.unique(together, return_inverse=True)[1]
    n_groups = len(y)
    for position, step in enumerate(steps):
        built = build_step(step)
        own = seed + position
        built.fit(blocks, y, task, seed=own)
        told = groups_for(built.resample, _several(groups))
        changed = built.resample(built.transform(blocks), y, task, seed=own, **told)
        added = built.class_weights(changed.y, task)
        weights = {code: weights.get(code, 1.0) * weight for code, weight in added.items()} or weights
        if len(codes):
            before, after = _counts(y, codes), _counts(changed.y, codes)
            if not after.all():
                raise ValueError(f"{built.name}: every class must keep a row; got none of {codes[after == 0].tolist()}")
            after *= np.array([added.get(int(code), 1.0) for code in codes])
            if built.corrects:
                factors *= (before / before.sum()) / (after / after.sum())
                corrected = True
        fitted.append(built)
        groups, n_groups = _regrouped(built.name, groups, n_groups, changed)
        blocks, y = changed.blocks, changed.y
    prior = tuple(float(f) for f in factors) if corrected else ()
    return TrainingRows(tuple(fitted), blocks, y, weights, prior, _several(groups))


def _several(groups: AnyArray) -> AnyArray | None:
    """Groups of rows, where one has several; None: every row is its own."""
    return groups if len(np.unique(groups)) < len(groups) else None


def _regrouped(name: str, groups: AnyArray, n_groups: int, rows: Rows) -> tuple[AnyArray, int]:
    """Group of each row after a step, a new one for each row that was made; and how many groups there were so far."""
    if rows.origin is None:
        if len(rows.y) != len(groups):
            raise ValueError(
                f"{name}: resample must give the origin of each row when it gives other rows than it got; "
                f"got {len(rows.y)} of {len(groups)} rows and no origin"
            )
        return groups, n_groups
    found = groups[rows.origin]
    made = np.flatnonzero(rows.origin < 0)
    found[made] = n_groups + np.arange(len(made))
    return found, n_groups + len(made)


def transformed(steps: Sequence[Preparation], blocks: Blocks) -> Blocks:
    """Blocks as the fitted steps change them, for rows that are predicted."""
    for step in steps:
        blocks = step.transform(blocks)
    return blocks


def with_prior(proba: AnyArray, prior: Sequence[float]) -> AnyArray:
    """Probabilities (n, C) under other shares of the classes; rows sum to 1 again.

    Parameters
    ----------
    proba : ndarray (n, C)
    prior : sequence of float
        Factor of each class: ``TrainingRows.prior``.
    """
    weighted = np.asarray(proba, np.float64) * np.asarray(prior)
    total = weighted.sum(axis=1, keepdims=True)
    # A class that is certain stays certain: its factor cancels, unless it underflows.
    shares: AnyArray = np.where(total > 0, weighted / np.where(total > 0, total, 1.0), proba)
    return shares


def emphasise(
    model: Any,
    X: FloatArray,
    codes: AnyArray,
    weights: Mapping[int, float],
    seed: int,
    groups: AnyArray | None = None,
) -> tuple[FloatArray, AnyArray, AnyArray | None]:
    """Give a model the weights of classes; the rows to fit it on, and which of them are copies of one row.

    Parameters
    ----------
    model : Model
        Unfitted. One that has a parameter ``class_weight`` is given the weights; for others rows are repeated or left
        out.
    X : ndarray float32 (n, d)
    codes : ndarray of int (n,)
    weights : mapping of int to float
        By code.
    seed : int
        Of which rows are there once more than others of their class.
    groups : ndarray of int (n,), optional
        Rows of one group are copies of one row already.
    """
    names = model.get_params() if hasattr(model, "get_params") else {}
    if "class_weight" in names:
        model.set_params(class_weight=dict(weights))
        return X, codes, groups
    rng = np.random.default_rng(seed)
    total = sum(weights[int(code)] for code in codes)
    rows = []
    for code, weight in sorted(weights.items()):
        own = np.flatnonzero(codes == code)
        n = round(COPIES * len(codes) * len(own) * weight / total)
        rows.append(repeated(own, max(n, 1), rng))
    chosen = np.sort(np.concatenate(rows))
    return X[chosen], codes[chosen], chosen if groups is None else groups[chosen]


def _counts(y: AnyArray, codes: AnyArray) -> AnyArray:
    """Rows of each code, float64."""
    return np.asarray([(y == code).sum() for code in codes], np.float64)

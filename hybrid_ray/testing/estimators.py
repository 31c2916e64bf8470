"""Contract checks of estimator families.

For a family of your own::

    CASES = [(case, check) for case in cases(MyFamily) for check in yield_checks(MyFamily)]

    @pytest.mark.parametrize(("case", "check"), CASES, ids=lambda part: getattr(part, "__name__", str(part)))
    def test_my_family(case, check):
        check(MyFamily, case)
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ray.estimators.base import EstimatorFamily, Model
from hybrid_ray.estimators.streaming import Team
from hybrid_ray.forecasts import ERROR
from hybrid_ray.params import PluginParams
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import read_state, write_state
from hybrid_ray.testing.trials import check_params, check_points, check_space
from hybrid_ray.types import CLUSTERING, CODED, NUMBERS, AnyArray, FloatArray, State, Task

SEED = 7
N_CLASSES: dict[str, int] = {
    "binary": 2,
    "multiclass": 3,
    "regression": 1,
    "anomaly": 2,
    "clustering": 3,
    "forecasting": 3,
}
"""Outputs of each task: classes, clusters, values, or steps."""


@dataclass(frozen=True)
class Case:
    """One instance to check: a task and the family's parameters."""

    task: Task
    params: PluginParams

    def __str__(self) -> str:
        changed = self.params.model_dump(exclude_defaults=True)
        return f"{self.task}[{','.join(f'{name}={value}' for name, value in changed.items())}]"


Check = Callable[[type[EstimatorFamily], Case], None]


def cases(family: type[EstimatorFamily]) -> Iterator[Case]:
    """Every task of the family with every one of its examples."""
    for task in sorted(family.tags.tasks):
        for params in family.examples(task):
            yield Case(task, params)


def yield_checks(family: type[EstimatorFamily]) -> Iterator[Check]:
    """Every check that a case of the family must pass."""
    if "anomaly" in family.tags.tasks:
        yield check_detects
        yield check_normal_only
    else:
        yield check_learns
    yield check_seeded
    yield check_state_round_trip
    yield check_inputs_kept
    yield check_rows_alone
    yield check_constant_and_few
    yield check_quiet
    if family.tags.tasks & CODED:
        yield check_probabilities
    if "multiclass" in family.tags.tasks:
        yield check_rare_class
    if family.tags.streams:
        yield check_stream
    if family.tags.tasks & CLUSTERING:
        yield check_memberships
        yield check_labels_unseen
        yield check_row_order
        yield check_duplicates


def yield_family_checks(family: type[EstimatorFamily]) -> Iterator[Callable[[type[EstimatorFamily], Task], None]]:
    """Every check of the family's parameters and its search, for one task."""
    yield check_described
    yield check_portfolio
    yield check_draws


def toy_rows(task: Task, n: int = 180, d: int = 6, seed: int = 0) -> tuple[FloatArray, AnyArray]:
    """Rows float32 (n, d) and codes or values (n,) that every learner can learn from."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(np.float32)
    if task == "forecasting":
        return _toy_forecasts(X, rng)
    if task == "regression":
        return X, 1000.0 + 50.0 * (2 * X[:, 0] - X[:, 1] + 0.3 * rng.normal(size=n))
    codes = np.arange(n) % N_CLASSES[task]
    if task in CLUSTERING:
        X *= 0.3  # clusters that any clusterer tells apart
    X[:, 0] += 2.5 * codes
    X[:, 1] -= 1.5 * codes
    return X, codes.astype(np.int64)


def _toy_forecasts(noise: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, AnyArray]:
    """Rows of forecasters, each worse than the one before, and what came (n, 3); see ``fusion.forecasts``."""
    n, steps = len(noise), N_CLASSES["forecasting"]
    level, scale = rng.uniform(100, 1000, (n, 1)), rng.uniform(1, 20, (n, 1))
    came = rng.normal(size=(n, steps))
    blocks = []
    for place in range(max((noise.shape[1] - ERROR) // (steps + 1), 2)):
        spread = 0.2 + 1.5 * place
        error = spread * rng.uniform(0.7, 1.3, (n, 1))
        blocks.append(np.concatenate([error, came + spread * rng.normal(size=came.shape)], axis=1))
    head = [level, np.zeros_like(level), scale]
    return np.concatenate([*head, *blocks], axis=1).astype(np.float32), level + scale * came


def fitted(family: type[EstimatorFamily], case: Case, X: FloatArray, y: AnyArray, seed: int = SEED) -> Model:
    """A model of the case, fitted; to find anomalies, on the normal rows."""
    model = family.build(case.params, case.task, seed, 1)
    rows = y == 0 if case.task == "anomaly" else slice(None)
    model.fit(X[rows], y[rows])
    return model


def outputs(model: Model, X: FloatArray, task: Task) -> AnyArray:
    """What the graph reads: probabilities (n, C), memberships (n, K), values (n, 1), or forecasts (n, h)."""
    answer: Any = model.predict(X) if task in NUMBERS else model.predict_proba(X)  # type: ignore[attr-defined]
    width = model.n_clusters_ if task in CLUSTERING else N_CLASSES[task]  # type: ignore[attr-defined]
    return np.asarray(answer, np.float64).reshape(len(X), width)


def agreement(first: AnyArray, second: AnyArray) -> float:
    """Adjusted Rand index of two partitions (n,): 1 where they are the same, whatever their numbers."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(first, second))


def stored(state: State) -> State:
    """A state written to a store and read back: JSON, tensors and blobs, as an artifact holds them."""
    root = StoreRoot("memory://contract-checks")
    write_state(root, "state", state)
    return read_state(root, "state")


def check_learns(family: type[EstimatorFamily], case: Case) -> None:
    """It does far better than a constant on easy rows."""
    X, y = toy_rows(case.task)
    fresh, truth = toy_rows(case.task, n=120, seed=1)
    answer = outputs(fitted(family, case, X, y), fresh, case.task)
    if case.task in NUMBERS:
        explained = 1 - np.square(answer - truth.reshape(answer.shape)).mean() / truth.var()
        assert explained > 0.6, f"R2 must be above 0.6; got {explained:.3f}"
    elif case.task in CLUSTERING:
        found = agreement(answer.argmax(axis=1), truth)
        assert found > 0.95, f"clusters must be found; got an adjusted Rand index of {found:.3f}"
    else:
        loss = -np.log(np.maximum(answer[np.arange(len(truth)), truth], 1e-15)).mean()
        prior = np.log(N_CLASSES[case.task])
        assert loss < 0.7 * prior, f"log loss must be below {0.7 * prior:.3f}; got {loss:.3f}"


def check_probabilities(family: type[EstimatorFamily], case: Case) -> None:
    """Rows of probabilities: finite, in [0, 1], summing to 1; classes are sorted codes; predict is their argmax."""
    if case.task not in CODED:
        return
    X, y = toy_rows(case.task)
    model: Any = fitted(family, case, X, y)
    proba = model.predict_proba(X)
    assert proba.shape == (len(X), N_CLASSES[case.task])
    assert np.isfinite(proba).all()
    assert ((proba >= 0) & (proba <= 1)).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_array_equal(model.classes_, np.arange(N_CLASSES[case.task]))
    np.testing.assert_array_equal(model.predict(X), proba.argmax(axis=1))


def check_rare_class(family: type[EstimatorFamily], case: Case) -> None:
    """A class of one row, and one of two, are learned from without failing; each keeps its column."""
    if case.task != "multiclass":
        return
    X, y = toy_rows(case.task)
    kept = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:1], np.flatnonzero(y == 2)[:2]])
    proba = outputs(fitted(family, case, X[kept], y[kept]), X, case.task)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, atol=1e-9)


def check_detects(family: type[EstimatorFamily], case: Case) -> None:
    """Rows far away score higher than normal ones, the farther the higher; few normal ones are taken for anomalous."""
    X, y = toy_rows(case.task)
    fresh, truth = toy_rows(case.task, n=400, seed=1)
    model = fitted(family, case, X, y)
    said = outputs(model, fresh, case.task)
    normal, far = said[truth == 0], said[truth == 1]
    assert (far[:, 1][:, None] > normal[:, 1]).mean() > 0.75, "anomalous rows must score higher than normal ones"
    assert (normal[:, 1] > 0.5).mean() < 0.2, "most normal rows must lie below 0.5"
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-12)
    assert said.min() >= 0
    scores: Any = model.score_samples(fresh)  # type: ignore[attr-defined]
    order = np.argsort(scores, kind="stable")
    assert (np.diff(said[order, 1]) >= 0).all(), "what is said must rise with the score"
    near = X[y == 0][:1]
    away = near + np.float32(8) * np.arange(3, dtype=np.float32)[:, None] * np.array([1, -1] * 3, np.float32)
    steps: Any = model.score_samples(away)  # type: ignore[attr-defined]
    assert steps[0] < min(steps[1:]), "a row far away must score higher than one among the normal rows"


def check_normal_only(family: type[EstimatorFamily], case: Case) -> None:
    """A fit on no rows, or on rows that are not normal, is refused."""
    X, y = toy_rows(case.task)
    for rows in (y == 2, y == 1):
        try:
            family.build(case.params, case.task, SEED, 1).fit(X[rows], y[rows])
        except ValueError:
            continue
        raise AssertionError("fit must refuse rows that are not normal, and no rows at all, with a ValueError")


def check_seeded(family: type[EstimatorFamily], case: Case) -> None:
    """The same seed and rows give the same model, bit by bit."""
    X, y = toy_rows(case.task)
    first, second = (outputs(fitted(family, case, X, y), X, case.task) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def check_state_round_trip(family: type[EstimatorFamily], case: Case) -> None:
    """A model that was saved and loaded predicts bit-equal, and saves to the same answer again."""
    X, y = toy_rows(case.task)
    model = fitted(family, case, X, y)
    expected = outputs(model, X, case.task)
    loaded = family.load(stored(family.dump(model)))
    np.testing.assert_array_equal(outputs(loaded, X, case.task), expected)
    again = family.load(stored(family.dump(loaded)))
    np.testing.assert_array_equal(outputs(again, X, case.task), expected)


def check_inputs_kept(family: type[EstimatorFamily], case: Case) -> None:
    """Rows may be read-only, as they are in Ray's object store, or strided; they are never written to."""
    X, y = toy_rows(case.task)
    shared, labels = X.copy(), y.copy()
    shared.flags.writeable = labels.flags.writeable = False
    model = fitted(family, case, shared, labels)
    expected = outputs(model, shared, case.task)
    np.testing.assert_array_equal(shared, X)
    np.testing.assert_array_equal(labels, y)
    wide = np.zeros((len(X), 2 * X.shape[1]), np.float32)
    wide[:, ::2] = X
    np.testing.assert_allclose(outputs(model, wide[:, ::2], case.task), expected, rtol=1e-6, atol=1e-6)


def check_rows_alone(family: type[EstimatorFamily], case: Case) -> None:
    """A row's answer does not depend on the rows beside it."""
    X, y = toy_rows(case.task)
    model = fitted(family, case, X, y)
    together = outputs(model, X[:8], case.task)
    alone = np.concatenate([outputs(model, X[i : i + 1], case.task) for i in range(8)])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5)


def check_constant_and_few(family: type[EstimatorFamily], case: Case) -> None:
    """Constant columns, and fewer rows than columns, are no reason to fail."""
    X, y = toy_rows(case.task, n=12, d=30)
    X[:, 3:6] = 0.0
    X[:, 6:9] = 1.0
    assert np.isfinite(outputs(fitted(family, case, X, y), X, case.task)).all()
    rows, labels = toy_rows(case.task, n=60)
    flat = np.zeros_like(rows if case.task == "forecasting" else rows[:, :2])
    assert np.isfinite(outputs(fitted(family, case, flat, labels), flat, case.task)).all()


def check_memberships(family: type[EstimatorFamily], case: Case) -> None:
    """Rows of memberships of new rows: finite, in [0, 1], summing to 1; predict is their argmax."""
    X, y = toy_rows(case.task)
    model: Any = fitted(family, case, X, y)
    fresh, _ = toy_rows(case.task, n=50, seed=3)
    for rows in (X, fresh, 100.0 * fresh, fresh[:1]):
        shares = model.predict_proba(rows)
        assert shares.shape == (len(rows), model.n_clusters_)
        assert ((shares >= 0) & (shares <= 1)).all()
        np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-9)
        np.testing.assert_array_equal(model.predict(rows), shares.argmax(axis=1))


def check_labels_unseen(family: type[EstimatorFamily], case: Case) -> None:
    """What is given as labels changes nothing."""
    X, y = toy_rows(case.task)
    first, second = (outputs(fitted(family, case, X, labels), X, case.task) for labels in (y, np.zeros_like(y)))
    np.testing.assert_array_equal(first, second)


def check_row_order(family: type[EstimatorFamily], case: Case) -> None:
    """Clusters that lie apart are the same in whatever order rows come."""
    X, y = toy_rows(case.task)
    mixed = np.random.default_rng(0).permutation(len(X))
    first, second = (
        outputs(fitted(family, case, X[rows], y), X, case.task).argmax(axis=1) for rows in (np.arange(len(X)), mixed)
    )
    found = agreement(first, second)
    assert found == 1.0, f"partitions must not depend on the order of rows; got an adjusted Rand index of {found:.3f}"


def check_duplicates(family: type[EstimatorFamily], case: Case) -> None:
    """Rows that are there several times are no reason to fail, and equal rows get equal answers."""
    X, y = toy_rows(case.task, n=60)
    thrice, labels = np.concatenate([X, X, X]), np.concatenate([y, y, y])
    parts = np.split(outputs(fitted(family, case, thrice, labels), thrice, case.task), 3)
    np.testing.assert_allclose(parts[1], parts[0], atol=1e-9)
    np.testing.assert_allclose(parts[2], parts[0], atol=1e-9)


class ToyStream:
    """Rows in memory as a stream of three uneven batches."""

    def __init__(self, X: FloatArray, labels: AnyArray) -> None:
        self.labels = labels
        self.n_features = X.shape[1]
        self._X = X

    def __iter__(self) -> Iterator[FloatArray]:
        yield from (part.copy() for part in np.split(self._X, [len(self._X) // 5, len(self._X) // 2]))


def check_stream(family: type[EstimatorFamily], case: Case) -> None:
    """Fitted again on a stream that holds more rows and a class more than it knew, it learns both, and is saved."""
    X, y = toy_rows(case.task, n=360)
    known = np.arange(120) if case.task != "multiclass" else np.flatnonzero(y[:120] < 2)
    model = fitted(family, case, X[known], y[known])
    counts = None if case.task == "regression" else np.bincount(y)
    answers = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            streamed = family.fit_stream(model, ToyStream(X, y), Team(counts, Path(folder)))
        answers.append(outputs(streamed, X, case.task))
    np.testing.assert_array_equal(answers[0], answers[1])
    loaded = family.load(stored(family.dump(streamed)))
    np.testing.assert_array_equal(outputs(loaded, X, case.task), answers[0])
    if case.task == "regression":
        assert 1 - np.square(answers[0][:, 0] - y).mean() / y.var() > 0.6
    else:
        assert (answers[0].argmax(axis=1) == y).mean() > 0.8


def check_quiet(family: type[EstimatorFamily], case: Case) -> None:
    """Nothing warns: what a user can do nothing about is silenced or solved."""
    X, y = toy_rows(case.task)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fitted(family, case, X, y)
        outputs(family.load(family.dump(model)), X, case.task)


def check_described(family: type[EstimatorFamily], task: Task) -> None:
    """Every parameter has a default, a description and, when it is a number, bounds."""
    check_params(family.Params)


def check_portfolio(family: type[EstimatorFamily], task: Task) -> None:
    """Every start is a complete point of the space, and valid."""
    check_points(family.Params, family.portfolio(task), lambda trial: family.space(trial, task))


def check_draws(family: type[EstimatorFamily], task: Task) -> None:
    """Whatever the space proposes is valid."""
    check_space(family.Params, lambda trial: family.space(trial, task))

"""Contract checks of decision-level fusions; :mod:`hybrid_ray.testing.fusions` yields them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial

import numpy as np

from hybrid_ray.forecasts import Came
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.testing.estimators import N_CLASSES, stored
from hybrid_ray.testing.fusion_cases import SEED, FusionCase, check_key_error
from hybrid_ray.types import CLASSIFICATION, AnyArray, Task


def toy_outputs(task: Task, n: int = 240, members: int = 4, seed: int = 0) -> tuple[dict[str, AnyArray], AnyArray]:
    """Outputs of members, each noisier than the one before, and the truth; the names are not in order."""
    rng = np.random.default_rng(seed)
    names = ["pine", "ash", "oak", "elm", "fir", "yew"][:members]
    if task == "regression":
        y = rng.normal(size=n)
        return {name: (y + rng.normal(size=n) * (0.4 + i))[:, None] for i, name in enumerate(names)}, y
    if task == "forecasting":
        values = rng.normal(size=(n, N_CLASSES[task]))
        y = Came(values, 0 * values, 0 * values, np.zeros((n, 1)), rng.uniform(0.5, 2.0, (n, 1))).packed()
        return {name: values + rng.normal(size=values.shape) * (0.4 + i) for i, name in enumerate(names)}, y
    codes = rng.integers(N_CLASSES[task], size=n)
    truth = np.eye(N_CLASSES[task])[codes] * 2.5
    found = {}
    for i, name in enumerate(names):
        raised = np.exp(truth + rng.normal(size=truth.shape) * (1.0 + i))
        found[name] = raised / raised.sum(axis=1, keepdims=True)
    return found, codes


def _fitted_decision(
    fusion: type[DecisionFusion], case: FusionCase, inputs: Mapping[str, AnyArray], y: AnyArray
) -> DecisionFusion:
    return fusion(case.params).fit(inputs, y, case.task, SEED)


def check_decision_outputs(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """Float64 (n, C) probabilities that sum to 1, values (n, 1), or forecasts (n, h); none for no rows."""
    inputs, y = toy_outputs(case.task)
    fitted = _fitted_decision(fusion, case, inputs, y)
    answer = fitted.combine(inputs)
    assert answer.dtype == np.float64
    assert answer.shape == (240, N_CLASSES[case.task])
    assert np.isfinite(answer).all()
    if case.task in CLASSIFICATION:
        assert (answer >= 0).all()
        np.testing.assert_allclose(answer.sum(axis=1), 1.0, atol=1e-9)
    assert fitted.combine({name: array[:0] for name, array in inputs.items()}).shape == (0, N_CLASSES[case.task])


def check_decision_order(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """Member order changes nothing, in ``fit`` or ``combine``; neither do further names."""
    inputs, y = toy_outputs(case.task)
    expected = _fitted_decision(fusion, case, inputs, y).combine(inputs)
    turned = dict(reversed(inputs.items()))
    fitted = _fitted_decision(fusion, case, turned, y)
    np.testing.assert_array_equal(fitted.combine(inputs), expected)
    np.testing.assert_array_equal(fitted.combine({"other": inputs["oak"] * 0} | turned), expected)


def check_decision_seeded(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """The same seed and rows give the same answer, bit by bit."""
    inputs, y = toy_outputs(case.task)
    first, second = (_fitted_decision(fusion, case, inputs, y).combine(inputs) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def check_decision_state(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """A fusion that was saved and loaded combines bit-equal, with the same weights."""
    inputs, y = toy_outputs(case.task)
    fitted = _fitted_decision(fusion, case, inputs, y)
    loaded = fusion.from_state(case.params, stored(fitted.get_state()))
    np.testing.assert_array_equal(loaded.combine(inputs), fitted.combine(inputs))
    assert loaded.weights == fitted.weights


def check_decision_inputs_kept(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """Outputs may be read-only and are never written to, nor handed out."""
    inputs, y = toy_outputs(case.task)
    copies = {name: array.copy() for name, array in inputs.items()}
    for array in inputs.values():
        array.flags.writeable = False
    answer = _fitted_decision(fusion, case, inputs, y).combine(inputs)
    answer += 1.0
    for name, array in copies.items():
        np.testing.assert_array_equal(inputs[name], array)


def check_decision_missing_member(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """A member with weight that is not there is named in a KeyError; one without weight is not missed."""
    inputs, y = toy_outputs(case.task)
    fitted = _fitted_decision(fusion, case, inputs, y)
    expected = fitted.combine(inputs)
    for name, weight in fitted.weights.items():
        others = {other: array for other, array in inputs.items() if other != name}
        if weight == 0:
            np.testing.assert_array_equal(fitted.combine(others), expected)
        else:
            check_key_error(partial(fitted.combine, others), name)


def check_decision_weights(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """A weight for each member, none negative, summing to 1."""
    inputs, y = toy_outputs(case.task)
    weights = _fitted_decision(fusion, case, inputs, y).weights
    assert set(weights) == set(inputs)
    assert all(weight >= 0 for weight in weights.values())
    assert abs(sum(weights.values()) - 1.0) < 1e-9


def check_decision_finds_the_good(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """On rows it was not fitted on it is better than the mean member, and no member weighs more than the best."""
    inputs, y = toy_outputs(case.task)
    fresh, truth = toy_outputs(case.task, n=2000, seed=1)
    fitted = _fitted_decision(fusion, case, inputs, y)
    alone = [_loss(fresh[name], truth, case.task) for name in fresh]
    assert _loss(fitted.combine(fresh), truth, case.task) < np.mean(alone)
    assert fitted.weights["pine"] >= max(fitted.weights.values()) - 1e-9


def check_decision_quiet(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """Nothing warns, also when members are sure, wrong, or all the same."""
    inputs, y = toy_outputs(case.task)
    same = dict.fromkeys(("a", "b", "c"), inputs["pine"])
    classes = case.task in CLASSIFICATION
    sure = {n: np.eye(a.shape[1])[a.argmax(1)] for n, a in inputs.items()} if classes else inputs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for form in (inputs, same, sure):
            assert np.isfinite(_fitted_decision(fusion, case, form, y).combine(form)).all()


def check_pool_simplex(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """A pool's answer is the mean of its members by its weights."""
    inputs, y = toy_outputs(case.task)
    fitted = _fitted_decision(fusion, case, inputs, y)
    expected = sum((inputs[name] * weight for name, weight in fitted.weights.items()), np.zeros_like(inputs["oak"]))
    np.testing.assert_allclose(fitted.combine(inputs), expected, atol=1e-12)


def check_pool_sole_member(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """Weight 1 on a member gives that member back, bit by bit."""
    inputs, y = toy_outputs(case.task)
    sole = _fitted_decision(fusion, case, {"oak": inputs["oak"]}, y)
    assert sole.weights == {"oak": 1.0}
    np.testing.assert_array_equal(sole.combine(inputs), inputs["oak"])
    fitted = _fitted_decision(fusion, case, inputs, y)
    for name, weight in fitted.weights.items():
        if weight == 1.0:
            np.testing.assert_array_equal(fitted.combine(inputs), inputs[name])


def check_pool_between(fusion: type[DecisionFusion], case: FusionCase) -> None:
    """A pool's answer lies between the least and the greatest of its members'."""
    inputs, y = toy_outputs(case.task)
    answer = _fitted_decision(fusion, case, inputs, y).combine(inputs)
    stacked = np.stack(list(inputs.values()))
    assert (answer >= stacked.min(axis=0) - 1e-12).all()
    assert (answer <= stacked.max(axis=0) + 1e-12).all()


def _loss(outputs: AnyArray, y: AnyArray, task: Task) -> float:
    if task == "forecasting":
        return float(np.abs(outputs - Came.of(y).values).mean())
    if task == "regression":
        return float(np.square(outputs[:, 0] - y).mean())
    return -float(np.log(np.maximum(outputs[np.arange(len(y)), y], 1e-15)).mean())

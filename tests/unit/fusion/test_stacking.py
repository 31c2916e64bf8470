import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import Ridge

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.fusion.stacking import Stacking, StackingParams
from hybrid_ray.testing.decision_fusions import toy_outputs
from hybrid_ray.types import State


def fit(inputs, y, task, **params):
    return Stacking(StackingParams(**params)).fit(inputs, y, task)


def log_loss(outputs, y):
    return -np.log(np.maximum(outputs[np.arange(len(y)), y], 1e-15)).mean()


@pytest.fixture(scope="module")
def overconfident():
    """One member whose logits are three times too large, with a class too likely."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    y = np.array([rng.choice(3, p=p) for p in softmax(logits, axis=1)])
    return {"a": softmax(3 * logits + [1.0, 0, 0], axis=1)}, y


def test_a_sole_member_is_recalibrated(overconfident):
    inputs, y = overconfident
    fusion = fit(inputs, y, "multiclass", regularisation=1e-4)
    coefficients = fusion.get_state().tensors["coefficients"]
    np.testing.assert_allclose(coefficients, 1 / 3, atol=0.05)
    offsets = fusion.get_state().tensors["offsets"]
    np.testing.assert_allclose(offsets[0] - offsets[1], -1 / 3, atol=0.1)
    assert log_loss(fusion.combine(inputs), y) < log_loss(inputs["a"], y) - 0.2


@pytest.mark.parametrize("per_class", [False, True])
def test_a_strong_penalty_gives_the_geometric_mean(per_class):
    inputs, y = toy_outputs("multiclass")
    fusion = fit(inputs, y, "multiclass", regularisation=1e4, per_class=per_class)
    assert set(np.round(list(fusion.weights.values()), 3)) == {0.25}
    logs = np.mean([np.log(array) for array in inputs.values()], axis=0)
    offsets = fusion.get_state().tensors["offsets"]
    np.testing.assert_allclose(fusion.combine(inputs), softmax(logs + offsets, axis=1), atol=1e-2)


def test_a_strong_penalty_gives_the_mean_of_values():
    inputs, y = toy_outputs("regression")
    fusion = fit(inputs, y, "regression", regularisation=1e4)
    mean = np.mean(list(inputs.values()), axis=0)
    np.testing.assert_allclose(fusion.combine(inputs) - mean, y.mean() - mean.mean(), atol=1e-2)


def test_numbers_are_ridge_regression_around_the_mean():
    inputs, y = toy_outputs("regression")
    fusion = fit(inputs, y, "regression", regularisation=0.05, non_negative=False)
    values = np.column_stack([inputs[name][:, 0] for name in sorted(inputs)]) / y.std()
    reference = Ridge(alpha=0.05 * len(y)).fit(values, y / y.std() - values @ np.full(4, 0.25))
    expected = (reference.predict(values) + values @ np.full(4, 0.25)) * y.std()
    np.testing.assert_allclose(fusion.combine(inputs)[:, 0], expected, atol=1e-6)


def test_numbers_do_not_depend_on_their_unit():
    inputs, y = toy_outputs("regression")
    plain = fit(inputs, y, "regression").combine(inputs)
    far = {name: 1e6 + 1e5 * array for name, array in inputs.items()}
    np.testing.assert_allclose((fit(far, 1e6 + 1e5 * y, "regression").combine(far) - 1e6) / 1e5, plain, atol=1e-6)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_signs_are_kept_when_asked(task):
    inputs, y = toy_outputs(task)
    wrong = {n: -a if task == "regression" else (1 - a) / (a.shape[1] - 1) for n, a in inputs.items() if n == "pine"}
    both = inputs | {"against": wrong["pine"]}
    kept = fit(both, y, task, regularisation=1e-3).get_state().tensors["coefficients"]
    free = fit(both, y, task, regularisation=1e-3, non_negative=False).get_state().tensors["coefficients"]
    assert (kept >= 0).all()
    assert kept[0] == pytest.approx(0)  # "against" comes first by name
    assert free.min() < -0.01


def test_a_weight_for_each_class_uses_who_knows_which_class():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=3000)
    knows = {}
    for name, known in (("first", 0), ("second", 1)):
        logits = np.zeros((3000, 3))
        logits[:, known] = np.where(y == known, 2.0, -2.0) + rng.normal(size=3000)
        logits[:, 2] = 3 * rng.normal(size=3000)
        knows[name] = softmax(logits, axis=1)
    shared = fit(knows, y, "multiclass", regularisation=1e-4, non_negative=False)
    single = fit(knows, y, "multiclass", regularisation=1e-4, non_negative=False, per_class=True)
    assert log_loss(single.combine(knows), y) < log_loss(shared.combine(knows), y) - 0.02


def test_members_against_the_truth_leave_the_class_shares():
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.7).astype(int)
    lies = np.where(y[:, None] == np.arange(2), 0.1, 0.9)
    fusion = fit({"liar": lies}, y, "binary", regularisation=1e-4)
    assert fusion.weights == {"liar": 0.0}
    np.testing.assert_allclose(fusion.combine({"liar": lies}), np.tile([0.3, 0.7], (2000, 1)), atol=0.03)


def test_one_sure_and_wrong_member_does_not_decide_alone():
    inputs, y = toy_outputs("binary")
    fusion = fit(inputs, y, "binary")
    sure = {name: np.array([[0.2, 0.8]]) for name in inputs} | {"yew": np.array([[1.0, 0.0]])}
    assert np.isfinite(fusion.combine(sure)).all()


def test_what_was_not_fitted_does_not_combine():
    with pytest.raises(NotFittedError, match="fit must come before combine"):
        Stacking(StackingParams()).combine({"a": np.zeros((2, 2))})


def test_a_damaged_state_is_refused():
    inputs, y = toy_outputs("binary")
    state = fit(inputs, y, "binary").get_state()
    with pytest.raises(ArtifactError, match="missing 'offsets'"):
        Stacking.from_state(StackingParams(), State(state.meta, {"coefficients": state.tensors["coefficients"]}))
    cut = state.tensors | {"coefficients": state.tensors["coefficients"][:2]}
    with pytest.raises(ArtifactError, match="each of 4 members must have coefficients; got 2"):
        Stacking.from_state(StackingParams(), State(state.meta, cut))

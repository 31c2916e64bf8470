import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import softmax
from sklearn.isotonic import IsotonicRegression

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.models import gaussian_process
from hybrid_ray.fusion import calibrated, layered_stacking
from hybrid_ray.fusion.calibrated import Calibrated, CalibratedParams
from hybrid_ray.fusion.calibrators import Isotonic, Temperature
from hybrid_ray.fusion.inner import fit_combiner, make_combiner
from hybrid_ray.fusion.layered_stacking import LayeredStacking, LayeredStackingParams
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.testing.decision_fusions import toy_outputs
from hybrid_ray.types import State

load_plugins()


def truth(n, seed=0):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, 3))
    return logits, np.array([rng.choice(3, p=p) for p in softmax(logits, axis=1)])


def log_loss(P, y):
    return -np.log(np.maximum(P[np.arange(len(y)), y], 1e-15)).mean()


def fit(inputs, y, **params):
    return Calibrated(CalibratedParams(**params)).fit(inputs, y, "multiclass")


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_is_how_much_too_sure_members_are(factor):
    logits, y = truth(4000)
    found = Temperature.fit(softmax(factor * logits, axis=1), y)
    assert found.temperature == pytest.approx(factor, rel=0.06)
    logits = np.clip(logits, -2, 2)  # far from the floor of probabilities
    np.testing.assert_allclose(
        found(softmax(factor * logits, axis=1)), softmax(logits * factor / found.temperature, axis=1), atol=1e-6
    )


def test_isotonic_is_scikit_learns_for_two_classes():
    rng = np.random.default_rng(0)
    p = rng.random(800)
    y = (rng.random(800) < p**2).astype(int)
    ours = Isotonic.fit(np.column_stack([1 - p, p]), y)(np.column_stack([1 - p, p]))
    theirs = IsotonicRegression(y_min=0, y_max=1).fit(p, y).predict(p)
    np.testing.assert_allclose(ours[:, 1], theirs, atol=0.02)
    assert ours.min() > 0
    np.testing.assert_allclose(ours.sum(axis=1), 1.0)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
@pytest.mark.parametrize("place", ["members", "result"])
def test_calibration_mends_members_that_are_too_sure(method, place):
    logits, y = truth(3000)
    fresh, fresh_y = truth(2000, seed=1)
    inputs, later = ({"a": softmax(4 * part, axis=1)} for part in (logits, fresh))
    plain = LinearPool(LinearPoolParams()).fit(inputs, y, "multiclass").combine(later)
    mended = fit(inputs, y, **{"members": "none", "result": "none"} | {place: method}).combine(later)
    best = log_loss(softmax(fresh, axis=1), fresh_y)
    assert log_loss(mended, fresh_y) < best + 0.05 < log_loss(plain, fresh_y) - 0.2


def test_without_calibration_it_is_the_combiner_inside():
    logits, y = truth(300)
    rng = np.random.default_rng(2)
    inputs = {name: softmax(logits + rng.normal(size=logits.shape), axis=1) for name in "abc"}
    wanted = LinearPool(LinearPoolParams(solver="convex")).fit(inputs, y, "multiclass")
    made = fit(inputs, y, result="none", combiner_params={"solver": "convex"})
    np.testing.assert_array_equal(made.combine(inputs), wanted.combine(inputs))
    assert made.weights == wanted.weights


def test_the_answer_is_calibrated_on_rows_that_the_combiner_did_not_see(monkeypatch):
    logits, y = truth(90)
    inputs = {"a": softmax(logits, axis=1), "b": softmax(logits[::-1], axis=1)}
    seen = []
    plain = LinearPool.fit

    def watched(self, given, codes, task, seed=0, metric=None):
        seen.append(len(codes))
        return plain(self, given, codes, task, seed, metric)

    monkeypatch.setattr(LinearPool, "fit", watched)
    fit(inputs, y, result="isotonic")
    assert seen == [60, 60, 60, 90]


def test_the_answer_is_calibrated_on_rows_that_no_members_calibration_saw(monkeypatch):
    """Steps fitted to noise look sure on the rows they were fitted to: an answer's calibration must not see that."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=200)
    proba = rng.dirichlet([1, 1], size=200)
    fitted = fit({"a": proba}, y, members="isotonic", result="temperature")
    assert fitted._result.temperature > 2


def test_a_member_of_noise_gains_no_weight_by_steps_that_were_fitted_to_it():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=150)
    p = np.where(y == 1, 0.65, 0.35)
    p = np.where(rng.random(150) < 0.65, p, 1 - p)
    inputs = {"good": np.column_stack([1 - p, p])}
    inputs |= {f"noise{i}": rng.dirichlet([1, 1], size=150) for i in range(6)}
    made = fit(inputs, y, members="isotonic", result="none", combiner_params={"solver": "convex"})
    assert made.weights["good"] > 0.8


def test_a_combiner_that_is_not_there_is_refused():
    with pytest.raises(
        ValidationError, match=r"unknown decision-level fusion 'linear_pol'.*Did you mean 'linear_pool'"
    ):
        CalibratedParams(combiner="linear_pol")
    with pytest.raises(ValidationError, match="unknown decision-level fusion 'calibrated'"):
        CalibratedParams(combiner="calibrated")
    with pytest.raises(ValidationError, match="solver"):
        CalibratedParams(combiner_params={"solver": "none"})


def test_what_was_not_fitted_neither_combines_nor_is_saved():
    with pytest.raises(NotFittedError, match="fit must come before combine"):
        Calibrated(CalibratedParams()).combine({"a": np.zeros((2, 2))})
    with pytest.raises(NotFittedError, match="fit must come before it is saved"):
        Calibrated(CalibratedParams()).get_state()


def test_a_damaged_state_is_refused():
    logits, y = truth(60)
    params = CalibratedParams(members="isotonic", result="temperature")
    state = Calibrated(params).fit({"a": softmax(logits, axis=1)}, y, "multiclass").get_state()
    with pytest.raises(ArtifactError, match=r"saved steps must be whole; missing 'x\.0'"):
        Calibrated.from_state(params, State(state.meta, {}))
    parts = {name: meta for name, meta in state.meta["parts"].items() if name != "result"}
    with pytest.raises(ArtifactError, match="must hold all its parts; missing 'result'"):
        Calibrated.from_state(params, State({**state.meta, "parts": parts}, state.tensors))
    parts = state.meta["parts"] | {"result": {"temperature": -1}}
    with pytest.raises(ArtifactError, match="must be a number above 0; got -1"):
        Calibrated.from_state(params, State({**state.meta, "parts": parts}, state.tensors))


def grouped_rows(task):
    """Members' outputs of 40 groups of rows, the last of which is all of its class."""
    inputs, y = toy_outputs(task, n=200)
    group = np.arange(200) // 5
    if task != "regression":
        y = np.where(group == 39, y.max() + 1, y)
        inputs = {name: np.column_stack([each, np.full(200, 0.01)]) / 1.01 for name, each in inputs.items()}
    return inputs, y, np.random.default_rng(0).permutation(40)[group]


def test_rows_that_go_together_are_held_out_together(monkeypatch):
    inputs, y, groups = grouped_rows("multiclass")
    fitted_on = []
    real = calibrated.fit_combiner
    monkeypatch.setattr(
        calibrated, "fit_combiner", lambda *given: fitted_on.append((given[2], given[-1])) or real(*given)
    )
    Calibrated(CalibratedParams()).fit(inputs, y, "multiclass", groups=groups)
    *parts, (_, every) = fitted_on
    assert len(parts) == 3
    np.testing.assert_array_equal(every, groups)
    only = groups[-1]
    for codes, own in parts:
        assert set(codes) == set(y)
        left_out = set(groups) - set(own)
        assert left_out
        assert all((own == group).sum() in (0, 5) for group in set(own) - {only})
        assert 0 < (own == only).sum() < 5, "the only group of a class is dealt row by row"


def test_a_class_of_one_row_is_calibrated_beside_groups():
    inputs, y, groups = grouped_rows("multiclass")
    rows = np.flatnonzero((y < y.max()) | (np.arange(200) == 199))
    few = {name: each[rows] for name, each in inputs.items()}
    for members in ("none", "isotonic"):
        fitted = Calibrated(CalibratedParams(members=members)).fit(few, y[rows], "multiclass", groups=groups[rows])
        assert np.isfinite(fitted.combine(few)).all()
        np.testing.assert_allclose(fitted.combine(few).sum(axis=1), 1)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_layers_hold_out_rows_that_go_together(task, monkeypatch):
    inputs, y, groups = grouped_rows(task)
    said = []
    real = layered_stacking._held_out
    monkeypatch.setattr(layered_stacking, "_held_out", lambda *given: said.append(given[4]) or real(*given))
    params = LayeredStackingParams(
        learners=("knn",),
        learner_params={"knn": {"n_neighbors": 5, "metric": "euclidean"}},
        folds=4,
        combiner="meta_stacking",
    )
    LayeredStacking(params).fit(inputs, y, task, groups=groups)
    (folds,) = said
    assert set(folds) == {0, 1, 2, 3}
    only = set() if task == "regression" else {groups[-1]}
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups) - only)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("meta_stacking", {"learner": "gaussian_process"}),
        ("layered_stacking", {"learners": ["gaussian_process"], "folds": 2}),
        ("alarm", {"combiner": "meta_stacking", "combiner_params": {"learner": "gaussian_process"}}),
        ("calibrated", {"combiner": "meta_stacking", "combiner_params": {"learner": "gaussian_process"}}),
    ],
)
def test_learners_on_predictions_are_told_which_rows_go_together(name, params, monkeypatch):
    inputs, y = toy_outputs("binary", n=120)
    told = []
    real = gaussian_process.inner_folds
    monkeypatch.setattr(gaussian_process, "inner_folds", lambda *given: told.append(given[-1]) or real(*given))
    fit_combiner(make_combiner(name, params), inputs, y, "binary", 0, None, np.arange(120) // 4)
    assert told
    assert all(isinstance(groups, np.ndarray) for groups in told)

import numpy as np
import pytest
from pydantic import ValidationError

from hybrid_ray.errors import ArtifactError, BadInputError, NotFittedError
from hybrid_ray.fusion.layered_stacking import LayeredStacking, LayeredStackingParams
from hybrid_ray.fusion.linear_pool import LinearPool
from hybrid_ray.fusion.meta_stacking import MetaStacking, MetaStackingParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.testing.decision_fusions import toy_outputs
from hybrid_ray.testing.estimators import stored
from hybrid_ray.types import BOTH, State

load_plugins()
LEARNERS = [
    (name, "multiclass" if "multiclass" in family.tags.tasks else "regression")
    for name, family in ESTIMATORS.items()
    if family.__module__.startswith("hybrid_ray.estimators") and family.tags.tasks & BOTH
] + [("lightgbm", "regression"), ("neural_head", "regression")]


def log_loss(outputs, y):
    return -np.log(np.maximum(outputs[np.arange(len(y)), y], 1e-15)).mean()


def interacting(n, seed):
    """The class is whether two members agree: neither says anything by itself."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(2, size=(n, 2))
    sure = np.clip(0.5 + 0.35 * (2 * bits - 1) + 0.05 * rng.normal(size=(n, 2)), 0.02, 0.98)
    inputs = {name: np.column_stack([1 - sure[:, i], sure[:, i]]) for i, name in enumerate(("a", "b"))}
    return inputs, (bits[:, 0] ^ bits[:, 1]).astype(np.int64)


@pytest.mark.parametrize(("name", "task"), LEARNERS)
def test_any_registered_estimator_is_a_meta_learner(name, task):
    inputs, y = toy_outputs(task, n=160)
    fresh, _ = toy_outputs(task, n=5, seed=1)
    given = next(ESTIMATORS.get(name).examples(task)).model_dump(mode="json", exclude_unset=True)
    params = MetaStackingParams(learner=name, learner_params=given)
    fitted = MetaStacking(params).fit(inputs, y, task, seed=3)
    loaded = MetaStacking.from_state(MetaStackingParams(**params.model_dump(mode="json")), stored(fitted.get_state()))
    np.testing.assert_array_equal(loaded.combine(fresh), fitted.combine(fresh))
    assert loaded.weights == fitted.weights


def test_a_learner_of_another_task_is_refused():
    inputs, y = toy_outputs("binary")
    with pytest.raises(BadInputError, match="estimator ridge: task must be one of"):
        MetaStacking(MetaStackingParams(learner="ridge")).fit(inputs, y, "binary")


def test_kernels_find_what_no_weights_can():
    (inputs, y), (fresh, truth) = interacting(200, 0), interacting(200, 1)
    linear, kernel = (
        MetaStacking(MetaStackingParams(learner=name)).fit(inputs, y, "binary")
        for name in ("logistic", "gaussian_process")
    )
    assert log_loss(kernel.combine(fresh), truth) < 0.3 < 0.6 < log_loss(linear.combine(fresh), truth)
    assert kernel.weights["a"] == pytest.approx(0.5, abs=0.2)


def test_members_that_change_nothing_are_left_out_and_not_needed():
    inputs, y = toy_outputs("binary", members=2)
    inputs["flat"] = np.full((len(y), 2), 0.5)
    fitted = MetaStacking(MetaStackingParams()).fit(inputs, y, "binary")
    assert fitted.weights["flat"] == 0
    assert fitted.weights["pine"] > fitted.weights["ash"] > 0
    without = {name: each for name, each in inputs.items() if name != "flat"}
    np.testing.assert_array_equal(fitted.combine(without), fitted.combine(inputs))


def test_with_nothing_to_learn_the_residual_is_none_and_the_mean_stays():
    inputs, y = toy_outputs("regression", n=60)
    params = MetaStackingParams(learner="ridge", learner_params={"alpha": 1e9})
    fitted = MetaStacking(params).fit(inputs, y, "regression")
    answer = fitted.combine(inputs)
    mean = np.mean([inputs[name] for name, weight in fitted.weights.items() if weight > 0], axis=0)
    np.testing.assert_allclose(answer - mean, np.full_like(mean, (y - mean[:, 0]).mean()), atol=1e-3)


def test_of_more_rows_than_a_learner_takes_a_sample_is_learned_from(monkeypatch):
    from dataclasses import replace

    family = ESTIMATORS.get("gaussian_process")
    monkeypatch.setattr(family, "tags", replace(family.tags, max_rows=50))
    inputs, y = toy_outputs("regression", n=200)
    fusion = MetaStacking(MetaStackingParams(learner="gaussian_process")).fit(inputs, y, "regression")
    assert fusion._model._model.rows_.shape[0] == 50


def test_the_second_layer_sees_nothing_that_the_first_was_fitted_on(monkeypatch):
    """One neighbour knows every row by heart; of rows that it has not seen it can say no more than the members."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=300)
    noise = rng.dirichlet([1, 1], size=(3, 300))
    inputs = {name: noise[i] for i, name in enumerate("abc")}
    seen, plain = {}, LinearPool.fit

    def watched(self, given, codes, task, seed=0, metric=None):
        seen.update(given)
        return plain(self, given, codes, task, seed, metric)

    monkeypatch.setattr(LinearPool, "fit", watched)
    one = {"knn": {"n_neighbors": 1, "metric": "euclidean"}}
    params = LayeredStackingParams(learners=("knn",), learner_params=one, passthrough=True)
    fusion = LayeredStacking(params).fit(inputs, y, "binary")
    assert set(seen) == {"learner:knn", "member:a", "member:b", "member:c"}
    in_sample = (fusion._models["knn"].predict(inputs).argmax(1) == y).mean() if fusion._models else 1.0
    assert in_sample > 0.95
    assert (seen["learner:knn"].argmax(1) == y).mean() < 0.6


def test_a_row_whose_class_has_no_other_is_left_out_of_the_second_layer(monkeypatch):
    inputs, y = toy_outputs("multiclass", n=90)
    y = np.where(y == 2, 1, y)
    y[7] = 2
    rows, plain = [], LinearPool.fit

    def watched(self, given, codes, *rest):
        rows.append(codes)
        return plain(self, given, codes, *rest)

    monkeypatch.setattr(LinearPool, "fit", watched)
    tree = LayeredStackingParams(learners=("decision_tree",), learner_params={"decision_tree": {"max_depth": 2}})
    LayeredStacking(tree).fit(inputs, y, "multiclass")
    assert len(rows[0]) == 89
    assert 2 not in rows[0]


def test_layers_find_what_their_learners_find():
    (inputs, y), (fresh, truth) = interacting(200, 0), interacting(200, 1)
    params = LayeredStackingParams(learners="logistic+knn", learner_params={"knn": {"metric": "euclidean"}}, folds=3)
    fusion = LayeredStacking(params).fit(inputs, y, "binary")
    assert log_loss(fusion.combine(fresh), truth) < 0.3
    assert sum(fusion.weights.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"learner": "lightgmb"}, "Did you mean 'lightgbm'"),
        ({"learner": "knn", "learner_params": {"k": 3}}, "Extra inputs are not permitted"),
        ({"learner_params": {"C": 3}}, "learner must be named"),
    ],
)
def test_what_is_no_learner_is_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        MetaStackingParams(**params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"learners": ["knn", "knn"]}, "each once"),
        ({"learners": "knn+svmm"}, "Did you mean 'svm'"),
        ({"learners": "knn", "learner_params": {"svm": {}}}, "must be of learners"),
        ({"learner_params": {"svm": {}}}, "learners must be named"),
        ({"combiner": "linear_pol"}, "Did you mean 'linear_pool'"),
    ],
)
def test_what_is_no_layer_is_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        LayeredStackingParams(**params)


@pytest.mark.parametrize("fusion", [MetaStacking, LayeredStacking])
def test_what_was_not_fitted_neither_combines_nor_is_saved(fusion):
    with pytest.raises(NotFittedError, match="before combine"):
        fusion(fusion.Params()).combine({"a": np.zeros((2, 2))})
    with pytest.raises(NotFittedError, match="before it is saved"):
        fusion(fusion.Params()).get_state()
    with pytest.raises(ArtifactError, match="must hold all its parts"):
        fusion.from_state(fusion.Params(), State())

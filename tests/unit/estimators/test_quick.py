"""Compiled trees say what their library says, and are asked only where that was found to be quicker."""

import numpy as np
import pytest

from hybrid_ray.estimators.models import quick as quick_module
from hybrid_ray.estimators.models.quick import quicken
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS

load_plugins()
FAMILIES = ("random_forest", "extra_trees", "xgboost", "lightgbm", "hist_gradient_boosting")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 9)).astype(np.float32)
TARGETS = {
    "binary": (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int),
    "multiclass": (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3),
    "regression": X[:, 0] * 30 + X[:, 1] ** 2,
}


def fitted(family, task):
    own = ESTIMATORS.get(family)
    params = own.Params.model_validate({"n_estimators": 40})
    model = own.build(params, task, 0)
    model.fit(X, TARGETS[task])
    return own, own.load(own.dump(model))


def answers(model, task, rows):
    return model.predict(rows) if task == "regression" else model.predict_proba(rows)


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_compiled_trees_say_the_same(family, task):
    own, model = fitted(family, task)
    before = answers(model, task, X)
    model.quick = model.compiled()
    model.quick.most_rows = len(X)
    after = answers(model, task, X)
    scale = max(1.0, float(np.abs(before).max()))
    assert np.abs(after - before).max() <= 1e-6 * scale
    assert not np.array_equal(after, np.zeros_like(after))
    assert answers(own.load(own.dump(model)), task, X) == pytest.approx(
        before, abs=0
    )  # what is saved knows nothing of it


@pytest.mark.parametrize("task", TARGETS)
def test_they_are_asked_for_as_many_rows_as_they_are_quicker_for(task, monkeypatch):
    _, model = fitted("random_forest", task)
    monkeypatch.setattr(quick_module, "_seconds", lambda call, rows: len(rows) if call is model.quick_made else 5.0)
    compiled = model.compiled

    def remembered():
        model.quick_made = compiled()
        return model.quick_made

    monkeypatch.setattr(model, "compiled", remembered)
    assert quicken(model, X[:8]) == 4
    asked = []
    monkeypatch.setattr(type(model.quick), "__call__", lambda self, rows: asked.append(len(rows)) or self.slow(rows))
    model.quick.slow = model.slow_outputs
    for rows in (1, 4, 5, 100):
        answers(model, task, X[:rows])
    assert asked == [1, 4]


def test_trees_that_say_something_else_are_not_asked(monkeypatch):
    _, model = fitted("random_forest", "binary")
    monkeypatch.setattr(model, "slow_outputs", lambda rows: np.zeros((len(rows), 2)))
    assert quicken(model, X[:8]) == 0
    assert model.quick is None


def test_models_without_trees_stay_as_they_are():
    own = ESTIMATORS.get("logistic")
    model = own.build(own.Params(), "binary", 0)
    model.fit(X, TARGETS["binary"])
    assert quicken(model, X[:8]) == 0
    assert quicken(fitted("random_forest", "binary")[1], X[:0]) == 0

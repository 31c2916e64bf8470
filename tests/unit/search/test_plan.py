import json

import pytest

from hybrid_ray.errors import BadInputError, SpecError
from hybrid_ray.search.plan import SearchPlan
from hybrid_ray.spec import Spec


def spec_of(search, task="multiclass", **more):
    return Spec.model_validate(
        {
            "name": "m",
            "task": task,
            "seed": 7,
            "data": {"path": "bundled://digits", "label": "label"},
            "search": search,
            **more,
        }
    )


MODALITIES = {"pixels": "image", "words": "text"}


def test_a_plan_holds_what_decides_the_trials_of_a_spec():
    search = {
        "estimators": ["knn", {"name": "knn", "params": {"n_neighbors": 3}}, {"name": "logistic", "search": False}]
    }
    plan = SearchPlan.of(spec_of(search | {"trials": 5, "batch": 2}), MODALITIES, "multiclass", 10)
    assert [choice.key for choice in plan.estimators] == ["knn", "knn2", "logistic"]
    assert [dict(choice.fixed) for choice in plan.estimators] == [{}, {"n_neighbors": 3}, {}]
    assert [choice.search for choice in plan.estimators] == [True, True, False]
    assert [choice.name for choice in plan.fusions] == ["concat"]
    assert (plan.blocks, plan.seed, plan.trials, plan.batch) == (("pixels", "words"), 7, 5, 2)
    assert plan.metric == "log_loss"
    assert not plan.keep_chains


def test_a_bagged_graph_keeps_the_fitted_chains():
    plan = SearchPlan.of(spec_of({"estimators": ["knn"]}, graph={"members": "bag"}), MODALITIES, "multiclass", 10)
    assert plan.keep_chains


def test_a_plan_survives_json():
    plan = SearchPlan.of(spec_of({"estimators": ["knn", "logistic"]}), MODALITIES, "multiclass", 10)
    assert SearchPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_estimators_of_another_task_are_refused_with_their_places():
    with pytest.raises(SpecError) as caught:
        SearchPlan.of(spec_of({"estimators": ["ridge", "knn", "ridge"]}), {}, "multiclass", 10)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "search.estimators[0].name",
        "search.estimators[2].name",
        "extractors",
    ]


def test_combiners_are_choices_like_estimators():
    combiners = ["voting", {"name": "linear_pool", "params": {"solver": "cmaes"}}, {"name": "voting", "search": False}]
    search = {"estimators": ["knn"], "ensemble": {"combiners": combiners}}
    plan = SearchPlan.of(spec_of(search), MODALITIES, "multiclass", 10)
    assert [(c.key, dict(c.fixed), c.search) for c in plan.combiners] == [
        ("voting", {}, True), ("linear_pool", {"solver": "cmaes"}, True), ("voting2", {}, False),
    ]  # fmt: skip
    left_out = SearchPlan.of(spec_of({"estimators": ["knn"]}), MODALITIES, "multiclass", 10)
    assert [choice.name for choice in left_out.combiners] == ["linear_pool", "stacking"]


def test_combiners_of_another_task_are_refused_with_their_places():
    search = {"estimators": ["ridge"], "ensemble": {"combiners": ["stacking", "log_pool"]}}
    with pytest.raises(SpecError, match=r"search\.ensemble\.combiners\[1\]\.name: must serve the task regression"):
        SearchPlan.of(spec_of(search, "regression"), MODALITIES, "regression", 1)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("meta_stacking", {"learner": "logistic"}),
        ("layered_stacking", {"learners": ["knn", "logistic"]}),
        ("layered_stacking", {"combiner": "meta_stacking", "combiner_params": {"learner": "naive_bayes"}}),
    ],
)
def test_learners_of_another_task_inside_a_combiner_are_refused_before_the_search(name, params):
    combiners = [{"name": "stacking"}, {"name": name, "params": params}]
    search = {"estimators": ["ridge"], "ensemble": {"combiners": combiners}}
    with pytest.raises(SpecError, match=r"search\.ensemble\.combiners\[1\]\.name: must serve the task regression"):
        SearchPlan.of(spec_of(search, "regression"), MODALITIES, "regression", 1)
    SearchPlan.of(spec_of(search | {"estimators": ["knn"]}, "binary"), MODALITIES, "binary", 2)


def test_what_is_not_resolved_is_refused():
    with pytest.raises(SpecError, match=r"search\.estimators: must be resolved.*extractors: must be resolved"):
        SearchPlan.of(spec_of({}), {}, "multiclass", 10)


def test_a_metric_of_another_task_is_refused():
    with pytest.raises(BadInputError, match="got 'rmse', which serves regression"):
        SearchPlan.of(spec_of({"estimators": ["knn"], "metric": "rmse"}, task="auto"), MODALITIES, "multiclass", 10)

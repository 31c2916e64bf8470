import json

import pytest

from hybrid_ray.errors import BadInputError, SpecError
from hybrid_ray.search.plan import CHAIN_S, MOST_TRIALS, STEP_COPIES, TRIALS, Choice, SearchPlan, copies_of
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
    assert plan.keep_chains is None


def test_a_bagged_graph_keeps_the_fitted_chains():
    plan = SearchPlan.of(spec_of({"estimators": ["knn"]}, graph={"members": "bag"}), MODALITIES, "multiclass", 10)
    assert plan.keep_chains == CHAIN_S


@pytest.mark.parametrize(
    ("search", "run_s", "trials"),
    [
        ({}, None, TRIALS),
        ({"time_limit_s": 9}, None, MOST_TRIALS),
        ({}, 60, MOST_TRIALS),
        ({"trials": 5, "time_limit_s": 9}, 60, 5),
    ],
)
def test_a_search_that_is_told_a_time_only_has_as_many_trials_as_fit(search, run_s, trials):
    spec = spec_of({"estimators": ["knn"], **search}, time_limit_s=run_s)
    assert SearchPlan.of(spec, MODALITIES, "multiclass", 10).trials == trials


def test_a_plan_knows_the_twins_that_are_there_and_survives_json():
    model = {"model": "package:encoder"}
    extractors = [
        {"name": "transformers", "id": "frozen", "params": model, "columns": ["title"]},
        {"name": "tuned_transformers", "id": "tuned", "params": model, "columns": ["title"]},
        {"name": "tuned_transformers", "id": "other", "params": model, "columns": ["body"]},
    ]
    spec = spec_of({"estimators": ["knn"]}, extractors=extractors)
    plan = SearchPlan.of(spec, dict.fromkeys(("frozen", "tuned", "other"), "text"), "multiclass", 10)
    assert plan.twins == (("frozen", "tuned"),)
    assert SearchPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert SearchPlan.of(spec, {"frozen": "text", "other": "text"}, "multiclass", 10).twins == (), "it was given up"


def test_a_plan_survives_json():
    search = {"estimators": ["knn", "logistic"], "cut": [3, 5], "objectives": ["metric", "size"], "prefer": "speed"}
    plan = SearchPlan.of(spec_of(search), MODALITIES, "multiclass", 10)
    assert SearchPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_estimators_of_another_task_are_refused_with_their_places():
    with pytest.raises(SpecError) as caught:
        SearchPlan.of(spec_of({"estimators": ["ridge", "knn", "ridge"]}), {}, "multiclass", 10)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "search.estimators[0].name",
        "search.estimators[2].name",
        "extractors",
    ]


def test_variants_of_an_extractor_are_a_group_that_it_leads_where_they_are_there():
    entries = [
        {"name": "pixels", "id": "small", "variant_of": "pixels", "params": {"size": 4}},
        {"name": "pixels", "id": "pixels"},
        {"name": "pixels", "id": "large", "variant_of": "pixels", "params": {"size": 16}},
        {"name": "pixels", "id": "other"},
    ]
    spec = spec_of({"estimators": ["knn"]}, extractors=entries)
    every = dict.fromkeys(("large", "other", "pixels", "small"), "image")
    plan = SearchPlan.of(spec, every, "multiclass", 10)
    assert plan.variants == (("pixels", "small", "large"),)
    assert (plan.slots, plan.whole) == ((("other",), ("pixels", "small", "large")), ("other", "pixels"))
    less = SearchPlan.of(spec, {"large": "image", "other": "image", "small": "image"}, "multiclass", 10)
    assert less.variants == (("small", "large"),)
    assert SearchPlan.of(spec, {"small": "image"}, "multiclass", 10).whole == ("small",)


def test_combiners_are_choices_like_estimators():
    combiners = ["voting", {"name": "linear_pool", "params": {"solver": "cmaes"}}, {"name": "voting", "search": False}]
    search = {"estimators": ["knn"], "ensemble": {"combiners": combiners}}
    plan = SearchPlan.of(spec_of(search), MODALITIES, "multiclass", 10)
    assert [(c.key, dict(c.fixed), c.search) for c in plan.combiners] == [
        ("voting", {}, True), ("linear_pool", {"solver": "cmaes"}, True), ("voting2", {}, False),
    ]  # fmt: skip
    left_out = SearchPlan.of(spec_of({"estimators": ["knn"]}), MODALITIES, "multiclass", 10)
    assert [choice.name for choice in left_out.combiners] == ["linear_pool", "stacking", "log_pool", "bayesian_fusion"]
    numbers = SearchPlan.of(spec_of({"estimators": ["knn"]}, "regression"), MODALITIES, "regression", 1)
    assert [choice.name for choice in numbers.combiners] == ["linear_pool", "stacking", "bayesian_fusion"]


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
    with pytest.raises(BadInputError, match="got 'rmse', which serves forecasting and regression"):
        SearchPlan.of(spec_of({"estimators": ["knn"], "metric": "rmse"}, task="auto"), MODALITIES, "multiclass", 10)


def test_preparations_are_kept_in_order_and_survive_json():
    search = {
        "estimators": ["knn"],
        "preparations": ["smote", {"name": "clip", "params": {"tail": 0.1}, "always": True}],
    }
    plan = SearchPlan.of(spec_of(search), MODALITIES, "multiclass", 10)
    assert [(c.key, dict(c.fixed), c.always) for c in plan.preparations] == [
        ("smote", {}, False),
        ("clip", {"tail": 0.1}, True),
    ]
    assert SearchPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert SearchPlan.of(spec_of({"estimators": ["knn"]}), MODALITIES, "multiclass", 10).preparations == ()


def test_preparations_of_another_task_or_of_unknown_blocks_are_refused_with_their_places():
    search = {
        "estimators": ["knn"],
        "preparations": ["clip", "smote", {"name": "clip", "params": {"blocks": ["table"]}}],
    }
    with pytest.raises(SpecError) as raised:
        SearchPlan.of(spec_of(search, task="regression"), MODALITIES, "regression", 1)
    assert raised.value.faults == (
        "search.preparations[1].name: must serve the task regression; got 'smote', which serves "
        "['binary', 'multiclass']",
        "search.preparations[2].params.blocks: must be ids of extractors, ['pixels', 'words']; got 'table'",
    )


def test_memory_is_planned_for_the_rows_that_steps_add():
    grown = (Choice("clip", "clip"), Choice("smote", "smote", {"growth": 2.0}))
    assert copies_of((), 3.0) == 3.0
    assert copies_of(grown, 3.0) == (3.0 + STEP_COPIES) * 2.0

import json
from dataclasses import replace

import optuna
import pytest

from hybrid_ray.estimators.prefixed import PrefixedTrial
from hybrid_ray.registry import ESTIMATORS, FUSIONS, PREPARATIONS
from hybrid_ray.search.plan import Choice, SearchPlan
from hybrid_ray.search.space import cover, family_chooser, n_comparisons, portfolio, propose

DIMS = {"image": 40, "text": 20, "table": 6}
THREE = {"image": "image", "text": "text", "table": "tabular"}


@pytest.fixture
def plan(make_plan):
    names = ("logistic", "naive_bayes", "knn", "hist_gradient_boosting", "svm")
    estimators = tuple(Choice(name, name) for name in names)
    return make_plan(blocks=tuple(sorted(THREE)), modalities=THREE, estimators=estimators, trials=64)


class Asked:
    """A trial that answers from given values and knows what was asked."""

    def __init__(self, values):
        self.values, self.names = values, []

    def _answer(self, name):
        self.names.append(name)
        return self.values[name]

    def suggest_float(self, name, low, high, *, log=False):
        assert low <= self.values[name] <= high
        return self._answer(name)

    def suggest_int(self, name, low, high, *, log=False):
        assert low <= self.values[name] <= high
        return self._answer(name)

    def suggest_categorical(self, name, choices):
        assert self.values[name] in choices
        return self._answer(name)


def test_each_point_of_the_portfolio_is_complete_and_says_nothing_that_is_not_asked(plan):
    for point in portfolio(plan, DIMS):
        trial = Asked(point)
        propose(trial, plan, DIMS)
        assert sorted(trial.names) == sorted(point)


def test_the_portfolio_begins_with_all_blocks_and_each_alone_by_a_quick_family(plan):
    candidates = [propose(Asked(point), plan, DIMS) for point in portfolio(plan, DIMS)]
    first = candidates[: len(cover(plan))]
    assert [c.blocks for c in first] == cover(plan)
    assert [c.blocks for c in first[:4]] == [("image", "table", "text"), ("image",), ("table",), ("text",)]
    assert {c.estimator for c in first} == {"logistic"}


def test_under_a_time_limit_every_family_comes_first(make_plan):
    hurried = make_plan(begin_with="families")
    points = portfolio(hurried, DIMS)
    candidates = [propose(Asked(point), hurried, DIMS) for point in points]
    families = candidates[: len(hurried.estimators)]
    assert families[0].estimator == "logistic"
    assert {c.estimator for c in families} == {c.name for c in hurried.estimators}
    assert {c.blocks for c in families} == {hurried.blocks}
    assert [c.blocks for c in candidates[len(families) :]][: len(cover(hurried)) - 1] == cover(hurried)[1:]
    others = portfolio(make_plan(), DIMS)
    assert sorted(map(str, points)) == sorted(map(str, others))


def test_with_three_modalities_each_is_also_left_out(plan):
    assert {("table", "text"), ("image", "text"), ("image", "table")} <= set(cover(plan))


def test_a_modality_of_two_extractors_is_tried_alone_as_a_whole(make_plan):
    two = make_plan(blocks=("a", "b", "c"), modalities={"a": "image", "b": "image", "c": "text"})
    assert cover(two) == [("a", "b", "c"), ("a",), ("b",), ("c",), ("a", "b")]


def test_everything_is_tried_without_a_frozen_extractor_and_without_its_twin(make_plan):
    modalities = {"frozen": "text", "tuned": "text", "words": "text", "table": "tabular"}
    pairs = (("frozen", "tuned"),)
    found = cover(make_plan(blocks=tuple(sorted(modalities)), modalities=modalities, twins=pairs))
    assert {("frozen", "table", "words"), ("table", "tuned", "words")} <= set(found)
    alone = make_plan(blocks=("frozen", "tuned"), modalities={"frozen": "text", "tuned": "text"}, twins=pairs)
    assert cover(alone) == [("frozen", "tuned"), ("frozen",), ("tuned",)]


@pytest.fixture
def varied(make_plan):
    modalities = {"ranks": "tabular", "table": "tabular", "text": "text"}
    return make_plan(blocks=tuple(sorted(modalities)), modalities=modalities, variants=(("table", "ranks"),))


def test_a_candidate_reads_one_of_some_variants_at_most(varied):
    dims = {"ranks": 6, "table": 6, "text": 20}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = {propose(study.ask(), varied, dims).blocks for _ in range(100)}
    assert found == {("table",), ("ranks",), ("text",), ("table", "text"), ("ranks", "text")}
    assert SearchPlan.from_json(json.loads(json.dumps(varied.to_json()))) == varied


def test_the_portfolio_reads_the_first_variant_and_tries_each_other_with_all_else(varied):
    dims = {"ranks": 6, "table": 6, "text": 20}
    points = portfolio(varied, dims)
    found = [propose(Asked(point), varied, dims).blocks for point in points]
    assert cover(varied) == [("table", "text"), ("ranks",), ("table",), ("text",), ("ranks", "text")]
    assert set(found) == set(cover(varied))
    assert sum(blocks == ("table", "text") for blocks in found) >= len(found) / 2
    for point in points:
        asked = Asked(point)
        propose(asked, varied, dims)
        assert sorted(asked.names) == sorted(point)


def test_comparisons_are_the_subsets_and_then_every_family(plan):
    first = [propose(Asked(point), plan, DIMS) for point in portfolio(plan, DIMS)[: n_comparisons(plan)]]
    assert {c.blocks for c in first} == set(cover(plan))
    assert {c.estimator for c in first if c.blocks == plan.blocks} == {c.name for c in plan.estimators}
    assert len(first) == len(cover(plan)) + 4


def test_every_family_starts_on_all_blocks_and_no_candidate_comes_twice(plan):
    candidates = [propose(Asked(point), plan, DIMS) for point in portfolio(plan, DIMS)]
    assert len({c.key for c in candidates}) == len(candidates)
    assert {c.estimator for c in candidates if c.blocks == plan.blocks} == {c.name for c in plan.estimators}


def test_second_starts_are_in_the_portfolio_or_given_by_who_chooses_families(make_plan):
    plan = make_plan(estimators=(Choice("mlp", "mlp"), Choice("knn", "knn", {"weights": "uniform"})))
    wait = replace(plan, sampler="random")
    family, start = family_chooser(plan, 1000, 5).draw()
    second = [dict(ESTIMATORS.get(name).portfolio(plan.task)[1]) for name in ("mlp", "knn")]
    points = [point for point in portfolio(wait, DIMS) if point not in portfolio(plan, DIMS)]
    assert family_chooser(wait, 1000, 5) is None
    assert family_chooser(replace(plan, estimators=plan.estimators[:1]), 1000, 5) is None
    assert [propose(Asked(point), plan, DIMS).estimator for point in points] == ["mlp", "knn"]
    mlp = next(point for point in points if point["estimator"] == "mlp")
    assert {f"estimator.mlp.{name}": value for name, value in second[0].items()}.items() <= mlp.items()
    mine = {name: value for name, value in second[("mlp", "knn").index(family)].items() if name != "weights"}
    assert start == {"estimator": family} | {f"estimator.{family}.{name}": value for name, value in mine.items()}


def test_a_longer_search_begins_with_the_shorter_one(make_plan):
    assert portfolio(make_plan(trials=1000), DIMS) == portfolio(make_plan(trials=2), DIMS)


def test_an_enqueued_portfolio_comes_out_of_optuna_as_it_went_in(plan):
    points = portfolio(plan, DIMS)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    for point in points:
        study.enqueue_trial(point)
    out = [propose(study.ask(), plan, DIMS) for _ in points]
    assert [c.key for c in out] == [propose(Asked(point), plan, DIMS).key for point in points]


def test_sampling_reaches_every_subset_and_never_an_empty_one(plan):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = {propose(study.ask(), plan, DIMS).blocks for _ in range(200)}
    assert len(found) == 7
    assert () not in found


def test_sampled_parameters_are_valid_and_names_can_be_told_apart_by_tune(plan):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(60):
        trial = study.ask()
        candidate = propose(trial, plan, DIMS)
        ESTIMATORS.get(candidate.estimator).Params.model_validate(candidate.params)
        FUSIONS.get(candidate.fusion).Params.model_validate(candidate.fusion_params)
        assert not any("/" in name for name in trial.params)


def test_fixed_parameters_are_never_asked_for(make_plan):
    alone = {"blocks": ("image",), "modalities": {"image": "image"}}
    fixed = make_plan(estimators=(Choice("knn", "knn", {"n_neighbors": 4}),), **alone)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(10):
        trial = study.ask()
        assert propose(trial, fixed, DIMS).params["n_neighbors"] == 4
        assert "estimator.knn.n_neighbors" not in trial.params
    assert not any("n_neighbors" in name for point in portfolio(fixed, DIMS) for name in point)


def test_an_entry_that_is_not_searched_has_one_candidate_for_each_subset(make_plan):
    still = make_plan(
        estimators=(Choice("knn", "knn", {"n_neighbors": 4}, search=False),),
        fusions=(Choice("concat", "concat", search=False),),
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert len({propose(study.ask(), still, DIMS).key for _ in range(40)}) == 3


def test_the_same_plugin_twice_keeps_its_parameters_apart(make_plan):
    twice = make_plan(estimators=(Choice("knn", "knn", {"n_neighbors": 1}), Choice("knn2", "knn", {"n_neighbors": 9})))
    candidates = [propose(Asked(point), twice, DIMS) for point in portfolio(twice, DIMS)]
    assert {c.params["n_neighbors"] for c in candidates if c.blocks == twice.blocks} == {1, 9}


def test_a_plugin_sees_its_own_names_only():
    trial = Asked({"estimator.x.depth": 3, "estimator.x.rate": 0.5})
    prefixed = PrefixedTrial(trial, "estimator.x.", {"kind": "tree"})
    assert prefixed.suggest_int("depth", 1, 5) == 3
    assert prefixed.suggest_float("rate", 0, 1) == 0.5
    assert prefixed.suggest_categorical("kind", ["tree", "line"]) == "tree"
    assert trial.names == ["estimator.x.depth", "estimator.x.rate"]


PREPARED = (Choice("clip", "clip"), Choice("smote", "smote", {"neighbours": 3}))


def test_without_preparations_nothing_is_asked_and_no_candidate_has_steps(plan):
    for point in portfolio(plan, DIMS):
        assert propose(Asked(point), plan, DIMS).steps == ()
        assert not any(name.startswith("prepare") for name in point)


def test_starts_take_no_preparation_but_for_one_each(plan):
    prepared = replace(plan, preparations=PREPARED)
    points = portfolio(prepared, DIMS)
    candidates = [propose(Asked(point), prepared, DIMS) for point in points]
    assert all(sorted(point) == sorted(set(point)) for point in points)
    plain = [c.key for c in candidates if not c.steps]
    assert plain == [propose(Asked(point), plan, DIMS).key for point in portfolio(plan, DIMS)]
    taken = [c for c in candidates if c.steps]
    assert [[step["name"] for step in c.steps] for c in taken] == [["clip"], ["smote"]] * 2
    assert candidates[-2:] == taken[2:], "other starts of a preparation come last"
    assert all(c.blocks == plan.blocks and c.estimator == "logistic" for c in taken)
    assert [c.steps[0]["params"] for c in taken[1::2]] == [
        {"ratio": 1.0, "correct": correct, "neighbours": 3} for correct in (True, False)
    ]
    assert n_comparisons(prepared) == n_comparisons(plan)
    assert not any(c.steps for c in candidates[: n_comparisons(prepared)])


def test_preparations_are_sampled_in_their_order_with_their_parameters(plan):
    prepared = replace(plan, preparations=PREPARED)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = set()
    for _ in range(60):
        trial = study.ask()
        candidate = propose(trial, prepared, DIMS)
        for step in candidate.steps:
            PREPARATIONS.get(step["name"]).Params.model_validate(step["params"])
        assert "prepare.smote.neighbours" not in trial.params
        found.add(tuple(step["name"] for step in candidate.steps))
    assert found == {(), ("clip",), ("smote",), ("clip", "smote")}


def test_a_preparation_for_all_is_not_asked_for(plan):
    always = replace(plan, preparations=(Choice("clip", "clip", {"tail": 0.02}, search=False, always=True),))
    for point in portfolio(always, DIMS):
        assert propose(Asked(point), always, DIMS).steps == ({"name": "clip", "params": {"tail": 0.02}},)
        assert not any(name.startswith("prepare") for name in point)


def test_blocks_of_several_modalities_are_compared_with_all_others(make_plan):
    read = {"image": "image", "row": "tabular+text", "table": "tabular", "text": "text"}
    subsets = cover(make_plan(blocks=tuple(sorted(read)), modalities=read))
    assert subsets[0] == ("image", "row", "table", "text")
    assert ("image", "table", "text") in subsets
    assert {("image", "text"), ("image", "table")} <= set(subsets)
    assert ("image", "row") not in subsets
    assert ("row", "table", "text") in subsets
    assert len(subsets) == len(set(subsets))


def test_a_subset_that_no_block_makes_is_not_tried(make_plan):
    assert cover(make_plan(blocks=("row",), modalities={"row": "tabular+text"})) == [("row",)]

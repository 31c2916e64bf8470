import json
import math
from dataclasses import replace

import numpy as np
import optuna
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import RunFailedError
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.search.costs import Cost, Prices
from hybrid_ray.search.ensemble import EnsembleBook, finish_ensemble
from hybrid_ray.search.ensembler import TIME_UP, Ensembler, EnsembleTrial
from hybrid_ray.search.fits import Evaluator
from hybrid_ray.search.oof import OofLibrary, build_library, member_names
from hybrid_ray.search.plan import Choice
from hybrid_ray.search.recipes import Recipe, ensemble_portfolio, propose_ensemble, quick_start
from hybrid_ray.search.tradeoff import Wish
from hybrid_ray.search.trials import CandidateBook

FAMILIES = ("logistic", "naive_bayes", "knn", "svm")


def make_library(skills, n=600, classes=3, parts=5, *, seed=0, forward=False, metric="log_loss", y=None):
    """Members that see the label through noise: the higher the skill, the clearer."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, classes, n) if y is None else y
    outputs = []
    for skill in skills:
        raw = skill * np.eye(classes)[truth] + draw.normal(size=(n, classes))
        outputs.append(np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True))
    candidates = {
        f"m{i}": Candidate((f"b{i % 2}",), "concat", FAMILIES[i % 4], params={"depth": i}) for i in range(len(skills))
    }
    bounds = np.linspace(0, n, parts + 1).astype(int)
    scorer = get_metric(metric, "multiclass")
    return OofLibrary.of("multiclass", scorer, candidates, np.array(outputs), truth, bounds, forward)


def search(library, plan, trials=24, seed=0):
    """The ensemble search in one process, as the searcher drives it."""
    ensembler = Ensembler(library, seed)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for point in ensemble_portfolio(plan, len(library.names)):
        study.enqueue_trial(point)
    book = EnsembleBook(library.metric.direction)
    for number in range(trials):
        trial = study.ask()
        recipe = propose_ensemble(trial, plan, len(library.names))
        item = book.begin(number, {"recipe": json.loads(json.dumps(recipe.to_json()))})
        if item is not None:
            done = ensembler.try_recipe(item["number"], Recipe(**item["recipe"]))
            book.finish(number, {name: getattr(done, name) for name in ("score", "seconds", "error", "scores")})
        study.tell(trial, book.told(number).value)
    return finish_ensemble([book.trials[i] for i in range(trials)], ensembler)


def test_a_library_holds_the_rows_of_the_folds_in_order(make_folded, make_plan, ledger):
    plan, rows = make_plan(), make_folded()
    evaluate = Evaluator(plan, rows, ledger)
    book = CandidateBook(plan, evaluate.setting, {})
    for number, family in enumerate(("knn", "logistic")):
        chosen = Candidate(("image", "text"), "concat", family)
        item = book.begin(number, {"candidate": chosen.to_json()})
        outcome = evaluate(chosen, tuple(item["thresholds"]))
        book.finish(number, {**outcome.__dict__})
    ranked = book.answer(0.0).ranked_trials()
    library = build_library(ranked, rows, plan.scorer, ledger)
    assert library.names == member_names([trial.candidate for trial in ranked])
    assert library.bounds == (0, 60, 120, 180)
    np.testing.assert_array_equal(library.y, rows.y)
    for member, trial in enumerate(ranked):
        np.testing.assert_array_equal(library.outputs[member, 60:120], ledger.oof(trial.keys[1]))
        np.testing.assert_allclose(library.scores[member], trial.scores, rtol=1e-12)
    assert build_library(ranked, rows, plan.scorer, ledger, limit=1).names == library.names[:1]


def test_a_library_over_time_leaves_out_the_rows_that_nobody_predicted(make_folded, make_plan, ledger):
    plan, rows = make_plan(), make_folded(folds=4, forward=True)
    evaluate = Evaluator(plan, rows, ledger)
    book = CandidateBook(plan, evaluate.setting, {})
    chosen = Candidate(("image",), "concat", "logistic")
    book.begin(0, {"candidate": chosen.to_json()})
    book.finish(0, {**evaluate(chosen, (None,) * 3).__dict__})
    library = build_library(book.answer(0.0).ranked_trials(), rows, plan.scorer, ledger)
    np.testing.assert_array_equal(library.y, rows.y[45:])
    assert library.bounds == (0, 45, 90, 135)
    assert list(library.scored) == [1, 2]
    assert library.learned_from(2) == [0, 1]


def test_a_single_fold_is_halved_so_that_weights_can_be_checked():
    library = make_library([1.0, 1.0], parts=1)
    assert library.bounds == (0, 300, 600)
    assert library.learned_from(0) == [1]


def test_members_with_one_label_get_longer_names(monkeypatch):
    twins = [Candidate(("a",), "concat", "knn", params={"k": k}) for k in (1, 2)]
    assert len(set(member_names(twins))) == 2
    monkeypatch.setattr(Candidate, "label", "same")
    assert len(set(member_names(twins))) == 2


def test_an_ensemble_is_scored_on_rows_that_neither_choice_nor_weights_saw():
    """Wrong labels in the part that is scored change the score, and nothing that was fitted."""
    library = make_library([1.0, 0.8, 0.5, 0.1])
    y = library.y.copy()
    y[: library.bounds[1]] = (y[: library.bounds[1]] + 1) % 3
    other = OofLibrary.of(
        library.task, library.metric, library.candidates, library.outputs, y, library.bounds, library.forward
    )
    for strategy in ("pool", "best", "families", "blocks"):
        recipe = Recipe(strategy, 3, "linear_pool")
        fitted = [Ensembler(lib, 0).fit(recipe, lib.learned_from(0)).weights for lib in (library, other)]
        assert fitted[0] == fitted[1]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_permuted_labels_give_chance(make_plan, metric):
    """Members that know nothing: whatever is chosen among them must not seem to know anything."""
    n = 1500
    y = np.random.default_rng(5).integers(0, 3, n)
    library = make_library([0.0] * 24, n=n, parts=4, metric=metric, y=y)
    found = search(library, make_plan(metric=metric), trials=18)
    if metric == "accuracy":
        assert abs(found.score - 1 / 3) < 4 * np.sqrt(2 / 9 / n)
    else:
        assert found.score > np.log(3) - 0.01


def test_members_that_know_different_things_are_put_together(make_plan):
    library = make_library([1.0] * 12, parts=4)
    found = search(library, make_plan(), trials=18)
    assert found.score < min(found.oof.values()) - 0.1
    assert 1 < len(found.members) <= 8
    assert found.trials == 18


def test_the_answer_is_never_below_the_best_candidate_alone(make_plan):
    for seed in range(3):
        library = make_library([3.0, 0.0, 0.0, 0.0], seed=seed)
        found = search(library, make_plan(), trials=6)
        alone = Ensembler(library, 0).score(Recipe("best", 1, "linear_pool"))
        assert found.score <= np.mean(alone) + 1e-12


def test_the_cap_on_members_holds(make_plan):
    library = make_library([1.0] * 12, parts=3)
    assert len(search(library, make_plan(max_members=3), trials=12).members) <= 3


def test_the_fitted_fusion_is_the_one_that_the_weights_describe(make_plan):
    library = make_library([1.0, 0.9, 0.8, 0.2])
    found = search(library, make_plan(combiners=(Choice("linear_pool", "linear_pool"),)))
    assert set(found.members) == set(found.weights)
    assert list(found.weights.values()) == sorted(found.weights.values(), reverse=True)
    mixed = found.fusion.combine(library.members(list(found.members)))
    assert mixed.shape == (600, 3)


def test_weights_come_with_bootstrap_intervals(make_plan):
    library = make_library([1.5, 0.9, 0.8, 0.2])
    found = search(library, make_plan(combiners=(Choice("linear_pool", "linear_pool"),)))
    assert set(found.intervals) == set(found.weights)
    assert all(0 <= low <= high <= 1 for low, high in found.intervals.values())
    inside = [low <= found.weights[name] <= high for name, (low, high) in found.intervals.items()]
    assert np.mean(inside) > 0.6
    recipe = Recipe("best", 3, "linear_pool", {"solver": "convex"})
    few, many = (
        Ensembler(make_library([1.5, 0.9, 0.8], n=n), 0).weight_intervals(recipe, ["m0", "m1", "m2"])[0]
        for n in (150, 6000)
    )
    assert few.keys() == many.keys() == {"m0", "m1", "m2"}
    assert many["m0"][1] - many["m0"][0] < 0.5 * (few["m0"][1] - few["m0"][0])
    again = Ensembler(make_library([1.5, 0.9, 0.8], n=150), 0).weight_intervals(recipe, ["m0", "m1", "m2"])[0]
    assert again == few


def test_weights_of_rows_that_go_together_are_less_certain():
    library, recipe = make_library([1.5, 0.9, 0.8], n=150), Recipe("best", 3, "linear_pool", {"solver": "convex"})
    times = {
        "outputs": np.repeat(library.outputs, 6, axis=1),
        "y": np.repeat(library.y, 6),
        "bounds": tuple(6 * bound for bound in library.bounds),
    }
    found = {}
    for name, groups in (("tied", np.repeat(np.arange(150), 6)), ("alone", None)):
        copied = replace(library, **times, groups=groups)
        low, high = Ensembler(copied, 0).weight_intervals(recipe, ["m0", "m1", "m2"])[0]["m0"]
        found[name] = high - low
    assert found["tied"] > 1.5 * found["alone"]


def test_a_sample_that_cannot_be_fitted_leaves_no_intervals():
    ensembler = Ensembler(make_library([1.0, 0.5]), 0)
    assert ensembler.weight_intervals(Recipe("best", 2, "linear_pool", {"no_such": 1}), ["m0", "m1"]) == ({}, None)


def test_strategies_rank_as_they_say():
    library = make_library([2.0, 1.9, 1.8, 1.7, 1.6, 1.5])
    ensembler = Ensembler(library, 0)
    parts = list(library.parts)
    by_score = [library.names[i] for i in np.argsort(library.scores.mean(axis=1))]
    assert ensembler.choose(Recipe("best", 4, "linear_pool"), parts) == by_score[:4]
    families = ensembler.choose(Recipe("families", 4, "linear_pool"), parts)
    assert len({library.candidates[name].estimator for name in families}) == 4
    blocks = ensembler.choose(Recipe("blocks", 2, "linear_pool"), parts)
    assert len({library.candidates[name].blocks for name in blocks}) == 2
    pool = ensembler.choose(Recipe("pool", 3, "linear_pool"), parts)
    assert len(pool) <= 3
    assert len(set(pool)) == len(pool)


@pytest.mark.parametrize("n_candidates", [1, 2, 12])
def test_points_of_the_portfolio_are_complete(make_plan, n_candidates):
    plan = make_plan()
    points = ensemble_portfolio(plan, n_candidates)
    for point in points:
        recipe = propose_ensemble(optuna.trial.FixedTrial(point), plan, n_candidates)
        assert 1 <= recipe.n_members <= min(8, n_candidates)
    recipes = [propose_ensemble(optuna.trial.FixedTrial(point), plan, n_candidates) for point in points]
    assert recipes[0].n_members == min(8, n_candidates)
    assert any(recipe.n_members == 1 for recipe in recipes[: plan.batch])


def test_what_the_user_fixed_of_a_combiner_is_not_searched(make_plan):
    sampled = Choice("linear_pool", "linear_pool", {"solver": "cmaes", "evaluations": 30})
    plan = make_plan(combiners=(sampled, Choice("voting", "voting", search=False)))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for point in ensemble_portfolio(plan, 5):
        study.enqueue_trial(point)
    recipes = [propose_ensemble(study.ask(), plan, 5) for _ in range(30)]
    assert {recipe.combiner for recipe in recipes} == {"linear_pool", "voting"}
    for recipe in recipes:
        if recipe.combiner == "linear_pool":
            assert recipe.params.items() >= {"solver": "cmaes", "evaluations": 30}.items()
        else:
            assert recipe.params == {}


COMBINERS = ("bayesian_averaging", "bayesian_fusion", "calibrated", "linear_pool", "log_pool", "stacking", "voting")
TRAINED = {
    "layered_stacking": {"learner_params": {"knn": {"metric": "euclidean"}}, "learners": ["knn"], "folds": 2},
    "meta_stacking": {"view": "probabilities"},
}


@pytest.mark.parametrize("name", COMBINERS)
def test_every_combiner_puts_members_together_that_know_different_things(make_plan, name):
    library = make_library([1.0, 1.0, 1.0])
    found = search(library, make_plan(combiners=(Choice(name, name),)))
    assert found.recipe.combiner == name
    assert found.score < min(found.oof.values())


@pytest.mark.parametrize("name", TRAINED)
def test_combiners_that_train_learners_are_searched(make_plan, name):
    library = make_library([1.0, 1.0, 1.0], n=300, parts=2)
    found = search(library, make_plan(combiners=(Choice(name, name, TRAINED[name]),)), trials=2)
    assert found.recipe.combiner == name
    assert {field: found.recipe.params[field] for field in TRAINED[name]} == TRAINED[name]
    assert found.score < min(found.oof.values())
    assert set(found.intervals) == set(found.weights)


def test_parameters_of_a_learner_inside_a_combiner_are_searched(make_plan):
    plan = make_plan(combiners=(Choice("meta_stacking", "meta_stacking"),))
    second = ensemble_portfolio(plan, 3)[1]
    recipe = propose_ensemble(optuna.trial.FixedTrial(second), plan, 3)
    assert (recipe.params["learner"], set(recipe.params["learner_params"])) == ("logistic", {"C", "class_weight"})
    assert json.loads(json.dumps(recipe.to_json())) == recipe.to_json()


def test_a_combiner_that_fails_is_a_failed_trial():
    library = make_library([1.0, 0.5])
    trial = Ensembler(library, 0).try_recipe(3, Recipe("best", 2, "linear_pool", {"no_such": 1}))
    assert trial.score == 1e30
    assert "no_such" in trial.error


def test_a_search_in_which_everything_fails_says_why():
    failed = EnsembleTrial(0, Recipe("best", 1, "linear_pool"), 1e30, 0.0, "ValueError: no")
    with pytest.raises(RunFailedError, match="all 1 failed: ValueError: no"):
        finish_ensemble([failed], Ensembler(make_library([1.0]), 0))


def test_a_recipe_that_comes_again_is_not_tried_again():
    book = EnsembleBook("minimize")
    recipe = Recipe("best", 2, "linear_pool", {"a": 1}).to_json()
    assert book.begin(0, {"recipe": recipe}) is not None
    assert book.begin(1, {"recipe": recipe}) is None
    assert not book.ready(1)
    book.finish(0, {"score": 0.4, "seconds": 1.0, "error": ""})
    assert book.told(1) == book.told(0)
    assert (book.trials[1].score, book.trials[1].seconds) == (0.4, 0.0)


class Clock:
    """A clock that moves with every fit of a combiner."""

    def __init__(self, monkeypatch, fit_s):
        self.now = 1000.0
        fitted = Ensembler._fitted

        def slow(*args):
            self.now += fit_s
            return fitted(*args)

        monkeypatch.setattr(Ensembler, "_fitted", slow)
        for module in ("ensembler", "ensemble", "clock"):
            monkeypatch.setattr(f"hybrid_ray.search.{module}.time", self)

    def time(self):
        return self.now

    perf_counter = time


@pytest.mark.parametrize(("left_s", "samples", "shown"), [(1e6, None, True), (23.0, 11, True), (9.0, 4, False)])
def test_the_bootstrap_ends_when_its_time_is_up(monkeypatch, left_s, samples, shown):
    ensembler = Ensembler(make_library([1.5, 0.9, 0.8], n=150), 0)
    clock = Clock(monkeypatch, fit_s=2.0)
    recipe = Recipe("best", 3, "linear_pool")
    intervals, cut = ensembler.weight_intervals(recipe, ["m0", "m1", "m2"], clock.now + left_s, fit_s=2.0)
    assert (cut, bool(intervals)) == (samples, shown)
    assert clock.now - 1000.0 <= min(left_s, 2.0 * 50)


def test_an_answer_that_is_due_is_fitted_once_and_told_apart_by_its_samples(monkeypatch):
    ensembler = Ensembler(make_library([1.5, 0.9, 0.8], n=150), 0)
    clock = Clock(monkeypatch, fit_s=2.0)
    tried = [ensembler.try_recipe(0, Recipe("best", 3, "linear_pool"))]
    assert (tried[0].seconds, tried[0].fit_s) == (10.0, pytest.approx(2.5))
    before = clock.now
    found = finish_ensemble(tried, ensembler, until=before)
    assert (clock.now - before, found.samples, found.intervals) == (2.0, 0, {})
    assert found.weights
    unhurried = finish_ensemble(tried, ensembler)
    assert (unhurried.samples, unhurried.weights) == (None, found.weights)
    assert set(unhurried.intervals) == set(unhurried.members)


def test_a_quick_bootstrap_has_a_second_in_any_case(monkeypatch):
    ensembler = Ensembler(make_library([1.5, 0.9, 0.8], n=150), 0)
    clock = Clock(monkeypatch, fit_s=0.0625)
    found = finish_ensemble([ensembler.try_recipe(0, Recipe("best", 3, "linear_pool"))], ensembler, until=clock.now)
    assert found.samples == 15
    assert set(found.intervals) == set(found.members)


def test_where_there_was_time_for_no_ensemble_the_best_candidate_alone_is_the_answer():
    ensembler = Ensembler(make_library([0.9, 1.5, 0.8]), 0)
    tried = [ensembler.try_until(0, Recipe("best", 3, "layered_stacking"), 1.0)]
    assert (tried[0].score, tried[0].error) == (1e30, TIME_UP)
    found = finish_ensemble(tried, ensembler, until=1.0)
    assert (found.weights, found.trials) == ({"m1": 1.0}, 2)
    assert found.score < 1.0


def test_a_trial_leaves_the_time_to_fit_its_recipe_on_all_rows(monkeypatch):
    given = []
    monkeypatch.setattr("hybrid_ray.search.ensembler.call_until", lambda call, until: given.append(until) or call())
    ensembler = Ensembler(make_library([1.0, 0.5], n=100), 0)
    clock = Clock(monkeypatch, fit_s=1.0)
    ensembler.try_until(0, Recipe("best", 2, "linear_pool"), clock.now + 50.0)
    ensembler.try_until(1, Recipe("best", 2, "linear_pool"), None)
    # Five fits on four parts of five, then one on all: a fifth of the whole for it.
    assert given == [1040.0, None]


@pytest.mark.parametrize(("batch", "deterministic", "moved"), [(8, True, False), (2, True, True), (8, False, True)])
def test_the_portfolio_of_a_search_that_may_end_soon_begins_with_what_solves_weights(
    make_plan, batch, deterministic, moved
):
    names = ("layered_stacking", "meta_stacking", "linear_pool", "stacking")
    combiners = tuple(Choice(name, name) for name in names)
    plan = make_plan(combiners=combiners, batch=batch, deterministic=deterministic)
    points = ensemble_portfolio(plan, 6)
    found = quick_start(plan, points)
    assert (found != points) == moved
    if moved:
        solved = [point for point in points if point["combiner"] in names[2:]]
        assert found == solved + [point for point in points if point not in solved]
    alone = make_plan(combiners=combiners[:1], batch=batch, deterministic=deterministic)
    assert quick_start(alone, ensemble_portfolio(alone, 6)) == ensemble_portfolio(alone, 6)


def trial_of(book, number, combiner, seconds, score=0.5, **fields):
    book.begin(number, {"recipe": Recipe("best", number + 1, combiner, fields.pop("params", {})).to_json()})
    book.finish(number, {"score": score, "seconds": seconds, "error": "", "fit_s": seconds / 4, **fields})


def test_an_ensemble_takes_what_those_of_its_combiner_took():
    book = EnsembleBook("minimize")
    for number, combiner in enumerate(("layered_stacking", "linear_pool", "linear_pool", "stacking")):
        book.begin(number, {"recipe": Recipe("best", number + 1, combiner).to_json()})
    assert [book.cost(0), book.step(0)] == [math.inf, 0.0]
    assert [book.sure(number) for number in range(4)] == [False, True, False, False]
    trial_of(book, 4, "layered_stacking", 40.0)
    trial_of(book, 5, "linear_pool", 0.2)
    trial_of(book, 6, "linear_pool", 0.6)
    assert [book.cost(n) for n in range(4)] == [40.0, pytest.approx(0.4), pytest.approx(0.4), math.inf]
    assert [book.step(n) for n in range(4)] == [50.0, pytest.approx(0.5), pytest.approx(0.5), 0.0]


def test_no_ensemble_is_sure_where_all_train_learners_or_draw_many_bags():
    book = EnsembleBook("minimize")
    recipes = (
        Recipe("best", 2, "meta_stacking"),
        Recipe("best", 2, "calibrated", {"combiner": "layered_stacking", "result": "none"}),
        Recipe("best", 2, "linear_pool", {"bags": 100}),
    )
    for number, recipe in enumerate(recipes):
        book.begin(number, {"recipe": recipe.to_json()})
    assert [book.effort(number) for number in range(3)] == [math.inf, math.inf, 100.0]
    assert not any(book.sure(number) for number in range(3))


def test_the_answers_fit_and_part_of_its_bootstrap_are_kept_free():
    book = EnsembleBook("minimize")
    assert book.closing_s(5.0) == 0.0
    trial_of(book, 0, "linear_pool", 0.4, score=0.3)
    assert book.closing_s(20.0) == pytest.approx(0.1 + 50 * 0.1)
    assert book.closing_s(3.0) == pytest.approx(0.1 + 3.0)
    trial_of(book, 1, "layered_stacking", 40.0, score=0.4)
    assert book.closing_s(3.0) == pytest.approx(10.0 + 3.0)
    numbers = EnsembleBook("minimize", margins=True)
    trial_of(numbers, 0, "linear_pool", 0.4)
    assert numbers.closing_s(0.0) == pytest.approx(0.1 + 0.4)


def test_regression_ensembles_are_solved_too(make_plan):
    draw = np.random.default_rng(0)
    y = draw.normal(size=300)
    outputs = np.array([(y + draw.normal(size=300))[:, None] for _ in range(6)])
    candidates = {f"m{i}": Candidate(("b",), "concat", "ridge", params={"i": i}) for i in range(6)}
    metric = get_metric("auto", "regression")
    library = OofLibrary.of("regression", metric, candidates, outputs, y, np.linspace(0, 300, 6).astype(int))
    plan = replace(make_plan(), task="regression", n_outputs=1, metric=metric.name)
    plan = replace(plan, combiners=(Choice("linear_pool", "linear_pool"),))
    found = search(library, plan, trials=10)
    assert found.score < 0.7 * min(found.oof.values())
    assert list(found.margins) == [0.5, 0.8, 0.9, 0.95]
    errors = np.abs(found.fusion.combine(library.members(list(found.members)))[:, 0] - y)
    for level, margin in found.margins.items():
        assert (errors <= margin).mean() == pytest.approx(level, abs=0.03)


def test_the_note_names_the_best_ensemble_so_far():
    book = EnsembleBook("minimize")
    assert book.note() == ""
    for number, score in enumerate((0.4, 0.3)):
        book.begin(number, {"recipe": Recipe("best", number + 1, "linear_pool").to_json()})
        book.finish(number, {"score": score, "seconds": 1.0, "error": ""})
    assert book.note() == "best 0.3: linear_pool of 2"


def test_a_recipe_whose_worker_died_is_a_failed_trial():
    book = EnsembleBook("maximize")
    book.begin(0, {"recipe": Recipe("best", 1, "linear_pool").to_json()})
    book.finish(0, None)
    assert book.trials[0].score == -1e30
    assert book.told(0).value == -1e30


def test_where_costs_count_cheap_members_are_tried_too_and_the_wish_decides():
    library = make_library([1.0, 1.3, 1.0, 0.2], n=200)
    dear = {"m0": 50.0, "m1": 1.0, "m2": 50.0, "m3": 0.5}
    chains = {library.candidates[name].key: Cost(ms, ms / 4, ms) for name, ms in dear.items()}
    ensembler = Ensembler(library, 0, Prices(chains, {"b0": Cost(2.0)}, 1))
    tried = [ensembler.try_recipe(number, Recipe("best", n, "linear_pool")) for number, n in enumerate((1, 4))]
    assert tried[1].cost["latency_ms"] >= 102.0
    found = {}
    for prefer in ("accuracy", "speed"):
        wish = Wish(("metric", "latency"), prefer)
        found[prefer] = finish_ensemble(tried, ensembler, wish=wish)
    speed = found["speed"]
    assert found["accuracy"].recipe == tried[1].recipe
    assert list(speed.members) == ["m1"]
    assert [o.chosen for o in speed.tradeoff].count(True) == 1
    assert speed.tradeoff[[o.chosen for o in speed.tradeoff].index(True)].cost == Cost(1.0, 0.25, 1.0)
    assert [o.front for o in speed.tradeoff].count(True) >= 3
    assert [o.cost.latency_ms for o in speed.tradeoff] == sorted(o.cost.latency_ms for o in speed.tradeoff)
    limited = finish_ensemble(tried, ensembler, wish=Wish(max_latency_ms=0.7))
    assert list(limited.members) == ["m3"]
    assert finish_ensemble(tried, ensembler).tradeoff == ()


def test_cheap_members_are_put_together_as_the_search_was_asked_to():
    library = make_library([1.0, 1.3, 1.0, 0.2], n=200)
    chains = {candidate.key: Cost(1.0 + 5 * i, 1.0, 1.0) for i, candidate in enumerate(library.candidates.values())}
    ensembler = Ensembler(library, 0, Prices(chains, {"b0": Cost(2.0)}, 1))
    wish = Wish(("metric", "latency"))
    for combiner in ("log_pool", "linear_pool"):
        tried = [ensembler.try_recipe(0, Recipe("best", 3, combiner))]
        added = finish_ensemble(tried, ensembler, wish=wish).tried[1:]
        assert {trial.recipe.combiner for trial in added if trial.recipe.n_members > 1} == {combiner}

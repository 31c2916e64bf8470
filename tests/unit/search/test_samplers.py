"""Samplers over a conditional space: seeded, told in batches, learning from every group of parameters."""

import math

import optuna
import pytest
from optuna.trial import TrialState

from hybrid_ray.quiet import quiet_optuna
from hybrid_ray.search.families import FAMILY, FamilyChooser
from hybrid_ray.search.halving import PENALTY
from hybrid_ray.search.samplers import GroupSampler, make_sampler, refined

STARTS = [{"kind": "plane", "plane.x": 0.0, "plane.y": 0.0}, {"kind": "line", "line.p": 1.0, "line.bent": False}]


def bowl(trial):
    """Two families of parameters; the best of ``plane`` is 0 at (1, -2)."""
    if trial.suggest_categorical("kind", ["plane", "line"]) == "plane":
        x, y = trial.suggest_float("plane.x", -5, 5), trial.suggest_float("plane.y", -5, 5)
        return -((x - 1) ** 2) - (y + 2) ** 2
    p = trial.suggest_float("line.p", 1e-3, 10, log=True)
    bend = trial.suggest_float("line.bend", 0, 1) if trial.suggest_categorical("line.bent", [True, False]) else 0.0
    return -5 - abs(math.log(p)) - bend


def run(name, *, seed=3, batches=5, size=8):
    """Trials of a study that is asked and told in batches, some stopped, some failed."""
    with quiet_optuna():
        study = optuna.create_study(direction="maximize", sampler=make_sampler(name, seed))
        for start in STARTS:
            study.enqueue_trial(start)
        for _ in range(batches):
            asked = [study.ask() for _ in range(size)]
            for trial, value in [(trial, bowl(trial)) for trial in asked]:
                if value < -20:
                    study.tell(trial, PENALTY)
                elif value < -8:
                    trial.report(value, 1)
                    study.tell(trial, state=TrialState.PRUNED)
                else:
                    study.tell(trial, value)
        return study.trials


@pytest.mark.parametrize("name", ["tpe", "cmaes", "random", "gp"])
def test_a_seed_gives_the_same_trials(name):
    batches, size = (3, 3) if name == "gp" else (4, 6)
    first, again, other = (run(name, seed=seed, batches=batches, size=size) for seed in (3, 3, 4))
    assert [t.params for t in first] == [t.params for t in again]
    assert [t.params for t in first] != [t.params for t in other]
    assert first[0].params == STARTS[0]


def test_cma_es_learns_the_numbers_of_a_family_that_not_every_trial_has():
    trials = run("cmaes", batches=10)
    best = [max(t.value for t in some if t.state == TrialState.COMPLETE) for some in (trials[:16], trials)]
    random = max(t.value for t in run("random", batches=10) if t.state == TrialState.COMPLETE)
    assert best[1] > best[0]
    assert best[1] > max(random, -0.2)


@pytest.mark.slow
def test_a_gaussian_process_learns_choices_too():
    late = run("gp", batches=4)[16:]
    assert sum(t.params["kind"] == "plane" for t in late) > len(late) / 2


def test_groups_are_the_parameters_that_are_there_together():
    groups = refined([], frozenset("abc"))
    groups = refined(groups, frozenset("abd"))
    assert set(groups) == {frozenset("ab"), frozenset("c"), frozenset("d")}
    assert refined(groups, frozenset()) == groups


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        (False, [(TrialState.FAIL, None), (TrialState.COMPLETE, [2.0])]),
        (True, [(TrialState.COMPLETE, [PENALTY]), (TrialState.COMPLETE, [2.0])]),
    ],
)
def test_a_failed_trial_teaches_only_what_looks_at_the_order_of_values(ranks, expected):
    """A penalty among the values would make all others look alike to a Gaussian process."""
    told = []

    class Spy(optuna.samplers.RandomSampler):
        def after_trial(self, study, trial, state, values):
            told.append((state, values))

    with quiet_optuna():
        sampler = GroupSampler(lambda seed, best: Spy(seed=seed), 0, choices=True, ranks=ranks)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for value in (1.0, PENALTY, 2.0):
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            study.tell(trial, value)
    assert told == expected


@pytest.mark.parametrize("name", ["tpe", "cmaes", "gp"])
def test_the_family_and_its_starts_come_from_who_chooses_families(name):
    def learner(trial):
        family = trial.suggest_categorical(FAMILY, ["a", "b"])
        return family, trial.suggest_float(f"{family}.x", 0, 1)

    starts = {"a": [{"a.x": 0.25}, {"a.x": 0.75}], "b": [{"b.x": 0.5}]}
    families = FamilyChooser({"a": 1.0, "b": 1e9}, 1, starts, seed=0)
    with quiet_optuna():
        study = optuna.create_study(direction="maximize", sampler=make_sampler(name, 0, families))
        study.enqueue_trial({FAMILY: "b", "b.x": 0.9})
        found = []
        for _ in range(12):
            trial = study.ask()
            found.append(learner(trial))
            study.tell(trial, 0.5)
    assert found[0] == ("b", 0.9)
    assert found[1:3] == [("a", 0.25), ("a", 0.75)]
    assert {family for family, _ in found[1:]} == {"a"}
    assert len({x for _, x in found[1:]}) > 5


def test_a_range_that_changed_is_sampled_outside_the_group():
    with quiet_optuna():
        study = optuna.create_study(direction="maximize", sampler=make_sampler("cmaes", 0))
        for high in (4, 4, 4, 9, 9):
            trial = study.ask()
            assert 1 <= trial.suggest_int("n", 1, high) <= high
            assert 0 <= trial.suggest_float("x", 0, 1) <= 1
            study.tell(trial, 0.0)

"""The searcher as Tune drives it, without a cluster: who finishes first must not matter."""

import json
import random
import time

import pytest
from ray.tune.search import Searcher

from hybrid_ray.on_ray.batches import GAIN, MOST_REPEATED, BatchSearch, make_optuna
from hybrid_ray.search.trials import Told


def space(trial):
    kind = trial.suggest_categorical("kind", ["line", "tree"])
    if kind == "line":
        return {"x": trial.suggest_float("line.slope", -1, 1)}
    return {"x": trial.suggest_float("tree.rate", -1, 1)}


class Notebook:
    """A book whose trials are points, whose answer is a bowl; prunes what is far off."""

    def __init__(self, known=(), short=False):
        self.values, self.answers, self.turns, self.known = {}, {}, [], set(known)
        self.short, self.n_cut = short, 0

    def repeats(self, values):
        return any(values["x"] == known["x"] for known in self.values.values())

    def begin(self, number, values):
        self.values[number] = values
        if number in self.known:
            self.answers[number] = bowl(values["x"])
            return None
        return {"x": values["x"]}

    def ready(self, number):
        return number in self.answers

    def finish(self, number, answer):
        self.answers[number] = -9.0 if answer is None else answer["y"]

    def told(self, number):
        value = self.answers[number]
        return Told(None, (value,)) if value < -0.9 else Told(value)

    def turn(self, numbers):
        self.turns.append(list(numbers))

    def cost(self, number):
        return 0.1 if number % 2 and self.short else 1.0 - number % 2 / 10

    def step(self, number):
        return self.cost(number) / 2

    def cut(self, number):
        self.n_cut += 1
        self.answers[number] = -9.0

    def note(self):
        return ""


def bowl(x):
    return -abs(x - 0.3)


def drive(search, lanes, seed, fail=(), packs=None, ahead=0):
    """What Tune does, with trials that end in any order; the order in which items were handed out."""
    packs = [] if packs is None else packs
    shuffled = random.Random(seed)
    running, handed, serial = {}, [], 0
    while True:
        for _ in range(shuffled.randint(0, ahead)):
            search.look_ahead()
        while len(running) < lanes:
            config = search.suggest(f"t{serial}")
            if config is None or config == Searcher.FINISHED:
                break
            running[f"t{serial}"] = [item["x"] for item in json.loads(config["items"])]
            handed += running[f"t{serial}"]
            packs.append(len(running[f"t{serial}"]))
            serial += 1
        if not running:
            assert search.suggest("last") == Searcher.FINISHED
            return handed
        name = shuffled.choice(sorted(running))
        xs = running.pop(name)
        if name in fail:
            search.on_trial_complete(name, error=True)
        else:
            search.on_trial_complete(name, result={GAIN: 0.0, "answers": json.dumps([{"y": bowl(x)} for x in xs])})


def make_search(
    book,
    *,
    space=space,
    points=({"kind": "tree", "tree.rate": -0.5},),
    trials=40,
    first=0,
    deterministic=True,
    until=lambda: None,
    lanes=1,
    done=lambda n: None,
    sampler="tpe",
    batch=16,
    **more,
):
    return BatchSearch(
        make_optuna(space, list(points), sampler, seed=3),
        book,
        points=len(points),
        trials=trials,
        batch=batch,
        first=first,
        deterministic=deterministic,
        until=until,
        **{"sure": lambda number: number == 0, **more},
        lanes=lanes,
        on_done=done,
    )


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_the_same_seed_gives_the_same_trials_whoever_finishes_first(sampler):
    seen = []
    for lanes, seed, ahead in ((1, 0, 0), (2, 1, 3), (4, 2, 0), (8, 3, 12)):
        book = Notebook()
        drive(make_search(book, sampler=sampler), lanes, seed, ahead=ahead)
        seen.append((book.values, book.answers, book.turns))
    assert all(each == seen[0] for each in seen)
    assert seen[0][2] == [list(range(start, start + 8)) for start in range(0, 40, 8)]
    assert seen[0][0][0]["tree.rate"] == -0.5


def test_free_lanes_take_from_the_other_half_and_a_half_is_told_before_one_takes_its_place():
    book = Notebook()
    search = make_search(book)
    handed = [json.loads(search.suggest(f"t{serial}")["items"])[0]["x"] for serial in range(16)]
    assert search.suggest("t16") is None
    search.look_ahead()
    assert len(book.values) == 16
    for serial in range(1, 16):  # all but the first, which is long
        search.on_trial_complete(f"t{serial}", result={"answers": json.dumps([{"y": bowl(handed[serial])}])})
    assert search.suggest("t16") is None
    assert book.turns == []
    search.on_trial_complete("t0", result={"answers": json.dumps([{"y": bowl(handed[0])}])})
    assert book.turns == [list(range(8))]
    assert search.suggest("t16") is not None
    assert book.turns == [list(range(8)), list(range(8, 16))]


def test_it_looks_ahead_one_trial_at_a_time_and_tells_nothing_in_the_middle_of_a_half():
    book = Notebook()
    search = make_search(book)
    config = search.suggest("t0")
    for known in range(9, 12):
        search.look_ahead()
        assert len(book.values) == known
    book.answers.update(dict.fromkeys(range(1, 8), -0.5))
    xs = [item["x"] for item in json.loads(config["items"])]
    search.on_trial_complete("t0", result={"answers": json.dumps([{"y": bowl(x)} for x in xs])})
    assert book.turns == []
    for _ in range(5):
        search.look_ahead()
    assert (len(book.values), book.turns) == (16, [list(range(8))])


@pytest.mark.parametrize(
    ("batch", "first", "sizes"),
    [(16, 12, [12, 8, 8, 8, 4]), (5, 0, [3, 2] * 8), (2, 3, [3] + [1] * 37), (1, 0, [1] * 40)],
)
def test_both_halves_make_a_batch_and_the_first_may_be_larger(batch, first, sizes):
    book = Notebook()
    drive(make_search(book, first=first, batch=batch, sampler="random"), 3, 0, ahead=2)
    assert [len(numbers) for numbers in book.turns] == sizes


def test_every_trial_is_counted_once_when_its_outcome_is_there():
    done = []
    drive(make_search(Notebook(known=range(11)), done=done.append), 3, 0)
    assert sum(done) == 40
    assert len(done) > 29


def test_the_sampler_learns_from_what_it_is_told():
    book = Notebook()
    drive(make_search(book, trials=80), 4, 0)
    late, early = [book.answers[n] for n in range(60, 80)], [book.answers[n] for n in range(20)]
    assert sum(late) / 20 > sum(early) / 20


def steps(trial):
    """Twelve points, and one more on each of twenty lines."""
    if trial.suggest_categorical("kind", ["steps", "line"]) == "steps":
        return {"x": trial.suggest_categorical("step", [round(0.1 * n, 1) for n in range(-8, 4)])}
    return {"x": trial.suggest_int("line", -20, -1) / 20 + 0.01}


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_what_was_proposed_before_is_asked_again_and_a_space_without_more_ends_the_search(sampler):
    seen = []
    for lanes, seed in ((1, 0), (4, 2)):
        book = Notebook()
        drive(make_search(book, space=steps, points=(), trials=200, sampler=sampler), lanes, seed)
        seen.append(book.values)
    xs = [values["x"] for values in seen[0].values()]
    assert seen[0] == seen[1]
    assert len(set(xs)) > 26  # of 32
    assert MOST_REPEATED <= len(xs) - len(set(xs)) <= 2 * MOST_REPEATED + 8  # what is open when it ends is proposed too
    assert len(xs) < 200


def test_given_points_are_tried_whatever_they_repeat():
    book, point = Notebook(), {"kind": "steps", "step": 0.1}
    drive(make_search(book, space=steps, points=[point] * 5, trials=8, sampler="random"), 1, 0)
    xs = [values["x"] for values in book.values.values()]
    assert xs[:5] == [0.1] * 5
    assert len(set(xs)) == 4


def test_long_trials_of_a_half_are_handed_out_first():
    book = Notebook()
    handed = drive(make_search(book, trials=8), 1, 0)
    assert handed == [book.values[number]["x"] for number in (0, 2, 4, 6, 1, 3, 5, 7)]


def test_known_trials_are_replayed_without_work():
    whole, again = Notebook(), Notebook(known=range(21))
    everything = drive(make_search(whole), 2, 0)
    handed = drive(make_search(again), 2, 5, ahead=2)
    assert again.answers == whole.answers
    assert (len(everything), len(handed)) == (40, 19)


def test_a_search_that_is_known_wholly_has_no_work():
    search = make_search(Notebook(known=range(40)))
    assert not search.advance()
    assert search.suggest("t0") == Searcher.FINISHED


def test_a_trial_whose_worker_died_does_not_hold_its_half():
    book = Notebook()
    drive(make_search(book), 3, 0, fail={"t2", "t17"})
    assert len(book.answers) == 40
    assert sum(value == -9.0 for value in book.answers.values()) == 2


def test_without_determinism_a_trial_is_told_when_it_ends():
    book, done = Notebook(), []
    drive(make_search(book, deterministic=False, done=done.append), 4, 0, ahead=3)
    assert len(book.answers) == 40
    assert done == [1] * 40


def test_short_trials_are_handed_out_together_as_long_as_each_lane_of_a_half_has_work():
    whole, packed, packs = Notebook(), Notebook(short=True), []
    drive(make_search(whole), 2, 0)
    drive(make_search(packed, lanes=2), 2, 5, packs=packs)
    assert (packed.values, packed.answers) == (whole.values, whole.answers)
    assert packs[:5] == [1, 1, 1, 1, 4]


@pytest.mark.parametrize(("lanes", "alone", "beside"), [(1, 8, 8), (4, 2, 4), (8, 1, 2)])
def test_the_shortest_trials_share_the_lanes_that_a_half_has_beside_the_other(lanes, alone, beside, monkeypatch):
    monkeypatch.setattr(Notebook, "cost", lambda self, number: 0.06)
    packs = []
    drive(make_search(Notebook(), lanes=lanes), lanes, 1, packs=packs)
    assert packs[: 8 // alone] == [alone] * (8 // alone)
    assert max(packs) == beside


def test_of_trials_that_were_handed_out_together_only_the_one_that_ends_its_worker_is_lost():
    class Deadly(Notebook):
        """Number 5 takes its worker with it, alone or in company."""

        def finish(self, number, answer):
            assert (answer is None) == (number == 5)
            super().finish(number, answer)

    book = Deadly(short=True)
    search = make_search(book, trials=8)
    serial = 0
    while (config := search.suggest(f"t{serial}")) != Searcher.FINISHED:
        xs = [item["x"] for item in json.loads(config["items"])]
        if book.values[5]["x"] in xs:
            search.on_trial_complete(f"t{serial}", error=True)
        else:
            search.on_trial_complete(f"t{serial}", result={"answers": json.dumps([{"y": bowl(x)} for x in xs])})
        serial += 1
    assert sorted(book.answers) == list(range(8))
    assert [n for n, value in book.answers.items() if value == -9.0] == [5]


def test_the_first_half_is_always_proposed_and_its_first_trial_always_done():
    book = Notebook()
    handed = drive(make_search(book, until=lambda: time.time() - 1.0), 2, 0)
    assert handed == [book.values[0]["x"]]
    assert (len(book.answers), book.n_cut) == (8, 7)


def test_what_takes_least_is_handed_out_first_and_the_first_of_it_is_done_in_any_case():
    book = Notebook()
    heavy = {number: 1.0 if number in (0, 1, 4) else 0.0 for number in range(8)}
    order = drive(make_search(book, trials=8, effort=heavy.get), 1, 0)
    assert order == [book.values[number]["x"] for number in (2, 6, 3, 5, 7, 0, 4, 1)]
    late = Notebook()
    search = make_search(late, effort=heavy.get, sure=lambda number: number == 2, until=lambda: time.time() - 1.0)
    assert json.loads(search.suggest("t0")["items"]) == [{"x": late.values[2]["x"]}]
    assert (search.suggest("t1"), late.n_cut) == (None, 7)


def test_what_would_not_end_in_time_is_not_handed_out_and_workers_know_the_end():
    book, end = Notebook(short=True), time.time() + 0.3
    search = make_search(book, until=lambda: end)
    assert json.loads(search.suggest("t0")["items"]) == [{"x": book.values[0]["x"]}]
    item = json.loads(search.suggest("t1")["items"])[0]
    assert (item["until"], item["fold_s"]) == (end, 0.05)
    assert item["x"] == book.values[1]["x"]
    assert sorted(book.answers) == [2, 4, 6]


def test_once_most_of_a_half_was_cut_nothing_more_is_proposed():
    book, end = Notebook(), time.time() + 0.3
    drive(make_search(book, until=lambda: end), 2, 0)
    assert (len(book.answers), book.n_cut) == (8, 7)

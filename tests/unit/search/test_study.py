"""The study that a run's search is exported to, loaded back by Optuna itself."""

import json

import optuna
import pytest
from optuna.trial import TrialState

from hybrid_ray.cli import main
from hybrid_ray.errors import BadInputError, StoreError
from hybrid_ray.search.ensemble import EnsembleBook, EnsembleSearch
from hybrid_ray.search.ensembler import TIME_UP
from hybrid_ray.search.fits import Evaluator
from hybrid_ray.search.proposals import Proposal
from hybrid_ray.search.recipes import propose_ensemble
from hybrid_ray.search.space import portfolio, propose
from hybrid_ray.search.study import Following, export_study, write_trials
from hybrid_ray.search.tradeoff import Wish
from hybrid_ray.search.trials import CandidateBook, CandidateSearch
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore


@pytest.fixture
def searched(make_plan, make_folded, tmp_path):
    """A run with a complete, a pruned, a failed, a cut and a repeated trial; a whole, a failed and a cut ensemble."""
    store = str(tmp_path / "store")
    root, rows = StoreRoot(store), make_folded()
    RunStore(root).begin("run1", {"name": "toy"})
    plan = make_plan(cut=(3,), wish=Wish(("metric", "latency")))
    evaluate = Evaluator(plan, rows, Ledger(root, "run1"))
    book = CandidateBook(plan, evaluate.setting, {})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = portfolio(plan, rows.dims())[:4]
    for point in [*points, points[0]]:
        study.enqueue_trial(point)
    answers = {}
    for number in range(5):
        trial = study.ask()
        candidate = propose(trial, plan, rows.dims())
        item = book.begin(number, {"candidate": candidate.to_json(), "proposal": Proposal.of(trial).to_json()})
        if item is not None and number != 2:
            answers[number] = evaluate(candidate, (None, 0.0 if number == 1 else None, None))
            book.finish(number, vars(answers[number]))
    book.finish(2, None)
    for number in range(5):
        book.told(number)
    tried = EnsembleBook("minimize")
    for number in range(3):
        trial = study.ask()
        recipe = propose_ensemble(trial, plan, 3)
        tried.begin(number, {"recipe": recipe.to_json(), "proposal": Proposal.of(trial).to_json()})
        error = ("", "no", TIME_UP)[number]
        cost = {"latency_ms": 2.0, "batch_ms": 0.5, "size_mb": 0.25}
        tried.finish(
            number,
            {"score": 0.5, "seconds": 0.1, "error": error} | ({} if error else {"scores": (0.4, 0.6), "cost": cost}),
        )
    ensembles = EnsembleSearch(recipe, None, {}, {}, {}, 0.5, {}, tuple(tried.trials.values()), 0.2)
    write_trials(root, "run1", "log_loss", book.answer(1.0), ensembles)
    return store, book.answer(1.0).trials


@pytest.mark.parametrize("name", ["study.journal", "study.db"])
def test_optuna_loads_what_was_exported(searched, tmp_path, capsys, name):
    store, trials = searched
    out = str(tmp_path / name)
    assert main(["runs", "study", "run1", "--out", out, "--store", store]) == 0
    if name.endswith("journal"):
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(out))
    else:
        storage = f"sqlite:///{out}"
    # The dashboard takes a file for a journal, whatever its name, unless it is told by a URL that it is none.
    assert capsys.readouterr().out.splitlines()[-1] == f"optuna-dashboard {storage if 'db' in name else out}"
    study = optuna.load_study(study_name="toy-run1-candidates", storage=storage)
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE]
    assert [t.state for t in study.trials] == states
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    first = study.trials[0]
    assert first.value == pytest.approx(trials[0].score)
    assert first.intermediate_values == {i: pytest.approx(sum(trials[0].scores[:i]) / i) for i in (1, 2, 3)}
    assert len(study.trials[1].intermediate_values) == 2
    assert (first.user_attrs["label"], first.user_attrs["blocks"]) == (trials[0].candidate.label, ["image", "text"])
    assert (study.trials[3].user_attrs["cut"], study.trials[4].user_attrs["repeats"]) == (True, 0)
    assert first.duration.total_seconds() == pytest.approx(trials[0].seconds, abs=1e-3)
    assert set(first.params) == set(first.distributions) >= {"estimator", "use.image", "use.text"}
    assert len(study.trials_dataframe()) == 5
    ensembles = optuna.load_study(study_name="toy-run1-ensembles", storage=storage)
    assert [t.state for t in ensembles.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED]
    assert [t.user_attrs["cut"] for t in ensembles.trials] == [False, False, True]
    whole = ensembles.trials[0].user_attrs
    assert (whole["part_scores"], whole["latency_ms"], whole["size_mb"]) == ([0.4, 0.6], 2.0, 0.25)
    assert first.user_attrs["fold_scores"] == list(trials[0].scores)
    assert first.user_attrs["latency_ms"] == trials[0].cost["latency_ms"] > 0
    assert "latency_ms" not in study.trials[2].user_attrs


def test_a_search_that_goes_on_is_written_now_and_then_and_exported_as_far_as_it_is(searched, tmp_path):
    store, _ = searched
    root, path, over = StoreRoot(store), "runs/run1/trials_so_far.json", "runs/run1/trials.json"
    record = json.loads(root.read(over))
    now, asked = [0.0], []
    follow = Following(root, "run1", "log_loss", lambda: now[0])

    def so_far():
        asked.append(now[0])
        now[0] += 0.2  # what writing takes
        trials = tuple(trial for trial in searched[1] if trial.number < 2)
        return CandidateSearch(trials, "minimize", 1.0, 0, 0)

    for now[0] in (0.0, 3.0, 9.0, 11.0, 30.0):
        follow(so_far)
    assert asked == [0.0, 11.0, 30.0]
    assert json.loads(root.read(path))["trials"] == record["trials"][:2]
    # One that is over is what counts, also while it is done again.
    written = export_study(store, "run1", str(tmp_path / "over.journal"))["studies"]
    assert written == {"toy-run1-candidates": 5, "toy-run1-ensembles": 3}
    root.delete(over)
    written = export_study(store, "run1", str(tmp_path / "study.journal"))["studies"]
    assert written == {"toy-run1-candidates": 2}


def test_a_study_is_not_written_twice(searched, tmp_path):
    out = str(tmp_path / "study.journal")
    export_study(searched[0], "run1", out)
    with pytest.raises(BadInputError, match="must not hold the study yet"):
        export_study(searched[0], "run1", out)


def test_what_cannot_be_exported_is_said(searched, tmp_path, capsys):
    store, trials = searched
    with pytest.raises(BadInputError, match="its folder must exist"):
        export_study(store, "run1", str(tmp_path / "absent" / "study.journal"))
    with pytest.raises(BadInputError, match="must be a database that can be opened"):
        export_study(store, "run1", "nosuch://host/db")
    RunStore(StoreRoot(store)).begin("run2", {"name": "toy"})
    assert main(["runs", "study", "run2", "--out", "x.db", "--store", store]) == 2
    assert "its search must have begun" in capsys.readouterr().err
    StoreRoot(store).delete(f"runs/run1/fits/{trials[0].keys[0]}.json")
    with pytest.raises(StoreError, match="must hold every fit of trial 0"):
        export_study(store, "run1", str(tmp_path / "study.journal"))

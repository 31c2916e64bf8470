"""Optuna studies of a search, for its dashboard and its plots; nothing of hybrid_ray reads them back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import BadInputError, StoreError
from hybrid_ray.quiet import quiet_optuna
from hybrid_ray.search.ensemble import EnsembleSearch
from hybrid_ray.search.ensembler import TIME_UP, EnsembleTrial
from hybrid_ray.search.halving import running_means
from hybrid_ray.search.proposals import Proposal
from hybrid_ray.search.trials import CandidateSearch, TrialRecord
from hybrid_ray.store.ledger import FitRecord, Ledger
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore, run_prefix

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

SQLITE = (".db", ".sqlite", ".sqlite3")
"""Endings of files that become an SQLite database; any other file becomes Optuna's journal."""
_EVERY_S = 5.0
"""Seconds after which the record of a search that goes on is written again, or longer where writing takes long."""
_SHARE = 0.02
"""Most of a search's time that writing it may take."""


def write_trials(
    root: StoreRoot, run_id: str, metric: str, candidates: CandidateSearch, ensembles: EnsembleSearch | None
) -> None:
    """Write what a search proposed and what became of it, in order; ``ensembles`` is None before they are searched.

    The scores of candidates stay in the ledger, whose keys are named here. With ``search.trials`` of their number,
    ``search.cut`` as written here and no time limit, a seed gives the same trials again.
    """
    record = {
        "metric": metric,
        "direction": candidates.direction,
        "cut": [trial.number for trial in candidates.trials if trial.cut],
        "trials": [
            {
                "number": trial.number,
                "state": _state(trial),
                "candidate": trial.candidate.to_json(),
                "keys": list(trial.keys),
                "seconds": trial.seconds,
                "error": trial.error,
                "repeats": trial.repeats,
                "cost": dict(trial.cost),
                **trial.proposal.to_json(),
            }
            for trial in candidates.trials
        ],
        "ensembles": [
            {
                "number": trial.number,
                "state": _ensemble_state(trial),
                "recipe": trial.recipe.to_json(),
                "score": trial.score,
                "scores": list(trial.scores),
                "seconds": trial.seconds,
                "error": trial.error,
                "cost": dict(trial.cost),
                **trial.proposal.to_json(),
            }
            for trial in (ensembles.tried if ensembles is not None else ())
        ],
    }
    over = ensembles is not None
    root.write(_path(run_id, over), to_json(record))
    if over:
        root.delete(_path(run_id, over=False))


class Following:
    """Writes the trials of a search while it goes on, every few seconds at most: one that is killed leaves them too.

    Parameters
    ----------
    root : StoreRoot
    run_id, metric : str
    clock : callable, default time.monotonic
    """

    def __init__(self, root: StoreRoot, run_id: str, metric: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._root, self._run_id, self._metric = root, run_id, metric
        self._clock = clock
        self._next = -math.inf

    def __call__(self, so_far: Callable[[], CandidateSearch]) -> None:
        """Write what is known by now, if it is time. A write takes time in proportion to the trials."""
        began = self._clock()
        if began < self._next:
            return
        self.last(so_far())
        ended = self._clock()
        self._next = ended + max(_EVERY_S, (ended - began) / _SHARE)

    def last(self, found: CandidateSearch) -> None:
        """Write all candidates, whatever the time."""
        with suppress(StoreError, OSError):  # a search does not end because nobody could look at it
            write_trials(self._root, self._run_id, self._metric, found, None)


def export_study(store: str, run_id: str, out: str) -> dict[str, Any]:
    """Write the candidates and the ensembles of a run as two Optuna studies; of a search that goes on, what is done.

    Parameters
    ----------
    store : str
    run_id : str
    out : str
        A database URL (``sqlite:///study.db``, ``postgresql://…``), or a file: SQLite if it ends like one, else
        Optuna's journal.

    Returns
    -------
    dict
        ``storage``; ``address``, by which optuna-dashboard finds it; and ``studies``: trials by the name of the study.

    Raises
    ------
    StoreError
        There is no such run, its search has not begun, or fits of it are lost.
    BadInputError
        The database cannot be opened, or holds the study already.
    """
    import optuna

    root = StoreRoot(store)
    run = RunStore(root).get(run_id)
    record = _read(root, run_id)
    known = Ledger(root, run_id).records()
    began = datetime.fromisoformat(run["created"]).astimezone().replace(tzinfo=None)
    studies = {"candidates": list(_candidate_trials(record["trials"], known, run_id))}
    if record["ensembles"]:
        studies["ensembles"] = list(_ensemble_trials(record["ensembles"]))
    written = {}
    with quiet_optuna():
        storage = _storage(out)
        for layer, trials in studies.items():
            name = f"{run['record']['name']}-{run_id}-{layer}"
            try:
                study = optuna.create_study(storage=storage, study_name=name, direction=record["direction"])
            except optuna.exceptions.DuplicatedStudyError:
                raise BadInputError(
                    f"--out: must not hold the study yet; {out} has {name!r}. Delete it there, or name another file"
                ) from None
            study.set_metric_names([record["metric"]])
            study.set_user_attr("run_id", run_id)
            for trial, seconds in trials:
                trial.datetime_start = began
                trial.datetime_complete = began + timedelta(seconds=seconds)
            study.add_trials([trial for trial, _ in trials])
            written[name] = len(trials)
    return {"run_id": run_id, "storage": out, "address": _address(out), "studies": written}


def _path(run_id: str, over: bool = True) -> str:
    """Where the record is: a search that is done again does not take the place of the one that is over."""
    return f"{run_prefix(run_id)}/{'trials' if over else 'trials_so_far'}.json"


def _read(root: StoreRoot, run_id: str) -> Mapping[str, Any]:
    path = next((path for path in (_path(run_id), _path(run_id, over=False)) if root.exists(path)), None)
    if path is None:
        raise StoreError(
            f"run {run_id}: its search must have begun before it is exported; it has not. "
            f"`hybrid-ray runs resume {run_id}` goes on with it"
        )
    record = from_json(root.read(path))
    if not isinstance(record, dict) or "ensembles" not in record:
        raise StoreError(f"{path}: must be a record of trials as this version writes it; it is not")
    return record


def _state(trial: TrialRecord) -> str:
    states = {"failed": trial.failed, "cut": trial.cut, "pruned": trial.pruned}
    return next((name for name, holds in states.items() if holds), "complete")


def _ensemble_state(trial: EnsembleTrial) -> str:
    if trial.error:
        return "cut" if trial.error == TIME_UP else "failed"
    return "complete"


def _candidate_trials(
    entries: Sequence[Mapping[str, Any]], known: Mapping[str, FitRecord], run_id: str
) -> Iterator[tuple[FrozenTrial, float]]:
    for entry in entries:
        lost = [key for key in entry["keys"] if key not in known]
        if lost:
            raise StoreError(f"run {run_id}: the ledger must hold every fit of trial {entry['number']}; lost {lost[0]}")
        candidate = Candidate(**entry["candidate"])
        scores = [known[key].score for key in entry["keys"]]
        means = running_means(scores)
        attributes = {
            "label": candidate.label,
            "blocks": list(candidate.blocks),
            "seconds": entry["seconds"],
            "cut": entry["state"] == "cut",
            "fold_scores": scores,
            **entry["cost"],
        }
        if entry["repeats"] is not None:
            attributes["repeats"] = entry["repeats"]
        value = means[-1] if entry["state"] == "complete" else None
        steps = dict(enumerate(means, start=1))
        yield _trial(entry, value, steps, attributes), entry["seconds"]


def _ensemble_trials(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[FrozenTrial, float]]:
    for entry in entries:
        recipe = entry["recipe"]
        attributes = {
            "label": f"{recipe['combiner']} of {recipe['n_members']}",
            "seconds": entry["seconds"],
            "cut": entry["state"] == "cut",
            "part_scores": entry["scores"],
            **entry["cost"],
        }
        value = entry["score"] if entry["state"] == "complete" else None
        yield _trial(entry, value, {}, attributes), entry["seconds"]


def _trial(
    entry: Mapping[str, Any], value: float | None, steps: Mapping[int, float], attributes: Mapping[str, Any]
) -> FrozenTrial:
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    states = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}
    proposal = Proposal(entry["params"], entry["ranges"])
    return create_trial(
        state=states.get(entry["state"], TrialState.PRUNED),
        value=value,
        params=dict(proposal.params),
        distributions={name: json_to_distribution(text) for name, text in proposal.ranges.items()},
        user_attrs={**attributes, **({"error": entry["error"]} if entry["error"] else {})},
        intermediate_values=dict(steps),
    )


def _address(out: str) -> str:
    """The URL of a database, or the path of a journal file; optuna-dashboard takes any file without a URL for one."""
    return f"sqlite:///{out}" if "://" not in out and Path(out).suffix in SQLITE else out


def _storage(out: str) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if "://" not in out and not Path(out).resolve().parent.is_dir():
        raise BadInputError(f"--out: its folder must exist; got {out!r}")
    address = _address(out)
    if "://" not in address:
        return JournalStorage(JournalFileBackend(address))
    try:
        return RDBStorage(address)
    except Exception as error:  # whatever the driver of the database raises, or that it is not installed
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInputError(f"--out: must be a database that can be opened; got {out!r}: {said}") from error

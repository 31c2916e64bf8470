"""The wall time of a search: what must be left for the stages that follow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.search.reserves import MEMBERS, STAND_INS
from hybrid_ray.search.trials import TrialRecord

ENSEMBLE_SHARE = 0.1
"""Part of a search's time that its ensembles may take, at most, once they have started."""
ENSEMBLE_START_S = 3.0
"""Reading the library and starting the workers of the ensemble search."""
ENSEMBLE_START_SHARE = 0.25
"""Part of a search's time that is kept for that start, at most."""
ENSEMBLE_TRIAL_S = 3e-6
"""Seconds of a solve of weights for one number (row x class) of one member: twice what CMA-ES takes, the slowest (of 8
members, 1,500 rows and 3 classes it took 1.6e-6, stacking 4e-7)."""
BOOTSTRAP_SHARE = 0.2
"""Part of the ensembles' time that is kept, at most, to tell how sure the weights are."""
PARTS_START_S = 3.0
"""Starting the tasks that fit the parts of the graph."""
END_S = 10.0
"""Saving the graph with its golden rows, and writing the report."""
NETWORK_S = 8.0
"""What saving takes more for each network in the graph: a worker imports torch, sets it up, and passes single rows."""


@dataclass(frozen=True)
class Aftermath:
    """What comes after the search of candidates, to tell how much time must be left for it.

    Attributes
    ----------
    slots : int
        Tasks at the same time.
    folds : int
    refit : bool
        The members and the report's candidates are fitted once more, on all training rows; else on the folds whose
        chains were not kept.
    members : int
        Members that the graph may have.
    trained_s : float
        What the trained extractors take: a fit on all rows, where members are refitted, and the features of test rows.
    gaps : int
        Modalities for whose lack reserves are made: their stand-ins are fitted on the folds.
    grown : float
        Training rows for each that the search sees: a fit on all of them takes so much longer.
    networks : int
        Extractors that are networks.
    smaller_s : float or None
        What features of smaller networks take, on which all that the graph is made of is fitted on the folds again;
        None where the spec does not ask for them.
    """

    slots: int
    folds: int
    refit: bool
    members: int
    trained_s: float = 0.0
    gaps: int = 0
    grown: float = 1.0
    networks: int = 0
    smaller_s: float | None = None

    def seconds(self, ranked: Sequence[TrialRecord], start_s: float = 0.0) -> float:
        """Seconds from the end of the search to the end of the run.

        Parameters
        ----------
        ranked : sequence of TrialRecord
            Trials with all folds so far, best first.
        start_s : float, default 0
            What a worker took to start, which says how busy the machine is.
        """
        spent = max(PARTS_START_S, start_s) + END_S + NETWORK_S * self.networks + self.trained_s
        # Members differ: the best of each family is as likely one as the best of all. The costliest are reckoned with.
        first_of_family = {trial.candidate.estimator: trial for trial in reversed(ranked)}.values()
        likely = _distinct([*ranked[: self.members], *first_of_family])
        members = sorted(likely, key=_fold_s, reverse=True)[: self.members]
        first_of_blocks = {trial.candidate.blocks: trial for trial in reversed(ranked)}.values()
        # The members of reserves are fitted again too: some were fitted for the ensemble or the report anyway.
        stood_in = [trial for trial in members[:MEMBERS] for _ in range(self.gaps)]
        taken = _distinct([*members, *first_of_blocks])
        times = [self._again_s(trial) for trial in (*taken, *stood_in)]
        crossed = [self.folds * _fold_s(trial) for trial in members[:STAND_INS] for _ in range(self.gaps)]
        if self.smaller_s is not None:
            spent += self.smaller_s
            crossed += [self.folds * _fold_s(trial) for trial in taken]
        return spent + _makespan(times, self.slots) + _makespan(crossed, self.slots)

    def _again_s(self, trial: TrialRecord) -> float:
        """Seconds to fit what the graph takes of a candidate."""
        if self.refit:
            # A fold trains on all rows but its own.
            more = (self.folds / max(self.folds - 1, 1)) ** _order(trial)
            return float(self.grown * more) * _fold_s(trial)
        return trial.chains.count("") * _fold_s(trial)


@dataclass
class Budget:
    """When a search must be over.

    Attributes
    ----------
    search_until : float or None
        As ``time.time()``: the end of the search, ensembles included.
    run_until : float or None
        The end of the run.
    aftermath : Aftermath or None
        What the run does after the search; None where it ends with it.
    began : float
        When the search began.
    start_s : float
        What a worker took to start; the search of candidates measures it.
    """

    search_until: float | None = None
    run_until: float | None = None
    aftermath: Aftermath | None = None
    began: float = 0.0
    start_s: float = 0.0

    @property
    def limited(self) -> bool:
        """Whether there is an end at all."""
        return self.search_until is not None or self.run_until is not None

    def until(self, ranked: Sequence[TrialRecord]) -> float | None:
        """When the search must be over, ensembles included, by what is known of its candidates."""
        ends = [end for end in (self.search_until,) if end is not None]
        if self.run_until is not None:
            ends.append(self.run_until - (self.aftermath.seconds(ranked, self.start_s) if self.aftermath else 0.0))
        return min(ends, default=None)

    def candidates_until(self, ranked: Sequence[TrialRecord], ensembles_s: float) -> float | None:
        """When the candidates must be done: the ensembles have to start, and get ``ensembles_s``, or their share."""
        until = self.until(ranked)
        if until is None:
            return None
        span = max(until - self.began, 0.0)
        started_s = min(ENSEMBLE_START_S + self.start_s, ENSEMBLE_START_SHARE * span)
        return until - started_s - min(ensembles_s, ENSEMBLE_SHARE * span)


def _order(trial: TrialRecord) -> int:
    """The power of the number of rows that a fit's time grows with."""
    return 2 if ESTIMATORS.get(trial.candidate.estimator).tags.pairs else 1


def _fold_s(trial: TrialRecord) -> float:
    return trial.seconds / trial.folds_done


def _makespan(times: Sequence[float], slots: int) -> float:
    """About what tasks take side by side."""
    return max([sum(times) / slots, *times])


def _distinct(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    return list({trial.candidate.key: trial for trial in trials}.values())


def ensembles_s(trials: int, lanes: int, members: int, numbers: int, folds: int, effort: float = 1.0) -> float:
    """About what started ensembles take: ``trials`` of ``members``, each of ``numbers`` (rows x classes).

    ``effort`` is what a fit takes in the mean, see ``DecisionFusion.effort``; infinite, it takes what it is given.
    """
    return trials * folds * members * numbers * ENSEMBLE_TRIAL_S * effort / lanes

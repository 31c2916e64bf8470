"""Checkpoints in memory, for tests of trainings that are cut off."""

from __future__ import annotations

from hybrid_ray.types import State


class MemoryCheckpoints:
    """States of a training, all of them kept.

    Parameters
    ----------
    dies_at : int, optional
        The training is cut off (``KeyboardInterrupt``) while it writes this one.

    Attributes
    ----------
    states : list of State
    """

    def __init__(self, dies_at: int | None = None) -> None:
        self.states: list[State] = []
        self.dies_at = dies_at

    def load(self) -> State | None:
        """The last one."""
        return self.states[-1] if self.states else None

    def save(self, state: State) -> None:
        """Keep one."""
        self.states.append(state)
        if len(self.states) == self.dies_at:
            raise KeyboardInterrupt

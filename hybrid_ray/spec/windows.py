"""What a spec says of windows: how points become rows of any task but forecasting."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hybrid_ray.documented import Documented
from hybrid_ray.spec.lengths import StepLength


class WindowsSpec(Documented):
    """How a long table, a point a row, is cut into rows that hold a window of some steps each: of sensors, say."""

    id: str | None = None
    """Column that tells series apart, of machines or people; left out, there is one."""
    time: str
    """Column of times: numbers or dates."""
    channels: tuple[str, ...] = Field(min_length=1, max_length=256)
    """Columns of numbers, or of true and false, that a window holds."""
    length: int = Field(ge=2, le=65536)
    """Steps of a window."""
    step: int | None = Field(None, ge=1)
    """Steps from one window to the next, back from the last point; left out, ``length``: windows do not overlap."""
    steps: Literal["time", "points"] = "time"
    """What a step is. time: equal times; steps without a point are gaps. points: from each point to the next, whatever
    lies between."""
    step_length: StepLength | None = None
    """Length of a step, of all series: of dates a number and a unit, 1d, 15min, 3mo or 0.5ms, else a number in their
    unit; left out, as much time as lies between most points of most series."""
    label: Literal["last", "most", "max"] = "last"
    """Which of its points gives a window its label. last: the last one; most: one with the label that most have; max:
    one with the largest, so that a single fault among zeros counts."""
    holdout: Literal["auto", "time", "series"] = "auto"
    """What is held out where no column of the points says train and test. time: the last windows of each series;
    series: whole series; auto: series for 20 series or more, else time. Of fewer series folds are blocks of time."""

    @property
    def every(self) -> int:
        """Steps from one window to the next."""
        return self.step or self.length

    @property
    def alike(self) -> int:
        """Windows in a row, from one on, that share points with it."""
        return -(-self.length // self.every)

    def identity(self) -> dict[str, Any]:
        """The fields as a digest of the rows has them, JSON-able: without what is not asked for."""
        return self.model_dump(mode="json", exclude={"step_length"} if self.step_length is None else set())

    def places(self) -> dict[str, str]:
        """Where a spec names each channel."""
        return {name: f"data.windows.channels[{i}]" for i, name in enumerate(self.channels)}

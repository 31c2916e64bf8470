"""Progress for people: a live display on a terminal, plain lines elsewhere, nothing when it must be quiet.

Everything goes to the stream it is given (stderr), so that stdout holds the answer only.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TextIO

from hybrid_ray.progress import Progress, SilentProgress, Stage, Timings, duration

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["PlainProgress", "RichProgress", "SilentProgress", "duration", "make_progress", "rate"]

PLAIN_EVERY_S = 10.0
"""Seconds between two plain lines of one stage."""


def make_progress(quiet: bool, stream: TextIO) -> Progress:
    """The progress that suits a stream.

    Parameters
    ----------
    quiet : bool
        True: nothing is written.
    stream : text file
        Where to write: ``sys.stderr``.

    Returns
    -------
    Progress
        Silent, live (``stream`` is a terminal that can move its cursor), or plain lines.
    """
    if quiet:
        return SilentProgress()
    if stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        return RichProgress(stream)
    return PlainProgress(stream)


def rate(units: float) -> str:
    """Units a second for people: ``1,240/s``, ``3.5/s``, ``12/min``."""
    if units >= 100:
        return f"{units:,.0f}/s"
    return f"{units:.1f}/s" if units >= 0.5 else f"{units * 60:.1f}/min"


class Counter:
    """What one stage has done so far; safe to be advanced from several threads."""

    def __init__(self, name: str, total: int | None, start: float, clock: Callable[[], float]) -> None:
        self.name = name
        self.total = total
        self.done = 0
        self.text = ""
        self.start = start
        self._clock = clock
        self._lock = threading.Lock()

    def add(self, n: int, text: str) -> None:
        """Count ``n`` more, and keep a non-empty text."""
        with self._lock:
            self.done += n
            self.text = text or self.text

    @property
    def elapsed(self) -> float:
        """Seconds since the stage was opened."""
        return self._clock() - self.start

    def count(self) -> str:
        """``1,024/4,096``, ``1,024``, or nothing when nothing was counted."""
        if self.total is not None:
            return f"{self.done:,}/{self.total:,}"
        return f"{self.done:,}" if self.done else ""

    def speed(self) -> str:
        """Units a second, once there is something to divide."""
        elapsed = self.elapsed
        return rate(self.done / elapsed) if self.done > 1 and elapsed > 0.5 else ""

    def summary(self) -> str:
        """Everything about the stage after its name, in one line."""
        done = f"{self.done:,}" if self.done and self.done == self.total else self.count()
        return ", ".join(part for part in (done, duration(self.elapsed), self.speed(), self.text) if part)


class _PlainStage:
    def __init__(self, counter: Counter, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._counter = counter
        self._write = write
        self._clock = clock
        self._last = counter.start

    def advance(self, n: int = 1, note: str = "") -> None:
        self._counter.add(n, note)
        self._show()

    def note(self, text: str) -> None:
        self._counter.add(0, text)
        self._show()

    def _show(self) -> None:
        now = self._clock()
        if now - self._last < PLAIN_EVERY_S:
            return
        self._last = now
        parts = (self._counter.count(), self._counter.speed(), self._counter.text)
        self._write(f"{self._counter.name}: " + ", ".join(part for part in parts if part))


class PlainProgress(Timings):
    """One line when a stage starts, one when it ends, and one every ten seconds between: for logs and pipes.

    Parameters
    ----------
    stream : text file
    clock : callable, default time.monotonic
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._stream = stream

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """A stage as plain lines."""
        with self.timed(name) as start:
            counter = Counter(name, total, start, self.clock)
            self._write(f"{name}: started" if total is None else f"{name}: started, {total:,} to do")
            try:
                yield _PlainStage(counter, self._write, self.clock)
            except BaseException:
                self._write(f"{name}: failed after {counter.summary()}")
                raise
            self._write(f"{name}: done, {counter.summary()}")


class _RichStage:
    def __init__(self, counter: Counter, show: Callable[[Counter], None]) -> None:
        self._counter = counter
        self._show = show

    def advance(self, n: int = 1, note: str = "") -> None:
        self._counter.add(n, note)
        self._show(self._counter)

    def note(self, text: str) -> None:
        self._counter.add(0, text)
        self._show(self._counter)


class RichProgress(Timings):
    """A live line for each open stage; a stage that ended leaves one finished line above.

    Parameters
    ----------
    stream : text file
        A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Display

        self._console = Console(file=stream, highlight=False)
        self._display = Display(
            SpinnerColumn(),
            TextColumn("{task.description:<9}", style="bold", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[speed]}", style="cyan", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", style="dim", markup=False),
            console=self._console,
            transient=True,
            # A redirected stdout would send the command's answer into the display.
            redirect_stdout=False,
        )
        self._open = 0

    def __exit__(self, *exception: object) -> None:
        self._display.stop()

    def _show(self, task: TaskID, counter: Counter) -> None:
        self._display.update(
            task, completed=counter.done, count=counter.count(), speed=counter.speed(), text=counter.text
        )

    def _finish(self, task: TaskID, counter: Counter, failed: bool) -> None:
        from rich.text import Text

        self._display.remove_task(task)
        mark = ("✗ ", "bold red") if failed else ("✓ ", "bold green")
        self._console.print(Text.assemble(mark, (f"{counter.name:<9} ", "bold"), counter.summary()), soft_wrap=True)
        self._open -= 1
        if self._open == 0:
            self._display.stop()

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """A stage as a live line."""
        with self.timed(name) as start:
            counter = Counter(name, total, start, self.clock)
            task = self._display.add_task(name, total=total, count=counter.count(), speed="", text="")
            self._open += 1
            self._display.start()
            failed = True
            try:
                yield _RichStage(counter, partial(self._show, task))
                failed = False
            finally:
                self._finish(task, counter, failed)

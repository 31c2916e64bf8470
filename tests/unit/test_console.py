"""Progress: seconds recorded, lines on the right stream, stdout left alone."""

import io
import os
import pty
import subprocess
import sys
import threading

import pytest

from hybrid_ray.console import PLAIN_EVERY_S, PlainProgress, RichProgress, make_progress, rate
from hybrid_ray.progress import SilentProgress, duration


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines(stream):
    return stream.getvalue().splitlines()


def test_quiet_is_silent_even_on_a_terminal():
    stream = Terminal()
    progress = make_progress(True, stream)
    with progress, progress.stage("read", 10) as stage:
        stage.advance(10, note="x")
    assert stream.getvalue() == ""
    assert list(progress.seconds) == ["read"]


@pytest.mark.parametrize(
    ("stream", "term", "kind"),
    [
        (io.StringIO(), "xterm", PlainProgress),
        (Terminal(), "dumb", PlainProgress),
        (Terminal(), "", PlainProgress),
        (Terminal(), "xterm-256color", RichProgress),
    ],
)
def test_the_stream_decides(monkeypatch, stream, term, kind):
    monkeypatch.setenv("TERM", term)
    assert type(make_progress(False, stream)) is kind


def test_plain_lines_start_every_ten_seconds_and_end():
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, clock)
    with progress.stage("extract", 4000) as stage:
        clock.now += PLAIN_EVERY_S / 2
        stage.advance(1000)
        clock.now += PLAIN_EVERY_S / 2
        stage.advance(1000, note="mobilenet")
        stage.advance(1000)
        clock.now += PLAIN_EVERY_S
        stage.advance(1000)
    assert lines(stream) == [
        "extract: started, 4,000 to do",
        "extract: 2,000/4,000, 200/s, mobilenet",
        "extract: 4,000/4,000, 200/s, mobilenet",
        "extract: done, 4,000, 20.0 s, 200/s, mobilenet",
    ]
    assert progress.seconds == {"extract": 20.0}


def test_a_stage_that_stopped_short_says_so():
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock).stage("search", 40) as stage:
        stage.advance(12)
        clock.now += 4
    assert lines(stream)[-1] == "search: done, 12/40, 4.00 s, 3.0/s"


def test_seconds_add_up_over_openings_and_nest():
    clock = Clock()
    progress = PlainProgress(io.StringIO(), clock)
    for _ in range(2):
        with progress.stage("extract"):
            clock.now += 1
            with progress.stage("decode"):
                clock.now += 2
    assert progress.seconds == {"decode": 4.0, "extract": 6.0}


@pytest.mark.parametrize("kind", [PlainProgress, RichProgress])
def test_a_failure_is_shown_timed_and_passed_on(kind):
    stream = io.StringIO()
    progress = kind(stream)
    with pytest.raises(KeyError, match="gone"), progress, progress.stage("graph"):
        raise KeyError("gone")
    assert "graph" in progress.seconds
    assert any(line.startswith(("graph: failed after", "✗ graph")) for line in lines(stream))


def test_advance_counts_every_unit_of_many_threads():
    stream = io.StringIO()
    with PlainProgress(stream).stage("extract", 4000) as stage:
        threads = [threading.Thread(target=lambda: [stage.advance() for _ in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert lines(stream)[-1].startswith("extract: done, 4,000, ")


def test_rich_leaves_one_line_a_stage_and_shows_markup_as_text():
    stream = io.StringIO()
    progress = RichProgress(stream)
    with progress:
        with progress.stage("search", 2) as stage:
            stage.advance(2, note="best [red]0.1[/red]")
        with progress.stage("graph") as stage:
            stage.note("refit")
    shown = [line for line in lines(stream) if line.startswith("✓")]
    assert [line.split()[1] for line in shown] == ["search", "graph"]
    assert "best [red]0.1[/red]" in shown[0]


def test_on_a_real_terminal_stdout_holds_the_answer_only():
    code = (
        "import sys; from hybrid_ray.console import RichProgress, make_progress\n"
        "p = make_progress(False, sys.stderr); assert type(p) is RichProgress\n"
        "with p, p.stage('search', 3) as s:\n"
        "    s.advance(3); print('the answer')\n"
    )
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color"},
        timeout=60,
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.stdout == b"the answer\n"
    assert "search" in shown
    assert "the answer" not in shown


def test_silent_progress_needs_no_display_package():
    code = "import sys, hybrid_ray.progress, hybrid_ray.console; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
    with SilentProgress() as progress, progress.stage("read") as stage:
        stage.note("x")
    assert progress.seconds["read"] >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"),
        (9.99, "9.99 s"),
        (9.996, "10.0 s"),
        (99.96, "1 min 40 s"),
        (185, "3 min 05 s"),
        (7440, "2 h 04 min"),
    ],
)
def test_durations_for_people(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("units", "text"), [(12345.6, "12,346/s"), (3.52, "3.5/s"), (0.2, "12.0/min")])
def test_rates_for_people(units, text):
    assert rate(units) == text

"""Scratch folders: gone afterwards, and gone after a kill as soon as another is asked for."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from hybrid_ray.on_ray.scratch import scratch

KILLED = """
import os, signal
from hybrid_ray.on_ray.scratch import scratch
with scratch("made_up") as folder:
    (folder / "page").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A temporary folder of this test's own, for its children too."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_empty_and_gone_afterwards_whatever_happened(place):
    with scratch("made_up") as folder:
        assert list(folder.iterdir()) == []
        (folder / "page").write_bytes(b"x")
    with pytest.raises(ZeroDivisionError), scratch("made_up"):
        raise ZeroDivisionError
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_or_of_another_name_is_not(place):
    other = place / "made"
    other.mkdir()
    with scratch("made_up") as used:
        done = subprocess.run([sys.executable, "-c", KILLED], check=False)
        assert done.returncode == -signal.SIGKILL
        [left] = {path for path in place.iterdir() if path.is_dir()} - {used, other}
        assert list(left.iterdir()) == [left / "page"]
        with scratch("made_up") as mine:
            assert {path for path in place.iterdir() if path.is_dir()} == {used, other, mine}
        assert used.is_dir()
    assert os.listdir(place) == ["made"]

"""Versions of packages, found under another name too."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from hybrid_ray.versions import version_of, versions_of


def other_name(folder: Path) -> None:
    """Install the distribution ``toylib-cpu``, whose module is ``toylib``."""
    info = folder / "toylib_cpu-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toylib-cpu\nVersion: 1.5\n")
    (info / "top_level.txt").write_text("toylib\n")
    (info / "RECORD").write_text("toylib/__init__.py,,\n")


def test_a_package_is_found_under_its_own_name() -> None:
    assert version_of("numpy") == importlib.metadata.version("numpy")


def test_a_package_is_found_by_the_module_that_it_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_name(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert version_of("toylib") == "1.5"
    assert versions_of(["toylib", "no-such-thing"]) == {"toylib": "1.5"}


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError, match="no-such-thing"):
        version_of("no-such-thing")

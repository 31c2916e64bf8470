"""What the command line makes of a spec, its options and a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_ray.cli.runs import _request
from hybrid_ray.errors import BadInputError

SPEC = """
name: small
task: binary
data: {path: rows.csv, label: y, columns: {x: numeric}}
search: {trials: 9, folds: 4}
smoke: {rows: 40, trials: 2, generate: true, overrides: {search.folds: 2}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


def test_the_command_line_wins_over_the_small_form(path: Path) -> None:
    plain = _request(path, None, None, None, {"search.trials": 5}).spec
    assert (plain.search.trials, plain.search.folds, plain.data.limit) == (5, 4, None)
    small = _request(path, None, None, None, {}, smoke=True).spec
    assert (small.search.trials, small.search.folds, small.data.limit) == (2, 2, 40)
    assert str(small.data.path).startswith("generated://")
    asked = {"search.trials": 3, "seed": 7, "data.path": "other.csv"}
    small = _request(path, None, None, "multiclass", asked, smoke=True).spec
    assert (small.search.trials, small.search.folds, small.seed, small.task) == (3, 2, 7, "multiclass")
    assert str(small.data.path).startswith("generated://"), "its rows are what makes it small"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((None, None, None, False), "give a spec file, or --data and --label; got both or neither"),
        (("spec", "rows.csv", "y", False), "give a spec file, or --data and --label; got both or neither"),
        (("spec", None, "y", False), "--label: a spec names its label itself; got 'y'. Use --set data.label=y"),
        ((None, "rows.csv", None, False), "--label: must name the column to predict"),
        ((None, "rows.csv", "y", True), "--smoke: a spec file says what its small form is"),
    ],
)
def test_what_does_not_go_together_is_told(path: Path, given: tuple[str | None, ...], said: str) -> None:
    spec, data, label, smoke = given
    with pytest.raises(BadInputError, match=said):
        _request(path if spec else None, data, label, None, {}, smoke=bool(smoke))

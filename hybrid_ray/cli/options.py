"""Options that commands share, and how they answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from hybrid_ray.errors import BadInputError
from hybrid_ray.types import CLUSTERING

Store = Annotated[str, typer.Option("--store", envvar="HYBRID_RAY_STORE", help="Store: a folder or any fsspec URL.")]
Address = Annotated[str | None, typer.Option("--address", help="Ray cluster; default: a local one for the command.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object as the last line on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Ray's own logs too, and tracebacks of failures.")]
SpecPath = Annotated[Path | None, typer.Argument(help="Spec file (YAML).", show_default=False)]
Data = Annotated[str | None, typer.Option("--data", help="Rows: a file, folder, glob or URL.")]
NeedData = Annotated[str, typer.Option("--data", help="Rows: a file, folder, glob or URL.")]
Label = Annotated[str | None, typer.Option("--label", help="Column to predict; to compare clusters with, if any.")]
TaskOption = Annotated[str | None, typer.Option("--task", help="Task; default: told from the label.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override of a spec value: search.folds=3.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything.")]
Trials = Annotated[int | None, typer.Option("--trials", help="Candidates to try.")]
TimeLimit = Annotated[float | None, typer.Option("--time-limit", help="Seconds for the whole command.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start another run of the same spec and data.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="The spec's smoke form: few rows, few trials.")]
ModelRef = Annotated[str, typer.Argument(help="name, name@champion, name:version, or a folder.")]

DEFAULT_STORE = "./hybrid_ray_store"


def check_label(label: str | None, task: str | None) -> None:
    """Refuse to go without a label where one is to be predicted."""
    if label is None and task not in CLUSTERING:
        raise BadInputError("--label: must name the column to predict when --data is given; got none")


def overrides_of(
    assignments: Sequence[str] | None, seed: int | None, trials: int | None, time_limit: float | None
) -> dict[str, Any]:
    """Values that the command line puts in the place of a spec's own, by path."""
    overrides: dict[str, Any] = {}
    for assignment in assignments or ():
        path, equals, value = assignment.partition("=")
        if not equals or not path:
            raise BadInputError(f"--set: must read path=value; got {assignment!r}. Example: --set search.folds=3")
        try:
            overrides[path] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadInputError(f"--set {path}: the value must be YAML; got {value!r}. Quote it") from error
    named = {"seed": seed, "search.trials": trials, "time_limit_s": time_limit}
    return overrides | {path: value for path, value in named.items() if value is not None}


def emit(answer: dict[str, Any], as_json: bool, lines: Sequence[str]) -> None:
    """Print the answer: lines for people, or one JSON object."""
    if as_json:
        print(json.dumps(answer, default=str))
    else:
        print("\n".join(lines))

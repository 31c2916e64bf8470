"""Commands that carry a spec out, and those that look at runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml

from hybrid_ray.cli.options import (
    DEFAULT_STORE,
    Address,
    Data,
    Fresh,
    Json,
    Label,
    ModelRef,
    NeedData,
    Quiet,
    Seed,
    Set,
    Smoke,
    SpecPath,
    Store,
    TaskOption,
    TimeLimit,
    Trials,
    Verbose,
    check_label,
    emit,
    overrides_of,
)
from hybrid_ray.errors import BadInputError

if TYPE_CHECKING:
    from hybrid_ray.infer import Resolved

app = typer.Typer()
runs = typer.Typer(help="Runs in the store.", no_args_is_help=True)


def _request(
    spec: Path | None,
    data: str | None,
    label: str | None,
    task: str | None,
    overrides: dict[str, Any],
    smoke: bool = False,
) -> Resolved:
    """The spec of a file, or the spec inferred from a table."""
    from hybrid_ray.infer import Resolved, infer_spec
    from hybrid_ray.spec import load_spec, smoke_form

    if (spec is None) == (data is None):
        raise BadInputError("run: give a spec file, or --data and --label; got both or neither")
    if spec is not None:
        if label is not None:
            raise BadInputError(f"--label: a spec names its label itself; got {label!r}. Use --set data.label={label}")
        asked = overrides | ({"task": task} if task else {})
        loaded = load_spec(spec, asked)
        if not smoke:
            return Resolved(loaded)
        # What the command line says wins over the small form, but for the rows, which are what makes it small.
        small = smoke_form(loaded).model_dump(mode="json")
        return Resolved(load_spec(small, {path: v for path, v in asked.items() if not path.startswith("data.")}))
    assert data is not None
    check_label(label, task)
    if smoke:
        raise BadInputError("--smoke: a spec file says what its small form is; got --data. Use --trials and --set")
    return infer_spec(data, label, task, overrides)


def _pipeline(
    stop_after: Literal["extract", "search", "report"],
    request: Resolved,
    store: str,
    address: str | None,
    fresh: bool,
    quiet: bool,
    verbose: bool,
    resume: str | None = None,
) -> dict[str, Any]:
    """Carry a spec out with progress on standard error."""
    from hybrid_ray.console import make_progress
    from hybrid_ray.on_ray.cluster import connect
    from hybrid_ray.on_ray.run import run_spec

    progress = make_progress(quiet, sys.stderr)
    with progress:
        return run_spec(
            request.spec,
            store,
            cluster=lambda: connect(address, quiet=not verbose),
            progress=progress,
            fresh=fresh,
            resume=resume,
            inferred=request,
            stop_after=stop_after,
        )


@app.command()
def run(
    spec: SpecPath = None,
    data: Data = None,
    label: Label = None,
    task: TaskOption = None,
    assignments: Set = None,
    seed: Seed = None,
    trials: Trials = None,
    time_limit: TimeLimit = None,
    fresh: Fresh = False,
    smoke: Smoke = False,
    store: Store = DEFAULT_STORE,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Extract, search, fuse, evaluate and save: from a spec, or from --data and --label."""
    from hybrid_ray.results import describe_run

    request = _request(spec, data, label, task, overrides_of(assignments, seed, trials, time_limit), smoke)
    answer = _pipeline("report", request, store, address, fresh, quiet, verbose)
    emit(answer, as_json, describe_run(answer))


@app.command()
def extract(
    spec: SpecPath = None,
    data: Data = None,
    label: Label = None,
    task: TaskOption = None,
    assignments: Set = None,
    seed: Seed = None,
    trials: Trials = None,
    time_limit: TimeLimit = None,
    fresh: Fresh = False,
    smoke: Smoke = False,
    store: Store = DEFAULT_STORE,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Only fill the feature cache."""
    request = _request(spec, data, label, task, overrides_of(assignments, seed, trials, time_limit), smoke)
    answer = _pipeline("extract", request, store, address, fresh, quiet, verbose)
    counts = answer["extraction"]
    emit(
        answer,
        as_json,
        [f"{counts['rows']} rows: {counts['computed']} computed, {counts['cached']} cached, {counts['seconds']:.1f} s"],
    )


@app.command()
def search(
    spec: SpecPath = None,
    data: Data = None,
    label: Label = None,
    task: TaskOption = None,
    assignments: Set = None,
    seed: Seed = None,
    trials: Trials = None,
    time_limit: TimeLimit = None,
    fresh: Fresh = False,
    smoke: Smoke = False,
    store: Store = DEFAULT_STORE,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Extract and search; ``run`` with the same spec goes on from there."""
    from hybrid_ray.results import describe_search

    request = _request(spec, data, label, task, overrides_of(assignments, seed, trials, time_limit), smoke)
    answer = _pipeline("search", request, store, address, fresh, quiet, verbose)
    emit(answer, as_json, describe_search(answer))


@app.command()
def retrain(
    model: ModelRef,
    data: NeedData,
    assignments: Set = None,
    seed: Seed = None,
    trials: Trials = None,
    time_limit: TimeLimit = None,
    fresh: Fresh = False,
    store: Store = DEFAULT_STORE,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run the spec of a model again on other rows; registers the next version."""
    from hybrid_ray.infer import Resolved
    from hybrid_ray.on_ray.run import spec_of_model
    from hybrid_ray.results import describe_run

    overrides = overrides_of(assignments, seed, trials, time_limit)
    request = Resolved(spec_of_model(store, model, data, overrides))
    answer = _pipeline("report", request, store, address, fresh, quiet, verbose)
    emit(answer, as_json, describe_run(answer))


@runs.command("list")
def runs_list(store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Runs, newest first."""
    from hybrid_ray.results import run_lines
    from hybrid_ray.store.root import StoreRoot
    from hybrid_ray.store.runs import RunStore

    answer = RunStore(StoreRoot(store)).list()
    emit({"runs": answer}, as_json, run_lines(answer))


@runs.command("show")
def runs_show(
    run_id: Annotated[str, typer.Argument(help="Run id.")], store: Store = DEFAULT_STORE, as_json: Json = False
) -> None:
    """Record and result of one run."""
    from hybrid_ray.store.root import StoreRoot
    from hybrid_ray.store.runs import RunStore

    answer = RunStore(StoreRoot(store)).get(run_id)
    emit(answer, as_json, [yaml.safe_dump(answer, sort_keys=False, allow_unicode=True).rstrip()])


@runs.command("resume")
def runs_resume(
    run_id: Annotated[str, typer.Argument(help="Run id.")],
    store: Store = DEFAULT_STORE,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Go on with an unfinished run."""
    from hybrid_ray.infer import Resolved
    from hybrid_ray.on_ray.run import spec_of_run
    from hybrid_ray.results import describe_run

    request = Resolved(spec_of_run(store, run_id))
    answer = _pipeline("report", request, store, address, False, quiet, verbose, resume=run_id)
    emit(answer, as_json, describe_run(answer))


@runs.command("study")
def runs_study(
    run_id: Annotated[str, typer.Argument(help="Run id.")],
    out: Annotated[str, typer.Option("--out", help="Journal file, SQLite file, or database URL.")],
    store: Store = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Export the search of a run as Optuna studies, for optuna-dashboard."""
    from hybrid_ray.search.study import export_study

    answer = export_study(store, run_id, out)
    lines = [f"{name}: {n} trials" for name, n in answer["studies"].items()]
    emit(answer, as_json, [*lines, f"optuna-dashboard {answer['address']}"])

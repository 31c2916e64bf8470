"""The command line: argument parsing only; every verb lives below.

Standard output carries the answer (with ``--json``, one JSON object as the last line); progress and logs go to
standard error. Exit codes: 0 done; 2 bad input, one clear line; 1 a failure, with what was kept and how to resume.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml

from hybrid_ray.errors import BadInputError, HybridRayError

app = typer.Typer(
    name="hybrid-ray",
    help="Deep extractors and classical learners, fused: extracted, searched and served on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models = typer.Typer(help="Versions of models in the store.", no_args_is_help=True)
runs = typer.Typer(help="Runs in the store.", no_args_is_help=True)
spec_app = typer.Typer(help="Make and check specs.", no_args_is_help=True)
store_app = typer.Typer(help="What the store holds.", no_args_is_help=True)
app.add_typer(models, name="models")
app.add_typer(runs, name="runs")
app.add_typer(spec_app, name="spec")
app.add_typer(store_app, name="store")

Store = Annotated[str, typer.Option("--store", envvar="HYBRID_RAY_STORE", help="Store: a folder or any fsspec URL.")]
Address = Annotated[str | None, typer.Option("--address", help="Ray cluster; default: a local one for the command.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object as the last line on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Ray's own logs too, and tracebacks of failures.")]
SpecPath = Annotated[Path | None, typer.Argument(help="Spec file (YAML).", show_default=False)]
Data = Annotated[str | None, typer.Option("--data", help="Rows: a file, folder, glob or URL.")]
NeedData = Annotated[str, typer.Option("--data", help="Rows: a file, folder, glob or URL.")]
Label = Annotated[str | None, typer.Option("--label", help="Column to predict.")]
TaskOption = Annotated[str | None, typer.Option("--task", help="Task; default: told from the label.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override of a spec value: search.folds=3.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything.")]
Trials = Annotated[int | None, typer.Option("--trials", help="Candidates to try.")]
TimeLimit = Annotated[float | None, typer.Option("--time-limit", help="Seconds of search.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start another run of the same spec and data.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="The spec's smoke form: few rows, few trials.")]
ModelRef = Annotated[str, typer.Argument(help="name, name@champion, name:version, or a folder.")]

DEFAULT_STORE = "./hybrid_ray_store"

# typer brings its own copy of click in some versions: the base of its public exception is the same class in all.
_UsageError: Any = typer.BadParameter.__base__


def _overrides(
    assignments: Sequence[str] | None, seed: int | None, trials: int | None, time_limit: float | None
) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for assignment in assignments or ():
        path, equals, value = assignment.partition("=")
        if not equals or not path:
            raise BadInputError(f"--set: must read path=value; got {assignment!r}. Example: --set search.folds=3")
        overrides[path] = yaml.safe_load(value)
    named = {"seed": seed, "search.trials": trials, "search.time_limit_s": time_limit}
    return overrides | {path: value for path, value in named.items() if value is not None}


def _emit(answer: dict[str, Any], as_json: bool, lines: Sequence[str]) -> None:
    """Print the answer: lines for people, or one JSON object."""
    if as_json:
        print(json.dumps(answer, default=str))
    else:
        print("\n".join(lines))


def _request(
    spec: Path | None,
    data: str | None,
    label: str | None,
    task: str | None,
    overrides: dict[str, Any],
    smoke: bool = False,
) -> Any:
    """The spec of a file, or the spec inferred from a table."""
    from hybrid_ray.infer import infer_spec
    from hybrid_ray.spec import load_spec, smoke_form

    if (spec is None) == (data is None):
        raise BadInputError("run: give a spec file, or --data and --label; got both or neither")
    if spec is not None:
        loaded = load_spec(spec, overrides | ({"task": task} if task else {}))
        return smoke_form(loaded) if smoke else loaded
    if data is None or label is None:
        raise BadInputError("--label: must name the column to predict when --data is given; got none")
    inferred, _ = infer_spec(data, label, task)
    return load_spec(inferred.model_dump(mode="json", exclude_defaults=True), overrides) if overrides else inferred


def _pipeline(
    stop_after: Literal["extract", "search", "report"],
    request: Any,
    store: str,
    address: str | None,
    fresh: bool,
    quiet: bool,
    verbose: bool,
) -> dict[str, Any]:
    from hybrid_ray.console import make_progress
    from hybrid_ray.on_ray.cluster import connect
    from hybrid_ray.on_ray.run import run_spec

    progress = make_progress(quiet, sys.stderr)
    with progress:
        return run_spec(
            request,
            store,
            cluster=lambda: connect(address, quiet=not verbose),
            progress=progress,
            fresh=fresh,
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

    request = _request(spec, data, label, task, _overrides(assignments, seed, trials, time_limit), smoke)
    answer = _pipeline("report", request, store, address, fresh, quiet, verbose)
    _emit(answer, as_json, describe_run(answer))


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
    request = _request(spec, data, label, task, _overrides(assignments, seed, trials, time_limit), smoke)
    answer = _pipeline("extract", request, store, address, fresh, quiet, verbose)
    counts = answer["extraction"]
    _emit(
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

    request = _request(spec, data, label, task, _overrides(assignments, seed, trials, time_limit), smoke)
    answer = _pipeline("search", request, store, address, fresh, quiet, verbose)
    _emit(answer, as_json, describe_search(answer))


@app.command()
def predict(
    model: ModelRef,
    data: NeedData,
    out: Annotated[str, typer.Option("--out", help="File to write: .parquet, .csv or .jsonl.")],
    store: Store = DEFAULT_STORE,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Predict the rows of a table on Ray Data."""
    from hybrid_ray.on_ray.cluster import connect
    from hybrid_ray.on_ray.predict import predict_file

    with connect(address, quiet=not verbose) as cluster:
        answer = predict_file(cluster, model, store, data, out)
    _emit(answer, as_json, [f"{answer['rows']} rows predicted by {answer['model']}:{answer['version']} → {out}"])


@app.command()
def evaluate(
    model: ModelRef,
    data: NeedData,
    store: Store = DEFAULT_STORE,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score a model on labelled rows."""
    from hybrid_ray.on_ray.cluster import connect
    from hybrid_ray.on_ray.evaluate import evaluate_file
    from hybrid_ray.results import describe_scores

    with connect(address, quiet=not verbose) as cluster:
        answer = evaluate_file(cluster, model, store, data)
    _emit(answer, as_json, describe_scores(answer))


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
    from hybrid_ray.on_ray.run import spec_of_model
    from hybrid_ray.results import describe_run

    overrides = _overrides(assignments, seed, trials, time_limit)
    request = spec_of_model(store, model, data, overrides)
    answer = _pipeline("report", request, store, address, fresh, quiet, verbose)
    _emit(answer, as_json, describe_run(answer))


@app.command()
def serve(
    model: ModelRef,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to bind.")] = 8000,
    store: Store = DEFAULT_STORE,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Serve a model over HTTP until interrupted."""
    from hybrid_ray.on_ray.cluster import connect
    from hybrid_ray.on_ray.serve import serve_model

    with connect(address, quiet=not verbose) as cluster, serve_model(cluster, model, store, host, port) as served:
        _emit({"url": served.url, "model": served.model, "version": served.version}, as_json, [served.banner])
        sys.stdout.flush()
        served.wait()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def submit(
    context: typer.Context,
    address: Annotated[str, typer.Option("--address", help="Job server: http://head:8265.")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the logs until it ends.")] = True,
    store: Annotated[str | None, typer.Option("--store", help="Store of the job; the cluster must reach it.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a command on a Ray cluster: ``hybrid-ray submit --address URL -- run SPEC …``."""
    from hybrid_ray.on_ray.jobs import submit as submit_job

    if not context.args:
        raise BadInputError(
            "submit: a command must follow --; got none. Example: submit --address URL -- run spec.yaml"
        )
    answer = submit_job(address, list(context.args), wait=wait, stream=None if quiet else sys.stderr, store=store)
    _emit(answer, as_json, [f"{answer['job']}: {answer['status']}"])
    if answer["status"] in ("FAILED", "STOPPED"):
        raise typer.Exit(answer["exit_code"] or 1)


@models.command("list")
def models_list(store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Models, versions and aliases."""
    from hybrid_ray.results import model_lines
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    answer = ModelStore(StoreRoot(store)).summary()
    _emit({"models": answer}, as_json, model_lines(answer))


@models.command("show")
def models_show(model: ModelRef, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """The manifest of one version."""
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    answer = ModelStore(StoreRoot(store)).manifest(model)
    _emit(answer, as_json, [yaml.safe_dump(answer, sort_keys=False, allow_unicode=True).rstrip()])


@models.command("promote")
def models_promote(model: ModelRef, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Make a version the champion."""
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    held = ModelStore(StoreRoot(store))
    version = held.resolve(model)
    held.set_alias(version.name, "champion", version.version)
    _emit(
        {"model": version.name, "champion": version.version}, as_json, [f"{version.name}@champion = {version.version}"]
    )


@models.command("rollback")
def models_rollback(
    name: Annotated[str, typer.Argument(help="Model name.")], store: Store = DEFAULT_STORE, as_json: Json = False
) -> None:
    """Make the champion before this one the champion again."""
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    version = ModelStore(StoreRoot(store)).rollback(name, "champion")
    _emit({"model": name, "champion": version}, as_json, [f"{name}@champion = {version}"])


@models.command("delete")
def models_delete(model: ModelRef, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Delete one version (not the champion)."""
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    held = ModelStore(StoreRoot(store))
    version = held.resolve(model)
    held.delete(version.name, version.version)
    _emit({"model": version.name, "deleted": version.version}, as_json, [f"deleted {version.name}:{version.version}"])


@models.command("verify")
def models_verify(model: ModelRef, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Check every digest and replay the golden rows."""
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    answer = ModelStore(StoreRoot(store)).verify(model)
    _emit(answer, as_json, [f"{model}: {answer['files']} files and {answer['golden_rows']} golden rows are as saved"])


@runs.command("list")
def runs_list(store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Runs, newest first."""
    from hybrid_ray.results import run_lines
    from hybrid_ray.store.root import StoreRoot
    from hybrid_ray.store.runs import RunStore

    answer = RunStore(StoreRoot(store)).list()
    _emit({"runs": answer}, as_json, run_lines(answer))


@runs.command("show")
def runs_show(
    run_id: Annotated[str, typer.Argument(help="Run id.")], store: Store = DEFAULT_STORE, as_json: Json = False
) -> None:
    """Record and result of one run."""
    from hybrid_ray.store.root import StoreRoot
    from hybrid_ray.store.runs import RunStore

    answer = RunStore(StoreRoot(store)).get(run_id)
    _emit(answer, as_json, [yaml.safe_dump(answer, sort_keys=False, allow_unicode=True).rstrip()])


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
    from hybrid_ray.on_ray.run import spec_of_run
    from hybrid_ray.results import describe_run

    answer = _pipeline("report", spec_of_run(store, run_id), store, address, False, quiet, verbose)
    _emit(answer, as_json, describe_run(answer))


@spec_app.command("infer")
def spec_infer(data: NeedData, label: Annotated[str, typer.Option("--label")], task: TaskOption = None) -> None:
    """Write a complete spec for a table to standard output, each choice with its reason."""
    from hybrid_ray.infer import infer_spec
    from hybrid_ray.spec import dump_yaml

    spec, reasons = infer_spec(data, label, task)
    print(dump_yaml(spec, reasons), end="")


@spec_app.command("validate")
def spec_validate(
    spec: Annotated[Path, typer.Argument(help="Spec file (YAML).")], assignments: Set = None, as_json: Json = False
) -> None:
    """Check a spec; every fault at once."""
    from hybrid_ray.spec import load_spec

    loaded = load_spec(spec, _overrides(assignments, None, None, None))
    _emit({"valid": True, "name": loaded.name}, as_json, [f"{spec}: valid"])


@spec_app.command("schema")
def spec_schema_command() -> None:
    """Print the JSON Schema of a spec, for editors."""
    from hybrid_ray.spec import spec_schema

    print(json.dumps(spec_schema(), indent=2))


@store_app.command("usage")
def store_usage(store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Bytes and files of each part of the store."""
    from hybrid_ray.store.root import StoreRoot
    from hybrid_ray.store.usage import usage

    answer = usage(StoreRoot(store))
    _emit(answer, as_json, [yaml.safe_dump(answer, sort_keys=False).rstrip()])


@store_app.command("gc")
def store_gc(store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Remove what no run and no model refers to."""
    from hybrid_ray.store.root import StoreRoot
    from hybrid_ray.store.usage import gc

    answer = gc(StoreRoot(store))
    _emit(answer, as_json, [yaml.safe_dump(answer, sort_keys=False).rstrip()])


@app.command()
def doctor(store: Store = DEFAULT_STORE, address: Address = None, as_json: Json = False) -> None:
    """Tell what this machine, cluster and store can do, and what to mend."""
    from hybrid_ray.on_ray.doctor import examine

    answer = examine(store, address)
    _emit(
        answer,
        as_json,
        [f"{'ok ' if check['ok'] else 'BAD'} {check['name']}: {check['said']}" for check in answer["checks"]],
    )
    if not all(check["ok"] for check in answer["checks"]):
        raise typer.Exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; default: those of the process.

    Returns
    -------
    int
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = "-v" in arguments or "--verbose" in arguments
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name="hybrid-ray", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except HybridRayError as error:
        if verbose and error.exit_code != 2:
            raise
        print(f"hybrid-ray: {error}", file=sys.stderr)
        return error.exit_code
    except _UsageError as error:
        print(f"hybrid-ray: {error.format_message()} Try 'hybrid-ray --help'", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        print("hybrid-ray: interrupted; finished work is kept, the same command goes on from there", file=sys.stderr)
        return 130
    except Exception as error:  # the edge of the process: said in one line, -v shows it whole
        if verbose:
            raise
        print(
            f"hybrid-ray: {type(error).__name__}: {error}. Finished work is kept; the same command goes on from there. "
            "-v shows the traceback",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())

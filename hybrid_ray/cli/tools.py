"""Commands around runs and models: jobs, specs, the store, the machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from hybrid_ray.cli.options import (
    DEFAULT_STORE,
    Address,
    Json,
    Label,
    NeedData,
    Quiet,
    Set,
    Store,
    TaskOption,
    TimeLimit,
    Verbose,
    check_label,
    emit,
    overrides_of,
)
from hybrid_ray.errors import BadInputError

app = typer.Typer()
spec_app = typer.Typer(help="Make and check specs.", no_args_is_help=True)
store_app = typer.Typer(help="What the store holds.", no_args_is_help=True)


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
    emit(answer, as_json, [f"{answer['job']}: {answer['status']}"])
    if answer["status"] in ("FAILED", "STOPPED"):
        raise typer.Exit(answer["exit_code"] or 1)


@spec_app.command("infer")
def spec_infer(
    data: NeedData,
    label: Label = None,
    task: TaskOption = None,
    assignments: Set = None,
    time_limit: TimeLimit = None,
    as_json: Json = False,
) -> None:
    """Write a complete spec for a table to standard output, each choice with its reason."""
    from hybrid_ray.infer import infer_spec
    from hybrid_ray.spec import dump_yaml

    check_label(label, task)
    spec, reasons, warnings = infer_spec(data, label, task, overrides_of(assignments, None, None, time_limit))
    answer = {"spec": spec.model_dump(mode="json"), "reasons": dict(reasons), "warnings": list(warnings)}
    emit(answer, as_json, [dump_yaml(spec, reasons).rstrip("\n")])


@spec_app.command("validate")
def spec_validate(
    spec: Annotated[Path, typer.Argument(help="Spec file (YAML).")], assignments: Set = None, as_json: Json = False
) -> None:
    """Check a spec; every fault at once."""
    from hybrid_ray.spec import load_spec, smoke_form

    loaded = load_spec(spec, overrides_of(assignments, None, None, None))
    if loaded.smoke.overrides:
        smoke_form(loaded)
    emit({"valid": True, "name": loaded.name}, as_json, [f"{spec}: valid"])


@spec_app.command("schema")
def spec_schema_command(as_json: Json = False) -> None:
    """Print the JSON Schema of a spec, for editors."""
    from hybrid_ray.spec import spec_schema

    schema = spec_schema()
    emit(schema, as_json, [json.dumps(schema, indent=2)])


@store_app.command("usage")
def store_usage(store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Bytes and files of each part of the store."""
    from hybrid_ray.store.root import StoreRoot
    from hybrid_ray.store.usage import usage

    answer = usage(StoreRoot(store))
    emit(answer, as_json, [yaml.safe_dump(answer, sort_keys=False).rstrip()])


@store_app.command("gc")
def store_gc(store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Remove what no run and no model refers to."""
    from hybrid_ray.store.root import StoreRoot
    from hybrid_ray.store.usage import gc

    answer = gc(StoreRoot(store))
    emit(answer, as_json, [yaml.safe_dump(answer, sort_keys=False).rstrip()])


@app.command()
def doctor(store: Store = DEFAULT_STORE, address: Address = None, as_json: Json = False) -> None:
    """Tell what this machine, cluster and store can do, and what to mend."""
    from hybrid_ray.on_ray.doctor import examine

    answer = examine(store, address)
    emit(
        answer,
        as_json,
        [f"{'ok ' if check['ok'] else 'BAD'} {check['name']}: {check['said']}" for check in answer["checks"]],
    )
    if not all(check["ok"] for check in answer["checks"]):
        raise typer.Exit(1)

"""Commands that use a model, and those that manage versions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from hybrid_ray.cli.options import (
    DEFAULT_STORE,
    Address,
    Json,
    ModelRef,
    NeedData,
    Quiet,
    Store,
    Verbose,
    emit,
)

if TYPE_CHECKING:
    from hybrid_ray.extractors.sight import Pieces

app = typer.Typer()
models = typer.Typer(help="Versions of models in the store.", no_args_is_help=True)


@app.command()
def predict(
    model: ModelRef,
    data: NeedData,
    out: Annotated[str, typer.Option("--out", help="File to write: .parquet, .csv or .jsonl.")],
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="Column to copy; default: those that name the rows.")
    ] = None,
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
        answer = predict_file(cluster, model, store, data, out, keep)
    told = f"{answer['rows']} rows predicted by {answer['model']}:{answer['version']} → {out}"
    emit(answer, as_json, [told, *answer["notes"]])


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
    emit(answer, as_json, describe_scores(answer))


@app.command()
def explain(
    model: ModelRef,
    data: NeedData,
    out: Annotated[str, typer.Option("--out", help="Folder for importance and attributions, as JSON and pictures.")],
    rows: Annotated[int, typer.Option("--rows", min=2, help="Rows at most, sampled.")] = 500,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Shuffles of each column.")] = 10,
    attribute: Annotated[int, typer.Option("--attribute", min=0, help="Rows whose answers are attributed.")] = 5,
    lime: Annotated[bool, typer.Option("--lime", help="Attribute to columns by LIME: cheaper where many.")] = False,
    pixels: Annotated[bool, typer.Option("--pixels", help="Attribute to pixels of their images too.")] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="Attribute to tokens of their texts too.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of sample and shuffles.")] = 0,
    store: Store = DEFAULT_STORE,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tell how much a model needs each column and modality, and why some rows are answered as they are."""
    from hybrid_ray.on_ray.cluster import connect
    from hybrid_ray.on_ray.explain import explain_file
    from hybrid_ray.results import describe_importance

    asked: dict[Pieces, bool] = {"pixels": pixels, "tokens": tokens}
    with connect(address, quiet=not verbose) as cluster:
        answer = explain_file(
            cluster,
            model,
            store,
            data,
            out,
            rows=rows,
            repeats=repeats,
            attributed=attribute,
            seed=seed,
            method="lime" if lime else "shapley",
            pieces=[pieces for pieces, wanted in asked.items() if wanted],
        )
    emit(answer, as_json, [*describe_importance(answer), *answer["notes"]])


@app.command()
def serve(
    model: ModelRef,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to bind.")] = 8000,
    tokens: Annotated[
        bool | None, typer.Option("--tokens/--no-tokens", help="Ask for tokens; default: beyond this machine.")
    ] = None,
    store: Store = DEFAULT_STORE,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Serve a model over HTTP until interrupted."""
    from hybrid_ray.on_ray.cluster import connect
    from hybrid_ray.on_ray.serve import serve_model

    with (
        connect(address, quiet=not verbose) as cluster,
        serve_model(cluster, model, store, host, port, tokens=tokens) as served,
    ):
        emit({"url": served.url, "model": served.model, "version": served.version}, as_json, [served.banner])
        sys.stdout.flush()
        served.wait()


@models.command("list")
def models_list(store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Models, versions and aliases."""
    from hybrid_ray.results import model_lines
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    answer = ModelStore(StoreRoot(store)).summary()
    emit({"models": answer}, as_json, model_lines(answer))


@models.command("show")
def models_show(model: ModelRef, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """The manifest of one version."""
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    answer = ModelStore(StoreRoot(store)).manifest(model)
    emit(answer, as_json, [yaml.safe_dump(answer, sort_keys=False, allow_unicode=True).rstrip()])


@models.command("promote")
def models_promote(model: ModelRef, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Make a version the champion."""
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    held = ModelStore(StoreRoot(store))
    version = held.resolve(model)
    held.set_alias(version.name, "champion", version.version)
    emit(
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
    emit({"model": name, "champion": version}, as_json, [f"{name}@champion = {version}"])


@models.command("delete")
def models_delete(model: ModelRef, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Delete one version (not the champion)."""
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    held = ModelStore(StoreRoot(store))
    version = held.resolve(model)
    held.delete(version.name, version.version)
    emit({"model": version.name, "deleted": version.version}, as_json, [f"deleted {version.name}:{version.version}"])


@models.command("verify")
def models_verify(model: ModelRef, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Check every digest and replay the golden rows."""
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    answer = ModelStore(StoreRoot(store)).verify(model)
    emit(answer, as_json, [f"{model}: {answer['files']} files and {answer['golden_rows']} golden rows are as saved"])

"""Scripts may give the common options to every command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from hybrid_ray.cli import _with_common_options, app, main

COMMON = {"--store", "--address", "--json", "--quiet", "-v"}


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, below in command.commands.items():
        if hasattr(below, "commands"):
            yield from leaves(below, f"{path}{name} ")
        else:
            yield f"{path}{name}", below


LEAVES = dict(leaves(_with_common_options(typer.main.get_command(app))))


def test_the_contracts_commands_are_there() -> None:
    wanted = {"run", "extract", "search", "predict", "evaluate", "explain", "retrain", "serve", "submit", "doctor"}
    wanted |= {f"models {verb}" for verb in ("list", "show", "promote", "rollback", "delete", "verify")}
    wanted |= {"runs list", "runs show", "runs resume", "spec infer", "spec validate", "spec schema"}
    wanted |= {f"traffic {verb}" for verb in ("show", "set", "shadow", "clear")}
    tokens = {f"tokens {verb}" for verb in ("issue", "list", "revoke")}
    assert set(LEAVES) == wanted | tokens | {"runs study", "store usage", "store gc"}


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_takes_the_common_options(name: str) -> None:
    held = {option: param for param in LEAVES[name].params for option in param.opts}
    assert set(held) >= COMMON
    assert held["--json"].expose_value, "an answer in JSON is more than an option that is taken"
    names = [param.name for param in LEAVES[name].params]
    assert len(names) == len(set(names))


def test_options_without_a_use_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "schema", "--json", "--quiet", "-v", "--store", "nowhere", "--address", "nobody:1"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1])["title"]
    assert said.err == ""

"""Traffic and tokens from the command line: answers for people and scripts, one line for what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hybrid_ray.cli import main
from hybrid_ray.on_ray.serve.run import _is_loopback
from hybrid_ray.serving.tokens import Keyring, TokenStore
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import toy_graph


@pytest.fixture
def store(tmp_path) -> str:
    models = ModelStore(StoreRoot(str(tmp_path)))
    for _ in range(3):
        models.register(toy_graph(), None)
    models.set_alias("toy", "champion", 1)
    return str(tmp_path)


@pytest.fixture
def said(store, capsys):
    """Run a command: its JSON answer."""

    def run(*arguments: str) -> Any:
        assert main([*arguments, "--store", store, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def test_traffic_is_set_shown_and_cleared(said, store, capsys):
    answer = said("traffic", "set", "toy", "--share", "2=0.1", "--key", "x-user", "--reason", "try it")
    assert answer["challengers"] == [{"version": 2, "share": 0.1}]
    assert (answer["key"], answer["by"], answer["reason"], answer["rule"]) == ("x-user", "cli", "try it", None)
    assert said("traffic", "shadow", "toy", "3")["shadows"] == [3]
    again = said("traffic", "set", "toy", "--share", "2=0.3", "--rule", "min_requests=50")
    assert (again["shadows"], again["rule"]["min_requests"]) == ([3], 50)
    assert main(["traffic", "show", "toy", "--store", store]) == 0
    out = capsys.readouterr().out
    assert "toy:1  champion  70.0%" in out
    assert "toy:2  challenger  30.0%" in out
    assert "toy:3  shadow" in out
    assert said("traffic", "clear", "toy")["challengers"] == []
    assert len(said("traffic", "show", "toy")["history"]) == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["set", "toy", "--share", "2"], "--share: must read name=value; got '2'"),
        (["set", "toy", "--share", "two=0.1"], "must begin with the number of a version"),
        (["set", "toy", "--share", "2=much"], "must end with a share"),
        (["set", "toy", "--share", "9=0.1"], "versions must be there; got [9]"),
        (["set", "toy", "--share", "2=1.1"], "less than or equal to 1"),
        (["set", "toy", "--share", "2=0.1", "--rule", "speed=9"], "rule.speed"),
        (["shadow", "toy", "1"], "none the champion"),
        (["show", "other"], "must be in"),
    ],
)
def test_what_is_wrong_is_one_line(store, capsys, arguments, told):
    assert main(["traffic", *arguments, "--store", store]) == 2
    error = capsys.readouterr().err.strip()
    assert told in error
    assert "\n" not in error


def test_tokens_are_made_listed_and_taken_away(said, store):
    made = said("tokens", "issue", "--role", "predict", "--role", "feedback", "--per-second", "5", "--note", "the shop")
    holder = Keyring(TokenStore(StoreRoot(store)).tokens()).holder(f"Bearer {made['token']}")
    assert holder.id == made["id"]
    (listed,) = said("tokens", "list")["tokens"]
    assert (listed["id"], listed["roles"], listed["note"]) == (made["id"], ["feedback", "predict"], "the shop")
    assert made["token"] not in json.dumps(listed)
    said("tokens", "revoke", made["id"])
    assert said("tokens", "list") == {"tokens": []}


def test_a_role_that_there_is_not_is_one_line(store, capsys):
    assert main(["tokens", "issue", "--role", "root", "--store", store]) == 2
    assert "--role: must be some of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.7", False)],
)
def test_what_only_this_machine_reaches_needs_no_token(host, alone):
    assert _is_loopback(host) is alone

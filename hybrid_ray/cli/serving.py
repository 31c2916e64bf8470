"""Commands that decide who answers, and who may ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_ray.cli.options import DEFAULT_STORE, Json, Store, emit
from hybrid_ray.errors import BadInputError

if TYPE_CHECKING:
    from hybrid_ray.serving.standing import Standing, TrafficStore

traffic = typer.Typer(help="Which versions of a model answer, in what shares.", no_args_is_help=True)
tokens = typer.Typer(help="Tokens that servers of the store let in.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Model name.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the journal.")]


@traffic.command("show")
def traffic_show(name: Name, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Who answers whom, and who decided so."""
    held = _traffic(store)
    standing = held.now(name)
    emit(_answer(name, standing) | {"history": held.history(name)}, as_json, _lines(name, standing))


@traffic.command("set")
def traffic_set(
    name: Name,
    share: Annotated[list[str], typer.Option("--share", help="A version and its share of the requests: 4=0.1.")],
    key: Annotated[str | None, typer.Option("--key", help="Header whose value always gets the same version.")] = None,
    salt: Annotated[str, typer.Option("--salt", help="Another salt deals keys anew.")] = "",
    auto: Annotated[bool, typer.Option("--auto", help="Promote the first, or take it back, by a rule.")] = False,
    rule: Annotated[list[str] | None, typer.Option("--rule", help="A value of the rule: max_error_rate=0.02.")] = None,
    reason: Reason = "",
    store: Store = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Let other versions answer a share of the requests; shadows stay."""
    import yaml

    given = dict(_pair(each, "--rule") for each in rule or ())
    form: dict[str, Any] = {
        "challengers": [{"version": _version(v), "share": _share(s)} for v, s in (_pair(e, "--share") for e in share)],
        "key": key,
        "salt": salt,
        "rule": {field: yaml.safe_load(value) for field, value in given.items()} if auto or given else None,
    }
    held = _traffic(store)
    form["shadows"] = [
        v for v in held.now(name).traffic.shadows if v not in {c["version"] for c in form["challengers"]}
    ]
    _tell(name, held.set(name, form, by="cli", reason=reason), as_json)


@traffic.command("shadow")
def traffic_shadow(
    name: Name,
    versions: Annotated[list[int], typer.Argument(help="Versions that are asked too, and answer nobody.")],
    reason: Reason = "",
    store: Store = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Let versions look on; shares stay."""
    held = _traffic(store)
    kept = held.now(name).traffic.model_dump(mode="json", exclude={"champion"})
    _tell(name, held.set(name, kept | {"shadows": versions}, by="cli", reason=reason), as_json)


@traffic.command("clear")
def traffic_clear(name: Name, reason: Reason = "", store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Let the champion answer alone."""
    _tell(name, _traffic(store).clear(name, by="cli", reason=reason), as_json)


@tokens.command("issue")
def tokens_issue(
    role: Annotated[list[str], typer.Option("--role", help="predict, feedback or admin; may be given several times.")],
    per_second: Annotated[float | None, typer.Option("--per-second", help="Requests that it may make.")] = None,
    note: Annotated[str, typer.Option("--note", help="Whose it is.")] = "",
    store: Store = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Make a token. It is shown once: the store keeps a digest of it."""
    from hybrid_ray.serving.tokens import TokenStore
    from hybrid_ray.store.root import StoreRoot

    token, text = TokenStore(StoreRoot(store)).issue(role, per_second, note)
    emit({"id": token.id, "token": text, "roles": sorted(token.roles)}, as_json, [text])


@tokens.command("list")
def tokens_list(store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Tokens that are good, without what is secret of them."""
    from hybrid_ray.serving.tokens import TokenStore
    from hybrid_ray.store.root import StoreRoot

    good = TokenStore(StoreRoot(store)).tokens()
    held = [
        {"id": t.id, "roles": sorted(t.roles), "per_second": t.per_second, "note": t.note, "created": t.created}
        for t in good
    ]
    lines = [f"{t.id}  {', '.join(sorted(t.roles))}  {t.created}  {t.note}" for t in good]
    emit({"tokens": held}, as_json, lines or ["no token is good"])


@tokens.command("revoke")
def tokens_revoke(
    token_id: Annotated[str, typer.Argument(help="Id of the token.")],
    store: Store = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Take a token away."""
    from hybrid_ray.serving.tokens import TokenStore
    from hybrid_ray.store.root import StoreRoot

    TokenStore(StoreRoot(store)).revoke(token_id)
    emit({"revoked": token_id}, as_json, [f"{token_id} is good no more"])


def _traffic(store: str) -> TrafficStore:
    from hybrid_ray.serving.standing import TrafficStore
    from hybrid_ray.store.models import ModelStore
    from hybrid_ray.store.root import StoreRoot

    return TrafficStore(ModelStore(StoreRoot(store)))


def _pair(text: str, option: str) -> tuple[str, str]:
    left, equals, right = text.partition("=")
    if not (left and equals and right):
        raise BadInputError(f"{option}: must read name=value; got {text!r}")
    return left, right


def _version(text: str) -> int:
    if not text.isdecimal():
        raise BadInputError(f"--share: must begin with the number of a version; got {text!r}. Example: --share 4=0.1")
    return int(text)


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadInputError(f"--share: must end with a share of 0 to 1; got {text!r}. Example: --share 4=0.1") from None


def _tell(name: str, standing: Standing, as_json: bool) -> None:
    emit(_answer(name, standing), as_json, _lines(name, standing))


def _answer(name: str, standing: Standing) -> dict[str, Any]:
    told = {"revision": standing.revision, "by": standing.by, "reason": standing.reason, "since": standing.since}
    return {"model": name, **standing.traffic.model_dump(mode="json"), **told}


def _lines(name: str, standing: Standing) -> Sequence[str]:
    now = standing.traffic
    left = 1.0 - sum(each.share for each in now.challengers)
    lines = [f"{name}:{now.champion}  champion  {left:.1%}"]
    lines += [f"{name}:{each.version}  challenger  {each.share:.1%}" for each in now.challengers]
    lines += [f"{name}:{version}  shadow" for version in now.shadows]
    if now.key:
        lines.append(f"by the header {now.key}: one key always gets the same version")
    if now.rule is not None:
        lines.append(f"by a rule: {now.rule.model_dump_json()}")
    if standing.since:
        lines.append(f"since {standing.since}, by {standing.by}" + (f": {standing.reason}" if standing.reason else ""))
    return lines

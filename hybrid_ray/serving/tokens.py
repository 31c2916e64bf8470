"""Who may ask: bearer tokens with roles, of which a store keeps digests only.

A token is ``hr_<id>_<secret>``. Its secret has 256 random bits, so that a plain digest is as good as a slow one: nobody
guesses it. Tokens are taken away by a further record, and never changed.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal, get_args

from hybrid_ray.errors import BadInputError, StoreError
from hybrid_ray.store.records import Journal
from hybrid_ray.store.root import StoreRoot

Role = Literal["predict", "feedback", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""predict: ask and have answers explained; feedback: tell labels; admin: change traffic, read metrics, and all else."""

AREA = "access/tokens"

_TOKEN = re.compile(r"hr_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")
_SCHEME = re.compile(r"[Bb]earer +(?P<token>\S{1,200})")


@dataclass(frozen=True)
class Token:
    """What is known of a token: not the token.

    Attributes
    ----------
    id : str
        12 hexadecimal digits; shown in logs.
    digest : str
        SHA-256 of the whole token.
    roles : frozenset of str
    per_second : float or None
        Requests that it may make in the long run, in one second; None: any number.
    note : str
        Whose it is.
    created : str
        ISO time, UTC.
    """

    id: str
    digest: str
    roles: frozenset[Role]
    per_second: float | None
    note: str
    created: str

    def may(self, role: Role) -> bool:
        """Whether it allows what a role allows; admins may do everything."""
        return role in self.roles or "admin" in self.roles


class Keyring:
    """Tokens that are good now. O(1) a request.

    Parameters
    ----------
    tokens : iterable of Token
    """

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._by_id = {token.id: token for token in tokens}

    def __len__(self) -> int:
        return len(self._by_id)

    def holder(self, authorization: str) -> Token | None:
        """The token that an ``Authorization`` header carries, if it is good."""
        header = _SCHEME.fullmatch(authorization.strip())
        match = _TOKEN.fullmatch(header["token"]) if header else None
        if match is None:
            return None
        known = self._by_id.get(match["id"])
        good = hmac.compare_digest(_digest(match[0]), known.digest if known else "0" * 64)
        return known if good else None


class TokenStore:
    """The tokens of a store.

    Parameters
    ----------
    root : StoreRoot
    """

    def __init__(self, root: StoreRoot) -> None:
        self._journal = Journal(root, AREA)

    def issue(self, roles: Iterable[str], per_second: float | None = None, note: str = "") -> tuple[Token, str]:
        """Make a token: what is kept of it, and the token itself, which nobody can tell again.

        Raises
        ------
        BadInputError
            There is no such role, or the rate is not above 0.
        """
        asked = frozenset(roles)
        unknown = sorted(asked - set(ROLES))
        if unknown or not asked:
            raise BadInputError(f"--role: must be some of {list(ROLES)}; got {unknown or 'none'}")
        if per_second is not None and not per_second > 0:
            raise BadInputError(f"--per-second: must be above 0; got {per_second:g}")
        text = f"hr_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
        token = Token(
            id=text[3:15],
            digest=_digest(text),
            roles=frozenset(role for role in ROLES if role in asked),
            per_second=per_second,
            note=note[:200],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._journal.append({"issued": _to_json(token)})
        return token, text

    def revoke(self, token_id: str) -> None:
        """Take a token away.

        Raises
        ------
        StoreError
            No token that is good has this id.
        """
        held = [token.id for token in self.tokens()]
        if token_id not in held:
            raise StoreError(f"token {token_id!r}: must be one that is good; there are {held}")
        self._journal.append({"revoked": token_id})

    def tokens(self) -> list[Token]:
        """Tokens that are good, in the order in which they were made."""
        held: dict[str, Token] = {}
        for record in self._journal.records().values():
            if "issued" in record:
                token = _from_json(record["issued"])
                held[token.id] = token
            else:
                held.pop(str(record.get("revoked")), None)
        return list(held.values())


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _to_json(token: Token) -> dict[str, Any]:
    return {**vars(token), "roles": sorted(token.roles)}


def _from_json(form: Mapping[str, Any]) -> Token:
    return Token(
        id=str(form["id"]),
        digest=str(form["digest"]),
        roles=frozenset(form["roles"]),
        per_second=form["per_second"],
        note=str(form["note"]),
        created=str(form["created"]),
    )

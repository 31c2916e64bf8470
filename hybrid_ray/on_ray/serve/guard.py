"""Who is let in, and how often."""

from __future__ import annotations

from collections.abc import Mapping

from hybrid_ray.on_ray.serve.contract import Fault, RequestError
from hybrid_ray.serving.rates import RateLimit
from hybrid_ray.serving.tokens import Keyring, Role, Token


class Guard:
    """Looks at the token of every request.

    Parameters
    ----------
    keyring : Keyring or None
        Tokens that are good; None lets everybody do everything, for servers that only their own machine reaches.
    rates : RateLimit, optional
    """

    def __init__(self, keyring: Keyring | None, rates: RateLimit | None = None) -> None:
        self._keyring = keyring
        self._rates = rates or RateLimit()

    def change(self, keyring: Keyring) -> None:
        """Take other tokens for good, from the next request on; an open guard stays open."""
        if self._keyring is not None:
            self._keyring = keyring

    def admit(self, headers: Mapping[str, str], role: Role) -> Token | None:
        """The token of a request that may do what a role allows.

        Raises
        ------
        RequestError
            401 without a good token, 403 where it does not allow this, 429 where it asks too often.
        """
        keyring = self._keyring
        if keyring is None:
            return None
        token = keyring.holder(headers.get("authorization", ""))
        if token is None:
            fault = Fault(("header", "authorization"), "must be Bearer and a token that is good", "unauthorized")
            raise RequestError(401, [fault], {"WWW-Authenticate": "Bearer"})
        if not token.may(role):
            what = f"the token {token.id} must have the role {role}; it has {sorted(token.roles)}"
            raise RequestError(403, [Fault(("header", "authorization"), what, "forbidden")])
        wait = self._rates.wait_s(token.id, token.per_second) if token.per_second is not None else 0
        if wait:
            what = f"the token {token.id} may make {token.per_second:g} requests a second. Come back later"
            raise RequestError(429, [Fault((), what, "too_many_requests")], {"Retry-After": str(wait)})
        return token

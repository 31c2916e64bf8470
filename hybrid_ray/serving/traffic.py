"""Traffic as data: which version of a model answers which request.

A key (a user, a session) is hashed to a place in [0, 1), and challengers take the first part of it: the same key gets
the same version as long as shares stand, and a share that grows moves nobody back.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Self

from pydantic import Field, model_validator

from hybrid_ray.documented import Documented
from hybrid_ray.spec import CanaryRule

MAX_CHALLENGERS = 8
"""Versions beside the champion that answer, and as many again that look on."""

Version = Annotated[int, Field(ge=1)]


class Challenger(Documented):
    """A version that answers a part of the requests."""

    version: Version
    share: float = Field(gt=0, le=1)
    """Of all requests."""


class Traffic(Documented):
    """Who answers."""

    champion: Version
    """Answers all requests that no challenger gets."""
    challengers: tuple[Challenger, ...] = Field((), max_length=MAX_CHALLENGERS)
    """In this order they take their shares: a canary is one, an A/B test may be several."""
    shadows: tuple[Version, ...] = Field((), max_length=MAX_CHALLENGERS)
    """Are asked what the others answer; what they say is logged, and nobody gets it."""
    key: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """Header that says whose request it is: one key always gets the same version. Left out, or where a request lacks
    it, chance decides."""
    salt: str = Field("", max_length=64)
    """Of the hash: another salt deals keys anew, so that the next test does not fall on the same people."""
    rule: CanaryRule | None = None
    """Promotes the first challenger, or takes it back, by itself."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        answering = [self.champion, *(each.version for each in self.challengers)]
        if len(set(answering)) < len(answering):
            raise ValueError(f"champion and challengers must be different versions; got {answering}")
        total = sum(each.share for each in self.challengers)
        if total > 1 + 1e-9:
            raise ValueError(f"shares of challengers must add up to at most 1; got {total:g}")
        if len(set(self.shadows)) < len(self.shadows) or self.champion in self.shadows:
            raise ValueError(f"shadows must be different versions, and none the champion; got {list(self.shadows)}")
        if self.rule is not None and not self.challengers:
            raise ValueError("a rule must have a challenger to decide about; got none")
        return self

    @property
    def versions(self) -> tuple[int, ...]:
        """All versions that must be ready, each once, the champion first."""
        named = [self.champion, *(each.version for each in self.challengers), *self.shadows]
        return tuple(dict.fromkeys(named))

    def version_at(self, place: float) -> int:
        """Who answers at a place in [0, 1)."""
        end = 0.0
        for each in self.challengers:
            end += each.share
            if place < end:
                return each.version
        return self.champion

    def place_of(self, key: str) -> float:
        """Where a key lies in [0, 1): always the same for one salt."""
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=self.salt.encode()).digest()
        return int.from_bytes(digest, "big") / 2**64

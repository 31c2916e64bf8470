"""How a model's traffic stands: the champion alias, and a journal of who else answers.

models/<name>/traffic/<n>.json    what was decided, by whom and why; the newest counts
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from hybrid_ray.errors import BadInputError, StoreError
from hybrid_ray.serving.traffic import Traffic
from hybrid_ray.store.models import AREA, CHAMPION, ModelStore
from hybrid_ray.store.records import Journal
from hybrid_ray.store.root import check_name

_CHANGEABLE = ("challengers", "shadows", "key", "salt", "rule")


@dataclass(frozen=True)
class Standing:
    """Traffic now, and what says so.

    Attributes
    ----------
    traffic : Traffic
    revision : str
        Another whenever anything changed.
    by, reason : str
        Who decided last, and why.
    since : str
        ISO time, UTC, of that; empty where nobody has.
    """

    traffic: Traffic
    revision: str
    by: str
    reason: str
    since: str


class TrafficStore:
    """Traffic of the models of a store. The champion is the alias: ``models promote`` and ``rollback`` move it.

    Parameters
    ----------
    models : ModelStore
    """

    def __init__(self, models: ModelStore) -> None:
        self._models = models

    def now(self, name: str) -> Standing:
        """How traffic stands. Versions that are gone, and a challenger that is champion now, take no part.

        Raises
        ------
        StoreError
            There is no such model.
        """
        versions = {version.version for version in self._models.list(name)}
        if not versions:
            raise StoreError(
                f"model {name!r}: must be in {self._models.root.uri}; it holds {list(self._models.names())}"
            )
        champion = self._models.aliases(name).get(CHAMPION) or max(versions)
        number, record = self._journal(name).last() or (0, {})
        form = {key: record[key] for key in _CHANGEABLE if key in record}
        traffic = _without_gone(form, champion, versions)
        told = [str(record.get(key, "")) for key in ("by", "reason", "created")]
        return Standing(traffic, f"{number}.{champion}", *told)

    def set(self, name: str, form: dict[str, Any], *, by: str, reason: str = "") -> Standing:
        """Let others answer beside the champion.

        Parameters
        ----------
        name : str
        form : dict
            ``challengers``, ``shadows``, ``key``, ``salt``, ``rule`` of a :class:`Traffic`; what is left out is as if
            it had never been set.
        by : str
            Who asks: ``cli``, a token's id, ``rule``.
        reason : str, default ""

        Raises
        ------
        BadInputError
            It is no traffic, or names a version that there is not.
        """
        now = self.now(name)
        try:
            asked = Traffic.model_validate({**form, "champion": now.traffic.champion})
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, e['loc'])) or 'traffic'}: {e['msg']}" for e in error.errors()]
            raise BadInputError("; ".join(faults)) from None
        versions = {version.version for version in self._models.list(name)}
        missing = sorted(set(asked.versions) - versions)
        if missing:
            raise BadInputError(f"traffic: versions must be there; got {missing}, there are {sorted(versions)}")
        kept = asked.model_dump(mode="json", include=set(_CHANGEABLE))
        created = datetime.now(UTC).isoformat(timespec="seconds")
        self._journal(name).append({**kept, "by": by, "reason": reason, "created": created})
        return self.now(name)

    def clear(self, name: str, *, by: str, reason: str = "") -> Standing:
        """Let the champion answer alone."""
        return self.set(name, {}, by=by, reason=reason)

    def promote(self, name: str, version: int, *, by: str, reason: str = "") -> Standing:
        """Make a version the champion, and let it answer alone.

        Raises
        ------
        StoreError
            There is no such version.
        """
        self._models.set_alias(name, CHAMPION, version)
        return self.clear(name, by=by, reason=reason)

    def history(self, name: str) -> list[dict[str, Any]]:
        """All that was decided, oldest first."""
        return list(self._journal(name).records().values())

    def _journal(self, name: str) -> Journal:
        return Journal(self._models.root, f"{AREA}/{check_name(name, 'model name')}/traffic")


def _without_gone(form: dict[str, Any], champion: int, versions: Collection[int]) -> Traffic:
    def there(version: int) -> bool:
        return version in versions and version != champion

    challengers = [each for each in form.get("challengers", ()) if there(each["version"])]
    shadows = [version for version in form.get("shadows", ()) if there(version)]
    left = {**form, "champion": champion, "challengers": challengers, "shadows": shadows}
    if not challengers:
        left["rule"] = None
    return Traffic.model_validate(left)

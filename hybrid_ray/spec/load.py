"""Reading a spec: every fault at once, each with its YAML path and the nearest valid value."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hybrid_ray.errors import SpecError
from hybrid_ray.spec.consistency import contradictions
from hybrid_ray.spec.document import check_plain, read_yaml, set_value
from hybrid_ray.spec.faults import faults
from hybrid_ray.spec.model import SPEC_VERSION, Spec


def load_spec(source: str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Spec:
    """Read and validate a spec.

    Parameters
    ----------
    source : str, Path or mapping
        A YAML file, or the document itself.
    overrides : mapping of str to object, optional
        Other values by path, set before anything is validated: ``{"search.folds": 3}``,
        ``{"extractors.0.params.width": 8}``.

    Returns
    -------
    Spec
        ``data.path`` is absolute: a relative path is looked for beside the YAML file, then in the working directory.

    Raises
    ------
    SpecError
        With every fault of the document, or because its version is newer than this code.

    Examples
    --------
    >>> load_spec({"name": "digits", "data": {"path": "bundled://digits", "label": "label"}}).search.folds
    5
    >>> load_spec({"name": "digits", "data": {"path": "bundled://digits", "lable": "label"}})
    Traceback (most recent call last):
        ...
    hybrid_ray.errors.SpecError: data.label: must be given; got nothing; data.lable: unknown key; ...
    """
    folder: Path | None = None
    if isinstance(source, Mapping):
        document: dict[str, Any] = copy.deepcopy(dict(source))
        check_plain(document, "spec")
    else:
        document = read_yaml(Path(source))
        folder = Path(source).resolve().parent
    _check_version(document)
    found: list[str] = []
    for path, value in (overrides or {}).items():
        try:
            set_value(document, path, copy.deepcopy(value))
        except SpecError as error:
            found += error.faults
    _resolve_paths(document, folder)
    try:
        spec = Spec.model_validate(document)
    except ValidationError as error:
        found += [*faults(error, Spec, document), *contradictions(document)]
    if found:
        raise SpecError(found)
    return spec


def _check_version(document: Mapping[str, Any]) -> None:
    version = document.get("version", SPEC_VERSION)
    if isinstance(version, int) and not isinstance(version, bool) and version > SPEC_VERSION:
        raise SpecError(
            [f"version: this code reads specs up to version {SPEC_VERSION}; got {version}. Install a newer hybrid_ray"]
        )


def _resolve_paths(document: Mapping[str, Any], folder: Path | None) -> None:
    data = document.get("data")
    if not isinstance(data, dict):
        return
    path = data.get("path")
    if isinstance(path, str):
        data["path"] = _absolute(path, folder)
    elif isinstance(path, list | tuple):
        data["path"] = [_absolute(item, folder) if isinstance(item, str) else item for item in path]


def _absolute(path: str, folder: Path | None) -> str:
    """The absolute form of a local path; URLs and empty paths stay as they are."""
    if not path or "://" in path or "::" in path:
        return path
    local = Path(path).expanduser()
    if local.is_absolute():
        return str(local)
    if folder is not None and ((folder / local).exists() or _matches(folder, path)):
        return str(folder / local)
    return str(Path.cwd() / local)


def _matches(folder: Path, path: str) -> bool:
    return any(sign in path for sign in "*?[") and next(folder.glob(path), None) is not None

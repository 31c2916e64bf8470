"""A fitted chain as files: for the bagged folds of a search, and inside an artifact."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hybrid_ray.errors import ArtifactError
from hybrid_ray.fusion.base import FeatureFusion
from hybrid_ray.graph import Chain, TargetTransform
from hybrid_ray.plugins import load_plugins
from hybrid_ray.preparation.base import Preparation
from hybrid_ray.registry import ESTIMATORS, FUSIONS, PREPARATIONS
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import FileInfo, Files, file_info, pack_state, read_state
from hybrid_ray.store.verified import VerifiedFiles

CHAIN_FILE = "chain.json"


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    params: dict[str, Any]


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    inputs: dict[str, str]
    fusion: str
    fusion_params: dict[str, Any]
    family: str
    codes: list[int]
    n_outputs: int
    transform: TargetTransform
    steps: list[_Step] = []
    prior: list[float] = []
    bounds: list[float] = []
    files: dict[str, FileInfo]


def pack_chain(chain: Chain) -> dict[str, bytes]:
    """Files of a chain by path; ``chain.json`` stands last and has the digests of the others."""
    parts = {"fusion": chain.fusion.get_state(), "model": ESTIMATORS.get(chain.family).dump(chain.model)}
    parts |= {f"steps/{n}": step.get_state() for n, step in enumerate(chain.steps)}
    files = {f"{part}/{name}": data for part, state in parts.items() for name, data in pack_state(state).items()}
    head: dict[str, Any] = {
        "inputs": chain.inputs,
        "fusion": chain.fusion.name,
        "fusion_params": chain.fusion.params.model_dump(mode="json"),
        "family": chain.family,
        "codes": list(chain.codes),
        "n_outputs": chain.n_outputs,
        "transform": chain.transform,
        "files": {path: file_info(data) for path, data in files.items()},
    }
    if chain.steps:
        head["steps"] = [{"name": s.name, "params": s.params.model_dump(mode="json")} for s in chain.steps]
        head["prior"] = list(chain.prior)
    if chain.bounds:
        head["bounds"] = list(chain.bounds)
    files[CHAIN_FILE] = to_json(head)
    return files


def write_chain(root: StoreRoot, prefix: str, chain: Chain) -> dict[str, FileInfo]:
    """Put a chain below a prefix that nothing else uses; ``chain.json`` is put last.

    Returns
    -------
    dict of str to dict
        ``{"sha256", "size"}`` of each file, by path below the prefix.
    """
    return write_packed(root, prefix, pack_chain(chain))


def write_packed(root: StoreRoot, prefix: str, files: dict[str, bytes]) -> dict[str, FileInfo]:
    """Put the files of ``pack_chain``; the answer is that of ``write_chain``."""
    head = files[CHAIN_FILE]
    root.write_many({f"{prefix}/{path}": data for path, data in files.items() if path != CHAIN_FILE})
    root.write(f"{prefix}/{CHAIN_FILE}", head)
    return {path: file_info(data) for path, data in files.items()}


def read_chain(root: Files, prefix: str) -> Chain:
    """The chain below a prefix.

    Raises
    ------
    FileNotFoundError
        There is no chain.
    ArtifactError
        A file is damaged or unsafe.
    BadInputError
        A plugin that it needs is not installed.
    """
    load_plugins()
    try:
        head = _Head.model_validate(from_json(root.read(f"{prefix}/{CHAIN_FILE}")))
    except ValidationError as error:
        first = error.errors()[0]
        raise ArtifactError(
            f"{prefix}/{CHAIN_FILE}: must be the head of a chain; {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error
    files = VerifiedFiles(root, prefix, head.files).fetch()
    fusion_class: type[FeatureFusion] = FUSIONS.get(head.fusion)
    fusion = fusion_class.from_state(
        fusion_class.Params.model_validate(head.fusion_params), read_state(files, f"{prefix}/fusion")
    )
    if head.prior and len(head.prior) != len(head.codes):
        raise ArtifactError(
            f"{prefix}/{CHAIN_FILE}: prior must have a factor a class, {len(head.codes)}; got {len(head.prior)}"
        )
    if len(head.bounds) not in (0, 2) or not all(map(math.isfinite, head.bounds)):
        raise ArtifactError(f"{prefix}/{CHAIN_FILE}: bounds must be two numbers, or none; got {head.bounds}")
    return Chain(
        inputs=dict(head.inputs),
        fusion=fusion,
        family=head.family,
        model=ESTIMATORS.get(head.family).load(read_state(files, f"{prefix}/model")),
        codes=tuple(head.codes),
        n_outputs=head.n_outputs,
        transform=head.transform,
        steps=tuple(_read_step(files, f"{prefix}/steps/{n}", step) for n, step in enumerate(head.steps)),
        prior=tuple(head.prior),
        bounds=tuple(head.bounds),
    )


def _read_step(files: Files, prefix: str, step: _Step) -> Preparation:
    plugin: type[Preparation] = PREPARATIONS.get(step.name)
    return plugin.from_state(plugin.Params.model_validate(step.params), read_state(files, prefix))

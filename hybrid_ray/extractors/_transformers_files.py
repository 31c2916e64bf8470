"""Where a transformers encoder's files lie, and what they say about its use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from hybrid_ray.digests import digest_json
from hybrid_ray.errors import BadInputError, HubError
from hybrid_ray.extractors.weights import (
    files_digest,
    hub_offline,
    hub_url,
    is_model_folder,
    is_plain_model,
    model_folders,
    package_folder,
    require_reachable,
    weights_folder,
)
from hybrid_ray.types import State

Pooling = Literal["cls", "mean", "last"]

WHERE = "transformers.model"
PACKAGE = "package:"
DEFAULT_MAX_LENGTH = 512
"""Longest text, in tokens, when neither the parameters nor the model's own files say less."""
_INDEX = "model.safetensors.index.json"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_HUB_IGNORED = ["onnx/*", "openvino/*", "coreml/*"]


@dataclass(frozen=True)
class Encoder:
    """An encoder on disk and how it wants to be used.

    Attributes
    ----------
    folder : Path
        Holds config.json, the tokenizer and the weights themselves.
    pooling : {"cls", "mean", "last"}
    normalize : bool
        True when vectors are brought to length 1.
    max_length : int
        Longest text in tokens.
    lower_case : bool
        True when texts are lower-cased before the tokenizer sees them.
    longest : int, optional
        Tokens that it has positions for; None when nothing says so.
    """

    folder: Path
    pooling: Pooling
    normalize: bool
    max_length: int
    lower_case: bool = False
    longest: int | None = None

    def weight_files(self) -> list[Path]:
        """The safetensors files, with their index when there are several."""
        index = self.folder / _INDEX
        if index.is_file():
            shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            return [index, *(self.folder / Path(shard).name for shard in shards)]
        return [self.folder / "model.safetensors"]

    def digest(self) -> str:
        """Digest of weights, configuration and tokenizer, and of how they are used."""
        own = [self.folder / name for name in ("config.json", *_TOKENIZER_FILES) if (self.folder / name).is_file()]
        use = [self.pooling, self.normalize, self.max_length, self.lower_case]
        return digest_json([files_digest([*own, *self.weight_files()]), use])


def find_encoder(model: str, revision: str | None) -> Encoder:
    """The encoder that ``model`` names: ``package:<name>``, a folder, or a hub id.

    Raises
    ------
    BadInputError
        The folder or package holds no encoder that can be read.
    HubError
        It has to come from a hub that does not answer.
    """
    return read_encoder(_locate(model, revision))


def _locate(model: str, revision: str | None) -> Path:
    if model.startswith(PACKAGE):
        return package_folder(model.removeprefix(PACKAGE))
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not is_model_folder(folder):
            raise BadInputError(
                f"{WHERE}: the folder must hold config.json, a tokenizer and safetensors; got {model!r}"
            )
        return folder
    shared = weights_folder()
    parts = Path(model).parts
    for found in model_folders(shared) if shared is not None else ():
        if found.parts[-len(parts) :] == parts or found.name == parts[-1]:
            return found
    if folder.is_absolute() or model.startswith(".") or model.count("/") > 1:
        raise BadInputError(f"{WHERE}: the folder must be there; got {model!r}. Check the path")
    return _from_hub(model, revision)


def cached_snapshot(model: str, revision: str | None = None) -> Path | None:
    """The folder of a hub model in the local cache, if it is whole; asks no server."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
    return folder if is_model_folder(folder) else None


@lru_cache(maxsize=32)
def _from_hub(model: str, revision: str | None) -> Path:
    cached = cached_snapshot(model, revision)
    if cached is not None:
        return cached
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    instead = "Give a folder, put the model under $HYBRID_RAY_WEIGHTS, or name an installed encoder `package:<name>`"
    if hub_offline():
        raise HubError(f"{WHERE}: {model!r} is not in the local cache and HF_HUB_OFFLINE forbids the hub. {instead}")
    url = hub_url()
    require_reachable(WHERE, url, repr(model), instead)
    try:
        folder = Path(
            snapshot_download(model, revision=revision, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_IGNORED)
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInputError(f"{WHERE}: must be a model of {url} that may be read; got {model!r} ({reason})") from error
    if not is_model_folder(folder):
        raise BadInputError(
            f"{WHERE}: the model must have a tokenizer and safetensors; {model!r} has none. Choose one that has"
        )
    return folder


def read_encoder(folder: Path) -> Encoder:
    """What a model folder says: a plain transformers folder, or a sentence-transformers one around it.

    Raises
    ------
    BadInputError
        A module of a kind that is not known stands behind the transformer.
    """
    modules = _json(folder / "modules.json")
    pooling: Pooling = "mean"
    normalize = False
    inner, length, lower = folder, None, False
    for module in modules if isinstance(modules, list) else []:
        kind, path = str(module["type"]).rpartition(".")[2], folder / Path(str(module["path"])).name
        if kind == "Transformer":
            inner = path if is_plain_model(path) else folder
            settings = _json(path / "sentence_bert_config.json") or {}
            length, lower = settings.get("max_seq_length"), bool(settings.get("do_lower_case", False))
        elif kind == "Pooling":
            pooling = _pooling(_json(path / "config.json") or {}, folder)
        elif kind == "Normalize":
            normalize = True
        else:
            raise BadInputError(f"{WHERE}: must be a transformer with pooling; {folder} has a further module {kind!r}")
    config = _json(inner / "config.json") or {}
    positions = config.get("max_position_embeddings")
    own = _json(inner / "tokenizer_config.json") or {}
    longest = int(min(positions, own.get("model_max_length") or positions)) if positions else None
    wanted = int(min(length or DEFAULT_MAX_LENGTH, own.get("model_max_length") or DEFAULT_MAX_LENGTH))
    return Encoder(inner, pooling, normalize, min(wanted, longest or wanted), lower, longest)


def _pooling(config: Mapping[str, Any], folder: Path) -> Pooling:
    named = {"cls": "cls", "mean": "mean", "lasttoken": "last"}
    asked = [name for name in named if config.get(f"pooling_mode_{'cls_token' if name == 'cls' else name}")]
    asked += ["mean"] if config.get("pooling_mode_mean_tokens") else []
    asked += [config["pooling_mode"]] if config.get("pooling_mode") in named else []
    if len(asked) != 1:
        raise BadInputError(f"{WHERE}: must pool by cls, mean or last token; {folder} pools in another way")
    return named[asked[0]]  # type: ignore[return-value]


def _json(path: Path) -> Any:
    """What a JSON file says; None when it is not there."""
    try:
        return json.loads(path.read_text()) if path.is_file() else None
    except ValueError as error:
        raise BadInputError(f"{WHERE}: must have readable JSON files; {path} is damaged") from error


@contextmanager
def state_folder(state: State) -> Iterator[Path]:
    """A folder with the files of a state: its own when it lies in one, else a temporary one."""
    if state.folder is not None and all((state.folder / name).is_file() for name in state.meta["files"]):
        yield state.folder
        return
    with TemporaryDirectory(prefix="hybrid_ray_encoder_") as name:
        for file, data in state.blobs.items():
            (Path(name) / Path(file).name).write_bytes(data)
        yield Path(name)

"""Where pretrained weights come from: files, installed packages, local caches, hubs."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path

from hybrid_ray.digests import KEY_BYTES, digest_json
from hybrid_ray.errors import BadInputError, HubError

WEIGHTS_VARIABLE = "HYBRID_RAY_WEIGHTS"
"""Environment variable that names a folder of weights, searched in depth."""
PROBE_TIMEOUT_S = 5.0
"""How long a hub may take to answer at all."""
MAX_DEPTH = 6
"""Depth to which a folder of weights is searched."""


def file_digest(path: Path) -> str:
    """Digest of a file's content, computed once for the same path, size and time of change."""
    stat = path.stat()
    return _content_digest(str(path.resolve()), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _content_digest(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=KEY_BYTES)).hexdigest()


def files_digest(paths: Sequence[Path]) -> str:
    """Digest of the names and contents of some files."""
    return digest_json({path.name: file_digest(path) for path in paths})


def weights_folder() -> Path | None:
    """The folder that $HYBRID_RAY_WEIGHTS names; None when it names none.

    Raises
    ------
    BadInputError
        It names something that is no folder.
    """
    named = os.environ.get(WEIGHTS_VARIABLE, "")
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise BadInputError(f"{WEIGHTS_VARIABLE}: must name a folder that is there; got {named!r}. Correct or unset it")
    return folder


def walk(folder: Path, depth: int = MAX_DEPTH) -> Iterator[Path]:
    """Files below a folder, sorted, shallow ones first; hidden folders are left out."""
    below: list[Path] = []
    for entry in _entries(folder):
        if entry.is_dir():
            below.append(entry)
        else:
            yield entry
    for entry in below:
        if depth > 0 and not entry.name.startswith("."):
            yield from walk(entry, depth - 1)


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted; nothing when it may not be read."""
    try:
        return sorted(folder.iterdir())
    except PermissionError:
        return []


def find_file(name: str) -> Path | None:
    """A local file by path, or by its last parts somewhere in the folder of weights."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    folder = weights_folder()
    if folder is None or path.is_absolute():
        return None
    wanted = Path(name).parts
    return next((file for file in walk(folder) if file.parts[-len(wanted) :] == wanted), None)


def package_roots() -> list[Path]:
    """Folders that packages are imported from, in order."""
    return [Path(entry) for entry in dict.fromkeys(sys.path) if entry and Path(entry).is_dir()]


def package_folder(package: str) -> Path:
    """The folder of an installed package that holds a transformers model; the package is not imported.

    Raises
    ------
    BadInputError
        No such package, or no model in it.
    """
    roots = package_roots() if package.isidentifier() else []
    root = next((p / package for p in roots if (p / package / "__init__.py").is_file()), None)
    if root is None:
        raise BadInputError(
            f"transformers.model: must name an installed package; got 'package:{package}'. Install it with pip"
        )
    found = next(model_folders(root), None)
    if found is None:
        raise BadInputError(
            f"transformers.model: the package must hold config.json, a tokenizer and safetensors; none in {package!r}"
        )
    return found


def is_model_folder(folder: Path) -> bool:
    """True for a transformers model folder, or the folder of a sentence-transformers model around one."""
    if (folder / "modules.json").is_file():
        return any(is_plain_model(child) for child in (folder, *filter(Path.is_dir, _entries(folder))))
    return is_plain_model(folder)


def is_plain_model(folder: Path) -> bool:
    """True when config.json, a tokenizer and safetensors lie in the folder itself."""
    names = {entry.name for entry in _entries(folder) if entry.is_file()}
    has_tokenizer = bool(names & {"tokenizer.json", "vocab.txt", "tokenizer.model", "spiece.model", "vocab.json"})
    return "config.json" in names and has_tokenizer and any(name.endswith(".safetensors") for name in names)


def model_folders(folder: Path, depth: int = MAX_DEPTH) -> Iterator[Path]:
    """Transformers model folders at or below a folder, shallow ones first."""
    if is_model_folder(folder):
        yield folder
        return
    for entry in _entries(folder):
        if depth > 0 and entry.is_dir() and not entry.name.startswith("."):
            yield from model_folders(entry, depth - 1)


def installed_encoders() -> list[tuple[str, Path]]:
    """Installed packages that carry a sentence encoder: (package, folder), sorted by name; nothing is imported."""
    found: dict[str, Path] = {}
    for root in package_roots():
        for pattern in ("*/modules.json", "*/*/modules.json"):
            for marker in sorted(root.glob(pattern)):
                package = marker.relative_to(root).parts[0]
                is_package = package.isidentifier() and (root / package / "__init__.py").is_file()
                if is_package and package not in found and is_model_folder(marker.parent):
                    found[package] = marker.parent
    return sorted(found.items())


@cache
def reachable(url: str) -> bool:
    """True when a server answers at all within ``PROBE_TIMEOUT_S``; asked once a process."""
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(_answers(url)), daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_S)  # a name server that is silent is not bounded by the socket's timeout
    return bool(answers and answers[0])


def _answers(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500 and error.code not in (403, 407)  # those are a proxy's refusals
    except (OSError, ValueError):
        return False


def hub_url() -> str:
    """Address of the Hugging Face hub."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def hub_offline() -> bool:
    """True when the environment forbids the hub."""
    values = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.upper() in ("1", "ON", "YES", "TRUE") for value in values)


def require_reachable(where: str, url: str, wanted: str, instead: str) -> None:
    """Refuse in about five seconds when a hub does not answer.

    Raises
    ------
    HubError
    """
    if not reachable(url):
        raise HubError(f"{where}: {wanted} must come from {url}, which does not answer. {instead}")


def safetensors_header(path: Path) -> dict[str, object]:
    """The header of a safetensors file (names, shapes, ``__metadata__``), read without torch.

    Raises
    ------
    BadInputError
        The file is not safetensors.
    """
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= min(path.stat().st_size, 100 * 2**20):
            raise BadInputError(f"{path}: must be a safetensors file; its header is damaged")
        try:
            header: dict[str, object] = json.loads(file.read(length))
        except ValueError as error:
            raise BadInputError(f"{path}: must be a safetensors file; its header is damaged") from error
    return header

"""Where a torchvision network's weights come from, and whether they belong to it."""

from __future__ import annotations

import difflib
import pickle
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybrid_ray.digests import digest_json
from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors._torchvision_net import body_shapes, model_names
from hybrid_ray.extractors.weights import file_digest, find_file, require_reachable, safetensors_header
from hybrid_ray.registry import nearest
from hybrid_ray.types import State

if TYPE_CHECKING:
    import torch

WHERE = "torchvision.weights"
BLOB = "weights.safetensors"
FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_TF_FAMILIES = ("mobilenet", "efficientnet", "mnasnet")
_SHOWN = 3
# torchvision renamed these keys after the first DenseNet files were published, and renames them when it loads them.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


class Origin(ABC):
    """Where weights come from."""

    @abstractmethod
    def digest(self) -> str:
        """Digest of the weights."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor] | None:
        """The state dict; None for random weights."""

    def shapes(self) -> dict[str, tuple[int, ...]] | None:
        """Shapes of the state dict's tensors, None when there is nothing to compare."""
        tensors = self.tensors()
        return None if tensors is None else {name: tuple(t.shape) for name, t in tensors.items()}

    def same_padding(self, model: str) -> bool:
        """True when the weights were made for TensorFlow's SAME padding."""
        return False


@dataclass(frozen=True)
class RandomOrigin(Origin):
    """Seeded random weights, for tests and ablations."""

    seed: int

    def digest(self) -> str:
        """The seed."""
        return f"random:{self.seed}"

    def tensors(self) -> None:
        """Nothing: the network's own initialisation stands."""
        return


@dataclass(frozen=True)
class StateOrigin(Origin):
    """Weights inside a saved graph."""

    state: State

    def digest(self) -> str:
        """Digest of the weights as they were when the state was made."""
        return str(self.state.meta["weights"])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Memory-mapped when the state lies in a folder."""
        import safetensors.torch

        file = self.state.folder / BLOB if self.state.folder is not None else None
        if file is not None and file.is_file():
            return safetensors.torch.load_file(file)
        return safetensors.torch.load(self.state.blobs[BLOB])

    def same_padding(self, model: str) -> bool:
        """As decided when the state was made."""
        return bool(self.state.meta["same_padding"])


@dataclass(frozen=True)
class FileOrigin(Origin):
    """A local file: safetensors, or a state dict that ``torch.load(weights_only=True)`` reads."""

    path: Path

    def digest(self) -> str:
        """Digest of the file's content."""
        return file_digest(self.path)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state dict, out of the wrappings that training scripts put around it."""
        import safetensors.torch
        import torch
        from safetensors import SafetensorError

        try:
            if self.path.suffix == ".safetensors":
                return safetensors.torch.load_file(self.path)
            loaded: Any = torch.load(self.path, map_location="cpu", weights_only=True)
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            kind = "a safetensors file" if self.path.suffix == ".safetensors" else "a state dict of tensors only"
            raise BadInputError(
                f"{WHERE}: must be {kind}; got {self.path}, which is damaged or another thing"
            ) from error
        for key in ("state_dict", "model", "model_state_dict"):
            if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
                loaded = loaded[key]
        if not isinstance(loaded, Mapping) or not all(isinstance(t, torch.Tensor) for t in loaded.values()):
            raise BadInputError(f"{WHERE}: must be a state dict of tensors; got {self.path} with something else in it")
        return {str(name).removeprefix("module."): tensor for name, tensor in loaded.items()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes, from the header alone for safetensors."""
        if self.path.suffix != ".safetensors":
            return {name: tuple(t.shape) for name, t in self.tensors().items()}
        header = safetensors_header(self.path)
        return {n: tuple(entry["shape"]) for n, entry in header.items() if n != "__metadata__"}  # type: ignore[index]

    def same_padding(self, model: str) -> bool:
        """See :func:`made_for_same_padding`."""
        return made_for_same_padding(self.path, model)


@dataclass(frozen=True)
class HubOrigin(Origin):
    """One of torchvision's own weights, from torch.hub's cache or its server."""

    model: str
    member: str

    def _entry(self) -> Any:
        from torchvision.models import get_model_weights

        return get_model_weights(self.model)[self.member]

    def digest(self) -> str:
        """The weights' address, which holds a digest of their content."""
        return digest_json([self._entry().url])

    def require(self) -> None:
        """Refuse when the weights are neither in the cache nor to be had.

        Raises
        ------
        HubError
        """
        import torch

        url = str(self._entry().url)
        if not (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file():
            instead = "Give `weights:` a local file, put one under $HYBRID_RAY_WEIGHTS, or say `weights: none`"
            require_reachable(WHERE, url, f"{self.model} {self.member}", instead)

    def shapes(self) -> None:
        """Nothing to compare: torchvision's weights fit torchvision's model."""
        return

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state dict, downloaded when it is not in the cache."""
        self.require()
        loaded: dict[str, torch.Tensor] = self._entry().get_state_dict(progress=False, check_hash=True)
        return loaded


def find_origin(model: str, weights: str, seed: int) -> Origin:
    """The origin that ``weights`` names: ``none``, a file, or a member of the model's weights enum.

    Raises
    ------
    BadInputError
        No such file, or no such member; the message names the nearest.
    """
    if weights == "none":
        return RandomOrigin(seed)
    if "/" in weights or weights.endswith(FILE_SUFFIXES):
        path = find_file(weights)
        if path is None:
            raise BadInputError(f"{WHERE}: must be a file that is there; got {weights!r}. Check the path")
        return FileOrigin(path)
    from torchvision.models import get_model_weights

    members = get_model_weights(model).__members__
    if weights not in members:
        known = sorted(members)
        raise BadInputError(
            f"{WHERE}: must be one of {known}, a file or 'none'; got {weights!r}.{nearest(weights, known)}"
        )
    return HubOrigin(model, members[weights].name)


def made_for_same_padding(path: Path, model: str) -> bool:
    """True when a file says, or shows, that its weights were made for TensorFlow's SAME padding.

    It says so by ``padding: same`` in the metadata of a safetensors file, or by ``tf`` or ``same`` as a word of its
    name. It shows so when a network that is published for TensorFlow (MobileNet, EfficientNet, MnasNet) has its batch
    norm folded away (every running mean 0, every running variance 1): weights trained in torch never look so, those
    read back from a TensorFlow graph do. Needs no torch.
    """
    if path.suffix != ".safetensors":
        return False
    header = safetensors_header(path)
    metadata = header.get("__metadata__")
    if isinstance(metadata, Mapping) and "padding" in metadata:
        return metadata["padding"] == "same"
    if {"tf", "same"} & set(re.split(r"[^a-z0-9]+", path.stem.lower())):
        return True
    return model.startswith(_TF_FAMILIES) and _batch_norm_folded(path, header)


def _batch_norm_folded(path: Path, header: Mapping[str, Any]) -> bool:
    statistics = [name for name in header if name.endswith(("running_mean", "running_var"))]
    sizes = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
    for name in statistics:
        entry = header[name]
        if entry["dtype"] not in sizes:
            return False
        begin, end = entry["data_offsets"]
        dtype = np.dtype(sizes[entry["dtype"]])
        held = np.fromfile(path, dtype, (end - begin) // dtype.itemsize, offset=start + begin)
        if not np.allclose(held, float(name.endswith("running_var")), atol=1e-3):
            return False
    return bool(statistics)


def modern_keys(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The same state dict under the keys that torchvision's models have today."""
    return {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in tensors.items()}


def fits(model: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """True when a state dict of such shapes belongs to a model, whatever its classifier."""
    return not _compare(model, modern_keys(shapes))


def check_shapes(model: str, shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Refuse weights of another architecture; the classifier's own weights do not count.

    Raises
    ------
    BadInputError
        One line: what is missing, unexpected or of another shape, and the model they likely belong to.
    """
    faults = _compare(model, modern_keys(shapes))
    if not faults:
        return
    likely = _likely_model(modern_keys(shapes), source)
    hint = f"They are those of {likely}: set `model: {likely}`" if likely else "Give weights of that model"
    raise BadInputError(f"{WHERE}: must be weights of {model}; got {source}: {'; '.join(faults)}. {hint}")


def _compare(model: str, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    body, head = body_shapes(model)
    held = {name: shape for name, shape in shapes.items() if not name.startswith(head)}
    optional = "num_batches_tracked"
    missing = [name for name in body if name not in held and not name.endswith(optional)]
    unexpected = [name for name in held if name not in body]
    other = [name for name, shape in held.items() if name in body and body[name] != shape]
    parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", other))
    return [f"{len(names)} {what} ({_some(names)})" for what, names in parts if names]


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _likely_model(shapes: Mapping[str, tuple[int, ...]], source: str) -> str:
    """The torchvision model that a state dict fits, or an empty string."""
    name = Path(source).stem.lower()
    by_name = sorted(model_names(), key=lambda model: -difflib.SequenceMatcher(None, name, model).ratio())
    # A RegNet cannot be built without memory; the largest would take longer than the answer is worth.
    return next((m for m in by_name if not m.startswith("regnet") and not _compare(m, shapes)), "")

"""The networks of transformers' encoders: whether weights are theirs, and loading them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors._transformers_files import WHERE, Encoder, Pooling

if TYPE_CHECKING:
    import torch
    from torch import nn


_VOCABULARY = ("vocab_size",)
_WIDTH = ("embedding_size", "word_embed_proj_dim", "hidden_size", "d_model", "dim", "n_embd")
_DEPTH = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
_LAYER = re.compile(r"\.(\d+)\.")


def check_weights(encoder: Encoder) -> None:
    """Compare the shapes of an encoder's weights with its config.json, at the price of reading two headers.

    Torch and transformers are not imported and no tensor is read: the token embedding and the number of layers tell
    another model's weights. Loading looks at every name and shape.

    Raises
    ------
    BadInputError
        The weights are damaged, or of another architecture.
    """
    from safetensors import SafetensorError, safe_open

    folder = encoder.folder
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        config = json.loads((folder / "config.json").read_text())
        for path in (path for path in encoder.weight_files() if path.suffix == ".safetensors"):
            with safe_open(path, "np") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise _unusable(folder, error) from error
    words, width, depth = (_said(config, names) for names in (_VOCABULARY, _WIDTH, _DEPTH))
    embeddings = {name: shape for name, shape in shapes.items() if len(shape) == 2 and shape[0] == words}
    if words and width and all(shape[1] != width for shape in embeddings.values()):
        raise BadInputError(
            f"{WHERE}: the weights must be those of config.json's architecture, with a token embedding of "
            f"{(words, width)}; got {embeddings or 'none of so many tokens'} in {folder}"
        )
    layers = 1 + max((int(number) for name in shapes for number in _LAYER.findall(name)), default=-1)
    shared = "num_hidden_groups" in config  # as in ALBERT: one layer's weights, run many times
    if depth and not shared and layers < depth:
        raise BadInputError(
            f"{WHERE}: the weights must be those of config.json's architecture, with {depth} layers; got {layers} in "
            f"{folder}"
        )


def _said(config: Any, names: Sequence[str]) -> int | None:
    """The first of some numbers that a configuration holds."""
    found = (config.get(name) for name in names) if isinstance(config, Mapping) else ()
    return next((number for number in found if isinstance(number, int)), None)


def load_network(folder: Path) -> nn.Module:
    """The encoder of a folder in fp32, in evaluation mode.

    Raises
    ------
    BadInputError
        Its weights are missing, damaged or of another architecture, or it needs code of its own.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, info = AutoModel.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unusable(folder, error) from error
    finally:
        if shown:
            logging.enable_progress_bar()
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing:
        raise BadInputError(
            f"{WHERE}: the weights must be those of config.json's architecture; {folder} lacks {len(missing)}, "
            f"{missing[0]!r} among them"
        )
    return _encoder(model)


def empty_network(folder: Path) -> nn.Module:
    """The encoder that a folder's config.json tells of, in fp32, in evaluation mode, with random numbers."""
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    with torch.random.fork_rng(devices=[]):
        return _encoder(AutoModel.from_config(config, trust_remote_code=False))


def _encoder(model: Any) -> nn.Module:
    net: nn.Module = model.get_encoder() if model.config.is_encoder_decoder else model
    return net.float().eval().requires_grad_(False)


def mask_of(rows: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """The attention mask int64 (k, width) of texts of some lengths; ``rows`` is (k, width, ...)."""
    import torch

    inside = torch.arange(rows.shape[1], device=rows.device)[None, :] < sizes[:, None]
    return inside.to(torch.int64)


def pool(hidden: torch.Tensor, sizes: torch.Tensor, pooling: Pooling, normalized: bool) -> torch.Tensor:
    """Vectors float32 (k, d) of texts from the vectors of their tokens (k, width, d)."""
    import torch
    from torch.nn.functional import normalize

    if pooling == "cls":
        pooled = hidden[:, 0]
    elif pooling == "last":
        pooled = hidden[torch.arange(len(sizes), device=hidden.device), sizes - 1]
    else:
        mask = mask_of(hidden, sizes)
        pooled = (hidden * mask[:, :, None]).sum(dim=1, dtype=torch.float32) / sizes[:, None]
    return normalize(pooled.float(), dim=1) if normalized else pooled.float()


def n_layers(encoder: Encoder) -> int | None:
    """Layers that an encoder's configuration tells of; None when it does not."""
    return _said(json.loads((encoder.folder / "config.json").read_text()), _DEPTH)


def told_width(encoder: Encoder) -> int | None:
    """Length of a token's vector, as the configuration tells it; None when it does not."""
    return _said(json.loads((encoder.folder / "config.json").read_text()), ("hidden_size", "d_model", "dim", "n_embd"))


def _unusable(folder: Path, error: Exception) -> BadInputError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return BadInputError(f"{WHERE}: must be an encoder that transformers can load; got {folder} ({reason})")

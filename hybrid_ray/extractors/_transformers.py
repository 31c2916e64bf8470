"""Sentence vectors of transformers' encoders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors._transformers_files import PACKAGE, WHERE, Encoder, find_encoder, state_folder
from hybrid_ray.extractors._transformers_net import (
    check_weights,
    empty_network,
    load_network,
    mask_of,
    n_layers,
    pool,
    told_width,
)
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.compression import CompressibleParams
from hybrid_ray.extractors.items import Items
from hybrid_ray.extractors.passes import fixed_passes, packed_passes
from hybrid_ray.extractors.precision import Precision
from hybrid_ray.extractors.pretrained import PretrainedExtractor
from hybrid_ray.extractors.sight import Sight
from hybrid_ray.extractors.tensors import to_features, to_tensor, torch_dtype
from hybrid_ray.extractors.weights import installed_encoders
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, FloatArray, Kind, State

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from torch import nn

IDS, LENGTHS = "ids", "lengths"
_TOKENIZER = "tokenizer.json"
_TOKENS: Mapping[str, int] = {"cpu": 1024, "cuda": 65536}
"""Tokens, padding included, in one pass."""
_FIXED_TOKENS: Mapping[str, int] = {"cpu": 128, "cuda": 8192}
"""Tokens of a pass of a fixed shape: few enough that a single text, which pays for all of them, is answered soon."""


class EncoderParams(PluginParams):
    """Which encoder reads texts, and how."""

    model: str = Field("sentence-transformers/all-MiniLM-L6-v2", min_length=1, max_length=4096)
    """Hub id, folder (also by its name under $HYBRID_RAY_WEIGHTS), or ``package:<name>`` for an installed package that
    carries an encoder. Safetensors only; a model's own code is never run."""
    revision: str | None = Field(None, min_length=1, max_length=256)
    """Branch, tag or commit on the hub; left out, the main branch."""
    pooling: Literal["auto", "cls", "mean", "last"] = "auto"
    """How token vectors become one: the first, the mean without padding, or the last; auto: as the model's files say,
    else mean."""
    max_length: int | None = Field(None, ge=2, le=32768)
    """Tokens of a text that are read; left out, as the model's files say, at most 512."""
    normalize: bool | None = None
    """True: vectors have length 1; left out, as the model's files say."""
    precision: Precision = "auto"
    """Number format. auto: bf16 or fp16 where the hardware computes it and the features stay within a cosine of 0.999
    of fp32 on the first rows, else fp32."""


class TransformersParams(CompressibleParams, EncoderParams):
    """Parameters of ``transformers``."""


@EXTRACTORS.register("transformers")
class TransformersExtractor(PretrainedExtractor):
    """Pooled vectors of any AutoModel.

    Texts are tokenised by ``prepare``; ``encode`` puts texts of like length together, see ``passes``.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="text", kinds=frozenset({"text"}), gpu=True, pieces="tokens", version=2
    )
    Params: ClassVar[type[PluginParams]] = TransformersParams

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._found: Encoder | None = None
        self._words: Tokenizer | None = None
        self._blank: int | None = None
        self._net: nn.Module | None = None
        self._item_features = 0

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """The installed encoder packages, on one column."""
        for package, _ in installed_encoders():
            yield TransformersParams(model=f"{PACKAGE}{package}", max_length=32, precision="fp32"), {"text": "text"}

    # ------------------------------------------------------------------ what ``tuned_transformers`` builds on

    @property
    def network(self) -> nn.Module:
        """The network; ``setup`` loaded it."""
        assert self._net is not None, "setup must be called first"
        return self._net

    @property
    def encoder(self) -> Encoder:
        """The encoder's files and use."""
        return self._encoder()

    @property
    def device(self) -> str:
        """Where the network is; empty before ``setup``."""
        return self._device

    @property
    def n_layers(self) -> int | None:
        """Layers of the encoder, as its configuration tells; None when it does not, or comes out of a saved graph."""
        return n_layers(self._encoder()) if self._state is None else None

    @property
    def told_width(self) -> int | None:
        """Width of the hidden layer, as the configuration tells; None when it does not, or out of a saved graph."""
        return told_width(self._encoder()) if self._state is None else None

    def texts(self, items: Mapping[str, AnyArray]) -> list[str]:
        """Texts (k,) of tokens, as far as these tell."""
        ids, lengths = items[IDS], items[LENGTHS]
        return self._tokenizer().decode_batch([row[:n].tolist() for row, n in zip(ids, lengths, strict=True)])

    # ------------------------------------------------------------------ files

    def _encoder(self) -> Encoder:
        """The encoder's files and use, with what the parameters say in its place."""
        if self._found is None:
            p = self.params
            if self._state is not None:
                form = self._state.meta["encoder"]
                own = Encoder(Path(), form["pooling"], form["normalize"], form["max_length"], form["lower_case"])
            else:
                own = find_encoder(p.model, p.revision)
            self._found = Encoder(
                folder=own.folder,
                pooling=own.pooling if p.pooling == "auto" else p.pooling,
                normalize=own.normalize if p.normalize is None else p.normalize,
                max_length=p.max_length or own.max_length,
                lower_case=own.lower_case,
                longest=own.longest,
            )
        return self._found

    def weights_digest(self) -> str:
        """Digest of weights, configuration and tokenizer."""
        return str(self._state.meta["weights"]) if self._state is not None else self._encoder().digest()

    def identity(self) -> dict[str, Any]:
        """The parameters without where the model lies."""
        return {name: value for name, value in super().identity().items() if name not in ("model", "revision")}

    def check(self) -> None:
        """Refuse an encoder that is not to be had, weights of another architecture, and texts longer than it reads."""
        own = self._encoder()
        if self.params.max_length is not None and own.longest is not None and self.params.max_length > own.longest:
            raise BadInputError(
                f"transformers.max_length: {self.params.model!r} reads at most {own.longest} tokens; got "
                f"{self.params.max_length}. Leave it out"
            )
        if self._state is None:
            check_weights(own)

    def settle(self) -> PluginParams:
        """Parameters with pooling, length and normalisation written out."""
        own = self._encoder()
        return self.params.model_copy(
            update={"pooling": own.pooling, "max_length": own.max_length, "normalize": own.normalize}
        )

    # ------------------------------------------------------------------ rows

    def _tokenizer(self) -> Tokenizer:
        if self._words is None:
            from tokenizers import Tokenizer

            if self._state is not None:
                data = self._state.blobs.get(_TOKENIZER)
                if data is None:
                    with state_folder(self._state) as folder:
                        data = (folder / _TOKENIZER).read_bytes()
                self._words = Tokenizer.from_str(data.decode())
            else:
                self._words = Tokenizer.from_str(self._tokenizer_json())
            self._words.no_padding()
            self._words.enable_truncation(self._encoder().max_length)
        return self._words

    def _tokenizer_json(self) -> str:
        """The tokenizer as transformers builds it from its files: what a config changes is in it."""
        from transformers import AutoTokenizer

        folder = self._encoder().folder
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            text: str = tokenizer.backend_tokenizer.to_str()
        except (OSError, ValueError, AttributeError, ImportError) as error:
            raise BadInputError(f"{WHERE}: must have a fast tokenizer; {folder} has none that can be read") from error
        return text

    def _pad_id(self) -> int:
        """Id of the padding token: some encoders count positions by it."""
        if self._blank is None:
            if self._state is not None:
                self._blank = int(self._state.meta["pad_id"])
            else:
                config = json.loads((self._encoder().folder / "config.json").read_text())
                self._blank = int(config.get("pad_token_id") or 0)
        return self._blank

    def read(self, cells: Sequence[Any]) -> Items:
        """Tokenise: ids int32 (k, max_length), lengths int32 (k,)."""
        own = self._encoder()
        ids = np.full((len(cells), own.max_length), self._pad_id(), np.int32)
        lengths = np.ones(len(cells), np.int32)  # a text without any token is one padding token
        texts = [cell.lower() for cell in cells] if own.lower_case else list(cells)
        for row, encoding in enumerate(self._tokenizer().encode_batch_fast(texts)):
            tokens = encoding.ids
            ids[row, : len(tokens)] = tokens
            lengths[row] = max(len(tokens), 1)
        return Items({IDS: ids, LENGTHS: lengths})

    def setup(self, device: str = "cpu") -> None:
        """Load the network on the device in its number format; memory-mapped from a folder."""
        if self._net is not None and self._device == device:
            return
        net, run = self._whole()
        self._net, self._device = self.smaller(net, run).to(device, torch_dtype(self.format_on(device))), device
        blank = {IDS: np.full((1, 2), self._pad_id(), np.int32), LENGTHS: np.array([2], np.int32)}
        self._item_features = self.encode(blank).shape[1]

    def _whole(self) -> tuple[nn.Module, Callable[[], object]]:
        """The network as its weights are, and what takes two blank tokens through it.

        Out of a saved graph that holds it smaller, its numbers are any.
        """
        with ExitStack() as stack:
            folder = self._encoder().folder
            if self._state is not None:
                folder = stack.enter_context(state_folder(self._state))
            net = empty_network(folder) if self.saved_smaller else load_network(folder)

        def run() -> object:
            tokens = to_tensor(np.full((1, 2), self._pad_id(), np.int64), "cpu")
            return net(input_ids=tokens, attention_mask=mask_of(tokens, to_tensor(np.array([2]), "cpu")))

        return net, run

    @property
    def item_features(self) -> int:
        """Width of the encoder's hidden layer."""
        return self._item_features

    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """Vectors of texts, pass by pass, answers put back in order."""
        import torch

        assert self._net is not None
        own = self._encoder()
        order, outputs = [], []
        with torch.inference_mode():
            for texts, tokens, sizes in self.passes(items):
                hidden = self._net(input_ids=tokens, attention_mask=mask_of(tokens, sizes)).last_hidden_state
                outputs.append(pool(hidden, sizes, own.pooling, own.normalize)[: len(texts)])
                order.append(texts)
            in_passes = to_features(torch.cat(outputs))
        features = np.empty_like(in_passes)
        features[np.concatenate(order)] = in_passes
        return features

    def passes(self, items: Mapping[str, AnyArray]) -> Iterator[tuple[AnyArray, torch.Tensor, torch.Tensor]]:
        """Texts that go through the network together: positions (k,), tokens (>= k, width), lengths; blanks last."""
        ids, lengths = items[IDS], items[LENGTHS]
        if self.fixed_shapes:
            passes = fixed_passes(lengths, _FIXED_TOKENS[self._device], self._encoder().max_length)
        else:
            passes = packed_passes(lengths, _TOKENS[self._device])
        for texts, rows, width in passes:
            tokens = np.full((rows, width), self._pad_id(), np.int64)
            tokens[: len(texts), : ids.shape[1]] = ids[texts, :width]
            sizes = np.ones(rows, np.int64)
            sizes[: len(texts)] = lengths[texts]
            yield texts, to_tensor(tokens, self._device), to_tensor(sizes, self._device)

    def sight(self, cell: Mapping[str, AnyArray], usual: Mapping[str, AnyArray]) -> Sight:
        """A text as its tokens; what stands at the ends of every text says nothing."""
        exact = self.with_gradients()
        network: Any = exact.network
        own = self._encoder()

        def run(tokens: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
            hidden = network(input_ids=tokens, attention_mask=mask_of(tokens, sizes)).last_hidden_state
            return pool(hidden, sizes, own.pooling, own.normalize)

        return self.sight_by(cell, network.get_input_embeddings(), run)

    def sight_by(
        self,
        cell: Mapping[str, AnyArray],
        words: nn.Module,
        run: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> Sight:
        """What a network sees of a text; nothing is padding between the ends that every text has.

        Parameters
        ----------
        cell : mapping of str to ndarray
            Of one text, as ``read`` gives them.
        words : Module
            The network's layer that gives vectors of tokens.
        run : callable
            Vectors (k, d) of tokens (k, longest) and lengths (k,).
        """
        from hybrid_ray.extractors._sight_net import NetworkSight

        size = int(cell[LENGTHS])
        ids = cell[IDS][:size].astype(np.int64)
        tokenizer = self._tokenizer()
        ends = tokenizer.encode("").ids
        blank = np.where(np.isin(ids, ends), ids, self._pad_id())
        # A piece of a word reads best as its text, but not where that is empty, as it is of what only marks an end.
        told = [
            tokenizer.decode([number], skip_special_tokens=False) or tokenizer.id_to_token(number) or ""
            for number in ids.tolist()
        ]
        numbers = to_tensor(ids, self._device)

        def copies(k: int) -> torch.Tensor:
            return run(numbers.expand(k, -1), to_tensor(np.full(k, size, np.int64), self._device))

        return NetworkSight.of_text(words, numbers, to_tensor(blank, self._device), told, copies)

    # ------------------------------------------------------------------ state

    def get_state(self) -> State:
        """Configuration, weights and the tokenizer, as files."""
        if self._state is not None:
            return self._state
        own = self._encoder()
        smaller = self.compression.asked
        kept = [own.folder / "config.json", *([] if smaller else own.weight_files())]
        blobs = {path.name: path.read_bytes() for path in kept} | (self.packed(*self._whole()) if smaller else {})
        blobs[_TOKENIZER] = self._tokenizer_json().encode()
        use: dict[str, Any] = {"pooling": own.pooling, "normalize": own.normalize}
        use |= {"max_length": own.max_length, "lower_case": own.lower_case}
        meta = {"weights": own.digest(), "encoder": use, "pad_id": self._pad_id(), "files": sorted(blobs)}
        return State(meta=meta, blobs=blobs)

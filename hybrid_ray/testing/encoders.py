"""Tiny transformers encoders, made on the spot: for tests that need one and have no hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

WORDS: tuple[str, ...] = (
    *("river", "water", "fish", "engine", "wheel", "road", "flour", "butter", "oven"),
    *("the", "a", "very", "some", "good", "old", "and", "with", "not", "bad", "film", "price", "red", "green"),
)
HIDDEN = 32


def tiny_encoder(folder: Path, seed: int = 0, max_length: int = 64) -> Path:
    """A random BERT of two layers with a word-piece tokenizer, as transformers saves them.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    seed : int, default 0
    max_length : int, default 64

    Returns
    -------
    Path
        The folder: config.json, model.safetensors, tokenizer.json.
    """
    import torch
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    n_words = _write_tokenizer(folder, max_length)
    config = BertConfig(
        vocab_size=n_words,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=max_length,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_sentence_encoder(
    folder: Path,
    layout: Literal["root", "subfolder"] = "root",
    pooling: Literal["cls_token", "mean_tokens", "lasttoken"] = "mean_tokens",
    normalize: bool = True,
    max_length: int = 24,
) -> Path:
    """``tiny_encoder`` in the folder layout of sentence-transformers.

    Parameters
    ----------
    folder : Path
    layout : {"root", "subfolder"}, default "root"
        Where the transformer lies: in the folder itself, or in ``0_Transformer``.
    pooling : {"cls_token", "mean_tokens", "lasttoken"}, default "mean_tokens"
    normalize : bool, default True
    max_length : int, default 24
        What sentence_bert_config.json says.

    Returns
    -------
    Path
        The folder.
    """
    inner = "" if layout == "root" else "0_Transformer"
    tiny_encoder(folder / inner)
    (folder / inner / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_length}))
    (folder / "1_Pooling").mkdir()
    modes = {
        f"pooling_mode_{name}": name == pooling for name in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": HIDDEN} | modes))
    kinds = [("Transformer", inner), ("Pooling", "1_Pooling")] + [("Normalize", "2_Normalize")] * normalize
    modules = [
        {"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{k}"}
        for i, (k, p) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def _write_tokenizer(folder: Path, max_length: int) -> int:
    """tokenizer.json and its configuration; returns the size of the vocabulary."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [*special, *WORDS, *(letter for letter in letters if letter not in WORDS), *(f"##{c}" for c in letters)]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    return len(vocabulary)

"""Pretrained encoders of texts: folders of `sentence-transformers`, and any encoder of `transformers`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError
from rlstitch.modalities.items import Encode, ItemEncoder
from rlstitch.modalities.libraries import quiet
from rlstitch.modalities.pretrained import (
    Pooling,
    identity,
    load_model,
    loading,
    model_folder,
    pool,
    refuse_pickles,
)

_MOST_TOKENS = 512


def load_text_encoder(
    model: str, *, device: str = "cpu", pooling: Pooling = "auto", revision: str | None = None
) -> ItemEncoder:
    """Load an encoder of texts, each cut to what the model takes, at most 512 tokens.

    A model of `sentence-transformers` (it has a `modules.json`) pools as it was trained to (Reimers and Gurevych 2019,
    1908.10084). Of another, `auto` and `mean` are the mean of the last states over tokens, `first` is the first one.

    Args:
        model: a folder, or a name on the Hugging Face hub.
        device: `cpu`, `cuda`, ....
        pooling: see above.
        revision: of the hub; the newest where it is None.

    Raises:
        MissingExtraError: where the optional packages are not installed.
        ArtefactError: where the model cannot be had or loaded, or brings code of its own.
        InvalidInputError: for a pooling other than a sentence model's own.
    """
    folder = model_folder(model, revision=revision)
    if (folder / "modules.json").is_file():
        if pooling != "auto":
            raise InvalidInputError(f"pooling: {model} has its own (auto), found {pooling!r}")
        encode = _sentences(folder, device)
    else:
        encode = _tokens(folder, device, "mean" if pooling == "auto" else pooling)
    return ItemEncoder(model, identity(folder), encode)


def _sentences(folder: Path, device: str) -> Encode:
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError("a model of sentence-transformers", "pretrained")
    from sentence_transformers import SentenceTransformer

    with loading(folder):
        for part in json.loads((folder / "modules.json").read_text(encoding="utf-8")):
            refuse_pickles(folder / part["path"])
        model = SentenceTransformer(
            str(folder),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
    places = _positions(model)
    if places is not None:
        model.max_seq_length = min(model.max_seq_length or places, places)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        with quiet("transformers", "huggingface_hub"):
            vectors = model.encode(list(texts), batch_size=len(texts), show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    return encode


def _tokens(folder: Path, device: str, pooling: Pooling) -> Encode:
    from transformers import AutoTokenizer

    model = load_model(folder, device)
    with loading(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token is None:
        raise ArtefactError(f"{folder}: its tokenizer has neither a token to pad with nor one that ends a text")
    configured = getattr(model.config, "max_position_embeddings", None)  # -1 where there is no limit
    known = [count for count in (configured, _positions(model)) if count is not None and count != -1]
    most = min(tokenizer.model_max_length, _MOST_TOKENS, *known)
    if most <= tokenizer.num_special_tokens_to_add():
        raise ArtefactError(f"{folder}: expected positions for a text, found {most}, fewer than the tokens around one")

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=most, return_tensors="pt").to(device)
        states = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
        return pool(states, tokens["attention_mask"], pooling).float().cpu().numpy()

    return encode


def _positions(model: nn.Module) -> int | None:
    """How many tokens a model has learned positions for; RoBERTa and its like count from behind the padding's place."""
    counts = [
        part.num_embeddings - getattr(part, "offset", 0) - (0 if part.padding_idx is None else part.padding_idx + 1)
        for name, part in model.named_modules()
        if isinstance(part, nn.Embedding) and "position" in name.rpartition(".")[2]
    ]
    return min(counts, default=None)

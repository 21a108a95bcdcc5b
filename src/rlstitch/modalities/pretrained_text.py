"""Pretrained encoders of texts: folders of `sentence-transformers`, and any encoder of `transformers`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

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
    positions = getattr(model.config, "max_position_embeddings", _MOST_TOKENS)
    most = min(tokenizer.model_max_length, positions, _MOST_TOKENS)

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=most, return_tensors="pt").to(device)
        states = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
        return pool(states, tokens["attention_mask"], pooling).float().cpu().numpy()

    return encode

"""Pretrained models, from a folder or from the Hugging Face hub: safetensors alone, and no code of their own."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError
from rlstitch.modalities.libraries import one_line, quiet

Pooling: TypeAlias = Literal["auto", "mean", "first"]
POOLINGS: tuple[Pooling, ...] = ("auto", "mean", "first")

_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
# Weights that are not used here and often not stored.
_UNUSED = ("pooler.", "masked_spec_embed", "mask_token")


def model_folder(model: str, *, revision: str | None = None) -> Path:
    """Find a model's folder; from the hub only configurations, vocabularies and safetensors are downloaded.

    Args:
        model: a folder, or a name on the Hugging Face hub.
        revision: of the hub.

    Returns:
        The folder itself, or that in the hub's own cache.

    Raises:
        MissingExtraError: where `transformers` is not installed.
        ArtefactError: where there is neither, the hub cannot be reached, or the weights are no safetensors.
    """
    if importlib.util.find_spec("transformers") is None:
        raise MissingExtraError("a pretrained model", "pretrained")
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = _fetched(model, revision)
    refuse_pickles(folder)
    if not any(folder.rglob("*.safetensors")):
        raise ArtefactError(f"{model}: expected weights as .safetensors, found none")
    return folder


def refuse_pickles(folder: Path) -> None:
    """Raise ArtefactError where a folder holds weights as pickles, and not as safetensors too."""
    for file in sorted(folder.glob("*")):
        if file.suffix in _PICKLES and not any(folder.glob("*.safetensors")):
            raise ArtefactError(f"{folder}: expected weights as .safetensors, found {file.name}")


def _fetched(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ArtefactError(f"cannot read {model}: there is no such folder")
    with loading(model, "neither a folder, nor to be had from the Hugging Face hub"):
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(_PATTERNS)))


def identity(folder: Path) -> str:
    """Return the sha256 of all that is loaded from a model's folder; its path does not matter."""
    whole = hashlib.sha256()
    for file in sorted(file for pattern in _PATTERNS for file in folder.rglob(pattern)):
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{file.relative_to(folder).as_posix()} {digest}\n".encode())
    return whole.hexdigest()


def load_model(folder: Path, device: str) -> Any:
    """Load a folder's model of `transformers` without a head, in float32, for evaluation.

    Of a model with an encoder and a decoder it is the encoder.

    Raises:
        ArtefactError: where it cannot be loaded, or weights of it are missing.
    """
    from transformers import AutoModel

    with loading(folder):
        model, info = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    spare = (*_UNUSED, "decoder.") if model.config.is_encoder_decoder else _UNUSED
    missing = sorted(name for name in info["missing_keys"] if not any(part in name for part in spare))
    if missing:
        raise ArtefactError(f"{folder}: {len(missing)} weights are missing, as {missing[0]}")
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    return model.eval().requires_grad_(False).to(device)


@contextlib.contextmanager
def loading(folder: Path | str, problem: str = "cannot be loaded") -> Iterator[None]:
    """Silence progress bars and notices, and turn errors into an `ArtefactError` of one line."""
    with (
        one_line(f"{folder}: {problem}", "huggingface_hub", "safetensors_rust", "safetensors"),
        quiet("transformers", "huggingface_hub"),
    ):
        yield


def pool(states: Tensor, mask: Tensor | None, pooling: Pooling) -> Tensor:
    """Pool states (n, t, d) to (n, d).

    Args:
        states: of all positions.
        mask: (n, t) of 0 and 1, which positions the mean is over; None: all.
        pooling: `mean` or `first`.

    Raises:
        InvalidInputError: for another pooling.
    """
    if pooling == "first":
        return states[:, 0]
    if pooling != "mean":
        raise InvalidInputError(f"pooling must be one of {', '.join(POOLINGS)}, found {pooling!r}")
    if mask is None:
        return states.mean(1)
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)

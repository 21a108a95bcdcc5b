"""Pretrained encoders of images: those of `transformers`, and folders of `timm`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError
from rlstitch.modalities.items import Encode, ItemEncoder
from rlstitch.modalities.pretrained import Pooling, identity, load_model, loading, model_folder, pool


def load_image_encoder(
    model: str, *, device: str = "cpu", pooling: Pooling = "auto", revision: str | None = None
) -> ItemEncoder:
    """Load an encoder of images uint8 (h, w, 3), each resized by Pillow and normalised as the model's config says.

    A folder of `timm` (its `config.json` names an `architecture`) gives its own pooled features.

    Args:
        model: as for `load_text_encoder`.
        device: `cpu`, `cuda`, ....
        pooling: `auto` is what was trained to represent a whole image: the projected embedding of models with a text
            side (CLIP, SigLIP), the first token of transformers, the mean over places of convolutional networks; `mean`
            and `first` are of the last states of transformers.
        revision: of the hub.

    Raises:
        MissingExtraError, ArtefactError: as for `load_text_encoder`.
        InvalidInputError: for a pooling that the model does not have.
    """
    folder = model_folder(model, revision=revision)
    with loading(folder):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        is_timm = "architecture" in config
    if is_timm and pooling != "auto":
        raise InvalidInputError(f"pooling: {model} has its own (auto), found {pooling!r}")
    encode = _timm(folder, device) if is_timm else _transformers(folder, device, pooling)
    return ItemEncoder(model, identity(folder), encode)


def _transformers(folder: Path, device: str, pooling: Pooling) -> Encode:
    from transformers import AutoImageProcessor

    model = load_model(folder, device)
    with loading(folder):
        processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=False, local_files_only=True
        )

    @torch.inference_mode()
    def encode(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        pixels = processor(list(images), return_tensors="pt", input_data_format="channels_last")["pixel_values"]
        return _features(model, pixels.to(device), pooling).float().cpu().numpy()

    return encode


def _features(model: Any, pixels: Tensor, pooling: Pooling) -> Tensor:
    if hasattr(model, "get_image_features"):
        if pooling == "auto":
            features = model.get_image_features(pixel_values=pixels)
            return features if isinstance(features, Tensor) else features.pooler_output
        model = model.vision_model
    states: Tensor = model(pixel_values=pixels).last_hidden_state
    if states.ndim == 4:
        if pooling == "first":
            raise InvalidInputError("pooling: a convolutional network has no first token; expected auto or mean")
        return states.mean((2, 3))
    return pool(states, None, "first" if pooling == "auto" else pooling)


def _timm(folder: Path, device: str) -> Encode:
    try:
        import timm
        from timm.data import create_transform, resolve_data_config
    except (ImportError, RuntimeError):  # torchvision, which it needs, of another build than torch
        raise MissingExtraError("a model of timm", "timm") from None
    from PIL import Image

    if not (folder / "model.safetensors").is_file():
        raise ArtefactError(f"{folder}: expected model.safetensors, found none")
    with loading(folder):
        model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval().to(device)
        transform = create_transform(**resolve_data_config({}, model=model))

    @torch.inference_mode()
    def encode(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        pixels = torch.stack([transform(Image.fromarray(image)) for image in images])
        features: NDArray[np.float32] = model(pixels.to(device)).float().cpu().numpy()
        return features

    return encode

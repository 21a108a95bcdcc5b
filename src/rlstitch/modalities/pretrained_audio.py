"""Pretrained encoders of sounds: wav2vec 2.0, HuBERT and Whisper's encoder, of `transformers`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.items import ItemEncoder, Sound
from rlstitch.modalities.pretrained import POOLINGS, Pooling, identity, load_model, loading, model_folder, pool


def load_audio_encoder(
    model: str, *, device: str = "cpu", pooling: Pooling = "auto", revision: str | None = None
) -> ItemEncoder:
    """Load an encoder of sounds, which are resampled to the model's rate.

    `auto` and `mean` are the mean of the last states over the frames that hold sound, `first` is the first one.
    wav2vec 2.0 (2006.11477) and HuBERT (2106.07447) see sounds of one length together and never any padding, which some
    of them take for sound; Whisper's encoder (2212.04356) sees 30 seconds always, and the rest of a longer sound not.

    Raises:
        MissingExtraError, ArtefactError: as for `load_text_encoder`.
        InvalidInputError: for another pooling; in `encode`, for a sound that is too short for a single frame.
    """
    if pooling not in POOLINGS:
        raise InvalidInputError(f"pooling must be one of {', '.join(POOLINGS)}, found {pooling!r}")
    folder = model_folder(model, revision=revision)
    network = load_model(folder, device)
    from transformers import AutoFeatureExtractor

    with loading(folder):
        extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        rate = int(extractor.sampling_rate)
    chosen: Pooling = "mean" if pooling == "auto" else pooling
    frames: Callable[[list[NDArray[np.float32]]], Tensor]
    if hasattr(network.config, "num_mel_bins") and hasattr(extractor, "nb_max_frames"):
        frames = _Spectra(network, extractor, device)
    elif hasattr(network, "_get_feat_extract_output_lengths"):
        frames = _Waves(network, extractor, device)
    else:
        raise ArtefactError(f"{model}: expected wav2vec 2.0, HuBERT or Whisper, found {network.config.model_type}")

    def encode(sounds: Sequence[Sound]) -> NDArray[np.float32]:
        waves = [resample(samples, given, rate) for samples, given in sounds]
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for row, wave in enumerate(waves):
            groups[len(wave)].append(row)
        found: dict[int, Tensor] = {}
        for rows in groups.values():
            states = frames([waves[row] for row in rows])
            found.update(zip(rows, pool(states, None, chosen).float().cpu(), strict=True))
        return torch.stack([found[row] for row in range(len(waves))]).numpy()

    return ItemEncoder(model, identity(folder), encode)


def resample(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """Return a sound (n,) at another number of samples a second, without what that number cannot carry."""
    from scipy.signal import resample_poly

    if rate == wanted:
        return samples
    common = math.gcd(rate, wanted)
    found: NDArray[np.float32] = resample_poly(samples, wanted // common, rate // common).astype(np.float32)
    return found


class _Waves:
    """States of sounds of one length, straight from their samples."""

    def __init__(self, network: Any, extractor: Any, device: str) -> None:
        self._network, self._extractor, self._device = network, extractor, device

    @torch.inference_mode()
    def __call__(self, waves: list[NDArray[np.float32]]) -> Tensor:
        if int(self._network._get_feat_extract_output_lengths(len(waves[0]))) < 1:
            raise InvalidInputError(f"a sound of {len(waves[0])} samples is too short for this model")
        ready = self._extractor(waves, sampling_rate=self._extractor.sampling_rate, return_tensors="pt")
        states: Tensor = self._network(ready["input_values"].to(self._device)).last_hidden_state
        return states


class _Spectra:
    """States of sounds of one length from their mel spectra of 30 seconds, without those of the silence at the end."""

    def __init__(self, network: Any, extractor: Any, device: str) -> None:
        self._network, self._extractor, self._device = network, extractor, device

    @torch.inference_mode()
    def __call__(self, waves: list[NDArray[np.float32]]) -> Tensor:
        ready = self._extractor(waves, sampling_rate=self._extractor.sampling_rate, return_tensors="pt")
        states: Tensor = self._network(ready["input_features"].to(self._device)).last_hidden_state
        # Two frames of the spectrum make one state.
        held = math.ceil(len(waves[0]) / (2 * self._extractor.hop_length))
        return states[:, : max(1, held)]

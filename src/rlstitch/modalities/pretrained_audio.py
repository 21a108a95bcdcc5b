"""Pretrained encoders of sounds: wav2vec 2.0, HuBERT and Whisper's encoder, of `transformers`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

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

    wav2vec 2.0 (2006.11477) and HuBERT (2106.07447) see sounds of one length together and never any padding, which some
    of them take for sound; Whisper's encoder (2212.04356) always sees 30 seconds, and not the rest of a longer sound.

    Args:
        model: as for `load_text_encoder`.
        device: `cpu`, `cuda`, ....
        pooling: `auto` and `mean` are the mean of the last states over the frames with sound, `first` is the first.
        revision: of the hub.

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
    is_whisper = hasattr(network.config, "num_mel_bins") and hasattr(extractor, "nb_max_frames")
    if not is_whisper and not hasattr(network, "_get_feat_extract_output_lengths"):
        raise ArtefactError(f"{model}: expected wav2vec 2.0, HuBERT or Whisper, found {network.config.model_type}")

    @torch.inference_mode()
    def states_of(waves: list[NDArray[np.float32]]) -> Tensor:
        """The last states (n, frames, d) of sounds of one length."""
        samples = len(waves[0])
        if not is_whisper and int(network._get_feat_extract_output_lengths(samples)) < 1:
            raise InvalidInputError(f"a sound of {samples} samples is too short for this model")
        inputs = extractor(waves, sampling_rate=rate, return_tensors="pt")
        states: Tensor = network(
            inputs["input_features" if is_whisper else "input_values"].to(device)
        ).last_hidden_state
        # Whisper pads with silence, and makes one state of two frames of its spectrum.
        return states[:, : max(1, math.ceil(samples / (2 * extractor.hop_length)))] if is_whisper else states

    def encode(sounds: Sequence[Sound]) -> NDArray[np.float32]:
        waves = [resample(samples, given, rate) for samples, given in sounds]
        rows_of: defaultdict[int, list[int]] = defaultdict(list)
        for row, wave in enumerate(waves):
            rows_of[len(wave)].append(row)
        latents: dict[int, Tensor] = {}
        for rows in rows_of.values():
            states = states_of([waves[row] for row in rows])
            latents.update(zip(rows, pool(states, None, chosen).float().cpu(), strict=True))
        return torch.stack([latents[row] for row in range(len(waves))]).numpy()

    return ItemEncoder(model, identity(folder), encode)


def resample(samples: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    """Convert a sound (n,) to another number of samples a second, without frequencies that it cannot represent."""
    from scipy.signal import resample_poly

    if rate == new_rate:
        return samples
    common = math.gcd(rate, new_rate)
    resampled: NDArray[np.float32] = resample_poly(samples, new_rate // common, rate // common).astype(np.float32)
    return resampled

"""Pretrained encoders of texts, images and sounds, from a folder or from the Hugging Face hub.

Texts: folders of `sentence-transformers`, and any encoder of `transformers`. Images: those of `transformers`, and
folders of `timm`. Sounds: wav2vec 2.0, HuBERT and Whisper's encoder. Weights are safetensors alone, and no code of a
model is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError
from rlstitch.modalities.items import Encode, ItemEncoder
from rlstitch.modalities.libraries import one_line, quiet, without_output
from rlstitch.modalities.wav import Sound
from rlstitch.storage import printable, read_json, sha256_of

Pooling: TypeAlias = Literal["auto", "mean", "first"]
POOLINGS: tuple[Pooling, ...] = ("auto", "mean", "first")


_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_ADAPTER = "adapter_config.json"
_CLASSES = frozenset({"type", "types", "activation_function"})  # keys of sentence-transformers that name classes
_KNOWN_CLASS = re.compile(r"(sentence_transformers|torch\.nn\.modules)(\.\w+)+")
# Weights that are not used here and often not stored.
_UNUSED = ("pooler.", "masked_spec_embed", "mask_token")
_MOST_TOKENS = 512


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
    """Raise ArtefactError where a folder holds or names weights as pickles, or names those of another folder."""
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in _PICKLES:
            raise ArtefactError(f"{folder}: expected weights as .safetensors, found {file.name}; remove it")
        if file.name == _ADAPTER:
            raise ArtefactError(f"{folder}: expected a whole model, found {_ADAPTER}, which changes another")
        if file.name.endswith(".index.json"):
            named = read_json(file)
            weights = named.get("weight_map") if isinstance(named, dict) else None
            if not isinstance(weights, dict) or any(not _is_part(name) for name in weights.values()):
                raise ArtefactError(f"{file}: expected the names of .safetensors files beside it")


def _is_part(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")


def _check_modules(folder: Path) -> None:
    """Refuse a folder of sentence-transformers that names code of other packages, pickles, or places outside of it."""
    modules = read_json(folder / "modules.json")
    for module in modules if isinstance(modules, list) else [modules]:
        kind, path = (module.get(key) for key in ("type", "path")) if isinstance(module, dict) else (None, None)
        if not isinstance(path, str) or ".." in Path(path).parts or Path(path).is_absolute():
            raise ArtefactError(f"{folder}: cannot be loaded: modules.json names no folder within it")
        _refuse_foreign(folder, kind, "type")
        refuse_pickles(folder / path)
        for file in sorted((folder / path).glob("*config.json")):
            if file.name != "tokenizer_config.json":  # has whole numbers that JSON should not
                _refuse_foreign(folder, read_json(file))


def _refuse_foreign(folder: Path, value: Any, key: str = "") -> None:
    """Refuse the names of classes that sentence-transformers would import from elsewhere."""
    if isinstance(value, dict):
        for inner, item in value.items():
            _refuse_foreign(folder, item, key if key == "types" else inner)
    elif key in _CLASSES and (not isinstance(value, str) or ("." in value and not _KNOWN_CLASS.fullmatch(value))):
        raise ArtefactError(
            f"{folder}: cannot be loaded: it brings code of its own, which is never run: {printable(value, limit=100)}"
        )


def _fetched(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ArtefactError(f"cannot read {model}: there is no such folder")
    with loading(model, "neither a folder, nor to be had from the Hugging Face hub"):
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(_PATTERNS)))


def identity(folder: Path) -> str:
    """Return the sha256 of all that may be loaded from a model's folder; its path does not matter."""
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and file.suffix != ".md" and not any(part.startswith(".") for part in name.parts):
            whole.update(f"{name.as_posix()} {sha256_of(file)}\n".encode())
    return whole.hexdigest()


def _item_encoder(model: str, folder: Path, encode: Encode) -> ItemEncoder:
    weights = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) // 4
    return ItemEncoder(model, identity(folder), encode, weights)


def load_model(folder: Path, device: str) -> Any:
    """Load a folder's model of `transformers` without a head, in float32, for evaluation.

    Of a model with an encoder and a decoder it is the encoder.

    Raises:
        ArtefactError: where it cannot be loaded, or weights of it are missing.
    """
    model, info = _load("AutoModel", folder, use_safetensors=True, output_loading_info=True, dtype=torch.float32)
    spare = (*_UNUSED, "decoder.") if model.config.is_encoder_decoder else _UNUSED
    missing = sorted(name for name in info["missing_keys"] if not any(part in name for part in spare))
    if missing:
        raise ArtefactError(f"{folder}: {len(missing)} weights are missing, as {missing[0]}")
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    return model.eval().requires_grad_(False).to(device)


def _load(kind: str, folder: Path, **options: Any) -> Any:
    """Load what a class of `transformers` reads from a folder, without code of its own."""
    import transformers

    with loading(folder):
        return getattr(transformers, kind).from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, **options
        )


@contextlib.contextmanager
def loading(folder: Path | str, problem: str = "cannot be loaded") -> Iterator[None]:
    """Silence progress bars and notices, and turn errors into an `ArtefactError` of one line."""
    with (
        without_output(),  # tokenizers print names of a file's options, and panics
        one_line(f"{folder}: {problem}", "huggingface_hub", "safetensors_rust", "safetensors", "pyo3_runtime"),
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
        _require_auto(pooling, model)
        encode = _sentences(folder, device)
    else:
        encode = _tokens(folder, device, "mean" if pooling == "auto" else pooling)
    return _item_encoder(model, folder, encode)


def _require_auto(pooling: Pooling, model: str) -> None:
    if pooling != "auto":
        raise InvalidInputError(f"pooling: {model} has its own (auto), found {pooling!r}")


def _sentences(folder: Path, device: str) -> Encode:
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError("a model of sentence-transformers", "pretrained")
    from sentence_transformers import SentenceTransformer

    with loading(folder):
        _check_modules(folder)
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
        with loading(folder, "cannot encode"):
            vectors = model.encode(list(texts), batch_size=len(texts), show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    return encode


def _tokens(folder: Path, device: str, pooling: Pooling) -> Encode:
    model, tokenizer = load_model(folder, device), _load("AutoTokenizer", folder)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    if tokenizer.pad_token is None:
        raise ArtefactError(f"{folder}: its tokenizer has neither a token to pad with nor one that ends a text")
    configured = getattr(model.config, "max_position_embeddings", None)  # -1 where there is no limit
    known = [count for count in (configured, _positions(model)) if count is not None and count != -1]
    with loading(folder):
        most = min(tokenizer.model_max_length, _MOST_TOKENS, *known)
        around = tokenizer.num_special_tokens_to_add()
    if most <= around:
        raise ArtefactError(f"{folder}: expected positions for a text, found {most}, fewer than the tokens around one")

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        with loading(folder, "cannot encode"):
            tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=most, return_tensors="pt")
            tokens = tokens.to(device)
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
        config = read_json(folder / "config.json")
        is_timm = "architecture" in config
    if is_timm:
        _require_auto(pooling, model)
    encode = _timm(folder, device) if is_timm else _transformers(folder, device, pooling)
    return _item_encoder(model, folder, encode)


def _transformers(folder: Path, device: str, pooling: Pooling) -> Encode:
    model, processor = load_model(folder, device), _load("AutoImageProcessor", folder, backend="pil")

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
        return model(pixels.to(device)).float().cpu().numpy()

    return encode


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
    network, extractor = load_model(folder, device), _load("AutoFeatureExtractor", folder)
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

    return _item_encoder(model, folder, encode)


def resample(samples: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    """Convert a sound (n,) to another number of samples a second, without frequencies that it cannot represent."""
    from scipy.signal import resample_poly

    if rate == new_rate:
        return samples
    common = math.gcd(rate, new_rate)
    return resample_poly(samples, new_rate // common, rate // common).astype(np.float32)


LOADERS: dict[str, Callable[..., ItemEncoder]] = {
    "text": load_text_encoder,
    "image": load_image_encoder,
    "audio": load_audio_encoder,
}
"""Modality -> what loads an encoder of it."""

"""Latent spaces and translations as files: NumPy's npz without pickle, or safetensors with a JSON header."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError, needs_extra
from rlstitch.latent import LatentSpace, Translation
from rlstitch.latent.translation.corrected import build_translation
from rlstitch.storage import limits
from rlstitch.storage.archives import open_archive, read_array
from rlstitch.storage.files import read_bytes, write_bytes
from rlstitch.storage.json_files import canonical_json, parse_json
from rlstitch.storage.tensors import read_tensors, write_tensors
from rlstitch.storage.text import printable

if TYPE_CHECKING:
    from datasets import Dataset

SPACE_FORMAT = "rlstitch-latent-space-1"
TRANSLATION_FORMAT = "rlstitch-translation-1"
SUFFIXES = (".npz", ".safetensors")


def save_space(space: LatentSpace[Any], path: Path | str) -> Path:
    """Write a latent space `(n, d)` with its keys and name, as the path's suffix says: `.npz` or `.safetensors`.

    Raises:
        InvalidInputError: another suffix, vectors that are not finite, or keys that the format cannot hold.
        ArtefactError: the operating system refuses.
    """
    path = _checked_suffix(Path(path), SUFFIXES)
    if path.suffix == ".safetensors":
        header = {"name": space.name, "keys": list(space.keys)}
        write_tensors(path, {"vectors": space.vectors}, metadata=_metadata(SPACE_FORMAT, header))
        return path
    array = _to_numpy(space.vectors)
    if not bool(np.isfinite(array).all()):
        raise InvalidInputError("vectors: hold NaN or infinity")
    texts = np.array([SPACE_FORMAT, space.name, *space.keys])
    # NumPy cuts zero characters off the end of a text.
    if texts.tolist() != [SPACE_FORMAT, space.name, *space.keys]:
        raise InvalidInputError(f"{path}: a key or the name ends in a zero character; write .safetensors instead")
    content = io.BytesIO()
    np.savez(content, format=texts[0], name=texts[1], keys=texts[2:], vectors=array)
    write_bytes(path, content.getvalue())
    return path


def load_space(path: Path | str) -> LatentSpace[Any]:
    """Read a latent space: with NumPy vectors from an `.npz`, with a torch tensor from a `.safetensors` file.

    Raises:
        InvalidInputError: another suffix.
        ArtefactError: the file is missing, damaged, or holds no latent space.
    """
    path = _checked_suffix(Path(path), SUFFIXES)
    if path.suffix == ".npz":
        vectors, keys, name = _read_npz(path)
    else:
        tensors, header = _read_header(path, SPACE_FORMAT, "latent space")
        if set(tensors) != {"vectors"} or not isinstance(header.get("keys"), list):
            raise ArtefactError(f"{path}: expected a tensor of vectors and their keys")
        vectors, keys, name = tensors["vectors"], header["keys"], header.get("name", "")
    if not isinstance(name, str):
        raise ArtefactError(f"{path}: expected text as the name, found {type(name).__name__}")
    try:
        if len(keys) != len(vectors):  # no keys at all would be filled in
            raise InvalidInputError(f"{len(vectors)} vectors and {len(keys)} keys")
        return LatentSpace(vectors, tuple(keys), name)
    except (RlstitchError, TypeError) as error:
        raise ArtefactError(f"{path}: holds no latent space: {error}") from None


def save_translation(translation: Translation, path: Path | str) -> Path:
    """Write a translation as `.safetensors`, with its specification and the report of its fit in the header.

    Raises:
        InvalidInputError: another suffix, or numbers that are not finite.
        ArtefactError: the operating system refuses.
    """
    path = _checked_suffix(Path(path), (".safetensors",))
    write_tensors(path, translation.state_dict(), metadata=_metadata(TRANSLATION_FORMAT, translation.spec()))
    return path


def load_translation(path: Path | str) -> Translation:
    """Read a translation.

    Raises:
        InvalidInputError: another suffix.
        ArtefactError: the file is missing, damaged, or holds no translation.
    """
    path = _checked_suffix(Path(path), (".safetensors",))
    tensors, spec = _read_header(path, TRANSLATION_FORMAT, "translation")
    # Checked before anything of the size that the header claims is allocated.
    shape = list(tensors["matrix"].shape) if "matrix" in tensors else None
    if [spec.get("width_in"), spec.get("width_out")] != shape:
        raise ArtefactError(f"{path}: expected a matrix of the size that the header states, found {shape}")
    try:
        with torch.device("meta"):
            described = build_translation(spec).state_dict()
        if {name: own.shape for name, own in described.items()} != {name: own.shape for name, own in tensors.items()}:
            raise InvalidInputError("its tensors are not those that the header describes")
        translation = build_translation(spec)
        if any(tensors[name].dtype != own.dtype for name, own in translation.state_dict().items()):
            raise InvalidInputError("its numbers are not of the type that the header states")
        translation.load_state_dict(tensors)
    except (RlstitchError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ArtefactError(f"{path}: holds no translation: {printable(error, limit=300)}") from None
    return translation


def space_to_dataset(space: LatentSpace[Any], *, vectors: str = "latent", keys: str = "key") -> Dataset:
    """Return a Hugging Face dataset with one row a vector: a column of keys and one of vectors.

    Raises:
        MissingExtraError: the package `datasets` is not installed.
    """
    with needs_extra("a Hugging Face dataset", "datasets"):
        from datasets import Dataset
    return Dataset.from_dict({keys: list(space.keys), vectors: _to_numpy(space.vectors)})


def space_from_dataset(
    dataset: Any, *, vectors: str = "latent", keys: str | None = "key", name: str = ""
) -> LatentSpace[Any]:
    """Return the latent space (NumPy; float64 where the column is, else float32) in two columns of a Hugging Face
    dataset.

    Args:
        dataset: a `datasets.Dataset`, or whatever gives a column as a sequence by its name.
        vectors: the column of vectors, all of one width.
        keys: the column of keys, read as texts; None: rows are numbered.
        name: of the space.

    Raises:
        InvalidInputError: a column is missing, or the vectors are not of one width.
    """
    columns = list(getattr(dataset, "column_names", None) or dataset.keys())
    for column in (vectors, keys):
        if column is not None and column not in columns:
            raise InvalidInputError(f"column {column!r}: not in the dataset, which has {', '.join(columns[:20])}")
    features = getattr(dataset, "features", None)
    declared = str(features[vectors]) if features else str(getattr(dataset[vectors], "dtype", ""))
    kind = np.float64 if "float64" in declared else np.float32
    # Without a type, the format makes float32 of all.
    plain = dataset.with_format("numpy", dtype=kind) if hasattr(dataset, "with_format") else dataset
    try:
        array = np.stack([np.asarray(row, dtype=kind) for row in plain[vectors][:]])
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"column {vectors!r}: expected vectors of one width: {error}") from None
    labels: Sequence[str] = () if keys is None else [str(key) for key in dataset[keys][:]]
    return LatentSpace(array, tuple(labels), name)


def _metadata(kind: str, header: dict[str, Any]) -> dict[str, str]:
    return {"format": kind, "header": canonical_json(header).decode()}


def _read_header(path: Path, kind: str, what: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, metadata = read_tensors(path)
    header = parse_json(metadata.get("header", "null"), str(path)) if metadata.get("format") == kind else None
    if not isinstance(header, dict):
        raise ArtefactError(f"{path}: holds no {what} (format {kind})")
    return tensors, header


def _read_npz(path: Path) -> tuple[Any, list[str], str]:
    content = read_bytes(path, max_bytes=limits.TENSOR_BYTES)
    # Ours are not compressed: what unpacks to more than its size is not one of them.
    with open_archive(content, f"{path}: not a usable npz file", max_bytes=len(content)) as archive:
        if {name.removesuffix(".npy") for name in archive.namelist()} != {"format", "name", "keys", "vectors"}:
            raise ValueError(f"expected a latent space (format {SPACE_FORMAT})")
        kind, name, keys, vectors = (read_array(archive, name) for name in ("format", "name", "keys", "vectors"))
        if str(kind) != SPACE_FORMAT:
            raise ValueError(f"expected a latent space (format {SPACE_FORMAT})")
    return vectors, keys.tolist() if keys.ndim == 1 else [], str(name)


def _checked_suffix(path: Path, suffixes: tuple[str, ...]) -> Path:
    if path.suffix not in suffixes:
        raise InvalidInputError(f"{path}: expected a name that ends in {' or '.join(suffixes)}")
    return path


def _to_numpy(vectors: Any) -> Any:
    """Return vectors as an array; NumPy has no bfloat16."""
    if not isinstance(vectors, torch.Tensor):
        return vectors
    vectors = vectors.detach().cpu()
    return (vectors.float() if vectors.dtype == torch.bfloat16 else vectors).numpy()

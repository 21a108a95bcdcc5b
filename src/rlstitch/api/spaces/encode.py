"""Raw items (lines of text, images, sounds) are encoded into a stored latent space, batch by batch and resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.jobs.resources import resolve_device
from rlstitch.storage.workspace import require_new_file

if TYPE_CHECKING:
    from rlstitch.modalities.items import ItemEncoder, Items

MODALITIES = ("text", "image", "audio")


@dataclass(frozen=True)
class Encoded:
    """A space that was written, or how much of it where the run was interrupted."""

    path: Path
    model: str
    count: int
    done: int
    resumed: int
    """Of `done`, the items that an earlier run had encoded."""
    seconds: float
    interrupted: bool = False

    def __str__(self) -> str:
        kept = f", {self.resumed:,} of them by an earlier run" if self.resumed else ""
        if self.interrupted:
            return f"{self.path}: {self.done:,} of {self.count:,} items{kept}"
        return f"{self.path}: {self.done:,} items by {self.model} in {self.seconds:.1f} s{kept}"


def encode(
    modality: str,
    model: str,
    source: Path | str,
    out: Path | str,
    *,
    keys: Path | str | None = None,
    batch_size: int = 32,
    device: str = "auto",
    pooling: str = "auto",
    revision: str | None = None,
    force: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Encoded:
    """Encode the items of a source by a model into a `.safetensors` file of a latent space.

    Only the keys and one batch are held in memory. The same call resumes where a killed or interrupted one stopped,
    also with another batch size. Vectors of other batch sizes and devices differ only by rounding.

    Args:
        modality: `text`, `image` or `audio`.
        model: a folder, a name on the Hugging Face hub, or the name of the plain encoder (`hashing`, `greys`, `mel`).
        source: see `rlstitch.modalities.items`.
        out: the file.
        keys: a file with a key for each item, one a line.
        batch_size: items a batch.
        device: `auto`, `cpu` or `cuda`.
        pooling: `auto`, `mean` or `first`; see `load_text_encoder` and its kind.
        revision: of the model on the hub.
        force: replace an existing file, and what an unfinished run left.
        on_progress: called with the numbers of items done and in all, after each batch.

    Raises:
        InvalidInputError, ArtefactError: where an argument, the input or the model cannot be used.
        IncompatibleError: where an unfinished run of another model or input is in the way.
        BusyError: where another process writes this file.
        MissingExtraError: where an optional package is not installed.
    """
    from rlstitch.storage import SpaceStream, exclusive_lock, part_files

    out = Path(out)
    _check(modality, out, batch_size, force)
    device = resolve_device(device)
    items = read_items(modality, Path(source), keys)
    encoder = load_encoder(modality, model, device=device, pooling=pooling, revision=revision)
    config = {
        "modality": modality, "model": encoder.name, "weights": encoder.identity, "pooling": pooling,
        "input": items.identity,
    }  # fmt: skip
    with exclusive_lock(out.with_name(f".{out.name}.lock"), str(out)):
        if force:
            for file in part_files(out):
                file.unlink(missing_ok=True)
        with SpaceStream(out, items.keys, config, name=encoder.name) as stream:
            return encode_stream(items, encoder, stream, batch_size=batch_size, on_progress=on_progress)


def encode_stream(
    items: Items,
    encoder: ItemEncoder,
    stream: Any,
    *,
    batch_size: int = 32,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Encoded:
    """Encode the items that a `SpaceStream` lacks, batch by batch, and finish it; Ctrl-C stops between batches."""
    total, resumed, begun = len(items.keys), stream.rows, time.monotonic()
    interrupted = False
    try:
        on_progress(resumed, total)
        left = items.read(resumed)
        for batch in iter(lambda: list(islice(left, batch_size)), []):
            stream.append(encoder.encode(batch))
            on_progress(stream.rows, total)
        stream.finish()
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.monotonic() - begun
    return Encoded(stream.path, encoder.name, total, stream.rows, resumed, seconds, interrupted)


def read_items(modality: str, source: Path, keys: Path | str | None) -> Items:
    """Open the items of a modality, `MODALITIES`; raises as its reader in `rlstitch.modalities.items`."""
    from rlstitch.modalities.image_items import image_items
    from rlstitch.modalities.items import sound_items, text_items

    readers: Mapping[str, Callable[..., Items]] = {"text": text_items, "image": image_items, "audio": sound_items}
    return readers[modality](source, keys=keys)


def load_encoder(modality: str, model: str, *, device: str, pooling: str, revision: str | None) -> ItemEncoder:
    """Load the encoder of a modality, `MODALITIES`, that a model's name or folder means.

    Raises:
        UnknownNameError: for another pooling.
        MissingExtraError, ArtefactError, InvalidInputError: as for `load_text_encoder`.
    """
    from rlstitch.modalities.plain_encoders import PLAIN, plain_encoder

    require_known("pooling", pooling, ("auto", "mean", "first"))
    others = {name: other for other, (name, _) in PLAIN.items()}
    if model in others and not Path(model).is_dir():
        if others[model] != modality:
            raise InvalidInputError(f"model: {model} is for {others[model]}, found modality {modality}")
        return plain_encoder(modality)
    from rlstitch.modalities.pretrained import LOADERS

    return LOADERS[modality](model, device=device, pooling=pooling, revision=revision)


def _check(modality: str, out: Path, batch_size: int, force: bool) -> None:
    require_known("modality", modality, MODALITIES)
    require_new_file(out, ".safetensors", force=force)
    if batch_size < 1:
        raise InvalidInputError(f"batch_size must be at least 1, found {batch_size}")

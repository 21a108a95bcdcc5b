"""Raw items (lines of text, images, sounds) are encoded into a stored latent space, batch by batch and resumable.

An item that cannot be read or encoded does not stop the rest: `failed.csv` beside the space lists it with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlstitch.api.called_with import called_with
from rlstitch.errors import ArtefactError, InvalidInputError, require_known
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.jobs.resources import resolve_device, threads_for, torch_threads
from rlstitch.storage import read_json, write_table
from rlstitch.storage.workspace import require_new_file

if TYPE_CHECKING:
    from rlstitch.modalities.items import ItemEncoder, Items
    from rlstitch.storage.space_stream import SpaceStream

MODALITIES = ("text", "image", "audio")
FAILED = "failed"
"""Name of the table of items that failed, without suffix."""
_SHOWN = 10
_HOPELESS = 32  # items that fail for one reason, and none that does not


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
    failed: Mapping[str, str] = field(default_factory=dict)
    """Key of an item that could not be read or encoded -> the reason."""
    ignored: Sequence[str] = ()
    """Files beside the items that are of another kind."""

    def __str__(self) -> str:
        kept = f", {self.resumed:,} of them by an earlier run" if self.resumed else ""
        of = f" of {self.count:,}" if self.failed or self.interrupted else ""
        line = f"{self.path}: {self.done:,}{of} items"
        line += kept if self.interrupted else f" by {self.model} in {self.seconds:.1f} s{kept}"
        if self.failed:
            line += f"; {len(self.failed):,} failed, see {self.path.with_name(FAILED + '.csv')}"
        if self.ignored:
            more = f" and {len(self.ignored) - _SHOWN:,} more" if len(self.ignored) > _SHOWN else ""
            line += f"\nnot encoded, as files of another kind: {', '.join(self.ignored[:_SHOWN])}{more}"
        return line


@dataclass(frozen=True)
class EncodeOptions:
    """Arguments of `encode`."""

    modality: str
    model: str
    source: Path | str
    out: Path | str
    _: KW_ONLY
    keys: Path | str | None = None
    batch_size: int = 32
    device: str = "auto"
    pooling: str = "auto"
    revision: str | None = None
    force: bool = False
    on_progress: OnProgress = silent


@called_with(EncodeOptions)
def encode(options: EncodeOptions) -> Encoded:
    """Encode the items of a source by a model into a `.safetensors` file of a latent space.

    Only the keys and one batch are held in memory. The same call resumes where a killed or interrupted one stopped,
    also with another batch size, and after items were added, removed or replaced. Vectors of other batch sizes and
    devices differ only by rounding. Items that cannot be read or encoded are left out, and listed in `failed.csv`
    beside the file.

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
        InvalidInputError, ArtefactError: where an argument, the input or the model cannot be used, or no item at all.
        IncompatibleError: where an unfinished run of another model, or of other items only, is in the way.
        BusyError: where another process writes this file.
        MissingExtraError: where an optional package is not installed.
    """
    from rlstitch.storage import SpaceStream, exclusive_lock, part_files

    modality, out, force = options.modality, Path(options.out), options.force
    unfinished = all(file.exists() for file in part_files(out))  # beside a space too that lacks items
    _check(modality, out, options.batch_size, force or unfinished)
    device = resolve_device(options.device)
    items = read_items(modality, Path(options.source), options.keys)
    encoder = load_encoder(modality, options.model, device=device, pooling=options.pooling, revision=options.revision)
    # Each item has dozens of positions (tokens, patches, frames) that pass each weight, with two operations.
    threads = threads_for(2e-9 * 64 * encoder.weights * options.batch_size)
    config = {
        "modality": modality, "model": encoder.name, "weights": encoder.identity, "pooling": options.pooling,
        "input": items.identity,
    }  # fmt: skip
    with exclusive_lock(out.with_name(f".{out.name}.lock"), str(out)):
        if force:
            for file in part_files(out):
                file.unlink(missing_ok=True)
        opened = SpaceStream(out, items.keys, config, digests=items.digests, name=encoder.name)
        with opened as stream, torch_threads(threads):
            return encode_stream(items, encoder, stream, batch_size=options.batch_size, on_progress=options.on_progress)


def encode_stream(
    items: Items,
    encoder: ItemEncoder,
    stream: SpaceStream,
    *,
    batch_size: int = 32,
    on_progress: OnProgress = silent,
) -> Encoded:
    """Encode the items that a stream lacks, batch by batch, and finish it; Ctrl-C stops between batches.

    Raises:
        InvalidInputError: where no item can be encoded.
    """
    missing, total, begun = stream.missing, len(items.keys), time.monotonic()
    resumed = total - len(missing)
    failed: dict[int, str] = {}
    done, interrupted = resumed, False
    try:
        on_progress(done, total)
        readable = _read_each(items, missing, failed)
        for batch in iter(lambda: list(islice(readable, batch_size)), []):
            done += _encode_batch(encoder, stream, batch, failed)
            on_progress(done + len(failed), total)
            if not done and len(failed) >= _HOPELESS and len(set(failed.values())) == 1:
                break  # it is not the items
        reasons = {items.keys[number]: failed[number] for number in sorted(failed)}
        if not done:
            raise InvalidInputError(
                f"none of {len(failed):,} items can be encoded; {': '.join(next(iter(reasons.items())))}"
            )
        stream.finish(without=failed)
        _list_failures(stream.path, reasons)
    except KeyboardInterrupt:
        interrupted, reasons = True, {}
    seconds = time.monotonic() - begun
    return Encoded(
        stream.path, encoder.name, total, done, resumed, seconds, interrupted, failed=reasons, ignored=items.ignored
    )


def _read_each(items: Items, numbers: Sequence[int], failed: dict[int, str]) -> Iterator[tuple[int, Any]]:
    """Yield the items with these numbers; one that cannot be read goes into `failed`, with the reason."""
    values: Iterator[Any] = iter(())
    reason, expected = "", -1
    for number in numbers:
        if number != expected:
            values, reason = items.read(number), "expected another item, found none; did the input change meanwhile?"
        expected = number + 1
        try:
            value = next(values)
        except StopIteration:
            failed[number] = reason
        except ArtefactError as error:
            reason = failed[number] = str(error)
        else:
            yield number, value


def _encode_batch(
    encoder: ItemEncoder, stream: SpaceStream, batch: Sequence[tuple[int, Any]], failed: dict[int, str]
) -> int:
    """Encode and store items, half by half where they cannot be encoded together; return how many could."""
    try:
        stream.append(encoder.encode([item for _, item in batch]), [number for number, _ in batch])
    except InvalidInputError as error:
        if len(batch) > 1:
            half = len(batch) // 2
            return sum(_encode_batch(encoder, stream, part, failed) for part in (batch[:half], batch[half:]))
        failed[batch[0][0]] = str(error)
        return 0
    return len(batch)


def _list_failures(space: Path, reasons: Mapping[str, str]) -> None:
    """Write the table of failed items beside a space; rows of other spaces stay, and without rows there is no table."""
    table = space.with_name(FAILED)
    try:
        before = list(read_json(table.with_suffix(".json")))
        rows = [row for row in before if row["space"] != space.name]
    except (ArtefactError, LookupError, TypeError):  # none yet, or not ours
        before, rows = [], []
    rows += [{"item": key, "reason": reason, "space": space.name} for key, reason in reasons.items()]
    if rows:
        write_table(rows, table)
    elif before:
        for suffix in (".csv", ".json"):
            table.with_suffix(suffix).unlink(missing_ok=True)


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

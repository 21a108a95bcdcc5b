"""TensorBoard event files of results that are complete, as opposed to those of a training in progress."""

from __future__ import annotations

import io
import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rlstitch.errors import ArtefactError
from rlstitch.storage.files import translated_errors
from rlstitch.storage.folders import staged_files

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

    from rlstitch.reporting.plots import Curves


def write_events(
    folder: Path,
    *,
    scalars: Iterable[tuple[str, float, int]] = (),
    images: Mapping[str, bytes | npt.NDArray[np.uint8]] | None = None,
    texts: Mapping[str, str] | None = None,
    layout: Mapping[str, Any] | None = None,
) -> Path:
    """Write one events file, then remove those that the folder held before; return the folder.

    Args:
        folder: made where it is missing.
        scalars: tag, value and step of each. In every tag, characters that TensorBoard does not group by become `_`.
        images: by tag; PNG or GIF files as bytes, or pixels as uint8 `(H, W, 3)`.
        texts: Markdown by tag.
        layout: of the tab Custom Scalars, as `SummaryWriter.add_custom_scalars` takes it.

    Raises:
        ArtefactError: if the folder is a link, or cannot be written.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    summaries = [(Summary(value=[Summary.Value(tag=_tag(tag), simple_value=x)]), step) for tag, x, step in scalars]
    for tag, image in (images or {}).items():
        summaries.append((Summary(value=[Summary.Value(tag=_tag(tag), image=_image(image))]), 0))
    summaries += [(text_pb(_tag(tag), text), 0) for tag, text in (texts or {}).items()]
    if layout:
        from torch.utils.tensorboard.summary import custom_scalars

        summaries.append((custom_scalars(layout), 0))
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ArtefactError(f"cannot write {folder}: it is no folder of its own")
    with translated_errors("write", folder):
        older = list(folder.glob("events.out.tfevents.*"))
        with staged_files(folder) as stage:
            writer = EventFileWriter(str(stage))
            for summary, step in summaries:
                writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
            writer.close()
        for file in older:
            file.unlink(missing_ok=True)
    return folder


def write_study_events(
    folder: Path,
    config: Mapping[str, Any],
    facts: Sequence[str],
    table: Sequence[Mapping[str, Any]],
    files: Mapping[str, bytes],
    curves: Curves | None = None,
) -> None:
    """Write the results of a study as one events file, in place of those of an earlier run in this folder.

    Texts: `facts` and the resolved config. Images: the PNG files among `files`, under their stems. Scalars: each column
    of floats as `<column>/<row>`; the name of a row is made of its texts, and rows of one name differ by their step,
    which is their first integer. Curves are scalars `<y>_over_<x>/<name>` with x as step, in one chart of the tab
    Custom Scalars, and each with its interval in another.

    Raises:
        ArtefactError: if the folder cannot be written.
    """
    names = ["/".join(value for value in row.values() if isinstance(value, str) and value != "–") for row in table]
    scalars = []
    for name, row in zip(names, table, strict=True):
        integers = [value for value in row.values() if type(value) is int]
        step = integers[0] if integers and names.count(name) > 1 else 0
        finite = {key: value for key, value in row.items() if isinstance(value, float) and math.isfinite(value)}
        scalars += [(f"{column}/{name}", value, step) for column, value in finite.items()]
    write_events(
        folder,
        scalars=[*scalars, *(_curve_scalars(curves) if curves else ())],
        layout=_curve_layout(curves) if curves else None,
        images={Path(name).stem: content for name, content in files.items() if name.endswith(".png")},
        texts={
            "facts": "\n\n".join(facts),
            "config": "\n".join(f"    {line}" for line in json.dumps(dict(config), indent=2).splitlines()),
        },
    )


def _curve_scalars(curves: Curves) -> Iterator[tuple[str, float, int]]:
    steps = [round(point[0]) for points in curves.points.values() for point in points]
    for name, points in curves.points.items():
        for x, *values in points:
            yield from ((tag, y, round(x)) for tag, y in zip(_curve_tags(curves, name), values, strict=False))
    for name, y in curves.levels.items():
        yield from ((_curve_tags(curves, name)[0], y, step) for step in (min(steps), max(steps)))


def _curve_layout(curves: Curves) -> dict[str, Any]:
    title = f"{curves.y} over {curves.x}"
    charts = {name: ["Margin", _curve_tags(curves, name)] for name in curves.points}
    return {title: {"all": ["Multiline", [f"^{_tag(title)}/"]], **charts}}


def _curve_tags(curves: Curves, name: str) -> list[str]:
    """Return the tags of a curve and of the ends of its intervals."""
    title = f"{curves.y} over {curves.x}"
    return [_tag(f"{title}{end}/{name.replace('/', ' ')}") for end in ("", ", low", ", high")]


def _image(image: bytes | npt.NDArray[np.uint8]) -> Summary.Image:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    if not isinstance(image, bytes):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG", optimize=True)
        image = buffer.getvalue()
    with Image.open(io.BytesIO(image)) as file:
        width, height = file.size
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=image)


def _tag(text: str) -> str:
    return re.sub(r"[^\w./-]", "_", text, flags=re.ASCII)

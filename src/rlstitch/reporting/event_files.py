"""TensorBoard's event files, written value by value: for figures that are made at once, not along a training."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.errors import ArtefactError


class EventFile:
    """A new events file in a folder, made where it is not there; those of earlier times in this folder go.

    Tags are put into the characters that TensorBoard groups and filters by.

    Raises:
        ArtefactError: where the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        try:
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
            self._writer = EventFileWriter(str(folder))
        except OSError as error:
            raise ArtefactError(f"cannot write {folder}: {error.strerror or error}") from error

    def scalar(self, tag: str, value: float, *, step: int = 0) -> None:
        """Add a number."""
        self._add(step, tag=_tag(tag), simple_value=float(value))

    def image(self, tag: str, picture: npt.NDArray[np.uint8]) -> None:
        """Add a picture uint8 (H, W, 3)."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
        self.encoded(tag, buffer.getvalue(), *picture.shape[:2])

    def encoded(self, tag: str, content: bytes, height: int, width: int) -> None:
        """Add a picture as the PNG or GIF that it is already."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content)
        self._add(0, tag=_tag(tag), image=image)

    def text(self, tag: str, content: str) -> None:
        """Add a text, which is shown as Markdown."""
        from tensorboard.plugins.text.summary_v2 import text_pb

        self._write(0, text_pb(_tag(tag), content))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def _add(self, step: int, **value: Any) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._write(step, Summary(value=[Summary.Value(**value)]))

    def _write(self, step: int, summary: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


def _tag(text: str) -> str:
    return re.sub(r"[^\w./-]", "_", text, flags=re.ASCII)

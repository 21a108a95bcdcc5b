"""Pages of one file: Jinja templates, one style sheet, everything embedded, nothing fetched, all text escaped."""

from __future__ import annotations

import base64
import functools
import hashlib
import struct
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from rlstitch.errors import InvalidInputError
from rlstitch.reporting.tables import minus
from rlstitch.storage import read_bytes
from rlstitch.storage.text import printable

_WIDE = 2.2  # width over height from which a video takes a row of its own


def render(template: str, **values: Any) -> str:
    """Return the page that a template makes of `values`; every text among them is made printable and escaped.

    The Content-Security-Policy allows the style sheet and the script by their hashes and embedded images and videos,
    and nothing else: the page reaches no other but `connect`, and no text in it can run.

    Args:
        template: file name in `templates`; it extends `base.html`.
        values: for the template; `scripts` names the script files that the page runs, in order, `styles` the style
            sheets beside that of all pages, and `connect` the address that the page may connect to.
    """
    scripts = [_asset(name) for name in values.pop("scripts", ())]
    script = '(() => {\n"use strict";\n' + "\n".join(scripts) + "})();" if scripts else ""
    style = "".join(_asset(name) for name in ("page.css", *values.pop("styles", ())))
    own = [f"{kind}-src {_hash(text)}" for kind, text in (("script", script), ("style", style)) if text]
    own += [f"connect-src {address}"] if (address := values.pop("connect", "")) else []
    policy = "; ".join(["default-src 'none'", *own, "img-src data:", "media-src data:", "base-uri 'none'"])
    return (
        _environment()
        .get_template(template)
        .render(**values, script=script, style=style, policy=f"{policy}; form-action 'none'")
    )


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rlstitch.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if hasattr(value, "__html__") else _text(value),
    )
    environment.filters |= {"code": _code, "minus": lambda text: minus(str(text))}
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False, "allow_nan": False, "separators": (",", ":"),
    }  # fmt: skip
    return environment


def _text(value: object) -> str:
    return printable(value).replace(" %", "\N{NO-BREAK SPACE}%")


def _code(text: str) -> Markup:
    """Escape a command, in which spaces and line breaks count."""
    return Markup("\n").join(escape(printable(line, squeeze=False)) for line in text.splitlines())


def _asset(name: str) -> str:
    return files("rlstitch.reporting").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@dataclass(frozen=True)
class Video:
    """An MP4 file, embedded in a page."""

    caption: str
    width: int
    height: int
    base64: str

    @property
    def wide(self) -> bool:
        """Whether it takes a row of its own."""
        return self.width > _WIDE * self.height


def read_video(caption: str, path: Path, *, max_bytes: int) -> Video:
    """Read an MP4 file.

    Width and height are those of the track header (ISO/IEC 14496-12, 8.3.2), whose last two words are 16.16 fixed.

    Raises:
        InvalidInputError: if it is no MP4 file, or one without a video track.
        ArtefactError: if it cannot be read or is larger than `max_bytes`.
    """
    content = read_bytes(path, max_bytes=max_bytes)
    start = content.find(b"tkhd") - 4
    box = content[start : start + int.from_bytes(content[start : start + 4])]
    if content[4:8] != b"ftyp" or start < 0 or len(box) < 92:
        raise InvalidInputError(f"panels: expected an MP4 file, found something else in {path}")
    width, height = struct.unpack(">H2xH2x", box[-8:])
    return Video(caption, width, height, base64.b64encode(content).decode())

"""Reading a Stable-Baselines3 model's zip without running anything out of it.

`data` is JSON. Where a value of it is no JSON, Stable-Baselines3 puts a pickle there, in base64: those are dropped
unread. `policy.pth` holds the tensors, see `tensors`. The other members are not opened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlstitch.agents.sb3.tensors import read_tensors
from rlstitch.errors import ArtefactError
from rlstitch.storage import check_tree, limits, open_archive, open_file, printable, read_member

_OTHER_FILES = {
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with `git lfs pull`, or from its page",
    b"<": "a web page; download the file itself",
}
"""What is often found in the place of a zip, by how it begins."""
_OLD_TORCH = b"l\xfc\x9cF\xf9 j\xa8P\x19"
"""The number, pickled, at the beginning of what torch saved before 1.6."""


@dataclass(frozen=True)
class ModelFile:
    """What a Stable-Baselines3 zip says in plain values: its settings, and the tensors of its policy (float32, CPU)."""

    path: Path
    data: dict[str, Any]
    tensors: dict[str, Tensor]


def read_model(path: Path | str) -> ModelFile:
    """Read a Stable-Baselines3 model.

    Raises:
        ArtefactError: where the file is missing, no such zip, damaged, too large, or asks for code to be run.
    """
    path = Path(path)
    _refuse_others(path)
    with open_archive(path, f"{path}: not a usable Stable-Baselines3 zip") as archive:
        names = archive.namelist()
        if not {"data", "policy.pth"} <= set(names):
            raise ArtefactError(
                f"{path}: expected a Stable-Baselines3 model, a zip with 'data' and 'policy.pth'; "
                f"found {len(names)} members: {printable(', '.join(names[:8]), limit=300)}"
            )
        data = read_member(archive, "data", limits.SB3_DATA_BYTES)
        policy = read_member(archive, "policy.pth", limits.SB3_POLICY_BYTES)
    return ModelFile(path, _plain_values(data, path), _tensors(policy, path))


def _refuse_others(path: Path) -> None:
    with open_file(path) as stream:
        start = stream.read(64).lstrip()
    for beginning, kind in _OTHER_FILES.items():
        if start.startswith(beginning):
            raise ArtefactError(f"{path}: expected a Stable-Baselines3 zip, found {kind}")


def _plain_values(content: bytes, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(content.decode(), parse_constant=lambda _: None)
        check_tree(data)
    except RecursionError:
        raise ArtefactError(f"{path}: data is not usable JSON: nested too deeply") from None
    except ValueError as error:
        raise ArtefactError(f"{path}: data is not usable JSON: {printable(error, limit=200)}") from None
    if not isinstance(data, dict):
        raise ArtefactError(f"{path}: data: expected a JSON object, found {type(data).__name__}")
    return {
        key: {name: item for name, item in value.items() if name != ":serialized:"}
        if isinstance(value, dict)
        else value
        for key, value in data.items()
    }


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    if _OLD_TORCH in content[:64]:
        raise ArtefactError(
            f"{path}: policy.pth is in the format of torch before 1.6, a pickle, which is not opened; if you trust the "
            "file, load it in Stable-Baselines3 with torch 1.6 or newer and save it again"
        )
    loaded = read_tensors(content, f"{path}: policy.pth")
    total = sum(value.numel() for value in loaded.values())
    if total > 4 * limits.PARAMETERS:  # a shared extractor stands three times in the file
        raise ArtefactError(f"{path}: policy.pth: {total:,} numbers, expected at most {4 * limits.PARAMETERS:,}")
    return finite(loaded, f"{path}: policy.pth")


def finite(loaded: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return tensors of a file as contiguous ones, floating-point numbers as float32.

    Raises:
        ArtefactError: where one holds NaN or infinity; `where` names the file.
    """
    for name, value in loaded.items():
        if not bool(torch.isfinite(value).all()):
            raise ArtefactError(f"{where}: tensor {printable(name, limit=100)!r} holds NaN or infinity")
    return {
        name: value.detach().float().contiguous() if value.is_floating_point() else value.detach().contiguous()
        for name, value in loaded.items()
    }

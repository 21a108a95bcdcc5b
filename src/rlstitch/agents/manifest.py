"""Find agents and read their cards from `agent.json`, without loading torch.

The manifest holds the sha256 of its siblings and a checksum of itself, so that a folder that was cut short, damaged
or mixed from two agents is refused in one line.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError

from rlstitch.agents.card import SCHEMA_VERSION, AgentCard
from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError, UnknownNameError
from rlstitch.storage import (
    NAME_PATTERN,
    canonical_json,
    data_roots,
    first_problem,
    folder_exists,
    limits,
    opened_together,
    parse_json,
    read_stream,
    recover,
    translated_errors,
)
from rlstitch.storage.text import printable, shorten

MANIFEST = "agent.json"
PARTS = ("encoder", "controller")
WEIGHTS = tuple(f"{part}.safetensors" for part in PARTS)


@dataclass(frozen=True)
class AgentEntry:
    """One line of a list of agents: a card, or the reason why there is none."""

    name: str
    path: Path
    card: AgentCard | None
    reason: str = ""
    """Why the agent cannot be used; empty where it can."""

    @property
    def broken(self) -> bool:
        """Whether the agent cannot be loaded."""
        return self.card is None


def list_agents(*, roots: Iterable[Path] | None = None) -> list[AgentEntry]:
    """Return every agent that can be found by name, sorted; for a broken one, the reason.

    Args:
        roots: look in these folders instead of `./agents` and those that came with the package.
    """
    entries: dict[str, AgentEntry] = {}
    for root in _roots(roots):
        for path in _agent_folders(root):
            entries.setdefault(path.name, _entry(path))
    return [entries[name] for name in sorted(entries)]


def find_agent(name_or_folder: Path | str, *, roots: Iterable[Path] | None = None) -> Path:
    """Return the folder of an agent, by its name or its folder; it is not checked yet.

    Raises:
        UnknownNameError: where no agent has this name.
        ArtefactError: where a folder is given that does not exist.
        InvalidInputError: for a value that is neither.
    """
    if not isinstance(name_or_folder, str | Path):
        raise InvalidInputError(
            f"agent: expected a name or a folder, found {type(name_or_folder).__name__} (save_agent writes an Agent, "
            "import_agent a model)"
        )
    places = _roots(roots)
    text = str(name_or_folder)
    if isinstance(name_or_folder, str) and re.fullmatch(NAME_PATTERN, text):
        for root in places:
            if folder_exists(root / text):
                return root / text
        if not (Path(text) / MANIFEST).is_file():
            raise UnknownNameError("agent", text, {path.name for root in places for path in _agent_folders(root)})
    folder = Path(text)
    with contextlib.suppress(OSError, ValueError):  # a name that is too long, or holds a zero byte
        if folder_exists(folder):
            return folder.resolve()
    raise ArtefactError(f"there is no agent in {text[:300]!r}: no such folder")


@dataclass(frozen=True)
class OpenAgent:
    """The card and the open weight files of one agent, whatever is written in its folder meanwhile."""

    folder: Path
    card: AgentCard
    _digests: Mapping[str, str]
    _files: Mapping[str, BufferedReader]

    def weights(self, part: str) -> bytes:
        """Return the content of a part's weight file. Raises ArtefactError where it was altered, or is too large."""
        path = self.path(part)
        content = read_stream(self._files[path.name], path, max_bytes=limits.WEIGHTS_BYTES)
        self._compare(hashlib.sha256(content).hexdigest(), path)
        return content

    def check(self) -> None:
        """Raise ArtefactError where a weight file was altered."""
        for part in PARTS:
            path = self.path(part)
            with translated_errors("read", path):
                digest = hashlib.file_digest(self._files[path.name], "sha256").hexdigest()
            self._compare(digest, path)

    def path(self, part: str) -> Path:
        """Return the path of a part's weight file."""
        return self.folder / f"{part}.safetensors"

    def _compare(self, digest: str, path: Path) -> None:
        if digest != self._digests[path.name]:
            raise ArtefactError(f"{path}: its sha256 is not the one in {MANIFEST}; it was altered or damaged")


@contextlib.contextmanager
def opened_agent(folder: Path) -> Iterator[OpenAgent]:
    """Open the files of an agent.

    Raises:
        ArtefactError: where a file is missing, or the manifest is altered or not one.
    """
    with opened_together(folder, [MANIFEST, *WEIGHTS]) as files:
        content = read_stream(files[MANIFEST], folder / MANIFEST, max_bytes=limits.MANIFEST_BYTES)
        yield OpenAgent(folder, *_parse_manifest(content, folder), files)


def _parse_manifest(content: bytes, folder: Path) -> tuple[AgentCard, dict[str, str]]:
    path = folder / MANIFEST
    raw = parse_json(content, str(path), schema_version=SCHEMA_VERSION)
    checksum = raw.pop("checksum", None)
    if checksum != manifest_checksum(raw):
        raise ArtefactError(f"{path}: its checksum does not fit its content; it was altered or damaged")
    files = raw.pop("files", None)
    if not isinstance(files, dict) or set(files) != set(WEIGHTS):
        raise ArtefactError(f"{path}: files: expected the sha256 of {' and '.join(sorted(WEIGHTS))}")
    try:
        card = AgentCard.model_validate(raw)
    except ValidationError as error:
        raise ArtefactError(f"{path}: {one_line(first_problem(error))}") from None
    if re.fullmatch(NAME_PATTERN, folder.name):
        card = card.model_copy(update={"name": folder.name})  # a folder that was renamed takes the agent with it
    return card, files


def read_card(folder: Path) -> AgentCard:
    """Return the card of an agent whose weight files have the sha256 that the manifest states.

    Raises:
        ArtefactError: where the manifest or a weight file is missing or altered.
    """
    with opened_agent(folder) as agent:
        agent.check()
    return agent.card


def count_parameters(agent: OpenAgent, part: str) -> int:
    """Return the number of trained weights of an agent's encoder or controller.

    Anchors, normalizations and translations are no trained weights.

    Raises:
        ArtefactError: where the file was altered, is no safetensors file, or a tensor holds NaN or infinity.
    """
    import numpy as np
    from safetensors.numpy import load

    content, path = agent.weights(part), agent.path(part)
    try:
        tensors = load(content)
    except (SafetensorError, KeyError, TypeError) as error:  # the last two: types that NumPy does not know
        raise ArtefactError(f"{path}: not readable as safetensors: {one_line(error)}") from None
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ArtefactError(f"{path}: tensor {name!r} holds NaN or infinity")
    # A relative or translated encoder holds its absolute encoder under this prefix, and buffers beside it.
    depth = max((name.count("base.") for name in tensors), default=0)
    return sum(
        tensor.size
        for name, tensor in tensors.items()
        if name.startswith("base." * depth) and not name.removeprefix("base." * depth).startswith("normalization.")
    )


def _entry(path: Path) -> AgentEntry:
    try:
        return AgentEntry(path.name, path, read_card(path))
    except RlstitchError as error:
        return AgentEntry(path.name, path, None, one_line(error))


def manifest_checksum(manifest: dict[str, Any]) -> str:
    """Return the checksum that a manifest without its `checksum` holds."""
    return hashlib.sha256(canonical_json(manifest)).hexdigest()


def _roots(roots: Iterable[Path] | None) -> list[Path]:
    return data_roots("agents") if roots is None else [Path(root) for root in roots]


def _agent_folders(root: Path) -> list[Path]:
    recover(root)
    try:
        return sorted(path for path in root.iterdir() if re.fullmatch(NAME_PATTERN, path.name) and path.is_dir())
    except OSError:  # no such root, or not ours to read: there are no agents to list in it
        return []


def one_line(error: object) -> str:
    """Return a message on one line, its middle cut out where it quotes a file at length."""
    return shorten(printable(error), 500)

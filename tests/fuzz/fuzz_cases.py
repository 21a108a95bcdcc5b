"""One case: a file is read, and what comes of it is measured."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import random
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_bombs import READERS, Bomb
from fuzz_mutations import mutate
from fuzz_subjects import Subject

from rlstitch.cli.console import complain, say
from rlstitch.errors import RlstitchError

SECONDS = 5.0
SPARE_BYTES = 200_000_000
LONGEST_MESSAGE = 2000


@dataclass
class Result:
    """What came of a case.

    `outcome` is `loaded`, `refused` (one of our errors), or what is wrong: `foreign` (another exception), `unequal`,
    `slow`, `memory`, `printed` or `outside`.
    """

    outcome: str
    text: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0
    value: Any = dataclasses.field(default=None, repr=False)

    @property
    def good(self) -> bool:
        """Whether the case ended as it should."""
        return self.outcome in ("loaded", "refused")


def _peak(reset: bool = False) -> int:
    """The most memory that this process had since the last reset, in bytes."""
    with contextlib.suppress(OSError):
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    return 0


def examine(read: Callable[[], object], *, honest_bytes: int, shown: bool = False) -> Result:
    """Read once, and say what came of it; `shown` prints what is read as a command does."""
    before, begin = _peak(reset=True), time.process_time()
    outcome, text, value, printed = "loaded", "", None, io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            warnings.simplefilter("error")
            try:
                value = read()
                if shown:
                    say(value)
            except RlstitchError as error:
                outcome, text = "refused", str(error)
                complain(f"error: {error}")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        last = "".join(traceback.format_exception(error, limit=-8))
        outcome, text = "foreign", f"{last[-3000:]}"
    seconds, memory = time.process_time() - begin, max(0, _peak() - before)
    output = printed.getvalue()
    bad = [c for c in output if not c.isprintable() and c != "\n"]
    if outcome != "foreign":
        if seconds > SECONDS:
            outcome = "slow"
        elif memory > 4 * honest_bytes + SPARE_BYTES:
            outcome = "memory"
        elif bad or (outcome == "refused" and (output.count("\n") != 1 or len(output) > LONGEST_MESSAGE)):
            outcome, text = "printed", ascii(output[:300])
    return Result(outcome, text, seconds, memory / 1e6, value)


class FuzzSubject:
    """A reader with its honest artefact in memory; called with the number of a case, it mutates and reads."""

    files: Mapping[str, bytes]
    """Of the honest artefact, by their paths in its folder."""
    expected: str
    """The fingerprint of what the honest artefact is read as."""

    def __init__(self, subject: Subject, folder: Path, seed: int) -> None:
        self.subject, self.folder, self.seed = subject, folder, seed

    def prepare(self) -> None:
        """Write and read the honest artefact, before processes are forked."""
        honest = self.folder / "inner" / "honest"
        honest.mkdir(parents=True)
        self.subject.make(honest)
        files = (path for path in sorted(honest.rglob("*")) if path.is_file())
        self.files = {path.relative_to(honest).as_posix(): path.read_bytes() for path in files}
        result = examine(lambda: self.subject.read(honest), honest_bytes=2**30, shown=self.subject.shown)
        if result.outcome != self.subject.honest:
            raise AssertionError(f"{self.subject.name}: the honest artefact is {result.outcome}: {result.text}")
        self.expected = fingerprint(result.value)

    def _restore(self, place: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        for name, content in self.files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)

    def __call__(self, case: int) -> Result:
        rng = random.Random(f"{self.seed}:{self.subject.name}:{case}")
        box = self.folder / f"box{case}"
        place = box / "inner" / "artefact"
        self._restore(place)
        names = sorted(self.files)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            path = place / rng.choice(names)
            path.write_bytes(mutate(path.read_bytes(), rng))
        signed = self.subject.sign is not None and rng.random() < 0.7
        if signed:
            self.subject.sign(place)
        size = sum(map(len, self.files.values()))
        result = examine(lambda: self.subject.read(place), honest_bytes=size, shown=self.subject.shown)
        if (
            result.outcome == "loaded"
            and self.subject.sealed
            and not signed
            and fingerprint(result.value) != self.expected
        ):
            result.outcome = "unequal"
        result.value = None
        outside = [path for path in box.rglob("*") if path != box / "inner" and place not in (path, *path.parents)]
        if outside:
            result.outcome, result.text = "outside", str(outside[:3])
        shutil.rmtree(box)
        return result


def fingerprint(value: object) -> str:
    """A hash of a value's content."""
    return hashlib.sha256(repr(_plain(value)).encode("utf-8", "backslashreplace")).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, torch.nn.Module):
        return _plain(value.state_dict())
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, Mapping):
        return [(str(key), _plain(item)) for key, item in value.items()]
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in value]
    if hasattr(value, "card"):
        return value.card.model_dump(mode="json", exclude={"name"}), _plain(value.encoder), _plain(value.controller)
    if hasattr(value, "identity"):
        return value.identity
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(type(value))


def detonate(bomb: Bomb, folder: Path) -> Result:
    """Make a bomb in a folder of its own and read it; what is measured is the reading alone."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        inner = Path(place, "bomb")
        inner.mkdir()
        bomb.make(inner)
        size = sum(path.stat().st_size for path in inner.rglob("*") if path.is_file())
        subject = READERS[bomb.reader]
        root = inner / "sample" if bomb.reader.startswith("agent ") else inner
        return examine(lambda: subject.read(root), honest_bytes=size, shown=subject.shown)

"""What a report of a bug has to state: versions, processors, devices, and packages of each extra."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from rlstitch.jobs.resources import available_cores
from rlstitch.storage.text import aligned
from rlstitch.version import __version__

_NOT_HERE = "not installed"
_REQUIREMENT = re.compile(r"([\w.-]+)")
_EXTRA = re.compile(r"extra == ['\"]([\w-]+)['\"]")
_OF_DEVELOPERS = ("dev", "docs")


@dataclass(frozen=True)
class Information:
    """What this installation is made of. Its text is what `rlstitch info` prints; it names no paths and no users."""

    rlstitch: str
    python: str
    system: str
    cores: int
    """Processor cores that this process may use."""
    devices: tuple[str, ...]
    """Names of the GPUs that torch can use."""
    packages: dict[str, str | None]
    """Version of each required package; None where it is not installed."""
    extras: dict[str, dict[str, str | None]]
    """The same of each extra."""

    def __str__(self) -> str:
        rows = [
            ("rlstitch", self.rlstitch),
            ("python", self.python),
            ("system", self.system),
            ("cores", str(self.cores)),
            ("GPUs", ", ".join(self.devices) or "none that torch can use"),
            *_rows("", self.packages),
        ]
        for extra, packages in self.extras.items():
            rows += _rows(f" (extra {extra})", packages)
        return "\n".join(aligned(rows))


def info() -> Information:
    """Describe this installation.

    Raises:
        PackageNotFoundError: rlstitch runs from a folder, without being installed.
    """
    import torch

    packages: dict[str, str | None] = {}
    extras: dict[str, dict[str, str | None]] = {
        name: {} for name in metadata("rlstitch").get_all("Provides-Extra") or () if name not in _OF_DEVELOPERS
    }
    for requirement in requires("rlstitch") or ():
        name = _REQUIREMENT.match(requirement)
        extra = _EXTRA.search(requirement)
        if name and (extra is None or extra[1] in extras):
            (packages if extra is None else extras[extra[1]])[name[1]] = _version(name[1])
    return Information(
        rlstitch=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=available_cores(),
        devices=tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())),
        packages=packages,
        extras=extras,
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _rows(where: str, packages: dict[str, str | None]) -> list[tuple[str, str]]:
    return [(f"{name}{where}", number or _NOT_HERE) for name, number in sorted(packages.items())]

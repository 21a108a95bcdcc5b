"""Where named things are looked for: the working folder first, then what came with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

Kind = Literal["agents", "configs"]


def data_roots(kind: Kind, *, working_folder: Path | None = None, package: Path | None = None) -> list[Path]:
    """Return the folders that exist among `./<kind>` and the package's own, in the order in which to look.

    In an installed wheel the package's own lie in `rlstitch/_data/<kind>`; in a clone, at the top of the repository.

    Args:
        kind: what is looked for.
        working_folder: stands for the current folder.
        package: stands for the folder of the `rlstitch` package.
    """
    working_folder = working_folder or Path.cwd()
    package = package or Path(str(files("rlstitch")))
    candidates = [working_folder / kind, package / "_data" / kind]
    clone = package.parent.parent
    if package.parent.name == "src" and (clone / "pyproject.toml").is_file():
        candidates.append(clone / kind)
    unique = dict.fromkeys(path.resolve() for path in candidates)
    return [path for path in unique if path.is_dir()]

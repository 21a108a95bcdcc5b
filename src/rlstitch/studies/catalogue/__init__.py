"""All studies, one a module of this package: `images_classification.py` holds study `images-classification`.

The docstring of such a module states in lines of their own what the study shows, what data it needs and how much time
it takes (`Shows:`, `Data:`, `Time:`). Listing reads these docstrings and imports no study, so it loads no torch.
"""

from __future__ import annotations

import ast
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path

from rlstitch.errors import require_known


@dataclass(frozen=True)
class Description:
    """One line each: what a study shows, what data it needs, and how long it takes."""

    name: str
    shows: str
    data: str
    time: str

    def __str__(self) -> str:
        return f"{self.name}\n  shows  {self.shows}\n  data   {self.data}\n  time   {self.time}"


def study_names() -> list[str]:
    """Names of all studies, sorted."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def describe(name: str) -> Description:
    """Read the description of a study.

    Raises:
        UnknownNameError: where no study has this name.
    """
    require_known("study", name, study_names())
    source = Path(__path__[0], f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^(Shows|Data|Time): (.+)$", ast.get_docstring(ast.parse(source)) or "", re.MULTILINE))
    return Description(name, lines["Shows"], lines["Data"], lines["Time"])


def list_studies() -> str:
    """Describe every study in four lines: its name, what it shows, its data and its time."""
    return "\n".join(str(describe(name)) for name in study_names())

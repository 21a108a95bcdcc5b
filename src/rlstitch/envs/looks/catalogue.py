"""Every look that has a name; a new one is added in the file of its kind."""

from __future__ import annotations

from types import MappingProxyType

from rlstitch.envs.looks import colours, drawn, geometry, noise
from rlstitch.envs.looks.text import LookKind

LOOKS: MappingProxyType[str, LookKind] = MappingProxyType(
    {kind.name: kind for kind in (*drawn.LOOKS, *colours.LOOKS, *geometry.LOOKS, *noise.LOOKS)}
)
"""The kinds of looks by their names."""
NAMES: MappingProxyType[str, LookKind] = MappingProxyType(
    {name: kind for kind in LOOKS.values() for name in (kind.name, *kind.aliases)}
)
"""The kinds of looks by their names and aliases."""

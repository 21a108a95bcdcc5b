"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

Threads = Annotated[
    int | None,
    arg(
        metavar="NUMBER",
        help="Torch threads.",
        help_behavior_hint="(default: OMP_NUM_THREADS, else as many as pay for the network: one for small ones)",
    ),
]

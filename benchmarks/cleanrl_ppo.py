"""CleanRL's `ppo.py` from a checkout, with an environment and a network of one's own, as its users change it."""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import nn

REPLACED = {"make_env", "Agent"}


class Stop(Exception):
    """Raised by a network to end the script."""


def run(
    checkout: Path,
    arguments: Sequence[str],
    environment: Callable[[], gymnasium.Env[Any, Any]],
    network: Callable[[SyncVectorEnv], nn.Module],
) -> None:
    """Run `cleanrl/ppo.py` of a checkout to its end, or until the network raises `Stop`.

    Two definitions of the script are replaced: `make_env` makes `environment`, and `Agent` is `network`, which needs
    the methods `get_value` and `get_action_and_value` of CleanRL's. Vector environments reset in the step that ends an
    episode, as in Gymnasium before 1.0, for which the script was written. Its files go to a folder that is removed.

    Args:
        checkout: a clone of CleanRL.
        arguments: of the script's command line.
        environment: makes one environment.
        network: makes the network from the vector environment.

    Raises:
        SystemExit: where the checkout has no such script, or one that lacks one of the two.
    """
    script = checkout.absolute() / "cleanrl/ppo.py"
    if not script.is_file():
        raise SystemExit(f"--cleanrl {checkout}: no cleanrl/ppo.py in it; expected a clone of CleanRL")
    tree = ast.parse(script.read_text(encoding="utf-8"), str(script))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if not defined >= REPLACED:
        raise SystemExit(f"{script}: defines no {' and no '.join(sorted(REPLACED - defined))}")
    tree.body = [node for node in tree.body if getattr(node, "name", None) not in REPLACED]
    names = {
        "__name__": "__main__",
        "__file__": str(script),
        "make_env": lambda *_: environment,
        "Agent": network,
    }
    same_step = functools.partial(SyncVectorEnv, autoreset_mode=AutoresetMode.SAME_STEP)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.suppress(Stop),
        mock.patch.object(sys, "argv", [str(script), *arguments]),
        mock.patch.object(gymnasium.vector, "SyncVectorEnv", same_step),
    ):
        exec(compile(tree, str(script), "exec"), names)

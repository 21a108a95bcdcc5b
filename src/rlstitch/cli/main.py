"""`rlstitch <command>`: choose the command, run it, and return its exit status.

0: done. 1: some runs of a sweep failed. 2: a wrong usage, or an error that the user can act on, in one line.
130: interrupted. 141: the reader of the output closed it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import tyro
from tyro.conf import OmitSubcommandPrefixes, subcommand

from rlstitch.cli.console import complain, say
from rlstitch.cli.demo import Demo
from rlstitch.cli.diagnose import Diagnose
from rlstitch.cli.evaluate import Evaluate
from rlstitch.cli.export import Export
from rlstitch.cli.import_agent import Import
from rlstitch.cli.latent import Latent
from rlstitch.cli.list import List
from rlstitch.cli.matrix import Matrix
from rlstitch.cli.pairs import Pairs
from rlstitch.cli.relativize import Relativize
from rlstitch.cli.report import Report
from rlstitch.cli.show import Show
from rlstitch.cli.stitch import Stitch
from rlstitch.cli.sweep import Sweep
from rlstitch.cli.train import Train
from rlstitch.errors import RlstitchError

Command: TypeAlias = (
    Annotated[Train, subcommand("train")]
    | Annotated[Sweep, subcommand("sweep")]
    | Annotated[Stitch, subcommand("stitch")]
    | Annotated[Diagnose, subcommand("diagnose")]
    | Annotated[Matrix, subcommand("matrix")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Pairs, subcommand("pairs")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Relativize, subcommand("relativize")]
    | Annotated[Import, subcommand("import")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Latent, subcommand("latent")]
    | Annotated[List, subcommand("list")]
    | Annotated[Show, subcommand("show")]
    | Annotated[Demo, subcommand("demo")]
)

_ALIASES = {"grid": "sweep"}
_DESCRIPTION = "Train agents, then join the encoder of one to the controller of another. --version prints the version."


def parse(argv: Sequence[str]) -> Command:
    """Turn arguments into a command.

    Raises:
        SystemExit: 2 on a wrong usage, 0 after `--help`, as argparse has it.
    """
    command: Command = tyro.cli(
        Command,
        prog="rlstitch",
        description=_DESCRIPTION,
        args=[_ALIASES.get(argv[0], argv[0]), *argv[1:]] if argv else [],
        config=(OmitSubcommandPrefixes,),
    )
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (see the module's docstring)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except RlstitchError as error:
        complain(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        # What is still buffered would be written, and fail, once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        from rlstitch import __version__

        say(f"rlstitch {__version__}")
        return 0
    try:
        command = parse(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2
    return command.run()


if __name__ == "__main__":
    sys.exit(main())

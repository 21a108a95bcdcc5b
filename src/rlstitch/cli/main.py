"""`rlstitch <command>`: choose the command, run it, and return its exit status.

0: done. 1: a part failed (runs of a sweep, cells of a matrix, items of an encoding, a video). 2: a wrong usage, or an
error that the user can act on, in one line. 130: interrupted. 141: the reader of the output closed it.
"""

from __future__ import annotations

import functools
import importlib
import operator
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

from rlstitch.cli.console import complain, fit_width, open_streams, say, silence_output
from rlstitch.errors import InvalidInputError, RlstitchError, require_known
from rlstitch.jobs.resources import collect_garbage_rarely
from rlstitch.storage.limits import THREADS
from rlstitch.storage.text import printable

COMMANDS = {
    "train": ("train:Train", "Train an agent from a preset or a config file."),
    "sweep": ("sweep:Sweep", "Train every run of a sweep that is not done yet."),
    "stitch": (
        "stitch:Stitch",
        "Join the encoder of one agent to the controller of another, and evaluate the agent that this makes.",
    ),
    "diagnose": (
        "diagnose:Diagnose",
        "Predict whether a stitch will work, and why not, before the stitched agent plays.",
    ),
    "matrix": (
        "matrix:Matrix",
        "Join every encoder to every controller of the matching agents, under several methods, and measure all cells.",
    ),
    "report": (
        "report:Report",
        "Write the report of a matrix: a page for the browser, tables, plots, and TensorBoard events.",
    ),
    "benchmark": (
        "benchmark:Benchmark",
        "Measure the committed suite of cells and methods on this machine, and write a leaderboard.",
    ),
    "pairs": (
        "pairs:Pairs",
        "Write the observations of two agents for the same states to a file for rlstitch stitch --pairs.",
    ),
    "evaluate": ("evaluate:Evaluate", "Play episodes with an agent and summarise them."),
    "watch": (
        "watch:Watch",
        "Watch an agent play in a page of the browser, and change its look, encoder and method meanwhile.",
    ),
    "relativize": (
        "relativize:Relativize",
        "Make a trained agent relative: keep its encoder, let its controller act on similarities to anchors.",
    ),
    "graft": (
        "graft:Graft",
        "Fit a new encoder for the controller of an agent, from observations of the same states by another sensor.",
    ),
    "import": (
        "import_agent:Import",
        "Import a model of Stable-Baselines3, sb3-contrib or CleanRL, without running code from it.",
    ),
    "export": (
        "export:Export",
        "Write an agent as one file, for PyTorch, onnxruntime or safetensors; or in half precision.",
    ),
    "push": ("push:Push", "Publish an agent on the Hugging Face Hub, with a model card."),
    "pull": ("pull:Pull", "Fetch an agent from the Hugging Face Hub and check it, without running code from it."),
    "latent": ("latent:Latent", "Latent spaces beyond reinforcement learning: studies, and stored spaces."),
    "list": ("list:List", "List agents and presets."),
    "show": ("show:Show", "Show an agent (its world, parts, origin and results), or a preset with its defaults."),
    "info": ("info:Info", "Show versions, processors, GPUs and optional packages, for a report of a bug."),
    "demo": (
        "demo:Demo",
        "Train two agents independently, stitch them both ways, and write a table, videos and a report.",
    ),
}
"""Module and class of each command, and the summary of that class: the help of all loads none of them."""
# Messages name the arguments of Python.
_PYTHON_ARGUMENT, _OPTION = re.compile("(force|resume|retry)=True"), r"--\1"
_ALIASES = {"grid": "sweep"}


class Command(Protocol):
    """What one command line asks for."""

    def run(self) -> int:
        """Do it, print the result, and return the exit status."""
        ...


def parse(argv: Sequence[str]) -> Command:
    """Turn arguments into a command; only the parser of that command is built.

    Raises:
        SystemExit: 2 on a wrong usage, 0 after `--help`, as argparse has it.
        RlstitchError: where the first argument names no command.
    """
    if not argv:
        raise InvalidInputError("expected a command; rlstitch --help lists them")
    name = _ALIASES.get(argv[0], argv[0])
    if name.startswith("--tyro-"):  # completion scripts know all commands
        return _parse(functools.reduce(operator.or_, map(_choice, COMMANDS)), "rlstitch", argv)
    require_known("command", name, COMMANDS)
    return _parse(_class(name), f"rlstitch {name}", argv[1:])


def _parse(command: Any, program: str, arguments: Sequence[str]) -> Command:
    import tyro

    # Messages of tyro quote arguments as they are: where one holds control characters, they are shown in its place.
    visible = [printable(argument, squeeze=False) for argument in arguments]
    parser = functools.partial(tyro.cli, command, prog=program, config=(tyro.conf.OmitSubcommandPrefixes,))
    try:
        parsed, rest = parser(args=arguments, console_outputs=visible == list(arguments), return_unknown_args=True)
    except SystemExit:
        if visible != list(arguments):
            parser(args=visible)
        raise
    if rest and (parsed := _with_more(parsed, rest)) is None:
        parser(args=visible)  # says which are unknown, and exits
    return cast(Command, parsed)


def _with_more(command: Any, values: list[str]) -> Any:
    """Add the values that follow an option to the argument that takes several; None where they are none of its."""
    if inner := getattr(command, "command", None):
        inner = _with_more(inner, values)
        return inner and replace(command, command=inner)
    name = getattr(command, "SEVERAL", None)
    if name is None or any(value.startswith("-") for value in values):
        return None
    return replace(command, **{name: (*getattr(command, name), *values)})


def _class(name: str) -> Any:
    module, _, kind = COMMANDS[name][0].partition(":")
    return getattr(importlib.import_module(f"rlstitch.cli.{module}"), kind)


def _choice(name: str) -> Any:
    from typing import Annotated

    from tyro.conf import subcommand

    return Annotated[_class(name), subcommand(name)]


def _help(width: int) -> str:
    indent = " " * 16
    lines = [
        textwrap.fill(f"  • {name:<10}  {summary}", width, subsequent_indent=indent)
        for name, (_, summary) in COMMANDS.items()
    ]
    about = "Train agents, then join the encoder of one to the controller of another."
    return "\n".join(
        [
            "usage: rlstitch [-h] [--version] COMMAND ...",
            "",
            *textwrap.wrap(about, width),
            "",
            "commands (rlstitch COMMAND --help shows the options of one):",
            *lines,
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (see the module's docstring)."""
    open_streams()
    collect_garbage_rarely()
    try:
        status = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except RlstitchError as error:
        complain(f"error: {_PYTHON_ARGUMENT.sub(_OPTION, str(error))}")
        return 2
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        silence_output()
        return 141
    except OSError as error:  # a full disk, no permission, a name that the system refuses
        silence_output()
        complain(f"error: {error.filename or 'the operating system'}: {error.strerror or error}")
        return 2
    return status


def _run(arguments: list[str]) -> int:
    width = fit_width()
    if arguments == ["--version"]:
        from rlstitch import __version__

        say(f"rlstitch {__version__}")
        return 0
    if arguments[:1] in (["-h"], ["--help"]):
        say(_help(width))
        return 0
    if any("\0" in argument for argument in arguments):
        raise InvalidInputError("arguments: expected text, found a zero byte")
    try:
        command = parse(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2
    if (threads := getattr(command, "threads", None)) is not None:
        if not 1 <= threads <= THREADS:
            raise InvalidInputError(f"threads: expected 1 to {THREADS}, found {threads}")
        os.environ["OMP_NUM_THREADS"] = str(threads)  # torch is not loaded yet, and processes inherit it
    if packages := getattr(command, "gym_packages", ()):
        from rlstitch.envs import import_modules

        import_modules(packages)
    return command.run()


if __name__ == "__main__":
    sys.exit(main())

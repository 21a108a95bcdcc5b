"""Calls of other libraries: without their notices and progress bars, and with errors of one line."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from rlstitch.errors import ArtefactError, RlstitchError
from rlstitch.storage.text import printable

_EXPECTED = (
    OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, ImportError, ArithmeticError, EOFError,
    AssertionError, MemoryError, SyntaxError, UserWarning,
)  # fmt: skip

_STREAMS = threading.RLock()


@contextlib.contextmanager
def one_line(prefix: str, *packages: str) -> Iterator[None]:
    """Turn errors of other libraries within the block into an `ArtefactError` of one line.

    Args:
        prefix: begins the message.
        packages: top-level packages that have exception classes of their own.
    """
    try:
        yield
    except RlstitchError:
        raise
    except BaseException as error:  # a panic in Rust (pyo3_runtime) is no Exception
        # Tokenizers raise the bare class.
        known = isinstance(error, _EXPECTED) or type(error) is Exception
        if known or type(error).__module__.partition(".")[0] in packages:
            reason = f"{type(error).__name__}: {printable(error, limit=200)}"
            if "trust_remote_code" in str(error):
                reason = "it brings code of its own, which is never run"
            raise ArtefactError(f"{prefix}: {reason}") from None
        raise


@contextlib.contextmanager
def without_output() -> Iterator[None]:
    """Discard what compiled code prints within the block: it passes by `sys.stdout`, and may hold what a file does.

    Both streams belong to the process: what other threads print meanwhile is discarded, too, and processes that they
    start then stay silent. Of several threads, one is in such a block at a time.
    """
    with _STREAMS, Path(os.devnull).open("wb") as nothing, contextlib.ExitStack() as stack:
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed when the process began
            stream.flush()
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):  # closed
                kept = os.dup(descriptor)
                stack.callback(os.close, kept)
                stack.callback(os.dup2, kept, descriptor)
                os.dup2(nothing.fileno(), descriptor)
        yield


@contextlib.contextmanager
def quiet(*libraries: str) -> Iterator[None]:
    """Silence `datasets`, `huggingface_hub` or `transformers` within the block, and restore them after it."""
    with contextlib.ExitStack() as stack:
        for name in libraries:
            utils = importlib.import_module(f"{name}.utils")
            stack.callback(utils.logging.set_verbosity, utils.logging.get_verbosity())
            utils.logging.set_verbosity_error()
            if name == "transformers":
                bars = utils.logging.is_progress_bar_enabled()
                hide, show = utils.logging.disable_progress_bar, utils.logging.enable_progress_bar
            else:
                hide, show = utils.disable_progress_bars, utils.enable_progress_bars
                bars = not utils.are_progress_bars_disabled()
            hide()
            if bars:
                stack.callback(show)
        yield

"""What a computation may use: processors, threads, devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rlstitch.errors import InvalidInputError


def available_cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve_device(device: str) -> str:
    """Turn `auto` into `cuda` where there is one, else `cpu`.

    Raises:
        InvalidInputError: `cuda` is asked for and there is none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise InvalidInputError(f"device: {device!r} was asked for, torch finds no CUDA device (use auto or cpu)")
        _, _, index = device.partition(":")
        if index and int(index) >= torch.cuda.device_count():
            raise InvalidInputError(
                f"device: {device!r} was asked for, torch finds {torch.cuda.device_count()} of them"
            )
    return device


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run a block with this number of torch threads, in the whole process; None: as they are."""
    import torch

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)

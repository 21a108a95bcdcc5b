"""What a computation may use: processors, threads, devices."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

from rlstitch.errors import InvalidInputError
from rlstitch.storage.limits import THREADS

GIGAFLOPS_PER_THREAD = 50.0
"""Work of a batch from which another thread pays."""


def collect_garbage_rarely() -> None:
    """Let Python look for reference cycles after 50,000 new objects instead of some hundreds, in a program of our own.

    What is created while torch is imported stays, and to search it again and again costs time in every command.
    """
    gc.set_threshold(50_000, 20, 20)


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


def threads_for(gigaflops: float = 0.0) -> int:
    """Return how many torch threads suit a computation: `OMP_NUM_THREADS` where it is set, else by the work of a batch.

    A second thread brings little below some 50 GFLOP a batch, and beside a process at full load it makes small
    networks many times slower: the threads of each operation wait for one another (docs/results/threads.md).

    Args:
        gigaflops: floating-point operations of one batch, forwards and backwards where it is trained, in billions;
            `math.inf` for threads that do not wait for one another, such as those of an emulator.
    """
    stated = os.environ.get("OMP_NUM_THREADS", "")
    if stated.isdecimal() and 0 < (threads := int(stated[:5])) <= THREADS:
        return threads
    return int(min(available_cores(), 1 + gigaflops / GIGAFLOPS_PER_THREAD))


@contextmanager
def torch_threads(threads: int | None = None) -> Iterator[None]:
    """Run a block, or a function, with this number of torch threads in the process; None: `threads_for()`.

    NumPy's matrix products, by which frames are shrunk, take no more threads either.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threads, before = threads or threads_for(), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)

"""Rate of every pixel look: the whole batch at once, one image at a time, and as torch tensors on the CPU.

`python benchmarks/looks.py [--batch 64] [--size 84] [--seconds 0.5]` prints images a second, best of three.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from rlstitch.envs import LOOKS, apply_torch, get_variation


def rate(work: Callable[[], object], images: int, seconds: float) -> float:
    """Images a second, best of three."""
    work()
    best = 0.0
    for _ in range(3):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 3:
            work()
            count += 1
        best = max(best, count * images / (time.perf_counter() - start))
    return best


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=84)
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = (options.batch, options.size, options.size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    tensor = torch.tensor(images)
    print(f"{options.batch} images {options.size} x {options.size} x 3, images a second\n")
    print("| look | NumPy, batch | NumPy, one by one | torch, batch |\n|---|---:|---:|---:|")
    kinds = [kind for kind in LOOKS.values() if kind.layer == "pixels"]
    for kind in kinds:  # memory that is used once is given out faster afterwards
        get_variation(kind.example).apply(images)
    for kind in kinds:
        look = get_variation(kind.example)
        batch = rate(lambda look=look: look.apply(images), options.batch, options.seconds)
        loop = rate(lambda look=look: [look.apply(image) for image in images], options.batch, options.seconds)
        torched = rate(lambda look=look: apply_torch(look, tensor), options.batch, options.seconds)
        print(f"| `{kind.example}` | {batch:,.0f} | {loop:,.0f} | {torched:,.0f} |", flush=True)


if __name__ == "__main__":
    main()

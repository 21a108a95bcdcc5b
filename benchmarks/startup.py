"""Processor time of `rlstitch --help`, and what `import rlstitch.latent` loads.

python benchmarks/startup.py [--repeats 9]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

HEAVY = ("gymnasium", "stable_baselines3")


def processor_seconds(command: list[str]) -> float:
    """Run a command and return the seconds of processor time, user and system, that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    program = str(Path(sys.executable).with_name("rlstitch"))
    for command in ([program, "--help"], [program, "stitch", "--help"], [sys.executable, "-c", "import rlstitch"]):
        seconds = [processor_seconds(command) for _ in range(options.repeats)]
        words = " ".join([Path(command[0]).name, *command[1:]])
        print(f"{words}: {statistics.median(seconds):.2f} s of processor time (median of {options.repeats})")
    script = f"import sys, rlstitch.latent; print([m for m in {HEAVY!r} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.strip()
    print(f"import rlstitch.latent loads of {', '.join(HEAVY)}: {loaded}")


if __name__ == "__main__":
    main()

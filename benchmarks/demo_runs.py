"""Ten demos with different seeds: do both methods recover, does naive mixing fail, how long does it take?

    python benchmarks/demo_runs.py [--seeds 0 1 2 3 4 5 6 7 8 9]

Writes docs/results/demo.md, .csv and .json: one row a cell of every demo. Demos that are in the table already are
kept, so that a benchmark that was cut off continues.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlstitch.api.demo import PRESET, demo
from rlstitch.reporting.tables import percent
from rlstitch.storage import write_table

RESULTS = Path("docs/results/demo")
METHODS = ("naive", "affine", "relative (post-hoc)")


def main() -> None:
    """Run the demos and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    options = parser.parse_args()
    stored = RESULTS.with_suffix(".json")
    rows: list[dict[str, Any]] = json.loads(stored.read_text()) if stored.is_file() else []
    for seed in options.seeds:
        if any(row["seed"] == seed for row in rows):
            continue
        with tempfile.TemporaryDirectory() as folder:
            outcome = demo(seed=seed, out=Path(folder) / "demo")
        print(outcome.summary, *outcome.remarks, f"{outcome.seconds:.0f} s", flush=True)
        rows += [
            {"seed": seed, "seconds": round(outcome.seconds, 1), "retrained": len(outcome.remarks)} | cell.to_row()
            for cell in (*outcome.cells, *outcome.greedy)
        ]
        write_table(rows, RESULTS)
        write_markdown(rows)


def write_markdown(rows: list[dict[str, Any]]) -> None:
    """Write one table a kind of policy: one line a demo, recoveries of both directions, success of the natives."""
    lines = [
        f"# Demos with {len({row['seed'] for row in rows})} seeds",
        "",
        f"`python benchmarks/demo_runs.py`: `rlstitch demo` with its preset, {PRESET}. Recovery in percent, both",
        "directions (encoder red with controller green, and the reverse), 100 episodes a cell; success of the natives;",
        "whole time on two processors, beside other work.",
    ]
    for policy, remark in (
        ("sampled", "Actions drawn from the policy: an agent that misreads what it sees sometimes arrives by luck."),
        ("greedy", "The likeliest action at every step: sound agents too may repeat one for ever."),
    ):
        lines += ["", f"## {policy.capitalize()} policies", "", remark, ""]
        lines += policy_table([row for row in rows if row["policy"] == policy])
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")


def policy_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return what one kind of policy kept: shares of cells, then one line a demo."""
    cells = [row for row in rows if row["recovery"] is not None]

    def share(method: str, passes: Callable[[float], bool]) -> str:
        mine = [row["recovery"] for row in cells if row["method"] == method]
        return f"{sum(map(passes, mine))} of {len(mine)} cells"

    lines = [
        f"Recovery of 90 % or more: translation in {share('affine', lambda r: r >= 90)}, relative (post-hoc) in "
        f"{share('relative (post-hoc)', lambda r: r >= 90)}. Naive mixing keeps 20 % or less in "
        f"{share('naive', lambda r: r <= 20)}.",
        "",
        "| seed | natives | naive | translation (affine) | relative (post-hoc) | trained again | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed in sorted({row["seed"] for row in rows}):
        mine = [row for row in rows if row["seed"] == seed]
        texts = [" / ".join(percent(row["recovery"]) for row in mine if row["method"] == method) for method in METHODS]
        natives = " / ".join(f"{row['success']:.0%}" for row in mine if row["method"] == "native")
        ending = f"{mine[0]['retrained']} | {mine[0]['seconds']:.0f}"
        lines.append(f"| {seed} | {natives} | {' | '.join(texts)} | {ending} |")
    return lines


if __name__ == "__main__":
    main()

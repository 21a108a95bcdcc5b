"""Write the page of import fidelity from what `measure.py` and `refused.py` measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path("docs/results")
_INTRODUCTION = """# Import fidelity

Models that their own library made, trained for a moment and saved, imported by rlstitch. Both sides are stepped with
one seed and the same random actions, theirs through their library's wrappers, ours through the imported agent's world,
for 1,000 observations with the starts of episodes among them. The difference is the greatest one of logits, means,
action values, or squashed actions (TD3, DDPG). Greedy returns: ten episodes of equal seeds, `evaluate_policy` beside
`evaluate`.

```
python benchmarks/import_fidelity/measure.py --out docs/results/import-fidelity.json
python benchmarks/import_fidelity/refused.py --out docs/results/import-refused.json
python benchmarks/import_fidelity/page.py
```
"""


_WORDS = """Outputs are equal to 1e-7 everywhere, and to the last bit but for CleanRL's NormalizeObservation. Returns of
discrete actions are equal, but for the order in which rewards are summed; those of continuous actions differ in the
seventh digit or after it (`Monitor` rounds to six decimals). Models were trained for 256 steps only: how well they play
does not matter here."""


def row(measured: dict[str, Any]) -> str:
    """Return a line of the table."""
    seen = measured["observation"] + (", VecNormalize" if measured["normalized"] else "")
    if measured["library"] == "CleanRL":
        seen = seen.replace("VecNormalize", "NormalizeObservation")
    cells = [measured["algorithm"], measured["library"], measured["environment"], seen, measured["stacked"]]
    difference, gap = measured["difference"], measured["greatest difference of returns"]
    numbers = [
        measured["episodes begun"],
        f"{difference:.1e}",
        f"{measured['return']:.3f}",
        f"{gap:.0e}" if gap else "0",
    ]
    return "| " + " | ".join(map(str, cells + numbers)) + " |"


def main() -> None:
    """Write the page."""
    measured = json.loads((RESULTS / "import-fidelity.json").read_text())
    refused = json.loads((RESULTS / "import-refused.json").read_text())
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    heads = ["algorithm", "library", "environment", "observation", "stacked", "episodes begun"]
    heads += ["greatest difference", "return", "greatest difference of a return"]
    lines = [_INTRODUCTION, "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *map(row, measured["rows"])]
    lines += ["", _WORDS, "", f"Versions: {versions}.", "", "## Refused", "", "| model | in these words |", "|---|---|"]
    lines += [f"| {name} | `{message.replace('|', ' ')}` |" for name, message in refused.items()]
    (RESULTS / "import-fidelity.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

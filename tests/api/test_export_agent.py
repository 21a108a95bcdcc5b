"""`rlstitch export`: agents of every kind become one file, which is compared with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlstitch.agents import half_precision
from rlstitch.agents.artefact import load_agent
from rlstitch.agents.export import load_exported
from rlstitch.api.export_agent import export_agent
from rlstitch.api.stitch import stitch
from rlstitch.cli.main import main
from rlstitch.errors import UnknownNameError
from rlstitch.rollouts.evaluation import evaluate


def test_the_command_writes_one_file_and_says_how_near_it_is(two, workplace: Path, capsys) -> None:
    assert main(["export", "red"]) == 0
    assert capsys.readouterr().out.startswith("file     red.pt2 (")
    program = torch.export.load(workplace / "red.pt2").module()
    parameters, values = program(torch.zeros(3, 56, 56, 3, dtype=torch.uint8))
    assert (parameters.shape, values.shape) == ((3, 7), (3,))

    assert main(["export", "red", "--format", "safetensors", "-o", "kept/red.bin"]) == 0
    assert "greatest difference 0" in capsys.readouterr().out
    assert load_exported(workplace / "kept/red.bin").card == load_agent("red").card


def test_a_stitched_agent_is_exported_as_any_other(two, workplace: Path) -> None:
    joined = stitch("red", "green", name="both", pairs=24, episodes=2).agent
    outcome = export_agent("both", form="safetensors")
    assert outcome.difference == 0.0
    again = load_exported(outcome.path)
    assert [parent.name for parent in again.card.parents] == ["red", "green"]
    assert (evaluate(again, episodes=4).returns == evaluate(joined, episodes=4).returns).all()
    assert export_agent(joined).difference < 1e-5


def test_an_agent_in_half_precision_is_half_as_large_and_acts_as_it_was_evaluated(two, workplace: Path, capsys) -> None:
    assert main(["export", "red", "--format", "half"]) == 0
    assert capsys.readouterr().out.startswith("agent    agents/red-half (")
    sizes = {name: (workplace / "agents" / name / "encoder.safetensors").stat().st_size for name in ("red", "red-half")}
    assert sizes["red-half"] < 0.51 * sizes["red"]
    native, half = load_agent("red"), load_agent("red-half")
    assert torch.equal(next(half.encoder.parameters()), next(native.encoder.parameters()).half().float())
    returns = [evaluate(agent, episodes=4).returns for agent in (half, half_precision(native))]
    assert (returns[0] == returns[1]).all()
    assert main(["export", "red", "--format", "half"]) == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("export rad", "did you mean red"),
        ("export red -o .", "is there already; --force"),
        ("export red -o . --force", "it is a folder"),
        ("export red -o /dev/full --force", "it is a device"),
        ("export red -o agents/red/agent.json/x.pt2", "a file is in the way"),
    ],
)
def test_what_cannot_be_written_is_one_line(line: str, part: str, two, capsys) -> None:
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert part in captured.err


def test_an_unknown_format_is_refused(two) -> None:
    with pytest.raises(UnknownNameError, match="did you mean torch-export"):
        export_agent("red", form="torchexport")  # type: ignore[arg-type]

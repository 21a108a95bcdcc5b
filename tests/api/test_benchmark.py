"""The benchmark: its leaderboard, methods of one's own, resuming, what is refused."""

from __future__ import annotations

import csv
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from stitch_samples import untrained

from rlstitch.api.benchmark import benchmark
from rlstitch.cli.main import main
from rlstitch.config.suite import load_suite
from rlstitch.errors import InvalidInputError
from rlstitch.evaluation.matrix.suite import plan_suite
from rlstitch.evaluation.matrix.tasks import read_cell
from rlstitch.stitching import methods as registry
from rlstitch.stitching.pairs import LatentPairs
from rlstitch.stitching.stitch import Stitch, stitch_agents
from rlstitch.storage import read_json

ROOT = Path(__file__).parents[2]
SUITE = """
methods: [naive, affine]
episodes: 4
pairs: 60
groups: {lavagap: [lavagap-red-s1, lavagap-green-s2], elsewhere: [not-here-s1, not-here-s2]}
"""
OWN = re.search("```python\n(.*?)```", (ROOT / "docs/benchmark.md").read_text(encoding="utf-8"), re.DOTALL)[1]
"""The ten lines of the guide."""
WRONG = """
from rlstitch.stitching.methods import Method

def faulty(pairs, controller):
    return pairs.no_such_part

def no_map(pairs, controller):
    return pairs.x

TAKEN = Method("affine", "another", no_map)
NUMBER = 3
"""


@pytest.fixture(scope="module")
def measured(place: Path):
    """The leaderboard of a suite with a method of a module in the working folder, measured by two processes."""
    Path("suite.yaml").write_text(SUITE)
    Path("own_methods.py").write_text(OWN + WRONG)
    return benchmark("suite.yaml", methods=["own_methods:half_ridge"], workers=2, out=Path("out"))


def lines(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return {line["method"]: line for line in csv.DictReader(file)}


def test_the_leaderboard_has_every_method_its_controls_and_both_ends_of_the_scale(measured):
    assert measured.matrix.complete
    table = lines(Path("out"))
    assert set(table) == {"native", "naive", "affine", "half_ridge", "random"}
    assert (next(iter(table)), list(table)[-1]) == ("native", "random")
    assert [float(table[name]["mean"]) for name in ("native", "random")] == [100.0, 0.0]
    means = [float(line["mean"]) for line in list(table.values())[1:-1]]
    assert means == sorted(means, reverse=True)
    cells = {}
    for cell in read_json(Path("out/cells.json")):
        cells.setdefault(cell["method"], []).append(cell)
    for method in ("affine", "half_ridge"):
        line, own = table[method], cells[method]
        worst = min(own, key=lambda cell: cell["recovery"])
        assert float(line["worst"]) == worst["recovery"]
        assert line["worst_cell"] == f"{worst['encoder']} → {worst['controller']}"
        for control in ("shuffled", "untrained", "self"):
            expected = sum(cell["recovery"] for cell in cells[f"{method}-{control}"]) / 2
            assert float(line[control]) == pytest.approx(expected)
        assert float(line["fit_seconds"]) > 0
        assert float(line["return MiniGrid-LavaGapS5-v0"]) == pytest.approx(sum(c["return_mean"] for c in own) / 2)
    assert table["naive"]["self"] == ""


def test_page_and_markdown_show_the_same(measured):
    text = Path("out/leaderboard.md").read_text(encoding="utf-8").replace("\\", "")
    assert all(f"| {name} |" in text for name in ("native", "naive", "affine", "half_ridge", "random"))
    assert "MiniGrid-LavaGapS5-v0" in text
    assert "## Worst cells" in text
    best = max(("affine", "half_ridge"), key=lambda name: float(lines(Path("out"))[name]["mean"]))
    above = lines(Path("out"))[best]["above_controls"]
    assert f"on average, above its controls in {above} of 2 cells" in text, "no recovery without its controls"
    assert "half_ridge" in measured.page.read_text(encoding="utf-8")
    printed = str(measured)
    assert "left out: elsewhere" in printed
    assert "leaderboard.csv" in printed


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch):
    """Forget the module and its methods."""
    monkeypatch.setattr(registry, "_LOADED", {})
    monkeypatch.delitem(sys.modules, "own_methods", raising=False)


def test_what_is_measured_is_kept(measured, new_process):
    reported = []
    again = benchmark("suite.yaml", methods=["own_methods:half_ridge"], out=Path("out"), workers=1,
                      on_progress=lambda *progress: reported.append(progress))  # fmt: skip
    assert reported == []
    assert again.standings == measured.standings


def test_a_method_whose_file_changes_is_measured_anew(measured, new_process):
    Path("own_methods.py").write_text(OWN.replace("0.5", "0.25"))
    plan, _ = plan_suite(load_suite("suite.yaml"), ["own_methods:half_ridge"])
    assert plan.hash8 == measured.matrix.plan.hash8  # in the same folder
    kept = {
        method for method in plan.methods if read_cell(Path("out"), plan.pairings[0].identity(method, plan.options))
    }
    assert set(plan.methods) - kept == {"half_ridge", "half_ridge-shuffled", "half_ridge-untrained", "half_ridge-self"}
    Path("own_methods.py").write_text(OWN + WRONG)


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("own_methods:absent", "own_methods:absent: expected a Method or a function that fits one, found None"),
        ("own_methods:NUMBER", "found 3"),
        ("own_methods:TAKEN", "expected a method of a new name, found 'affine'"),
        ("no_such_module:mine", "'no_such_module' cannot be imported"),
        ("afine", "did you mean affine"),
    ],
)
def test_a_method_that_is_none_is_refused_in_one_line(measured, new_process, reference, problem, capsys):
    assert main(["benchmark", "--suite", "suite.yaml", "--methods", reference]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert problem in err
    assert err.count("\n") == 1


def stitched(reference: str) -> Stitch:
    agents = untrained("red"), untrained("green", seed=2, variation="green")
    x, y = torch.randn(2, 40, agents[0].encoder.latent_dim)
    return stitch_agents(*agents, LatentPairs(x[:30], y[:30], x[30:], y[30:], distinct_views=40), method=reference)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("faulty", "method 'faulty': AttributeError: 'LatentPairs' object has no attribute 'no_such_part'"),
        ("no_map", "method 'no_map': expected a Translation or None, found tensor("),
    ],
)
def test_a_method_of_ones_own_that_fails_is_an_error_of_the_input(measured, new_process, name, problem):
    with pytest.raises(InvalidInputError) as error:
        stitched(f"own_methods:{name}")
    assert str(error.value).startswith(problem)


def test_methods_of_a_module_are_named_in_agents_by_their_own_name(measured, new_process):
    card = stitched("own_methods:HALF").agent.card
    assert (card.method, card.name.rpartition("--")[2]) == ("half", "half")


def test_the_suites_that_come_with_rlstitch_are_of_agents_that_do():
    for name in ("quick", "standard", "full"):
        plan, left_out = plan_suite(load_suite(name))
        assert left_out == []
        assert all(pairing.world is not None and not pairing.same_seed for pairing in plan.pairings)
    in_wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    shipped = {Path(path).name for path in in_wheel["force-include"]}
    assert {agent for group in load_suite("quick").groups.values() for agent in group} <= shipped


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--suite", "qick"], "unknown suite 'qick'; did you mean quick?"),
        (["--suite", "bad.yaml"], "bad.yaml: groups: "),
        (["--suite", "nobody.yaml"], "expected two or more of a group (a), found none"),
        (["--quick", "--suite", "other"], "--quick is a suite: expected no other, found --suite other"),
    ],
)
def test_a_wrong_suite_is_refused_in_one_line(arguments, problem, workplace, capsys):
    Path("bad.yaml").write_text("methods: [affine]\ngroups: {}\n")
    Path("nobody.yaml").write_text("methods: [affine]\ngroups: {a: [no-agent, none]}\n")
    assert main(["benchmark", *arguments]) == 2
    assert problem in capsys.readouterr().err

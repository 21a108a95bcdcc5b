"""A grid's file: what it expands to, how runs are called, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlstitch.config.sweep import Sweep, load_sweep
from rlstitch.config.training import load_config
from rlstitch.errors import InvalidInputError, UnknownNameError


@pytest.fixture
def grid(tmp_path: Path):
    """Write a grid's file and load it."""

    def load(text: str) -> Sweep:
        path = tmp_path / "some.yaml"
        path.write_text(text)
        return load_sweep(path)

    return load


def names(grid: Sweep) -> list[str]:
    return [run.config.name for run in grid.runs]


def test_axes_multiply_and_the_first_is_outermost(grid) -> None:
    result = grid("axes: {preset: [minigrid-doorkey, minigrid-unlock], variation: [red, green], seed: [1, 2]}")
    assert names(result) == [
        f"{preset}-{look}-s{seed}" for preset in ("doorkey", "unlock") for look in ("red", "green") for seed in (1, 2)
    ]
    assert result.name == "some"


def test_a_run_is_the_training_of_the_same_overrides(grid) -> None:
    (run,) = grid("axes: {preset: minigrid-doorkey, variation: red, seed: 1}").runs
    assert run.config == load_config("minigrid-doorkey", {"variation": "red", "seed": 1})
    assert run.key == f"doorkey-red-s1-{run.config.hash8}"


def test_include_exclude_and_overrides(grid) -> None:
    result = grid(
        """
        axes: {preset: minigrid-doorkey, variation: [red, green], seed: [1, 2]}
        include: [{preset: minigrid-unlock, seed: 7}]
        exclude: [{variation: green, seed: 2}]
        set: {total_steps: 1000, ppo: {gamma: 0.9}, ppo.clip: 0.3}
        overrides:
          - {when: {seed: [2, 7]}, set: {total_steps: 2000}}
          - {when: {preset: minigrid-unlock}, set: {ppo.gamma: 0.5}}
        """
    )
    assert {run.config.name: (run.config.total_steps, run.config.ppo.gamma) for run in result.runs} == {
        "doorkey-red-s1": (1000, 0.9),
        "doorkey-red-s2": (2000, 0.9),
        "doorkey-green-s1": (1000, 0.9),
        "unlock-standard-s7": (2000, 0.5),
    }
    assert all(run.config.ppo.clip == 0.3 for run in result.runs)


def test_hyperparameters_stand_in_the_names(grid) -> None:
    axes = "preset: minigrid-doorkey, representation: [absolute, relative], ppo.learning_rate: [1e-3, 5e-4]"
    assert names(grid(f"axes: {{{axes}, controller.hidden: [[64], [32, 16]]}}"))[:5] == [
        "doorkey-learning_rate-0.001-hidden-64-standard-s0",
        "doorkey-learning_rate-0.001-hidden-32-16-standard-s0",
        "doorkey-learning_rate-0.0005-hidden-64-standard-s0",
        "doorkey-learning_rate-0.0005-hidden-32-16-standard-s0",
        "doorkey-learning_rate-0.001-hidden-64-relative-standard-s0",
    ]


def test_names_from_a_template_or_an_environment(grid) -> None:
    text = "name: 'my {preset} {seed}/{ppo.gamma}'\naxes: {preset: minigrid-doorkey, seed: 3}\nset: {ppo.gamma: 0.5}"
    assert names(grid(text)) == ["my-doorkey-3-0.5"]
    both = "axes: {environment: [MiniGrid-Empty-5x5-v0, MiniGrid-Empty-8x8-v0], seed: 1}"
    assert names(grid(both)) == ["empty-5x5-standard-s1", "empty-8x8-standard-s1"]


def test_the_same_run_twice_is_one_run(grid) -> None:
    again = "axes: {preset: minigrid-doorkey, seed: [1, 2]}\ninclude: [{preset: minigrid-doorkey, seed: [2, 3]}]"
    assert names(grid(again)) == ["doorkey-standard-s1", "doorkey-standard-s2", "doorkey-standard-s3"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "axes: expected at least one axis"),
        ("axes: {seed: 1}", "environment: expected a value, found none"),
        ("axes: {preset: minigrid-dorkey}", "did you mean minigrid-doorkey"),
        ("axes: {preset: minigrid-doorkey, seeds: [1, 2]}", "unknown key; did you mean seed"),
        ("axes: {preset: minigrid-doorkey, variation: []}", "at least 1 item"),
        ("axes: {preset: minigrid-doorkey}\nexclude: [{seed: 1}]", "exclude: 'seed' is no axis (they are preset)"),
        ("axes: {preset: minigrid-doorkey}\noverrides: [{when: {task: x}, set: {seed: 1}}]", "when: 'task' is no axis"),
        ("axes: {preset: minigrid-doorkey}\nname: '{seed}'", "{seed} is no axis and no setting"),
        ("axes: {preset: minigrid-doorkey, seed: [1, 2]}\nname: same", "two runs are called 'same'"),
        ("axes: {preset: minigrid-doorkey}\naxis: 3", "axis: unknown key"),
        ("axes: {preset: minigrid-doorkey}\nresources: {gpus: -1}", "resources.gpus"),
        ("axes: {preset: minigrid-doorkey, seed: [1, -2, -3]}", "(preset minigrid-doorkey, seed -2): "),
        (f"axes: {{a: {list(range(400))}, b: {list(range(400))}}}", "at most 100,000 runs, found 160,000"),
        ("- 1", "expected keys and values"),
    ],
)
def test_what_is_wrong_is_told(grid, text: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(problem)):
        grid(text)


def test_many_problems_are_told_at_once_but_not_all(grid) -> None:
    with pytest.raises(InvalidInputError, match=r"and 12 more") as error:
        grid(f"axes: {{preset: minigrid-doorkey, variation: {[f'no{n}' for n in range(20)]}}}")
    assert str(error.value).count("unknown look") == 8


def test_grids_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = load_sweep("evidence")
    assert len(evidence.runs) == 2 * 5 * 3 + 5 * 2 * 3
    assert all((run.config.device, run.config.threads) == ("cpu", 1) for run in evidence.runs)
    monkeypatch.chdir(tmp_path)
    assert load_sweep("configs/grids/minigrid.yaml").runs
    (tmp_path / "configs" / "grids").mkdir(parents=True)
    (tmp_path / "configs" / "grids" / "minigrid.yaml").write_text("axes: {preset: minigrid-unlock}")
    assert names(load_sweep("minigrid")) == ["unlock-standard-s0"]
    (tmp_path / "configs" / "sweeps").mkdir()
    (tmp_path / "configs" / "sweeps" / "minigrid.yaml").write_text("axes: {preset: minigrid-doorkey}")
    for name in ("minigrid", "sweeps/minigrid", "configs/sweeps/minigrid.yaml"):
        assert names(load_sweep(name)) == ["doorkey-standard-s0"]
    with pytest.raises(UnknownNameError, match="did you mean evidence"):
        load_sweep("evidense")

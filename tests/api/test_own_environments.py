"""Environments of the user's own, named on the command line: `module:Id`, `--gym-packages`, entry points."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint

import gymnasium
import pytest

from rlstitch.agents import load_agent, save_agent
from rlstitch.api.environment import placed
from rlstitch.cli.main import main
from rlstitch.config.training import TrainConfig, new_config
from rlstitch.envs import World, make_vec, named_modules, packages, single
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.evaluation.matrix import run
from rlstitch.evaluation.matrix.plan import read_member
from rlstitch.evaluation.matrix.tasks import play_random
from rlstitch.jobs.progress import silent

MODULE = """
import gymnasium
from rooms import DotRoom

gymnasium.register("OwnRoom-v0", DotRoom, max_episode_steps=10)
"""
CONFIG = """
device: cpu
num_envs: 2
total_steps: 32
ppo: {n_steps: 16, n_minibatches: 2, n_epochs: 1}
encoder: {latent_dim: 8}
controller: {hidden: [8], norm: none}
evaluation: {every_steps: 32, episodes: 2, video: false}
environment: """


@pytest.fixture
def own(workplace, monkeypatch):
    """A module in the working folder that registers an environment, and a config that names both."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(single, "_NAMED", {})
    monkeypatch.setattr("rlstitch.api.train.FINAL_EPISODES", 2)
    (workplace / "own_rooms.py").write_text(MODULE)
    (workplace / "room.yaml").write_text(CONFIG + "own_rooms:OwnRoom-v0")
    yield workplace
    forget()


def forget():
    sys.modules.pop("own_rooms", None)
    gymnasium.registry.pop("OwnRoom-v0", None)


def test_a_world_and_a_config_take_the_module_before_the_id():
    world = World("own_rooms:OwnRoom-v0", modules=("others",))
    assert (world.environment, world.modules) == ("OwnRoom-v0", ("own_rooms", "others"))
    assert World.from_dict(world.to_dict()) == world
    assert World.from_dict({"environment": "own_rooms:OwnRoom-v0", "modules": ["own_rooms"]}).modules == ("own_rooms",)
    assert "own_rooms" not in sys.modules
    config = TrainConfig.model_validate({"environment": "own_rooms:OwnRoom-v0"})
    assert (config.name, config.world.environment) == ("ownroom-standard-s0", "OwnRoom-v0")
    assert config.hash8 == TrainConfig.model_validate({"environment": "OwnRoom-v0", "modules": ["own_rooms"]}).hash8
    with pytest.raises(InvalidInputError, match="modules"):
        World("no module:OwnRoom-v0")


def test_a_module_that_is_named_is_imported_and_one_on_a_card_is_not(own, capsys):
    assert main(["train", "room.yaml", "--name", "a"]) == 0
    assert load_agent("a").card.world.modules == ("own_rooms",)
    evaluate = ["evaluate", "a", "--episodes", "2"]
    assert main(evaluate) == 0
    forget()
    capsys.readouterr()
    assert main(evaluate) == 2
    assert "OwnRoom-v0 needs 'own_rooms', which only a file names; name it with --gym-packages own_rooms" in (
        capsys.readouterr().err
    )
    assert "own_rooms" not in sys.modules
    assert main([*evaluate, "--gym-packages", "own_rooms"]) == 0


def test_commands_take_an_environment_and_its_arguments(own, capsys):
    (own / "small.yaml").write_text(CONFIG.rpartition("environment")[0])
    place = ["--env", "own_rooms:OwnRoom-v0"]
    assert main(["train", "small.yaml", *place, "--make-kwargs", "channels=4", "--name", "four"]) == 0
    world = load_agent("four").card.world
    assert (world.environment, world.modules, world.make_kwargs) == ("OwnRoom-v0", ("own_rooms",), {"channels": 4})
    evaluate = ["evaluate", "four", "--episodes", "2"]
    assert main([*evaluate, *place, "--make-kwargs", "channels=4"]) == 0
    assert main([*evaluate, "--make-kwargs", "channels=4"]) == 0
    assert main(["export", "four", "--make-kwargs", "channels=4", "--format", "safetensors"]) == 0
    matrix = ["matrix", "four", "again", "--same-seed", "--methods", "naive", "--episodes", "2", "--pairs", "10"]
    save_agent(load_agent("four"), "agents/again")
    assert main([*matrix, *place, "--make-kwargs", "channels=4", "--out", "cells"]) == 0
    assert json.loads((own / "cells/matrix.json").read_text())["agents"][0]["world"]["modules"] == ["own_rooms"]
    capsys.readouterr()
    for line, message in (
        ([*matrix, "--env", "own_rooms:Typo-v0"], "unknown environment 'Typo-v0'"),
        ([*evaluate, *place], "(40, 40, 4), found (40, 40, 3)"),
        (["stitch", "four", "four", "--make-kwargs", "colour=4"], "make_kwargs: OwnRoom-v0 does not take them"),
        (["pairs", "four", "four", "--out", "p.npz", "--env", "own_rooms:Typo-v0"], "unknown environment 'Typo-v0'"),
        (["train", "small.yaml", "--make-kwargs", "a=1", "--set", "make_kwargs={}"], "one from --set and one from"),
        (["graft", "--controller", "four", "--env", "own_rooms:Typo-v0"], "unknown environment 'Typo-v0'"),
        (["train"], "expected CONFIG, or an environment by --env"),
    ):
        assert main(line) == 2
        assert message in capsys.readouterr().err
    kept = placed("four", {"make_kwargs": {"pace": 2}}).card.world.make_kwargs
    assert kept == {"channels": 4, "pace": 2}  # those that are not given stay
    config = new_config({"environment": "own_rooms:OwnRoom-v0", "look": "inverted"})
    assert config.name == "ownroom-inverted-s0"


def test_no_card_can_name_a_module_in_front_of_the_id(own):
    assert main(["train", "room.yaml", "--name", "a"]) == 0
    forget()
    path = own / "agents" / "a" / "agent.json"
    content = json.loads(path.read_text())
    content["world"] |= {"environment": "own_rooms:OwnRoom-v0", "modules": []}
    path.write_text(json.dumps(content))
    assert read_member(path.parent).world.modules == ("own_rooms",)
    assert "own_rooms" not in sys.modules


def test_worker_processes_import_it(own, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    (own / "sweep.yaml").write_text("axes: {preset: room.yaml, seed: 3}\n")
    assert main(["sweep", "sweep.yaml", "--dry-run"]) == 0
    assert main(["sweep", "sweep.yaml", "--workers", "1"]) == 0
    world, named = load_agent("room-standard-s3").card.world, named_modules()
    forget()
    options = {"episodes": 1, "pairs": 20, "seed": 0, "greedy": False}
    with pytest.raises(InvalidInputError, match="--gym-packages own_rooms"):
        play_random("cells", "0" * 64, world.to_dict(), options, silent)
    play_random("cells", "0" * 64, world.to_dict(), options, silent, modules=named)


def test_a_matrix_gives_its_tasks_the_modules_that_were_named(own, monkeypatch):
    for name in "ab":
        assert main(["train", "room.yaml", "--name", name]) == 0
    given = []

    def remember(tasks, **_):
        given.extend(tasks)
        return []

    monkeypatch.setattr(run, "run_tasks_here", remember)
    main(["matrix", "a", "b", "--same-seed", "--gym-packages", "own_rooms"])
    assert given
    assert all("own_rooms" in task.arguments["modules"] for task in given)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("raise RuntimeError('no display')", "no display"),
        ("import not_there", "not_there"),
        ("x = (", "was never closed"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(own, capsys, content, message):
    (own / "own_rooms.py").write_text(content)
    assert main(["train", "room.yaml"]) == 2
    error = capsys.readouterr().err
    assert "modules: 'own_rooms' cannot be imported" in error
    assert message in error


def test_a_dry_run_says_that_an_environment_cannot_be_made(own, capsys):
    (own / "typo.yaml").write_text(CONFIG + "own_rooms:OwnRom-v0")
    (own / "sweep.yaml").write_text("axes: {preset: typo.yaml}\n")
    assert main(["sweep", "sweep.yaml", "--dry-run"]) == 2
    assert "unknown environment 'OwnRom-v0'; did you mean OwnRoom-v0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ("MiniHack-Room-5x5-v0", 'needs the package minihack: pip install "minihack"'),
        ("live/make_env-7", "it is an object of another process: name an environment that can be made here by --env"),
        ("dm_control/walker-walk-v0", 'needs the package shimmy: pip install "shimmy'),
        (
            "nowhere/Pong-v5",
            "'nowhere': install it, and name its module (--gym-packages, or MODULE:nowhere/Pong-v5)",
        ),
    ],
)
def test_a_missing_package_is_named_instead_of_a_near_id(environment, message):
    with pytest.raises(UnknownNameError, match="unknown environment") as caught:
        make_vec(World(environment), 1, seed=0)
    assert message in str(caught.value)
    assert "did you mean" not in str(caught.value)


def test_packages_register_environments_by_entry_points(own, monkeypatch):
    (own / "plugged.py").write_text(
        "import gymnasium\nfrom rooms import DotRoom\n\ndef add():\n    gymnasium.register('Plugged-v0', DotRoom)\n"
    )
    monkeypatch.syspath_prepend(str(own))
    entries = [
        EntryPoint("__root__", "plugged:add", "gymnasium.envs"),
        EntryPoint("rooms_of_mine", "plugged:add", "gymnasium.envs"),
        EntryPoint("broken", "not_there:add", "gymnasium.envs"),
    ]
    monkeypatch.setattr(packages, "entry_points", lambda group: entries)
    packages.load_plugins.cache_clear()
    try:
        with pytest.warns(UserWarning, match=r"gymnasium.envs broken: cannot load not_there:add"):
            make_vec(World("Plugged-v0"), 1, seed=0).close()
        make_vec(World("rooms_of_mine/Plugged-v0"), 1, seed=0).close()
    finally:
        packages.load_plugins.cache_clear()
        for name in ("Plugged-v0", "rooms_of_mine/Plugged-v0"):
            gymnasium.registry.pop(name, None)

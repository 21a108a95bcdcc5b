"""What the text of a task means: words, families, and the laws of action maps."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlstitch.envs import World, action_map, get_task, task_words, translate_actions
from rlstitch.envs.families.atari.atari import ATARI
from rlstitch.envs.families.car_racing.car_racing import CAR_RACING
from rlstitch.envs.families.generic import OTHER
from rlstitch.envs.families.minigrid.minigrid import MINIGRID
from rlstitch.envs.registry import all_families, check_task, named_family
from rlstitch.errors import IncompatibleError, InvalidInputError, RlstitchError, UnknownNameError

DOOR, CAR = "MiniGrid-DoorKey-5x5-v0", "CarRacing-v3"
NAMES = MINIGRID.tasks.actions
FAMILIES = all_families()

rules = st.lists(
    st.sampled_from(["standard", "scrambled", "scrambled:seed=1", "scrambled:seed=7"])
    | st.integers(0, 5).map(lambda index: f"without:{index}"),
    max_size=4,
    unique=True,
)


@given(rules)
def test_every_action_map_is_an_injection_and_leaves_out_what_it_says(words):
    task = "+".join(["standard", *words])
    mapping = action_map(task, 7)
    left_out = {int(word.split(":")[1]) for word in words if word.startswith("without")}
    assert sorted(mapping) == sorted(set(range(7)) - left_out)
    assert not mapping.flags.writeable


@given(st.integers(2, 12), st.integers(0, 2**40))
def test_scrambled_leaves_no_action_its_meaning(n, seed):
    for task in ("scrambled", f"scrambled:seed={seed}"):
        mapping = action_map(task, n)
        assert sorted(mapping) == list(range(n))
        assert not (mapping == np.arange(n)).any()
    assert (action_map(f"scrambled:seed={seed}", n) == mapping).all()


def test_maps_of_known_tasks():
    golden = {
        "standard": [0, 1, 2, 3, 4, 5, 6],
        "scrambled": [1, 2, 3, 4, 5, 6, 0],
        "scrambled:seed=3": [5, 0, 3, 4, 6, 2, 1],
        "without:3": [0, 1, 2, 4, 5, 6],
        "without:drop": [0, 1, 2, 3, 5, 6],
        "no-idle": [0, 1, 2, 3, 4, 5],
        "without:done+without:left+scrambled": [2, 3, 4, 5, 1],
        "scrambled+without:0": [1, 2, 3, 4, 5, 6],
        "length:200+time-cost:0.01": [0, 1, 2, 3, 4, 5, 6],
    }
    assert {task: action_map(task, 7, MINIGRID.tasks).tolist() for task in golden} == golden
    assert action_map("no-idle", 5, CAR_RACING.tasks).tolist() == [1, 2, 3, 4]


def test_parts_are_kept_and_a_later_number_replaces_an_earlier_one():
    task = get_task("length:9+slippery:0.25+time-cost:1e-3+length:12+no-time-cost", MINIGRID.tasks)
    assert (task.max_steps, list(task.filters), task.step_cost, task.rules) == (12, ["slippery"], 0.001, ())
    assert task.name == "length:9+slippery:0.25+time-cost:1e-3+length:12+no-time-cost"
    assert len(task.alterations) == 1
    assert task.changes_steps
    assert not get_task("scrambled+without:0").changes_steps


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("scrambled:", "expected scrambled or scrambled:seed=NUMBER, found 'scrambled:'"),
        ("scrambled:3", "found 'scrambled:3'"),
        ("scrambled:seed=-1", "with a whole number, found '-1'"),
        ("standard:1", "expected 'standard' with nothing behind it, found 'standard:1'"),
        ("no-time-cost:1", "expected 'no-time-cost' with nothing behind it"),
        ("no-idle:0", "expected 'no-idle' with nothing behind it"),
        ("length", "expected length:STEPS with a whole number of steps, 1 to 10000000, found None"),
        ("length:", "found ''"),
        ("length:0", "found '0'"),
        ("length:2.5", "found '2.5'"),
        ("length:10000001", "found '10000001'"),
        ("length:٣", "found '٣'"),
        ("time-cost:0", "expected time-cost:COST with a number above 0, found '0'"),
        ("time-cost:inf", "found 'inf'"),
        ("time-cost:nan", "found 'nan'"),
        ("time-cost:cheap", "found 'cheap'"),
        ("slippery:1", "expected slippery:PROBABILITY with a number above 0 and below 1, found '1'"),
        ("slippery", "found None"),
        ("without", "with an action's number or name: left, right, .*, found None"),
        ("without:-1", "unknown action '-1'"),
        ("without:dorp", "unknown action 'dorp'; did you mean drop"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(task, message):
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        World(DOOR, task=task)


def test_each_family_says_which_tasks_it_has():
    with pytest.raises(UnknownNameError, match=r"unknown MiniGrid task 'slow'; known: .*no-time-cost.*without"):
        World(DOOR, task="standard+slow")
    with pytest.raises(UnknownNameError, match=r"unknown CarRacing task 'no-time-cost'; did you mean .*time-cost"):
        World(CAR, task="no-time-cost")
    with pytest.raises(UnknownNameError, match="unknown task ''"):
        World(DOOR.replace("MiniGrid", "Grid"), task="scrambled+")
    assert [named_family(name) for name in (DOOR, "BabyAI-GoToObj-v0", CAR, "ALE/Pong-v5")] == [
        MINIGRID,
        MINIGRID,
        CAR_RACING,
        ATARI,
    ]
    common = set(OTHER.tasks.words)
    assert set(MINIGRID.tasks.words) == {*common, "no-idle", "no-time-cost"}
    assert set(CAR_RACING.tasks.words) == {*common, "no-idle", "slow"}
    assert set(task_words()) == {name for family in FAMILIES for name in family.tasks.words}
    for name, word in itertools.chain(*(family.tasks.words.items() for family in FAMILIES)):
        assert re.match(rf"{name}(:[A-Z]+)?$", word.usage)


def test_the_page_on_tasks_has_every_word_and_action():
    page = (Path(__file__).resolve().parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")
    missing = [word.usage for word in task_words().values() if f"| `{word.usage}` |" not in page]
    names = [name for family in FAMILIES for name in family.tasks.actions]
    assert missing + [name for name in names if f"`{name}`" not in page] == []


def test_a_family_that_the_id_does_not_tell_is_found_out_later():
    check_task("no-time-cost+without:drop", "MyOwnGrid-v0")
    with pytest.raises(RlstitchError, match="unknown task 'no-time-csot'"):
        check_task("no-time-csot", "MyOwnGrid-v0")
    with pytest.raises(UnknownNameError, match="unknown task 'no-time-cost'"):
        OTHER.task(World("MyOwnRoom-v0", task="no-time-cost"))


@pytest.mark.parametrize(
    ("task", "n", "message"),
    [
        ("scrambled", 1, "task 'scrambled' needs at least 2 actions, found 1"),
        ("scrambled:seed=2", 1, "task 'scrambled' needs at least 2 actions, found 1"),
        ("without:3", 3, r"expected an action to leave out among \[0, 1, 2\], found 3"),
        ("without:1+without:1", 3, r"among \[0, 2\], found 1"),
        ("without:0", 1, "expected an action to be left, found only 0"),
        ("standard", 0, "num_actions: expected at least 1, found 0"),
    ],
)
def test_maps_of_too_few_actions_are_refused(task, n, message):
    with pytest.raises(InvalidInputError, match=message):
        action_map(task, n)


@given(rules, rules)
def test_translated_actions_do_the_same(own, other):
    own, other = (World(DOOR, task="+".join(["standard", *words])) for words in (own, other))
    table = translate_actions(own, other)
    mine, theirs = (action_map(world.task, 7) for world in (own, other))
    assert len(table) == len(mine)
    for action, result in enumerate(table):
        assert mine[action] not in theirs if result < 0 else theirs[result] == mine[action]


def test_actions_with_nothing_in_common_are_refused():
    few = World(DOOR, task="+".join(f"without:{name}" for name in NAMES[1:]))
    assert translate_actions(few, World(DOOR)).tolist() == [0]
    with pytest.raises(IncompatibleError, match="have no action in common"):
        translate_actions(few, World(DOOR, task="without:left"))
    obstacles = World("MiniGrid-Dynamic-Obstacles-5x5-v0")
    with pytest.raises(IncompatibleError, match=r"takes the actions Discrete\(7\), .* takes Discrete\(3\)"):
        translate_actions(World(DOOR), obstacles)
    discrete, continuous = (World(CAR, actions=kind) for kind in ("discrete", "continuous"))
    assert translate_actions(continuous, World(CAR)) is None
    assert translate_actions(discrete, World(CAR, task="no-idle", actions="discrete")).tolist() == [-1, 0, 1, 2, 3]
    with pytest.raises(IncompatibleError, match="none is the same"):
        translate_actions(discrete, continuous)

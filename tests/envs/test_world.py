import json
import pickle
import subprocess
import sys
from dataclasses import replace

import gymnasium
import pytest

from rlstitch.envs import VARIATIONS, World, action_map, cell_world, made_otherwise, make_vec, task_words
from rlstitch.envs.single import import_modules
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError

DOOR, GAP = "MiniGrid-DoorKey-5x5-v0", "MiniGrid-LavaGapS7-v0"


def test_world_survives_json():
    for world in (World(DOOR), World(GAP, "red+inverted", "scrambled", "full", 12)):
        assert World.from_dict(json.loads(json.dumps(world.to_dict()))) == world


def test_fields_that_are_left_out_take_their_defaults():
    assert World.from_dict({"environment": DOOR}) == World(DOOR, "standard", "standard", "agent", 8)


def test_variation_is_an_alias_of_look():
    assert (
        World(DOOR, variation="red") == World(DOOR, look="red") == World.from_dict({"environment": DOOR, "look": "red"})
    )
    assert replace(World(DOOR, "red"), variation="blue").variation == replace(World(DOOR), look="blue").look == "blue"
    with pytest.raises(InvalidInputError, match="look: expected one value"):
        World.from_dict({"environment": DOOR, "look": "red", "variation": "red"})
    with pytest.raises(TypeError, match="colour"):
        World(DOOR, colour="red")


def test_what_is_written_is_what_older_versions_read_unless_something_new_is_used():
    assert World(DOOR, "red").to_dict() == {
        "environment": DOOR, "variation": "red", "task": "standard", "view": "agent", "tile_size": 8,
        "backend": "gymnasium", "actions": "own", "action_repeat": 1, "frame_stack": 1, "size": None, "crop": None,
    }  # fmt: skip
    new = {"sensor": "ram", "padding": "zeros", "make_kwargs": {"mode": [1, None]}, "modules": ["one.two"]}
    world = World.from_dict({"environment": "E", **new})
    assert world.to_dict() == {**World("E").to_dict(), **new}
    assert World.from_dict(json.loads(json.dumps(world.to_dict()))) == world
    assert hash(world) != hash(World("E"))
    assert pickle.loads(pickle.dumps(world)) == world


def test_a_stored_world_may_hold_names_of_a_package_that_is_missing():
    stored = World.from_dict({"environment": "X", "variation": "plaid", "task": "upside-down"}, check_names=False)
    assert (stored.look, stored.task) == ("plaid", "upside-down")
    with pytest.raises(UnknownNameError, match="look 'plaid'"):
        stored.parsed_look  # noqa: B018
    with pytest.raises(UnknownNameError, match="task 'upside-down'"):
        replace(stored, look="red")


def test_arguments_of_make_reach_the_environment():
    nine = World("CorridorWide-v0", make_kwargs={"width": 9})
    assert make_vec(nine, 1, seed=0).single_observation_space.shape == (5, 9, 3)
    with pytest.raises(InvalidInputError, match=r"make_kwargs: CorridorWide-v0 does not take them: .*'height'"):
        make_vec(World("CorridorWide-v0", make_kwargs={"height": 9}), 1, seed=0)
    with pytest.raises(InvalidInputError, match=r"make_kwargs: .*expected {}, found {'size': 6}"):
        make_vec(World(DOOR, make_kwargs={"size": 6}), 1, seed=0)
    with pytest.raises(IncompatibleError, match=r"\(5, 9, 3\).*\(5, 8, 3\)"):
        cell_world(nine, World("CorridorWide-v0", make_kwargs={"width": 8}))


def test_modules_are_imported_by_those_who_name_them_only(tmp_path, monkeypatch):
    (tmp_path / "my_rooms.py").write_text("import gymnasium; gymnasium.register('MyRoom-v0', 'my_rooms:Room')")
    monkeypatch.syspath_prepend(tmp_path)
    world = World("MyRoom-v0", modules=("my_rooms",))
    with pytest.raises(InvalidInputError, match=r"MyRoom-v0 needs .my_rooms.*with --gym-packages my_rooms"):
        make_vec(world, 1, seed=0)
    import_modules(world.modules)
    assert "MyRoom-v0" in gymnasium.registry
    del gymnasium.registry["MyRoom-v0"], sys.modules["my_rooms"]
    with pytest.raises(InvalidInputError, match="modules: 'no_rooms' cannot be imported"):
        import_modules(["no_rooms"])


def test_sensors_that_a_family_has_not_are_refused():
    with pytest.raises(InvalidInputError, match=r"sensor: .*found 'ram'"):
        make_vec(World(DOOR, sensor="ram"), 1, seed=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "environment: expected a value, found none"),
        ({"environment": DOOR, "colour": "red"}, "colour: unknown key; known here: environment, look"),
        ({"environment": 3}, "environment: expected text, found 3"),
        ({"environment": ""}, "environment: expected text of at least 1 character"),
        ({"environment": DOOR, "view": "bird"}, "view: expected 'agent' or 'full', found 'bird'"),
        ({"environment": DOOR, "tile_size": 0}, "tile_size: expected at least 1, found 0"),
        ({"environment": DOOR, "tile_size": 65}, "tile_size: expected at most 64, found 65"),
        ({"environment": DOOR, "tile_size": True}, "tile_size: expected a whole number, found True"),
        ({"environment": DOOR, "tile_size": 8.0}, "tile_size: expected a whole number, found 8.0"),
        ([DOOR], "world: expected a mapping of fields, found list"),
    ],
)
def test_invalid_worlds_are_refused(values, message):
    with pytest.raises(InvalidInputError, match=message):
        World.from_dict(values)


def test_unknown_looks_and_tasks_are_refused_with_a_hint():
    with pytest.raises(UnknownNameError, match="look 'gren'; did you mean green"):
        World(DOOR, variation="gren")
    with pytest.raises(UnknownNameError, match="look 'blu'"):
        World(DOOR, variation="red+blu")
    with pytest.raises(UnknownNameError, match="task 'scrambel'; did you mean scrambled"):
        World(DOOR, task="scrambel")


def test_a_cell_sees_as_the_encoder_and_acts_as_the_controller():
    cell = cell_world(World(DOOR, "red", "standard", "agent", 6), World(GAP, "blue", "scrambled", "full", 8))
    assert cell == World(GAP, "red", "scrambled", "agent", 6)


def test_cell_of_a_world_with_itself_is_that_world():
    world = World(DOOR, "green", "scrambled", "full", 4)
    assert cell_world(world, world) == world


def test_full_views_need_grids_of_one_size():
    with pytest.raises(IncompatibleError, match=r"DoorKey-5x5.*LavaGapS7.*\(40, 40, 3\).*\(56, 56, 3\)"):
        cell_world(World(DOOR, view="full"), World(GAP, view="full"))
    assert cell_world(World("MiniGrid-LavaGapS5-v0", view="full"), World(DOOR, view="full")).environment == DOOR


def test_pictures_of_different_kinds_make_no_cell():
    with pytest.raises(IncompatibleError, match="DoorKey-5x5-v0 and Corridor-v0 have no common observations"):
        cell_world(World(DOOR), World("Corridor-v0"))
    with pytest.raises(IncompatibleError, match=r"\(5, 4, 3\).*\(5, 8, 3\)"):
        cell_world(World("Corridor-v0"), World("CorridorWide-v0"))
    assert cell_world(World("Corridor-v0", "inverted"), World("CorridorLong-v0")).variation == "inverted"


def test_scrambled_is_a_derangement_and_standard_the_identity():
    for n in range(2, 9):
        scrambled = action_map("scrambled", n)
        assert sorted(scrambled) == list(range(n))
        assert not (scrambled == range(n)).any()
        assert action_map("standard", n).tolist() == list(range(n))
    assert action_map("scrambled", 3).tolist() == [1, 2, 0]
    with pytest.raises(InvalidInputError, match="needs at least 2 actions, found 1"):
        action_map("scrambled", 1)
    with pytest.raises(UnknownNameError, match=r"unknown task 'zzz'; known: .*length, scrambled"):
        action_map("zzz", 3)
    words = "delayed gravity length no-idle no-time-cost scrambled slippery slow standard time-cost wind without"
    assert sorted(task_words()) == words.split()
    tints = {"red", "green", "blue", "yellow", "white", "black", "violet"}
    assert set(VARIATIONS) == {"standard", *tints, "inverted", "greyscale"}


def test_a_world_costs_neither_gymnasium_nor_torch():
    code = (
        "import sys; from rlstitch.envs import World; World.from_dict({'environment': 'X', 'variation': 'red'});"
        "print([name for name in ('gymnasium', 'minigrid', 'torch', 'stable_baselines3') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_unknown_names_of_the_package_are_attribute_errors():
    import rlstitch.envs

    with pytest.raises(AttributeError, match=r"attribute .*Wrold"):
        rlstitch.envs.Wrold  # noqa: B018


def test_arguments_that_the_encoder_does_without_are_named():
    night, day = World("CartPole-v1", make_kwargs={"palette": "night", "n": 3}), World("CartPole-v1")
    assert made_otherwise(night, night) == ""
    assert "made with none, as for the controller; the encoder was trained with n=3, palette='night'" in (
        made_otherwise(night, day)
    )
    other = replace(night, make_kwargs={"palette": "day", "n": 3})
    assert "if these change only what is seen, --look-kwargs palette lets" in made_otherwise(night, other)
    assert made_otherwise(replace(night, look_kwargs=("palette",)), other) == ""
    assert "made with palette='day', as for the controller; the encoder was trained with palette='night'" in (
        made_otherwise(night, other)
    )

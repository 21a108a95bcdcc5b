"""Looks as text: what is read, how it is written, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlstitch.envs import VARIATIONS, World, get_variation, pixel_part
from rlstitch.envs.looks.look import LOOKS, MAX_LENGTH, NAMES, Look
from rlstitch.envs.looks.text import write
from rlstitch.errors import InvalidInputError, RlstitchError, UnknownNameError


def values_of(parameter):
    """Every value that an argument can have."""
    if parameter.kind == "choice":
        return st.sampled_from(parameter.choices)
    if parameter.kind == "colour":
        return st.tuples(*[st.integers(0, 255)] * 3)
    if parameter.kind == "whole":
        return st.integers(int(parameter.low), int(parameter.high))
    return st.floats(max(parameter.low, 0), parameter.period - 1 if parameter.period else parameter.high).map(abs)


@st.composite
def looks(draw):
    """The values of any look, and a text of them in any of the ways they can be written."""
    kind = draw(st.sampled_from([kind for kind in LOOKS.values() if kind.name != "standard"]))
    values = {parameter.name: draw(values_of(parameter)) for parameter in kind.parameters}
    by_name = [f"{name}={write(value)}" for name, value in values.items()]
    name = draw(st.sampled_from([name for name, one in NAMES.items() if one is kind]))
    arguments = ",".join(draw(st.permutations(by_name)))
    return kind, values, f"{name}:{arguments}" if arguments else name


@given(looks())
def test_a_look_has_one_text_however_it_is_written(look):
    kind, values, written = look
    canonical = get_variation(written).name
    assert canonical == kind.text(values) == get_variation(canonical).name
    assert kind.read(canonical.partition(":")[2]) == values
    assert get_variation(written) == get_variation(canonical)
    assert get_variation(canonical).name == canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("invert", "inverted"),
        ("grayscale", "greyscale"),
        ("standard+standard", "standard"),
        ("standard+red", "red"),
        ("inverted+red", "red+inverted"),
        ("green+red", "red"),
        ("red + blur:1.50", "red+blur:1.5"),
        ("inverted+inverted", "inverted+inverted"),
        ("noise:sigma=.050,seed=0", "noise:0.05"),
        ("noise:0.00001", "noise:1e-05"),
        ("noise:seed=3,sigma=0.05", "noise:0.05,seed=3"),
        ("hue:-120", "hue:240"),
        ("hue:360", "hue:0"),
        ("hue:-1e-20", "hue:0"),
        ("zoom:2.0,filter=smooth,fill=#000000", "zoom:2"),
        ("shift:4,0", "shift:4"),
        ("shift:4,-2,edge=pad", "shift:4,-2"),
        ("tint:040,3,2", "tint:40,3,2"),
        ("palette:grey=ABCDEF+red+recolor:red=#000001,grey=000002", "recolour:red=000001,grey=000002+red"),
        ("blur:1+far+hue:30+yellow", "yellow+far+blur:1+hue:30"),
        ("texture:checks,size=4,tol=3,bg=000000", "texture:checks,bg=000000,tol=3"),
    ],
)
def test_texts_and_their_canonical_form(text, canonical):
    assert get_variation(text).name == canonical
    assert get_variation(text) == get_variation(canonical)
    assert World("E", text) == World("E", canonical)
    assert World("E", text).variation == canonical


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", UnknownNameError, "unknown look ''; known: black, blue, blur"),
        ("red+", UnknownNameError, "unknown look ''"),
        ("grean", UnknownNameError, "unknown look 'grean'; did you mean green"),
        ("nosie:0.1", UnknownNameError, "unknown look 'nosie'; did you mean noise"),
        ("noise", InvalidInputError, "noise: sigma is missing; expected noise:SIGMA,seed=0, found 'noise'"),
        ("noise:seed=1", InvalidInputError, "noise: sigma is missing; .* found 'noise:seed=1'"),
        ("noise:", InvalidInputError, "expected noise:SIGMA,seed=0, found 'noise:'"),
        ("noise:lots", InvalidInputError, "noise: sigma: expected a number from 0 to 1, found 'lots'"),
        ("noise:nan", InvalidInputError, "noise: sigma: expected a number from 0 to 1, found 'nan'"),
        ("noise:٠", InvalidInputError, "noise: sigma: expected a number from 0 to 1"),
        ("noise:1.5", InvalidInputError, "noise: sigma: expected a number from 0 to 1, found '1.5'"),
        ("noise:0.1,3", InvalidInputError, "expected noise:SIGMA,seed=0, found noise:0.1,3"),
        ("noise:0.1,seed=1.5", InvalidInputError, "seed: expected a whole number from 0 to 2147483647, found '1.5'"),
        ("noise:0.1,seed=2147483648", InvalidInputError, "seed: expected a whole number from 0 to 2147483647"),
        ("noise:0.1,sed=1", UnknownNameError, "unknown argument of noise 'sed'; did you mean seed"),
        ("noise:0.1,sigma=0.1", InvalidInputError, "noise: sigma is given twice in '0.1,sigma=0.1'"),
        ("blur:1,", InvalidInputError, "expected blur:SIGMA, found blur:1,"),
        ("zoom:0", InvalidInputError, "zoom: factor: expected a number from 0.1 to 10, found '0'"),
        ("zoom:1,filter=near", UnknownNameError, "unknown filter of zoom 'near'; did you mean nearest"),
        ("channels:rrr", UnknownNameError, "unknown order of channels 'rrr'; known: bgr, brg, gbr, grb, rbg"),
        ("tint:1,2", InvalidInputError, "tint: blue is missing; expected tint:RED,GREEN,BLUE, found 'tint:1,2'"),
        ("tint:1,2,256", InvalidInputError, "tint: blue: expected a whole number from 0 to 255, found '256'"),
        ("recolour", InvalidInputError, "recolour: expected one or more of red, green, .* lava, found none"),
        ("recolour:red=00ff0", InvalidInputError, "red: expected six hexadecimal digits RRGGBB, found '00ff0'"),
        ("recolour:00ff00", InvalidInputError, "expected recolour:red=.*, found recolour:00ff00"),
        ("texture:dots", InvalidInputError, "texture: bg is missing; expected texture:stripes|rows|checks|dots|grain"),
        ("red:1", InvalidInputError, "expected red, found red:1"),
        ("+".join(["inverted"] * 30), InvalidInputError, "expected at most 200 characters, found 269"),
    ],
)
def test_what_is_no_look_is_refused(text, error, message):
    with pytest.raises(error, match=message.replace("|", r"\|")):
        get_variation(text)


@given(st.text(alphabet="noiseblur:,=+.0123-#f ", max_size=30))
def test_any_text_is_a_look_or_an_error_of_ours(text):
    try:
        name = get_variation(text).name
    except RlstitchError:
        return
    assert get_variation(name).name == name
    assert len(name) <= MAX_LENGTH


def test_looks_without_arguments_are_there_by_name():
    assert {kind.name: get_variation(kind.name) for kind in LOOKS.values() if not kind.parameters} == {
        **VARIATIONS,
        "far": get_variation("far"),
        "multicolour": get_variation("multicolour"),
    }
    for kind in LOOKS.values():
        assert get_variation(kind.example).name == kind.example
        assert kind.example.startswith(kind.name)


def test_the_last_floor_is_the_tint():
    assert get_variation("red").tint == "red"
    assert get_variation("red+inverted+blue").tint == "blue"
    assert get_variation("red+tint:1,2,3").tint == "tint:1,2,3"
    assert get_variation("tint:1,2,3").floor == (1, 2, 3)
    assert get_variation("inverted").tint is None
    assert get_variation("red").then(Look("own", floor=(1, 1, 1))).tint is None


def test_the_pixel_part_is_what_finished_pictures_take():
    part = pixel_part(get_variation("red+far+recolour:red=000000+blur:1+inverted"))
    assert (part.floor, part.tint, part.camera, part.palette) == (None, None, None, ())
    assert part.pixels == get_variation("blur:1+inverted").pixels
    assert pixel_part(get_variation("inverted")) == get_variation("inverted")
    assert pixel_part(get_variation("red+far")).pixels is None
    own = Look("own", floor=(1, 2, 3), pixels=lambda images: images)
    assert (pixel_part(own).floor, pixel_part(own).pixels) == (None, own.pixels)

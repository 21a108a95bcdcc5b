"""The same looks on tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlstitch.envs.looks.look import LOOKS, Variation, get_variation
from rlstitch.envs.looks.tensors import apply_torch
from rlstitch.errors import InvalidInputError, UnknownNameError

EXTRA = (
    "hue:47.5+saturation:4",
    "blur:4",
    "zoom:0.45,fill=204060",
    "zoom:1.7,filter=nearest",
    "shift:-3,2,edge=wrap",
    "noise:0.7,seed=123456",
    "texture:grain,bg=808080,tol=90,size=1,ink=00ff00,seed=2",
    "inverted+noise:0.05+channels:brg+blur:0.7",
)
NAMES = tuple(kind.example for kind in LOOKS.values() if kind.layer in ("none", "pixels")) + EXTRA
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_tensors_equal_arrays_bit_for_bit(name, device):
    generator = np.random.default_rng(5)
    for shape in ((3, 17, 12, 3), (2, 2, 8, 9, 6), (1, 1, 3), (0, 4, 4, 3), (2, 9, 7, 1), (2, 9, 7, 4)):
        if shape[-1] % 3 and "texture" in name:
            continue
        images = generator.integers(0, 256, shape, dtype=np.uint8)
        given = torch.tensor(images, device=device)
        result = apply_torch(name, given)
        assert (result.dtype, result.device) == (torch.uint8, given.device)
        np.testing.assert_array_equal(result.cpu().numpy(), get_variation(name).apply(images))
        assert torch.equal(given.cpu(), torch.tensor(images))


@settings(max_examples=20, deadline=None)
@given(
    images=hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.just(3))),
    look=st.one_of(
        st.floats(0.1, 4).map("blur:{}".format),
        st.floats(0.1, 10).map("zoom:{}".format),
        st.floats(-360, 360, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-3).map("hue:{:f}".format),
        st.floats(0, 10).map("saturation:{:f}".format),
        st.floats(0, 1).map("noise:{:f}".format),
        st.integers(-20, 20).map("shift:{0},{0}".format),
    ),
)
def test_tensors_equal_arrays_for_any_argument(images, look):
    np.testing.assert_array_equal(apply_torch(look, torch.tensor(images)).numpy(), get_variation(look).apply(images))


def test_what_no_tensor_can_be_given_is_refused():
    images = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    with pytest.raises(InvalidInputError, match="images: expected uint8, found float32"):
        apply_torch("inverted", images.float())
    with pytest.raises(InvalidInputError, match=r"images: expected \(..., H, W, C\), found \(4, 3\)"):
        apply_torch("inverted", images[0, 0])
    with pytest.raises(InvalidInputError, match="'red' tints the floor"):
        apply_torch("red", images)
    with pytest.raises(InvalidInputError, match="moves the camera"):
        apply_torch("far", images)
    with pytest.raises(UnknownNameError, match="did you mean blur"):
        apply_torch("blurr:1", images)
    with pytest.raises(InvalidInputError, match=r"expected RGB \(..., H, W, 3\)"):
        apply_torch("texture:dots,bg=000000", images[..., :1])
    flipped = Variation("flipped", pixels=lambda images: images[..., ::-1, :], pointwise=False)
    for look in (flipped, get_variation("inverted").then(flipped)):
        with pytest.raises(InvalidInputError, match="look: expected one that is made of named looks"):
            apply_torch(look, images)

import subprocess
import sys
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import rlstitch.latent
from rlstitch.errors import InvalidInputError
from rlstitch.latent import LatentSpace, Translation
from rlstitch.latent._arrays import like, require_finite, to_pairs, to_tensor, to_weights


def test_numpy_shares_memory_and_floats_keep_their_width() -> None:
    x = np.zeros((2, 3))
    tensor = to_tensor(x, "x")
    tensor[0, 0] = 1
    assert x[0, 0] == 1
    assert tensor.dtype == torch.float64
    assert to_tensor(np.zeros((2, 3), np.float32), "x").dtype == torch.float32


@pytest.mark.parametrize(
    "x",
    [
        np.ones((2, 3), np.uint8),
        np.ones((2, 3), np.float16),
        np.ones((2, 3), bool),
        torch.ones(2, 3, dtype=torch.int64),
        torch.ones(2, 3).half(),
        torch.ones(2, 3).bfloat16(),
    ],
)
def test_other_numbers_become_float32(x: np.ndarray | torch.Tensor) -> None:
    tensor = to_tensor(x, "x")
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor, torch.ones(2, 3))


def test_read_only_reversed_and_foreign_byte_order_arrays_pass() -> None:
    x = np.arange(6.0).reshape(2, 3)
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (frozen, x[::-1][::-1], x.astype(">f8")):
        np.testing.assert_array_equal(to_tensor(other, "x").numpy(), x)
    np.testing.assert_array_equal(to_tensor(x[::-1], "x").numpy(), x[::-1])


@pytest.mark.parametrize(
    "x", [[[1, 2], [3, 4]], ((1.0, 2.0), (3.0, 4.0)), pandas.DataFrame({"a": [1, 3], "b": [2, 4]})]
)
def test_lists_and_data_frames_are_read_as_arrays(x: Any) -> None:
    np.testing.assert_array_equal(to_tensor(x, "x").numpy(), [[1, 2], [3, 4]])
    shifted = Translation(torch.eye(2), torch.ones(2))(x)
    assert isinstance(shifted, np.ndarray)
    np.testing.assert_array_equal(shifted, [[2, 3], [4, 5]])
    np.testing.assert_array_equal(LatentSpace(x).subset([1]).vectors, [[3, 4]])


def test_like_follows_the_model() -> None:
    assert isinstance(like(torch.ones(1, requires_grad=True), np.zeros(1)), np.ndarray)
    assert isinstance(like(torch.ones(1), torch.zeros(1)), torch.Tensor)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("1.0", "must be a torch tensor, a NumPy array, a list or a data frame, found str"),
        ([[1.0], [1.0, 2.0]], "x must hold rows of one length"),
        ([["a"]], "must hold numbers, found dtype <U1"),
        (pandas.DataFrame({"word": ["a"], "size": [1.0]}), "must hold numbers, found dtype object"),
        (np.array([["a"]]), "must hold numbers, found dtype <U1"),
        (torch.ones(1, 1, dtype=torch.complex64), "must hold real numbers"),
        (torch.ones(3), r"must have 2 dimension\(s\), found shape \(3,\)"),
        (torch.ones(3, 0), r"must be at least 1 wide, found shape \(3, 0\)"),
        (torch.tensor([[1.0, float("nan"), float("inf")]]), "x must be finite, found 2 NaN or infinite value"),
        (torch.tensor([[float("-inf"), float("inf")]]), "found 2 NaN or infinite"),
    ],
)
def test_what_cannot_be_used_is_named(x: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        to_tensor(x, "x")


def test_values_too_large_to_be_squared_are_refused_in_their_own_words() -> None:
    require_finite(torch.full((4, 4), 1e17), "x")
    with pytest.raises(
        InvalidInputError, match=r"x must have a norm of at most 1e\+18 in torch.float32, found values up to 3e\+38"
    ):
        require_finite(torch.full((4, 4), -3e38), "x")
    require_finite(torch.full((4, 4), 3e38, dtype=torch.float64), "x")


def test_pairs_and_weights() -> None:
    with pytest.raises(InvalidInputError, match="paired row by row, found 3 and 2 rows"):
        to_pairs(torch.ones(3, 2), torch.ones(2, 2))
    with pytest.raises(InvalidInputError, match="a fit needs at least 4 pairs, found 3"):
        to_pairs(torch.ones(3, 2), torch.ones(3, 2), minimum=4, method="a fit")
    x, y = to_pairs(np.ones((3, 2), np.float32), np.ones((3, 5)))
    assert x.dtype == y.dtype == torch.float32
    with pytest.raises(InvalidInputError, match=r"y as torch\.float32 must be finite, found 3"):
        to_pairs(np.ones((3, 2), np.float32), np.full((3, 1), 1e45))
    weights = to_weights(np.array([1.0, 0, 3]), 3, x)
    assert weights is not None
    torch.testing.assert_close(weights, torch.tensor([0.75, 0, 2.25]))
    for bad, message in (([1.0, 2], "one value a pair"), ([1.0, -1, 1], "non-negative"), ([1.0, 0, 0], "positive")):
        with pytest.raises(InvalidInputError, match=message):
            to_weights(np.array(bad), 3, x)


def test_every_exported_name_exists_and_an_unknown_one_does_not() -> None:
    for name in rlstitch.latent.__all__:
        assert getattr(rlstitch.latent, name) is not None
        assert name in dir(rlstitch.latent)
    with pytest.raises(AttributeError, match="nothing"):
        _ = rlstitch.latent.nothing


def test_importing_the_core_is_light() -> None:
    code = (
        "import sys, rlstitch.latent; assert 'torch' not in sys.modules; rlstitch.latent.fit; "
        "print(sorted({'gymnasium', 'stable_baselines3', 'minigrid', 'sklearn', 'ot', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

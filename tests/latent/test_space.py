import numpy as np
import pytest
import torch

from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.latent import LatentSpace, parallel_anchors, project_cosine


def space(keys: str, offset: float = 0.0, name: str = "") -> LatentSpace[np.ndarray]:
    return LatentSpace(np.array([[ord(key) + offset, 1.0] for key in keys]), tuple(keys), name)


def test_rows_are_numbered_without_keys() -> None:
    plain = LatentSpace(torch.zeros(3, 2))
    assert plain.keys == ("0", "1", "2")
    assert (len(plain), plain.width) == (3, 2)
    with pytest.raises(AttributeError):
        plain.name = "other"


def test_pairing_matches_keys_in_the_first_order() -> None:
    left, right = space("dacb"), space("bxda", 0.5)
    one, other = left.pair(right)
    assert one.keys == other.keys == ("d", "a", "b")
    np.testing.assert_allclose(other.vectors - one.vectors, [[0.5, 0]] * 3)


def test_subset_select_sample_map() -> None:
    letters = space("abcdef", name="letters")
    assert letters.subset([5, 0]).keys == ("f", "a")
    assert letters.subset(np.array([1, 2])).keys == ("b", "c")
    mask = np.array([False, True, False, False, False, True])
    assert letters.subset(range(2, 4)).keys == ("c", "d")
    for given in (mask, mask.tolist(), torch.from_numpy(mask)):
        assert letters.subset(given).keys == ("b", "f")
    with pytest.raises(InvalidInputError, match="rows must be a mask of 6 booleans"):
        letters.subset(mask[:4])
    assert letters.subset([]).keys == ()
    picked = letters.select(["e", "b"])
    np.testing.assert_array_equal(picked.vectors[:, 0], [ord("e"), ord("b")])
    drawn = letters.sample(4, seed=1)
    assert drawn.keys == letters.sample(4, seed=1).keys != letters.sample(4, seed=2).keys
    np.testing.assert_array_equal(drawn.vectors[:, 0], [ord(key) for key in drawn.keys])
    mapped = letters.map(lambda x: project_cosine(x, x[:3]))
    assert (mapped.width, mapped.keys, mapped.name) == (3, letters.keys, "letters")


def test_tensors_stay_tensors() -> None:
    vectors = torch.arange(6.0).view(3, 2)
    picked = LatentSpace(vectors, ("a", "b", "c")).subset(torch.tensor([2, 0]))
    assert torch.equal(picked.vectors, vectors[[2, 0]])


@pytest.mark.parametrize("method", ["random", "farthest", "kmedoids", "central"])
def test_parallel_anchors_share_keys_and_order(method: str) -> None:
    spaces = [space("abcdefgh"), space("hgfedcxa", 7), space("efghabcd", -3)]
    chosen = parallel_anchors(spaces, 4, method=method, seed=2)
    assert chosen[0].keys == chosen[1].keys == chosen[2].keys
    assert len(set(chosen[0].keys)) == 4
    assert not {"b", "x"} & set(chosen[0].keys)
    np.testing.assert_allclose(chosen[1].vectors - chosen[0].vectors, [[7, 0]] * 4)


def test_errors() -> None:
    with pytest.raises(InvalidInputError, match=r"one entry a vector \(3\), found 2"):
        LatentSpace(torch.zeros(3, 2), ("a", "b"))
    with pytest.raises(InvalidInputError, match="keys must differ, found 'a' more than once"):
        LatentSpace(torch.zeros(3, 2), ("a", "b", "a"))
    with pytest.raises(InvalidInputError, match="keys must be strings, found 1"):
        LatentSpace(torch.zeros(1, 2), (1,))
    with pytest.raises(InvalidInputError, match="vectors must be finite"):
        LatentSpace(torch.full((1, 2), float("nan")))
    with pytest.raises(InvalidInputError, match=r"rows must lie in \[0, 3\), found -1"):
        space("abc").subset([0, -1])
    with pytest.raises(InvalidInputError, match="keys must differ"):
        space("abc").subset([0, 0])
    with pytest.raises(InvalidInputError, match=r"found 2 others: \['x', 'y'\]"):
        space("abc").select(["a", "x", "y"])
    with pytest.raises(InvalidInputError, match="k must be a whole number"):
        space("abc").sample(4)
    with pytest.raises(IncompatibleError, match=r"red has \['a', 'b'\], the other has \['c'\]"):
        space("ab", name="red").pair(space("c"))
    with pytest.raises(IncompatibleError, match="3 parallel anchors need 3 keys common to all spaces, found 1"):
        parallel_anchors([space("abc"), space("cde")], 3)
    with pytest.raises(InvalidInputError, match="at least one space"):
        parallel_anchors([], 3)
    with pytest.raises(UnknownNameError):
        parallel_anchors([space("abc")], 2, method="best")

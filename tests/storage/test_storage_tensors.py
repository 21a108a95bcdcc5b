from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage import pack_tensors, read_tensors, unpack_tensors, write_tensors

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=4),
    dtype=st.sampled_from(DTYPES),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_tensors_come_back_as_they_were(shapes: list[list[int]], dtype: torch.dtype, metadata: dict[str, str]) -> None:
    tensors = {f"t{i}": (torch.arange(int(np.prod(s))).reshape(s) % 2).to(dtype) for i, s in enumerate(shapes)}
    content = pack_tensors(tensors, metadata=metadata)
    result, found_metadata = unpack_tensors(content, "here")
    assert found_metadata == metadata
    assert result.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert result[name].dtype == dtype
        assert torch.equal(result[name], tensor)
    again = pack_tensors(dict(reversed(tensors.items())), metadata=dict(reversed(metadata.items())))
    assert again == content


def test_views_of_one_memory_arrays_and_gradients_are_stored(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4).requires_grad_()
    array = np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1]
    array.setflags(write=False)
    write_tensors(tmp_path / "x.safetensors", {"base": base, "turned": base.T, "row": base[1], "array": array})
    result, metadata = read_tensors(tmp_path / "x.safetensors")
    assert metadata == {}
    assert torch.equal(result["turned"], base.detach().T)
    np.testing.assert_array_equal(result["array"].numpy(), array)
    assert not result["base"].requires_grad


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64, torch.float8_e5m2])
def test_what_is_not_finite_is_refused_by_name_both_ways(value: float, dtype: torch.dtype) -> None:
    tensors = {"fine": torch.ones(2), "spoilt": torch.tensor([1.0, value]).to(dtype)}
    with pytest.raises(InvalidInputError, match="'spoilt'"):
        pack_tensors(tensors)
    with pytest.raises(ArtefactError, match="here: tensor 'spoilt'"):
        unpack_tensors(safetensors.torch.save(tensors), "here")


@pytest.mark.parametrize("value", [np.array(["text"]), np.array([None]), np.ones(2, dtype=">f4")])
def test_arrays_that_cannot_be_stored_are_refused_by_name(value: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="'odd'"):
        pack_tensors({"odd": value})


def test_files_of_others_load_with_their_metadata() -> None:
    content = safetensors.torch.save({"a": torch.ones(1)}, {"format": "pt", "by": "someone"})
    assert unpack_tensors(content, "here")[1] == {"format": "pt", "by": "someone"}
    for metadata in ("{", "[]", '{"a": 1}'):
        content = safetensors.torch.save({"a": torch.ones(1)}, {"rlstitch": metadata})
        with pytest.raises(ArtefactError, match="metadata"):
            unpack_tensors(content, "here")


def test_damaged_bytes_load_or_are_refused_in_one_line() -> None:
    whole = pack_tensors({"a": torch.ones(3, 2), "b": torch.zeros(4, dtype=torch.int64)}, metadata={"k": "v"})
    rng = random.Random(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            unpack_tensors(bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])]), "here")
        except ArtefactError as error:
            line = str(error)
            refused += "\n" not in line and line.startswith("here: ")
    assert refused > 200


def test_a_missing_or_large_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no such file"):
        read_tensors(tmp_path / "absent.safetensors")
    write_tensors(tmp_path / "x.safetensors", {"a": torch.ones(100)})
    with pytest.raises(ArtefactError, match="larger than 50 bytes"):
        read_tensors(tmp_path / "x.safetensors", max_bytes=50)

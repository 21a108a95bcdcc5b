from __future__ import annotations

import importlib.util
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError
from rlstitch.latent import LatentSpace, Translation, fit_affine
from rlstitch.storage import (
    load_space,
    load_translation,
    save_space,
    save_translation,
    space_from_dataset,
    space_to_dataset,
    write_tensors,
)

KEYS = ("a", "b c", "Größe", "")


def make_space(library: str = "numpy", dtype: str = "float32") -> LatentSpace[Any]:
    vectors = np.random.default_rng(0).normal(size=(4, 3)).astype(dtype)
    return LatentSpace(vectors if library == "numpy" else torch.from_numpy(vectors), KEYS, "vision")


def make_translation() -> Translation:
    rng = np.random.default_rng(1)
    return fit_affine(rng.normal(size=(20, 3)), rng.normal(size=(20, 2)))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_space_comes_back_as_it_was(tmp_path: Path, suffix: str, library: str, dtype: str) -> None:
    space = make_space(library, dtype)
    path = save_space(space, tmp_path / f"space.v2{suffix}")
    result = load_space(path)
    assert (result.keys, result.name) == (KEYS, "vision")
    assert isinstance(result.vectors, np.ndarray if suffix == ".npz" else torch.Tensor)
    assert np.asarray(result.vectors).dtype == dtype
    np.testing.assert_array_equal(np.asarray(result.vectors), np.asarray(space.vectors))


def test_an_npz_can_be_read_without_us(tmp_path: Path) -> None:
    with np.load(save_space(make_space(), tmp_path / "space.npz"), allow_pickle=False) as arrays:
        assert arrays["keys"].tolist() == list(KEYS)
        assert arrays["vectors"].shape == (4, 3)


def test_keys_that_npz_would_cut_are_refused_there_only(tmp_path: Path) -> None:
    space = LatentSpace(np.ones((1, 2), np.float32), ("a\0",))
    with pytest.raises(InvalidInputError, match="zero character"):
        save_space(space, tmp_path / "space.npz")
    assert load_space(save_space(space, tmp_path / "space.safetensors")).keys == ("a\0",)


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    for name in ("space.pt", "space.pkl", "space"):
        with pytest.raises(InvalidInputError, match=r"\.npz or \.safetensors"):
            save_space(make_space(), tmp_path / name)
        with pytest.raises(InvalidInputError, match=r"\.npz or \.safetensors"):
            load_space(tmp_path / name)
    with pytest.raises(InvalidInputError, match=r"ends in \.safetensors"):
        save_translation(make_translation(), tmp_path / "map.npz")


@pytest.mark.parametrize("translation", [make_translation(), Translation.identity(3)])
def test_a_translation_comes_back_as_it_was(tmp_path: Path, translation: Translation) -> None:
    result = load_translation(save_translation(translation, tmp_path / "map.safetensors"))
    assert result.spec() == translation.spec()
    assert result.report == translation.report
    x = torch.randn(5, 3, dtype=translation.matrix.dtype, generator=torch.Generator().manual_seed(0))
    assert torch.equal(result(x), translation(x))


def test_a_singular_translation_keeps_its_infinite_condition(tmp_path: Path) -> None:
    x = np.ones((4, 2))
    translation = fit_affine(x, x)
    result = load_translation(save_translation(translation, tmp_path / "map.safetensors"))
    assert result.report == translation.report


@pytest.mark.parametrize("name", ["space.npz", "space.safetensors", "map.safetensors"])
def test_damaged_files_load_equal_or_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    load: Any = load_translation if name.startswith("map") else load_space
    save_translation(make_translation(), path) if name.startswith("map") else save_space(make_space(), path)
    whole, rng = path.read_bytes(), random.Random(name)
    refused = 0
    for _ in range(120):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        try:
            load(path)
        except ArtefactError as error:
            line = str(error)
            refused += "\n" not in line
    assert refused > 50


def test_an_npz_with_objects_is_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "space.npz"
    np.savez(
        path, format="rlstitch-latent-space-1", name="", keys=np.array(["a", {}], dtype=object), vectors=np.ones(2)
    )
    with pytest.raises(ArtefactError, match="not a usable npz"):
        load_space(path)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path, content = tmp_path / "space.npz", io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vectors.npy", bytes(10**7))
    path.write_bytes(content.getvalue())
    with pytest.raises(ArtefactError, match=r"unpacks to 10,000,000 bytes, expected at most 9,\d{3}"):
        load_space(path)


@pytest.mark.parametrize(
    "header",
    ["", "[]", "{}", '{"keys": 3}', '{"keys": ["a"]}', '{"keys": []}', '{"keys": [1, 2]}', '{"keys": ["a", "a"]}',
     '{"keys": ["a", "b"], "name": 3}', "[" * 5000],
)  # fmt: skip
def test_headers_that_do_not_fit_a_space_are_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "space.safetensors"
    metadata = {"format": "rlstitch-latent-space-1", "header": header}
    write_tensors(path, {"vectors": torch.ones(2, 3)}, metadata=metadata)
    with pytest.raises(ArtefactError, match=r"space\.safetensors"):
        load_space(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"width_in": 10**9}, {"width_in": 2}, {"width_out": None}, {"format": 9}, {"report": {"x": 1}}, {"report": [1]},
        {"dtype": "float32"},
    ],
)  # fmt: skip
def test_headers_that_do_not_fit_a_translation_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    translation, path = make_translation(), tmp_path / "map.safetensors"
    header = json.dumps({**translation.spec(), **changes})
    metadata = {"format": "rlstitch-translation-1", "header": header}
    write_tensors(path, translation.state_dict(), metadata=metadata)
    with pytest.raises(ArtefactError, match=r"map\.safetensors"):
        load_translation(path)


def test_a_space_is_not_a_translation(tmp_path: Path) -> None:
    save_space(make_space(), tmp_path / "x.safetensors")
    with pytest.raises(ArtefactError, match="holds no translation"):
        load_translation(tmp_path / "x.safetensors")
    save_translation(make_translation(), tmp_path / "x.safetensors")
    with pytest.raises(ArtefactError, match="holds no latent space"):
        load_space(tmp_path / "x.safetensors")


def test_columns_become_a_space() -> None:
    columns = {"key": [3, 1], "latent": [[1.0, 2.0], [3.0, 4.5]], "text": ["x", "y"]}
    exact = {"key": ["a"], "latent": np.array([[1 / 3, 2 / 3]])}
    assert space_from_dataset(exact).vectors.tolist() == exact["latent"].tolist()
    space = space_from_dataset(columns, name="text")
    assert space.keys == ("3", "1")
    np.testing.assert_array_equal(space.vectors, columns["latent"])
    assert space_from_dataset(columns, keys=None).keys == ("0", "1")
    with pytest.raises(InvalidInputError, match="'vector': not in the dataset, which has key, latent, text"):
        space_from_dataset(columns, vectors="vector")
    with pytest.raises(InvalidInputError, match="one width"):
        space_from_dataset({"key": [1, 2], "latent": [[1.0], [1.0, 2.0]]})


def test_a_dataset_comes_back_as_it_was() -> None:
    if importlib.util.find_spec("datasets") is None:
        with pytest.raises(MissingExtraError, match=r"rlstitch\[datasets\]"):
            space_to_dataset(make_space())
        return
    exact = LatentSpace(np.random.default_rng(0).normal(size=(3, 2)), ("a", "b", "c"))
    for space in (make_space(), make_space("torch"), exact):
        dataset = space_to_dataset(space, vectors="z", keys="id")
        assert dataset.column_names == ["id", "z"]
        result = space_from_dataset(dataset, vectors="z", keys="id", name="vision")
        assert result.keys == space.keys
        np.testing.assert_array_equal(result.vectors, np.asarray(space.vectors))
        assert str(result.vectors.dtype) == str(space.vectors.dtype).removeprefix("torch.")
    half = LatentSpace(torch.ones(2, 3, dtype=torch.bfloat16))
    assert space_from_dataset(space_to_dataset(half)).vectors.dtype == np.float32

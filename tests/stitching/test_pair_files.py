"""Pairs that the user brings: what a file gives back, how it is split, and every way in which it is refused."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from stitch_samples import WIDTH, mixing, moved, untrained

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.stitching.pair_files import given_pairs, read_pairs, write_pairs
from rlstitch.stitching.pairs import gather_images
from rlstitch.stitching.stitch import stitch_agents

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def green():
    return untrained("green", seed=2, variation="green")


@pytest.fixture(scope="module")
def seen(red, green):
    return gather_images(red, green, count=60, seed=5)


def latents(count: int, width: int = WIDTH) -> np.ndarray:
    return RNG.normal(size=(count, width)).astype(np.float32)


def test_a_file_gives_back_what_was_written_and_equal_pairs_equal_bytes(seen, tmp_path):
    one, two = (write_pairs(tmp_path / name, *seen) for name in ("one.npz", "two.npz"))
    for before, after in zip(seen, read_pairs(one), strict=True):
        np.testing.assert_array_equal(before, after)
        assert before.dtype == after.dtype
    assert one.read_bytes() == two.read_bytes()
    np.savez(tmp_path / "more.npz", y=seen[1], x=seen[0], episode=np.arange(60))
    np.testing.assert_array_equal(read_pairs(tmp_path / "more.npz")[0], seen[0])


def test_images_are_split_without_overlap_and_used_in_full(red, green, seen):
    pairs = given_pairs(red, green, *seen)
    assert (len(pairs.x), len(pairs.x_held), pairs.distinct_views, pairs.coverage) == (48, 12, 60, None)
    rows = [{row.tobytes() for row in side.numpy()} for side in (pairs.x, pairs.x_held)]
    assert not rows[0] & rows[1]
    everything = torch.cat([pairs.x, pairs.x_held])
    # Row by row the same state, in both.
    places = torch.cdist(everything, red.encode(seen[0])).argmin(1)
    torch.testing.assert_close(torch.cat([pairs.y, pairs.y_held]), green.encode(seen[1])[places], atol=1e-5, rtol=0)
    few = given_pairs(red, green, *seen, held=5, seed=1)
    assert (len(few.x), len(few.x_held)) == (55, 5)
    report = stitch_agents(red, green, few, method="affine").report
    assert (report.pairs, report.held_out, report.distinct_views, report.unseen) == (55, 5, 60, None)


def test_latents_and_images_are_the_same_thing(red, green, seen):
    images = given_pairs(red, green, *seen)
    for x, y in (
        (red.encode(seen[0]).numpy(), green.encode(seen[1]).numpy()),
        (seen[0], green.encode(seen[1]).numpy().astype(np.float64)),
    ):
        result = given_pairs(red, green, x, y)
        for name in ("x", "y", "x_held", "y_held"):
            torch.testing.assert_close(getattr(result, name), getattr(images, name), atol=1e-5, rtol=0)


def test_equal_pairs_count_once_and_a_view_stays_on_one_side(red, green, seen):
    x, y = (np.concatenate([side, side]) for side in seen)
    assert len(given_pairs(red, green, x, y).x) == 48
    other = np.concatenate([seen[1], np.roll(seen[1], 1, axis=0)])  # each view with two partners
    pairs = given_pairs(red, green, x, other)
    assert (pairs.distinct_views, len(pairs.x), len(pairs.x_held)) == (60, 96, 24)
    rows = [{row.tobytes() for row in side.numpy()} for side in (pairs.x, pairs.x_held)]
    assert not rows[0] & rows[1]


def test_robust_finds_a_planted_map_among_wrong_pairs(red, pair, images):
    other = moved(red, mixing(WIDTH), torch.linspace(-2, 2, WIDTH))
    x, y = red.encode(images).numpy(), other.encode(images).numpy()
    y[:16] = np.roll(y[:16], 1, axis=0)
    result = {
        method: stitch_agents(red, other, given_pairs(red, other, x, y), method=method).agent
        for method in ("affine", "robust")
    }
    true = red.action_parameters(images)
    error = {method: float((agent.action_parameters(images) - true).abs().mean()) for method, agent in result.items()}
    assert error["robust"] < 0.5 * error["affine"]


@pytest.mark.parametrize(
    ("x", "y", "part"),
    [
        (latents(4), latents(5), "expected x and y to be equally long, found 4 and 5 rows"),
        (latents(4, 5), latents(4), r"x: agent 'red' has latents of shape \(12,\), found \(5,\)"),
        (latents(4), latents(4, 5), r"y: agent 'green' has latents of shape \(12,\), found \(5,\)"),
        (np.zeros((4, 8, 8, 3), np.uint8), latents(4), r"x: agent 'red' has images of shape \(56, 56, 3\), found \(8,"),
        (np.zeros((4, 8, 8, 3)), latents(4), r"x: expected images uint8 .* found float64 \(4, 8, 8, 3\)"),
        (latents(4), np.zeros((4, 12), int), r"y: expected images uint8 .* found int64 \(4, 12\)"),
        (latents(4), np.array(["a"] * 4), r"y: expected images uint8 .* found <U1 \(4,\)"),
        (latents(0), latents(0), r"x: expected images uint8 .* found none: \(0, 12\)"),
        (latents(4) * np.nan, latents(4), r"x: expected finite latents, found 48 NaN or infinite"),
        (np.zeros((4, 12), np.float32), latents(4), "expected at least 2 distinct rows of x .* found 1"),
    ],
)
def test_pairs_that_are_none_are_refused(x, y, part, red, green):
    with pytest.raises(InvalidInputError, match=part):
        given_pairs(red, green, x, y, where="mine.npz")


def test_too_few_pairs_are_told_by_the_method(red, green):
    pairs = given_pairs(red, green, latents(3), latents(3))
    with pytest.raises(InvalidInputError, match="pairs: affine needs at least 3, found 2"):
        stitch_agents(red, green, pairs, method="affine")


class Harm:
    def __reduce__(self):
        return (print, ("unpickled",))


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


GOOD = npy(latents(4))
BAD = [
    (b"", ArtefactError, "not a usable .npz file"),
    (b"no archive", ArtefactError, "not a usable .npz file"),
    (GOOD, ArtefactError, "not a usable .npz file"),
    (pickle.dumps(Harm()), ArtefactError, "not a usable .npz file"),
    (
        archive(x=GOOD, y=npy(np.array([Harm(), None]))),
        ArtefactError,
        "the array y: expected an array of numbers or text, found object",
    ),
    (archive(x=GOOD, y=GOOD[:-8]), ArtefactError, "the array y: "),
    (archive(x=GOOD, y=b""), ArtefactError, "the array y: "),
    (archive(x=GOOD, y=GOOD.replace(b"(4, 12)", b"(2**9)")), ArtefactError, "the array y: "),
    (archive(x=GOOD), InvalidInputError, "expected the arrays x and y, found x"),
    (archive(), InvalidInputError, "expected the arrays x and y, found nothing"),
    (archive(a=GOOD, b=GOOD), InvalidInputError, "expected the arrays x and y, found a, b"),
    (archive(x=GOOD, y=npy(latents(3))), InvalidInputError, "equally long, found 4 and 3 rows"),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_files_that_are_none_are_refused(number, tmp_path, capsys):
    content, error, part = BAD[number]
    path = tmp_path / "pairs.npz"
    path.write_bytes(content)
    with pytest.raises(error, match=part):
        read_pairs(path)
    assert capsys.readouterr().out == ""


def test_a_damaged_file_is_refused(tmp_path, seen):
    path = write_pairs(tmp_path / "pairs.npz", *seen)
    whole = path.read_bytes()
    for place in range(100, len(whole), len(whole) // 9):
        path.write_bytes(whole[:place])
        with pytest.raises(ArtefactError):
            read_pairs(path)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with pytest.raises((ArtefactError, InvalidInputError)):
            read_pairs(path)
    with pytest.raises(ArtefactError, match="no such file"):
        read_pairs(tmp_path / "nothing.npz")


def test_nothing_is_written_that_could_not_be_read(tmp_path):
    with pytest.raises(InvalidInputError, match="equally long"):
        write_pairs(tmp_path / "a.npz", latents(4), latents(5))
    with pytest.raises(InvalidInputError, match=r"ends in \.npz, found .*a\.zip"):
        write_pairs(tmp_path / "a.zip", latents(4), latents(4))
    assert list(tmp_path.iterdir()) == []

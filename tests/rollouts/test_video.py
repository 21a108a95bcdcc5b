from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import replace

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from rlstitch.envs import World
from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.rollouts.actors import RandomAgent
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.rollouts.panels import enlarge, inset, pad_even, side_by_side
from rlstitch.rollouts.video import record, write_gif, write_mp4


def film(length=5, height=10, width=14, colour=(200, 60, 20)):
    frames = np.empty((length, height, width, 3), np.uint8)
    frames[:] = colour
    return frames


def read(path):
    """Decode a film with ffmpeg: what it says about the stream, and the frames."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    command = [ffmpeg, "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    stream = re.search(r"Video: (h264[^\n]*), (\d+)x(\d+)[^\n]*?, ([\d.]+) fps", done.stderr.decode())
    width, height = int(stream[2]), int(stream[3])
    return stream[1], float(stream[4]), np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.parametrize("size", [(64, 48), (65, 49), (2, 3)])
def test_mp4_reads_back(tmp_path, size):
    frames = film(7, *size)
    frames[3:] = (10, 40, 220)
    path = write_mp4(frames, tmp_path / "new" / "film.mp4", fps=5)
    stream, fps, back = read(path)
    assert "yuv420p" in stream
    assert fps == 5
    assert back.shape == (7, size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    assert back[0].mean() > 60  # not black
    np.testing.assert_allclose(back[0].mean(axis=(0, 1)), (200, 60, 20), atol=12)
    np.testing.assert_allclose(back[-1].mean(axis=(0, 1)), (10, 40, 220), atol=12)
    assert [p.name for p in path.parent.iterdir()] == ["film.mp4"]


def test_gif_reads_back(tmp_path):
    frames = np.concatenate([film(2), film(2, colour=(0, 0, 250))])
    with Image.open(write_gif(frames, tmp_path / "film.gif", fps=10)) as image:
        assert image.size == (14, 10)
        total = 0
        for i in range(image.n_frames):
            image.seek(i)
            total += image.info["duration"]
        np.testing.assert_allclose(np.asarray(image.convert("RGB")).mean(axis=(0, 1)), (0, 0, 250), atol=3)
    assert total == 400


def test_an_old_film_stays_where_the_new_one_cannot_be_written(tmp_path):
    path = write_mp4(film(), tmp_path / "film.mp4")
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match="frames: expected uint8"):
        write_mp4(film().astype(float), path)
    assert path.read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises((InvalidInputError, ArtefactError), match="file"):
        write_mp4(film(), tmp_path / "file" / "film.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InvalidInputError, match="folder"):
        write_mp4(film(), tmp_path / "folder.mp4")


def test_what_cannot_be_encoded_or_written_is_an_artefact_error(tmp_path, monkeypatch):
    with pytest.raises(ArtefactError, match="cannot encode a film"):
        write_mp4(film(), tmp_path / "film.mp4", fps=10**12)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ArtefactError, match=r"cannot write .*film\.mp4"):
        write_mp4(film(), tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda p: write_mp4(film(0), p / "a.mp4"), r"frames: expected uint8 .* found uint8 \(0, 10, 14, 3\)"),
        (lambda p: write_mp4(film()[0], p / "a.mp4"), "frames"),
        (lambda p: write_mp4(film(), p / "a.avi"), r"path: expected a name that ends in \.mp4, found 'a\.avi'"),
        (lambda p: write_mp4(film(), p / "a.mp4", fps=0), "fps: expected at least 1, found 0"),
        (lambda p: write_gif(film(), p / "a.gif", fps=0), "fps: expected at least 1, found 0"),
        (lambda p: write_mp4(film(), p / "a.mp4", quality=99), "quality"),
        (lambda p: side_by_side([]), "panels: expected at least one"),
        (lambda p: side_by_side([film()], ["a", "b"]), "captions: expected one for each of the 1 panels, found 2"),
        (lambda p: side_by_side([film(), film()[..., :2]]), r"panels\[1\]"),
        (lambda p: inset(film(3), film(4)), "views: expected one for each of the 3 frames, found 4"),
    ],
)
def test_bad_requests_are_named(tmp_path, call, text):
    with pytest.raises(InvalidInputError, match=text):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


def test_enlarging_repeats_pixels_by_a_whole_factor():
    frames = np.random.default_rng(0).integers(0, 256, (2, 10, 14, 3), dtype=np.uint8)
    large = enlarge(frames, 25)
    assert large.shape == (2, 30, 42, 3)
    np.testing.assert_array_equal(large[:, 1::3, 1::3], frames)
    np.testing.assert_array_equal(large[:, 2::3, ::3], frames)
    np.testing.assert_array_equal(enlarge(frames, 10), frames)


def test_padding_keeps_the_picture():
    odd = film(1, 5, 7)
    odd[0, -1, -1] = 9
    padded = pad_even(odd)
    assert padded.shape == (1, 6, 8, 3)
    np.testing.assert_array_equal(padded[:, :5, :7], odd)
    assert (padded[0, -1, -1] == 9).all()


def test_a_shorter_panel_holds_its_last_frame_dimmed():
    short, long = film(2, 10, 10), film(5, 20, 10)
    short[1] = 100
    both = side_by_side([short, long], scale=10)
    assert both.shape == (5, 20, 10 + 8 + 10, 3)
    np.testing.assert_array_equal(both[1, :10, :10], short[1])
    assert (both[2:, :10, :10] == 45).all()
    np.testing.assert_array_equal(both[:, :, 18:], long)


def test_captions_are_drawn_and_cut():
    plain, named = side_by_side([film()], scale=100), side_by_side([film()], ["naive"], scale=100)
    bar = named.shape[1] - plain.shape[1]
    assert bar >= 20
    np.testing.assert_array_equal(named[:, bar:], plain)
    assert named[:, :bar].max() > 200
    assert not np.array_equal(named[:, :bar], side_by_side([film()], ["affine"], scale=100)[:, :bar])
    cut = side_by_side([film()], ["an encoder of one with a controller of another " * 4], scale=100)
    assert cut.shape == named.shape
    assert (cut[0, :bar, :2] == cut[0, 0, 0]).all()  # the text stays inside


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_film_is_of_the_episodes_that_evaluation_counts(agent, deterministic):
    filmed = record(agent, episodes=3, seed=2, deterministic=deterministic, hold=2)
    counted = evaluate(agent, episodes=3, seed=2, deterministic=deterministic)
    np.testing.assert_array_equal(filmed.played.returns, counted.returns)
    assert len(filmed.frames) == counted.lengths.sum() + 3 * 2
    assert min(filmed.frames.shape[1:3]) >= 256


def test_an_agent_with_its_own_view_is_filmed_from_above(agent, world):
    both = record(agent, episodes=1, scale=40)
    seen = replace(world, view="full", tile_size=32)
    above = record(RandomAgent(gymnasium.spaces.Discrete(7)), seen, episodes=1, scale=40)
    assert above.frames.shape[1:] == (160, 160, 3)
    assert both.frames.shape[1] == 160
    # Both begin in the same state of the same seed.
    np.testing.assert_array_equal(both.frames[0, :160, :160], above.frames[0])
    red = record(agent, replace(world, variation="red"), episodes=1, scale=40)
    assert not np.array_equal(red.frames[0], both.frames[0])


def test_another_image_environment_is_filmed_as_it_is(walk_class):
    gymnasium.register("Walk-video-v0", walk_class)
    try:
        walked = record(RandomAgent(gymnasium.spaces.Discrete(3)), World("Walk-video-v0"), episodes=2, scale=16)
    finally:
        gymnasium.registry.pop("Walk-video-v0")
    assert walked.frames.shape[1:] == (16, 16, 3)

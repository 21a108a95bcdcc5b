from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from moviepy.config import FFMPEG_BINARY
from PIL import Image

from rlstitch.envs import World
from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.rollouts.actors import RandomAgent
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.rollouts.panels import enlarge, pad_even, side_by_side
from rlstitch.rollouts.video import record, write_gif, write_mp4


def solid(length=5, height=10, width=14, colour=(200, 60, 20)):
    frames = np.empty((length, height, width, 3), np.uint8)
    frames[:] = colour
    return frames


def stacked(frames):
    return np.stack(list(frames))


def read(path):
    """Decode a video with ffmpeg: what it says about the stream, and the frames."""
    command = [FFMPEG_BINARY, "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    stream = re.search(r"Video: (h264[^\n]*), (\d+)x(\d+)[^\n]*?, ([\d.]+) fps", done.stderr.decode())
    width, height = int(stream[2]), int(stream[3])
    return stream[1], float(stream[4]), np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.parametrize("size", [(64, 48), (65, 49), (2, 3)])
def test_mp4_reads_back(tmp_path, size):
    frames = solid(7, *size)
    frames[3:] = (10, 40, 220)
    path = write_mp4(frames, tmp_path / "new" / "video.mp4", fps=5)
    stream, fps, back = read(path)
    assert "yuv420p" in stream
    assert fps == 5
    assert back.shape == (7, size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    assert back[0].mean() > 60  # not black
    np.testing.assert_allclose(back[0].mean(axis=(0, 1)), (200, 60, 20), atol=12)
    np.testing.assert_allclose(back[-1].mean(axis=(0, 1)), (10, 40, 220), atol=12)
    assert [p.name for p in path.parent.iterdir()] == ["video.mp4"]


def test_frames_are_encoded_one_by_one(tmp_path):
    """A source that draws every frame into one buffer gives the video of separate frames."""
    buffer = np.zeros((20, 30, 3), np.uint8)

    def drawn():
        for level in (0, 80, 160, 240):
            buffer[:] = level
            yield buffer

    levels = read(write_mp4(drawn(), tmp_path / "video.mp4"))[2].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, (0, 80, 160, 240), atol=6)
    with Image.open(write_gif(drawn(), tmp_path / "video.gif")) as image:
        assert image.n_frames == 4


def test_gif_reads_back(tmp_path):
    frames = np.concatenate([solid(2), solid(2, colour=(0, 0, 250))])
    with Image.open(write_gif(frames, tmp_path / "video.gif", fps=10)) as image:
        assert image.size == (14, 10)
        total = 0
        for i in range(image.n_frames):
            image.seek(i)
            total += image.info["duration"]
        np.testing.assert_allclose(np.asarray(image.convert("RGB")).mean(axis=(0, 1)), (0, 0, 250), atol=3)
    assert total == 400


def test_an_old_video_stays_where_the_new_one_cannot_be_written(tmp_path):
    path = write_mp4(solid(), tmp_path / "video.mp4")
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match="frames: expected uint8"):
        write_mp4(solid().astype(float), path)
    assert path.read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises((InvalidInputError, ArtefactError), match="file"):
        write_mp4(solid(), tmp_path / "file" / "video.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InvalidInputError, match="folder"):
        write_mp4(solid(), tmp_path / "folder.mp4")


def test_what_cannot_be_encoded_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(InvalidInputError, match="fps: expected at most 10,000,000"):
        write_mp4(solid(50, 100, 100), tmp_path / "video.mp4", fps=10**12)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda p: write_mp4(solid(0), p / "a.mp4"), "frames: expected at least one, found none"),
        (lambda p: write_mp4(solid()[0], p / "a.mp4"), r"frames: expected uint8 .* found uint8 \(14, 3\)"),
        (lambda p: write_mp4(solid(), p / "a.avi"), r"path: expected a name that ends in \.mp4, found 'a\.avi'"),
        (lambda p: write_mp4(solid(), p / "a.mp4", fps=0), "fps: expected at least 1, found 0"),
        (lambda p: write_gif(solid(), p / "a.gif", fps=0), "fps: expected at least 1, found 0"),
        (lambda p: write_mp4(solid(), p / "a.mp4", quality=99), "quality"),
        (lambda p: side_by_side([]), "panels: expected at least one"),
        (lambda p: side_by_side([solid()], ["a", "b"]), "captions: expected one for each of the 1 panels, found 2"),
        (lambda p: list(side_by_side([solid(), solid()[..., :2]])), r"panels\[1\]"),
        (lambda p: write_gif([solid()[0], solid(1, 4, 4)[0]], p / "a.gif"), "frames of one shape"),
    ],
)
def test_bad_requests_are_named(tmp_path, call, text):
    with pytest.raises(InvalidInputError, match=text):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


def test_enlarging_repeats_pixels_by_a_whole_factor():
    frames = np.random.default_rng(0).integers(0, 256, (2, 10, 14, 3), dtype=np.uint8)
    large = np.stack([enlarge(frame, 25) for frame in frames])
    assert large.shape == (2, 30, 42, 3)
    np.testing.assert_array_equal(large[:, 1::3, 1::3], frames)
    np.testing.assert_array_equal(large[:, 2::3, ::3], frames)
    np.testing.assert_array_equal(enlarge(frames[0], 10), frames[0])


def test_padding_keeps_the_picture():
    odd = solid(1, 5, 7)[0]
    odd[-1, -1] = 9
    padded = pad_even(odd)
    assert padded.shape == (6, 8, 3)
    np.testing.assert_array_equal(padded[:5, :7], odd)
    assert (padded[-1, -1] == 9).all()


def test_a_shorter_panel_holds_its_last_frame_dimmed():
    short, long = solid(2, 10, 10), solid(5, 20, 10)
    short[1] = 100
    both = stacked(side_by_side([short, long], scale=10))
    assert both.shape == (5, 20, 10 + 8 + 10, 3)
    np.testing.assert_array_equal(both[1, :10, :10], short[1])
    assert (both[2:, :10, :10] == 45).all()
    np.testing.assert_array_equal(both[:, :, 18:], long)


def test_captions_are_drawn_and_cut():
    plain, named = stacked(side_by_side([solid()], scale=100)), stacked(side_by_side([solid()], ["naive"], scale=100))
    bar = named.shape[1] - plain.shape[1]
    assert bar >= 20
    np.testing.assert_array_equal(named[:, bar:], plain)
    assert named[:, :bar].max() > 200
    assert not np.array_equal(named[:, :bar], stacked(side_by_side([solid()], ["affine"], scale=100))[:, :bar])
    cut = stacked(side_by_side([solid()], ["an encoder of one with a controller of another " * 4], scale=100))
    assert cut.shape == named.shape
    assert (cut[0, :bar, :2] == cut[0, 0, 0]).all()  # the text stays inside


def test_four_panels_stand_in_two_rows_with_a_note_for_each_frame_below():
    panels = [solid(3, 60, 80, (50 * i, 0, 0)) for i in range(4)]
    plain = stacked(side_by_side(panels, scale=60))
    assert plain.shape == (3, 60 + 8 + 60, 80 + 8 + 80, 3)
    assert [tuple(plain[0, y, x]) for y in (0, 68) for x in (0, 88)] == [(50 * i, 0, 0) for i in range(4)]
    noted = stacked(side_by_side(panels, list("abcd"), notes=[["step 0", "step 1", "return 1"]] * 4, scale=60))
    bar = (noted.shape[1] - plain.shape[1]) // 4
    assert bar >= 20
    below = noted[:, bar + 60 : 2 * bar + 60, :80]
    assert not np.array_equal(below[0], below[2])
    assert below.max() > 200
    with pytest.raises(InvalidInputError, match="notes: expected texts for each of the 4 panels, found 1"):
        side_by_side(panels, notes=[["step"]])


def test_text_is_as_large_where_a_wide_video_is_shrunk_to_a_page():
    bars = []
    for width in (800, 3200):
        plain, named = (stacked(side_by_side([solid(1, 100, width)], text, scale=10)) for text in (None, ["naive"]))
        bars.append((named.shape[1] - plain.shape[1]) * min(1.0, 830 / width))
    assert bars[1] == pytest.approx(bars[0], abs=1)
    assert min(bars) >= 1.5 * 12


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_video_is_of_the_episodes_that_evaluation_counts(agent, deterministic):
    shown = record(agent, episodes=3, seed=2, deterministic=deterministic, hold=2)
    counted = evaluate(agent, episodes=3, seed=2, deterministic=deterministic)
    np.testing.assert_array_equal(shown.outcomes.returns, counted.returns)
    frames, notes = stacked(shown.frames), list(shown.notes())
    assert len(frames) == len(notes) == counted.lengths.sum() + 3 * 2
    assert notes[0] == "episode 1 of 3, step 0"
    outcome = "success" if counted.successes[2] else "failure"
    assert notes[-1] == f"3 of 3: {outcome}, return {counted.returns[2]:.2f}, step {counted.lengths[2]}"
    assert min(frames.shape[1:3]) >= 256


def test_an_agent_with_its_own_view_is_shown_from_above(agent, world):
    both = stacked(record(agent, episodes=1, scale=40).frames)
    seen = replace(world, view="full", tile_size=32)
    above = stacked(record(RandomAgent(gymnasium.spaces.Discrete(7)), seen, episodes=1, scale=40).frames)
    assert above.shape[1:] == (160, 160, 3)
    assert both.shape[1] == 160
    # Both begin in the same state of the same seed.
    np.testing.assert_array_equal(both[0, :160, :160], above[0])
    red = next(record(agent, replace(world, look="red"), episodes=1, scale=40).frames)
    assert not np.array_equal(red, both[0])


def test_another_image_environment_is_shown_as_it_is(walk_class):
    gymnasium.register("Walk-video-v0", walk_class)
    try:
        walked = record(RandomAgent(gymnasium.spaces.Discrete(3)), World("Walk-video-v0"), episodes=2, scale=16)
        shape = next(walked.frames).shape
    finally:
        gymnasium.registry.pop("Walk-video-v0")
    assert shape == (16, 16, 3)

"""Videos of rollouts, one frame in memory at a time: MP4 (H.264, 4:2:0, plays in browsers) and GIF."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from rlstitch.agents.agent import Agent
from rlstitch.envs import World, family_of, is_image, make_vec
from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.jobs.progress import OnProgress, part, silent
from rlstitch.rollouts.actors import Actor
from rlstitch.rollouts.display import Frame, coloured, plain_world, world_from_above
from rlstitch.rollouts.episodes import MAX_EPISODE_STEPS, Outcomes, Step, check_seed, episode_seed, play
from rlstitch.rollouts.evaluation import check_counts, world_of
from rlstitch.rollouts.panels import check_frames, enlarge, inset, pad_even, side_by_side
from rlstitch.storage.files import staged_file
from rlstitch.storage.folders import staged_files

_FPS = 6
_FRAMES = 180  # half a minute: an agent that never arrives would be shown for ever


@dataclass(frozen=True)
class Video:
    """Frames of some episodes, one after the other, and the results of the episodes."""

    frames: Iterator[Frame]
    """uint8 `(H, W, 3)` each; drawn as they are asked for, once."""
    outcomes: Outcomes
    length: int
    """Number of frames."""
    hold: int
    """How often the last frame of an episode is repeated."""

    def notes(self) -> Iterator[str]:
        """Yield for each frame which episode and step it shows, and in the end the return and the outcome."""
        lengths, returns, successes = self.outcomes.lengths, self.outcomes.returns, self.outcomes.successes
        for episode, (length, value) in enumerate(zip(lengths, returns, strict=True)):
            name = f"{episode + 1} of {len(lengths)}"
            yield from (f"episode {name}, step {step}" for step in range(length))
            outcome = "" if successes is None else "success, " if successes[episode] else "failure, "
            # As short as three panels need it: a longer text is cut.
            yield from [f"{name}: {outcome}return {value:.2f}, step {length}"] * self.hold


def record(
    agent: Actor,
    world: World | None = None,
    *,
    episodes: int = 1,
    seed: int = 0,
    deterministic: bool = False,
    scale: int = 256,
    hold: int = 4,
    max_episode_steps: int = MAX_EPISODE_STEPS,
    on_progress: OnProgress = silent,
) -> Video:
    """Record the first episodes of an evaluation: the same seeds and noise, so the same returns.

    A MiniGrid agent that sees its own view only is shown from above, in its look, with its own view beside.

    Args:
        agent: an Agent, or `RandomAgent`.
        world: where to play; None: the agent's own.
        episodes: how many, in order.
        seed: as in `evaluate`.
        deterministic: as in `evaluate`.
        scale: the shorter side of a frame has at least so many pixels (whole factors, nearest neighbour).
        hold: how often the last frame of an episode is repeated.
        max_episode_steps: an episode that is longer is an error.
        on_progress: called with the episodes that have ended and those in all.

    Raises:
        InvalidInputError: for numbers below 1, no world, images that are neither grey nor of three colours, or an
            endless episode; and, as the frames are drawn, for an
            environment that is not deterministic: they are drawn by playing the episodes again.
        IncompatibleError: where the agent's images or actions are not the world's.
    """
    check_seed(seed)
    check_counts(episodes=episodes, scale=scale, hold=hold)
    world = world_of(agent, world)
    actions: list[npt.NDArray[Any]] = []
    observed: list[bytes] = []

    def watch(step: Step, chosen: npt.NDArray[Any]) -> None:
        actions.append(chosen)
        observed.append(_digest(step.observations[0]))

    with closing(make_vec(world, 1, seed=seed, autoreset="disabled")) as env:
        require_recordable(world, env.single_observation_space.shape or (0,))
        outcomes = play(
            agent,
            env,
            range(episodes),
            seed=seed,
            deterministic=deterministic,
            max_episode_steps=max_episode_steps,
            watch=watch,
            on_progress=on_progress,
        )
    taken = _Taken(seed, outcomes.lengths.tolist(), actions, observed, hold)
    length = int(outcomes.lengths.sum()) + hold * episodes
    return Video(_frames(world, taken, scale), outcomes, length, hold)


def require_recordable(world: World, shape: Sequence[int]) -> None:
    """Raise InvalidInputError where no video shows a world: its images have not 1 or 3 channels, or it never renders.

    Args:
        world: what is shown; where its agent sees vectors, the environment is rendered.
        shape: of its observations.
    """
    if not is_image(tuple(shape)):
        if "pixels" in family_of(world).sensors_of(world):
            return
        raise InvalidInputError(f"video: {world.environment} does not render images; nothing was played")
    channels = shape[-1] // world.frame_stack
    if channels not in (1, 3):
        raise InvalidInputError(
            f"video: expected images of 1 or 3 channels, found {channels} in {world.environment}; nothing was played"
        )


@dataclass(frozen=True)
class _Taken:
    """The actions of some episodes, one after the other, and digests of what was observed before each."""

    seed: int
    lengths: list[int]
    actions: list[npt.NDArray[Any]]
    observed: list[bytes]
    hold: int

    def replay(self, world: World, *, check: bool = False) -> Iterator[npt.NDArray[np.uint8]]:
        """Play the episodes again in a world and yield its images `(H, W, C)`, the last of each repeated.

        Raises:
            InvalidInputError: where an episode ends at another step, or (`check`) something else is observed.
        """
        number = 0
        with closing(make_vec(world, 1, seed=self.seed, autoreset="disabled")) as env:
            for episode, length in enumerate(self.lengths):
                observation, _ = env.reset(seed=cast("Any", [episode_seed(self.seed, episode)]))
                yield observation[0].copy()
                for step in range(length):
                    same = not check or self.observed[number] == _digest(observation[0])
                    observation, _, terminated, truncated, _ = env.step(self.actions[number])
                    if not same or bool(terminated[0] | truncated[0]) != (step == length - 1):
                        raise InvalidInputError(
                            f"{world.environment} is not deterministic: an episode that was played again with the same "
                            "seed and actions came out differently, so that it cannot be shown"
                        )
                    number += 1
                    yield observation[0].copy()
                for _ in range(self.hold - 1):
                    yield observation[0].copy()


def _frames(world: World, taken: _Taken, scale: int) -> Iterator[Frame]:
    plain, above = plain_world(world), world_from_above(world)
    shown = [one for one in (plain, above) if one is not None and one != world]
    for images in zip(taken.replay(world, check=True), *map(taken.replay, shown), strict=True):
        frame, *before = [coloured(image) for image in reversed(images[-2 if above else -1 :])]
        yield inset(enlarge(frame, scale), before[0]) if above else enlarge(frame, scale)


def _digest(observation: npt.NDArray[Any]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(observation).tobytes()).digest()


def video_side_by_side(
    shown: Sequence[tuple[str, Agent]],
    path: Path,
    *,
    episodes: int = 3,
    seed: int = 0,
    deterministic: bool = False,
    on_progress: OnProgress = silent,
) -> list[Path]:
    """Show agents on the same episodes, a panel each with steps and results; write `<path>.mp4` and `<path>.gif`.

    Args:
        shown: captions and agents; each plays in its own world.
        path: without suffix.
        episodes: how many, one after the other.
        seed: of the episodes.
        deterministic: greedy actions instead of sampled ones.
        on_progress: called with the episodes played and drawn, and those in all: drawing all panels counts as one more.
    """
    reports = [part(on_progress, number, len(shown) + 1) for number in range(len(shown) + 1)]
    videos = [
        record(agent, episodes=episodes, seed=seed, deterministic=deterministic, on_progress=report)
        for (_, agent), report in zip(shown, reports, strict=False)
    ]
    length = min(_FRAMES, max(video.length for video in videos))
    panels = [islice(video.frames, _FRAMES) for video in videos]
    frames = side_by_side(panels, [caption for caption, _ in shown], notes=[video.notes() for video in videos])
    names = [path.name + suffix for suffix in (".mp4", ".gif")]
    with staged_files(path.parent) as stage, (stage / names[1]).open("wb") as stream:
        encoded = _encode_mp4(frames, stage / names[0], _FPS)
        encode_gif(_reported(encoded, length, episodes, reports[-1]), stream, _FPS)
    return [path.with_name(name) for name in names]


def _reported(frames: Iterable[Frame], length: int, episodes: int, on_progress: OnProgress) -> Iterator[Frame]:
    """Yield frames, and report them as a share of the episodes."""
    for number, frame in enumerate(frames, start=1):
        yield frame
        on_progress(episodes * number // length, episodes)


def write_mp4(frames: Iterable[Frame], path: str | Path, *, fps: int = 10, quality: int = 18) -> Path:
    """Write frames as H.264, 4:2:0, so that browsers play it; the file appears whole or not at all.

    Args:
        frames: uint8 `(H, W, 3)` each; odd sizes get one more row or column.
        path: ends in `.mp4`; its folder is made.
        fps: frames a second.
        quality: x264's constant rate factor, 0 (lossless) to 51.

    Raises:
        InvalidInputError: for something else than frames, another suffix, or numbers out of range.
        ArtefactError: where the file cannot be written.
    """
    path = _checked(path, ".mp4", fps)
    if not 0 <= quality <= 51:
        raise InvalidInputError(f"quality: expected 0 to 51, found {quality}")
    with staged_file(path) as beside:
        for _ in _encode_mp4(frames, beside, fps, quality):
            pass
    return path


def write_gif(frames: Iterable[Frame], path: str | Path, *, fps: int = 10) -> Path:
    """Write frames as a GIF that loops for ever; see `write_mp4`. GIF counts in hundredths of a second, 2 at least."""
    path = _checked(path, ".gif", fps)
    with staged_file(path) as beside, beside.open("wb") as stream:
        encode_gif(frames, stream, fps)
    return path


def _checked(path: str | Path, suffix: str, fps: int) -> Path:
    path = Path(path)
    check_counts(fps=fps)
    if path.suffix != suffix:
        raise InvalidInputError(f"path: expected a name that ends in {suffix}, found {path.name!r}")
    return path


def encode_gif(frames: Iterable[Frame], stream: IO[bytes], fps: int) -> None:
    """Write frames uint8 `(H, W, 3)` into a stream as a GIF that loops for ever."""
    # Octrees take a quarter of the time of Pillow's own choice, median cut, and the files are smaller.
    images = (
        Image.fromarray(frame).quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        for frame in check_frames(frames)
    )
    # Frames that are equal to the one before stay: the length of a video is the number of its frames.
    next(images).save(
        stream, format="GIF", save_all=True, append_images=images, duration=max(20, round(100 / fps) * 10), loop=0
    )


def _encode_mp4(frames: Iterable[Frame], path: Path, fps: int, quality: int = 18) -> Iterator[Frame]:
    """Yield the frames once they are encoded; the file is whole after the last."""
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

    checked = check_frames(frames)
    first = next(checked)
    height, width = pad_even(first).shape[:2]
    # The index goes to the front of the file, so that a browser starts before it has all of it.
    options = ["-crf", str(quality), "-movflags", "+faststart", "-f", "mp4"]
    with FFMPEG_VideoWriter(str(path), (width, height), fps, codec="libx264", ffmpeg_params=options) as writer:
        process = writer.proc
        try:
            for frame in chain([first], checked):
                writer.write_frame(pad_even(frame))
                yield frame
            reason = process.communicate()[1].decode(errors="replace")
        except OSError as error:
            reason = str(error)
    if process.returncode != 0:
        lines = reason.strip().splitlines()
        raise ArtefactError(f"cannot encode a video: {lines[-1] if lines else f'ffmpeg gave {process.returncode}'}")

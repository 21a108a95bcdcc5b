"""Films of rollouts: recorded as arrays, written as MP4 (H.264, 4:2:0, plays in browsers) or GIF."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from gymnasium.vector import VectorEnv

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.rollouts.actors import Actor
from rlstitch.rollouts.episodes import MAX_EPISODE_STEPS, Moment, Played, check_seed, episode_seed, play
from rlstitch.rollouts.evaluation import check_counts, world_of
from rlstitch.rollouts.panels import Frames, check_frames, enlarge, inset, pad_even
from rlstitch.storage.files import write_bytes

if TYPE_CHECKING:
    from rlstitch.envs import World


_FILM_TILE = 32


@dataclass(frozen=True)
class Film:
    """Frames of some episodes, one after the other, and what the episodes came to."""

    frames: Frames
    """uint8 `(T, H, W, 3)`"""
    played: Played


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
) -> Film:
    """Film the first episodes of an evaluation: the same seeds and noise, so the same returns.

    A MiniGrid agent that sees its own view only is filmed from above, in its look, with its own view beside.

    Args:
        agent: an Agent, or `RandomAgent`.
        world: where to play; None: the agent's own.
        episodes: how many, in order.
        seed: as in `evaluate`.
        deterministic: as in `evaluate`.
        scale: the shorter side of a frame has at least so many pixels (whole factors, nearest neighbour).
        hold: how often the last frame of an episode is repeated.
        max_episode_steps: an episode that is longer is an error.

    Raises:
        InvalidInputError: for numbers below 1, no world, an endless episode, or an environment that is not
            deterministic: a film is made by playing the episodes again.
        IncompatibleError: where the agent's images or actions are not the world's.
    """
    from rlstitch.envs import make_vec

    check_seed(seed)
    check_counts(episodes=episodes, scale=scale, hold=hold)
    world = world_of(agent, world)
    env = make_vec(world, 1, seed=seed, autoreset="disabled")
    try:
        camera = _Camera(env, world)
        played = play(
            agent,
            env,
            range(episodes),
            seed=seed,
            deterministic=deterministic,
            max_episode_steps=max_episode_steps,
            watch=camera.look,
        )
        return Film(camera.film(seed, played.lengths, scale, hold), played)
    finally:
        env.close()


class _Camera:
    """Notes what an agent saw and did; the same episodes are then played again and seen from above."""

    def __init__(self, env: VectorEnv[Any, Any, Any], world: World) -> None:
        self._world = world
        self._above = hasattr(env, "symbolic") and world.view == "agent" and world.backend == "gymnasium"
        # For people: one image at a time, as large as it is drawn, whatever the agent sees of it.
        self._plain = replace(world, frame_stack=1, size=None, crop=None)
        self._actions: list[Any] = []
        self._seen: list[str] = []

    def look(self, moment: Moment) -> None:
        """Take down one step of the only environment."""
        self._actions.append(np.array(moment.actions[:1]))
        self._seen.append(_digest(moment.observations[0]))

    def film(self, seed: int, lengths: npt.NDArray[np.int64], scale: int, hold: int) -> Frames:
        """Return all episodes, from the first frame to the one after the last action, `(T, H, W, 3)`."""
        frames = self._replay(self._world, seed, lengths, hold, checked=True)
        if not self._above:
            if self._plain != self._world:
                frames = self._replay(self._plain, seed, lengths, hold)
            return enlarge(frames, scale)
        # For people: tiles as large as MiniGrid draws them for its own window, whatever the agent sees.
        tile_size = max(_FILM_TILE, self._world.tile_size)
        above = self._replay(replace(self._world, view="full", tile_size=tile_size), seed, lengths, hold)
        return inset(enlarge(above, scale), frames)

    def _replay(
        self, world: World, seed: int, lengths: npt.NDArray[np.int64], hold: int, *, checked: bool = False
    ) -> Frames:
        from rlstitch.envs import make_vec

        env = make_vec(world, 1, seed=seed, autoreset="disabled")
        actions, seen, frames = iter(self._actions), iter(self._seen), list[Any]()
        try:
            for episode, length in enumerate(lengths):
                observation, _ = env.reset(seed=cast("Any", [episode_seed(seed, episode)]))
                frames.append(np.array(observation[0]))
                for step in range(length):
                    same = not checked or next(seen) == _digest(observation[0])
                    observation, _, ended, cut, _ = env.step(next(actions))
                    if not same or bool(ended[0] | cut[0]) != (step == length - 1):
                        raise InvalidInputError(
                            f"{world.environment} is not deterministic: an episode that was played again with the same "
                            "seed and actions came out differently, so that it cannot be filmed"
                        )
                    frames.append(np.array(observation[0]))
                frames += [frames[-1]] * (hold - 1)
        finally:
            env.close()
        # Grey images become colours that are equal.
        film = np.stack(frames)
        return film.repeat(3, axis=3) if film.shape[3] == 1 else film


def _digest(observation: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(observation).tobytes()).hexdigest()


def write_mp4(frames: Frames, path: str | Path, *, fps: int = 10, quality: int = 18) -> Path:
    """Write frames as H.264, 4:2:0, so that browsers play it; the file appears whole or not at all.

    Args:
        frames: uint8 `(T, H, W, 3)`; odd sizes get one more row or column.
        path: ends in `.mp4`; its folder is made.
        fps: frames a second.
        quality: x264's constant rate factor, 0 (lossless) to 51.

    Raises:
        InvalidInputError: for something else than frames, another suffix, or numbers out of range.
        ArtefactError: where the file cannot be written.
    """
    frames = pad_even(frames)
    if not 0 <= quality <= 51:
        raise InvalidInputError(f"quality: expected 0 to 51, found {quality}")
    return _write(path, ".mp4", fps, lambda beside: _encode(frames, beside, fps, quality))


def write_gif(frames: Frames, path: str | Path, *, fps: int = 10) -> Path:
    """Write frames as a GIF that loops for ever; see `write_mp4`. GIF counts in hundredths of a second, 2 at least."""
    from PIL import Image

    images = [Image.fromarray(frame) for frame in check_frames(frames)]
    pause = max(20, round(100 / fps) * 10) if fps > 0 else 0

    def save(beside: Path) -> None:
        # Frames that are equal to the one before stay: a film's length is what it says.
        images[0].save(beside, format="GIF", save_all=True, append_images=images[1:], duration=pause, loop=0)

    return _write(path, ".gif", fps, save)


def _write(path: str | Path, suffix: str, fps: int, encode: Callable[[Path], None]) -> Path:
    path = Path(path)
    check_counts(fps=fps)
    if path.suffix != suffix:
        raise InvalidInputError(f"path: expected a name that ends in {suffix}, found {path.name!r}")
    try:
        with tempfile.TemporaryDirectory(prefix="rlstitch-") as folder:
            beside = Path(folder) / f"film{suffix}"
            encode(beside)
            content = beside.read_bytes()
    except OSError as error:
        raise ArtefactError(f"cannot write {path}: {error.strerror or error}") from error
    write_bytes(path, content)
    return path


def _encode(frames: Frames, path: Path, fps: int, quality: int) -> None:
    import imageio_ffmpeg  # type: ignore[import-untyped]

    height, width = frames.shape[1:3]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    codec = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", str(quality)]
    # The index goes to the front of the file, so that a browser starts before it has all of it.
    target = ["-movflags", "+faststart", str(path)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, *codec, *target]
    pixels = np.ascontiguousarray(frames).data.cast("B")
    done = subprocess.run(command, input=pixels, capture_output=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise ArtefactError(f"cannot encode a film: {reason[-1] if reason else f'ffmpeg gave {done.returncode}'}")

"""Make the video of README and those of `videos/`, from the agents of a clone.

    python benchmarks/demo_video.py

`videos/looks.mp4` and `docs/images/demo.gif`: two agents of LavaGapS7 with their own parts, and the encoder of one with
the controller of the other, naively and by an affine map. `videos/sensors.mp4`: an encoder of pixels with a controller
of symbols, in SimpleCrossing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image, ImageSequence

from rlstitch.agents import load_agent
from rlstitch.rollouts.video import video_side_by_side
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.stitch import stitch_agents

WIDTH, COLOURS = 908, 48
"""Of the GIF, so that its file is small."""


def main() -> None:
    """Write the three files."""
    red, green, symbols, pixels = (
        load_agent(f"agents/{name}")
        for name in (
            "lavagap-s7-red-s1",
            "lavagap-s7-green-s2",
            "simplecrossing-symbolic-s5",
            "simplecrossing-green-s2",
        )
    )
    looks, sensors = (gather_pairs(*agents, pairs=1024, seed=0) for agents in ((green, red), (pixels, symbols)))
    naive, affine = (stitch_agents(green, red, looks, method=method).agent for method in ("naive", "affine"))
    across = stitch_agents(pixels, symbols, sensors, method="task_matched").agent
    with tempfile.TemporaryDirectory() as folder:
        _, gif = video_side_by_side(
            [
                ("red agent: its own encoder and controller", red),
                ("green agent: its own encoder and controller", green),
                ("green encoder, red controller: naive", naive),
                ("green encoder, red controller: affine map", affine),
            ],
            Path(folder, "looks"),
            episodes=2,
        )
        video_side_by_side(
            [("symbols: own encoder and controller", symbols), ("encoder of pixels, controller of symbols", across)],
            Path(folder, "sensors"),
            episodes=1,
        )
        for name in ("looks", "sensors"):
            Path("videos", f"{name}.mp4").write_bytes(Path(folder, f"{name}.mp4").read_bytes())
        _write_small(gif, Path("docs/images/demo.gif"))


def _write_small(source: Path, path: Path) -> None:
    """Write a GIF smaller and with fewer colours."""
    frames, durations = [], []
    for frame in ImageSequence.Iterator(Image.open(source)):
        size = (WIDTH, round(WIDTH * frame.height / frame.width))
        small = frame.convert("RGB").resize(size, Image.Resampling.BOX)
        frames.append(small.quantize(COLOURS, dither=Image.Dither.NONE))
        durations.append(frame.info["duration"])
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)


if __name__ == "__main__":
    main()

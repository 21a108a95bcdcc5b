"""The demo from end to end, tiny: what it leaves behind, what it refuses, and what it does with agents that fail."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from moviepy.config import FFMPEG_BINARY
from moviepy.video.io.ffmpeg_reader import ffmpeg_parse_infos
from PIL import Image
from stitch_samples import relativize_quickly

from rlstitch.agents.artefact import load_agent
from rlstitch.api import demo as module
from rlstitch.api import train as training
from rlstitch.api.demo import ATTEMPTS, DemoOutcome, demo
from rlstitch.cli.main import main, parse
from rlstitch.cli.train import Train
from rlstitch.config.files import find_config
from rlstitch.errors import BusyError, InvalidInputError, RlstitchError
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.rollouts import display, video

# A world where episodes soon end in the lava, and a training of a few steps: what the agents can do is no matter here.
TINY = {
    "environment": "MiniGrid-LavaGapS5-v0",
    "total_steps": 128,
    "num_envs": 4,
    "ppo.n_steps": 32,
    "ppo.n_epochs": 1,
    "encoder.latent_dim": 16,
    "evaluation.every_steps": 1000,
    "evaluation.episodes": 2,
    "evaluation.video": False,
    "checkpoint.every_steps": 1000,
}
METHODS = ["random", "native", "native", *["naive", "affine", "relative (post-hoc)"] * 2]


@pytest.fixture(scope="module")
def short() -> Iterator[None]:
    """Few episodes, frames and steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_EPISODES", 12)
        patch.setattr(training, "FINAL_EPISODES", 4)
        patch.setattr(video, "_FRAMES", 6)
        patch.setattr(display, "_TILE", 8)
        relativize_quickly(patch)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture
def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def outcome(folder: Path, short: None) -> DemoOutcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return demo(seed=1, out=Path("my demo"), workers=1, settings=TINY, gate=0.0)


def test_the_table_has_every_row(outcome: DemoOutcome, place: Path) -> None:
    assert [cell.method for cell in outcome.cells] == METHODS
    crossed = [(cell.encoder, cell.controller) for cell in outcome.cells[3:]]
    assert crossed == [("demo-red", "demo-green")] * 3 + [("demo-green", "demo-red")] * 3
    assert all(cell.episodes == 12 for cell in outcome.cells)
    assert {cell.policy for cell in outcome.cells} == {"sampled"}
    assert {cell.policy for cell in outcome.greedy} == {"greedy"}
    assert [cell.method for cell in outcome.greedy] == METHODS
    assert (place / "my demo/cells-greedy.csv").is_file()
    rows = json.loads((place / "my demo/cells.json").read_text())
    rows = rows["rows"] if isinstance(rows, dict) else rows
    assert [row["method"] for row in rows] == METHODS
    assert len((place / "my demo/cells.csv").read_text().splitlines()) == 1 + len(METHODS)


def test_the_page_stands_alone_and_names_what_it_shows(outcome: DemoOutcome, place: Path) -> None:
    page = (place / outcome.report).read_text(encoding="utf-8")
    for text in ("relative (post-hoc)", "demo-red", "Next commands"):
        assert text.lower() in page.lower(), text
    assert "http://" not in page.replace("http://www.w3.org", "")
    text = str(outcome)
    assert outcome.summary in text
    assert str(outcome.report) in text


@pytest.mark.parametrize("name", ["red-encoder-green-controller", "green-encoder-red-controller"])
def test_both_videos_can_be_played(name: str, outcome: DemoOutcome, place: Path) -> None:
    path = place / "my demo/videos" / f"{name}.mp4"
    command = [FFMPEG_BINARY, "-v", "error", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    video = ffmpeg_parse_infos(str(path))
    assert (video["video_n_frames"], video["video_duration"]) == (6, pytest.approx(1.0, abs=0.2))
    with Image.open(path.with_suffix(".gif")) as picture:
        assert picture.format == "GIF"
        assert picture.n_frames >= 2  # equal frames become one that stands longer


def test_every_agent_can_be_loaded_and_knows_its_parents(outcome: DemoOutcome, place: Path) -> None:
    agents = {path.name: load_agent(path) for path in (place / "my demo/agents").iterdir()}
    crossed = {f"demo-{x}-to-{y}-{m}" for x, y in (("red", "green"), ("green", "red")) for m in ("affine", "relative")}
    assert set(agents) == {"demo-red", "demo-green", "demo-red-relativized", "demo-green-relativized"} | crossed
    assert (agents["demo-red"].card.seed, agents["demo-green"].card.seed) == (3, 4)
    assert agents["demo-red-relativized"].card.anchors == agents["demo-green-relativized"].card.anchors
    for x, y in (("red", "green"), ("green", "red")):
        card = agents[f"demo-{x}-to-{y}-affine"].card
        assert [parent.name for parent in card.parents] == [f"demo-{x}", f"demo-{y}"]
        assert card.world.variation == x


def test_what_to_type_next_can_be_typed(outcome: DemoOutcome, place: Path) -> None:
    lines = [shlex.split(command) for _, command in outcome.next_commands]
    assert {line[0] for line in lines} == {"rlstitch", "tensorboard"}
    for program, *arguments in lines:
        if program == "tensorboard":
            assert any(Path(arguments[-1]).rglob("events.out.tfevents.*"))
            continue
        command = parse(arguments)
        if isinstance(command, Train):
            assert find_config(command.config).is_file()
    stitched = next(arguments for program, *arguments in lines if arguments[0] == "stitch")
    assert main([*stitched, "--episodes", "2", "--pairs", "16", "--no-save"]) == 0


def test_agents_that_fail_are_trained_again_and_then_given_up(
    outcome: DemoOutcome,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # In the folder of an older demo, which is taken for one.
    shutil.copytree(place / "my demo", tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree("out/training")
    with pytest.raises(RlstitchError, match=f"the red agent did not reach success 110% in {ATTEMPTS} attempts"):
        demo(seed=1, out=Path("out"), workers=1, settings=TINY, gate=1.1, progress=ProgressReporter())
    assert capsys.readouterr().err.count("training red and green apart") == ATTEMPTS
    seeds = {json.loads(path.read_text())["seed"] for path in Path("out/training").rglob("config.json")}
    assert len(seeds) == 2 * ATTEMPTS


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("words")
    with pytest.raises(InvalidInputError, match=r"out: .*thesis holds something other than a demo \(chapter\.tex\)"):
        demo(out=tmp_path / "thesis", settings=TINY)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]
    (tmp_path / "file").write_text("words")
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("rlstitch: error: out: expected a folder, found the file")
    assert captured.err.count("\n") == 1


def test_a_second_demo_into_one_folder_fails_at_once(tmp_path: Path) -> None:
    class Meanwhile(ProgressReporter):
        def write(self, text: str) -> None:
            """Begin another demo while the first one trains, and end both."""
            demo(out=tmp_path / "out", settings=TINY)

    with pytest.raises(BusyError, match=r"the demo in \S*out is locked by another process"):
        demo(out=tmp_path / "out", settings=TINY, progress=Meanwhile(style="none"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["lock"]


def test_settings_do_not_reach_what_makes_it_a_demo(short: None) -> None:
    config = module._config(
        module.PRESET,
        look="green",
        seed=5,
        attempt=1,
        settings={**TINY, "variation": "blue", "seed": 9, "name": "x", "tile_size": 4},
    )
    assert (config.variation, config.seed, config.name, config.tile_size) == ("green", 100_012, "demo-green", 4)


def test_a_mistake_in_the_settings_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"ppo\.clipp"):
        demo(out=tmp_path / "out", settings={"ppo.clipp": 1})
    assert not (tmp_path / "out").exists()

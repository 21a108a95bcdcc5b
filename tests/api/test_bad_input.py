"""Bad input through the command line: exit status 2 and one line that says what was found and what there is instead."""

from __future__ import annotations

import hashlib
import json
import resource
from pathlib import Path

import pytest
import safetensors.torch
import torch
from stitch_samples import untrained

from rlstitch.agents.artefact import load_agent, save_agent
from rlstitch.cli.main import main
from rlstitch.errors import InvalidInputError
from rlstitch.storage import canonical_json

TRAIN = "train minigrid-empty-random-6x6 --name new --device cpu"
STITCH = "stitch --encoder red --policy green --episodes 2 --pairs 24"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """Run a command that must be refused, and return its one line."""

    def run(line: str) -> str:
        assert main(line.split()) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("rlstitch: error: ")
        assert captured.err.endswith("\n")
        assert captured.err.count("\n") == 1, captured.err
        return captured.err

    return run


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("evaluate rad", "unknown agent 'rad'; did you mean red"),
        ("show grean", "unknown agent 'grean'; did you mean green"),
        ("stitch --encoder red --policy geen", "unknown agent 'geen'; did you mean green"),
        ("relativize rod", "unknown agent 'rod'; did you mean red"),
        ("evaluate ./agents/nobody", "no such folder"),
        ("evaluate red --variation grean", "unknown look 'grean'; did you mean green"),
        ("evaluate red --task scrambld", "unknown MiniGrid task 'scrambld'; did you mean scrambled"),
        ("evaluate red --episodes 0", "episodes: expected at least 1, found 0"),
        ("evaluate red --seed -1", "seed"),
        ("evaluate red --episodes 99999999999999999999", "episodes: expected at most 10,000,000, found 99,999,"),
        ("evaluate red --seed 99999999999999999999", "seed: expected 0 to 2**64 - 1, found 99999999999999999999"),
        ("stitch red green --pairs 99999999999999999999", "pairs: expected at most 10,000,000"),
        ("import nothere.zip --name new --env Nowhere-v0", "cannot read nothere.zip"),
        ("sweep minigrid --dry-run --workers 0", "workers: expected 1 or more, found 0"),
        ("latent run word-embeddings --quick --seeds 99999999999999999999", "seeds: expected at most 1,000"),
        ("stitch --encoder red --policy green --episodes 0", "episodes: expected at least 1, found 0"),
        ("stitch --encoder red --policy green --name a/b", "found 'a/b'"),
        ("relativize red --anchors cafecafe", "unknown anchor set 'cafecafe'"),
        (f"{TRAIN} --variation redd", "unknown look 'redd'; did you mean red"),
        (f"{TRAIN} --task scrambld", "did you mean scrambled"),
        (f"{TRAIN} --set ppo.learning_rat=1", "learning_rate"),
        (f"{TRAIN} --set total_steps=many", "total_steps"),
        (f"{TRAIN} --set environment=MiniGrid-DorKey-5x5-v0", "did you mean MiniGrid-DoorKey-5x5-v0"),
        (f"{TRAIN} --set environment=Blackjack-v1", "Blackjack-v1: expected observations in a uint8 Box (H, W, C)"),
        ("train minigrid-dorkey", "did you mean minigrid-doorkey"),
    ],
)
def test_names_and_numbers(line: str, part: str, two, refused, workplace: Path) -> None:
    before = sorted(str(path) for path in workplace.rglob("*"))
    assert part in refused(line)
    assert sorted(str(path) for path in workplace.rglob("*")) == before


def test_an_unknown_method_is_told_the_nearest(two, refused, workplace: Path) -> None:
    assert "unknown stitching method 'afine'; did you mean affine" in refused(f"{STITCH} --method afine")
    assert not (workplace / "runs").exists()


@pytest.mark.parametrize(
    ("method", "pairs", "part"),
    [("affine", 2, "at least 3"), ("affine", 1, "at least 3"), ("orthogonal", 1, "at least 2"), ("affine", 0, "pairs")],
)
def test_too_few_pairs(method: str, pairs: int, part: str, two, refused, workplace: Path) -> None:
    result = refused(f"stitch --encoder red --policy green --episodes 2 --method {method} --pairs {pairs}")
    assert part in result
    assert f"found {pairs}" in result
    assert sorted(path.name for path in (workplace / "agents").iterdir()) == ["green", "red"]


def test_agents_without_a_common_world(two, stored, refused) -> None:
    stored("full", view="full")
    stored("far", view="full", environment="MiniGrid-Empty-8x8-v0")
    assert "view" in refused("stitch --encoder red --policy full")
    assert "no common observations" in refused("stitch --encoder far --policy full")


def test_relative_agents_that_do_not_fit(two, stored, refused) -> None:
    near, far = (stored(f"rel{count}", representation="relative", relative__anchors=count) for count in (8, 9))
    assert near.card.anchors is not None
    assert far.card.anchors is not None
    result = refused("stitch --encoder rel8 --policy rel9 --method relative --pairs 24")
    assert near.card.anchors.identity in result
    assert far.card.anchors.identity in result
    result = refused("stitch --encoder rel8 --policy green --method relative --pairs 24")
    assert "agent 'green' is absolute" in result
    result = refused("stitch --encoder rel8 --policy green --method naive --pairs 24")
    assert "agent 'rel8' is relative and 'green' is absolute" in result


def test_an_existing_agent_is_kept_to_the_byte(two, refused, workplace: Path) -> None:
    before = {path: path.read_bytes() for path in (workplace / "agents").rglob("*") if path.is_file()}
    for line in (
        "stitch --encoder green --policy red --name red",
        "relativize green --name red",
        "train minigrid-empty-random-6x6 --name red --device cpu",
    ):
        result = refused(line)
        assert "an agent 'red' is there already" in result
        assert "--force" in result
    assert {path: path.read_bytes() for path in (workplace / "agents").rglob("*") if path.is_file()} == before


def test_weights_that_are_not_finite_are_not_saved(workplace: Path) -> None:
    agent = untrained("spoilt")
    with torch.no_grad():
        agent.controller.action_head.bias[0] = float("nan")
    with pytest.raises(InvalidInputError, match=r"action_head\.bias.*NaN"):
        save_agent(agent, workplace / "agents/spoilt")
    assert not (workplace / "agents/spoilt").exists()


def craft(folder: Path, value: float) -> None:
    """Spoil one weight and mend every checksum, as somebody would who wants it to be loaded."""
    path, manifest = folder / "encoder.safetensors", folder / "agent.json"
    tensors = safetensors.torch.load(path.read_bytes())
    tensors["linear.bias"][0] = value
    path.write_bytes(safetensors.torch.save(tensors))
    card = json.loads(manifest.read_text(encoding="utf-8"))
    del card["checksum"]
    card["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    card["checksum"] = hashlib.sha256(canonical_json(card)).hexdigest()
    manifest.write_text(json.dumps(card), encoding="utf-8")


def test_weights_that_are_not_finite_are_not_loaded(two, refused, workplace: Path) -> None:
    craft(workplace / "agents/red", 0.25)
    assert load_agent("red").card.name == "red"  # mended well enough to be loaded
    craft(workplace / "agents/red", float("nan"))
    for line in ("evaluate red", STITCH, "show red", "relativize red"):
        result = refused(line)
        assert "encoder.safetensors: tensor 'linear.bias' holds NaN or infinity" in result


@pytest.mark.parametrize("name", ["agent.json", "encoder.safetensors", "controller.safetensors"])
@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_agent(name: str, harm: str, two, refused, workplace: Path) -> None:
    path = workplace / "agents/red" / name
    content = path.read_bytes()
    middle = len(content) // 2
    if harm == "gone":
        path.unlink()
    else:
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:middle], "flipped": flipped, "empty": b""}[harm])
    assert name in refused("evaluate red --episodes 1")
    assert name in refused(STITCH)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("runs", "evaluate red --episodes 2"),
        ("runs", f"{STITCH} --no-save"),
        ("runs", f"{TRAIN} --set total_steps=128 num_envs=4 ppo.n_steps=32"),
        ("anchors", "relativize red --anchors 8 --episodes 2"),
    ],
)
def test_a_file_where_a_folder_should_be(name: str, line: str, two, quick, refused, workplace: Path) -> None:
    (workplace / name).write_text("in the way", encoding="utf-8")
    assert name in refused(line)
    assert (workplace / name).read_text(encoding="utf-8") == "in the way"


def test_a_file_named_agents(two, refused, workplace: Path) -> None:
    (workplace / "agents").rename(workplace / "elsewhere")
    (workplace / "agents").write_text("in the way", encoding="utf-8")
    line = "stitch --encoder elsewhere/red --policy elsewhere/green --episodes 2 --pairs 24"
    assert "agents" in refused(line)
    assert "unknown agent 'rad'" in refused("evaluate rad")


@pytest.mark.parametrize(
    ("line", "limit"),
    [
        (STITCH, 16_384),
        # Here the first file that grows too large is TensorBoard's, which a thread of its own writes.
        (
            f"{TRAIN} --set total_steps=256 num_envs=4 ppo.n_steps=32 evaluation.episodes=1 evaluation.video=true "
            "evaluation.every_steps=128",
            20_480,
        ),
    ],
)
def test_a_full_disk(line: str, limit: int, two, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in (workplace / "agents").rglob("*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        status = main(line.split())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    printed = capsys.readouterr().err
    assert status == 2, printed
    assert "Traceback" not in printed
    errors = [text for text in printed.splitlines() if text.startswith("rlstitch: error: ")]
    assert len(errors) == 1, printed
    assert "File too large" in errors[0]
    assert {path: path.read_bytes() for path in (workplace / "agents").rglob("*") if path.is_file()} == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(refused, workplace: Path) -> None:
    result = refused("train minigrid-empty-random-6x6 --name new --device cuda")
    assert "'cuda' was asked for, torch finds no CUDA device (use auto or cpu)" in result
    assert list(workplace.iterdir()) == []

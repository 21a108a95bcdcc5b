"""A training that was cut off and resumed gives the agent of an uninterrupted one, bit for bit."""

import functools
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlstitch.agents.artefact import load_agent
from rlstitch.api.train import train
from rlstitch.errors import ArtefactError, InvalidInputError

# Cuts itself off right after the second checkpoint and some steps more, at a moment that needs no clock.
CUT_OFF = """
import json, os, signal, sys
from pathlib import Path
import rlstitch.training.callbacks as callbacks
from rlstitch.config.training import TrainConfig
from rlstitch.api.train import train

# A background job inherits that Ctrl-C is ignored; a user's terminal does not.
signal.signal(signal.SIGINT, signal.default_int_handler)
step = callbacks.CheckpointCallback._on_step

def cut_off(self):
    if self.state.number == 2 and self.num_timesteps >= 600:
        os.kill(os.getpid(), int(sys.argv[2]))
    return step(self)

callbacks.CheckpointCallback._on_step = cut_off
trained = train(TrainConfig.model_validate(json.loads(sys.argv[1])), force="force" in sys.argv, progress="none")
print(trained.ended, trained.folder)
"""


def weights(folder):
    agent = load_agent(folder)
    return {**agent.encoder.state_dict(), **{f"c.{k}": v for k, v in agent.controller.state_dict().items()}}


def equal(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def cut_off(config, how, folder, *options):
    arguments = [sys.executable, "-c", CUT_OFF, json.dumps(config.resolved()), str(int(how)), *options]
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def working_folder(tiny, tmp_path_factory):
    """A folder where a config was trained, and how the process ended that was cut off; each is made once."""

    @functools.cache
    def make(representation, how=None):
        folder, config = tmp_path_factory.mktemp(representation), tiny(representation=representation)
        if how is not None:
            return folder, cut_off(config, how, folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            train(config, progress="none")
        return folder, None

    return make


@pytest.fixture
def killed(working_folder, tmp_path, monkeypatch):
    """A copy of the folder where a training was killed."""
    folder, ended = working_folder("absolute", signal.SIGKILL)
    assert ended.returncode == -signal.SIGKILL
    monkeypatch.chdir(shutil.copytree(folder, tmp_path, dirs_exist_ok=True))
    return tmp_path


@pytest.mark.parametrize("representation", ["absolute", "relative"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_resumed_equals_uninterrupted(tiny, working_folder, tmp_path, monkeypatch, representation, how):
    config = tiny(representation=representation)
    whole, _ = working_folder(representation)
    original, ended = working_folder(representation, how)
    broken = shutil.copytree(original, tmp_path / "broken")
    if how == signal.SIGKILL:
        assert ended.returncode == -signal.SIGKILL
    else:
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith("interrupted ")
        assert load_agent(broken / ended.stdout.split()[1]).card.name == "tiny"
    assert not (broken / "agents" / "tiny").exists()
    monkeypatch.chdir(broken)
    resumed = train(config, resume=True, progress="none")
    assert resumed.ended == "finished"
    assert equal(weights(whole / "agents" / "tiny"), weights(broken / "agents" / "tiny"))
    curves = [json.loads(next(f.glob("runs/*/curve.json")).read_text()) for f in (whole, broken)]
    assert curves[0] == curves[1]
    assert [row["steps"] for row in curves[0]] == [256, 512, 768, 1024]


def test_another_seed_gives_another_agent(tiny, working_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(working_folder("absolute")[0], tmp_path, dirs_exist_ok=True))
    train(tiny(seed=4, name="other"), progress="none")
    assert not equal(weights("agents/tiny"), weights("agents/other"))


def test_nothing_is_overwritten_without_force(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny(total_steps=256)
    train(config, progress="none")
    before = weights("agents/tiny")
    with pytest.raises(InvalidInputError, match="there already"):
        train(config, progress="none")
    assert train(config, resume=True, progress="none").ended == "finished"
    train(config, force=True, progress="none")
    assert equal(before, weights("agents/tiny"))
    train(tiny(total_steps=256, seed=9), force=True, progress="none")
    assert not equal(before, weights("agents/tiny"))


def test_an_unfinished_run_is_not_lost_by_mistake(tiny, killed):
    with pytest.raises(InvalidInputError, match="resume=True continues"):
        train(tiny(), progress="none")


def test_what_a_forced_run_replaces_is_kept_until_it_has_ended(tiny, working_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(working_folder("absolute")[0], tmp_path, dirs_exist_ok=True))
    config = tiny()
    (run_folder,) = Path().glob("runs/tiny-*")
    agent, curve = weights("agents/tiny"), (run_folder / "curve.json").read_bytes()
    for _ in range(2):  # the second one replaces what the first one left unfinished, too
        assert cut_off(config, signal.SIGKILL, tmp_path, "force").returncode == -signal.SIGKILL
    older = tmp_path / "runs/_grid/older" / run_folder.name
    assert (older / "0/curve.json").read_bytes() == curve
    assert (older / "1/checkpoints").is_dir()
    assert equal(weights("agents/tiny"), agent)
    assert train(config, force=True, resume=True, progress="none").ended == "finished"
    assert not older.exists()
    assert (run_folder / "curve.json").read_bytes() == curve


def test_a_damaged_checkpoint_is_refused(tiny, killed):
    newest = sorted(killed.glob("runs/*/checkpoints/*"))[-1]
    damaged = newest / "optimizer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    with pytest.raises(ArtefactError, match="optimizer"):
        train(tiny(), resume=True, progress="none")

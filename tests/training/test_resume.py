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

# Each training cuts itself off right after the second checkpoint and some steps more, at a moment that needs no clock.
# All are forks of one process, since most of the time of each would go into its imports.
CUT_OFF = """
import json, os, signal, sys
import torch._dynamo  # the first optimizer imports it
import rlstitch.training.callbacks as callbacks
from rlstitch.config.training import TrainConfig
from rlstitch.api.train import train

# A background job inherits that Ctrl-C is ignored; a user's terminal does not.
signal.signal(signal.SIGINT, signal.default_int_handler)
step = callbacks.CheckpointCallback._on_step

def cut_off(self):
    if self.state.number == 2 and self.num_timesteps >= 600:
        os.kill(os.getpid(), how)
    return step(self)

callbacks.CheckpointCallback._on_step = cut_off
statuses = []
for folder, config, how, force in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        os.chdir(folder)
        trained = train(TrainConfig.model_validate(config), force=force, progress="none")
        print(trained.ended, trained.folder, file=open("ended", "w"))
        sys.exit()
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(statuses))
"""


def weights(folder):
    agent = load_agent(folder)
    return {**agent.encoder.state_dict(), **{f"c.{k}": v for k, v in agent.controller.state_dict().items()}}


def equal(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def cut_off(*trainings):
    """Exit statuses of trainings that are cut off: of each its folder, config, signal, and whether it is forced."""
    given = json.dumps([(str(folder), config.resolved(), how, force) for folder, config, how, force in trainings])
    command = [sys.executable, "-c", CUT_OFF, given]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """A folder where a config was trained, made once for each representation."""

    @functools.cache
    def make(representation):
        folder = tmp_path_factory.mktemp(representation)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            train(tiny(representation=representation), progress="none")
        return folder

    return make


@pytest.fixture(scope="module")
def broken(tiny, tmp_path_factory):
    """By representation and signal: a folder where a training was cut off, and its exit status."""
    parts, signals = ("absolute", "relative"), (signal.SIGKILL, signal.SIGINT)
    cases = [(part, how, tmp_path_factory.mktemp(part)) for part in parts for how in signals]
    statuses = cut_off(*[(folder, tiny(representation=part), how, False) for part, how, folder in cases])
    return {(part, how): (folder, status) for (part, how, folder), status in zip(cases, statuses, strict=True)}


@pytest.fixture
def killed(broken, tmp_path, monkeypatch):
    """A copy of the folder where a training was killed."""
    folder, status = broken["absolute", signal.SIGKILL]
    assert status == -signal.SIGKILL
    monkeypatch.chdir(shutil.copytree(folder, tmp_path, dirs_exist_ok=True))
    return tmp_path


@pytest.mark.parametrize("representation", ["absolute", "relative"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_resumed_equals_uninterrupted(tiny, whole, broken, tmp_path, monkeypatch, representation, how):
    config = tiny(representation=representation)
    finished = whole(representation)
    original, status = broken[representation, how]
    resumed = shutil.copytree(original, tmp_path / "resumed")
    if how == signal.SIGKILL:
        assert status == -signal.SIGKILL
    else:
        ended, folder = (original / "ended").read_text().split()
        assert (status, ended) == (0, "interrupted")
        assert load_agent(resumed / folder).card.name == "tiny"
    assert not (resumed / "agents" / "tiny").exists()
    monkeypatch.chdir(resumed)
    assert train(config, resume=True, progress="none").ended == "finished"
    assert equal(weights(finished / "agents" / "tiny"), weights(resumed / "agents" / "tiny"))
    curves = [json.loads(next(f.glob("runs/*/curve.json")).read_text()) for f in (finished, resumed)]
    assert curves[0] == curves[1]
    assert [row["steps"] for row in curves[0]] == [256, 512, 768, 1024]


def test_the_number_of_processes_changes_nothing(tiny, whole, killed):
    assert train(tiny(processes=2), resume=True, progress="none").ended == "finished"
    assert equal(weights(whole("absolute") / "agents" / "tiny"), weights("agents/tiny"))


def test_another_seed_gives_another_agent(tiny, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(whole("absolute"), tmp_path, dirs_exist_ok=True))
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


def test_what_a_forced_run_replaces_is_kept_until_it_has_ended(tiny, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(whole("absolute"), tmp_path, dirs_exist_ok=True))
    config = tiny()
    (run_folder,) = Path().glob("runs/tiny-*")
    agent, curve = weights("agents/tiny"), (run_folder / "curve.json").read_bytes()
    # The second one replaces what the first one left unfinished, too.
    assert cut_off(*[(tmp_path, config, signal.SIGKILL, True)] * 2) == [-signal.SIGKILL] * 2
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

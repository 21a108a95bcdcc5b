"""`rlstitch push` and `rlstitch pull`, against a server of this machine that speaks the Hub's HTTP API."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
import yaml
from hub_server import TOKEN, Hub, hub_server
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from rlstitch.agents.artefact import load_agent, weights_sha256
from rlstitch.api.hub.pull import pull
from rlstitch.api.hub.push import push
from rlstitch.api.import_agent import import_agent
from rlstitch.api.stitch import stitch
from rlstitch.cli.main import main
from rlstitch.envs import World
from rlstitch.errors import ArtefactError, MissingExtraError

constants = pytest.importorskip("huggingface_hub.constants")
# The client's own calls of httpx.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
OWN = {"agent.json", "encoder.safetensors", "controller.safetensors"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """An empty Hub, and a token for it."""
    with hub_server() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "".join(template[1:]))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def metadata(hub: Hub, repo: str) -> dict:
    return yaml.safe_load(hub.files(repo)["README.md"].decode().split("---\n")[1])


def test_a_pushed_agent_comes_back_byte_for_byte(hub: Hub, two, workplace: Path, capsys) -> None:
    assert main(["push", "red", "me/red-door", "--episodes", "3", "--private"]) == 0
    printed = capsys.readouterr()
    assert f"page     {hub.url}/me/red-door\n" in printed.out
    assert "3 episodes" in printed.out
    assert TOKEN not in printed.out + printed.err
    assert hub.private == {"me/red-door"}
    assert set(hub.files("me/red-door")) == {*OWN, "README.md", ".gitattributes"}

    assert main(["pull", "me/red-door"]) == 0
    assert "agent    agents/red-door\n" in capsys.readouterr().out
    here = workplace / "agents" / "red-door"
    assert {path.name for path in here.iterdir()} == {*OWN, "README.md"}
    assert all((here / name).read_bytes() == (workplace / "agents" / "red" / name).read_bytes() for name in OWN)
    assert load_agent("red-door").card.name == "red-door"

    os.environ["HF_TOKEN"] = ""  # what is public needs none; the variables are those of a new process
    line = [sys.executable, "-m", "rlstitch.cli.main", "pull", "me/red-door", "--name", "again"]
    done = subprocess.run(line, env={**os.environ, "HF_ENDPOINT": hub.url}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert load_agent("again").card.name == "again"


def test_the_card_states_world_results_parents_and_use(hub: Hub, two) -> None:
    joined = stitch("red", "green", name="both", pairs=24, episodes=2).agent
    assert joined.card.training is None
    push("red", "me/red", episodes=0)
    assert "model-index" not in metadata(hub, "me/red")
    outcome = push("both", "me/both", episodes=3)
    assert outcome.base_models == ("me/red",), "green was not pushed"
    push("green", "me/green", episodes=0)
    push("red", "you/green", episodes=0)
    push("both", "you/both", episodes=0)
    assert "base_model" not in metadata(hub, "you/both"), "an agent of this name, but with other weights"

    outcome = push("both", "me/both", episodes=3)
    data = metadata(hub, "me/both")
    assert data["base_model"] == ["me/red", "me/green"]
    assert (data["library_name"], data["pipeline_tag"]) == ("rlstitch", "reinforcement-learning")
    (index,) = data["model-index"]
    (result,) = index["results"]
    assert index["name"] == "both"
    assert result["dataset"]["type"] == joined.card.world.environment
    assert outcome.measured is not None
    assert result["metrics"][0] == {
        "type": "mean_reward",
        "value": outcome.measured.return_mean,
        "name": "mean_reward",
    }
    text = hub.files("me/both")["README.md"].decode()
    assert all(parent.sha256 in text for parent in joined.card.parents)
    assert "rlstitch pull me/both\n" in text
    assert joined.card.world.environment in text


def test_an_agent_that_states_its_results_is_not_played(hub: Hub) -> None:
    outcome = push("doorkey-red-s1", "me/door")
    stated = load_agent("doorkey-red-s1").card.training
    assert stated is not None
    values = {m["type"]: m["value"] for m in metadata(hub, "me/door")["model-index"][0]["results"][0]["metrics"]}
    assert values == {"mean_reward": stated.return_mean, "success_rate": stated.success_rate}
    assert str(outcome.measured) == "0.961 [0.959, 0.963], success 100.0%, 100 episodes"


def test_a_video_is_recorded_kept_and_removed_with_its_agent(hub: Hub, stored, short_films, workplace: Path) -> None:
    stored("cart", variation="standard", environment="MiniGrid-LavaCrossingS9N1-v0")
    push("cart", "me/cart", episodes=0, video=True)
    film = hub.files("me/cart")["replay.mp4"]
    assert film[4:8] == b"ftyp"
    folder = pull("me/cart", name="here").folder
    (folder / "README.md").write_text("# My own words\n")
    push("here", "me/here")
    assert hub.files("me/here")["replay.mp4"] == film
    assert hub.files("me/here")["README.md"] == b"# My own words\n"
    (folder / "replay.mp4").unlink()
    push("here", "me/here")
    assert "replay.mp4" not in hub.files("me/here")


def test_what_is_altered_or_foreign_is_not_pulled(hub: Hub, two, workplace: Path) -> None:
    push("red", "me/red", episodes=0)
    whole = hub.files("me/red")
    weights = bytearray(whole["encoder.safetensors"])
    weights[-1] ^= 1
    manifest = json.loads(whole["agent.json"]) | {"seed": 99}
    cases = {
        "its sha256 is not the one in agent.json": {"encoder.safetensors": bytes(weights)},
        "its checksum does not fit its content": {"agent.json": json.dumps(manifest).encode()},
        "expected at most 1,048,576 bytes": {"agent.json": b" " * (2**20 + 1)},
        "me/bad: expected an agent of rlstitch, found no agent.json": {"agent.json": None},
    }
    for message, changes in cases.items():
        files = {name: content for name, content in (whole | changes).items() if content is not None}
        hub.commit("me/bad", files)
        with pytest.raises(ArtefactError, match=message) as caught:
            pull("me/bad")
        assert str(caught.value).startswith("me/bad")
        assert {path.name for path in (workplace / "agents").iterdir()} == {"red", "green"}
    hub.downloaded.clear()
    first = hub.commit("me/bad", {**whole, "setup.py": b"raise SystemExit", "model.pkl": b"", "../../up": b""})
    hub.commit("me/bad", {})
    assert pull("me/bad", revision=first).commit == first
    assert set(hub.downloaded) == {*OWN, "README.md"}


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("pull me/none", "cannot pull me/none: RepositoryNotFoundError"),
        ("pull me/other", "found no agent.json"),
        ("pull me/other --revision v9", "RevisionNotFoundError"),
        ("pull me", "expected OWNER/NAME on the Hugging Face Hub, found 'me'"),
        ("pull me/a/b", "expected OWNER/NAME"),
        ("pull ../up", "expected OWNER/NAME"),
        ("pull me/red", "an agent 'red' is there already (agents/red); --force"),
        ("pull me/other --name a/b", "agent name: expected letters"),
        ("push red https://hub/me/red", "expected OWNER/NAME"),
        ("push rad me/red", "did you mean red"),
        ("push red me/other", "it holds other files and no agent.json"),
        ("push red me/red --episodes=-1", "episodes: expected at least 1"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(line: str, part: str, hub: Hub, two, workplace: Path, capsys) -> None:
    hub.commit("me/other", {"model.bin": b""})
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert part in captured.err
    assert set(hub.repos) == {"me/other"}
    assert {path.name for path in (workplace / "agents").iterdir()} == {"red", "green"}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a model as RL-Zoo3 publishes them."""
    folder = tmp_path_factory.mktemp("zoo")
    environments = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))
    model = PPO("MlpPolicy", environments, n_steps=64, seed=0, device="cpu").learn(64)
    model.save(folder / "ppo.zip")
    environments.save(folder / "vec_normalize.pkl")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**files, "README.md": b"", "config.yml": b"!!python/object/apply:os.abort []", "replay.mp4": b""}


def test_a_model_of_rl_zoo_is_imported_from_the_hub(hub: Hub, zoo, workplace: Path, capsys) -> None:
    commit = hub.commit("sb3/ppo-CartPole-v1", zoo)
    line = ["import", "hub:sb3/ppo-CartPole-v1", "--env", "CartPole-v1", "--episodes", "0", "--name"]
    assert main([*line, "cart"]) == 0
    assert set(hub.downloaded) == {"ppo.zip", "vec_normalize.pkl"}
    assert f"ppo.zip at commit {commit} of sb3/ppo-CartPole-v1" in capsys.readouterr().out
    agent = load_agent("cart")
    digest = hashlib.sha256(zoo["ppo.zip"]).hexdigest()
    assert agent.card.training.hyperparameters["origin"] == {
        "repository": "sb3/ppo-CartPole-v1", "file": "ppo.zip", "commit": commit, "sha256": digest
    }  # fmt: skip
    assert main(["show", "cart"]) == 0
    assert f"repository sb3/ppo-CartPole-v1, file ppo.zip, commit {commit}, sha256 {digest}" in capsys.readouterr().out
    for name in ("ppo.zip", "vec_normalize.pkl"):
        (workplace / name).write_bytes(zoo[name])
    options = ["--normalization", "vec_normalize.pkl", "--env", "CartPole-v1", "--episodes", "0"]
    assert main(["import", "ppo.zip", "--name", "local", *options]) == 0
    assert weights_sha256(agent.encoder) == weights_sha256(load_agent("local").encoder)
    hub.commit("sb3/ppo-CartPole-v1", {"other.zip": b"", **zoo})
    for options in (["--revision", commit], ["--file", "ppo.zip"]):
        assert main([*line, "again", "--force", *options]) == 0
        assert weights_sha256(load_agent("again").controller) == weights_sha256(agent.controller)


@pytest.mark.parametrize(
    ("files", "line", "part"),
    [
        ({"other.zip": b""}, "hub:me/zoo", "file: expected a file of me/zoo; its zips: other.zip, ppo.zip; found none"),
        ({}, "hub:me/zoo --file ppo2.zip", "its zips: ppo.zip; found 'ppo2.zip'"),
        ({"ppo.zip": b"no zip"}, "hub:me/zoo", "error: me/zoo/ppo.zip: not a usable Stable-Baselines3 zip"),
        (
            {"vec_normalize.pkl": pickle.dumps(print)},
            "hub:me/zoo",
            "error: me/zoo/vec_normalize.pkl asks for 'builtins print'; refused",
        ),
        ({"vec_normalize.pkl": b" " * 2**21}, "hub:me/zoo", "expected a file of at most 1,048,576 bytes"),
        ({}, "hub:me/none", "cannot import me/none: RepositoryNotFoundError"),
        ({}, "hub:me/zoo --revision v9", "RevisionNotFoundError"),
        ({}, "hub:zoo", "expected OWNER/NAME on the Hugging Face Hub, found 'zoo'"),
        ({}, "red --revision v9", "cannot read red"),
    ],
)
def test_what_is_no_model_on_the_hub_is_one_line(files, line, part, hub: Hub, zoo, workplace: Path, capsys) -> None:
    hub.commit("me/zoo", {**zoo, **files})
    assert main(["import", *line.split(), "--name", "x", "--env", "CartPole-v1"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert part in captured.err
    assert not (workplace / "agents").exists()


def test_a_model_that_was_altered_on_its_way_is_refused(hub: Hub, zoo, workplace: Path) -> None:
    hub.commit("me/zoo", zoo)
    hub.altered["ppo.zip"] = zoo["ppo.zip"][:-1] + b"x"
    with pytest.raises(ArtefactError, match=r"me/zoo/ppo.zip: expected the sha256 \w{64}, found"):
        import_agent("hub:me/zoo", name="x", world=World("CartPole-v1"))


@pytest.mark.parametrize("token", ["", "hf_wrong"])
def test_without_a_valid_token_nothing_is_pushed(token: str, hub: Hub, two, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert main(["push", "red", "me/red", "--episodes", "0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rlstitch: error: cannot push me/red: ")
    assert error.count("\n") == 1
    assert not token or token not in error
    assert hub.repos == {}


def test_a_hub_that_does_not_answer_is_one_line(hub: Hub, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ArtefactError, match="cannot pull me/red: ConnectError"):
        pull("me/red")


def test_without_the_extra_the_message_names_it(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rlstitch\[hub\]'"):
        pull("me/red2")

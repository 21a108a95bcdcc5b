"""An imported agent is an agent: evaluated, stitched, relativized; in a MiniGrid it sees what the model saw."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation
from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper
from rooms import CONTINUOUS, DISCRETE, FIRST, registered
from sb3_samples import members, pictures, stacked, torch_archive, trained, zipped
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize, VecTransposeImage

from rlstitch.agents.artefact import load_agent
from rlstitch.api.import_agent import import_agent
from rlstitch.api.relativize import relativize
from rlstitch.api.stitch import stitch
from rlstitch.cli.main import main
from rlstitch.envs import World, make_vec
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.episodes import episode_seed
from rlstitch.rollouts.evaluation import evaluate

DOORKEY = "MiniGrid-DoorKey-5x5-v0"


@pytest.fixture(scope="module", autouse=True)
def rooms():
    with registered():
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ppo-mlp.zip`, `a2c-box.zip`, `dqn.zip`, `ppo-stacked.zip` (rooms) and `grid.zip` (DoorKey)."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("ppo-mlp", "a2c-box", "dqn", "ppo-stacked"):
        trained(name, folder, steps=32)
    grid = ImgObsWrapper(RGBImgPartialObsWrapper(gymnasium.make(DOORKEY)))
    model = PPO("CnnPolicy", grid, device="cpu", n_steps=32, batch_size=32, n_epochs=1, seed=0)
    model.learn(128)
    model.save(folder / "grid.zip")
    return folder


def test_in_a_minigrid_it_acts_step_by_step_as_the_model(models: Path, workplace: Path) -> None:
    """On what the wrappers draw, the model; on what our own renderer draws, the agent."""
    outcome = import_agent(models / "grid.zip", name="grid", world=World(DOORKEY), episodes=0)
    model = PPO.load(models / "grid.zip", device="cpu")
    theirs = ImgObsWrapper(RGBImgPartialObsWrapper(gymnasium.make(DOORKEY)))
    ours = make_vec(World(DOORKEY), 1, seed=7, autoreset="disabled")
    required, _ = theirs.reset(seed=7)
    result, _ = ours.reset(seed=7)
    generator = np.random.default_rng(0)
    for _ in range(40):
        np.testing.assert_array_equal(result[0], required)
        action, _ = model.predict(np.moveaxis(required, -1, 0), deterministic=True)
        assert outcome.agent.predict(result[0], deterministic=True)[0] == action
        stray = int(generator.integers(6))  # an untrained model stands still
        required, _, ended, cut, _ = theirs.step(stray)
        result, *_ = ours.step(np.array([stray]))
        if ended or cut:
            break
    ours.close()


def test_a_stacked_model_sees_and_scores_what_it_did(models: Path, workplace: Path) -> None:
    """Observations, logits and returns are those of VecFrameStack, the first steps of episodes included."""
    agent = import_agent(models / "ppo-stacked.zip", name="s", world=World(DISCRETE, frame_stack=4), episodes=0).agent
    model = PPO.load(models / "ppo-stacked.zip", device="cpu")
    theirs = VecTransposeImage(stacked(gymnasium.make(DISCRETE)))
    ours = make_vec(agent.card.world, 1, seed=5)
    theirs.seed(5)
    required, (result, _) = theirs.reset(), ours.reset()
    starts = 1
    generator = np.random.default_rng(0)
    for _ in range(60):
        np.testing.assert_array_equal(np.moveaxis(result, -1, 1), required)
        with torch.no_grad():
            logits = model.policy.get_distribution(torch.from_numpy(required)).distribution.logits
        torch.testing.assert_close(agent.action_parameters(result).log_softmax(1), logits, atol=1e-5, rtol=0)
        action = generator.integers(4, size=1)
        required, _, done, _ = theirs.step(action)
        result, *_ = ours.step(action)
        starts += int(done[0])
    ours.close()
    assert starts > 2
    assert evaluate(agent, episodes=3, deterministic=True).returns == pytest.approx(played(model, theirs, 3))


def test_how_many_images_are_stacked_comes_from_the_file(models: Path, workplace: Path) -> None:
    stated, read = (
        import_agent(models / "ppo-stacked.zip", name="s", world=World(DISCRETE, **given), episodes=0, force=True).agent
        for given in ({"frame_stack": 4}, {})
    )
    assert read.card.world == stated.card.world
    assert (read.card.world.frame_stack, read.card.world.padding) == (4, "zeros")


def test_a_live_model_is_imported_as_its_file_is(models: Path, workplace: Path) -> None:
    live = PPO.load(models / "ppo-mlp.zip", device="cpu")
    one, other = (
        import_agent(model, name="x", world=World(DISCRETE), episodes=0, force=True).agent
        for model in (live, models / "ppo-mlp.zip")
    )
    assert one.card.encoder == other.card.encoder
    images = pictures()
    assert torch.equal(one.action_parameters(images), other.action_parameters(images))


def played(model: BaseAlgorithm, environments: VecEnv, episodes: int) -> list[float]:
    """Greedy returns of episodes whose seeds are those of `evaluate`."""
    returns = []
    for episode in range(episodes):
        environments.seed(episode_seed(0, episode))
        returns.append(evaluate_policy(model, environments, n_eval_episodes=1, warn=False)[0])
    return returns


def test_a_live_model_brings_its_normalization_and_returns_what_it_did(workplace: Path) -> None:
    environments = VecNormalize(DummyVecEnv([lambda: Monitor(gymnasium.make("CartPole-v1"))]))
    model = PPO("MlpPolicy", environments, n_steps=256, seed=0, device="cpu")
    model.learn(2048)
    environments.save("statistics.pkl")
    model.save("model.zip")
    live = import_agent(model, name="live", world=World("CartPole-v1"), episodes=0).agent
    line = "import model.zip --name file --env CartPole-v1 --normalization statistics.pkl --split 1 --episodes 0"
    assert main(line.split()) == 0
    environments.training, environments.norm_reward = False, False
    expected = played(model, environments, 3)
    assert evaluate(live, episodes=3, deterministic=True).returns == pytest.approx(expected)
    assert evaluate(load_agent("file"), episodes=3, deterministic=True).returns == pytest.approx(expected)


def test_stacked_vectors_are_seen_as_the_model_saw_them(workplace: Path) -> None:
    environments = VecFrameStack(DummyVecEnv([lambda: Monitor(gymnasium.make("Acrobot-v1", max_episode_steps=60))]), 3)
    model = DQN("MlpPolicy", environments, learning_starts=10, buffer_size=100, seed=0, device="cpu")
    world = World("Acrobot-v1", make_kwargs={"max_episode_steps": 60})
    agent = import_agent(model, name="x", world=world, episodes=0).agent
    assert (agent.card.world.frame_stack, agent.card.world.padding) == (3, "zeros")
    ours = make_vec(agent.card.world, 1, seed=5)
    environments.seed(5)
    expected, (seen, _) = environments.reset(), ours.reset()
    for step in range(130):
        np.testing.assert_array_equal(seen, expected)
        action = np.array([step % 3])
        expected, *_ = environments.step(action)
        seen, *_ = ours.step(action)
    ours.close()


def test_statistics_of_other_vectors_are_refused(workplace: Path) -> None:
    """Observations that were normalized before they were stacked have fewer statistics than the stack has numbers."""
    environments = VecFrameStack(VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")])), 2)
    with pytest.raises(IncompatibleError, match="vectors of 8 numbers, the normalization takes 4"):
        import_agent(PPO("MlpPolicy", environments, device="cpu"), name="x", world=World("CartPole-v1"))


@pytest.mark.parametrize(
    ("given", "part"),
    [("", "normalization: a .cleanrl_model does not hold its preprocessing"), ("--normalization none", None)],
)
def test_the_normalization_of_a_cleanrl_model_of_vectors_is_stated(
    given: str, part: str | None, workplace: Path, capsys
) -> None:
    shapes = {"0": (64, 4), "2": (64, 64), "4": (2, 64)}
    tensors = {f"actor.{place}.weight": torch.zeros(shape) for place, shape in shapes.items()}
    tensors |= {f"critic.{place}.weight": torch.zeros(shape) for place, shape in {**shapes, "4": (1, 64)}.items()}
    tensors |= {name.replace("weight", "bias"): torch.zeros(len(value)) for name, value in tensors.items()}
    torch.save(tensors, "a.cleanrl_model")
    status = main(f"import a.cleanrl_model --name x --env CartPole-v1 --episodes 0 {given}".split())
    assert status == (0 if part is None else 2)
    assert (part or "") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("frame_stack=4", "padding: a .cleanrl_model does not hold its preprocessing"),
        ("", "the world gives 3 channels, the model takes 4"),
        ("frame_stack=2 --activation relu", "activation: expected none beside a .cleanrl_model"),
    ],
)
def test_preprocessing_of_a_cleanrl_model_is_the_users_to_state(
    options: str, part: str, workplace: Path, capsys
) -> None:
    layers = {"0": (32, 4, 8, 8), "2": (64, 32, 4, 4), "4": (64, 64, 3, 3), "7": (512, 64)}
    shapes = {**{f"network.{place}": shape for place, shape in layers.items()}, "actor": (4, 512), "critic": (1, 512)}
    tensors = {f"{name}.weight": torch.zeros(shape) for name, shape in shapes.items()}
    tensors |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    torch.save(tensors, workplace / "a.cleanrl_model")
    world = f"--world {options}" if options else ""
    assert main(f"import a.cleanrl_model --name x --env {DISCRETE} --episodes 0 {world}".split()) == 2
    assert part in capsys.readouterr().err
    assert not (workplace / "agents").exists()


@pytest.mark.parametrize(("given", "padding"), [("", "zeros"), ("padding=zeros", "zeros"), ("padding=first", "first")])
def test_what_fills_a_stack_is_stated(given: str, padding: str, models: Path, workplace: Path, capsys) -> None:
    line = f"import {models / 'ppo-stacked.zip'} --name s --env {DISCRETE} --episodes 0 --world frame_stack=4 {given}"
    assert main(line.split()) == 0
    assert load_agent("s").card.world.padding == padding
    assert f"before the first: {'zeros' if padding == 'zeros' else 'copies of it'}" in capsys.readouterr().out


def test_a_world_with_channels_first_is_the_same_world(models: Path, workplace: Path) -> None:
    agents = [import_agent(models / "dqn.zip", name="x", world=World(name), episodes=0, force=True).agent
              for name in (DISCRETE, FIRST)]  # fmt: skip
    returns = [evaluate(agent, episodes=3, deterministic=True).returns for agent in agents]
    assert list(returns[0]) == list(returns[1])


def test_it_is_stitched_and_relativized(models: Path, workplace: Path, quick) -> None:
    for name, model in (("one", "ppo-mlp"), ("two", "dqn")):
        import_agent(models / f"{model}.zip", name=name, world=World(DISCRETE), episodes=2)
    for source, target in (("one", "two"), ("two", "one")):
        outcome = stitch(source, target, method="affine", pairs=24, episodes=2, save=False)
        assert [cell.method for cell in outcome.cells] == ["random", "native", "naive", "affine"]
        assert outcome.agent.controller.spec() == load_agent(target).controller.spec()
    for name in ("one", "two"):
        made = relativize(name, anchors=12, episodes=2).agent
        assert made.controller.spec()["latent_dim"] == 12
    relative = stitch("one-relativized", "two-relativized", method="relative", pairs=24, episodes=2, save=False)
    assert relative.agent.encoder.latent_dim == 12


class TwoLayouts(gymnasium.ObservationWrapper):
    """CartPole's state, as it is and in another order and scale."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("CartPole-v1").unwrapped)
        self.observation_space = spaces.Dict(dict.fromkeys(("left", "right"), spaces.Box(-np.inf, np.inf, (4,))))

    def observation(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return {"left": observation, "right": observation[[2, 0, 3, 1]] * np.float32([3, -1, 0.2, 2])}


def test_models_of_two_keys_of_a_dict_are_stitched_on_the_same_states(workplace: Path) -> None:
    gymnasium.register("TwoLayouts-v0", TwoLayouts, max_episode_steps=100)
    for seed, key in enumerate(("left", "right")):
        environment = gymnasium.make("TwoLayouts-v0")
        shown = TransformObservation(environment, lambda seen, key=key: seen[key], environment.observation_space[key])
        PPO("MlpPolicy", shown, seed=seed, device="cpu").save("model.zip")
        line = f"import model.zip --name {key} --env TwoLayouts-v0 --world keys=[{key}] --split 1 --episodes 0"
        assert main(line.split()) == 0
    outcome = stitch("left", "right", method="affine", pairs=256, episodes=4, deterministic=True, save=False)
    # The encoders are linear maps of all of the state: an affine map joins them exactly.
    assert outcome.report.r2 > 0.999
    cells = {cell.method: cell for cell in outcome.cells}
    assert list(cells["affine"].returns) == list(cells["native"].returns)


def test_stitched_to_itself_by_a_map_it_acts_as_it_did(models: Path, workplace: Path) -> None:
    import_agent(models / "a2c-box.zip", name="steered", world=World(CONTINUOUS), episodes=2)
    outcome = stitch("steered", "steered", pairs=64, episodes=2, name="again")
    assert outcome.report.action_agreement == 1.0
    assert outcome.report.kl < 1e-4
    assert load_agent("again").card.parents[0].name == "steered"


def test_the_command_imports_evaluates_and_says_so(models: Path, workplace: Path, capsys) -> None:
    line = f"import {models / 'grid.zip'} --name grid --env {DOORKEY} --variation red --episodes 3"
    assert main(line.split()) == 0
    out = capsys.readouterr().out
    assert "PPO (Stable-Baselines3, imported)" in out
    assert f"{DOORKEY}, red, standard" in out
    assert "return " in out
    card = load_agent("grid").card
    assert card.training is not None
    assert (card.world.variation, card.training.steps, card.training.episodes) == ("red", 128, 3)
    assert main(["show", "grid"]) == 0
    assert main(["evaluate", "grid", "--episodes", "2", "--variation", "green"]) == 0
    capsys.readouterr()
    assert main(line.split()) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*line.split(), "--force"]) == 0


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("grid.zip --env MiniGrid-DoorKey-5x5-v0 --world tile_size=12", "84 x 84 x 3"),
        ("grid.zip --env DotRoom-v0", "40 x 40 x 3"),
        ("grid.zip --env MiniGrid-DorKey-5x5-v0", "did you mean MiniGrid-DoorKey-5x5-v0"),
        ("grid.zip --env MiniGrid-DoorKey-5x5-v0 --variation rde", "did you mean red"),
        ("grid.zip --env MiniGrid-DoorKey-5x5-v0 --world task=x", "is given by an argument of its own"),
        ("grid.zip --env MiniGrid-DoorKey-5x5-v0 --world tilesize=12", "tilesize: unknown key; did you mean tile_size"),
        ("grid.zip --env MiniGrid-DoorKey-5x5-v0 --episodes -1", "episodes: expected 0 or more"),
        ("grid.zip --env MiniGrid-DoorKey-5x5-v0 --extractor mine", "unknown extractor"),
        ("dqn.zip --env DotRoom-v0 --temperature 0", "temperature"),
        ("ppo-mlp.zip --env DotRoomSteered-v0", "trained on a Discrete"),
        ("none.zip --env DotRoom-v0", "no such file"),
        ("cut.zip --env DotRoom-v0", "not a usable Stable-Baselines3 zip"),
        ("poisoned.zip --env DotRoom-v0", "asks for 'builtins print'; refused, nothing was run"),
    ],
)
def test_what_cannot_be_imported_is_one_line_and_leaves_nothing(
    options: str, part: str, models: Path, workplace: Path, capsys
) -> None:
    if options.startswith("cut"):
        (models / "cut.zip").write_bytes((models / "dqn.zip").read_bytes()[:5000])
    if options.startswith("poisoned"):
        poison = torch_archive(b"cbuiltins\nprint\n(X\x05\x00\x00\x00helloltR.")
        zipped(models / "poisoned.zip", {**members(models / "dqn.zip"), "policy.pth": poison})
    assert main(["import", f"{models}/{options.split()[0]}", "--name", "x", *options.split()[1:]]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("rlstitch: error: ")
    assert captured.err.count("\n") == 1
    assert part in captured.err
    assert not (workplace / "agents").exists()


def test_a_name_that_is_taken_or_none_is_refused_before_the_work(models: Path, workplace: Path) -> None:
    with pytest.raises(InvalidInputError, match="agent name"):
        import_agent("no-such-file", name="a/b", world=World(DISCRETE))
    with pytest.raises(IncompatibleError):
        import_agent(models / "a2c-box.zip", name="x", world=World(DISCRETE))

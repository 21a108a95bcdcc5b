import functools
import json

import gymnasium
import numpy as np
import pytest
import torch
from rooms import DotRoom
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from rlstitch.agents.artefact import load_agent
from rlstitch.agents.card import AgentCard
from rlstitch.agents.encoder import RelativeEncoder
from rlstitch.api.train import draft_card, train
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.training import callbacks
from rlstitch.training.ppo import build_ppo, train_ppo


def events(folder) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def test_tensorboard_has_curves_observations_and_a_video(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny(
        representation="relative",
        task="length:12",
        total_steps=512,
        evaluation={"every_steps": 256, "episodes": 4, "video": True},
    )
    run = train(config, progress="none").run_folder
    written = events(run)
    expected = {
        "rollout/ep_rew_mean",
        "rollout/ep_len_mean",
        "time/fps",
        "train/value_loss",
        "train/entropy_loss",
        "evaluation/return",
        "evaluation/success",
        "anchors/drift",
    }
    assert expected <= set(written.Tags()["scalars"])
    video = written.Images("evaluation/video")[-1].encoded_image_string
    assert video.startswith(b"GIF89a")
    assert video.count(b"\x21\xf9\x04") > 1, "one frame is no video"
    text = written.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert f"    total_steps: {config.total_steps}\n" in text
    content = written.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hyperparameters = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert hyperparameters["ppo.learning_rate"].number_value == 1e-3
    assert hyperparameters["world.environment"].string_value == config.world.environment
    sample = written.Images("observations/sample")[0]
    assert sample.width * sample.height == 4 * 56 * 56


def test_videos_are_of_each_quarter_and_the_end_by_default(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"environment": "CartPole-v1", "sensor": "state", "encoder": {}, "evaluation": {"episodes": 1}}
    run = train(tiny(**settings, total_steps=640), progress="none").run_folder
    assert [image.step for image in events(run).Images("evaluation/video")] == [256, 384, 512, 640]


class BrokenScreen(gymnasium.Wrapper):
    """Says that it renders, and does not."""

    def render(self):
        raise OSError("no display")


def test_a_training_goes_on_where_no_video_can_be_made(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make = gymnasium.envs.registration.EnvSpec(
        "Dark-v0", lambda **kwargs: BrokenScreen(gymnasium.make("CartPole-v1", **kwargs))
    )
    monkeypatch.setitem(gymnasium.registry, "Dark-v0", make)
    config = tiny(environment="Dark-v0", sensor="state", total_steps=256, encoder={}, evaluation={"episodes": 1})
    assert train(config, progress="lines").ended == "finished"
    assert capsys.readouterr().err.count("no videos in TensorBoard: Dark-v0 cannot render: no display") == 1


def test_a_log_counts_the_steps_of_a_training_before_its_first_evaluation(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(callbacks, "ProgressReporter", functools.partial(ProgressReporter, interval=0))
    config = tiny(total_steps=256, evaluation={"every_steps": 256, "episodes": 1})
    train(config, progress="lines")
    counts = [int(line.split()[1]) for line in capsys.readouterr().err.splitlines() if " of 256 steps" in line]
    assert len({count for count in counts if 0 < count < 256}) > 10
    assert counts[-1] == 256


class UnjudgedRoom(DotRoom):
    """A room that does not say whether an episode was a success."""

    def step(self, action):
        *step, _ = super().step(action)
        return *step, {}


def test_a_world_that_knows_no_success_is_judged_by_its_return(tiny, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    gymnasium.register("UnjudgedRoom-v0", UnjudgedRoom, max_episode_steps=20)
    try:
        trained = train(tiny(environment="UnjudgedRoom-v0", total_steps=512), progress="lines")
    finally:
        del gymnasium.registry["UnjudgedRoom-v0"]
    output = capfd.readouterr().err
    assert "return" in output
    assert "success" not in output
    curve = json.loads((trained.run_folder / "curve.json").read_text())
    assert [row["success"] for row in curve] == [None, None]
    scalars = set(events(trained.run_folder).Tags()["scalars"])
    assert "evaluation/return" in scalars
    assert "evaluation/success" not in scalars


def test_the_best_weights_are_kept(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = train(tiny(), progress="none")
    card = trained.agent.card
    assert card.training is not None
    assert card.training.steps == 1024
    assert card.training.hyperparameters["ppo"]["learning_rate"] == 1e-3
    assert card.world.environment == "MiniGrid-Empty-5x5-v0"


def test_ends_early_where_the_wanted_success_is_reached(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = train(tiny(stop_at_success=0.01, total_steps=200_000), progress="none")
    assert trained.ended == "reached"
    assert trained.agent.card.training.steps < 200_000


def test_relative_agents_of_two_looks_share_their_anchor_set(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cards = [draft_card(tiny(representation="relative", variation=look))[0] for look in ("red", "green")]
    assert cards[0].anchors.identity == cards[1].anchors.identity
    assert cards[0].world.variation != cards[1].world.variation


def test_the_statistics_of_a_trained_relative_agent_are_those_of_its_anchors(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = train(tiny(representation="relative", total_steps=256), progress="none").agent.encoder
    assert isinstance(encoder, RelativeEncoder)
    again = RelativeEncoder(encoder.base, encoder._spec)
    again.set_anchors(encoder.anchors)
    images = torch.rand(5, 3, 56, 56)
    torch.testing.assert_close(encoder(images), again(images), rtol=1e-4, atol=1e-4)


def test_a_relative_encoder_needs_anchors(tiny, tmp_path):
    config = tiny(representation="relative")
    card, _ = draft_card(config)
    with pytest.raises(InvalidInputError, match="anchor_images"):
        train_ppo(build_ppo(card, num_envs=4, n_steps=32), card, config, tmp_path, progress="none")


def test_minibatches_must_divide_the_rollout(tiny):
    card, _ = draft_card(tiny())
    with pytest.raises(InvalidInputError, match="n_minibatches: 3"):
        build_ppo(card, num_envs=4, n_steps=32, n_minibatches=3)


def test_policy_and_agent_act_alike(tiny):
    """What is taken out of Stable-Baselines3 computes what was trained inside it."""
    from rlstitch.agents.agent import Agent

    card: AgentCard = draft_card(tiny())[0]
    model = build_ppo(card, num_envs=4, n_steps=8)
    environments = model.get_env()
    agent = Agent(model.policy.encoder_copy(), model.policy.controller(), card)
    observations = np.asarray(environments.reset())
    with torch.no_grad():
        logits = model.policy.get_distribution(torch.from_numpy(observations)).distribution.logits
    ours = agent.action_parameters(observations)
    torch.testing.assert_close(ours - ours.logsumexp(dim=1, keepdim=True), logits)
    assert (
        agent.predict(observations, deterministic=True)[0] == model.predict(observations, deterministic=True)[0]
    ).all()


def test_mixed_precision_trains_and_keeps_float32_weights(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mixed = train(tiny(precision="bfloat16", total_steps=256), progress="none").agent
    plain = train(tiny(name="plain", total_steps=256), progress="none").agent
    assert all(value.dtype == torch.float32 for value in mixed.encoder.state_dict().values())
    pairs = list(zip(mixed.encoder.parameters(), plain.encoder.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in pairs), "the precision made no difference"
    assert all((a - b).abs().max() < 0.1 for a, b in pairs)


@pytest.mark.parametrize("style", ["lines", "bar"])
def test_progress_shows_steps_success_and_time_left(tiny, tmp_path, monkeypatch, capsys, style):
    monkeypatch.chdir(tmp_path)
    train(tiny(total_steps=512), progress=style)
    output = capsys.readouterr().err
    assert "tiny: " in output
    assert "steps/s" in output
    if style == "lines":
        assert "256 of 512 steps, success" in output
        assert "s left" in output


def test_the_last_weights_are_kept_beside_the_best(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = train(tiny(total_steps=256), progress="none")
    assert load_agent(trained.run_folder / "last" / "tiny").card.name == "tiny"


def test_a_video_changes_nothing_in_the_training(tiny, tmp_path, monkeypatch):
    weights: list[dict[str, torch.Tensor]] = []
    for video in (False, True):
        (tmp_path / str(video)).mkdir()
        monkeypatch.chdir(tmp_path / str(video))
        evaluation = {"every_steps": 256, "episodes": 4, "video": video}
        config = tiny(evaluation=evaluation, task="length:12", checkpoint={"every_steps": 10**6})  # which would reseed
        train(config, progress="none")
        agent = load_agent("tiny")
        weights.append({**agent.encoder.state_dict(), **agent.controller.state_dict()})
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

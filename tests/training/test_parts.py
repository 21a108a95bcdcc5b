"""Trainings that start from parts of agents: what is frozen stays bit for bit, the rest is trained."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rlstitch.agents import Agent, build_controller, build_encoder, load_agent, save_agent, weights_sha256
from rlstitch.api.listing import show_agent
from rlstitch.api.train import draft_card, train
from rlstitch.cli.train import Train
from rlstitch.config.training import TrainConfig
from rlstitch.errors import RlstitchError
from rlstitch.training.parts import load_parts
from rlstitch.training.ppo import build_ppo

CARTPOLE = {"environment": "CartPole-v1", "encoder": {"hidden": [8], "latent_dim": 8}, "total_steps": 512}


def untrained(config, name) -> Agent:
    """Save and return an agent of a config's world whose weights were never trained."""
    torch.manual_seed(1)
    card, _ = draft_card(config)
    agent = Agent(build_encoder(card.encoder), build_controller(card.controller), card)
    return load_agent(save_agent(agent, f"agents/{name}"))


def shas(agent) -> dict[str, str]:
    return {"encoder": weights_sha256(agent.encoder), "controller": weights_sha256(agent.controller)}


def interrupt(done, total):
    if done >= 600:
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("changes", [{"total_steps": 512}, CARTPOLE], ids=["pixels", "state"])
@pytest.mark.parametrize("frozen", ["encoder", "controller"])
def test_the_frozen_part_stays_and_the_other_is_trained(tiny, changes, frozen):
    parent = untrained(tiny(**changes), "parent")
    agent = train(tiny(**changes, start={frozen: "parent", "freeze": frozen}), progress="none").agent
    same = {part: sha == shas(parent)[part] for part, sha in shas(agent).items()}
    assert same == {part: part == frozen for part in same}
    assert [(p.name, p.role, p.sha256) for p in agent.card.parents] == [("parent", frozen, shas(parent)[frozen])]
    assert f"frozen {frozen}" in str(show_agent("tiny"))


def test_both_parts_are_trained_on_where_none_is_frozen(tiny):
    parent = untrained(tiny(), "parent")
    start = {"encoder": "parent", "controller": "parent"}
    config = tiny(total_steps=512, start=start)
    model = build_ppo(draft_card(config)[0], num_envs=4, n_steps=32, parts=load_parts(config.start))
    first = Agent(model.policy.encoder_copy(), model.policy.controller(), parent.card)
    model.env.close()
    assert shas(first) == shas(parent)
    agent = train(config, progress="none").agent
    assert not shas(agent).items() & shas(parent).items()
    assert agent.card.method == "fine-tuned"


def test_a_relative_encoder_and_its_anchors_stay(tiny):
    config = tiny(representation="relative", total_steps=512)
    parent = train(config, progress="none").agent
    start = {"encoder": "tiny", "freeze": "encoder"}
    agent = train(tiny(name="next", task="scrambled", total_steps=512, start=start), progress="none").agent
    assert shas(agent)["encoder"] == shas(parent)["encoder"]
    assert agent.card.anchors == parent.card.anchors
    moved = train(tiny(name="moved", total_steps=512, start={"encoder": "tiny"}), progress="none").agent
    assert not torch.equal(moved.encoder.anchors, parent.encoder.anchors)


def test_frozen_modules_are_never_in_training_mode(tiny):
    untrained(tiny(), "parent")
    for frozen in ("encoder", "controller"):
        config = tiny(start={frozen: "parent", "freeze": frozen})
        model = build_ppo(draft_card(config, parts := load_parts(config.start))[0], num_envs=4, n_steps=32, parts=parts)
        model.policy.set_training_mode(True)
        modes = (model.policy.encoder.training, model.policy.action_net.training)
        assert modes == (frozen != "encoder", frozen != "controller")
        model.env.close()


def test_latents_of_a_frozen_encoder_serve_all_epochs_in_the_place_of_observations(tiny):
    untrained(tiny(), "parent")
    config = tiny(start={"encoder": "parent", "freeze": "encoder"})
    parts = load_parts(config.start)
    model = build_ppo(draft_card(config, parts)[0], num_envs=4, n_steps=32, n_epochs=2, parts=parts)
    model.learn(128)

    def outputs() -> torch.Tensor:
        np.random.seed(0)  # noqa: NPY002 (the buffer draws from it)
        samples = model.rollout_buffer.get(32)
        batches = [model.policy.evaluate_actions(s.observations, s.actions.long().flatten()) for s in samples]
        return torch.cat([torch.stack([values.flatten(), log_prob]) for values, log_prob, _ in batches], dim=1)

    encoded: list[int] = []
    hook = model.policy.features_extractor.register_forward_hook(lambda *_: encoded.append(1))
    model.train()  # a further update on the rollout whose latents are known
    by_latents = outputs()
    assert not encoded
    hook.remove()
    model.rollout_buffer.encode = None
    torch.testing.assert_close(by_latents, outputs())
    model.env.close()


def test_a_resumed_training_equals_an_uninterrupted_one(tiny, tmp_path, monkeypatch):
    config = tiny(total_steps=768, start={"encoder": "parent", "freeze": "encoder"})
    agents = []
    for on_progress in (None, interrupt):
        folder = tmp_path / str(on_progress is None)
        folder.mkdir()
        monkeypatch.chdir(folder)
        untrained(tiny(), "parent")
        trained = train(config, progress="none", on_progress=on_progress)
        if on_progress is not None:
            assert trained.ended == "interrupted"
            trained = train(config, resume=True, progress="none")
        agents.append(trained.agent)
    assert shas(agents[0]) == shas(agents[1])


def test_an_interrupt_within_the_last_evaluation_keeps_the_agent(tiny, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rlstitch.api.train.evaluate", interrupted)
        cut = train(tiny(), progress="none")
    assert (cut.ended, cut.folder) == ("interrupted", (cut.run_folder / "interrupted" / "tiny").resolve())
    whole = train(tiny(), resume=True, progress="none")
    assert whole.ended == "finished"
    assert shas(load_agent(cut.folder)) == shas(whole.agent)


def test_a_run_is_not_resumed_from_another_parent(tiny):
    parent = untrained(tiny(), "parent")
    config = tiny(start={"encoder": "parent"})
    assert train(config, progress="none", on_progress=interrupt).ended == "interrupted"
    torch.nn.init.ones_(parent.encoder.linear.bias)
    save_agent(parent, "agents/parent", force=True)
    with pytest.raises(RlstitchError, match="'parent' is not the one that this run started from"):
        train(config, resume=True, progress="none")


REFUSED = {
    "other images": ({"environment": "MiniGrid-Empty-5x5-v0", "tile_size": 16}, {"encoder": "grid"}, "start.encoder"),
    "images for a state": (CARTPOLE, {"encoder": "grid"}, "observes pixels of"),
    "other actions": (CARTPOLE, {"controller": "grid"}, r"Discrete(7), the world CartPole-v1 takes Discrete(2)"),
    "widths": ({}, {"encoder": "wide", "controller": "grid"}, "width 8, the encoder gives 12"),
    "absolute": ({"representation": "relative"}, {"encoder": "grid"}, "is absolute"),
    "unknown": ({}, {"encoder": "gird"}, "grid"),
    "not trainable": ({}, {"controller": "greedy"}, "PPO needs a value head"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parts_that_do_not_fit_are_refused_in_one_line(tiny, case):
    changes, start, message = REFUSED[case]
    untrained(tiny(), "grid")
    untrained(tiny(encoder={"latent_dim": 12}), "wide")
    agent = load_agent("grid")
    controller = build_controller({**agent.controller.spec(), "value": "none"})
    save_agent(Agent(agent.encoder, controller, agent.card), "agents/greedy")
    with pytest.raises(RlstitchError) as refused:
        train(tiny(**changes, start=start), progress="none")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_options_are_keys_of_the_config():
    command = Train(config="minigrid-doorkey", encoder="a", controller="b", freeze="encoder")
    assert command.overrides() == {"start.encoder": "a", "start.controller": "b", "start.freeze": "encoder"}
    with pytest.raises(RlstitchError, match="--encoder"):
        Train(config="minigrid-doorkey", encoder="a", set=(("start.encoder=c",),)).overrides()
    with pytest.raises(ValidationError, match="gives the encoder"):
        TrainConfig.model_validate({"environment": "CartPole-v1", "start": {"freeze": "encoder"}})

"""Grafts: a new encoder for a frozen controller, fitted on paired observations alone."""

import math

import pytest
import torch
from stitch_samples import untrained_cart

from rlstitch.agents import Agent, load_agent, save_agent, weights_sha256
from rlstitch.api.graft import graft, graft_world
from rlstitch.cli.graft import Graft as Command
from rlstitch.envs import World
from rlstitch.errors import RlstitchError
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.stitching.graft import locate
from rlstitch.stitching.graft.graft import Grafting

TINY = {"rounds": 2, "states": 60, "steps": 8, "episodes": 1, "world": {"size": 24, "frame_stack": 2}}


@pytest.fixture(autouse=True)
def cart(tmp_path, monkeypatch) -> Agent:
    """An agent of CartPole's states that was never trained."""
    monkeypatch.chdir(tmp_path)
    save_agent(untrained_cart(), "agents/cart")
    return load_agent("cart")


class Interrupted(ProgressReporter):
    """Presses Ctrl-C when a stage begins."""

    def __init__(self, at: str) -> None:
        super().__init__(style="none")
        self.at = at

    def stage(self, name, unit=""):
        if name.startswith(self.at):
            raise KeyboardInterrupt
        return super().stage(name, unit)


def test_a_graft_keeps_the_controller_and_says_that_it_is_distilled(cart):
    outcome = graft("cart", sensor="pixels", **TINY)
    agent = load_agent("cart-grafted-pixels")
    assert weights_sha256(agent.controller) == weights_sha256(cart.controller)
    assert agent.card.world == World("CartPole-v1", sensor="pixels", size=24, frame_stack=2)
    assert agent.card.method == "grafted (distilled)"
    assert [(one.name, one.role) for one in agent.card.parents] == [("cart", "controller")]
    assert [one.states for one in outcome.rounds] == sorted({one.states for one in outcome.rounds})
    assert all(one.return_mean > 0 and one.episodes > 0 for one in outcome.rounds)
    assert len(outcome.rounds[0].fit.r2_state) == 4
    assert len(outcome.rounds[0].fit.r2_latents) == 6
    assert [cell.method for cell in outcome.cells] == ["random", "native", "grafted (distilled)"]
    assert "distilled" in str(outcome)
    assert {path.name for path in outcome.run_folder.iterdir()} >= {"cells.csv", "curve.csv", "options.json"}


@pytest.mark.parametrize("arch", ["small", "crop"])
def test_an_interrupted_graft_continues_and_ends_the_same(tmp_path, monkeypatch, cart, arch):
    monkeypatch.setattr(locate, "STEPS", 4)
    options = {**TINY, "sensor": "pixels", "save": False, "arch": arch}
    whole = graft("cart", **options)
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    before = graft(cart, progress=Interrupted("round 1 of 2: fitting"), **options)
    assert before.agent is None
    cut = graft(cart, progress=Interrupted("round 2 of 2: fitting"), **options)
    assert cut.ended == "interrupted"
    assert load_agent(cut.folder).card.method == "grafted (distilled)"
    with pytest.raises(RlstitchError, match="resume=True continues, force=True starts anew"):
        graft(cart, **options)
    again = graft(cart, resume=True, **options)
    assert weights_sha256(again.agent.encoder) == weights_sha256(whole.agent.encoder)
    assert again.rounds == whole.rounds
    assert not (again.run_folder / "rounds").exists()


def test_a_graft_that_observes_what_its_controllers_agent_does_continues_too(tmp_path, monkeypatch, cart):
    options = {**TINY, "rounds": 3, "world": {}, "save": False}
    whole = graft(cart, **options)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert graft(cart, progress=Interrupted("round 2 of 3: fitting"), **options).ended == "interrupted"
    again = graft(cart, resume=True, **options)
    assert weights_sha256(again.agent.encoder) == weights_sha256(whole.agent.encoder)
    assert again.rounds == whole.rounds


@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
def test_the_rounds_of_a_graft_take_its_steps_together(rounds):
    how = Grafting(rounds=rounds, steps=24)
    assert sum(map(how.steps_of, range(rounds))) == 24


def test_the_default_name_of_a_graft_is_one_of_a_folder(cart):
    look = "hue:120+noise:0.05"
    outcome = graft("cart", sensor="pixels", look=look, **{**TINY, "rounds": 1})
    assert outcome.folder.name == "cart-grafted-pixels-hue-120-noise-0.05"
    assert load_agent(outcome.folder.name).card.world.look == look


def test_an_encoder_of_states_is_grafted_to_a_controller_of_pixels(cart):
    graft("cart", sensor="pixels", **TINY)
    agent = graft("cart-grafted-pixels", sensor="state", name="back", **{**TINY, "world": {}}).agent
    assert agent.encoder.observation_shape == (4,)
    assert not torch.equal(agent.encoder.normalization.mean, torch.zeros(4))


def test_worlds_take_the_defaults_of_their_family(cart):
    world = graft_world(cart, "pixels", "inverted", {})
    assert world == World("CartPole-v1", sensor="pixels", look="inverted", size=64, frame_stack=3)
    assert graft_world(cart, None, "standard", {"frame_stack": 2}).sensor == "state"
    assert graft_world(load_agent("doorkey-symbolic-s5"), "pixels", "green", {}).frame_stack == 1
    lander = graft_world(load_agent("lunarlander-state-s1"), "pixels", "red", {"frame_stack": 5})
    assert (lander.size, lander.frame_stack, lander.action_repeat) == (96, 5, 4)


def test_a_look_that_the_backend_of_the_controller_cannot_draw_takes_another():
    tiny = {"rounds": 1, "states": 16, "steps": 2, "episodes": 1, "save": False}
    with pytest.raises(RlstitchError, match="it needs the backend gymnasium"):
        graft("carracing-red-s2", look="far", **tiny)
    outcome = graft("carracing-red-s2", look="far", backend="gymnasium", **tiny)
    assert (outcome.agent.card.world.look, outcome.agent.card.world.backend) == ("far", "gymnasium")
    assert load_agent("carracing-red-s2").card.world.backend == "envpool"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sensor": "ram"}, "ram"),
        ({"sensor": "pixels", "look": "rde"}, "rde"),
        ({"sensor": "state", "look": "inverted"}, "gives vectors, not images"),
        ({"sensor": "pixels", "world": {"size": 4}}, "too few for the encoder architecture"),
        ({"sensor": "pixels", "world": {"colour": 4}}, "colour"),
        ({"sensor": "pixels", "world": {"task": "slippery"}}, "task"),
        ({"sensor": "pixels", "states": 3}, "states: expected two a round or more, found 3"),
        ({"sensor": "pixels", "rounds": 0}, "rounds: expected at least 1, found 0"),
        ({"sensor": "pixels", "action_weight": -1.0}, "action_weight: expected 0 or a number above, found -1.0"),
        ({"sensor": "pixels", "latent_weight": math.nan}, "latent_weight: expected 0 or a number above, found nan"),
        ({"sensor": "pixels", "latent_weight": 0.0, "action_weight": 0.0}, "expected one above 0, found 0 for both"),
        ({"sensor": "pixels", "divergence": "revers"}, "unknown divergence 'revers'; did you mean reverse?"),
        ({"sensor": "pixels", "name": "cart"}, "is there already"),
    ],
)
def test_what_cannot_be_grafted_is_refused_in_one_line(changes, message):
    with pytest.raises(RlstitchError) as refused:
        graft("cart", **{**TINY, **changes})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_command_prints_rounds_and_results(capsys):
    options = {**TINY, "world": None}
    del options["world"]
    command = Command(controller="cart", sensor="pixels", set=(("size=24", "frame_stack=2"),), **options)
    assert command.run() == 0
    printed = capsys.readouterr().out
    assert "R² of the state" in printed
    assert "not zero-shot" in printed

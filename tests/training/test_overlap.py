"""Rollouts beside updates: the same rollouts by a policy that stays, otherwise by one that is one update old."""

import threading

import pytest
import torch

from rlstitch.api.train import draft_card
from rlstitch.errors import InvalidInputError
from rlstitch.training.checkpoint import reseed
from rlstitch.training.overlap import OverlappedPPO
from rlstitch.training.ppo import build_ppo, train_ppo

ROLLOUT = 4 * 32


def rollouts(config, **options):
    """Observations, actions and log probabilities of each rollout of a training, and the weights before each update."""
    model = build_ppo(draft_card(config)[0], num_envs=4, **{**config.ppo.model_dump(), **options})
    seen, update = [], model.train

    def recorded():
        buffer, weights = model.rollout_buffer, model.policy.state_dict()
        seen.append(
            (
                *(getattr(buffer, name).copy() for name in ("observations", "actions", "log_probs")),
                {name: value.clone() for name, value in weights.items()},
            )
        )
        update()

    model.train = recorded
    reseed(model, config.seed, 0)
    model.learn(4 * ROLLOUT)
    model.env.close()
    return model, seen


def test_a_policy_that_stays_meets_the_same(tiny):
    alone, beside = (rollouts(tiny(), overlap=overlap, learning_rate=1e-30)[1] for overlap in (False, True))
    assert len(alone) == len(beside) == 4
    for one, other in zip(alone, beside, strict=True):
        assert all((first == second).all() for first, second in zip(one[:3], other[:3], strict=True))


@pytest.mark.parametrize("overlap", [False, True])
def test_a_rollout_is_of_the_weights_before_the_update_beside_it(tiny, overlap):
    model, seen = rollouts(tiny(), overlap=overlap)
    assert isinstance(model, OverlappedPPO) == overlap
    for number, (observations, actions, log_probs, _) in enumerate(seen):
        flat = [torch.as_tensor(value).transpose(0, 1).flatten(0, 1) for value in (observations, actions, log_probs)]
        errors = []
        for *_, weights in seen[: number + 1]:
            model.policy.load_state_dict(weights)
            with torch.no_grad():
                _, expected, _ = model.policy.evaluate_actions(flat[0], flat[1].flatten())
            errors.append(float((flat[2].flatten() - expected).abs().max()))
        behaviour = max(0, number - overlap)
        assert errors[behaviour] < 1e-5
        assert all(error > 1e-3 for other, error in enumerate(errors) if other != behaviour)


def test_a_training_that_is_interrupted_in_an_update_leaves_no_thread(tiny, tmp_path, monkeypatch):
    config = tiny(ppo={**tiny().ppo.model_dump(), "overlap": True})
    card, _ = draft_card(config)
    model = build_ppo(card, num_envs=4, **config.ppo.model_dump())
    step = model.policy.optimizer.step
    inside = []

    def interrupted(*args, **kwargs):
        if model._ahead is not None:
            inside.append(threading.active_count())
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    monkeypatch.setattr(model.policy.optimizer, "step", interrupted)
    before = threading.active_count()
    assert train_ppo(model, card, config, tmp_path, progress="none").ended == "interrupted"
    assert inside
    assert threading.active_count() == before


def test_an_error_of_the_environments_beside_an_update_is_raised(tiny, monkeypatch):
    config = tiny()
    model = build_ppo(draft_card(config)[0], num_envs=4, **{**config.ppo.model_dump(), "overlap": True})
    step = model.env.step

    def lost(actions):
        if threading.current_thread() is not threading.main_thread():
            raise InvalidInputError("the environment is lost")
        return step(actions)

    monkeypatch.setattr(model.env, "step", lost)
    with pytest.raises(InvalidInputError, match="the environment is lost"):
        model.learn(4 * ROLLOUT)
    model.env.close()

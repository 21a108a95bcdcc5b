import pytest
import torch

from rlstitch.agents.controller import build_controller
from rlstitch.errors import InvalidInputError

DISCRETE = {"latent_dim": 8, "actions": {"kind": "discrete", "n": 5}, "hidden": [16, 4]}
BOX = {"latent_dim": 8, "actions": {"kind": "box", "low": [-1, 0], "high": [1, 2]}, "hidden": [], "norm": "none"}


@pytest.mark.parametrize(
    ("spec", "width"), [(DISCRETE, 5), (BOX, 2), ({**DISCRETE, "activation": "tanh"}, 5), ({**BOX, "std": "state"}, 4)]
)
def test_spec_and_weights_rebuild_the_controller(spec, width):
    controller = build_controller(spec)
    again = build_controller(controller.spec())
    again.load_state_dict(controller.state_dict())
    latents = torch.randn(7, 8)
    parameters, values = controller(latents)
    assert parameters.shape == (7, width)
    assert values.shape == (7,)
    assert torch.equal(again(latents)[0], parameters)
    assert torch.equal(controller.action_parameters(latents), parameters)


def test_only_continuous_controllers_have_a_log_std():
    assert build_controller(DISCRETE).log_std is None
    assert build_controller(BOX).log_std.shape == (2,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": {"kind": "discrete", "n": 0}}, "actions"),
        ({"actions": {"kind": "box", "low": [0.0], "high": [1.0, 2.0]}}, "actions.low has 1 numbers"),
        ({"hidden": [65536, 65536]}, "parameters"),
        ({"norm": "batch"}, "norm"),
        ({"latent_dim": None}, "latent_dim"),
        ({"squash": True}, "squash and std are for continuous actions only"),
        ({"std": "none"}, "squash and std are for continuous actions only"),
        ({**BOX, "value": "max"}, "'max' is for discrete actions only"),
        ({**BOX, "std": "state", "temperature": 2.0}, "temperature: expected 1 beside std 'state'"),
        ({**BOX, "squash": True, "actions": {"kind": "box", "low": [0.0], "high": [float("inf")]}}, "bounded"),
    ],
)
def test_wrong_specifications_are_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        build_controller({**DISCRETE, **change})


@pytest.mark.parametrize(
    "spec",
    [DISCRETE, BOX, {**DISCRETE, "norm": "none", "value_hidden": [3]}, {**BOX, "std": "state", "value": "none"}],
)
def test_a_controller_after_a_linear_map_acts_on_what_it_maps_to(spec):
    controller, latents = build_controller(spec).eval(), torch.randn(7, 3)
    (matrix, bias), (first, shift) = ((torch.randn(k, d), torch.randn(d)) for k, d in ((6, 8), (3, 6)))
    before, after = {**controller.state_dict()}, controller.after(matrix, bias)
    twice = after.after(first, shift)  # still one map
    for made, mapped, k in ((after, latents @ first + shift, 6), (twice, latents, 3)):
        again = build_controller(made.spec())
        again.load_state_dict(made.state_dict())
        assert (made.spec()["latent_dim"], made.spec()["entry"], made.latent_dim) == (k, 8, k)
        for one, two in zip(again(mapped), controller((latents @ first + shift) @ matrix + bias), strict=True):
            torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in controller.state_dict().items())


@pytest.mark.parametrize("std", ["parameter", "state", "none"])
def test_squashed_actions_stay_within_their_bounds_and_grow_with_the_means(std):
    controller = build_controller({**BOX, "squash": True, "std": std})
    parameters = controller.action_parameters(100 * torch.randn(9, 8))
    means, log_std = controller.normal(parameters)
    actions = controller.bound(means)
    assert means.shape == actions.shape == (9, 2)
    torch.testing.assert_close(actions, torch.tensor([0.0, 1.0]) + means.tanh())
    assert (log_std is None) == (std == "none")
    assert controller.bound(torch.tensor([[50.0, -50.0]])).tolist() == [[1.0, 0.0]]


def test_discrete_controllers_bound_nothing():
    with pytest.raises(InvalidInputError, match="found discrete ones"):
        build_controller(DISCRETE).bound(torch.zeros(1, 5))

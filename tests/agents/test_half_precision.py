"""Weights that float16 holds exactly are stored as float16, and all others as they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from artefact_samples import assert_equal_agents, make_agent
from safetensors.torch import load_file

from rlstitch.agents import half_precision, load_agent, save_agent, weights_sha256
from rlstitch.agents.half_precision import stored_tensors
from rlstitch.errors import InvalidInputError


@pytest.mark.parametrize("kind", ["cnn", "relative", "translated"])
def test_a_rounded_agent_is_stored_in_half_and_loads_equal(tmp_path: Path, kind: str) -> None:
    agent = make_agent(kind)
    rounded = half_precision(agent)
    folder = save_agent(rounded, tmp_path / "half")
    assert_equal_agents(rounded, load_agent(folder))
    tensors, trained = load_file(folder / "encoder.safetensors"), dict(rounded.encoder.named_parameters())
    assert {tensors[name].dtype for name in trained} == {torch.float16}
    assert all(tensors[name].dtype == value.dtype for name, value in rounded.encoder.named_buffers())
    assert weights_sha256(rounded.encoder) == hashlib.sha256((folder / "encoder.safetensors").read_bytes()).hexdigest()


def test_one_weight_that_float16_does_not_hold_keeps_a_part_in_float32(tmp_path: Path) -> None:
    agent = half_precision(make_agent())
    with torch.no_grad():
        next(agent.encoder.parameters()).view(-1)[0] = 0.1
    folder = save_agent(agent, tmp_path / "mixed")
    assert {value.dtype for value in load_file(folder / "encoder.safetensors").values()} == {torch.float32}
    assert {value.dtype for value in load_file(folder / "controller.safetensors").values()} == {torch.float16}
    assert_equal_agents(agent, load_agent(folder))


def test_weights_of_another_type_are_stored_as_they_are() -> None:
    module = torch.nn.Linear(3, 2).double()
    torch.nn.init.ones_(module.weight)
    torch.nn.init.zeros_(module.bias)
    assert {value.dtype for value in stored_tensors(module).values()} == {torch.float64}
    assert {value.dtype for value in stored_tensors(module.float()).values()} == {torch.float16}


def test_a_weight_beyond_the_range_of_float16_is_refused() -> None:
    agent = make_agent()
    with torch.no_grad():
        next(agent.controller.parameters()).view(-1)[0] = 1e5
    with pytest.raises(InvalidInputError, match=r"controller: weights .* at most 65,504"):
        half_precision(agent)
    assert next(agent.controller.parameters()).max().item() == pytest.approx(1e5)

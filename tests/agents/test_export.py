"""An exported agent is the agent: of every kind, in both formats, for batches of any size; it is whole or absent."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from artefact_samples import assert_equal_agents, make_agent, observations
from sb3_samples import SHAPE

from rlstitch.agents.agent import Agent
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import build_encoder
from rlstitch.agents.export import load_exported, write_exported
from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError
from rlstitch.latent import SIMILARITIES
from rlstitch.storage import read_tensors, write_tensors

KINDS = ("cnn", "relative", "translated")


def r3l(**controller: object) -> Agent:
    """An agent with every part that came later: R3L's convolutions, a value of its own, continuous actions."""
    torch.manual_seed(0)
    encoder = build_encoder({"kind": "cnn", "arch": "r3l", "image_shape": SHAPE, "latent_dim": None})
    actions = {"kind": "box", "low": [-1.0], "high": [1.0]}
    made = build_controller(
        {"latent_dim": encoder.latent_dim, "actions": actions, "hidden": [7], "norm": "relu", **controller}
    )
    card = make_agent().card.model_copy(update={"observation_shape": SHAPE})
    return Agent(encoder, made, card)


def both(agent: Agent, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        parameters, values = agent.controller(agent.encoder(agent.images(images)))
    return parameters, values


@pytest.mark.parametrize(("kind", "given"), [("relative", "uint8"), ("r3l", "float32"), ("crop", "uint8")])
def test_onnxruntime_computes_what_the_agent_does(kind: str, given: str, tmp_path: Path) -> None:
    agent = r3l(value_hidden=[5]) if kind == "r3l" else make_agent(kind)
    images = np.random.default_rng(1).integers(0, 256, (9, *agent.encoder.image_shape), dtype=np.uint8)
    path = tmp_path / "agent.onnx"
    assert write_exported(agent, path, form="onnx", images=images, observations=given) < 1e-5  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(path)
    assert [one.name for one in session.get_inputs()] == ["observations"]
    assert [one.name for one in session.get_outputs()] == ["action_parameters", "values"]
    assert str(Path(__file__).resolve().parents[2]).encode() not in path.read_bytes()
    for count in (1, 9):
        batch = images[:count] if given == "uint8" else images[:count].transpose(0, 3, 1, 2).astype(np.float32) / 255
        for output, expected in zip(
            session.run(None, {"observations": batch}), both(agent, images[:count]), strict=True
        ):
            np.testing.assert_allclose(output, expected.numpy(), atol=1e-5, rtol=1e-5)


def test_what_has_no_operator_in_onnx_is_refused(tmp_path: Path) -> None:
    encoder = build_encoder({**make_agent("relative").encoder.spec(), "similarity": "l1"})
    agent = Agent(encoder, make_agent("relative").controller, make_agent("relative").card)
    with pytest.raises(InvalidInputError, match="ONNX has no operator"):
        write_exported(agent, tmp_path / "a.onnx", form="onnx", images=observations(4))
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_for_onnx_the_line_that_installs_them_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rlstitch\[onnx\]'"):
        write_exported(make_agent(), tmp_path / "a.onnx", form="onnx", images=observations(4))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [*KINDS, "r3l", "crop"])
@pytest.mark.parametrize("given", ["uint8", "float32"])
def test_the_program_computes_what_the_agent_does(kind: str, given: str, tmp_path: Path) -> None:
    agent = r3l(value_hidden=[5]) if kind == "r3l" else make_agent(kind)
    shape = agent.encoder.image_shape
    images = np.random.default_rng(1).integers(0, 256, (9, *shape), dtype=np.uint8)
    path = tmp_path / "agent.pt2"
    assert write_exported(agent, path, form="torch-export", images=images, observations=given) < 1e-5  # type: ignore[arg-type]
    program = torch.export.load(path).module()
    for count in (1, 2, 9):
        batch = torch.from_numpy(images[:count])
        if given == "float32":
            batch = batch.permute(0, 3, 1, 2).float() / 255
        for result, required in zip(program(batch), both(agent, images[:count]), strict=True):
            torch.testing.assert_close(result, required, atol=1e-5, rtol=1e-5)


def by_similarity(similarity: str) -> Agent:
    """A relative agent that projects by another similarity."""
    native = make_agent("relative")
    encoder = build_encoder({**native.encoder.spec(), "similarity": similarity})
    encoder.load_state_dict(native.encoder.state_dict())
    return Agent(encoder, native.controller, native.card)


def test_ridge_weights_are_a_program_of_onnxruntime(tmp_path: Path) -> None:
    """Which has no arccos of float64."""
    agent = by_similarity("kernel_ridge")
    assert write_exported(agent, tmp_path / "agent.onnx", form="onnx", images=observations(4)) < 1e-4


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_every_similarity_is_exported_or_refused(similarity: str, tmp_path: Path) -> None:
    agent = by_similarity(similarity)
    path = tmp_path / "agent.pt2"
    if similarity == "geodesic":
        with pytest.raises(InvalidInputError, match=f"cannot hold '{similarity}'; use safetensors"):
            write_exported(agent, path, form="torch-export", images=observations(4))
        assert not path.exists()
        return
    assert write_exported(agent, path, form="torch-export", images=observations(4)) < 1e-3


def test_a_program_says_nothing_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "agent.pt2"
    write_exported(make_agent(), path, form="torch-export", images=observations(4))
    assert str(Path(__file__).resolve().parents[2]).encode() not in path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_one_file_of_weights_rebuilds_the_agent(kind: str, tmp_path: Path) -> None:
    agent = make_agent(kind)
    path = tmp_path / "agent.safetensors"
    assert write_exported(agent, path, form="safetensors", images=observations(4)) == 0.0
    again = load_exported(path)
    assert_equal_agents(agent, again)
    assert again.card.name == agent.card.name


def test_equal_agents_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_exported(make_agent(), tmp_path / name, form="safetensors", images=observations(4), force=True)
    first, second = (load_exported(tmp_path / name) for name in ("a", "b"))
    assert first.card.model_copy(update={"created": second.card.created}) == second.card
    assert (tmp_path / "a").stat().st_size == (tmp_path / "b").stat().st_size


@pytest.mark.parametrize("form", ["torch-export", "safetensors"])
def test_an_older_file_is_kept_unless_forced(form: str, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    path.write_text("mine")
    with pytest.raises(InvalidInputError, match="is there already; force=True"):
        write_exported(make_agent(), path, form=form, images=observations(4))  # type: ignore[arg-type]
    assert path.read_text() == "mine"
    write_exported(make_agent(), path, form=form, images=observations(4), force=True)  # type: ignore[arg-type]
    assert path.stat().st_size > 1000
    assert [entry.name for entry in tmp_path.iterdir()] == ["agent"]


def test_weights_that_are_no_numbers_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    for form in ("safetensors", "torch-export"):
        agent = make_agent()
        with torch.no_grad():
            agent.controller.action_head.bias[0] = torch.nan
        with pytest.raises((InvalidInputError, ArtefactError), match=r"NaN|differs from the agent by nan"):
            write_exported(agent, tmp_path / "agent", form=form, images=observations(4), force=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, meta: meta.pop("kind"), "expected an exported agent of schema version 1, found 'None'"),
        (lambda tensors, meta: meta.update(schema_version="2"), "of version '2'"),
        (lambda tensors, meta: meta.pop("card"), "agent"),
        (lambda tensors, meta: meta.update(card="[" * 100_000), "agent"),
        (lambda tensors, meta: meta.update(card="{}"), "its card: name"),
        (lambda tensors, meta: _edit(meta, encoder={"kind": "magic"}), "encoder specification"),
        (lambda tensors, meta: _edit(meta, controller={}), "controller specification"),
        (
            lambda tensors, meta: tensors.pop("encoder.linear.bias"),
            r"'encoder.linear.bias': expected float32 \(6,\), found none",
        ),
        (lambda tensors, meta: tensors.update({"controller.more": torch.zeros(1)}), "'controller.more': expected none"),
        (lambda tensors, meta: tensors.update({"other": torch.zeros(1)}), "'other'"),
    ],
)
def test_a_file_that_is_no_agent_is_refused(change, message: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    write_exported(make_agent(), path, form="safetensors", images=observations(4))
    tensors, metadata = read_tensors(path)
    change(tensors, metadata)
    write_tensors(path, tensors, metadata=metadata or {"x": "y"})
    with pytest.raises(ArtefactError, match=message) as result:
        load_exported(path)
    assert "\n" not in str(result.value)


def _edit(metadata: dict[str, str], **changes: object) -> None:
    metadata["card"] = json.dumps({**json.loads(metadata["card"]), **changes})


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    write_exported(make_agent(), path, form="safetensors", images=observations(4))
    content = path.read_bytes()
    for share in (0.0, 0.01, 0.5, 0.99):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ArtefactError):
            load_exported(path)
    with pytest.raises(ArtefactError, match="no such file"):
        load_exported(tmp_path / "none")

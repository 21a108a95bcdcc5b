"""Every reader of files, each with an honest artefact: what writes it, what reads it, and how it is signed."""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import hashlib
import importlib.util
import io
import json
import shutil
import struct
import tarfile
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import matrix_samples
import numpy as np
import pretrained_samples
import pytest
import rooms
import sb3_samples
import torch
from artefact_samples import make_agent, observations
from PIL import Image
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from rlstitch.agents.anchor_set import AnchorSet, load_anchor_set
from rlstitch.agents.artefact import load_agent, save_agent
from rlstitch.agents.cleanrl import import_cleanrl
from rlstitch.agents.export import load_exported, write_exported
from rlstitch.agents.manifest import manifest_checksum
from rlstitch.agents.sb3.importing import import_model
from rlstitch.agents.sb3.statistics import read_statistics
from rlstitch.agents.specs import BoxActions, DiscreteActions
from rlstitch.api.listing import list_everything, show_agent
from rlstitch.api.report import report
from rlstitch.api.sweeps.plan_sweep import plan_sweep
from rlstitch.api.sweeps.sweep import sweep_states
from rlstitch.config.sweep import load_sweep
from rlstitch.config.training import load_config
from rlstitch.envs import World
from rlstitch.evaluation.matrix.tasks import cell_path, read_cell, stored_evaluation
from rlstitch.evaluation.options import CellOptions
from rlstitch.latent import LatentSpace, Translation
from rlstitch.modalities.audio import read_fsdd
from rlstitch.modalities.graph import PLANETOID, read_planetoid
from rlstitch.modalities.image import read_fashion_mnist, read_idx
from rlstitch.modalities.image_items import image_items
from rlstitch.modalities.items import sound_items, text_items
from rlstitch.modalities.parallel_text import read_multi30k
from rlstitch.modalities.pretrained import load_text_encoder
from rlstitch.modalities.text import TREC_FILES, read_trec, read_word_vectors
from rlstitch.reporting.html import read_video
from rlstitch.reporting.matrix.data import read_matrix
from rlstitch.reporting.matrix.matrix_plots import training_curves
from rlstitch.stitching.pair_files import read_pairs, write_pairs
from rlstitch.storage import (
    canonical_json,
    load_space,
    load_translation,
    read_json,
    read_tensors,
    save_space,
    save_translation,
    write_json,
    write_tensors,
)
from rlstitch.storage.space_stream import SpaceStream
from rlstitch.studies.data import RECORD, DataLocator
from rlstitch.training.checkpoint import TrainingState, list_checkpoints, load_checkpoint, save_checkpoint
from rlstitch.training.ppo import build_ppo

CELL = "ab" * 32
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(6, 3)).astype(np.float32)
WORDS = ("one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class Subject:
    """A reader of files.

    Attributes:
        make: writes an honest artefact into an empty folder.
        read: reads it, or raises one of our errors.
        sealed: whether what loads must be equal to what was written.
        sign: makes checksums fit again after a change, as an author who means harm would; None where there are none.
        shown: whether what is read is printed by a command.
        honest: what comes of the honest artefact.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    sealed: bool = False
    sign: Callable[[Path], object] | None = None
    shown: bool = False
    honest: str = "loaded"


def sign_agent(folder: Path) -> None:
    """Give an agent's manifest the checksums of its siblings and of itself."""
    folder = folder / "sample" if (folder / "sample").is_dir() else folder
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError):
        manifest = json.loads((folder / "agent.json").read_text())
        for part in ("encoder", "controller"):
            content = (folder / f"{part}.safetensors").read_bytes()
            manifest["files"][f"{part}.safetensors"] = hashlib.sha256(content).hexdigest()
        manifest.pop("checksum", None)
        manifest["checksum"] = manifest_checksum(manifest)
        (folder / "agent.json").write_bytes(canonical_json(manifest))


def _agent(kind: str) -> Subject:
    return Subject(f"agent {kind}", lambda folder: _agent_files(kind, folder), load_agent, True, sign_agent)


def _agent_files(kind: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as parent:
        saved = save_agent(make_agent(kind), Path(parent) / "sample")
        shutil.copytree(saved, folder, dirs_exist_ok=True)


def _listed(folder: Path) -> object:
    listing = list_everything(roots=[folder])
    return "\n".join([str(listing), str(show_agent("sample", roots=[folder]))])


def _views() -> Any:
    columns = [RNG.integers(0, high, (4, 3, 3)) for high in (11, 6, 3, 5, 2)]
    return np.stack(columns, axis=-1).astype(np.uint8)


def _exported(folder: Path) -> None:
    write_exported(make_agent(), folder / "a.safetensors", form="safetensors", images=observations())


def _anchors(anchors: AnchorSet, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as root:
        shutil.copytree(anchors.save(root), folder, dirs_exist_ok=True)


def _replay() -> AnchorSet:
    actions = np.arange(6).reshape(2, 3)
    return AnchorSet.replay("MiniGrid-DoorKey-5x5-v0", np.array([3, 5]), actions, np.array([[0, 0], [0, 2], [1, 3]]))


def _stream(folder: Path) -> None:
    with SpaceStream(folder / "s.safetensors", WORDS, {"model": "one"}) as stream:
        stream.append(VECTORS[:2])
        stream.append(VECTORS[2:4])


def _resumed(folder: Path) -> object:
    with SpaceStream(folder / "s.safetensors", WORDS, {"model": "one"}) as stream:
        missing = list(stream.missing)
        if missing:
            stream.append(VECTORS[missing], missing)
        return load_space(stream.finish())


def _matrix(folder: Path) -> None:
    matrix_samples.made_up_matrix(folder, agents=3, methods=("naive", "affine"))


def _report(folder: Path) -> object:
    return report(folder, latents=0, tensorboard=False)


def _cell(folder: Path) -> None:
    content = {"identity": CELL, "returns": [0.0, 1.0], "lengths": [3, 4], "successes": [False, True], "seconds": 1.0,
               "report": {"r2": 0.5}, "kind": "cell"}  # fmt: skip
    write_json(cell_path(folder, CELL), content, schema_version=1)


def _read_cell(folder: Path) -> object:
    content = read_cell(folder, CELL)
    if content is None or "refused" in content:
        return None
    return stored_evaluation(content, World("MiniGrid-Empty-5x5-v0"), CellOptions()).summary()


SWEEP = """# two looks and two seeds
axes:
  preset: [minigrid-doorkey]
  look: [red, green]
  seed: [1, 2]
set:
  total_steps: 1000
  threads: 1
"""


def _sweep(folder: Path) -> None:
    (folder / "sweep.yaml").write_text(SWEEP)
    definition = load_sweep(folder / "sweep.yaml")
    for run, state in zip(definition.runs, ("failed", "failed", "agent", "begun"), strict=False):
        if state == "failed":
            write_json(folder / "runs" / "_grid" / "failed" / f"{run.key}.json", {"error": "a full disk", "log": "x"})
        elif state == "agent":
            agent = make_agent()
            card = agent.card.training.model_copy(update={"hyperparameters": run.config.resolved()})
            save_agent(
                type(agent)(agent.encoder, agent.controller, agent.card.model_copy(update={"training": card})),
                folder / "agents" / run.config.name,
            )


def _sweep_states(folder: Path) -> object:
    definition = load_sweep(folder / "sweep.yaml")
    states = sweep_states(definition, agents=folder / "agents", runs=folder / "runs")
    return [(state.state, state.note, state.result) for state in states]


def _planned(folder: Path) -> object:
    states = sweep_states(load_sweep(folder / "s.yaml"), agents=folder, runs=folder)
    return plan_sweep(states, workers=1, agents=folder, runs=folder)


CONFIG = """# a training
environment: MiniGrid-DoorKey-5x5-v0
look: red
seed: 3
total_steps: 1_000_000
make_kwargs: {size: 6}
name: 'mine'
ppo:
  learning_rate: 1e-3
  n_steps: 32
encoder:
  arch: small
  latent_dim: 64
controller:
  hidden: [64]
evaluation:
  every_steps: 1000
"""


@functools.cache
def _sb3(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.enter_context(rooms.registered())
        path = sb3_samples.trained(name, Path(folder), steps=32)[1]
        # Without the members that are not read.
        return sb3_samples.zipped(path, sb3_samples.members(path)).read_bytes()


def _imported(folder: Path, **world: Any) -> object:
    world = {"observation_shape": sb3_samples.SHAPE, "actions": DiscreteActions(n=4), **world}
    imported = import_model(folder / "m.zip", **world)
    return imported.encoder, imported.controller, imported.hyperparameters


STATES = {"observation_shape": (3,), "actions": BoxActions(low=(-2.0,), high=(2.0,))}
"""What a model of Pendulum observes and does."""


@functools.cache
def _sb3_of_states(kind: type[BaseAlgorithm]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        options = {"policy_kwargs": {"net_arch": [8]}, "device": "cpu"}
        kind("MlpPolicy", "Pendulum-v1", buffer_size=8, **options).save(path := Path(folder, "m.zip"))
        return sb3_samples.zipped(path, sb3_samples.members(path)).read_bytes()


def _normalized(path: Path) -> None:
    normalized = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]))
    normalized.reset()
    normalized.save(str(path))


def _cleanrl(folder: Path) -> None:
    agent = nn.ModuleDict()
    for part, width in (("actor", 2), ("critic", 1)):
        agent[part] = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, width))
    torch.save(agent.state_dict(), folder / "m.cleanrl_model")


def _from_cleanrl(folder: Path) -> object:
    actions = DiscreteActions(n=2)
    imported = import_cleanrl(folder / "m.cleanrl_model", observation_shape=(5,), actions=actions)
    return imported.encoder, imported.controller


def _video(folder: Path) -> None:
    track = (92).to_bytes(4, "big") + b"tkhd" + bytes(76) + struct.pack(">H2xH2x", 640, 360)
    (folder / "v.mp4").write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + track + bytes(100))


def _cache(folder: Path) -> None:
    data = folder / "rlstitch" / "data" / "trec"
    data.mkdir(parents=True)
    for name in TREC_FILES.values():
        (data / name).write_bytes(gzip.compress(b"NUM:dist How far?\n", mtime=0))
    write_json(data / RECORD, {"origin": "a hub", "library": "datasets", "files": {}}, schema_version=1)


def _cached(folder: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RLSTITCH_DATA", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        data = DataLocator()
        return read_trec(data.folder("trec") / TREC_FILES["test"]), data.origins


def _pretrained(folder: Path) -> object:
    return load_text_encoder(str(folder)).encode(["the cat", "sat far"])


def _images(folder: Path) -> None:
    picture = Image.fromarray(RNG.integers(0, 256, (8, 9, 3), dtype=np.uint8))
    for suffix in ("png", "jpg", "bmp", "gif", "webp", "tif"):
        picture.save(folder / f"one.{suffix}")
    picture.convert("I;16").save(folder / "deep.png")


def _all_items(items: Any) -> object:
    return items.keys, list(items.read(0))


def _sounds(folder: Path) -> None:
    for width in (1, 2, 3, 4):
        with wave.open(str(folder / f"{width}.wav"), "wb") as sound:
            sound.setparams((2, width, 8000, 0, "NONE", ""))
            sound.writeframes(RNG.bytes(2 * width * 50))


def _fsdd(folder: Path) -> None:
    with tarfile.open(folder / "recordings.tar.gz", "w:gz") as archive:
        for digit in range(3):
            content = io.BytesIO()
            with wave.open(content, "wb") as sound:
                sound.setparams((1, 2, 8000, 0, "NONE", ""))
                sound.writeframes(RNG.bytes(400))
            entry = tarfile.TarInfo(f"recordings/{digit}_ann_0.wav")
            entry.size = len(content.getvalue())
            archive.addfile(entry, io.BytesIO(content.getvalue()))


def _idx(path: Path, array: Any) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes(), mtime=0))


def _fashion(folder: Path) -> None:
    _idx(folder / "train-images-idx3-ubyte.gz", RNG.integers(0, 256, (5, 4, 4)))
    _idx(folder / "train-labels-idx1-ubyte.gz", np.arange(5))


def _multi30k(folder: Path) -> None:
    for language in ("en", "de", "fr"):
        lines = "".join(f"a {language} sentence {number}\n" for number in range(6))
        (folder / f"train.{language}.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))


def _curve(folder: Path) -> None:
    path = folder / f"run-{'0' * 8}" / "curve.csv"
    path.parent.mkdir()
    with path.open("w") as stream:
        csv.writer(stream).writerows([("steps", "success"), (256, 0.1), (512, 0.5)])


def _read_curve(folder: Path) -> object:
    data = type("Data", (), {"agents": ("run",)})()
    return training_curves(data, folder)


@functools.cache
def _ppo() -> Any:
    spec = {"kind": "cnn", "image_shape": [56, 56, 3], "latent_dim": 8}
    controller = {"latent_dim": 8, "actions": {"kind": "discrete", "n": 7}, "hidden": [8]}
    world = {"environment": "MiniGrid-Empty-5x5-v0"}
    card = make_agent().card.model_copy(
        update={"encoder": spec, "controller": controller, "observation_shape": (56, 56, 3), "world": World(**world)}
    )
    return build_ppo(card, num_envs=2, n_steps=8)


def _checkpoint(folder: Path) -> None:
    model = _ppo()
    for parameter in model.policy.parameters():
        parameter.grad = torch.zeros_like(parameter)
    model.policy.optimizer.step()
    save_checkpoint(model, folder, TrainingState(steps=64, updates=2))


def _read_checkpoint(folder: Path) -> object:
    return [load_checkpoint(_ppo(), checkpoint) for checkpoint in list_checkpoints(folder)]


def _planetoid(folder: Path) -> None:
    for file in PLANETOID["cora"]:
        (folder / file).write_bytes(b"\x80\x02]q\x00.")


SUBJECTS = [
    *map(_agent, ("cnn", "mlp", "relative", "translated")),
    Subject(
        "agents listed", lambda f: save_agent(make_agent("translated"), f / "sample"), _listed, sign=sign_agent,
        shown=True,
    ),
    Subject("agent exported", lambda f: _exported(f),
            lambda f: load_exported(f / "a.safetensors")),
    Subject("anchors symbolic", lambda f: _anchors(AnchorSet.symbolic("MiniGrid-DoorKey-5x5-v0", _views()), f),
            load_anchor_set, True),
    Subject("anchors replay", lambda f: _anchors(_replay(), f), load_anchor_set, True),
    Subject("space npz", lambda f: save_space(LatentSpace(VECTORS, WORDS, "n"), f / "s.npz"),
            lambda f: load_space(f / "s.npz")),
    Subject("space safetensors", lambda f: save_space(LatentSpace(torch.tensor(VECTORS), WORDS), f / "s.safetensors"),
            lambda f: load_space(f / "s.safetensors")),
    Subject("translation", lambda f: save_translation(Translation.identity(4), f / "t.safetensors"),
            lambda f: load_translation(f / "t.safetensors")),
    Subject("tensors", lambda f: write_tensors(f / "t.safetensors", {"a": VECTORS, "b": VECTORS[:1]}),
            lambda f: read_tensors(f / "t.safetensors")),
    Subject("json", lambda f: write_json(f / "j.json", {"a": [1, 2.5, "x", None, {"b": True}]}, schema_version=1),
            lambda f: read_json(f / "j.json", schema_version=1)),
    Subject("pairs", lambda f: write_pairs(f / "p.npz", VECTORS, RNG.integers(0, 9, (6, 4, 4, 3), dtype=np.uint8)),
            lambda f: read_pairs(f / "p.npz")),
    Subject("stream", _stream, _resumed),
    Subject("matrix", _matrix, read_matrix),
    Subject("report", _matrix, _report, shown=True),
    Subject("cells", _cell, _read_cell),
    Subject("sweep", _sweep, _sweep_states, shown=True),
    Subject("sweep plan", lambda f: (f / "s.yaml").write_text(SWEEP), _planned, shown=True),
    Subject("config", lambda f: (f / "c.yaml").write_text(CONFIG), lambda f: load_config(f / "c.yaml").resolved()),
    Subject("sb3 ppo", lambda f: (f / "m.zip").write_bytes(_sb3("ppo-mlp")), _imported),
    Subject("sb3 dqn", lambda f: (f / "m.zip").write_bytes(_sb3("dqn-mlp")), _imported),
    Subject("sb3 sac", lambda f: (f / "m.zip").write_bytes(_sb3_of_states(SAC)), lambda f: _imported(f, **STATES)),
    Subject("sb3 td3", lambda f: (f / "m.zip").write_bytes(_sb3_of_states(TD3)), lambda f: _imported(f, **STATES)),
    Subject("vec normalize", lambda f: _normalized(f / "n.pkl"), lambda f: vars(read_statistics(f / "n.pkl"))),
    Subject("statistics npz", lambda f: np.savez(f / "n.npz", mean=VECTORS[0], var=VECTORS[1] ** 2, clip=5.0),
            lambda f: vars(read_statistics(f / "n.npz"))),
    Subject("cleanrl", _cleanrl, _from_cleanrl),
    Subject("video", _video, lambda f: str(read_video("a caption", f / "v.mp4", max_bytes=10**6)), shown=True),
    Subject("data cache", _cache, _cached),
    Subject("images", _images, lambda f: _all_items(image_items(f))),
    Subject("images npy", lambda f: np.save(f / "i.npy", RNG.integers(0, 9, (4, 3, 3, 3), dtype=np.uint8)),
            lambda f: _all_items(image_items(f / "i.npy"))),
    Subject("images npz", lambda f: np.savez(f / "i.npz", images=RNG.integers(0, 9, (4, 3, 3), dtype=np.uint8)),
            lambda f: _all_items(image_items(f / "i.npz"))),
    Subject("images idx", lambda f: _idx(f / "i.gz", RNG.integers(0, 9, (4, 3, 3))),
            lambda f: (_all_items(image_items(f / "i.gz")), read_idx(f / "i.gz", dimensions=3))),
    Subject("sounds", _sounds, lambda f: _all_items(sound_items(f))),
    Subject("texts", lambda f: (f / "t.txt").write_text("one\n\ntwo\nthree é\n"),
            lambda f: _all_items(text_items(f / "t.txt"))),
    Subject("texts gz", lambda f: (f / "t.gz").write_bytes(gzip.compress(b"one\n\ntwo\nthree\n", mtime=0)),
            lambda f: _all_items(text_items(f / "t.gz"))),
    Subject("keys", lambda f: ((f / "t.txt").write_text("a\nb\n"), (f / "k.tsv").write_text("one\ntwo\n")),
            lambda f: _all_items(text_items(f / "t.txt", keys=f / "k.tsv"))),
    Subject("fsdd", _fsdd, lambda f: read_fsdd(f / "recordings.tar.gz")),
    Subject("fashion-mnist", _fashion, read_fashion_mnist),
    Subject("trec", lambda f: (f / "TREC.test.gz").write_bytes(
                gzip.compress(b"NUM:dist How far?\nHUM:ind Who?\n", mtime=0)),
            lambda f: read_trec(f / "TREC.test.gz")),
    Subject("multi30k", _multi30k, lambda f: read_multi30k(f, "train")),
    Subject("planetoid", _planetoid, read_planetoid, honest="refused"),
    Subject("word vectors", lambda f: np.savez(f / "w.npz", words=np.array(WORDS), vectors=VECTORS),
            lambda f: read_word_vectors(f / "w.npz")),
    Subject("curves", _curve, _read_curve),
    Subject("checkpoint", _checkpoint, _read_checkpoint),
]  # fmt: skip
if importlib.util.find_spec("transformers"):
    SUBJECTS.append(Subject("pretrained", pretrained_samples.tiny_bert, _pretrained))

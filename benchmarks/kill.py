"""What every writing command leaves when it is killed, and what readers see beside two writers.

    python benchmarks/kill.py [--random 12] [--seed 0] [--loads 1000] [--only NAME ...]

`--only` leaves the stored results of the other commands as they are; `readers` is the name of the last part.

For each command there is an older result. The command that replaces it is killed with `kill -9` before every one of
its renames, and at moments drawn uniformly from the time that it takes. After each kill readers must see the older
result or the new one, whole; then the same command is begun again, and must end with the new result and no half-written
files.
Commands run in processes forked from this one, which has imported all, on tiny agents with random weights.
Then an agent is loaded 1,000 times while two processes replace it. Writes docs/results/kill.md and kill.json.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, "tests/helpers")
from hub_server import TOKEN, hub_server

RESULTS = Path("docs/results/kill")
RENAMES = frozenset({"os.rename"})
"""Audit events of renames; `os.replace` and the exchange of two folders are of this kind."""
CHANGES = RENAMES | {"os.remove", "os.rmdir", "os.mkdir"}
"""Audit events of all that changes names."""
_OUT_OF_TURN = 300  # renames after which a command is taken to rename for ever


@dataclass(frozen=True)
class Command:
    """A command that replaces an older result."""

    name: str
    old: Callable[[], object]
    new: Callable[[], object]
    state: Callable[[], object]
    """What readers see of the result, in the working folder; an error where it is not whole."""
    several: bool = False
    """The results are several by name, each of them old or new."""


@dataclass
class Outcome:
    """The kills of one command, and what they left."""

    name: str
    at_renames: int = 0
    at_random: int = 0
    old: int = 0
    """Kills after which readers saw the older result."""
    new: int = 0
    lost: int = 0
    """Kills after which there was no whole result, or one of both."""
    not_recovered: int = 0
    """Kills after which the next start did not end with the new result alone."""


def killed(work: Callable[[], object], step: int, events: frozenset[str] = CHANGES) -> bool:
    """Do the work in a child process that kills itself before its event number `step`, from 0.

    Returns:
        Whether it was killed; work with fewer events ends.

    Raises:
        RuntimeError: the work failed.
    """
    return _ended_by_kill(_child(work, before=(step, events)))


def killed_after(work: Callable[[], object], seconds: float) -> bool:
    """Do the work in a child process that is killed after so many seconds; see `killed`."""
    child = _child(work)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return _checked(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return _ended_by_kill(child)


def _child(work: Callable[[], object], before: tuple[int, frozenset[str]] | None = None) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if before is not None:
                _kill_before(*before)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def _kill_before(step: int, events: frozenset[str]) -> None:
    count = iter(range(step + 1))

    def hook(event: str, _: tuple[Any, ...]) -> None:
        if event in events and next(count) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _ended_by_kill(child: int) -> bool:
    return _checked(os.waitpid(child, 0)[1])


def _checked(status: int) -> bool:
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("the work failed; see above")
    return os.WIFSIGNALED(status)


def disturb(command: Command, place: Path, at_random: int, draw: random.Random) -> Outcome:
    """Kill a command in every way, and count what is left."""
    older, whole = place / "older", place / "whole"
    older.mkdir(parents=True)
    with contextlib.chdir(older):
        killed_after(command.old, 3600)
        old = command.state()
    shutil.copytree(older, whole, symlinks=True)
    with contextlib.chdir(whole):
        started = time.monotonic()
        killed_after(command.new, 3600)
        wall, new = time.monotonic() - started, command.state()
    if old == new:
        raise RuntimeError(f"{command.name}: the older result equals the new one")
    outcome = Outcome(command.name)
    for folder in _trials(older, place):
        if outcome.at_renames > _OUT_OF_TURN or not killed(command.new, outcome.at_renames, RENAMES):
            break
        outcome.at_renames += 1
        _judge(command, old, new, outcome, folder)
    for folder in _trials(older, place):
        if outcome.at_random == at_random:
            break
        if killed_after(command.new, draw.uniform(0, wall)):
            outcome.at_random += 1
            _judge(command, old, new, outcome, folder)
    return outcome


def _trials(older: Path, place: Path) -> Iterator[Path]:
    """Yield copies of a folder, one after the other, as the working folder."""
    while True:
        folder = place / "trial"
        shutil.copytree(older, folder, symlinks=True)
        try:
            with contextlib.chdir(folder):
                yield folder
        finally:
            shutil.rmtree(folder)


def _judge(command: Command, old: Any, new: Any, outcome: Outcome, folder: Path) -> None:
    """See what a kill left, begin the command again, and see what it leaves."""
    from rlstitch.errors import RlstitchError

    try:
        seen = command.state()
    except (RlstitchError, OSError) as error:
        seen = f"{type(error).__name__}: {error}"
    outcome.new += seen == new
    if command.several and isinstance(seen, dict):
        whole = seen.keys() == old.keys() and all(value in (old[key], new[key]) for key, value in seen.items())
    else:
        whole = seen in (old, new)
    outcome.old += whole and seen != new
    if not whole:
        outcome.lost += 1
        print(f"{command.name}: lost: {seen!r:.300}", flush=True)
    try:
        killed_after(command.new, 3600)
        again = command.state()
    except (RlstitchError, OSError, RuntimeError) as error:
        again = f"{type(error).__name__}: {error}"
    left = [str(path.relative_to(folder)) for path in folder.rglob(".tmp-*")]
    if again != new or left:
        outcome.not_recovered += 1
        print(f"{command.name}: not recovered: {again!r:.300} {left}", flush=True)


def commands(place: Path, hub: Any) -> list[Command]:
    """Return the commands; their input is written to `place`, and to a server that speaks the Hub's HTTP API."""
    import numpy as np

    from rlstitch.agents.agent import Agent
    from rlstitch.agents.artefact import load_agent, save_agent, weights_sha256
    from rlstitch.agents.controller import build_controller
    from rlstitch.agents.encoder import build_encoder
    from rlstitch.api.demo import demo
    from rlstitch.api.evaluate import evaluate
    from rlstitch.api.export_agent import export_agent
    from rlstitch.api.graft import graft
    from rlstitch.api.hub.pull import pull
    from rlstitch.api.import_agent import import_agent, world_of
    from rlstitch.api.matrix import matrix
    from rlstitch.api.pairs import collect_pairs
    from rlstitch.api.relativize import relativize
    from rlstitch.api.report import report
    from rlstitch.api.spaces.encode import encode
    from rlstitch.api.spaces.translate_spaces import translate_spaces
    from rlstitch.api.stitch import stitch
    from rlstitch.api.sweeps.sweep import train_one
    from rlstitch.api.train import draft_card, train
    from rlstitch.config.training import load_config
    from rlstitch.latent import LatentSpace
    from rlstitch.reporting.matrix.data import read_matrix
    from rlstitch.storage import save_space
    from rlstitch.storage.staging import recover

    tiny = {
        "environment": "MiniGrid-Empty-5x5-v0", "device": "cpu", "threads": 1, "num_envs": 4, "total_steps": 256,
        "ppo.n_steps": 32, "ppo.n_minibatches": 2, "ppo.n_epochs": 1, "encoder.latent_dim": 8, "controller.hidden": [8],
        "evaluation.every_steps": 128, "evaluation.episodes": 1, "checkpoint.every_steps": 128,
    }  # fmt: skip

    def agent(name: str, seed: int, sensor: str = "pixels") -> Agent:
        import torch

        own = {"name": name, "seed": seed, "sensor": sensor}
        card, _ = draft_card(load_config("minigrid-lavagap-s7", {**tiny, **own}))
        torch.manual_seed(seed)
        return Agent(build_encoder(card.encoder), build_controller(card.controller), card)

    for seed, name in enumerate("ab"):
        folder = save_agent(agent(name, seed), place / "agents" / name)
        hub.commit(f"someone/{name}", {path.name: path.read_bytes() for path in folder.iterdir()})
    symbolic = save_agent(agent("symbolic", 0, "symbolic"), place / "agents" / "symbolic")
    rng = np.random.default_rng(0)
    for name in "xyz":
        save_space(LatentSpace(rng.normal(size=(40, 8)).astype(np.float32)), place / f"{name}.npz")
    for name, count in (("short", 40), ("long", 60)):
        (place / f"{name}.txt").write_text("".join(f"line {number} of {name}\n" for number in range(count)))
    a, b = (str(place / "agents" / name) for name in "ab")

    def agents(pattern: str = "agents/*") -> dict[str, list[str]]:
        """Load all agents, after what `rlstitch list` does first."""
        folders = [path for path in Path().glob(pattern) if not path.name.startswith(".")]
        for parent in {Path(pattern).parent, *(path.parent for path in folders)}:
            recover(parent)
        loaded = {path.name: load_agent(path) for path in sorted(Path().glob(pattern)) if path.name[0] != "."}
        return {n: [weights_sha256(part) for part in (one.encoder, one.controller)] for n, one in loaded.items()}

    def files(*patterns: str) -> dict[str, str]:
        """Hash files, after what the next writer in their folders does first."""
        for folder in {path.parent for pattern in patterns for path in Path().glob(pattern)}:
            recover(folder)
        paths = sorted(path for pattern in patterns for path in Path().glob(pattern))
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def rows() -> object:
        data = read_matrix("m")
        times = ("seconds", "written")
        return data.methods, [{key: value for key, value in row.items() if key not in times} for row in data.rows]

    def measure(methods: str) -> None:
        matrix([a, b], methods=methods.split(), episodes=2, pairs=64, out=Path("m"))

    def measured_and_reported() -> None:
        measure("naive")
        report("m", latents=0)
        measure("naive affine")

    def trained(seed: int) -> None:
        train(load_config("minigrid-lavagap-s7", {**tiny, "name": "one", "seed": seed}), force=True, progress="lines")

    def swept(steps: int) -> None:
        for seed in (1, 2):  # as the workers of a sweep do
            own = {"name": f"s{seed}", "seed": seed, "total_steps": steps}
            config = load_config("minigrid-lavagap-s7", {**tiny, **own})
            train_one(config.resolved(), "agents", "runs")

    def demonstrated(seed: int) -> None:
        settings = {**tiny, "evaluation.video": False}
        demo(seed=seed, out=Path("demo"), preset="minigrid-lavagap-s7", workers=1, settings=settings, gate=-1.0)

    def imported(seed: int) -> None:
        world = world_of("MiniGrid-Empty-5x5-v0", "standard", "standard", {})
        import_agent(place / f"model-{seed}.zip", name="one", world=world, episodes=2, force=True)

    _save_models(place, world_of("MiniGrid-Empty-5x5-v0", "standard", "standard", {}))
    pages = ("m/report.*", "m/tables/*")

    def stitched(method: str) -> None:
        stitch(a, b, method=method, pairs=64, episodes=2, name="one", force=True)

    def relativized(seed: int) -> None:
        relativize(a, anchors=12, seed=seed, name="one", episodes=2, force=True)

    def grafted(seed: int) -> None:
        graft(symbolic, sensor="pixels", rounds=2, states=60, steps=8, seed=seed, episodes=2, name="one", force=True)

    def pulled(agent: str) -> None:
        pull(f"someone/{agent}", name="one", force=True)

    def exported(agent: str) -> None:
        export_agent(agent, form="safetensors", output=Path("e.safetensors"), force=True)

    def encoded(name: str) -> None:
        encode("text", "hashing", place / f"{name}.txt", "s.safetensors", force=True)

    def translated(name: str) -> None:
        translate_spaces(place / "x.npz", place / name, method="affine", out=Path("t.safetensors"), force=True)

    def paired(seed: int) -> None:
        collect_pairs(a, b, "p.npz", count=16, seed=seed, force=True)

    def filmed(seed: int) -> None:
        evaluate(a, episodes=2, seed=seed, video=True)

    def replacing(name: str, make: Callable[..., object], old: Any, new: Any, state: Callable[[], object]) -> Command:
        return Command(name, lambda: make(old), lambda: make(new), state, several=name in ("sweep", "demo"))

    return [
        replacing("latent encode", encoded, "short", "long", lambda: files("s.safetensors")),
        replacing("latent translate", translated, "y.npz", "z.npz", lambda: files("t.safetensors")),
        replacing("export", exported, a, b, lambda: files("e.safetensors")),
        replacing("pairs", paired, 1, 2, lambda: files("p.npz")),
        replacing("import", imported, 1, 2, agents),
        replacing("stitch", stitched, "affine", "orthogonal", agents),
        replacing("evaluate --video", filmed, 1, 2, lambda: files("videos/*")),
        replacing("matrix", measure, "naive", "naive affine", rows),
        Command("report", measured_and_reported, lambda: report("m", latents=0), lambda: files(*pages)),
        replacing("train", trained, 1, 2, agents),
        replacing("sweep", swept, 128, 256, agents),
        replacing("relativize", relativized, 1, 2, agents),
        replacing("graft", grafted, 1, 2, agents),
        replacing("pull", pulled, "a", "b", agents),
        replacing("demo", demonstrated, 1, 2, lambda: agents("demo/agents/*")),
    ]  # fmt: skip


def _save_models(place: Path, world: Any) -> None:
    """Save two untrained models of Stable-Baselines3."""
    from stable_baselines3 import PPO

    from rlstitch.envs import make_vec
    from rlstitch.envs.sb3 import StableBaselinesVecEnv

    for seed in (1, 2):
        environment = StableBaselinesVecEnv(make_vec(world, 1, seed=0))
        model = PPO("CnnPolicy", environment, n_steps=8, batch_size=8, seed=seed, device="cpu")
        model.save(place / f"model-{seed}.zip")


def read_beside_writers(place: Path, loads: int) -> dict[str, int]:
    """Load an agent this often while two processes replace it; an error or a mixture counts as mixed."""
    from rlstitch.agents.artefact import load_agent, save_agent, weights_sha256
    from rlstitch.errors import RlstitchError

    agents = [load_agent(place / "agents" / name) for name in "ab"]
    pairs = {tuple(weights_sha256(part) for part in (one.encoder, one.controller)) for one in agents}
    target, stop = place / "shared" / "one", place / "stop"
    save_agent(agents[0], target)

    def write(agent: Any) -> None:
        while not stop.exists():
            save_agent(agent, target, force=True)

    children = [_child(lambda agent=agent: write(agent)) for agent in agents]
    seen: dict[str, int] = {"loads": loads, "mixed": 0, "changes": 0}
    last: object = None
    for _ in range(loads):
        try:
            one = load_agent(target)
            actual = tuple(weights_sha256(part) for part in (one.encoder, one.controller))
        except RlstitchError as error:
            print(f"reader: {error}", flush=True)
            actual = ()
        seen["mixed"] += actual not in pairs
        seen["changes"] += actual != last
        last = actual
    stop.touch()
    for child in children:
        _ended_by_kill(child)
    return seen


def page(outcomes: list[dict[str, Any]], readers: dict[str, int], seed: int) -> str:
    """Return the results in Markdown."""
    lines = [
        "# Killed between two renames, and at any moment",
        "",
        f"`python benchmarks/kill.py --seed {seed}`: an older result, and the command that replaces it, killed before",
        "each of its renames and at random moments. Afterwards readers see the older result or the new one; the",
        "command is begun again, and ends with the new one and no half-written files.",
        "",
        "| command | kills at renames | at random | older result | new result | lost or mixed | not recovered |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(str(value) for value in outcome.values()) + " |" for outcome in outcomes]
    lines += [
        "",
        f"A reader beside two writers that replace one agent: {readers['loads']:,} loads, {readers['mixed']} mixed or",
        f"refused; the agent had changed since the load before in {readers['changes']:,} of them.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Kill, look, begin again, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=12, help="kills at random moments, of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loads", type=int, default=1000)
    parser.add_argument("--only", nargs="+", help="names of commands, and `readers`")
    options = parser.parse_args()
    _make_small()
    with tempfile.TemporaryDirectory() as name, hub_server() as hub:
        place = Path(name)
        hosted = {"HF_ENDPOINT": hub.url, "HF_HOME": str(place / "cache"), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        os.environ.update(hosted)  # read when the library is imported
        for number, command in enumerate(commands(place, hub)):
            if options.only and command.name not in options.only:
                continue
            started = time.monotonic()
            draw = random.Random(f"{command.name} {options.seed}")
            outcome = disturb(command, place / f"{number}", options.random, draw)
            print(outcome, f"{time.monotonic() - started:.0f} s", flush=True)
            _store(options.seed, command.name, asdict(outcome))
        if not options.only or "readers" in options.only:
            _store(options.seed, "readers", read_beside_writers(place, options.loads))


def _make_small() -> None:
    """Shorten what does not write: final evaluations, distillation, videos."""
    from rlstitch.api import demo, relativize, train
    from rlstitch.rollouts import video

    train.FINAL_EPISODES = demo._EPISODES = 2
    states = relativize.visited_states
    relativize.visited_states = lambda agent, **options: states(agent, count=60, **options)
    relativize.Distillation = partial(relativize.Distillation, steps=10, batch_size=32)
    video._FRAMES, video._TILE = 6, 8


def _store(seed: int, name: str, result: dict[str, Any]) -> None:
    """Put a result into the stored ones, and write the page."""
    from rlstitch.storage import read_json, write_json

    stored = RESULTS.with_suffix(".json")
    results = {**(read_json(stored) if stored.is_file() else {}), name: result}
    write_json(stored, results)
    readers = results.get("readers", {"loads": 0, "mixed": 0, "changes": 0})
    RESULTS.with_suffix(".md").write_text(page([r for key, r in results.items() if key != "readers"], readers, seed))


if __name__ == "__main__":
    main()

"""LunarLander: how much of its state images show, by regression: the coefficient of determination of each number.

    python benchmarks/lunar_lander_vision.py [--steps 900] [--updates 3000]

Gymnasium's heuristic plays with 10 % random actions and action repeat 4; the last sixth of the steps is held out.
`whole` images go through the encoder `nature`; else squares of cells, cut from each image of the stack around the
lander's true place, in whole cells, go with that place through a multilayer perceptron. Sensors can be joined only as
well as images show what the controller acts on. Needs `pip install "rlstitch[box2d]"`.
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rlstitch.agents.encoder import build_encoder, encoder_input
from rlstitch.envs import World, make_vec
from rlstitch.envs.families.lunar_lander.drawing import HEIGHT, SCALE, WIDTH, Drawing
from rlstitch.envs.families.lunar_lander.lander import STATES, make_lander, read_scenes

NUM_ENVS, HELD = 32, 1 / 6
NAMES = ("x", "y", "vx", "vy", "angle", "angular velocity")


class Variant(NamedTuple):
    """What is seen of the state."""

    side: int
    stack: int
    cut: int
    """Side of the square around the lander; 0: whole images."""
    flames: bool = True


VARIANTS = (
    Variant(64, 3, 0),
    Variant(64, 3, 12),
    Variant(64, 3, 12, flames=False),
    Variant(64, 5, 12),
    Variant(96, 3, 16),
    Variant(96, 5, 16),
)


def play(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scenes `(steps, NUM_ENVS, SCENE)`, and whether each begins an episode."""
    from gymnasium.envs.box2d.lunar_lander import heuristic

    rng, one = np.random.default_rng(0), make_lander(drawn=False)
    env = make_vec(World("LunarLander-v3", sensor="pixels", size=8, action_repeat=4), NUM_ENVS, seed=0)
    env.reset()
    scenes, begun, begins = [], [], np.ones(NUM_ENVS, dtype=bool)
    for _ in range(steps):
        scenes.append(env.underlying.copy())
        begun.append(begins)
        states = scenes[-1][:, :STATES]
        actions = [int(rng.integers(4)) if rng.random() < 0.1 else int(heuristic(one, state)) for state in states]
        _, _, terminated, truncated, _ = env.step(np.array(actions))
        begins = terminated | truncated
    env.close()
    return np.stack(scenes), np.stack(begun)


def stacked(begun: np.ndarray, stack: int) -> np.ndarray:
    """Return the numbers `(steps, NUM_ENVS, stack)` of the scenes of each stack, the oldest first."""
    numbers = np.arange(begun.size).reshape(begun.shape)
    stacks, last = [], np.repeat(numbers[0][:, None], stack, axis=1)
    for row, begins in zip(numbers, begun, strict=True):
        last = np.concatenate([last[:, 1:], row[:, None]], axis=1)
        last[begins] = row[begins, None]
        stacks.append(last.copy())
    return np.stack(stacks)


def squares(images: np.ndarray, scenes: np.ndarray, cut: int) -> tuple[Tensor, Tensor]:
    """Return squares of cells `(n, cut * cut * 3)` around landers, in units of their deviation, and their cells."""
    side = images.shape[1]
    places = read_scenes(scenes).bodies[:, 0, :2] * SCALE * (1, -1) + (0, HEIGHT)
    cells = np.floor(places * side / (WIDTH, HEIGHT)).astype(int).clip(0, side - 1)
    padded = np.pad(images, ((0, 0), (cut, cut), (cut, cut), (0, 0)))
    window = np.arange(cut - cut // 2, 2 * cut - cut // 2)
    columns, rows = (cells[:, axis, None] + window for axis in (0, 1))
    squares = padded[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None]]
    flat = torch.from_numpy(squares.reshape(len(images), -1)).float()
    return (flat - flat.mean(dim=0)) / flat.std(), torch.from_numpy(cells).float()


def inputs(variant: Variant, scenes: np.ndarray, stacks: np.ndarray) -> tuple[nn.Module, Tensor]:
    """Return an untrained network, and what it takes `(n, ...)`."""
    if not variant.flames:
        scenes = scenes.copy()
        read_scenes(scenes).sparks[..., 2] = -1
    draw = Drawing("black", variant.side, variant.side)
    images = np.concatenate([draw(part) for part in np.array_split(scenes, len(scenes) // 512 + 1)])
    if not variant.cut:
        seen = torch.from_numpy(np.concatenate([images[stacks[:, i]] for i in range(variant.stack)], axis=-1))
        shape = list(seen.shape[1:])
        encoder = build_encoder({"kind": "cnn", "arch": "nature", "image_shape": shape, "latent_dim": 128})
        return nn.Sequential(encoder, nn.ReLU(), nn.Linear(128, STATES)), seen
    seen, cells = squares(images, scenes, variant.cut)
    last, moved = cells[stacks[:, -1]], cells[stacks[:, :-1]] - cells[stacks[:, -1:]]
    parts = [seen[stacks].flatten(1), moved.flatten(1), 4 * last / variant.side - 2]
    taken = torch.cat(parts, dim=1)
    layers = (nn.Linear(taken.shape[1], 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, STATES))
    return nn.Sequential(*layers), taken


def determination(network: nn.Module, taken: Tensor, states: Tensor, held: int, updates: int) -> Tensor:
    """Fit states on all rows but the last `held`; return the coefficient of determination of each number on these.

    Judged are states in the air with the lander in the image: elsewhere nothing is to be steered, or seen.
    """
    mean, deviation = states[:-held].mean(dim=0), states[:-held].std(dim=0)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, updates)
    for _ in range(updates):
        rows = torch.randint(len(taken) - held, (256,))
        loss = nn.functional.mse_loss(network(ready(taken[rows])), (states[rows] - mean) / deviation)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        estimates = torch.cat([network(ready(part)) for part in taken[-held:].split(1024)]) * deviation + mean
    true = states[-held:]
    judged = (true[:, 6:].sum(dim=1) == 0) & (true[:, 1] < 1.35)
    errors = (estimates - true)[judged].square().mean(dim=0)
    return (1 - errors / true[judged].var(dim=0))[: len(NAMES)]


def ready(taken: Tensor) -> Tensor:
    """Return what a network takes: of images their floats."""
    return encoder_input(taken) if taken.dtype == torch.uint8 else taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=900, help=f"of each of {NUM_ENVS} environments")
    parser.add_argument("--updates", type=int, default=3000, help="of 256 stacks each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scenes, begun = play(options.steps)
    flat = scenes.reshape(-1, scenes.shape[-1])
    states, held = torch.from_numpy(flat[:, :STATES].copy()), int(HELD * options.steps) * NUM_ENVS
    print(f"{len(flat) - held:,} stacks to fit on, {held:,} held out")
    print(f"| side | stack | seen | {' | '.join(NAMES)} | seconds |\n{'|---' * (4 + len(NAMES))}|")
    for variant in VARIANTS:
        torch.manual_seed(0)
        start = time.process_time()
        network, taken = inputs(variant, flat, stacked(begun, variant.stack).reshape(len(flat), -1))
        shares = determination(network, taken, states, held, options.updates)
        seen = f"{variant.cut} × {variant.cut}" if variant.cut else "whole"
        seen += "" if variant.flames else ", no flames"
        numbers = " | ".join(f"{share:.2f}" for share in shares.tolist())
        print(
            f"| {variant.side} | {variant.stack} | {seen} | {numbers} | {time.process_time() - start:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()

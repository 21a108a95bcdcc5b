"""How long one run takes until the agent is good: `rlstitch train minigrid-doorkey` beside stock Stable-Baselines3.

Good is 95 % success of sampled actions in 100 episodes that training never saw, in two evaluations in a row. Both sides
have the network and the PPO settings of the preset, one thread, and rollouts of one size, from the number of
environments at which they step fastest; the stock side has `RGBImgPartialObsWrapper`, Stable-Baselines3's own buffer
and Adam, and its fastest vector environment. Evaluations, every 16,384 steps as in the preset, are left out of the
time.

    python benchmarks/competence.py [--seeds 1 2 3 4 5] [--preset minigrid-doorkey]

Of one seed both sides run one after the other. Writes docs/results/competence.md and .json; seeds that are in the
table already are kept.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from rlstitch.agents.card import AgentCard, current_versions
from rlstitch.api.train import draft_card
from rlstitch.config.training import PPOConfig, TrainConfig, load_config
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.storage import read_json, write_json
from rlstitch.training.callbacks import current_agent
from rlstitch.training.policy import EncoderControllerPolicy, EncoderExtractor
from rlstitch.training.ppo import build_ppo, sb3_settings

RESULTS = Path("docs/results/competence")
SUCCESS, IN_A_ROW, EPISODES = 0.95, 2, 100
UNSEEN = 10_000
"""Seed of the episodes that are judged."""
KINDS = {"dummy": DummyVecEnv, "subproc": SubprocVecEnv}
SIDES = {"rlstitch": ("vector",), "stock": tuple(KINDS)}
"""Kinds of vector environments by side."""
NUMBERS = (8, 16, 32)


def stock(config: TrainConfig, card: AgentCard, kind: str, number: int) -> PPO:
    """Return Stable-Baselines3's PPO with a preset's network and settings on its own environments."""

    def environment() -> gymnasium.Env[Any, Any]:
        from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper
        from stable_baselines3.common.monitor import Monitor

        plain = gymnasium.make(config.world.environment)
        return Monitor(ImgObsWrapper(RGBImgPartialObsWrapper(plain, tile_size=8)))

    return PPO(
        EncoderControllerPolicy,
        KINDS[kind]([environment] * number),
        **sb3_settings(settings_for(config, number), number),
        seed=config.seed,
        device="cpu",
        policy_kwargs={
            "optimizer_kwargs": {"eps": 1e-5},
            "controller_spec": card.controller,
            "features_extractor_class": EncoderExtractor,
            "features_extractor_kwargs": {"encoder_spec": card.encoder},
        },
    )


def ours(config: TrainConfig, card: AgentCard, number: int) -> PPO:
    """Return the PPO of `rlstitch train --set num_envs=NUMBER ppo.n_steps=...`."""
    return build_ppo(card, num_envs=number, device="cpu", **settings_for(config, number).model_dump())


def settings_for(config: TrainConfig, number: int) -> PPOConfig:
    """Return a preset's settings of PPO for rollouts of its size from another number of environments."""
    return config.ppo.model_copy(update={"n_steps": config.num_envs * config.ppo.n_steps // number})


def build(side: str, config: TrainConfig, card: AgentCard, environments: str) -> PPO:
    """Return the PPO of a side with environments such as `dummy, 32`."""
    kind, number = environments.split(", ")
    return ours(config, card, int(number)) if side == "rlstitch" else stock(config, card, kind, int(number))


def rate(model: PPO, steps: int) -> float:
    """Return the steps a second of a side, after a warm-up of a rollout of so many steps."""
    model.learn(steps)
    started = time.perf_counter()
    model.learn(4 * steps, reset_num_timesteps=False)
    seconds = time.perf_counter() - started
    model.env.close()
    return 4 * steps / seconds


def train_until_good(model: PPO, card: AgentCard, config: TrainConfig) -> dict[str, Any]:
    """Train until the agent is good, or for all steps of the config; return steps, seconds and the last success."""
    seconds, row, steps = 0.0, 0, 0
    success = 0.0
    while row < IN_A_ROW and steps < config.total_steps:
        started = time.perf_counter()
        model.learn(config.evaluation.every_steps, reset_num_timesteps=False)
        seconds += time.perf_counter() - started
        steps = model.num_timesteps
        estimate = evaluate(current_agent(model, card), episodes=EPISODES, seed=UNSEEN).summary().success
        success = 0.0 if estimate is None else estimate.estimate
        row = row + 1 if success >= SUCCESS else 0
    model.env.close()
    return {"good": row >= IN_A_ROW, "steps": steps, "seconds": round(seconds, 1), "success": success}


def page(rows: list[dict[str, Any]], rates: dict[str, dict[str, float]], preset: str) -> str:
    """Return the results in Markdown."""
    best = {side: max(of_side, key=lambda name: of_side[name]) for side, of_side in rates.items()}
    ratios = [
        stocked["seconds"] / mine["seconds"]
        for mine in rows
        for stocked in rows
        if (mine["side"], stocked["side"], mine["seed"]) == ("rlstitch", "stock", stocked["seed"])
    ]
    seconds = {side: sum(row["seconds"] for row in rows if row["side"] == side) for side in SIDES}
    steps = {side: sum(row["steps"] for row in rows if row["side"] == side) for side in SIDES}
    by_step = steps["rlstitch"] / seconds["rlstitch"] / (steps["stock"] / seconds["stock"])
    never = [row["seed"] for row in rows if not row["good"]]
    number = best["rlstitch"].split(", ")[1]
    lines = [
        "# Time to competence",
        "",
        f"`python benchmarks/competence.py`: `{preset}` until 95 % success (sampled actions, 100 fresh episodes, two",
        "evaluations in a row), one thread. Stock Stable-Baselines3 has `RGBImgPartialObsWrapper`, the same network",
        "and PPO settings. Rollouts are of one size, from the number of environments at which a side is fastest:",
        f"{number} and {best['stock']}. Evaluations are left out.",
        "",
        f"**Median of the ratios of seconds over {len(ratios)} seeds: {statistics.median(ratios):.1f}** "
        f"({min(ratios):.1f} to {max(ratios):.1f}); of the seconds of all seeds:",
        f"{seconds['stock'] / seconds['rlstitch']:.1f}; of those of a step: {by_step:.1f}. Both learn by the same PPO,",
        "so that the number of steps is a matter of the seed: a step costs rlstitch less. The aim was 4.",
        *([f"Not good within all steps of the preset: seeds {', '.join(map(str, never))}."] if never else []),
        "",
        "| seed | side | steps | seconds | steps/s | success at the end |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['seed']} | {row['side']} | {row['steps']:,} | {row['seconds']:.0f} | "
        f"{row['steps'] / row['seconds']:,.0f} | {row['success']:.0%} |"
        for row in rows
    ]
    lines += ["", "Rates by environments, steps a second:", "", "| side | environments | steps/s |", "|---|---|---|"]
    lines += [f"| {side} | {name} | {value:,.0f} |" for side in SIDES for name, value in rates[side].items()]
    versions = ", ".join(f"{name} {number}" for name, number in current_versions().items())
    lines += [
        "",
        f"Two shared x86-64 processors; {versions}. CleanRL is not in the table: its published scripts for images",
        "(`ppo_atari.py`) have convolutions for 84 x 84 pixels, which cannot take the 56 x 56 of this world.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run both sides on each seed and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--preset", default="minigrid-doorkey")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stored = RESULTS.with_suffix(".json")
    results: dict[str, Any] = read_json(stored) if stored.is_file() else {"rates": {}, "rows": []}
    rates, rows = results["rates"], results["rows"]
    for seed in options.seeds:
        if any(row["seed"] == seed for row in rows):
            continue
        config = load_config(options.preset, {"seed": seed, "name": "competence", "device": "cpu"})
        card, _ = draft_card(config)
        if not rates:
            for side, kinds in SIDES.items():
                choices, steps = (
                    [f"{kind}, {n}" for kind in kinds for n in NUMBERS],
                    config.num_envs * config.ppo.n_steps,
                )
                rates[side] = {name: round(rate(build(side, config, card, name), steps)) for name in choices}
            print(rates, flush=True)
        for side, of_side in rates.items():
            environments = max(of_side, key=lambda name: of_side[name])
            model = build(side, config, card, environments)
            rows.append({"seed": seed, "side": side, **train_until_good(model, card, config)})
            print(rows[-1], flush=True)
        write_json(stored, results)
        RESULTS.with_suffix(".md").write_text(page(rows, rates, options.preset))


if __name__ == "__main__":
    main()

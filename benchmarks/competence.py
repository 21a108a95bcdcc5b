"""How long one run takes until the agent is good: `rlstitch train minigrid-doorkey` beside stock Stable-Baselines3.

Good is 95 % success of sampled actions in 100 episodes that training never saw, in two evaluations in a row. Both sides
have the network and the PPO settings of the preset, one thread, and rollouts of one size, from the number of
environments at which they step fastest; the stock side has `RGBImgPartialObsWrapper`, Stable-Baselines3's own buffer
and Adam, and its fastest vector environment. Evaluations, every 16,384 steps as in the preset, are left out of the
time.

    python benchmarks/competence.py [--seeds 1 2 3 4 5] [--preset minigrid-doorkey] [--cleanrl PATH]

With a clone of CleanRL its `ppo.py` is a third side, with the environments of the stock side and the same network.
Of one seed all sides run one after the other. Writes docs/results/competence.md and .json; what is in the table
already is kept.
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv
from torch import Tensor, nn

import cleanrl_ppo
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
SIDES = {"rlstitch": ("vector",), "stock": tuple(KINDS), "cleanrl": ("sync",)}
"""Kinds of vector environments by side."""
NUMBERS = (8, 16, 32)


def environment(config: TrainConfig) -> gymnasium.Env[Any, Any]:
    """Return a preset's world as MiniGrid's own wrappers draw it."""
    from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper

    return ImgObsWrapper(RGBImgPartialObsWrapper(gymnasium.make(config.world.environment), tile_size=8))


def policy_settings(card: AgentCard) -> dict[str, Any]:
    """Return the arguments of the policy that give it a card's network."""
    return {
        "controller_spec": card.controller,
        "features_extractor_class": EncoderExtractor,
        "features_extractor_kwargs": {"encoder_spec": card.encoder},
    }


def stock(config: TrainConfig, card: AgentCard, kind: str, number: int) -> PPO:
    """Return Stable-Baselines3's PPO with a preset's network and settings on its own environments."""
    return PPO(
        EncoderControllerPolicy,
        KINDS[kind]([lambda: Monitor(environment(config))] * number),
        **sb3_settings(settings_for(config, number), number),
        seed=config.seed,
        device="cpu",
        policy_kwargs={"optimizer_kwargs": {"eps": 1e-5}, **policy_settings(card)},
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


class Judge:
    """Plays an agent's evaluations, and knows when the agent is good."""

    def __init__(self, config: TrainConfig, card: AgentCard) -> None:
        self.card, self.limit = card, rollouts_of(config) * config.num_envs * config.ppo.n_steps
        self.steps, self.seconds, self.success, self.row = 0, 0.0, 0.0, 0

    def ends(self, model: Any, steps: int, seconds: float) -> bool:
        """Whether a model is good or has had all steps of the preset, now that it had so many in so much time."""
        self.steps, self.seconds = steps, seconds
        estimate = evaluate(current_agent(model, self.card), episodes=EPISODES, seed=UNSEEN).summary().success
        self.success = 0.0 if estimate is None else estimate.estimate
        self.row = self.row + 1 if self.success >= SUCCESS else 0
        return self.row >= IN_A_ROW or steps >= self.limit

    def result(self) -> dict[str, Any]:
        """Return what was seen last."""
        return {
            "good": self.row >= IN_A_ROW,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "success": self.success,
        }


def rollouts_of(config: TrainConfig) -> int:
    """Return the rollouts of a preset, the last evaluation included."""
    evaluations = math.ceil(config.total_steps / config.evaluation.every_steps)
    return evaluations * config.evaluation.every_steps // (config.num_envs * config.ppo.n_steps)


def train_until_good(model: PPO, config: TrainConfig, judge: Judge) -> None:
    """Train until the judge ends it."""
    seconds, ends = 0.0, False
    while not ends:
        started = time.perf_counter()
        model.learn(config.evaluation.every_steps, reset_num_timesteps=False)
        seconds += time.perf_counter() - started
        ends = judge.ends(model, model.num_timesteps, seconds)
    model.env.close()


class CleanRLAgent(nn.Module):
    """A preset's network with the methods of CleanRL's agents; after each rollout it may stop the script."""

    def __init__(self, card: AgentCard, after_rollout: AfterRollout, envs: SyncVectorEnv) -> None:
        super().__init__()
        self.policy = EncoderControllerPolicy(
            envs.single_observation_space, envs.single_action_space, lambda _: 0.0, **policy_settings(card)
        )
        self.after_rollout, self.rollouts = after_rollout, 0

    def get_value(self, images: Tensor) -> Tensor:
        """Return the values of the images after a rollout; CleanRL asks for them nowhere else."""
        self.rollouts += 1
        if self.after_rollout(self, self.rollouts):
            raise cleanrl_ppo.Stop
        return self.policy(images.clone())[1]

    def get_action_and_value(self, images: Tensor, action: Tensor | None = None) -> tuple[Tensor | None, ...]:
        """Return actions, log probabilities, entropies (None in rollouts, where CleanRL ignores them) and values."""
        if action is None:
            actions, values, log_prob = self.policy(images.clone())
            return actions, log_prob, None, values
        values, log_prob, entropy = self.policy.evaluate_actions(images, action)
        return action, log_prob, entropy, values


AfterRollout = Callable[[CleanRLAgent, int], bool]
"""Gets the network and the number of rollouts so far, and says whether the script ends."""


def run_cleanrl(
    checkout: Path,
    config: TrainConfig,
    card: AgentCard,
    number: int,
    after_rollout: Callable[[CleanRLAgent, int], bool],
) -> None:
    """Run CleanRL's PPO with a preset's network and settings until `after_rollout` of a network and a count is true."""
    settings = settings_for(config, number)
    size = number * settings.n_steps
    arguments = {
        "seed": config.seed, "total-timesteps": rollouts_of(config) * size, "num-envs": number,
        "num-steps": settings.n_steps, "learning-rate": settings.learning_rate, "gamma": settings.gamma,
        "gae-lambda": settings.gae_lambda, "num-minibatches": settings.n_minibatches,
        "update-epochs": settings.n_epochs, "clip-coef": settings.clip, "ent-coef": settings.entropy,
        "vf-coef": 2 * settings.value,  # of half the squared error
        "max-grad-norm": settings.max_grad_norm,
    }  # fmt: skip
    cleanrl_ppo.run(
        checkout,
        [
            *(part for name, value in arguments.items() for part in (f"--{name}", str(value))),
            "--no-cuda",
            "--no-clip-vloss",
            "--anneal-lr" if settings.lr_schedule == "linear" else "--no-anneal-lr",
        ],
        lambda: channels_first(environment(config)),
        functools.partial(CleanRLAgent, card, after_rollout),
    )


def channels_first(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Return an environment whose images `(H, W, C)` become `(C, H, W)`."""
    height, width, channels = env.observation_space.shape or ()
    space = gymnasium.spaces.Box(0, 255, (channels, height, width), np.uint8)
    return gymnasium.wrappers.TransformObservation(env, lambda image: image.transpose(2, 0, 1), space)


def cleanrl_rate(checkout: Path, config: TrainConfig, card: AgentCard, number: int) -> float:
    """Return the steps a second of CleanRL's side, after a warm-up of a rollout."""
    times: list[float] = []

    def after_rollout(_: CleanRLAgent, rollouts: int) -> bool:
        times.append(time.perf_counter())
        return rollouts == 5

    run_cleanrl(checkout, config, card, number, after_rollout)
    return 4 * config.num_envs * config.ppo.n_steps / (times[-1] - times[0])


def train_cleanrl_until_good(checkout: Path, config: TrainConfig, number: int, judge: Judge) -> None:
    """Train CleanRL's side until the judge ends it. It is judged between a rollout and the update that follows."""
    size, seconds, started = config.num_envs * config.ppo.n_steps, 0.0, time.perf_counter()

    def after_rollout(network: CleanRLAgent, rollouts: int) -> bool:
        nonlocal seconds, started
        if rollouts * size % config.evaluation.every_steps:
            return False
        seconds += time.perf_counter() - started
        ends = judge.ends(network, rollouts * size, seconds)
        started = time.perf_counter()
        return ends

    run_cleanrl(checkout, config, judge.card, number, after_rollout)


def ratios_to(rows: list[dict[str, Any]], side: str) -> list[float]:
    """Return the seconds of a side over those of rlstitch, a seed each."""
    mine = {row["seed"]: row["seconds"] for row in rows if row["side"] == "rlstitch"}
    return [row["seconds"] / mine[row["seed"]] for row in rows if row["side"] == side]


def page(rows: list[dict[str, Any]], rates: dict[str, dict[str, float]], preset: str, notes: str) -> str:
    """Return the results in Markdown; `notes` are what the file of results says of how they came about."""
    best = {side: max(of_side, key=lambda name: of_side[name]) for side, of_side in rates.items()}
    seconds = {side: sum(row["seconds"] for row in rows if row["side"] == side) for side in rates}
    steps = {side: sum(row["steps"] for row in rows if row["side"] == side) for side in rates}
    never = [f"{row['side']}, seed {row['seed']}" for row in rows if not row["good"]]
    lines = [
        "# Time to competence",
        "",
        f"`python benchmarks/competence.py [--cleanrl PATH]`: `{preset}` until 95 % success (sampled actions, 100",
        "fresh episodes, two evaluations in a row), one thread. Stock Stable-Baselines3 has `RGBImgPartialObsWrapper`,",
        "the same network and PPO settings; so has CleanRL's `ppo.py`, whose environment and network were replaced.",
        "Rollouts are of one size, from the number of environments at which a side is fastest. The time of evaluations",
        "is not counted. The aim was a ratio of 4. All sides use the same PPO, so that differences in the number of",
        "steps are due to the seeds; rlstitch takes less time for a step.",
        "",
        "| seconds of | environments | seeds | **median of ratios to rlstitch** | range | all seeds | a step |",
        "|---|---|---:|---:|---|---:|---:|",
        f"| rlstitch | {best['rlstitch']} | {len(ratios_to(rows, 'rlstitch'))} | 1 | | 1 | 1 |",
    ]
    for side in [side for side in rates if side != "rlstitch"]:
        ratios = ratios_to(rows, side)
        mine = {row["seed"]: row for row in rows if row["side"] == "rlstitch"}
        same = [mine[row["seed"]] for row in rows if row["side"] == side]
        of_all = seconds[side] / sum(row["seconds"] for row in same)
        by_step = seconds[side] / steps[side] / (seconds["rlstitch"] / steps["rlstitch"])
        lines.append(
            f"| {side} | {best[side]} | {len(ratios)} | **{statistics.median(ratios):.1f}** | "
            f"{min(ratios):.1f} to {max(ratios):.1f} | {of_all:.1f} | {by_step:.1f} |"
        )
    lines += [
        "",
        *([f"Not good within all steps of the preset: {'; '.join(never)}.", ""] if never else []),
        *([notes, ""] if notes else []),
        "| seed | side | steps | seconds | steps/s | success at the end |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['seed']} | {row['side']} | {row['steps']:,} | {row['seconds']:.0f} | "
        f"{row['steps'] / row['seconds']:,.0f} | {row['success']:.0%} |"
        for row in rows
    ]
    lines += ["", "Rates by environments, steps a second:", "", "| side | environments | steps/s |", "|---|---|---|"]
    lines += [f"| {side} | {name} | {value:,.0f} |" for side in rates for name, value in rates[side].items()]
    versions = ", ".join(f"{name} {number}" for name, number in current_versions().items())
    lines += ["", f"Two x86-64 processors; {versions}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all sides on each seed and write the table after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--preset", default="minigrid-doorkey")
    parser.add_argument("--cleanrl", type=Path, metavar="PATH", help="a clone of CleanRL, whose ppo.py is measured too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stored = RESULTS.with_suffix(".json")
    results: dict[str, Any] = read_json(stored) if stored.is_file() else {"rates": {}, "rows": []}
    rates, rows = results["rates"], results["rows"]
    sides = {side: kinds for side, kinds in SIDES.items() if side != "cleanrl" or options.cleanrl}
    for seed in options.seeds:
        config = load_config(options.preset, {"seed": seed, "name": "competence", "device": "cpu"})
        card, _ = draft_card(config)
        size = config.num_envs * config.ppo.n_steps
        for side, kinds in sides.items():
            if any((row["seed"], row["side"]) == (seed, side) for row in rows):
                continue
            if side not in rates:
                rates[side] = {
                    f"{kind}, {number}": round(
                        cleanrl_rate(options.cleanrl, config, card, number)
                        if side == "cleanrl"
                        else rate(build(side, config, card, f"{kind}, {number}"), size)
                    )
                    for kind in kinds
                    for number in NUMBERS
                }
                print(side, rates[side], flush=True)
            environments = max(rates[side], key=lambda name: rates[side][name])
            judge = Judge(config, card)
            if side == "cleanrl":
                train_cleanrl_until_good(options.cleanrl, config, int(environments.split(", ")[1]), judge)
            else:
                train_until_good(build(side, config, card, environments), config, judge)
            result = {"seed": seed, "side": side, **judge.result()}
            rows.append(result)
            rows.sort(key=lambda row: row["seed"])
            print(result, flush=True)
            write_json(stored, results)
            RESULTS.with_suffix(".md").write_text(page(rows, rates, options.preset, results.get("notes", "")))


if __name__ == "__main__":
    main()

"""LunarLander: what an agent of states earns where it sees estimates of them, by their errors and by shrinkage.

    python benchmarks/lunar_lander_noise.py [--agent lunarlander-state-s1] [--episodes 64]

An estimate has the coefficient of determination R² in each number but the two contacts of legs. It is the number plus
independent noise, or it is shrunk: drawn towards the mean of all states by R², with as much noise as leaves the same
error. Regression gives estimates of the second kind. Needs `pip install "rlstitch[box2d]"`.
"""

from __future__ import annotations

import argparse
from contextlib import closing

import numpy as np
import numpy.typing as npt

from rlstitch.agents import Agent, load_agent
from rlstitch.agents.actions import draw_noise
from rlstitch.envs import make_vec

NUM_ENVS, SEED = 32, 0
SEEN = 6
"""Numbers of the state without the contacts."""
MEASURED = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.5)

States = npt.NDArray[np.float32]


def returns(agent: Agent, states: States, r2: float, episodes: int, *, shrunk: bool) -> States:
    """Return what an agent that samples its actions earns in each of the first episodes of all environments.

    Args:
        agent: of states.
        states: `(n, 8)`, from which mean and deviations are taken.
        r2: of the estimates that it sees.
        episodes: in all, a multiple of `NUM_ENVS`.
        shrunk: whether estimates are drawn towards the mean.
    """
    rng, each = np.random.default_rng(SEED), episodes // NUM_ENVS
    mean, deviation = states[:, :SEEN].mean(axis=0), states[:, :SEEN].std(axis=0)
    share, noise = (r2, np.sqrt(r2 * (1 - r2))) if shrunk else (1.0, np.sqrt(1 - r2))
    earned: list[list[float]] = [[] for _ in range(NUM_ENVS)]
    totals = np.zeros(NUM_ENVS)
    with closing(make_vec(agent.card.world, NUM_ENVS, seed=SEED)) as environment:
        seen, _ = environment.reset()
        while min(map(len, earned)) < each:
            estimates = seen.copy()
            drawn = mean + share * (seen[:, :SEEN] - mean) + noise * deviation * rng.normal(size=(NUM_ENVS, SEEN))
            estimates[:, :SEEN] = drawn
            actions = agent.act(estimates, noise=draw_noise(rng, agent.noise_kind, (NUM_ENVS, 4)))
            seen, rewards, terminated, truncated, _ = environment.step(actions)
            totals += rewards
            for slot in np.flatnonzero(terminated | truncated):
                earned[slot].append(float(totals[slot]))
                totals[slot] = 0.0
    return np.array([row[:each] for row in earned], dtype=np.float32).ravel()


def played(agent: Agent, steps: int) -> States:
    """Return states `(n, 8)` that an agent comes to."""
    rng, seen = np.random.default_rng(SEED), []
    with closing(make_vec(agent.card.world, NUM_ENVS, seed=SEED + 1)) as environment:
        seen.append(environment.reset()[0])
        for _ in range(steps):
            noise = draw_noise(rng, agent.noise_kind, (NUM_ENVS, 4))
            seen.append(environment.step(agent.act(seen[-1], noise=noise))[0])
    return np.concatenate(seen)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--agent", default="lunarlander-state-s1")
    parser.add_argument("--episodes", type=int, default=64, help=f"of each row, a multiple of {NUM_ENVS}")
    options = parser.parse_args()
    agent = load_agent(options.agent)
    states = played(agent, 200)
    print("| R² | noise alone | noise and shrinkage |\n|---|---|---|")
    for r2 in MEASURED:
        cells = []
        for shrunk in (False, True):
            values = returns(agent, states, r2, options.episodes, shrunk=shrunk)
            cells.append(f"{values.mean():.0f} ± {values.std() / len(values) ** 0.5:.0f}")
        print(f"| {r2} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

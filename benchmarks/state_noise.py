"""What an agent of states earns where it sees estimates of them, by their errors and by shrinkage.

    python benchmarks/state_noise.py AGENT [--exact 6 7] [--episodes 64]

An estimate has the coefficient of determination R² in each number but those named exact, such as the two contacts of
LunarLander's legs. It is the number plus independent noise, or it is shrunk: drawn towards the mean of all states by
R², with as much noise as leaves the same error. Regression gives estimates of the second kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing

import numpy as np
import numpy.typing as npt

from rlstitch.agents import Agent, load_agent
from rlstitch.agents.actions import draw_noise
from rlstitch.envs import make_vec

NUM_ENVS, SEED = 32, 0
MEASURED = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.5)

States = npt.NDArray[np.float32]


def returns(
    agent: Agent, states: States, r2: float, episodes: int, *, exact: Sequence[int] = (), shrunk: bool
) -> States:
    """Return what an agent that samples its actions earns in each of the first episodes of all environments.

    Args:
        agent: of states.
        states: `(n, D)`, from which mean and deviations are taken.
        r2: of the estimates that it sees.
        episodes: in all, a multiple of `NUM_ENVS`.
        exact: numbers of the state that it sees as they are.
        shrunk: whether estimates are drawn towards the mean.
    """
    rng, each, width = np.random.default_rng(SEED), episodes // NUM_ENVS, agent.controller.actions.width
    noisy = np.setdiff1d(np.arange(states.shape[1]), exact)
    mean, deviation = states[:, noisy].mean(axis=0), states[:, noisy].std(axis=0)
    share, noise = (r2, np.sqrt(r2 * (1 - r2))) if shrunk else (1.0, np.sqrt(1 - r2))
    earned: list[list[float]] = [[] for _ in range(NUM_ENVS)]
    totals = np.zeros(NUM_ENVS)
    with closing(make_vec(agent.card.world, NUM_ENVS, seed=SEED)) as environment:
        seen, _ = environment.reset()
        while min(map(len, earned)) < each:
            estimates, errors = seen.copy(), rng.normal(size=(NUM_ENVS, len(noisy)))
            estimates[:, noisy] = mean + share * (seen[:, noisy] - mean) + noise * deviation * errors
            actions = agent.act(estimates, noise=draw_noise(rng, agent.noise_kind, (NUM_ENVS, width)))
            seen, rewards, terminated, truncated, _ = environment.step(actions)
            totals += rewards
            for slot in np.flatnonzero(terminated | truncated):
                earned[slot].append(float(totals[slot]))
                totals[slot] = 0.0
    return np.array([row[:each] for row in earned], dtype=np.float32).ravel()


def played(agent: Agent, steps: int) -> States:
    """Return states `(n, D)` that an agent comes to."""
    rng, seen = np.random.default_rng(SEED), []
    with closing(make_vec(agent.card.world, NUM_ENVS, seed=SEED + 1)) as environment:
        seen.append(environment.reset()[0])
        for _ in range(steps):
            noise = draw_noise(rng, agent.noise_kind, (NUM_ENVS, agent.controller.actions.width))
            seen.append(environment.step(agent.act(seen[-1], noise=noise))[0])
    return np.concatenate(seen)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("agent")
    parser.add_argument("--exact", type=int, nargs="*", default=[], help="numbers of the state without errors")
    parser.add_argument("--episodes", type=int, default=64, help=f"of each row, a multiple of {NUM_ENVS}")
    options = parser.parse_args()
    agent = load_agent(options.agent)
    states = played(agent, 200)
    print("| R² | noise alone | noise and shrinkage |\n|---|---|---|")
    for r2 in MEASURED:
        cells = []
        for shrunk in (False, True):
            values = returns(agent, states, r2, options.episodes, exact=options.exact, shrunk=shrunk)
            cells.append(f"{values.mean():.0f} ± {values.std() / len(values) ** 0.5:.0f}")
        print(f"| {r2} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""PPO that collects the next rollout while it updates on the last one, in a second thread.

The next rollout is played by the policy as it was before the update beside it: its behaviour is one update old, as in
Sample Factory (arXiv 2006.11751). PPO's probability ratios are taken to that policy, whose log probabilities are stored
in the rollout.
"""

from __future__ import annotations

import copy
from concurrent.futures import Future, ThreadPoolExecutor

from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

_FOLLOWED = ("num_timesteps", "_last_obs", "_last_episode_starts", "ep_info_buffer", "ep_success_buffer")
"""What a rollout changes in the algorithm, beside its buffer."""


class _Stoppable(BaseCallback):
    """Ends a rollout at the next step once it is stopped."""

    stopped = False

    def _on_step(self) -> bool:
        return not self.stopped


class OverlappedPPO(PPO):
    """Stable-Baselines3's PPO; each update runs beside the rollout that follows it.

    Callbacks meet a rollout that was collected so once the update has ended: its start, one step, and its end.
    """

    rollout_buffer: RolloutBuffer
    reset_every: int | None = None
    """Steps after which the environments are reset, as at a checkpoint; no rollout is collected ahead of that. None:
    they are not."""
    _collector: PPO | None = None
    """A shallow copy with a policy and a buffer of its own, which collects."""
    _ahead: Future[bool] | None = None
    """The rollout beside an update, until it is taken over."""

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Take over the rollout that was collected beside the last update; collect one where there is none."""
        collector = self._collector
        if self._ahead is None or collector is None:
            return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        callback.on_rollout_start()
        self._ahead = None
        _follow(self, collector)
        self.rollout_buffer, collector.rollout_buffer = collector.rollout_buffer, self.rollout_buffer
        if not callback.on_step():
            return False
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Update on the rollout in the buffer; collect the next one meanwhile, where it goes on from there."""
        if not self._goes_on():
            super().train()
            return
        collector, callback = self._prepared_collector(), _Stoppable()
        callback.init_callback(collector)
        with ThreadPoolExecutor(1) as thread:
            arguments = (collector, self.env, callback, collector.rollout_buffer, self.n_steps)
            self._ahead = thread.submit(PPO.collect_rollouts, *arguments)
            try:
                super().train()
            except BaseException:
                callback.stopped, self._ahead = True, None
                raise
        self._ahead.result()  # raises what the rollout raised

    def _goes_on(self) -> bool:
        """Whether another rollout begins where the last one ended."""
        steps, every = self.num_timesteps, self.reset_every
        reset = every is not None and steps // every > (steps - self.n_steps * self.n_envs) // every
        return steps < self._total_timesteps and not reset

    def _prepared_collector(self) -> PPO:
        """Return the collector, with the weights of this moment."""
        if self._collector is None:
            self._collector = copy.copy(self)
            self._collector.policy = copy.deepcopy(self.policy)
            self._collector.rollout_buffer = copy.copy(self.rollout_buffer)  # its arrays are made anew by each rollout
        self._collector.policy.load_state_dict(self.policy.state_dict())
        _follow(self._collector, self)
        return self._collector


def _follow(behind: PPO, ahead: PPO) -> None:
    """Bring one algorithm to where another has come in the environments."""
    for name in _FOLLOWED:
        setattr(behind, name, getattr(ahead, name))

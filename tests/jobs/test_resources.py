"""The number of threads: stated, or by the work of a batch."""

from __future__ import annotations

import math

import pytest
import torch
from threadpoolctl import threadpool_info

from rlstitch.api.train import draft_card
from rlstitch.config.training import load_config
from rlstitch.jobs.resources import available_cores, threads_for, torch_threads
from rlstitch.training.ppo import build_ppo, gigaflops_of_minibatch


def test_threads_follow_the_work_unless_they_are_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_for() == threads_for(49) == 1, "small networks never take all processors"
    assert threads_for(1e6) == threads_for(math.inf) == available_cores()
    assert threads_for(60) == min(2, available_cores())
    for stated, threads in (("3", 3), ("", 1), ("0", 1), ("4,2", 1), ("9" * 5000, 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", stated)
        assert threads_for() == threads


def numpy_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_a_block_and_a_function_run_with_these_threads_and_give_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    with torch_threads(2):
        assert torch.get_num_threads() == 2
        assert torch_threads()(numpy_threads)() == {1}, "frames are shrunk by NumPy's matrix products"
        assert torch_threads()(torch.get_num_threads)() == 1
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


def test_the_work_of_a_minibatch_is_counted(tmp_path: object) -> None:
    config = load_config("minigrid-empty-random-6x6", {"num_envs": 4, "ppo.n_steps": 32, "ppo.n_minibatches": 2})
    model = build_ppo(draft_card(config)[0], num_envs=4, **config.ppo.model_dump())
    weights = [parameter for name, parameter in model.policy.named_parameters() if parameter.dim() == 2]
    least = 3 * 2 * 64 * sum(weight.numel() for weight in weights if len(weight) > 1) / 1e9
    assert least / 2 < gigaflops_of_minibatch(model) < 1

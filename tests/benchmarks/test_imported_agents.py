"""The benchmark of imported agents, in tiny numbers: models are trained once and imported once."""

from __future__ import annotations

from pathlib import Path

import pytest

import imported_agents as script
from rlstitch.agents.artefact import load_agent


def test_models_are_trained_and_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(script.Plan().names()) == 4
    plan = script.Plan(folder=Path("work"), looks=("inverted",), steps=32, num_envs=2, n_steps=16, episodes=1)
    (first, *_), (second, look, seed) = plan.names()
    begun: list[str] = []

    def run(name: str) -> None:
        begun.append(name)
        if name == first:
            script.train_model(plan, look, 1, script.model_path(plan, name))

    script.train(plan, 1, run)
    script.import_models(plan)
    assert begun == [first, second]
    assert {path.name for path in (plan.folder / "agents").iterdir()} == {first}, "the second model is not there yet"
    script.train_model(plan, look, seed, script.model_path(plan, second))
    written = (plan.folder / "agents" / first / "agent.json").stat().st_mtime_ns
    script.train(plan, 1, run)
    script.import_models(plan)
    assert begun == [first, second], "nothing is trained twice"
    assert (plan.folder / "agents" / first / "agent.json").stat().st_mtime_ns == written, "nor imported twice"
    assert load_agent(plan.folder / "agents" / second).card.world.look == "inverted"

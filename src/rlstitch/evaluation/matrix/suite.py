"""The plan of a suite: a matrix whose cells are those within each group of agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlstitch.agents.manifest import list_agents
from rlstitch.config.suite import Suite
from rlstitch.errors import InvalidInputError
from rlstitch.evaluation.matrix.plan import Plan, plan_matrix
from rlstitch.evaluation.options import CellOptions
from rlstitch.stitching.controls import with_controls


def plan_suite(suite: Suite, methods: Sequence[str] = ()) -> tuple[Plan, list[str]]:
    """Plan the cells of a suite whose agents are here.

    Args:
        suite: groups of agents, methods and options.
        methods: further methods, by name or `module:name`.

    Returns:
        The plan, and the groups of which fewer than two agents are here.

    Raises:
        UnknownNameError: for an unknown method.
        ArtefactError: where the manifest of an agent cannot be read.
        InvalidInputError: where no group has two agents, or a method cannot be loaded.
    """
    here = {entry.name for entry in list_agents()}
    groups = {name: here.intersection(agents) for name, agents in suite.groups.items()}
    left_out = [name for name, agents in groups.items() if len(agents) < 2]
    used = [agents for name, agents in groups.items() if name not in left_out]
    if not used:
        raise InvalidInputError(
            f"agents: expected two or more of a group ({', '.join(groups)}), found none; they come with a clone"
        )
    options = CellOptions(suite.episodes, suite.pairs, suite.seed, suite.greedy)
    every = (*suite.methods, *methods)
    plan = plan_matrix(sorted(set().union(*used)), with_controls(every) if suite.controls else every, options)
    pairings = tuple(
        pairing
        for pairing in plan.pairings
        if not pairing.same_seed and any({pairing.encoder.name, pairing.controller.name} <= group for group in used)
    )
    return replace(plan, pairings=pairings), left_out

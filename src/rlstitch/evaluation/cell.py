"""Measure one cell: join two agents, play, and compare with random actions and the native controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rlstitch.agents.agent import Agent
from rlstitch.envs import cell_world
from rlstitch.errors import IncompatibleError
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.options import CellOptions
from rlstitch.evaluation.row import Row, judged, make_row, unmeasured_row
from rlstitch.stitching.controls import split_control
from rlstitch.stitching.pairs import LatentPairs, gather_pairs
from rlstitch.stitching.stitch import Stitch, stitch_agents


def measure_cell(
    encoder: Agent,
    policy: Agent,
    method: str = "affine",
    options: CellOptions | None = None,
    *,
    pairs: LatentPairs | None = None,
    stitched: Stitch | Agent | None = None,
    baselines: Baselines | None = None,
) -> Row:
    """Measure the encoder of one agent with the controller of another.

    Args:
        encoder: the agent whose encoder is used.
        policy: the agent whose controller is used.
        method: name of a stitching method; of `stitched`, the name in the row.
        options: episodes, pairs, seed, and greedy or sampled actions; None: the defaults.
        pairs: what a translation is fitted on; None: they are gathered.
        stitched: the two agents joined already; None: they are joined by `method`.
        baselines: keeps random and native evaluations from one cell to the next.

    Returns:
        Returns, success and recovery with intervals, and the metrics of the stitch on held-out pairs.

    Raises:
        UnknownNameError: for an unknown method.
        IncompatibleError: where the two cannot be joined by the method.
        InvalidInputError: where there are too few pairs.
    """
    options, baselines = options or CellOptions(), baselines or Baselines()
    world = cell_world(encoder.card.world, policy.card.world)
    if stitched is None:
        pairs = pairs or gather_pairs(encoder, policy, pairs=options.pairs, seed=options.seed)
        stitched = stitch_agents(encoder, policy, pairs, method=method)
    agent, report = (stitched.agent, stitched.report) if isinstance(stitched, Stitch) else (stitched, None)
    result = options.evaluate(agent, world, on_progress=baselines.next_part())
    return make_row(
        encoder.card.name,
        policy.card.name,
        method,
        result,
        baselines=(baselines.random(world, options).returns, baselines.native(policy, options).returns),
        diagnostics=None if report is None else report.to_dict(),
    )


def measure_with_baselines(
    encoder: Agent,
    policy: Agent,
    stitched: Stitch,
    pairs: LatentPairs,
    options: CellOptions,
    baselines: Baselines | None = None,
    *,
    before: Sequence[Stitch] = (),
    controls: Mapping[str, Stitch] = MappingProxyType({}),
) -> list[Row]:
    """Return the rows of a stitched agent and its baselines: random, native, naive, controls, stitched.

    Those that were stitched `before` it, in earlier rounds of a refinement, stand above it. Controls are given by name,
    see `rlstitch.stitching.controls`; one of the controller's own encoder is played in the controller's own world.

    There is no naive row where nothing stands between the two agents anyway; where they cannot be joined naively, as
    their latents differ in width, it holds the reason.
    """
    baselines = baselines or Baselines()
    world = cell_world(encoder.card.world, policy.card.world)
    rows = [baselines.random_row(world, options), baselines.native_row(policy, options)]
    if stitched.translation is not None:
        try:
            rows.append(measure_cell(encoder, policy, "naive", options, pairs=pairs, baselines=baselines))
        except IncompatibleError as error:
            names = encoder.card.name, policy.card.name
            rows.append(unmeasured_row(*names, "naive", world, str(error), like=rows[0]))
    for name, stitch in controls.items():
        source = policy if split_control(name)[1] == "self" else encoder
        rows.append(measure_cell(source, policy, name, options, stitched=stitch, baselines=baselines))
    return rows + [
        judged(measure_cell(encoder, policy, round_name(stitch), options, stitched=stitch, baselines=baselines), rows)
        for stitch in (*before, stitched)
    ]


def round_name(stitch: Stitch) -> str:
    """Return the method of a stitch as rows name it: with the round of refinement, where there was one."""
    report = stitch.report
    return f"{report.method}, round {report.round}" if report.round else report.method

"""Make a trained agent relative after training, and compare it with the agent that it was."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from rlstitch.agents import Agent, AnchorSet, load_anchor_set, save_agent
from rlstitch.agents.modules import require_storable
from rlstitch.api.called_with import called_with
from rlstitch.api.environment import AgentLike, placed
from rlstitch.api.options import PlayOptions, ProgressOptions, SaveOptions
from rlstitch.envs import family_of
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.jobs.progress import part
from rlstitch.jobs.resources import torch_threads
from rlstitch.rollouts.anchors import default_anchor_set
from rlstitch.rollouts.evaluation import Evaluation
from rlstitch.stitching.relativize import Distillation, Relativized, visited_states
from rlstitch.stitching.relativize import relativize_agent as distil
from rlstitch.storage import limits
from rlstitch.storage.workspace import ANCHORS, command_line, reserved_agent


@dataclass(frozen=True)
class RelativizeOutcome:
    """A relativized agent beside the agent that it was. Its text is what the command prints."""

    relativized: Relativized
    anchor_set: AnchorSet
    before: Evaluation
    after: Evaluation
    folder: Path | None

    @property
    def agent(self) -> Agent:
        """The relative agent."""
        return self.relativized.agent

    def __str__(self) -> str:
        before, after = self.before.summary().mean, self.after.summary().mean
        made = self.relativized
        kept = f"same action on {made.action_agreement:.1%} of views kept aside ({made.judged_views:,} of "
        kept += f"{made.distinct_views:,} distinct ones), KL {made.kl:.4f}"
        lines = [
            f"anchors  {len(self.anchor_set)} of set {self.anchor_set.identity[:16]}",
            f"kept     {kept if made.judged_views else 'not judged: every view is an anchor'}",
            f"before   return {before.estimate:.3f} [{before.low:.3f}, {before.high:.3f}]",
            f"after    return {after.estimate:.3f} [{after.low:.3f}, {after.high:.3f}]",
        ]
        if self.folder is not None:
            lines.append(f"agent    {self.folder}")
        return "\n".join(lines)


@dataclass(frozen=True)
class RelativizeOptions(PlayOptions, ProgressOptions, SaveOptions):
    """Arguments of `relativize`."""

    agent: AgentLike
    _: KW_ONLY
    anchors: str | int | None = None
    drivers: Sequence[AgentLike] = ()
    similarity: str | None = None


@torch_threads()
@called_with(RelativizeOptions)
def relativize(options: RelativizeOptions) -> RelativizeOutcome:
    """Keep a trained agent's encoder and let its controller act on similarities to anchors.

    Two agents that were relativized on one anchor set are stitched by `relative`, with nothing fitted between them.

    Args:
        agent: name, folder or value of an agent; of one that was trained through a projection, which may cross badly,
            the projection is replaced.
        env: another environment than the agent's own: its id (`module:Id` imports the module), or an object, see
            `rlstitch.envs.as_world`.
        anchors: how many anchors (the environment's default set of that size, the same for every agent), or the
            identity, its beginning, or the folder of a stored anchor set. None: 512, or 4,096 where more than 5 % of
            what is met by random play and the drivers shows other views (Good and Turing's estimate).
        drivers: agents that play, beside random actions, to collect the anchors: they reach what random play does not.
            The same drivers in the same order give the same set, for every agent.
        similarity: a name of `rlstitch.latent.SIMILARITIES`, or several joined by `+`. By `kernel_ridge` the
            controller is kept, behind a linear map; for any other it is distilled. None: `kernel_ridge` on 2,048
            anchors or more, `gaussian` on 256 or more, `cosine` on fewer.
        episodes: of the evaluations before and after.
        seed: of the states, the distillation and the episodes.
        deterministic: greedy actions in these evaluations instead of sampled ones.
        name: of the relative agent; the agent's name with `-relativized` where it is not given.
        save: keep it among the agents, and the anchor set among the anchor sets.
        force: replace an agent of the same name.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        UnknownNameError: for an unknown agent, anchor set or similarity.
        IncompatibleError: where the agent was relativized already, the anchors belong to another environment, or a
            driver cannot play in it.
        InvalidInputError: where an agent of that name is there already, there are too few anchors, or drivers for a
            stored anchor set.
    """
    cells, progress, seed = options.cells, options.reporter, options.seed
    source = placed(options.agent, options.env)
    if options.save:
        require_storable(source.encoder)
    title = options.name or f"{source.card.name}-relativized"
    with reserved_agent(title, force=options.force) if options.save else nullcontext() as folder:
        progress.stage("collecting anchors")
        anchor_set = _anchor_set(source, options.anchors, [placed(driver, options.env) for driver in options.drivers])
        world = source.card.world
        progress.stage("collecting states")
        states = visited_states(source, seed=seed)
        relativized = distil(
            source,
            anchor_set.render_in(world),
            states,
            anchor_set=anchor_set.identity,
            similarity=options.similarity,
            distillation=Distillation(seed=seed, on_progress=progress.stage("fitting the controller", "steps")),
            name=title,
        )
        made = relativized.agent
        made.card = made.card.model_copy(update={"command": command_line()})
        playing = progress.stage("playing", "episodes")
        before, after = (
            cells.evaluate(player, on_progress=part(playing, number, 2)) for number, player in enumerate((source, made))
        )
        if folder is not None:
            anchor_set.save(ANCHORS)
            save_agent(made, folder, force=options.force)
    return RelativizeOutcome(relativized, anchor_set, before, after, folder)


def _anchor_set(agent: Agent, anchors: str | int | None, drivers: Sequence[Agent]) -> AnchorSet:
    world = agent.card.world
    if anchors is None:
        return default_anchor_set(world, None, drivers=drivers)
    if isinstance(anchors, int) or (anchors.isdigit() and len(anchors) < 6):
        if not 2 <= int(anchors) <= limits.ANCHORS:
            raise InvalidInputError(f"anchors: expected 2 to {limits.ANCHORS:,}, found {int(anchors):,}")
        return default_anchor_set(world, int(anchors), drivers=drivers)
    if drivers:
        raise InvalidInputError(f"drivers: expected none where a stored anchor set is named, found {len(drivers)}")
    stored = load_anchor_set(anchors)
    other_view = stored.view != world.view and family_of(world).symbolic
    if stored.environment != world.environment or other_view:
        raise IncompatibleError(
            f"anchor set {stored.identity[:16]} belongs to {stored.environment} (view {stored.view}), "
            f"agent {agent.card.name!r} to {world.environment} (view {world.view})"
        )
    return stored

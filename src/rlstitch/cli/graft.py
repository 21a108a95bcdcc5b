"""`rlstitch graft`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

from rlstitch.cli.console import complain, say
from rlstitch.cli.options import EnvironmentOptions, Threads


@dataclass(frozen=True, kw_only=True)
class Graft(EnvironmentOptions):
    """Fit a new encoder for the controller of an agent, from observations of the same states by another sensor."""

    controller: Annotated[str, arg(metavar="AGENT", aliases=("--policy",))]
    """Agent that gives the controller, and the task."""
    sensor: Annotated[
        Literal["pixels", "state", "ram", "symbolic"] | None,
        arg(metavar="pixels|state|ram|symbolic", help_behavior_hint="(default: the controller's own)"),
    ] = None
    """What the new encoder observes."""
    look: Annotated[str, arg(metavar="NAME", aliases=("--variation",))] = "standard"
    """Look of what the new encoder observes: standard, red, green, ..."""
    backend: Annotated[
        Literal["gymnasium", "envpool"] | None,
        arg(metavar="gymnasium|envpool", help_behavior_hint="(default: the controller's own)"),
    ] = None
    """Another environment backend, for looks that the controller's own cannot draw."""
    set: Annotated[tuple[tuple[str, ...], ...], UseAppendAction, arg(metavar="KEY=VALUE")] = ()
    """What else shapes its observations, such as size=64, frame_stack=3 or crop=320."""
    rounds: Annotated[int, arg(metavar="NUMBER")] = 4
    """Rounds of playing and fitting."""
    states: Annotated[int, arg(metavar="NUMBER")] = 20_000
    """Steps that are played, in all rounds together."""
    steps: Annotated[int, arg(metavar="NUMBER")] = 6_000
    """Steps of the optimizer, in all rounds together."""
    latent_weight: Annotated[float, arg(metavar="NUMBER")] = 1.0
    """Weight of the errors of latents in the fit; 0: actions alone."""
    action_weight: Annotated[float, arg(metavar="NUMBER")] = 1.0
    """Weight of the divergence of actions in the fit; 0: latents alone."""
    divergence: Annotated[Literal["forward", "reverse"], arg(metavar="forward|reverse")] = "forward"
    """Direction of that KL divergence: forward keeps every action that the controller may take, reverse leaves out
    those that it would not."""
    encoder_arch: Annotated[
        Literal["small", "nature", "crop"] | None,
        arg(metavar="small|nature|crop", help_behavior_hint="(default: that of the environment's family, else small)"),
    ] = None
    """Encoder of images: convolutions, or (crop) what squares around one object show."""
    episodes: Annotated[int, arg(metavar="NUMBER")] = 100
    """Episodes to evaluate."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed of states, fit and episodes."""
    greedy: bool = False
    """Evaluate the most likely action instead of a sampled one."""
    name: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: AGENT-grafted-SENSOR)")] = None
    """Name of the grafted agent."""
    save: bool = True
    """Save the grafted agent."""
    resume: bool = False
    """Continue after the last round of the same graft where it was interrupted."""
    force: bool = False
    """Replace an agent of the same name, and start an interrupted graft anew."""
    threads: Threads = None

    def run(self) -> int:
        """Graft, and print how the agent does beside the controller's own; return 130 where it was interrupted."""
        from rlstitch.api.graft import graft
        from rlstitch.config.training import parse_overrides
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter() as progress:
            result = graft(
                self.controller,
                env=self.environment(),
                sensor=self.sensor,
                look=self.look,
                backend=self.backend,
                world=parse_overrides(item for group in self.set for item in group),
                rounds=self.rounds,
                states=self.states,
                steps=self.steps,
                latent_weight=self.latent_weight,
                action_weight=self.action_weight,
                divergence=self.divergence,
                arch=self.encoder_arch,
                episodes=self.episodes,
                seed=self.seed,
                deterministic=self.greedy,
                name=self.name,
                save=self.save,
                resume=self.resume,
                force=self.force,
                progress=progress,
            )
        say(result)
        if result.ended == "interrupted":
            complain("interrupted; the same command with --resume continues")
            return 130
        return 0

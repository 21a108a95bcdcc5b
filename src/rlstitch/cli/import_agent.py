"""`rlstitch import`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from rlstitch.cli.console import say, split_names
from rlstitch.cli.options import GymPackages, LookKwargs, MakeKwargs, Threads, pairs_of
from rlstitch.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Import:
    """Import a model of Stable-Baselines3, sb3-contrib or CleanRL, without running code from it."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """Zip file written by model.save, or a .cleanrl_model; or hub:OWNER/NAME on the Hugging Face Hub (RL-Zoo3)."""
    name: Annotated[str, arg(metavar="NAME")]
    """Name of the agent."""
    env: Annotated[str, arg(metavar="[MODULE:]ID")]
    """Gymnasium id of the training environment, after the module that registers it where that is one of your own."""
    variation: Annotated[str, arg(metavar="NAME", aliases=("--look",))] = "standard"
    """Look that the model was trained with."""
    task: Annotated[str, arg(metavar="NAME")] = "standard"
    """Task that the model was trained on."""
    make_kwargs: MakeKwargs = ()
    """Keyword arguments of gymnasium.make."""
    look_kwargs: LookKwargs = ""
    """Those of them that change only what is seen, as a look does."""
    world: Annotated[tuple[tuple[str, ...], ...], UseAppendAction, arg(metavar="KEY=VALUE")] = ()
    """Other fields of the world, such as view=full, tile_size=12 or frame_stack=4 (padding=zeros unless given)."""
    file: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the only zip)")] = None
    """Of hub:OWNER/NAME: which file."""
    revision: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the newest commit)")] = None
    """Of hub:OWNER/NAME: branch, tag or commit."""
    activation: Annotated[
        Literal["relu", "tanh"] | None, arg(metavar="relu|tanh", help_behavior_hint="(default: as the file states)")
    ] = None
    """Activation of the hidden layers, where the file does not name one of torch's."""
    extractor: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: NatureCNN)")] = None
    """An extractor class of your own (entry point of the group rlstitch.extractors) instead of NatureCNN."""
    extractor_args: Annotated[tuple[tuple[str, ...], ...], UseAppendAction, arg(metavar="KEY=VALUE")] = ()
    """Its keyword arguments that the file does not print in plain values, such as features_dim=128."""
    split: Annotated[int | None, arg(metavar="NUMBER", help_behavior_hint="(default: all)")] = None
    """Of vectors: how many hidden layers the encoder takes; the others are the controller's."""
    normalization: Annotated[str | None, arg(metavar="FILE|none", help_behavior_hint="(default: none is known)")] = None
    """Of vectors: what VecNormalize.save wrote, or an npz of mean, var, clip and epsilon."""
    temperature: Annotated[float, arg(metavar="NUMBER")] = 1e-3
    """DQN: sampled actions are drawn from softmax(Q / temperature)."""
    episodes: Annotated[int, arg(metavar="NUMBER")] = 100
    """Evaluation episodes; 0: no evaluation."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed of the evaluation."""
    force: bool = False
    """Replace an agent of the same name."""
    gym_packages: GymPackages = ()
    """Modules of your own to import, which register environments."""
    threads: Threads = None

    def run(self) -> int:
        """Import, and print the evaluation and the agent's folder."""
        from rlstitch.api.hub.model import PREFIX
        from rlstitch.api.import_agent import import_agent, world_of
        from rlstitch.jobs.progress import ProgressReporter
        from rlstitch.storage.files import open_file

        if not self.model.startswith(PREFIX):
            with open_file(Path(self.model)):  # a missing file comes before a wrong world
                pass
        others = pairs_of(self.world)
        if self.make_kwargs:
            if "make_kwargs" in others:
                raise InvalidInputError("make_kwargs: expected one value, found one from --world too")
            others["make_kwargs"] = pairs_of(self.make_kwargs)
        if self.look_kwargs:
            others["look_kwargs"] = split_names(self.look_kwargs)
        with ProgressReporter() as progress:
            result = import_agent(
                self.model,
                name=self.name,
                world=world_of(self.env, self.variation, self.task, others),
                file=self.file,
                revision=self.revision,
                activation=self.activation,
                extractor=self.extractor,
                extractor_arguments=pairs_of(self.extractor_args),
                split=self.split,
                normalization=self.normalization,
                temperature=self.temperature,
                episodes=self.episodes,
                seed=self.seed,
                force=self.force,
                progress=progress,
            )
        say(result)
        return 0

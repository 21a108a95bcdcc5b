"""`rlstitch train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from rlstitch.cli.console import complain, say, split_names
from rlstitch.cli.options import GymPackages, LookKwargs, MakeKwargs, Threads, pairs_of
from rlstitch.errors import InvalidInputError

if TYPE_CHECKING:
    from rlstitch.agents.card import TrainingCard

# Options and the keys of a config that they set; all others go through --set.
_SHORTCUTS = {
    **{key: key for key in ("look", "task", "seed", "representation", "backend", "device", "name", "threads")},
    **{part: f"start.{part}" for part in ("encoder", "controller", "freeze")},
    "env": "environment",
    "make_kwargs": "make_kwargs",
    "look_kwargs": "look_kwargs",
}

# The networks of R3L (arXiv:2404.12917), set by --encoder-arch r3l.
_R3L = {"encoder.latent_dim": None, "controller.hidden": [512], "controller.norm": "layer",
        "controller.activation": "relu"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train an agent from a preset or a config file."""

    config: Annotated[Positional[str | None], arg(metavar="CONFIG", help_behavior_hint="(or --env)")] = None
    """Preset (minigrid-doorkey) or YAML file (configs/minigrid-doorkey.yaml)."""
    env: Annotated[str | None, arg(metavar="[MODULE:]ID", help_behavior_hint="(default: as CONFIG says)")] = None
    """Gymnasium id of the environment, after the module that registers it where that is one of your own."""
    make_kwargs: MakeKwargs = ()
    """Keyword arguments of gymnasium.make."""
    look_kwargs: LookKwargs = ""
    """Those of them that change only what is seen, as a look does."""
    look: Annotated[
        str | None, arg(metavar="NAME", aliases=("--variation",), help_behavior_hint="(default: as CONFIG says)")
    ] = None
    """Look of the environment: standard, red, green, ..."""
    task: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: as CONFIG says)")] = None
    """Task: standard, scrambled, ..."""
    seed: Annotated[int | None, arg(metavar="NUMBER", help_behavior_hint="(default: as CONFIG says)")] = None
    """Random seed."""
    representation: Annotated[
        Literal["absolute", "relative"] | None,
        arg(metavar="absolute|relative", help_behavior_hint="(default: as CONFIG says)"),
    ] = None
    """absolute, or relative to anchors while training."""
    backend: Annotated[
        Literal["gymnasium", "envpool"] | None,
        arg(metavar="gymnasium|envpool", help_behavior_hint="(default: as CONFIG says)"),
    ] = None
    """Environment backend; envpool is faster where it has the environment (pip install "rlstitch[fast]")."""
    encoder_arch: Annotated[
        Literal["small", "nature", "r3l", "grid", "mlp"] | None,
        arg(metavar="small|nature|r3l|grid|mlp", help_behavior_hint="(default: as CONFIG says)"),
    ] = None
    """Encoder architecture; r3l: the encoder and the controller of R3L; grid: of images of a few pixels a side; mlp: of
    vectors."""
    encoder: Annotated[str | None, arg(metavar="AGENT", help_behavior_hint="(default: fresh weights)")] = None
    """Agent whose encoder the training starts from."""
    controller: Annotated[
        str | None, arg(metavar="AGENT", aliases=("--policy",), help_behavior_hint="(default: fresh weights)")
    ] = None
    """Agent whose controller the training starts from."""
    freeze: Annotated[
        Literal["encoder", "controller"] | None,
        arg(metavar="encoder|controller", help_behavior_hint="(default: neither)"),
    ] = None
    """The part that keeps its weights while the other is trained."""
    device: Annotated[str | None, arg(metavar="DEVICE", help_behavior_hint="(default: as CONFIG says)")] = None
    """auto, cpu or cuda."""
    name: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: preset, look and seed)")] = None
    """Name of the agent."""
    resume: bool = False
    """Continue from the newest checkpoint of the same config."""
    force: bool = False
    """Replace an agent and a run of the same name."""
    set: Annotated[tuple[tuple[str, ...], ...], UseAppendAction, arg(metavar="KEY=VALUE")] = ()
    """Any other key of the config, such as ppo.learning_rate=1e-3."""
    gym_packages: GymPackages = ()
    """Modules of your own to import, which register environments."""
    threads: Threads = None

    def overrides(self) -> dict[str, object]:
        """Return the values that the options set, by dotted key.

        Raises:
            InvalidInputError: a text after `--set` is no `key=value`, or its key is also given by an option.
        """
        from rlstitch.config.keys import full_key
        from rlstitch.config.training import parse_overrides

        given = {option: value for option in _SHORTCUTS if (value := getattr(self, option)) not in (None, (), "")}
        if self.make_kwargs:
            given["make_kwargs"] = pairs_of(self.make_kwargs)
        if self.look_kwargs:
            given["look_kwargs"] = split_names(self.look_kwargs)
        values = {_SHORTCUTS[option]: value for option, value in given.items()}
        settings = parse_overrides(item for group in self.set for item in group)
        keys = {full_key(key) for key in settings}
        if twice := [option for option in given if full_key(_SHORTCUTS[option]) in keys]:
            key = _SHORTCUTS[twice[0]]
            raise InvalidInputError(f"{key}: expected one value, found one from --set and one from --{twice[0]}")
        return {**self._architecture(settings), **values, **settings}

    def _architecture(self, settings: dict[str, object]) -> dict[str, object]:
        if self.encoder_arch is None:
            return {}
        if "encoder.arch" in settings:
            raise InvalidInputError(
                "encoder.arch: expected one value, found one from --set and one from --encoder-arch"
            )
        return {**(_R3L if self.encoder_arch == "r3l" else {}), "encoder.arch": self.encoder_arch}

    def run(self) -> int:
        """Train and print the agent's folder and results; return 130 where training was interrupted."""
        from rlstitch.config.training import load_config, new_config

        # Before torch is loaded, so that errors in a config come at once.
        if self.config is not None:
            config = load_config(self.config, self.overrides())
        elif self.env is not None:
            config = new_config(self.overrides())
        else:
            raise InvalidInputError("expected CONFIG, or an environment by --env")
        from rlstitch.api.train import train

        trained = train(config, resume=self.resume, force=self.force)
        say(f"{trained.folder}: {_outcome(trained.agent.card.training)}")
        if trained.ended == "interrupted":
            complain("interrupted; the same command with --resume continues")
            return 130
        return 0


def _outcome(training: TrainingCard | None) -> str:
    if training is None:
        return "not evaluated"
    from rlstitch.api.listing import steps_taken

    parts = [steps_taken(training)]
    if training.return_mean is not None:
        parts.append(f"mean return {training.return_mean:.3f}")
    if training.success_rate is not None:
        parts.append(f"success {training.success_rate:.1%}")
    return ", ".join(parts)

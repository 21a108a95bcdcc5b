"""`rlstitch train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from rlstitch.cli.console import complain, say
from rlstitch.errors import InvalidInputError

if TYPE_CHECKING:
    from rlstitch.agents.card import TrainingCard

# Options of their own, because they are given often; all other keys of a config go through --set.
_SHORTCUTS = ("variation", "task", "seed", "representation", "backend", "device", "name")

# R3L's networks (arXiv 2404.12917): --encoder-arch r3l means all of them, unless --set says otherwise.
_R3L = {"encoder.latent_dim": None, "controller.hidden": [512], "controller.norm": "layer",
        "controller.activation": "relu"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train an agent from a preset or a config file."""

    config: Annotated[Positional[str], arg(metavar="CONFIG")]
    """Preset (minigrid-doorkey) or YAML file (configs/minigrid-doorkey.yaml)."""
    variation: Annotated[str | None, arg(metavar="NAME")] = None
    """Look of the environment: standard, red, green, ..."""
    task: Annotated[str | None, arg(metavar="NAME")] = None
    """Task variation: standard, scrambled, ..."""
    seed: Annotated[int | None, arg(metavar="NUMBER")] = None
    """Seed of everything that is drawn."""
    representation: Literal["absolute", "relative"] | None = None
    """absolute, or relative to anchors while training."""
    backend: Literal["gymnasium", "envpool"] | None = None
    """Who steps the environments; envpool is fast where it has them (pip install "rlstitch[fast]")."""
    encoder_arch: Literal["small", "nature", "r3l"] | None = None
    """Convolutions of the encoder; r3l: the encoder and the controller of R3L."""
    device: Annotated[str | None, arg(metavar="DEVICE")] = None
    """auto, cpu or cuda."""
    name: Annotated[str | None, arg(metavar="NAME")] = None
    """Name of the agent; made of preset, variation and seed where not given."""
    resume: bool = False
    """Continue from the newest checkpoint of the same config."""
    force: bool = False
    """Replace an agent and a run of the same name."""
    set: Annotated[tuple[tuple[str, ...], ...], UseAppendAction, arg(metavar="KEY=VALUE")] = ()
    """Any other key of the config, such as ppo.learning_rate=1e-3."""

    def overrides(self) -> dict[str, object]:
        """Return what is laid over the config: dotted keys to values.

        Raises:
            InvalidInputError: a text after `--set` is no `key=value`, or its key is also given by an option.
        """
        from rlstitch.config.training import parse_overrides

        values = {key: value for key in _SHORTCUTS if (value := getattr(self, key)) is not None}
        settings = parse_overrides(item for group in self.set for item in group)
        if twice := sorted(values.keys() & settings.keys()):
            raise InvalidInputError(f"{twice[0]}: expected one value, found one from --set and one from --{twice[0]}")
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
        """Train, and print where the agent lies and how it does; 130 where training was interrupted."""
        from rlstitch.config.training import load_config

        # Before torch is loaded, so that a mistake in a config is told at once.
        config = load_config(self.config, self.overrides())
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
    parts = [f"{training.steps:,} steps in {training.seconds:,.0f} s"]
    if training.return_mean is not None:
        parts.append(f"mean return {training.return_mean:.3f}")
    if training.success_rate is not None:
        parts.append(f"success {training.success_rate:.1%}")
    return ", ".join(parts)

"""`rlstitch latent <command>`: studies of latent spaces, and stored spaces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, TypeAlias

from tyro.conf import OmitArgPrefixes, Positional, arg, subcommand

from rlstitch.cli.console import complain, fill, say
from rlstitch.cli.options import Threads


@dataclass(frozen=True, kw_only=True)
class ListStudies:
    """List the studies: what each shows, what data it needs, how long it takes."""

    def run(self) -> int:
        """Print the list."""
        from rlstitch.studies.catalogue import list_studies

        say(list_studies())
        return 0


@dataclass(frozen=True, kw_only=True)
class RunStudy:
    """Run a study, and write its table and resolved config under runs/."""

    study: Annotated[Positional[str], arg(metavar="STUDY")]
    """Name of the study: images-classification, word-embeddings, graphs-nodes, ...; `rlstitch latent list` has all."""
    quick: bool = False
    """A small version that takes seconds."""
    data: Annotated[
        Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: RLSTITCH_DATA, the cache, a download)")
    ] = None
    """Folder of the data; what it lacks is searched in RLSTITCH_DATA and in the cache, or downloaded."""
    seeds: Annotated[int | None, arg(metavar="NUMBER", help_behavior_hint="(default: the study's own)")] = None
    """Number of seeds, at least 2."""
    device: Annotated[str, arg(metavar="DEVICE")] = "auto"
    """auto, cpu or cuda."""
    threads: Threads = None

    def run(self) -> int:
        """Run it, and print the table."""
        from rlstitch.jobs.progress import ProgressReporter
        from rlstitch.studies.runs import run_study
        from rlstitch.studies.study import StudyOptions

        with ProgressReporter() as progress:
            progress.stage(self.study)
            options = StudyOptions(self.quick, self.data, self.seeds, self.device, on_progress=progress.write)
            outcome = run_study(self.study, options)
        say(outcome)
        return 0


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare two stored spaces on their common keys, before and after maps from one to the other."""

    x: Annotated[Positional[Path], arg(metavar="FILE")]
    """A space, .safetensors or .npz."""
    y: Annotated[Positional[Path], arg(metavar="FILE")]
    """Another."""
    neighbours: Annotated[int, arg(metavar="NUMBER")] = 10
    """Nearest neighbours that are compared."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed: which half of the pairs the maps are fitted on; they are judged on the other half."""
    threads: Threads = None

    def run(self) -> int:
        """Compare, and print every measure."""
        from rlstitch.api.spaces.compare_spaces import compare_spaces
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter() as progress:
            comparison = compare_spaces(self.x, self.y, neighbours=self.neighbours, seed=self.seed, progress=progress)
        say(comparison)
        return 0


@dataclass(frozen=True, kw_only=True)
class Translate:
    """Fit a map from one stored space to another on their common keys."""

    SEVERAL: ClassVar[str] = "spaces"
    """The argument that takes several values, between options too."""

    spaces: Annotated[
        Positional[tuple[str, ...]], arg(metavar="SOURCE TARGET", help_behavior_hint="(or those options)")
    ] = ()
    """Two spaces, instead of --source and --target."""
    source: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(or the first argument)")] = None
    """The space that is mapped, .safetensors or .npz."""
    target: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(or the second argument)")] = None
    """The space that it is mapped to."""
    out: Annotated[Path, arg(metavar="FILE", aliases=["-o"])]
    """File to write, .safetensors."""
    method: Annotated[str, arg(metavar="NAME")] = "affine"
    """orthogonal, linear, affine, ridge, robust, ...; auto: the best of all by cross-validation."""
    held_out: Annotated[float, arg(metavar="SHARE")] = 0.2
    """Share of the pairs that the map is judged on, before it is fitted again on all."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed: which pairs these are."""
    force: bool = False
    """Replace an existing file."""
    threads: Threads = None

    def run(self) -> int:
        """Fit, write, and print how well the map fits."""
        from rlstitch.api.spaces.translate_spaces import translate_spaces
        from rlstitch.jobs.progress import ProgressReporter

        source, target = fill(self.spaces, source=self.source, target=self.target)
        with ProgressReporter() as progress:
            outcome = translate_spaces(
                source,
                target,
                self.out,
                method=self.method,
                held_out=self.held_out,
                seed=self.seed,
                force=self.force,
                progress=progress,
            )
        say(outcome)
        return 0


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Encode raw items (lines of text, images, sounds) into a stored space; the same command resumes after a stop."""

    modality: Annotated[str, arg(metavar="NAME")]
    """text, image or audio."""
    model: Annotated[str, arg(metavar="MODEL")]
    """A folder, a name on the Hugging Face hub, or a simple encoder: hashing (text), greys (image), mel (audio)."""
    input: Annotated[Path, arg(metavar="PATH")]
    """Text: a file with an item a line, .gz or not. Images: a folder, .npy, .npz or IDX. Audio: a folder of .wav."""
    out: Annotated[Path, arg(metavar="FILE", aliases=["-o"])]
    """File to write, .safetensors."""
    keys: Annotated[
        Path | None, arg(metavar="FILE", help_behavior_hint="(default: numbers of lines or rows, names of files)")
    ] = None
    """File with a key for each item, one a line."""
    batch_size: Annotated[int, arg(metavar="NUMBER")] = 32
    """Items a batch."""
    pooling: Annotated[str, arg(metavar="NAME")] = "auto"
    """How states become one vector: auto (as the model was trained), mean or first."""
    revision: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: main)")] = None
    """Revision of the model on the hub."""
    device: Annotated[str, arg(metavar="DEVICE")] = "auto"
    """auto, cpu or cuda."""
    force: bool = False
    """Replace an existing file, and start again."""
    threads: Threads = None

    def run(self) -> int:
        """Encode what is missing, and print the result; returns 1 where items failed, 130 where it was interrupted."""
        from rlstitch.api.spaces.encode import encode
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter("items") as progress:
            outcome = encode(
                self.modality,
                self.model,
                self.input,
                self.out,
                keys=self.keys,
                batch_size=self.batch_size,
                device=self.device,
                pooling=self.pooling,
                revision=self.revision,
                force=self.force,
                on_progress=progress,
            )
        say(outcome)
        if outcome.interrupted:
            complain("interrupted; the same command resumes")
            return 130
        return 1 if outcome.failed else 0


LatentCommand: TypeAlias = (
    Annotated[ListStudies, subcommand("list")]
    | Annotated[RunStudy, subcommand("run")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Translate, subcommand("translate")]
    | Annotated[Encode, subcommand("encode")]
)


@dataclass(frozen=True, kw_only=True)
class Latent:
    """Latent spaces beyond reinforcement learning: studies, and stored spaces."""

    command: Annotated[LatentCommand, OmitArgPrefixes]

    @property
    def threads(self) -> int | None:
        """The torch threads that the chosen command asks for."""
        return getattr(self.command, "threads", None)

    def run(self) -> int:
        """Run the chosen command."""
        return self.command.run()

"""The base class of studies: a typed config, data, seeds, progress and results in one form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from rlstitch.jobs.resources import resolve_device
from rlstitch.reporting.plots import Curves
from rlstitch.studies.data import DataLocator
from rlstitch.studies.tables import Row


@dataclass(frozen=True)
class StudyOptions:
    """What a user chooses.

    Attributes:
        quick: run the small version, which takes seconds.
        data: folder of the data; where it is None or lacks them, RLSTITCH_DATA, the cache and a download are tried.
        seeds: how many, at least 2; None: as many as the study's config has.
        device: `auto`, `cpu` or `cuda`.
        on_progress: called with a line whenever a part is done.
    """

    quick: bool = False
    data: Path | None = None
    seeds: int | None = None
    device: str = "auto"
    on_progress: Callable[[str], None] = lambda line: None


class StudyConfig(BaseModel):
    """Everything that decides the result of a study; a run's folder carries the hash of its JSON.

    Attributes:
        seeds: of networks and choices; the two sides that a study joins never share one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: tuple[int, ...]

    @property
    def next_seed(self) -> dict[int, int]:
        """Each seed -> the seed of the other side, so that every network is on each side once."""
        return dict(zip(self.seeds, self.seeds[1:] + self.seeds[:1], strict=True))


class DatasetConfig(StudyConfig):
    """Config of a study on one data set.

    Attributes:
        dataset: what is loaded.
        data_seed: of the choice of data.
    """

    dataset: str
    data_seed: int = 0


class ImagesConfig(DatasetConfig):
    """Config of a study that trains networks on images.

    Attributes:
        train_images: how many are trained on.
        batch_size: images a step.
        latent_dim: width of the latent spaces.
    """

    train_images: int
    batch_size: int
    latent_dim: int


C = TypeVar("C", bound=StudyConfig)


@dataclass(frozen=True)
class Findings:
    """Results of a study.

    Attributes:
        cells: every single measurement.
        table: means with 95 % intervals, in the order to be read.
        facts: what the table says, in sentences that hold for these numbers.
        files: further plots by file name.
        curves: drawn as `table.png`, in place of the plot that any table with intervals gets.
    """

    cells: Sequence[Row]
    table: Sequence[Row]
    facts: Sequence[str]
    files: Mapping[str, bytes] = field(default_factory=dict)
    curves: Curves | None = None


class Study(ABC, Generic[C]):
    """A study with its config, ready to run.

    A module of `rlstitch.studies.catalogue` holds one final subclass; the module's docstring describes it to users.
    """

    quick: ClassVar[StudyConfig]
    """The small version, which takes seconds."""
    full: ClassVar[StudyConfig]
    takes_seeds: ClassVar[bool] = True
    """Whether a user may choose the number of seeds."""

    def __init__(self, config: C, options: StudyOptions, folder: Path) -> None:
        """Prepare a run.

        Args:
            config: what decides the result.
            options: device, data and progress are taken from here.
            folder: of the run, for what a study keeps in order to resume.

        Raises:
            InvalidInputError: for a device that is not available.
        """
        self.config, self.folder, self.report = config, folder, options.on_progress
        self.small = options.quick
        self.device = resolve_device(options.device)
        self.data = DataLocator(options.data, options.on_progress)

    @abstractmethod
    def run(self) -> Findings:
        """Measure."""

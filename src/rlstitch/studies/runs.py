"""Runs of studies: from a name and options to a folder of results."""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlstitch.agents.card import current_versions
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.resources import torch_threads
from rlstitch.reporting.plots import table_plot
from rlstitch.reporting.tensorboard import write_study_events
from rlstitch.storage import canonical_json, write_bytes, write_json, write_table
from rlstitch.storage.folders import staged_files
from rlstitch.storage.workspace import RUNS, command_line
from rlstitch.studies.catalogue import Description, describe
from rlstitch.studies.study import Findings, Study, StudyConfig, StudyOptions
from rlstitch.studies.tables import Row, markdown_table, table_lines


@dataclass(frozen=True)
class StudyOutcome:
    """A finished study and the folder of its results; the text is what the command prints."""

    study: Description
    findings: Findings
    folder: Path

    def __str__(self) -> str:
        lines = [
            f"{self.study.name}: {self.study.shows}",
            "",
            *table_lines(self.findings.table, self.folder / "table.md"),
            "",
        ]
        return "\n".join([*lines, *self.findings.facts, f"written to {self.folder}"])


def study_class(name: str) -> type[Study[Any]]:
    """Import the study of this name, one of `study_names()`."""
    module = importlib.import_module(f"rlstitch.studies.catalogue.{name.replace('-', '_')}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Study) and value.__module__ == module.__name__
    )


def study_config(study: type[Study[Any]], options: StudyOptions) -> StudyConfig:
    """Return the config that the options ask for.

    Raises:
        InvalidInputError: for fewer than 2 seeds, or a number of seeds where the study has its own.
    """
    config = study.quick if options.quick else study.full
    if options.seeds is None:
        return config
    if not study.takes_seeds:
        raise InvalidInputError(
            f"seeds: this study has one seed a model, fixed by its sweep; leave seeds out, found {options.seeds}"
        )
    if options.seeds < 2:
        raise InvalidInputError(f"seeds: expected at least 2, as the two sides never share one, found {options.seeds}")
    if options.seeds > 1000:
        raise InvalidInputError(f"seeds: expected at most 1,000, found {options.seeds:,}")
    return config.model_copy(update={"seeds": tuple(range(options.seeds))})


def study_folder(name: str, config: StudyConfig) -> Path:
    """Return the run folder of a study with this config."""
    digest = hashlib.sha256(canonical_json({"study": name, **config.model_dump()})).hexdigest()
    return RUNS / f"latent-{name}-{digest[:8]}"


@torch_threads()
def run_study(name: str, options: StudyOptions | None = None) -> StudyOutcome:
    """Run a study, and write it to `runs/latent-<name>-<hash8>/`, with the hash of its config.

    The folder holds config.json (also where the data came from), cells and table (CSV and JSON), table.md, table.png
    where the table has values with intervals, and all of it as TensorBoard events in `tensorboard/`.

    Args:
        name: of a study, one of `rlstitch.studies.catalogue.study_names()`.
        options: what the user chooses; the full study by default.

    Raises:
        UnknownNameError: for a study that does not exist.
        InvalidInputError: for fewer than 2 seeds, a device that is not available, or data that are not found.
        ArtefactError: where data are damaged, or the results cannot be written.
    """
    options = options or StudyOptions()
    description = describe(name)
    kind = study_class(name)
    chosen = study_config(kind, options)
    folder = study_folder(name, chosen)
    started = time.perf_counter()
    study = kind(chosen, options, folder)
    findings = study.run()
    about = {
        "seconds": round(time.perf_counter() - started, 1),
        "command": command_line(),
        "versions": current_versions(),
        "data": study.data.origins,
    }
    _write(folder, {"study": name, **chosen.model_dump()}, findings, about)
    return StudyOutcome(description, findings, folder)


def _write(folder: Path, config: Row, findings: Findings, about: Mapping[str, Any]) -> None:
    page = [f"# {config['study']}", "", *(f"{fact}\n" for fact in findings.facts), markdown_table(findings.table), ""]
    plot = findings.curves.plot() if findings.curves else table_plot(findings.table)
    files = {**({} if plot is None else {"table.png": plot.png()}), **findings.files}
    with staged_files(folder) as stage:
        write_table(list(findings.cells), stage / "cells")
        write_table(list(findings.table), stage / "table")
        for name, content in {"table.md": "\n".join(page).encode(), **files}.items():
            write_bytes(stage / name, content)
        write_json(stage / "config.json", {"config": config, "run": about}, schema_version=1)
    write_study_events(folder / "tensorboard", config, findings.facts, findings.table, files, findings.curves)

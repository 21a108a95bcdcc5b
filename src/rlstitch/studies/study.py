"""Studies: experiments on latent spaces beyond reinforcement learning, each described, run and written the same way."""

from __future__ import annotations

import hashlib
import importlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlstitch.errors import InvalidInputError, UnknownNameError

Row = dict[str, Any]

_TELL: ContextVar[Callable[[str, str], None]] = ContextVar("_TELL", default=lambda folder, origin: None)
"""Told by `find_data` of each kind of data and where it was found; the study that is running listens."""


@dataclass(frozen=True)
class StudyOptions:
    """What a study may be told. `seeds`: how many, at least 2; None: as many as the study finds right. `on_progress` is
    given a line whenever a part is done.
    """

    quick: bool = False
    data: Path | None = None
    seeds: int | None = None
    device: str = "auto"
    on_progress: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Findings:
    """What a study came to.

    `cells`: every single measurement; `table`: means with 95 % intervals, in the order to be read; `facts`: what the
    result says, in sentences that hold for these figures; `files`: pictures and the like, by name (`table.png`: instead
    of the one that is drawn of any table with intervals).
    """

    cells: Sequence[Row]
    table: Sequence[Row]
    facts: Sequence[str]
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A study that can be listed without loading what it needs.

    Its module holds `resolve(options) -> config`, everything that decides the outcome as JSON, and
    `run(config, options) -> Findings`.
    """

    name: str
    shows: str
    """One line."""
    data: str
    """What it needs, in words."""
    time: str
    """How long it takes, roughly: quick and in full."""
    module: str


STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        Study(
            "images-classification",
            "encoders of three makes (cnn, mlp, vit) drive heads of one another, by every way of joining them",
            "Fashion-MNIST; with --quick scikit-learn's digits, nothing to get",
            "quick: under 15 seconds; in full: some 25 minutes of one core, as 15 networks are trained",
            "rlstitch.studies.images",
        ),
        Study(
            "images-reconstruction",
            "encoders of autoencoders, plain and variational, drive decoders of one another; with pictures",
            "Fashion-MNIST; with --quick scikit-learn's digits, nothing to get",
            "quick: under 15 seconds; in full: some six minutes, as ten networks and thirty decoders are trained",
            "rlstitch.studies.reconstruction",
        ),
        Study(
            "few-pairs",
            "what stands in for pairs of images: fewer of them, labels alone, pairs grown from 15, or none",
            "Fashion-MNIST; with --quick scikit-learn's digits, nothing to get; needs the extra ot",
            "quick: under 15 seconds; in full: some six minutes, as ten networks are trained and 1,000 images matched",
            "rlstitch.studies.few_pairs",
        ),
        Study(
            "word-embeddings",
            "word2vec meets fastText: how well each method makes two spaces of words one",
            "word vectors as npz",
            "quick: seconds; in full: a minute",
            "rlstitch.studies.words",
        ),
        Study(
            "text-classification",
            "encoders of texts of three kinds (lsa, words, transformer) drive heads of one another",
            "TREC questions; with --quick questions made up on the spot",
            "quick: under 15 seconds; in full: minutes, as 15 networks are trained",
            "rlstitch.studies.text",
        ),
        Study(
            "audio-digits",
            "encoders of spoken digits of three kinds (cnn, gru, mlp) drive heads of one another",
            "FSDD, spoken digits; with --quick sounds made up on the spot",
            "quick: under 15 seconds; in full: some ten minutes, as 60 networks are trained",
            "rlstitch.studies.audio",
        ),
        Study(
            "graphs-nodes",
            "encoders of four makes (gcn, sage, gat, gcnii) drive node classifiers' heads of one another",
            "Cora (Planetoid files); with --quick a block model made on the spot; needs the extra graph",
            "quick: under 15 seconds; in full: minutes, as 20 networks are trained",
            "rlstitch.studies.graphs",
        ),
        Study(
            "graphs-latent-evaluation",
            "how well a model's likeness to one good model, in relative space and without labels, tells its accuracy",
            "Cora (Planetoid files); with --quick a block model made on the spot; needs the extra graph",
            "quick: under 15 seconds; in full: some 12 minutes, resumable, as 1,177 small networks are trained",
            "rlstitch.studies.graph_evaluation",
        ),
        Study(
            "asif",
            "images meet captions that were never trained with them, and are classified by the texts of classes",
            "Fashion-MNIST and word vectors as npz; with --quick scikit-learn's digits, nothing to get",
            "quick: under 15 seconds; in full: some four minutes, as thirty networks are trained",
            "rlstitch.studies.asif",
        ),
        Study(
            "charts",
            "models that each learnt a part of the classes are merged into one space",
            "Fashion-MNIST; with --quick scikit-learn's digits, nothing to get",
            "quick: under 15 seconds; in full: some ten minutes, as 355 small networks are trained",
            "rlstitch.studies.charts",
        ),
        Study(
            "text-cross-lingual",
            "encoders of sentences, each trained on one language alone, meet by parallel anchors and find translations",
            "Multi30k in English, German and French; with --quick captions made up on the spot",
            "quick: under 15 seconds; in full: some four minutes, as 90 pairs of spaces are joined by every method",
            "rlstitch.studies.cross_lingual",
        ),
        Study(
            "cross-modal",
            "images meet sounds and words by pairs that share nothing but their label; each drives the other's head",
            "FSDD, Fashion-MNIST and word vectors as npz; with --quick digits, sounds and names that need no download",
            "quick: under 15 seconds; in full: minutes, as 15 networks and 90 heads are trained",
            "rlstitch.studies.cross_modal",
        ),
    )
}


@dataclass(frozen=True)
class StudyOutcome:
    """Where a study was written, and what it found. Its text is what the command prints."""

    study: Study
    findings: Findings
    folder: Path

    def __str__(self) -> str:
        lines = [f"{self.study.name}: {self.study.shows}", "", markdown_table(self.findings.table), ""]
        return "\n".join([*lines, *self.findings.facts, f"written to {self.folder}"])


def list_studies() -> str:
    """Every study in four lines: its name, what it shows, its data and its time."""
    return "\n".join(
        f"{study.name}\n  shows  {study.shows}\n  data   {study.data}\n  time   {study.time}"
        for study in STUDIES.values()
    )


def run_study(name: str, options: StudyOptions | None = None) -> StudyOutcome:
    """Run a study and write it to `runs/latent-<name>-<hash8>/`: config.json, cells and table (CSV and JSON), table.md,
    table.png where the table has values with intervals, and all of it as TensorBoard events in `tensorboard/`.

    The hash is that of the resolved config, so the same question lands in the same folder. Where the data came from
    stands beside it in config.json.

    Raises:
        UnknownNameError: for a study that is not there.
        InvalidInputError: for fewer than 2 seeds, a device that is not there, or data that is not found.
        ArtefactError: where data is damaged, or the results cannot be written.
    """
    options = options or StudyOptions()
    if name not in STUDIES:
        raise UnknownNameError("study", name, STUDIES)
    if options.seeds is not None and options.seeds < 2:
        raise InvalidInputError(f"seeds: expected at least 2, as the two sides never share one, found {options.seeds}")
    study = STUDIES[name]
    module = importlib.import_module(study.module)
    config: dict[str, Any] = {"study": name, **module.resolve(options)}
    started = time.perf_counter()
    origins: dict[str, str] = {}

    def tell(folder: str, origin: str) -> None:
        if origins.get(folder) != origin:
            origins[folder] = origin
            options.on_progress(f"data: {folder} from {origin}")

    token = _TELL.set(tell)
    try:
        findings: Findings = module.run(config, options)
    finally:
        _TELL.reset(token)
    seconds = time.perf_counter() - started
    return StudyOutcome(study, findings, _write(config, findings, seconds, origins))


def study_folder(config: Mapping[str, Any]) -> Path:
    """Where the results of a study with this resolved config go, and what it keeps to be resumed by."""
    from rlstitch.storage import canonical_json
    from rlstitch.storage.workspace import RUNS

    return RUNS / f"latent-{config['study']}-{hashlib.sha256(canonical_json(config)).hexdigest()[:8]}"


def find_data(data: Path | None, folder: str, files: Sequence[str], what: str) -> Path:
    """The folder that holds all `files`: `data` or its `folder`, else the same of what RLSTITCH_DATA names, else a
    folder in the cache, where they are fetched to if need be. A study that is running says which.

    Raises:
        InvalidInputError: where it is not to be had; the message says what to get, and why it was not fetched.
    """
    from rlstitch.studies.data import locate

    tell = _TELL.get()
    place, origin = locate(data, folder, files, what, tell)
    tell(folder, origin)
    return place


def mean_interval(
    values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float, float]:
    """Mean and 95 % interval by Student's t, as fits a handful of values; a single value is given no width.

    `within`: the values that are possible; the interval is cut there.
    """
    import numpy as np
    from scipy import special

    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0:
        raise InvalidInputError("values must hold at least one number, found none")
    mean = float(sample.mean())
    if sample.size == 1:
        return mean, mean, mean
    half = float(special.stdtrit(sample.size - 1, 0.975) * sample.std(ddof=1) / np.sqrt(sample.size))
    return mean, max(mean - half, within[0]), min(mean + half, within[1])


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows with the same keys as a Markdown table; numbers that are not whole with three digits, None as a dash."""
    if not rows:
        return ""
    head = list(rows[0])
    body = [[_text(row.get(name)) for name in head] for row in rows]
    widths = [max(len(line[at]) for line in [head, *body]) for at in range(len(head))]
    lines = [head, ["-" * width for width in widths], *body]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _write(config: Mapping[str, Any], findings: Findings, seconds: float, origins: Mapping[str, str]) -> Path:
    from rlstitch.agents.card import current_versions
    from rlstitch.reporting.plots import table_plot
    from rlstitch.reporting.tensorboard import write_study_events
    from rlstitch.storage import write_bytes, write_json, write_table
    from rlstitch.storage.workspace import command_line

    folder = study_folder(config)
    write_table(list(findings.cells), folder / "cells")
    write_table(list(findings.table), folder / "table")
    page = [f"# {config['study']}", "", *(f"{fact}\n" for fact in findings.facts), markdown_table(findings.table), ""]
    write_bytes(folder / "table.md", "\n".join(page).encode())
    plot = table_plot(findings.table)
    files = {**({} if plot is None else {"table.png": plot.png()}), **findings.files}
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_study_events(folder / "tensorboard", config, findings.facts, findings.table, files)
    about = {
        "seconds": round(seconds, 1),
        "command": command_line(),
        "versions": current_versions(),
        "data": dict(origins),
    }
    write_json(folder / "config.json", {"config": dict(config), "run": about}, schema_version=1)
    return folder

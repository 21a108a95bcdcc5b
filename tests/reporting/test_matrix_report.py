"""The report of a matrix: what is read, the page, tables, plots, latents, videos, events, the command."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shlex
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matrix_samples import METHODS, made_up_matrix
from PIL import Image
from scipy import stats
from sklearn.decomposition import PCA
from stitch_samples import untrained
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlstitch.agents.artefact import load_agent, save_agent
from rlstitch.api.matrix import matrix as run_matrix
from rlstitch.api.report import find_videos
from rlstitch.api.report import report as report_matrix
from rlstitch.cli.main import main
from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.reporting.matrix.commands import cell_commands
from rlstitch.reporting.matrix.data import read_matrix
from rlstitch.reporting.matrix.latents import choose_rows, find_rows, lay_out
from rlstitch.reporting.matrix.leaderboard import leaderboard, write_leaderboard
from rlstitch.reporting.matrix.matrix_plots import diagnostic_plots, matrix_heat_plot, share_reaching
from rlstitch.reporting.matrix.page import payload, render_matrix
from rlstitch.reporting.matrix.tables import best_method, correlations, headline, markdown, method_line, worst_row
from rlstitch.rollouts.video import write_gif, write_mp4
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.refine import refine_stitch
from rlstitch.storage import limits, read_json

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'`|$title"
SMALL = "MiniGrid-LavaCrossingS9N1-v0"


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up matrix in `m`, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return made_up_matrix(tmp_path / "m")


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    """Edit a JSON file in place; what `edit` returns, where it does, is the new content."""
    content = json.loads(path.read_text(encoding="utf-8"))
    changed = edit(content)
    path.write_text(json.dumps(content if changed is None else changed), encoding="utf-8")


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self._open = ""
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = (dict(attrs).get("id") or tag) if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inside[self._open] = self.inside.get(self._open, "") + data
        else:
            self.words += data


def test_columns_of_the_page_tell_every_row(matrix):
    data = read_matrix(matrix)
    reported = json.loads(json.dumps(payload(data)))
    columns = reported["columns"]
    assert {row["state"] for row in data.rows} == {"done", "refused", "missing"}
    for index, row in enumerate(data.rows):
        for name, home in (("encoder", "agents"), ("controller", "agents"), ("method", "methods"), ("state", "states"),
                           ("reason", "reasons"), ("world", "worlds")):  # fmt: skip
            assert reported[home][columns[name][index]] == row[name]
        assert columns["counted"][index] == row["counted"]
        for key, unit in (
            ("recovery", 1),
            ("return_low", 0.01),
            ("success", 0.01),
            ("kl", 1e-3),
            ("native_return", 0.01),
        ):
            value = columns[key][index]
            assert (value is None) == (row[key] is None)
            assert value is None or value == pytest.approx(row[key], abs=unit / 200), "two digits more than are shown"


def test_a_metric_of_a_newer_version_is_shown_and_texts_are_not(matrix):
    more = {"coverage": 0.5, "verdict": "fine", "\x1b[2J": 1.0, 'a" onload="x': 2.0}
    change(matrix / "cells.json", lambda rows: [row | more for row in rows])
    assert [metric.key for metric in read_matrix(matrix).metrics][-1] == "coverage", "the others are no names"
    assert payload(read_matrix(matrix))["metrics"][-1]["fit"] is True


def test_rank_correlations_are_scipys(matrix):
    data = read_matrix(matrix)
    result = {(entry["method"], entry["fit"], entry["outcome"]): entry for entry in correlations(data)}
    rows = [row for row in data.rows if row["method"] == "affine" and row["state"] == "done"]
    expected = stats.spearmanr([row["kl"] for row in rows], [row["recovery"] for row in rows]).statistic
    assert result["affine", "kl", "recovery"]["rho"] == pytest.approx(expected)
    assert result["affine", "kl", "recovery"]["cells"] == len(rows)
    change(matrix / "cells.json", lambda rows: [row | {"kl": 1.0} if row["kl"] else row for row in rows])
    assert {entry["rho"] for entry in correlations(read_matrix(matrix)) if entry["fit"] == "kl"} == {None}


def test_shares_count_what_reaches_a_level():
    shares = [share_reaching([0.0, 50.0, 50.0, 100.0], level) for level in (-1, 0, 50, 50.1, 100, 101)]
    assert shares == [1.0, 1.0, 0.75, 0.25, 0.25, 0.0]


def refusals() -> list[tuple[str, Callable[[Any], Any], str]]:
    def first(**changes: Any) -> Callable[[Any], Any]:
        return lambda rows: rows[0].update(changes)

    return [
        ("matrix.json", lambda about: about.update(schema_version=99), "schema_version 1, found '99'"),
        (
            "matrix.json",
            lambda about: {key: about[key] for key in about if key != "options"},
            "not what a matrix writes: KeyError",
        ),
        ("cells.json", lambda rows: {"rows": rows}, "expected a list of rows, found dict"),
        ("cells.json", first(encoder=3), "row 0: expected encoder, controller, method, state as texts"),
        ("cells.json", first(state="half"), "row 0: state: expected done, refused, missing, found 'half'"),
        ("cells.json", first(recovery="much"), "row 0: recovery: expected a number, found 'much'"),
        ("cells.json", first(success=True), "row 0: success: expected a number, found 'True'"),
    ]


@pytest.mark.parametrize(("file", "edit", "message"), refusals())
def test_what_no_matrix_wrote_is_refused(matrix, file, edit, message):
    change(matrix / file, edit)
    with pytest.raises(ArtefactError, match=re.escape(message)):
        read_matrix(matrix)


def test_a_folder_without_a_matrix_and_wrong_options_are_refused(matrix):
    with pytest.raises(ArtefactError, match=r"expected the folder of a matrix, found no matrix\.json"):
        report_matrix(matrix / "cells")
    with pytest.raises(InvalidInputError, match="latents: expected 0 or more, found -1"):
        report_matrix(matrix, latents=-1)
    with pytest.raises(InvalidInputError, match="cells: expected ENCODER--CONTROLLER--METHOD"):
        report_matrix(matrix, cells=["nobody--somebody--affine"])
    assert not (matrix / "report.html").exists()


def test_the_page_stands_alone_and_its_policy_names_its_script_and_style(matrix):
    text = render_matrix(read_matrix(matrix))
    page = Page(text)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.inside[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not [a for _, a in page.tags if "style" in a or any(name.startswith("on") for name in a)]
    assert not re.search(r"(?:https?:)?//[\w.]+\.\w+/|@import|url\((?!#)", text)
    assert not [a for _, a in page.tags if set(a) & {"src", "srcset", "action", "background"}]


def test_names_and_reasons_are_text_wherever_they_stand(matrix):
    def spoil(rows):
        for row in rows:
            row |= {"encoder": row["encoder"] + HOSTILE, "method": row["method"] + HOSTILE, "reason": HOSTILE}
        return rows

    plain = [tag for tag, _ in Page(render_matrix(read_matrix(matrix))).tags]
    change(matrix / "cells.json", spoil)
    change(matrix / "matrix.json", lambda about: about | {"command": HOSTILE, "methods": [HOSTILE]} | {
        "summary": [entry | {"method": HOSTILE} for entry in about["summary"]], "comparisons": []})  # fmt: skip
    data = read_matrix(matrix)
    page = Page(render_matrix(data))
    assert [tag for tag, _ in page.tags if tag in ("script", "img", "style")] == [
        tag for tag in plain if tag in ("script", "img", "style")
    ]
    assert HOSTILE in json.loads(page.inside["data"])["methods"]
    assert HOSTILE in page.words
    assert "<img" not in markdown(data).replace("\\<", "")


def test_a_cut_off_matrix_says_so_and_one_without_results_still_has_a_page(matrix):
    assert "Interrupted" in Page(render_matrix(read_matrix(matrix))).words
    empty = {"recovery": None, "return_mean": None, "success": None, "length_mean": None, "action_agreement": None}
    empty |= {"kl": None, "r2": None, "native_return": None, "state": "missing"}
    change(matrix / "cells.json", lambda rows: [row | empty for row in rows])
    change(matrix / "matrix.json", lambda about: about | {"complete": True, "comparisons": [], "summary": [
        entry | {"cells": 0, "mean": None, "iqm": None, "recovered": None, "success": None, "profile": None}
        for entry in about["summary"]]})  # fmt: skip
    words = Page(render_matrix(read_matrix(matrix))).words
    assert "No cell has a recovery yet" in words
    assert "Interrupted" not in words


def test_tables_hold_the_figures_of_the_rows(matrix):
    report = report_matrix(matrix, latents=0, tensorboard=False)
    assert report.events is None
    lines = list(csv.reader(io.StringIO((matrix / "tables/recovery-affine.csv").read_text(encoding="utf-8"))))
    reported = read_json(matrix / "report.json", schema_version=1)
    assert lines[0] == ["encoder", *reported["controllers"]]
    for row in report.data.rows:
        if row["method"] == "affine":
            i, j = reported["encoders"].index(row["encoder"]), reported["controllers"].index(row["controller"])
            assert reported["tables"]["affine"]["recovery"][i][j] == row["recovery"]
            assert lines[i + 1][j + 1] == ("" if row["recovery"] is None else str(row["recovery"]))
    text = (matrix / "report.md").read_text(encoding="utf-8")
    assert all(f"## {method}: recovery %" in text for method in METHODS)
    assert headline(report.data) in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("| doorkey")}) == 1


def test_only_numbers_get_a_minus_sign(matrix):
    method = "affine-refined-1"
    for name in ("cells.json", "matrix.json"):
        path = matrix / name
        path.write_text(path.read_text(encoding="utf-8").replace('"auto"', f'"{method}"'), encoding="utf-8")
    change(
        matrix / "cells.json", lambda rows: [row | {"recovery": row["recovery"] and -row["recovery"]} for row in rows]
    )
    change(matrix / "matrix.json", lambda about: [e.update(mean={"estimate": -5.5, "low": -7.0, "high": -4.0})
           for e in about["summary"]] and about)  # fmt: skip
    change(matrix / "matrix.json", lambda about: about.pop("cells_sha256", None) and None)
    words = Page(render_matrix(read_matrix(matrix))).words
    assert words.count(method) > 5
    assert "affine−" not in words
    assert "−5.5 [−7.0, −4.0]" in words
    assert not re.search(r"(?<![\w-])-\d", words)


def test_a_method_of_fewer_cells_is_not_the_best_and_every_file_says_why(matrix):
    mean = {"estimate": 120.0, "low": 119.0, "high": 121.0}
    change(matrix / "matrix.json", lambda about: about["summary"][0].update(mean=mean))
    data = read_matrix(matrix)
    naive, affine, auto = data.summary
    assert naive["cells"] < affine["cells"] == auto["cells"]
    best = max(affine, auto, key=lambda entry: entry["mean"]["estimate"])
    assert headline(data).startswith(f"{best['method']} recovers ")
    assert f"% on average over {best['cells']} cells" in headline(data)
    assert data.rows[worst_row(data)]["method"] == best["method"]
    assert [line["method"] for line in leaderboard(data)][-2:] == ["naive", "random"]
    text = (
        f"Means are over different cells (affine {affine['cells']}, auto {auto['cells']}, naive {naive['cells']}): "
        "the best is chosen among the methods that share the most, affine, auto"
    )
    report = report_matrix(matrix, latents=0)
    write_leaderboard(data, {})
    page = report.page.read_text(encoding="utf-8")
    files = [
        Page(page).words,
        *((matrix / name).read_text(encoding="utf-8") for name in ("report.md", "leaderboard.md")),
    ]
    for words in files:
        assert text in words
        assert "covers the episodes of these cells only" in words
    plot = page[page.index('<svg class="plot wide"') : page.index('<svg class="plot narrow"')]
    places = [plot.index(f">{entry['method']} ({entry['cells']} cells)<") for entry in (best, naive)]
    assert places == sorted(places)
    events = EventAccumulator(str(report.events))
    events.Reload()
    [event] = events.Tensors("matrix/different-cells")
    assert event.tensor_proto.string_val[0].decode() == text


def test_methods_of_the_same_cells_are_all_compared(matrix):
    change(matrix / "cells.json", lambda rows: [row for row in rows if row["method"] != "naive"])
    data = read_matrix(matrix)
    best = max(data.summary[1:], key=lambda entry: entry["mean"]["estimate"])
    assert best_method(data) == best
    for text in (headline(data), markdown(data), render_matrix(data)):
        assert "different cells" not in text
        assert "on average over" not in text
        assert f"({best['cells']} cells)" not in text


def test_a_method_without_counted_cells_has_dashes():
    entry = {"method": "naive", "cells": 0, "mean": None, "iqm": None, "recovered": None, "success": None}
    assert method_line(entry | {"refused": 3, "missing": 1}) == ("naive", "0", "–", "–", "–", "–", "3", "1")


def test_components_are_scikit_learns_and_are_fitted_on_the_target_alone():
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.normal(size=(40, 6)) * [5, 3, 1, 1, 0.5, 0.1])
    x = torch.from_numpy(rng.normal(size=(40, 6)))
    row = {"encoder": "a", "controller": "b", "method": "affine"}
    result = lay_out(row, x, 2 * y, y)
    pca = PCA(2).fit(y.numpy())
    signs = np.sign(np.array(result.target)[0] / pca.transform(y.numpy())[0])
    for own, latents in ((result.target, y), (result.before, x), (result.after, 2 * y)):
        np.testing.assert_allclose(own, pca.transform(latents.numpy()) * signs, atol=1e-9)
    np.testing.assert_allclose(result.explained, pca.explained_variance_ratio_, atol=1e-12)
    assert lay_out(row, x[:, :3], y, y).before is None
    with pytest.raises(InvalidInputError, match="two dimensions"):
        lay_out(row, x[:, :1], y[:, :1], y[:, :1])


def test_cells_for_latents_are_spread_from_the_lowest_to_the_highest(matrix):
    rows = read_matrix(matrix).rows
    usable = [row for row in rows if row["counted"] and row["method"] != "naive"]
    chosen = choose_rows(rows, 3)
    recoveries = sorted(row["recovery"] for row in usable)
    assert [row["recovery"] for row in chosen] == [
        recoveries[0],
        recoveries[round((len(usable) - 1) / 2)],
        recoveries[-1],
    ]
    assert len(choose_rows(rows, 10_000)) == len(usable)
    assert choose_rows(rows, 0) == choose_rows((), 3) == []
    name = "--".join(chosen[1][key] for key in ("encoder", "controller", "method"))
    assert find_rows(rows, [name, name]) == [chosen[1]]


def test_films_are_found_by_name_and_large_ones_left_out(matrix, monkeypatch: pytest.MonkeyPatch):
    data = read_matrix(matrix)
    done = [row for row in data.rows if row["state"] == "done"][:3]
    refused = next(row for row in data.rows if row["state"] == "refused")
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    homes = (Path("videos"), matrix / "videos", Path("videos"), Path("videos"))
    for row, home in zip((*done, refused), homes, strict=True):
        write_mp4(frames, home / f"{row['encoder']}--{row['controller']}--{row['method']}.mp4")
    films, left = find_videos(data)
    assert [film.row for film in films] == [data.rows.index(row) for row in done]
    assert left == []
    page = Page(render_matrix(data, videos=films))
    for film in films:
        assert base64.b64decode(page.inside[film.id]) == film.path.read_bytes()
    monkeypatch.setattr(limits, "VIDEOS_BYTES", films[0].path.stat().st_size)
    assert [len(part) for part in find_videos(data)] == [1, 2]


def test_events_hold_scalars_images_and_films_and_are_replaced(matrix):
    made_up_matrix(matrix, agents=3, methods=("affine",))
    data = read_matrix(matrix)
    row = next(row for row in data.rows if row["state"] == "done")
    name = f"{row['encoder']}--{row['controller']}--{row['method']}"
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    write_mp4(frames, Path(f"videos/{name}.mp4"))
    write_gif(frames, Path(f"videos/{name}.gif"))
    for _ in range(2):
        report = report_matrix(matrix, latents=0)
    assert report.events is not None
    assert len(list(report.events.iterdir())) == 1
    events = EventAccumulator(str(report.events), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    (entry,) = (entry for entry in data.summary if entry["method"] == "affine")
    (mean,) = events.Scalars("matrix/recovery-mean-estimate/affine")
    assert mean.value == pytest.approx(entry["mean"]["estimate"])
    profile = {event.step: event.value for event in events.Scalars("profile/affine")}
    assert profile[50] == pytest.approx(entry["profile"]["share"][entry["profile"]["levels"].index(50.0)])
    assert {f"{metric}/affine" for metric in ("recovery", "return", "success")} <= set(events.Tags()["images"])
    assert f"videos/{name}" in events.Tags()["images"]
    (picture,) = events.Images("recovery/affine")
    image = Image.open(io.BytesIO(picture.encoded_image_string))
    assert image.size == (picture.width, picture.height)


def test_a_heat_map_shows_the_values_of_the_table_in_percent(matrix):
    data = read_matrix(matrix)
    success = next(metric for metric in data.metrics if metric.key == "success")
    plot = matrix_heat_plot(data, "affine", success, "cell")
    shown = np.ma.filled(plot.figure.axes[0].images[0].get_array(), np.nan)
    table = [[np.nan if value is None else 100 * value for value in line] for line in data.table("affine", "success")]
    np.testing.assert_allclose(shown, table)


def test_diagnostic_plots_have_a_point_for_each_cell_and_clip_far_values(matrix):
    data = read_matrix(matrix)
    lines = {line.get_gid(): line for line in diagnostic_plots(data)["cell", "kl"].figure.axes[0].lines}
    for index, method in enumerate(METHODS):
        rows = [row for row in data.rows if row["method"] == method and row["kl"] is not None]
        points = np.asarray(lines[f"scatter-0-kl-{index}"].get_xydata())
        np.testing.assert_allclose(points, [(row["kl"], row["recovery"]) for row in rows])
    change(
        matrix / "cells.json", lambda rows: [row | {"r2": -250.0 if row["r2"] else None, "kl": None} for row in rows]
    )
    plots = diagnostic_plots(read_matrix(matrix))
    assert {x for line in plots["cell", "r2"].figure.axes[0].lines for x in line.get_xdata()} == {-1.0}
    assert ("cell", "kl") not in plots


def test_plots_for_papers_are_pdf_and_png(matrix):
    made_up_matrix(matrix, agents=3, methods=("affine",))
    report = report_matrix(matrix, latents=0, tensorboard=False, plots=True)
    names = {path.name for path in (matrix / "plots").iterdir()}
    assert names == {path.name for path in report.plots}
    assert {"recovery-affine.pdf", "recovery-affine.png", "diagnostics-kl.pdf", "profiles-episodes.png"} <= names
    assert all(path.read_bytes()[:4] in (b"%PDF", b"\x89PNG") for path in report.plots)
    assert str(matrix / "plots") in str(report)


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with two agents of unlike widths and their matrix, in `here`."""
    place = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, options in (("red", {}), ("green", {"seed": 2, "variation": "green", "encoder__latent_dim": 9})):
            save_agent(untrained(name, environment=SMALL, **options), Path("agents") / name)
        run_matrix(["red", "green"], methods=("naive", "affine"), episodes=4, pairs=24, out=Path("here"))
    return place


@pytest.fixture
def measured(measured_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(measured_once, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "here"


def test_the_command_reports_a_matrix_that_was_measured(measured, capsys):
    assert main(["report", "here", "--cells", "red--green--affine, green--red--affine"]) == 0
    out = capsys.readouterr().out
    assert str(Path("here/report.html")) in out
    assert "latents of 2 cells" in out
    words = Page((measured / "report.html").read_text(encoding="utf-8")).words
    assert len(re.findall(r"(?:red → green|green → red), affine: \d+ matched states", words)) == 2
    assert words.count("widths differ") == 2
    assert (measured / "tensorboard").is_dir()
    assert main(["report", "nowhere"]) == 2
    assert "expected the folder of a matrix" in capsys.readouterr().err


def test_latents_of_refined_methods_and_of_controls_go_through_the_map_that_was_measured(measured):
    methods = ("affine", "affine-refined-1", "affine-shuffled", "affine-untrained", "affine-self")
    run_matrix(["red", "green"], methods=methods, episodes=2, pairs=24, out=Path("derived"))
    cells = [f"red--green--{method}" for method in methods]
    report = report_matrix("derived", cells=cells, tensorboard=False)
    assert report.notes == ()
    shown = dict(zip(methods, report.latents, strict=True))
    assert len({each.after for each in shown.values()}) == len(methods)
    assert {each.target for each in shown.values()} == {shown["affine"].target}
    np.testing.assert_allclose(shown["affine-self"].before, shown["affine"].target)
    red, green = (load_agent(Path("agents") / name) for name in ("red", "green"))
    pairs = gather_pairs(red, green, pairs=24)
    x, y = torch.cat([pairs.x_held, pairs.x]), torch.cat([pairs.y_held, pairs.y])
    refined = refine_stitch(red, green, pairs, rounds=1)[-1].translation
    row = next(row for row in report.data.rows if row["encoder"] == "red" and row["method"] == "affine-refined-1")
    assert lay_out(row, x[:160], refined(x[:160]), y[:160]) == shown["affine-refined-1"]


def commands_of(data, method, place="cell"):
    """The commands of the first cell of red and green under a method, as the page shows them."""
    names = {("red", "green"), ("red", "red")}
    row = next(row for row in data.select(method, place) if (row["encoder"], row["controller"]) in names)
    lines = cell_commands(data, row)
    return row, [line.replace("ENCODER", row["encoder"]).replace("CONTROLLER", row["controller"]) for line in lines]


@pytest.mark.parametrize("method", ["naive", "affine", "affine-refined-1", "affine-shuffled"])
def test_the_first_command_of_a_cell_makes_this_cell(measured, method, short_films):
    options = {"episodes": 3, "pairs": 20, "seed": 5, "deterministic": True}
    run_matrix(["red", "green"], methods=[method], out=Path("other"), **options)
    row, (command, *more) = commands_of(read_matrix("other"), method)
    assert main(shlex.split(command)[1:]) == (2 if row["state"] == "refused" else 0)
    rows = [row for path in Path("runs").glob("stitch-*/cells.json") for row in json.loads(path.read_text())]
    names = {"affine-refined-1": "affine, round 1"}
    assert [each["return_mean"] for each in rows if each["method"] == names.get(method, method)] == (
        [row["return_mean"]] if row["state"] == "done" else []
    )
    shown = {path.stem for path in Path("videos").glob("*.mp4")}
    assert shown == ({f"red--green--{method}"} if method in ("affine", "affine-refined-1") else set())
    assert [line.split()[1] for line in more] == (["diagnose"] if method in ("naive", "affine") else [])
    assert {main(shlex.split(line)[1:]) for line in more} <= {2 if row["state"] == "refused" else 0}


def test_cells_of_other_worlds_and_controls_of_refined_methods_are_made_by_a_matrix(measured):
    place, method = "green/scrambled", "affine-refined-1-untrained"
    options = {"episodes": 3, "pairs": 20, "seed": 5}
    run_matrix(["red", "green"], methods=[method], worlds=("cell", place), out=Path("other"), **options)
    data = read_matrix("other")
    for where in ("cell", place):
        row, (command,) = commands_of(data, method, where)
        assert main([*shlex.split(command)[1:], "--out", "again"]) == 0
        again = read_matrix("again").select(method, where)
        assert next(each for each in again if each["encoder"] == "red")["return_mean"] == row["return_mean"]
    row, (command,) = commands_of(data, "native", place)
    assert command == "rlstitch evaluate red --look green --task scrambled --episodes 3 --seed 5"
    assert main(shlex.split(command)[1:]) == 0
    [table] = Path("runs").glob("evaluate-*/episodes.json")
    assert np.mean([each["return"] for each in json.loads(table.read_text())]) == pytest.approx(row["return_mean"])


def test_commands_name_the_environment_and_are_left_out_for_methods_that_are_not_known(matrix):
    called = "rlstitch matrix --env my.module:Lava-v0 'red*' --make-kwargs size=9 text='a b' --gym-packages x --greedy"
    change(matrix / "matrix.json", lambda about: about.update(command=called))
    change(matrix / "cells.json", lambda rows: rows[0].update(method="of-a-friend"))
    change(matrix / "cells.json", lambda rows: rows[1].update(method="native"))
    data = read_matrix(matrix)
    assert cell_commands(data, data.rows[0]) == cell_commands(data, data.rows[1]) == []
    assert cell_commands(data, data.rows[2])[1] == (
        "rlstitch diagnose ENCODER CONTROLLER --method auto --pairs 1024 --seed 0 "
        "--env my.module:Lava-v0 --make-kwargs size=9 'text=a b' --gym-packages x"
    )


def test_a_map_that_cannot_be_fitted_again_takes_its_own_panel_alone(measured):
    def rename(rows):
        return [row | {"method": "of-a-friend"} if row["method"] == "naive" else row for row in rows]

    change(measured / "cells.json", lambda rows: rename([row | {"state": "done"} for row in rows]))
    change(measured / "matrix.json", lambda about: about.pop("cells_sha256") and None)
    report = report_matrix("here", cells=["red--green--of-a-friend", "red--green--affine"], tensorboard=False)
    assert [each.method for each in report.latents] == ["affine"]
    assert "no latents of red → green, of-a-friend: unknown stitching method 'of-a-friend'" in str(report)


def test_agents_that_are_gone_or_others_have_no_latents_and_the_report_says_why(measured, monkeypatch):
    save_agent(untrained("red", seed=7, environment=SMALL), Path("agents/red"), force=True)
    report = report_matrix("here", cells=["red--green--affine"], tensorboard=False)
    assert report.latents == ()
    assert "agent 'red' is another than it was when the matrix was measured" in str(report)
    shutil.rmtree("agents/red")
    report = report_matrix("here", cells=["red--green--affine"], tensorboard=False)
    assert "no latents of red → green, affine: unknown agent 'red'" in str(report)


def test_a_matrix_is_found_by_its_name_under_runs(measured):
    Path("runs").mkdir()
    measured.rename("runs/matrix-1")
    assert report_matrix("matrix-1", latents=0, tensorboard=False).page == Path("runs/matrix-1/report.html")

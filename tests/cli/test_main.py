"""The command line: what it parses, how it ends, and that it starts quickly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest

from rlstitch.cli.console import fill
from rlstitch.cli.demo import Demo
from rlstitch.cli.evaluate import Evaluate
from rlstitch.cli.latent import Latent, Translate
from rlstitch.cli.main import COMMANDS, _class, main, parse
from rlstitch.cli.matrix import Matrix
from rlstitch.cli.relativize import Relativize
from rlstitch.cli.stitch import Stitch
from rlstitch.cli.train import Train
from rlstitch.errors import InvalidInputError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rlstitch(*arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlstitch.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)  # type: ignore[call-overload,no-any-return]


def test_help_names_every_command_and_loads_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for command, (_, summary) in COMMANDS.items():
        assert f"• {command} {summary}" in text
        assert _class(command).__doc__ == summary
    code = "import sys\nfrom rlstitch.cli.main import main\nmain(['--help'])\nsys.exit('tyro' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_command_and_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tyro-print-completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in (*COMMANDS, "--greedy"))


LATENT = [f"latent {command}" for command in ("run", "compare", "translate", "encode", "list")]


@pytest.mark.parametrize("command", [*COMMANDS, *LATENT])
def test_help_of_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: rlstitch {command}" in text
    assert "None" not in text, "a default that says nothing"
    assert "(default: )" not in text
    for option in text.split():
        assert option != "STR", "an option without a word for its value"


def test_help_offers_every_choice_of_an_option() -> None:
    offered = {}
    for command in COMMANDS:
        for name, hint in get_type_hints(_class(command), include_extras=True).items():
            kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            choices = [get_args(one) for one in (kind, *get_args(kind)) if get_origin(one) is Literal]
            words = [note.metavar for note in notes if getattr(note, "metavar", None)]
            if choices and words:
                offered[command, name] = tuple(words[0].split("|")), *choices
    assert ("train", "encoder_arch") in offered
    assert {place: words for place, (words, choices) in offered.items() if words != choices} == {}


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from rlstitch import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rlstitch {__version__}\n"


def test_help_in_a_process_of_its_own_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom rlstitch.cli.main import main\nstatus = main(['train', '--help'])\n"
        "heavy = {'torch', 'gymnasium', 'numpy', 'pydantic', 'stable_baselines3'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_parse_train() -> None:
    line = (
        "train configs/minigrid-doorkey.yaml --variation red --seed 1 --representation relative --resume --device cpu"
    )
    assert parse([*line.split(), "--device", "cpu", "--set", "a=1", "ppo.clip=0.3", "--set", "b=-2"]) == Train(
        config="configs/minigrid-doorkey.yaml",
        look="red",
        seed=1,
        representation="relative",
        resume=True,
        device="cpu",
        set=(("a=1", "ppo.clip=0.3"), ("b=-2",)),
    )


def test_parse_stitch() -> None:
    line = "stitch --encoder doorkey-red-s1 --policy doorkey-green-s2"
    assert parse(line.split()) == Stitch(encoder="doorkey-red-s1", policy="doorkey-green-s2")
    line += " --method auto --episodes 10 --video --pairs 32 --seed 3 --name n --force --no-save --greedy"
    assert parse(line.split()) == Stitch(
        encoder="doorkey-red-s1",
        policy="doorkey-green-s2",
        method="auto",
        episodes=10,
        video=True,
        pairs=32,
        seed=3,
        name="n",
        force=True,
        save=False,
        greedy=True,
    )


def test_parse_the_others() -> None:
    line = "evaluate doorkey-red-s1 --look green --task scrambled --episodes 5 --greedy --video --seed 2"
    assert parse(line.split()) == Evaluate(
        agent="doorkey-red-s1", look="green", task="scrambled", episodes=5, greedy=True, video=True, seed=2
    )
    assert parse(["relativize", "a", "--anchors", "64"]) == Relativize(agent="a", anchors="64")
    assert parse(["demo", "--seed", "3", "--out", "x/y"]) == Demo(seed=3, out=Path("x/y"))


@pytest.mark.parametrize(
    "line",
    ["a b", "--encoder a --policy b", "a --policy b", "b --encoder a", "a --controller b", "--greedy a --pairs 9 b"],
)
def test_two_agents_by_position_or_by_option(line: str) -> None:
    command = parse(["stitch", *line.split(), "--seed", "1"])
    assert isinstance(command, Stitch)
    assert fill(command.agents, encoder=command.encoder, policy=command.policy) == ("a", "b")


def test_options_stand_between_arguments_of_every_command_that_takes_several() -> None:
    translate = parse(["latent", "translate", "x", "--out", "z.npz", "y"])
    assert isinstance(translate, Latent)
    assert isinstance(translate.command, Translate)
    assert translate.command.spaces == ("x", "y")
    assert parse(["matrix", "a", "--episodes", "2", "b", "--greedy", "c"]) == Matrix(
        agents=("a", "b", "c"), episodes=2, greedy=True
    )


@pytest.mark.parametrize("line", ["latent run no-study --threads 3", "evaluate nobody --threads 3"])
def test_threads_are_set_before_the_command_runs(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main(line.split()) == 2, "the name is unknown"
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_train_overrides_join_options_and_settings() -> None:
    train = Train(config="c", look="no", seed=1, set=(("ppo.clip=0.3",), ("threads=2",)))
    # An option's text stays text: a look may be called "no" without being false.
    assert train.overrides() == {"look": "no", "seed": 1, "ppo.clip": 0.3, "threads": 2}


def test_train_refuses_a_key_given_in_two_ways() -> None:
    with pytest.raises(InvalidInputError, match="seed: expected one value, found one from --set and one from --seed"):
        Train(config="c", seed=1, set=(("seed=2",),)).overrides()


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("", "expected a command; rlstitch --help lists them"),
        ("trian", "did you mean train"),
        ("--greedy", "unknown command '--greedy'"),
        ("train c\0", "zero byte"),
        ("train", "CONFIG"),
        ("train c --varation red", "--variation"),
        ("train c --seed one", "one"),
        ("stitch --encoder a", "expected ENCODER and POLICY, found 1 of them"),
        ("stitch a --seed 1 b --magic 3", "--magic"),
        ("evaluate a --seed 1 b", "b"),
        ("evaluate a --threads 0", "threads: expected 1 to 1024, found 0"),
        ("evaluate a --threads 99999999999", "threads: expected 1 to 1024, found 99999999999"),
        ("latent compare x --seed 1 y z", "z"),
        ("pairs a b c --out x.npz", "expected ENCODER and POLICY, found 3 of them"),
        ("stitch a b --policy c", "expected ENCODER and POLICY, found 3 of them"),
        ("latent translate --out x.safetensors", "expected SOURCE and TARGET, found 0 of them"),
        ("stitch --encoder a --policy b --method magic", "orthogonal"),
        ("show", "AGENT"),
        ("list extra", "extra"),
    ],
)
def test_wrong_usage_ends_with_2(line: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert part in captured.err + captured.out


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("train minigrid-dorkey", "did you mean minigrid-doorkey"),
        ("train minigrid-doorkey --set ppo.clipp=1 --seed -1", "2 problems: seed: expected"),
        ("train minigrid-doorkey --set ppo.clip", "expected key=value, found 'ppo.clip'"),
        ("train minigrid-doorkey --variation grean", "did you mean green"),
        ("show nobody", "unknown agent 'nobody'"),
    ],
)
def test_an_error_of_ours_is_one_line_and_2(line: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("rlstitch: error: ")
    assert captured.err.count("\n") == 1
    assert part in captured.err


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from rlstitch.api import listing

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(listing, "list_everything", interrupted)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "rlstitch: interrupted\n"


def test_a_mistake_in_the_code_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from rlstitch.api import listing

    monkeypatch.setattr(listing, "list_everything", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def test_nobody_reads_on() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "rlstitch.cli.main", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_no_traceback_from_a_process_of_its_own() -> None:
    done = rlstitch("show", "nobody")
    assert done.returncode == 2
    assert done.stderr.startswith("rlstitch: error: unknown agent 'nobody'")
    assert "Traceback" not in done.stderr


def test_the_program_is_installed() -> None:
    program = Path(sys.executable).with_name("rlstitch")
    done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "rlstitch")


@pytest.mark.parametrize("columns", ["0", "1", "5", "-3", "nonsense", "99999999999"])
@pytest.mark.parametrize("line", [["--help"], ["show", "--help"]])
def test_help_ends_on_any_terminal(
    line: list[str], columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(line) == 0
    assert len(capsys.readouterr().out) < 20_000


HOSTILE = "a\x1b[31mb\x9b2J\u202ec\nd"


@pytest.mark.parametrize("line", [["show", HOSTILE], ["train", "c", "--seed", HOSTILE], [HOSTILE]])
def test_no_escape_of_an_argument_is_printed(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 2
    text = "".join(capsys.readouterr())
    assert "[31mb" in text
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\nd" not in text


@pytest.mark.skipif(os.name != "posix", reason="shells of other systems")
@pytest.mark.parametrize(
    ("redirection", "status", "complaint"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full", 2, "rlstitch: error: the operating system: No space left on device\n"),
        ("2>/dev/full", 0, ""),
        (">/dev/full 2>/dev/full", 2, ""),
    ],
)
@pytest.mark.parametrize("line", ["--version", "show --help"])
def test_streams_that_cannot_be_written(line: str, redirection: str, status: int, complaint: str) -> None:
    command = f"exec {sys.executable} -m rlstitch.cli.main {line} {redirection}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, complaint)


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
def test_output_in_any_encoding(encoding: str) -> None:
    for line in (["show", "--help"], ["show", "n\u00f6body \u2192"]):
        command = [sys.executable, "-m", "rlstitch.cli.main", *line]
        done = subprocess.run(
            command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding}
        )
        assert done.returncode == (0 if "--help" in line else 2)
        assert "Traceback" not in done.stderr.decode(encoding)

"""`rlstitch info` states what a report of a bug needs, and nothing of the user."""

from __future__ import annotations

import getpass
import platform
from importlib.metadata import version
from pathlib import Path

from rlstitch.api.info import info
from rlstitch.cli.main import main


def test_versions_of_required_and_optional_packages() -> None:
    information = info()
    assert information.rlstitch == version("rlstitch")
    assert information.packages["torch"] == version("torch")
    assert information.packages["gymnasium"] == version("gymnasium")
    assert "ray" in information.extras["ray"]
    assert not {"dev", "docs"} & set(information.extras)
    assert information.cores >= 1


def test_the_command_prints_a_line_for_each_and_no_path(capsys) -> None:
    assert main(["info"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["python"].endswith(platform.python_version())
    assert lines["torch"] == version("torch")
    assert str(Path.home()) not in str(lines)
    assert getpass.getuser() not in lines.values()


def test_a_package_that_is_not_installed_is_said_so(monkeypatch) -> None:
    monkeypatch.setattr("rlstitch.api.info.requires", lambda _: ["torch>=2", "no-such-package>=1; extra == 'ray'"])
    information = info()
    assert information.extras["ray"] == {"no-such-package": None}
    assert "no-such-package (extra ray)  not installed" in str(information)

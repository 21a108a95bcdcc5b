"""What is installed from the wheel works without the repository: presets, agents, version, types."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGED_AGENTS = ("doorkey-red-s1", "doorkey-green-s2", "doorkey-symbolic-s5", "lavagap-red-s1", "lavagap-green-s2")
"""A few megabytes; a clone has more of them."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # pip makes an environment with the build tools of pyproject.toml, as it does for every user.
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True, capture_output=True)
    (path,) = folder.glob("rlstitch-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("target")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    return target


def run(installed: Path, folder: Path, code: str) -> str:
    """Run code in an unrelated folder, with the installed package before the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", f"import rlstitch; print(rlstitch.__file__)\n{code}"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    origin, _, rest = done.stdout.partition("\n")
    assert Path(origin).is_relative_to(installed), f"the checkout was imported: {origin}"
    return rest


def test_the_wheel_holds_code_presets_types_and_licence_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "rlstitch/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    presets = {str(path.relative_to(ROOT / "configs")) for path in (ROOT / "configs").rglob("*.yaml")}
    folder = "rlstitch/_data/configs/"
    assert {name.removeprefix(folder) for name in names if name.startswith(folder)} == presets
    assert {Path(name).parent.name for name in names if name.endswith("agent.json")} == set(PACKAGED_AGENTS)
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "runs")) or "__pycache__" in name]
    assert wheel.stat().st_size <= 8_000_000


def test_presets_and_agents_are_listed_from_an_unrelated_folder(installed: Path, tmp_path: Path) -> None:
    text = run(installed, tmp_path, "import sys\nfrom rlstitch.cli.main import main\nsys.exit(main(['list']))")
    for preset in (ROOT / "configs").glob("*.yaml"):
        assert preset.stem in text
    for agent in PACKAGED_AGENTS:
        assert agent in text
    assert "broken" not in text


def test_a_preset_loads_from_an_unrelated_folder(installed: Path, tmp_path: Path) -> None:
    code = (
        "from rlstitch.config.files import find_config\nfrom rlstitch.config.training import load_config\n"
        "print(load_config('minigrid-doorkey').environment)\nprint(find_config('configs/minigrid-doorkey.yaml'))"
    )
    environment, path = run(installed, tmp_path, code).splitlines()
    assert environment == "MiniGrid-DoorKey-5x5-v0"
    assert Path(path).is_relative_to(installed)


def test_every_agent_that_came_with_the_package_loads(installed: Path, tmp_path: Path) -> None:
    agents = sorted(PACKAGED_AGENTS)
    code = f"from rlstitch import load_agent\nfor name in {agents!r}: print(load_agent(name).card.name)"
    assert run(installed, tmp_path, code).split() == agents


def test_a_stitch_and_the_help_of_the_demo_from_an_unrelated_folder(installed: Path, tmp_path: Path) -> None:
    stitch = [
        "stitch",
        "doorkey-symbolic-s5",
        "doorkey-green-s2",
        "--method",
        "affine",
        "--episodes",
        "2",
        "--pairs",
        "64",
        "--no-save",
    ]
    code = (
        "from rlstitch.cli.main import main\nfor line in "
        f"(['demo', '--help'], {stitch}):\n    if status := main(line): raise SystemExit(status)"
    )
    text = run(installed, tmp_path, code)
    assert "usage: rlstitch demo" in text
    assert "doorkey-symbolic-s5  doorkey-green-s2  affine" in text


def test_a_stitched_agent_does_not_show_in_the_clone_it_is_made_in() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no clone")
    ask = [
        "git",
        "check-ignore",
        "--no-index",
        "agents/doorkey-red-s1--doorkey-green-s2--affine",
        "agents/a-relativized",
    ]
    asked = subprocess.run([*ask, "agents/doorkey-red-s1"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert asked.stdout.split() == ask[3:]

"""Stitching methods: the registry, and the maps against their definitions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from stitch_samples import TRANSLATIONS, fit_map

from rlstitch.agents.controller import Controller, build_controller
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent import fit, fit_affine, screen_pairs, translation_methods
from rlstitch.stitching.actions import action_divergence, compare_actions
from rlstitch.stitching.maps import balancing_weights, match_task
from rlstitch.stitching.methods import BUILT_IN, all_methods, get_method, method_help

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)


def pairs(count: int = 200, width: int = 8, noise: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of one affine map, of lengths that differ by two orders of magnitude, with errors in proportion."""
    x = RNG.normal(size=(count, width)) * np.exp(RNG.uniform(-2.3, 2.3, size=(count, 1)))
    y = x @ RNG.normal(size=(width, width))
    y += noise * np.linalg.norm(y, axis=1, keepdims=True) * RNG.normal(size=y.shape) / width**0.5
    return torch.from_numpy(x), torch.from_numpy(y)


def test_weights_are_one_over_both_lengths():
    x, y = pairs()
    weights = balancing_weights(x, y).numpy()
    expected = 1 / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
    np.testing.assert_allclose(weights / weights.mean(), expected / expected.mean(), rtol=1e-6)
    scaled = balancing_weights(5 * x, 0.2 * y).numpy()
    np.testing.assert_allclose(scaled, weights, rtol=1e-6)


def test_rows_of_no_length_have_a_finite_weight():
    x, y = pairs(count=9)
    x[0], y[1] = 0, 0
    assert bool(torch.isfinite(balancing_weights(x, y)).all())
    assert torch.equal(balancing_weights(torch.zeros(5, 2), torch.zeros(5, 3)), torch.ones(5))
    assert bool(torch.isfinite(fit_map("balanced", x, y).matrix).all())


def test_balanced_directions_come_nearer_where_lengths_differ():
    x, y = pairs()
    mean = {}
    for method in ("affine", "balanced"):
        mapped = fit_map(method, x[:60], y[:60])(x[60:])
        mean[method] = float(torch.nn.functional.cosine_similarity(mapped, y[60:]).mean())
    assert mean["balanced"] > mean["affine"]


def test_robust_is_balanced_on_the_pairs_that_screening_trusts():
    x, y = pairs(noise=0.1)
    y[:40] = y[:40].roll(1, 0)
    result, trusted = fit_map("robust", x, y), screen_pairs(x, y)
    expected = fit_affine(x[trusted], y[trusted], weights=balancing_weights(x[trusted], y[trusted]))
    torch.testing.assert_close(result.matrix, expected.matrix)
    assert (result.method, result.report.n_pairs) == ("robust", int(trusted.sum()))


@pytest.mark.parametrize("method", sorted(set(TRANSLATIONS) & {*translation_methods()} - {"robust"}))
def test_the_others_are_those_of_the_latent_core(method):
    x, y = pairs(count=40)
    result, expected = fit_map(method, x, y), fit(method, x, y)
    assert torch.equal(result.matrix, expected.matrix)
    assert result.method == expected.method


def test_too_few_pairs_and_unknown_names():
    x, y = pairs(count=4)
    with pytest.raises(InvalidInputError, match="needs at least 4 pairs, found 3"):
        fit_map("robust", x[:3], y[:3])
    with pytest.raises(InvalidInputError, match="needs at least 3 pairs, found 2"):
        fit_map("balanced", x[:2], y[:2])
    with pytest.raises(UnknownNameError, match="afine"):
        fit_map("afine", x, y)
    assert bool(torch.isfinite(fit_map("robust", x, y).matrix).all())


def controller(width: int, actions: dict[str, object]) -> Controller:
    """A controller that looks at some directions of its latents far more than at others."""
    torch.manual_seed(3)
    result = build_controller({"latent_dim": width, "hidden": [16], "actions": actions, "norm": "none"})
    with torch.no_grad():
        first = next(layer for layer in result.trunk if isinstance(layer, torch.nn.Linear))
        first.weight *= torch.logspace(0, -3, width)
        result.action_head.weight *= 10
    return result


DISCRETE = {"kind": "discrete", "n": 4}
BOX = {"kind": "box", "low": [-1.0, -1.0], "high": [1.0, 1.0]}


@pytest.mark.parametrize("actions", [DISCRETE, BOX])
def test_a_map_matched_to_the_task_changes_actions_less_on_pairs_it_never_saw(actions):
    width = 8
    x = torch.from_numpy(RNG.normal(size=(600, width))).float()
    y = torch.tanh(x @ torch.from_numpy(RNG.normal(size=(width, width))).float())  # no affine map is right
    head = controller(width, actions)
    change = {}
    for method in ("balanced", "task_matched"):
        mapped = fit_map(method, x[:400], y[:400], head)(x[400:])
        actions = [head.action_parameters(latents) for latents in (mapped, y[400:])]
        change[method] = compare_actions(head, *actions).mean_kl
    assert change["task_matched"] < 0.9 * change["balanced"]


def test_matching_starts_from_a_map_and_leaves_it_and_the_controller_alone():
    x, y = (part.float() for part in pairs(noise=0.1))
    head, start = controller(8, DISCRETE), fit("affine", x, y)
    before = [start.matrix.clone(), *(each.clone() for each in head.parameters())]
    result, again = match_task(start, head, x, y), match_task(start, head, x, y)
    assert all(map(torch.equal, before, [start.matrix, *head.parameters()]))
    assert all(each.requires_grad and each.grad is None for each in head.parameters())
    assert torch.equal(result.matrix, again.matrix)
    assert not result.matrix.requires_grad
    with torch.no_grad():
        required, *mapped = (head.action_parameters(z) for z in (y, start(x), result(x)))
    loss = [float(action_divergence(head, each, required).mean()) for each in mapped]
    assert loss[1] < loss[0]


def test_a_map_that_is_right_already_stays_where_it_is():
    x, _ = pairs()
    x = x.float()
    exact = fit("affine", x, 2 * x + 1)
    result = match_task(exact, controller(8, DISCRETE), x, exact(x))
    torch.testing.assert_close(result.matrix, exact.matrix, atol=1e-4, rtol=0)


def test_every_method_is_named_in_the_help_and_in_the_documents():
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/pairs.md"))
    assert [name for name in BUILT_IN if f"`{name}`" not in text] == []
    assert [name for name in BUILT_IN if f"{name} (" not in method_help()] == []


PLUGIN = """
from rlstitch.latent import fit_affine
from rlstitch.stitching.methods import Method

MINE = Method("mine", "least squares again", lambda pairs, controller: fit_affine(pairs.x, pairs.y))
NOT_A_METHOD = 3
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package with one entry point, until the test ends."""

    def installed(entry):
        (tmp_path / "plugin.py").write_text(PLUGIN)
        info = tmp_path / "plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[rlstitch.methods]\n{entry}\n")
        monkeypatch.syspath_prepend(tmp_path)
        all_methods.cache_clear()

    yield installed
    sys.modules.pop("plugin", None)
    all_methods.cache_clear()


def test_an_installed_package_adds_a_method(install):
    install("mine = plugin:MINE")
    x, y = torch.randn(2, 30, 4)
    assert torch.equal(fit_map("mine", x, y).matrix, fit_map("affine", x, y).matrix)
    assert list(all_methods()) == [*BUILT_IN, "mine"]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("mine = plugin:NOT_A_METHOD", "entry point rlstitch.methods 'mine': expected a Method of a new name, found 3"),
        ("mine = plugin:GONE", "entry point rlstitch.methods 'mine': cannot load plugin:GONE: "),
    ],
)
def test_an_entry_point_that_is_no_method_is_named(install, entry, problem):
    install(entry)
    with pytest.raises(InvalidInputError, match=problem):
        get_method("mine")


def test_without_packages_there_are_the_built_in_methods_and_their_module_loads_no_torch():
    assert list(all_methods()) == list(BUILT_IN)
    code = "import sys, rlstitch.stitching.methods as m; m.method_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Maps that are not affine: better where one affine map leaves something, equal to it where it leaves nothing."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from rlstitch.errors import ArtefactError, InvalidInputError, UnknownNameError
from rlstitch.latent import Translation, evaluate_translation, fit_affine
from rlstitch.latent.translation.corrected import build_translation, fit_local, fit_residual
from rlstitch.storage import load_translation, save_translation
from rlstitch.storage.tensors import write_tensors

FITS = (fit_local, fit_residual)


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def halves(count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Two clusters, each turned by a rotation of its own."""
    x = gaussian(count, 6)
    x[::2, 0] += 8
    x[1::2, 0] -= 8
    turns = [torch.linalg.qr(gaussian(6, 6, seed=seed)).Q for seed in (1, 2)]
    y = torch.stack([x @ turn for turn in turns], dim=1)
    return x, y[torch.arange(count), torch.arange(count) % 2]


def bent(count: int = 600) -> tuple[torch.Tensor, torch.Tensor]:
    x = gaussian(count, 5)
    return x, torch.relu(x @ gaussian(5, 7, seed=1))


@pytest.mark.parametrize(
    ("fit", "pairs", "least"),
    [(fit_local, halves, 0.999), (fit_residual, halves, 0.98), (fit_local, bent, 0.8), (fit_residual, bent, 0.95)],
)
def test_what_an_affine_map_leaves_is_learned(fit, pairs, least):
    x, y = pairs()
    held = x[300:], y[300:]
    corrected = evaluate_translation(fit(x[:300], y[:300]), *held)
    assert corrected.r2 > least
    assert 1 - corrected.r2 < 0.8 * (1 - evaluate_translation(fit_affine(x[:300], y[:300]), *held).r2)


@pytest.mark.parametrize("fit", FITS)
def test_where_it_leaves_nothing_nothing_is_corrected(fit):
    x = gaussian(200, 5)
    y = x @ gaussian(5, 4, seed=1) + 3
    torch.testing.assert_close(fit(x[:150], y[:150])(x[150:]), y[150:], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("fit", FITS)
def test_few_pairs_give_the_affine_map_or_nearly(fit):
    x, y = gaussian(12, 3), gaussian(12, 2, seed=1)
    apart = fit(x, y)(x) - fit_affine(x, y)(x)
    assert float(apart.norm()) < 0.5 * float(y.norm())


@pytest.mark.parametrize("fit", FITS)
def test_it_is_stored_built_and_called_like_an_affine_map(fit, tmp_path: Path):
    x, y = bent(200)
    fitted = fit(x, y)
    path = fitted.save(tmp_path / "map.safetensors")
    again = Translation.load(path)
    assert torch.equal(load_translation(path)(x), again(x))
    assert type(again) is type(fitted)
    assert (again.method, again.report) == (fitted.method, fitted.report)
    assert torch.equal(again(x), fitted(x))
    assert torch.equal(fit(x, y)(x), fitted(x))
    torch.testing.assert_close(fitted(x.reshape(4, 50, 5)).reshape(200, 7), fitted(x))
    assert not any(parameter.requires_grad for parameter in fitted.parameters())
    assert fitted(x.numpy()).shape == (200, 7)
    for refused in (fitted.inverse, lambda: fitted.then(fitted), lambda: fit_affine(x, x).then(fitted)):
        with pytest.raises(InvalidInputError, match="affine"):
            refused()


@pytest.mark.parametrize("fit", FITS)
def test_it_is_exported_for_batches_of_any_size(fit):
    x, y = bent(100)
    fitted = fit(x, y)
    program = torch.export.export(fitted, (x[:7],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(x), fitted(x))


@pytest.mark.parametrize(
    ("change", "error"),
    [({"kind": "locale"}, UnknownNameError), ({"size": 0}, InvalidInputError), ({"size": 70_000}, InvalidInputError)],
)
def test_another_specification_is_refused(change, error):
    with pytest.raises(error):
        build_translation(fit_local(*bent(64)).spec() | change)


def test_a_file_that_claims_more_than_it_holds_is_refused(tmp_path: Path):
    fitted = fit_local(*bent(64))
    small, report = fitted.state_dict(), fitted.report
    assert report is not None
    fitted.size = 60_000
    path = save_translation(fitted, tmp_path / "map.safetensors")
    with pytest.raises(ArtefactError, match="tensors are not those that the header describes"):
        load_translation(path)
    assert small["centres"].shape == (2, 5)
    write_tensors(path, small, metadata={})
    with pytest.raises(ArtefactError):
        load_translation(path)


def test_an_affine_specification_names_no_kind():
    assert "kind" not in Translation.identity(3).spec()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_a_unit_that_was_dead_while_fitting_changes_nothing_later(value: float):
    x, y = bent()
    x[:, 2] = value
    translation = fit_residual(x, y)
    assert translation.report.r2 > 0.6
    later = x.clone()
    later[:, 2] += 1
    assert float((translation(later) - translation(x)).abs().max()) < 1e-3


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_the_network_learns_whatever_the_scale(size: float):
    x, y = bent()
    reports = [fit_residual(*pair).report for pair in ((x, y), (size * x, y), (x, size * y))]
    assert [report.r2 for report in reports] == pytest.approx([reports[0].r2] * 3, abs=0.01)


def test_a_residual_map_draws_no_global_random_numbers_and_is_fitted_in_inference_mode(tmp_path: Path):
    x, y = bent()
    state = torch.get_rng_state()
    fitted = fit_residual(x, y)
    stored = load_translation(save_translation(fitted, tmp_path / "map.safetensors"))
    with torch.inference_mode():
        again = fit_residual(x.clone(), y.clone())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(again(x), fitted(x))
    assert torch.equal(stored(x), fitted(x))


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_the_nearest_centre_does_not_depend_on_where_the_space_lies(offset: float):
    x, y = bent()
    moved = (x + offset).double()
    translation = fit_local(moved, y).float()
    ours = translation.correction(moved.float())
    nearest = torch.cdist(moved, translation.centres.double()).argmin(dim=1)
    expected = torch.einsum("nd,nde->ne", moved.float(), translation.matrices[nearest]) + translation.biases[nearest]
    torch.testing.assert_close(ours, expected, atol=0.05, rtol=0)


def test_few_different_points_make_fewer_clusters_without_a_warning():
    x = torch.tensor([[0.0], [1.0]]).repeat(100, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translation = fit_local(x, x, clusters=5)
    torch.testing.assert_close(translation(x), x)

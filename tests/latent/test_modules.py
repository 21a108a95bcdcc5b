"""Stitched modules: equal to their parts by hand, trainable, exportable, and refused where they do not fit."""

import io

import numpy as np
import pytest
import torch
from torch import nn

from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.latent import (
    NORMALIZATIONS,
    SIMILARITIES,
    Translation,
    fit_affine,
    fit_inverse_projection,
    fit_orthogonal,
    relative_projection,
)
from rlstitch.latent.modules import RelativeProjection, stitch


def parts(width_in=5, width_out=4, seed=0):
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, width_in))
    decoder = nn.Sequential(nn.Linear(width_out, 8), nn.ReLU(), nn.Linear(8, 2))
    return encoder, decoder


IMAGES = torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def bridge(kind):
    rng = torch.Generator().manual_seed(2)
    if kind == "translation":
        return fit_affine(torch.randn(30, 5, generator=rng), torch.randn(30, 4, generator=rng))
    if kind == "inverse projection":
        return fit_inverse_projection(torch.randn(30, 5, generator=rng), torch.randn(30, 4, generator=rng))
    similarity, normalization = kind
    return RelativeProjection(torch.randn(4, 5, generator=rng), similarity=similarity, normalization=normalization)


# Every relation that is made of tensor operations, and every normalisation.
TRACEABLE = [name for name in SIMILARITIES if name != "geodesic"]
KINDS = [
    "translation",
    "inverse projection",
    *((name, NORMALIZATIONS[i % len(NORMALIZATIONS)]) for i, name in enumerate(TRACEABLE)),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_stitched_is_its_parts_one_after_the_other(kind):
    encoder, decoder = parts()
    via = bridge(kind)
    stitched = stitch(encoder, decoder, via, example=(IMAGES[:1],))
    with torch.no_grad():
        torch.testing.assert_close(stitched(IMAGES), decoder(via(encoder(IMAGES))))
        one_by_one = torch.cat([stitched(image[None]) for image in IMAGES])
        torch.testing.assert_close(stitched(IMAGES), one_by_one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_export_reload_compare(kind):
    encoder, decoder = parts()
    stitched = stitch(encoder, decoder, bridge(kind)).eval()
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(stitched, (IMAGES,), dynamic_shapes=((({0: batch},)),))
    stored = io.BytesIO()
    torch.export.save(program, stored)
    stored.seek(0)
    again = torch.export.load(stored).module()
    for count in (7, 3):
        torch.testing.assert_close(again(IMAGES[:count]), stitched(IMAGES[:count]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_state_dict_round_trip(kind):
    encoder, decoder = parts()
    stitched = stitch(encoder, decoder, bridge(kind))
    other = stitch(*parts(seed=5), bridge(kind))
    other.load_state_dict(stitched.state_dict())
    torch.testing.assert_close(other(IMAGES), stitched(IMAGES))


def test_without_anything_between_and_with_shared_parameters():
    encoder, decoder = parts(4, 4)
    stitched = stitch(encoder, decoder)
    torch.testing.assert_close(stitched(IMAGES), decoder(encoder(IMAGES)))
    stitched(IMAGES).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert {id(p) for p in stitched.parameters()} == {id(p) for m in (encoder, decoder) for p in m.parameters()}


def test_a_perfect_translation_gives_the_other_models_outputs():
    encoder, decoder = parts(4, 4)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(3)))[0]
    turned = nn.Sequential(encoder, Translation(rotation, torch.ones(4)))
    with torch.no_grad():
        images = torch.rand(50, 3, 8, 8, generator=torch.Generator().manual_seed(4))
        fitted = fit_orthogonal(turned(images), encoder(images))
        torch.testing.assert_close(
            stitch(turned, decoder, fitted)(IMAGES), decoder(encoder(IMAGES)), rtol=1e-4, atol=1e-4
        )
        assert not torch.allclose(stitch(turned, decoder)(IMAGES), decoder(encoder(IMAGES)), atol=1e-2)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("similarity", TRACEABLE)
def test_the_layer_is_the_function(similarity, normalization):
    rng = np.random.default_rng(0)
    anchors, x = rng.normal(size=(6, 3)) + 1, rng.normal(size=(10, 3))
    layer = RelativeProjection(anchors, similarity=similarity, normalization=normalization)
    expected = relative_projection(x, anchors, similarity=similarity, normalization=normalization)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), expected, atol=1e-10)
    anchors[:] = 0  # the layer holds its own copy
    np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("similarity", "options"),
    [
        ("lp", {"p": 1.5}),
        ("basis", {"rtol": 0.3}),
        ("euclidean", {"exact": True}),
        ("mahalanobis", {"points": np.random.default_rng(2).normal(size=(30, 3))}),
        (lambda x, anchors, width: torch.exp(-torch.cdist(x, anchors) / width), {"width": 2.0}),
    ],
)
def test_the_layer_takes_the_options_of_its_relation(similarity, options):
    rng = np.random.default_rng(0)
    anchors, x = rng.normal(size=(6, 3)) + 1, rng.normal(size=(10, 3))
    layer = RelativeProjection(anchors, similarity=similarity, normalization="center", **options)
    expected = relative_projection(x, anchors, similarity=similarity, normalization="center", **options)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), expected, atol=1e-10)


def test_a_layer_takes_the_anchors_that_are_loaded_into_it():
    x, first, other = (torch.randn(9, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    for similarity in TRACEABLE:
        layer, loaded = (
            RelativeProjection(first, similarity=similarity),
            RelativeProjection(other, similarity=similarity),
        )
        layer.load_state_dict(loaded.state_dict())
        torch.testing.assert_close(layer(x), loaded(x))


@pytest.mark.parametrize("similarity", TRACEABLE)
def test_a_layer_passes_nan_on(similarity):
    x = torch.randn(40, 300, generator=torch.Generator().manual_seed(0))
    layer = RelativeProjection(x[:6], similarity=similarity)
    x[1, 2] = torch.nan
    for rows, gradient in ((3, False), (40, False), (3, True)):
        result = layer(x[:rows].clone().requires_grad_(gradient))
        assert result[1].isnan().all()
        assert not result[2].isnan().any()


def test_a_layer_learns_through_every_relation():
    anchors = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    for similarity in TRACEABLE:
        x = torch.randn(10, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
        RelativeProjection(anchors, similarity=similarity)(x).square().sum().backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().max() > 0


def test_parts_that_do_not_fit_are_refused():
    encoder, decoder = parts(5, 4)
    with pytest.raises(IncompatibleError, match=r"\(1, 5\)"):
        stitch(encoder, decoder, example=(IMAGES[:1],))
    with pytest.raises(IncompatibleError, match="3 wide"):
        stitch(encoder, decoder, Translation(torch.zeros(3, 4), torch.zeros(4)), example=(IMAGES[:1],))
    with pytest.raises(InvalidInputError, match="via must be a torch module, found builtin"):
        stitch(encoder, decoder, torch.relu)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="decoder must be a torch module, found NoneType"):
        stitch(encoder, None)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="geodesic"):
        RelativeProjection(np.eye(3), similarity="geodesic")
    with pytest.raises(InvalidInputError, match=r"takes the options .*found \['colour'\]"):
        RelativeProjection(np.eye(3), colour=1)
    with pytest.raises(InvalidInputError, match="equally wide"):
        RelativeProjection(torch.eye(3))(torch.zeros(2, 4))

import itertools
import json

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent import project_cosine
from rlstitch.latent.translation.inverse_projection import (
    InverseProjection,
    decode_relative,
    encode_relative,
    fit_inverse_projection,
    prune_anchors,
)


def sample(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


ROTATION = torch.linalg.qr(sample(6, 6, 9)).Q


def similar(x: torch.Tensor) -> torch.Tensor:
    return 2.5 * x @ ROTATION.to(x) + 4


def condition(vectors: np.ndarray) -> float:
    return float(np.linalg.cond(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_planted_similarity_is_recovered(dtype: torch.dtype) -> None:
    anchors, x = sample(40, 6, 0, dtype), sample(15, 6, 1, dtype)
    translate = fit_inverse_projection(anchors, similar(anchors))
    torch.testing.assert_close(translate(x), similar(x), atol=1e-4, rtol=1e-4)
    assert translate(x).dtype == dtype
    torch.testing.assert_close(translate(anchors.mean(0)), similar(anchors.mean(0)))


def test_norms() -> None:
    anchors, x = sample(40, 6, 0), sample(15, 6, 1)
    target = similar(anchors)
    mean, size = target.mean(0), torch.linalg.vector_norm(target - target.mean(0), dim=1).mean()
    for norm, length in (("mean", float(size)), ("unit", 1.0)):
        moved = fit_inverse_projection(anchors, target, norm=norm)(x) - mean
        torch.testing.assert_close(torch.linalg.vector_norm(moved, dim=1), torch.full((15,), length).double())
        torch.testing.assert_close(project_cosine(moved, similar(x) - mean).diagonal(), torch.ones(15).double())


def test_the_two_halves_need_not_meet() -> None:
    anchors, x = sample(40, 6, 0), sample(15, 6, 1)
    relative = encode_relative(x, anchors)
    torch.testing.assert_close(relative, encode_relative(similar(x), similar(anchors)))
    decoded = decode_relative(relative, similar(anchors))
    torch.testing.assert_close(encode_relative(decoded, similar(anchors)), relative)
    expected = fit_inverse_projection(anchors, similar(anchors), norm="mean")(x)
    torch.testing.assert_close(decoded, expected)
    plain = decode_relative(encode_relative(x, anchors, center=False), anchors @ ROTATION, center=False)
    torch.testing.assert_close(project_cosine(plain, x @ ROTATION).diagonal(), torch.ones(15).double())


def test_widths_may_differ() -> None:
    anchors, x = sample(60, 6, 0), sample(20, 6, 1)
    up = torch.linalg.qr(sample(10, 6, 3)).Q.T
    translate = fit_inverse_projection(anchors, anchors @ up)
    assert (translate(x).shape, translate(x.numpy()).shape) == ((20, 10), (20, 10))
    torch.testing.assert_close(translate(x), x @ up)


def test_pruning_bounds_the_condition_number() -> None:
    anchors = sample(200, 20, 0) * torch.logspace(0, -3, 20)
    for bound in (2.0, 10.0, 100.0):
        rows = prune_anchors(anchors, 200, max_condition=bound, seed=1).numpy()
        assert condition(anchors[rows].numpy()) <= bound
        assert len(set(rows.tolist())) == len(rows)
        more = prune_anchors(anchors, 20, max_condition=1e12, seed=1).numpy()
        np.testing.assert_array_equal(more[: len(rows)], rows)
        assert condition(anchors[more[: len(rows) + 1]].numpy()) > bound
    assert len(prune_anchors(anchors, 3, max_condition=1e12)) == 3
    assert len(prune_anchors(torch.ones(5, 3), 5)) == 1
    # Rows of no length neither count nor end the choice.
    several = sample(20, 5, 0)
    several[7] = 0
    for seed in range(4):
        rows = prune_anchors(several, 20, seed=seed)
        assert len(rows) == 5
        assert 7 not in rows
    assert len(prune_anchors(torch.zeros(4, 3), 4)) == 1
    # Opposite vectors tell the same.
    assert len(prune_anchors(np.array([[1.0, 0], [-1, 0], [0, 1]]), 3)) == 2


def test_the_report_says_what_pruning_puts_out_of_reach() -> None:
    anchors = sample(200, 20, 0) * torch.logspace(0, -2, 20)
    turned = anchors @ torch.linalg.qr(sample(20, 20, 3)).Q
    bounded, free = (
        fit_inverse_projection(anchors, turned, pruning="anchors", max_condition=m, center=False) for m in (5, 1e6)
    )
    assert free.report is not None
    assert (free.report.n_anchors, free.report.width, free.report.kept) == (200, 20, (20,) * 8)
    assert free.report.spanned == pytest.approx(1)
    assert bounded.report is not None
    for index, kept in enumerate(bounded.report.kept):
        assert kept == len(prune_anchors(turned, 200, max_condition=5, seed=index)) < 20
    # Naively, for one subset: the anchors less their projection on those kept.
    one = fit_inverse_projection(anchors, turned, pruning="anchors", max_condition=5, subsets=1, center=False).report
    rows = prune_anchors(turned, 200, max_condition=5)
    axes = torch.linalg.qr(turned[rows].T.double()).Q
    lost = (turned.double() - turned.double() @ axes @ axes.T).square().sum() / turned.double().square().sum()
    assert one is not None
    assert one.spanned == pytest.approx(1 - float(lost))
    assert one.spanned < 1


def test_pruning_the_spectrum_keeps_all_anchors_and_bounds_the_growth_of_noise() -> None:
    anchors, x = sample(200, 20, 0), sample(50, 20, 1)
    turn = torch.linalg.qr(sample(20, 20, 2)).Q
    exact = fit_inverse_projection(anchors, anchors @ turn, pruning="spectrum", center=False)
    torch.testing.assert_close(exact(x), x @ turn)
    assert exact.report is not None
    assert (exact.report.kept, exact.report.spanned) == ((200,), pytest.approx(1))
    # Naively: the cosines with all anchors, and a least-squares decoding that leaves out what is small.
    skewed = anchors * torch.logspace(0, -3, 20)
    result = fit_inverse_projection(skewed, skewed, pruning="spectrum", max_condition=10, center=False, norm="unit")
    units = (skewed / skewed.norm(dim=1, keepdim=True)).numpy()
    u, s, vh = np.linalg.svd(units, full_matrices=False)
    kept = s > s[0] / 10
    cosines = (x / x.norm(dim=1, keepdim=True)).numpy() @ units.T
    decoded = cosines @ u[:, kept] / s[kept] @ vh[kept]
    np.testing.assert_allclose(result(x), decoded / np.linalg.norm(decoded, axis=1, keepdims=True), atol=1e-8)
    assert result.report is not None
    assert result.report.spanned < 1


def test_averaging_over_subsets_helps_with_noise() -> None:
    anchors, x = sample(200, 30, 0), sample(100, 30, 1)
    turn = torch.linalg.qr(sample(30, 30, 2)).Q
    noisy = anchors @ turn + 0.5 * sample(200, 30, 3)

    def error(subsets: int) -> float:
        mapped = fit_inverse_projection(anchors, noisy, pruning="anchors", subsets=subsets)(x)
        return float((mapped - x @ turn).square().mean())

    assert error(16) < error(1)


def test_spec_and_state_rebuild_it() -> None:
    anchors, x = sample(40, 6, 0, torch.float32), sample(15, 6, 1, torch.float32)
    translate = fit_inverse_projection(anchors, similar(anchors)[:, :4], norm="mean", seed=3)
    copy = InverseProjection.from_spec(json.loads(json.dumps(translate.spec())))
    copy.load_state_dict(translate.state_dict())
    assert torch.equal(copy(x), translate(x))
    assert copy.report == translate.report
    assert torch.equal(fit_inverse_projection(anchors, similar(anchors)[:, :4], norm="mean", seed=3)(x), translate(x))


@pytest.mark.parametrize(
    "anchors", [torch.ones(4, 3), torch.zeros(4, 3), sample(2, 3, 0), sample(2, 3, 0).repeat(3, 1), sample(5, 3, 1)]
)
def test_degenerate_anchors_give_finite_vectors(anchors: torch.Tensor) -> None:
    x = torch.cat([sample(4, 3, 5), torch.zeros(1, 3), anchors.double()])
    for norm, pruning in itertools.product(("proportional", "mean", "unit"), ("anchors", "spectrum")):
        assert torch.isfinite(fit_inverse_projection(anchors, anchors, norm=norm, pruning=pruning)(x)).all()
    assert torch.isfinite(decode_relative(encode_relative(x, anchors), anchors)).all()


def test_errors() -> None:
    anchors = sample(8, 3, 0)
    with pytest.raises(InvalidInputError, match="parallel and at least 2, found 8 and 7"):
        fit_inverse_projection(anchors, anchors[:7])
    with pytest.raises(InvalidInputError, match="parallel and at least 2, found 1 and 1"):
        fit_inverse_projection(anchors[:1], anchors[:1])
    with pytest.raises(UnknownNameError, match="norm"):
        fit_inverse_projection(anchors, anchors, norm="l2")
    with pytest.raises(InvalidInputError, match="subsets"):
        fit_inverse_projection(anchors, anchors, subsets=0)
    with pytest.raises(UnknownNameError, match="did you mean spectrum"):
        fit_inverse_projection(anchors, anchors, pruning="spectra")
    with pytest.raises(InvalidInputError, match=r"max_condition must be at least 1, found 0"):
        fit_inverse_projection(anchors, anchors, pruning="spectrum", max_condition=0)
    with pytest.raises(InvalidInputError, match=r"k must be a whole number in \[1, 8\]"):
        fit_inverse_projection(anchors, anchors, pruning="anchors", size=0)
    with pytest.raises(InvalidInputError, match="size: pruning by spectrum keeps all anchors"):
        fit_inverse_projection(anchors, anchors, size=4)
    with pytest.raises(InvalidInputError, match=r"max_condition must be at least 1, found 0\.5"):
        prune_anchors(anchors, 3, max_condition=0.5)
    with pytest.raises(InvalidInputError, match=r"one column an anchor \(8\), found shape \(2, 7\)"):
        decode_relative(torch.ones(2, 7), anchors)
    with pytest.raises(InvalidInputError, match=r"x must be 3 wide, found shape \(2, 4\)"):
        fit_inverse_projection(anchors, anchors)(torch.ones(2, 4))
    with pytest.raises(InvalidInputError, match="equally wide"):
        encode_relative(torch.ones(2, 4), anchors)
    with pytest.raises(InvalidInputError, match="anchors_y must be finite"):
        fit_inverse_projection(anchors, anchors * float("inf"))

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent import project
from rlstitch.latent.projection.product import (
    AttentionAggregation,
    MLPSum,
    WeightedSum,
    aggregate_concat,
    aggregate_sum,
    project_product,
)

SIMILARITIES = ("cosine", "euclidean", "l1")
torch.manual_seed(0)
X, ANCHORS = torch.randn(9, 4), torch.randn(6, 4)
BLOCKS = project_product(X, ANCHORS, SIMILARITIES)


def modules() -> list[torch.nn.Module]:
    torch.manual_seed(1)
    return [WeightedSum(6, 3), MLPSum([6, 6, 6], 5), AttentionAggregation(6, 3, heads=2)]


def test_the_product_holds_each_projection() -> None:
    for block, similarity in zip(BLOCKS, SIMILARITIES, strict=True):
        torch.testing.assert_close(block, project(X, ANCHORS, similarity))


def test_concat_and_sum_golden() -> None:
    one, two = torch.tensor([[1.0, 3.0]]), torch.tensor([[10.0, 0.0]])
    torch.testing.assert_close(aggregate_concat([one, two]), torch.tensor([[1.0, 3, 10, 0]]))
    torch.testing.assert_close(aggregate_sum([one, two], normalize=False), torch.tensor([[11.0, 3]]))
    # Two values after a layer norm are -1 and 1.
    torch.testing.assert_close(aggregate_sum([one, two]), torch.zeros(1, 2), atol=1e-4, rtol=0)


def test_concat_widths_may_differ_and_numpy_stays_numpy() -> None:
    result = aggregate_concat([np.ones((2, 3)), np.zeros((2, 5))])
    assert isinstance(result, np.ndarray)
    assert result.shape == (2, 8)
    assert isinstance(aggregate_sum([np.ones((2, 3)), np.ones((2, 3))]), np.ndarray)


def test_a_normalised_sum_does_not_see_the_scale_of_a_block() -> None:
    scaled = [BLOCKS[0], 1000 * BLOCKS[1], BLOCKS[2]]
    torch.testing.assert_close(aggregate_sum(scaled), aggregate_sum(BLOCKS), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("index", range(3))
def test_modules_batch_is_loop_and_every_weight_learns(index: int) -> None:
    module = modules()[index]
    whole = module(BLOCKS)
    assert whole.shape == (9, 5 if index == 1 else 6)
    rows = torch.cat([module([block[row : row + 1] for block in BLOCKS]) for row in range(9)])
    torch.testing.assert_close(rows, whole)
    (whole * torch.randn_like(whole)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_weighted_sum_starts_as_the_mean_and_shares_sum_to_one() -> None:
    module = WeightedSum(6, 3)
    torch.testing.assert_close(module(BLOCKS), aggregate_sum(BLOCKS) / 3)
    with torch.no_grad():
        module.logits.copy_(torch.tensor([20.0, 0.0, 0.0]))
    assert float(module.shares.sum().detach()) == pytest.approx(1)
    torch.testing.assert_close(module(BLOCKS), aggregate_sum(BLOCKS[:1]), atol=1e-5, rtol=1e-5)


def test_mlp_sum_is_bounded_and_takes_different_widths() -> None:
    module = MLPSum([6, 2], 4)
    result = module([BLOCKS[0] * 1e6, torch.randn(9, 2)])
    assert result.abs().max() <= 2


def test_errors() -> None:
    with pytest.raises(InvalidInputError, match="at least one block, found none"):
        aggregate_concat([])
    with pytest.raises(InvalidInputError, match=r"equally many rows, found \[\(9, 6\), \(8, 6\)\]"):
        aggregate_concat([BLOCKS[0], BLOCKS[1][:8]])
    with pytest.raises(InvalidInputError, match=r"one shape, found \[\(9, 6\), \(9, 5\)\]"):
        aggregate_sum([BLOCKS[0], BLOCKS[1][:, :5]])
    with pytest.raises(InvalidInputError, match=r"blocks\[1\] must be finite"):
        aggregate_sum([BLOCKS[0], BLOCKS[1] * float("nan")])
    for module in modules():
        with pytest.raises(InvalidInputError, match="blocks must hold 3 blocks, found 2"):
            module(BLOCKS[:2])
    with pytest.raises(InvalidInputError, match="heads must divide the width 6, found 4"):
        AttentionAggregation(6, 3, heads=4)
    with pytest.raises(InvalidInputError, match="n_blocks"):
        WeightedSum(6, 0)

"""Products of projections: several descriptions of the same samples made into one.

Cannistraci et al., "From Bricks to Bridges: Product of Invariances to Enhance Latent Space Communication",
arXiv:2310.01211, section 3. Blocks are (n, k_1), ..., (n, k_m): relative projections of the same n samples, each with
its own invariance. Concatenation and sum are functions; what has weights is an nn.Module and takes tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import A, Array, convert, like, require_count, to_tensor
from rlstitch.latent.projection.registry import Similarity, project


def project_product(x: A, anchors: Array, similarities: Sequence[Similarity]) -> list[A]:
    """x (n, d) projected on anchors (k, d) by each of the similarities: blocks (n, k).

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        similarities: names or functions, as in `project`.

    Returns:
        One block `(n, k)` for each similarity.

    Raises:
        UnknownNameError: for another similarity.
        InvalidInputError: for no anchors, widths that differ, NaN or infinity, unknown options.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> [block.tolist() for block in project_product(x, anchors, ["dot", "linf"])]
        [[[3.0, 8.0]], [[4.0, 3.0]]]
    """
    return [project(x, anchors, similarity) for similarity in similarities]


def aggregate_concat(blocks: Sequence[A]) -> A:
    """Side by side: (n, k_1 + ... + k_m).

    Args:
        blocks: `(n, k_1)`, ..., `(n, k_m)`.

    Returns:
        `(n, k_1 + ... + k_m)`.

    Raises:
        InvalidInputError: for no block, or blocks of different numbers of rows.

    Examples:
        >>> aggregate_concat([torch.ones(4, 3), torch.zeros(4, 2)]).shape
        torch.Size([4, 5])
    """
    return like(torch.cat(_blocks(blocks, equal=False), dim=-1), blocks[0])


def aggregate_sum(blocks: Sequence[A], *, normalize: bool = True) -> A:
    """The sum (n, k) of blocks (n, k), by default after a layer norm without weights, so that no block dominates the
    others.

    Args:
        blocks: m blocks `(n, k)`.
        normalize: apply a layer norm without weights to each block.

    Returns:
        `(n, k)`.

    Raises:
        InvalidInputError: for no block, or blocks of different shapes.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> bool(torch.allclose(aggregate_sum([x, 100 * x]), aggregate_sum([x, x]), atol=1e-2))
        True
    """
    parts = _blocks(blocks, equal=True)
    if normalize:
        parts = [nn.functional.layer_norm(part, part.shape[-1:]) for part in parts]
    return like(torch.stack(parts).sum(0), blocks[0])


class WeightedSum(nn.Module):
    """The sum (n, k) of blocks (n, k) after layer norms, with one learned share a block; the shares are positive and
    sum to 1.

    Examples:
        >>> total = WeightedSum(width=5, n_blocks=2)
        >>> total([torch.ones(4, 5), torch.zeros(4, 5)]).shape, total.shares.tolist()
        (torch.Size([4, 5]), [0.5, 0.5])
    """

    def __init__(self, width: int, n_blocks: int) -> None:
        super().__init__()
        require_count(width, 1 << 40, "width", "a number of dimensions")
        require_count(n_blocks, 1 << 40, "n_blocks", "a number of blocks")
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(n_blocks))
        self.logits = nn.Parameter(torch.zeros(n_blocks))

    @property
    def shares(self) -> torch.Tensor:
        """(m,), in (0, 1), with sum 1."""
        return self.logits.softmax(0)

    def forward(self, blocks: Sequence[torch.Tensor]) -> torch.Tensor:
        """Blocks (n, k), m of them -> (n, k)."""
        parts = _expected(blocks, len(self.norms))
        normed = torch.stack([norm(part) for norm, part in zip(self.norms, parts, strict=True)], dim=-1)
        return normed @ self.shares


class MLPSum(nn.Module):
    """Each block through its own layer norm, linear map and tanh, then summed (the paper's best): blocks (n, k_i) ->
    (n, width).

    Examples:
        >>> MLPSum(widths=[5, 3], width=8)([torch.ones(4, 5), torch.zeros(4, 3)]).shape
        torch.Size([4, 8])
    """

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        for k in (*widths, width):
            require_count(k, 1 << 40, "widths and width", "a number of dimensions")
        require_count(len(widths), 1 << 40, "the number of widths", "one a block")
        self.branches = nn.ModuleList(nn.Sequential(nn.LayerNorm(k), nn.Linear(k, width), nn.Tanh()) for k in widths)

    def forward(self, blocks: Sequence[torch.Tensor]) -> torch.Tensor:
        """Blocks (n, k_i), m of them -> (n, width), each entry in [-m, m]."""
        parts = _expected(blocks, len(self.branches))
        return torch.stack([branch(part) for branch, part in zip(self.branches, parts, strict=True)]).sum(0)


class AttentionAggregation(nn.Module):
    """Self-attention over the m blocks of a sample as a sequence of m tokens, then their mean: blocks (n, k) -> (n,
    k).

    Examples:
        >>> AttentionAggregation(width=6, n_blocks=2, heads=3)([torch.ones(4, 6), torch.zeros(4, 6)]).shape
        torch.Size([4, 6])
    """

    def __init__(self, width: int, n_blocks: int, *, heads: int = 1) -> None:
        super().__init__()
        require_count(n_blocks, 1 << 40, "n_blocks", "a number of blocks")
        require_count(heads, width, "heads", "the width")
        if width % heads:
            raise InvalidInputError(f"heads must divide the width {width}, found {heads}")
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(n_blocks))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, blocks: Sequence[torch.Tensor]) -> torch.Tensor:
        """Blocks (n, k), m of them -> (n, k)."""
        parts = _expected(blocks, len(self.norms))
        tokens = torch.stack([norm(part) for norm, part in zip(self.norms, parts, strict=True)], dim=1)
        mixed: torch.Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return (tokens + mixed).mean(1)


def _blocks(blocks: Sequence[Array], *, equal: bool) -> list[torch.Tensor]:
    if not blocks:
        raise InvalidInputError("blocks must hold at least one block, found none")
    parts = [to_tensor(block, f"blocks[{index}]") for index, block in enumerate(blocks)]
    shapes = [tuple(part.shape) for part in parts]
    if any(len(part) != len(parts[0]) for part in parts) or (equal and len(set(shapes)) > 1):
        raise InvalidInputError(f"blocks must have {'one shape' if equal else 'equally many rows'}, found {shapes}")
    return [convert(part, parts[0], f"blocks[{index}]") for index, part in enumerate(parts)]


def _expected(blocks: Sequence[torch.Tensor], count: int) -> Sequence[torch.Tensor]:
    if len(blocks) != count:
        raise InvalidInputError(f"blocks must hold {count} blocks, found {len(blocks)}")
    return blocks

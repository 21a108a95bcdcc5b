"""Which pairs belong together: pairs whose partner is no better than a random one are left out of a fit."""

from __future__ import annotations

import torch

from rlstitch.latent._arrays import A, Array, like, require_count, to_pairs
from rlstitch.latent._linalg import product
from rlstitch.latent.normalization import unit_rows
from rlstitch.latent.translation.methods.orthogonal import fit_scaled_orthogonal

_FOLDS = 8
# As many as any fit needs.
_LEAST = 4
# The most rows of y that a mapped x is compared with.
_COMPARED = 1024
# The most mapped rows that are compared at one time.
_BLOCK = 4096
# Differences of cosines below this are rounding.
_TIE = 1e-6


def screen_pairs(x: A, y: Array, *, rounds: int = 8) -> A:
    """Which of the pairs x (n, d_x), y (n, d_y) to trust: bool (n,), of the kind of x. At least 4 pairs.

    Each x_i is mapped by a scaled orthogonal map that was fitted on the trusted pairs of other folds, and its rank is
    the share of all y that lie nearer to T(x_i) in angle (about the median of y) than its own y_i. A wrong partner's
    rank is evenly spread over [0, 1], a right one's is small, however long or badly mapped the pair: so twice the share
    of ranks above a half estimates the share of wrong pairs (as the null p-values of Storey, 2002), and so many of the
    highest ranks are distrusted; half of the pairs, and four, are always kept. Repeated for `rounds`, or until nothing
    changes.

    The rigid map is a guide only, as it has little to overfit wrong pairs with; any map may be fitted on the pairs that
    are left. A wrong partner that happens to be near cannot be told from a right one.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        rounds: repetitions at most.

    Returns:
        bool `(n,)`, of the kind of x: the pairs to trust.

    Raises:
        InvalidInputError: for rows that are not paired, fewer than 4 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(300.0).square().sin().reshape(50, 6)
        >>> y = 2 * x.flip(1)
        >>> y[:10] = y[:10].roll(1, 0)  # wrong pairs
        >>> trusted = screen_pairs(x, y)
        >>> int(trusted[:10].sum()) < 3, bool(trusted[10:].all())
        (True, True)
    """
    require_count(rounds, 1 << 40, "rounds", "a number of rounds")
    source, target = to_pairs(x, y, minimum=4, method="screen_pairs")
    source, target = source.detach(), target.detach()
    count = len(source)
    # Shuffled, as neighbouring rows may come from neighbouring moments; by a seed of its own, so that equal pairs give
    # equal answers.
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).to(source.device)
    fold = torch.empty_like(order)
    fold[order] = torch.arange(count, device=source.device) % min(_FOLDS, count)
    trusted = torch.ones(count, dtype=torch.bool, device=source.device)
    for _ in range(rounds):
        ranks = _ranks(_mapped_by_others(source, target, trusted, fold), target, trusted)
        wrong = min(0.5, 2 * float((ranks > 0.5).double().mean()))
        kept = max(_LEAST, round((1 - wrong) * count))
        fresh = torch.zeros_like(trusted)
        fresh[ranks.argsort(stable=True)[:kept]] = True
        if bool((fresh == trusted).all()):
            break
        trusted = fresh
    return like(trusted, x)


def _mapped_by_others(x: torch.Tensor, y: torch.Tensor, trusted: torch.Tensor, fold: torch.Tensor) -> torch.Tensor:
    """Each row of x under a map that its own fold had no part in: `(n, d_y)`."""
    mapped = torch.empty_like(y)
    for number in range(int(fold.max()) + 1):
        mine = fold == number
        others = trusted & ~mine
        if int(others.sum()) < 2:
            others = ~mine
        mapped[mine] = fit_scaled_orthogonal(x[others], y[others])(x[mine])
    return mapped


def _ranks(mapped: torch.Tensor, y: torch.Tensor, trusted: torch.Tensor) -> torch.Tensor:
    """For each pair, the share of the rows of y that are nearer to the mapped x in angle than its own: `(n,)`."""
    middle = y[trusted].median(0).values
    toward, own = unit_rows(mapped - middle), unit_rows(y - middle)
    compared = own[:: max(1, -(-len(y) // _COMPARED))]
    ranks = []
    # In blocks: some thousand comparisons a pair are soon more than the pairs themselves.
    for start in range(0, len(y), _BLOCK):
        rows, partners = toward[start : start + _BLOCK], own[start : start + _BLOCK]
        nearer = product(rows, compared.T) > (rows * partners).sum(1, keepdim=True) + _TIE
        ranks.append(nearer.double().mean(1))
    return torch.cat(ranks)

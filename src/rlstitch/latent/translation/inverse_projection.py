"""Translation by inverse relative projection: encode relative to X's anchors, decode with Y's; the spaces never meet.

Maiorca et al., "Latent Space Translation via Inverse Relative Projection", arXiv:2406.15057. With unit anchors, the
cosines of y are r = unit(y) @ unit(anchors_y)^T, so unit(y) = r @ pinv(unit(anchors_y)^T). If x and y agree in their
angles to parallel anchors, r can come from x.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent._arrays import A, Array, convert, like, require_count, to_tensor
from rlstitch.latent.anchors import choose_farthest
from rlstitch.latent.normalization import unit_rows
from rlstitch.latent.projection.similarities import Relation, cosine, relate

Norm = Literal["proportional", "mean", "unit"]
Pruning = Literal["anchors", "spectrum"]


def encode_relative(x: A, anchors: Array, *, center: bool = True) -> A:
    """Cosines (n, k) of x (n, d) with anchors (k, d), by default about their mean; needs only X.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        center: take cosines about the mean of the anchors.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> y = 3 * x.flip(1) + 1
        >>> bool(torch.allclose(encode_relative(x, x[:8]), encode_relative(y, y[:8]), atol=1e-5))
        True
    """
    return relate(x, anchors, _centred_cosine if center else cosine)


def _centred_cosine(anchors: torch.Tensor) -> Relation:
    mean = anchors.mean(0)
    relation = cosine(anchors - mean)
    return lambda x: relation(x - mean)


def decode_relative(relative: A, anchors: Array, *, center: bool = True, rtol: float = 1e-3) -> A:
    """Vectors (n, d) whose cosines with anchors (k, d) come nearest to relative (n, k); needs only Y.

    Directions come back, norms do not: each vector has the mean norm of the anchors (about their mean, with `center`,
    which is then added). Singular values of the unit anchors below rtol times the largest count as 0: a bound of 1 /
    rtol on the error's growth.

    Args:
        relative: cosines `(n, k)` with the anchors.
        anchors: `(k, d)`.
        center: the cosines are about the mean of the anchors.
        rtol: relative size below which a singular value counts as 0.

    Returns:
        `(n, d)`, of the kind of relative.

    Raises:
        InvalidInputError: for another number of columns than anchors, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> y = 3 * x.flip(1) + 1
        >>> result = decode_relative(encode_relative(x, x[:8]), y[:8]) - y[:8].mean(0)
        >>> bool(torch.nn.functional.cosine_similarity(result, y - y[:8].mean(0)).min() > 0.9999)
        True
    """
    points = to_tensor(anchors, "anchors", min_rows=1)
    values = to_tensor(relative, "relative")
    if values.shape[1] != len(points):
        raise InvalidInputError(
            f"relative must have one column an anchor ({len(points)}), found shape {tuple(values.shape)}"
        )
    points = convert(points, values, "anchors")
    mean = points.mean(0) if center else points.new_zeros(points.shape[1])
    moved = points - mean
    directions = unit_rows(values @ torch.linalg.pinv(unit_rows(moved).T, rtol=rtol))
    return like(directions * torch.linalg.vector_norm(moved, dim=1).mean() + mean, relative)


def prune_anchors(anchors: A, k: int, *, max_condition: float = 30.0, seed: int = 0) -> A:
    """At most k rows of anchors (n, d) that point in different directions, by farthest-point sampling on 1 - |cos|:
    (<= k,), int64.

    The longest beginning of the sampling, of at most d rows, whose unit vectors have a condition number of at most
    `max_condition`.

    Args:
        anchors: `(n, d)`.
        k: anchors to keep at most.
        max_condition: bound of the condition number, at least 1.
        seed: random seed.

    Returns:
        Row numbers int64, at most k.

    Raises:
        InvalidInputError: for a value outside its range, NaN or infinity.

    Examples:
        >>> anchors = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
        >>> len(prune_anchors(anchors, 4))
        2
    """
    points = to_tensor(anchors, "anchors", min_rows=1)
    require_count(k, len(points), "k", "the number of anchors")
    _require_condition(max_condition)
    # Rows of no length have no direction; of nothing else, one stays.
    usable = unit_rows(points).any(1).nonzero()[:, 0]
    usable = usable if len(usable) else usable.new_zeros(1)
    # More rows than dimensions are dependent.
    most = min(k, len(usable), points.shape[1])
    order = usable[choose_farthest(points[usable], most, metric="abs_cosine", seed=seed)]
    units = unit_rows(points[order]).double()
    # Another row raises the condition number, so the longest good beginning is found by halving.
    low, high = 1, len(order)
    while low < high:
        middle = (low + high + 1) // 2
        values = torch.linalg.svdvals(units[:middle])
        if float(values[0]) <= max_condition * float(values[-1]):
            low = middle
        else:
            high = middle - 1
    return like(order[:low], anchors)


def _require_condition(bound: float) -> None:
    if not bound >= 1:
        raise InvalidInputError(f"max_condition must be at least 1, found {bound!r}")


@dataclass(frozen=True)
class InversionReport:
    """What pruning left of n_anchors anchors.

    `kept` holds the number of anchors in each subset, `width` is Y's (d_y), and `spanned` the share of the anchors'
    squared norm in Y that lies in the span of those kept, averaged over the subsets, in [0, 1]. What is not spanned
    cannot be translated: below 1 even exact data comes back with an error, the price of a bounded growth of noise.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> report = fit_inverse_projection(x, 2 * x, pruning="anchors", subsets=2, max_condition=30).report
        >>> report.kept, report.width, round(report.spanned, 4)
        ((3, 3), 3, 1.0)
    """

    n_anchors: int
    kept: tuple[int, ...]
    width: int
    spanned: float


class InverseProjection(nn.Module):
    """The two halves as one map: unit(x - mean_x) @ matrix gives a direction of Y, then a norm and mean_y: (…, d_x)
    -> (…, d_y).

    `norm`: "proportional" gives each vector its own norm in X times the ratio of the anchors' mean norms, "mean" the
    anchors' mean norm in Y, "unit" none (norm 1). `report` tells what pruning left; None for a map that was given.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> translate = fit_inverse_projection(x[:8], -x[:8], norm="unit", center=False)
        >>> translate(x).norm(dim=1).min().round(decimals=4)
        tensor(1.)
    """

    matrix: torch.Tensor
    mean_x: torch.Tensor
    mean_y: torch.Tensor
    norms: torch.Tensor

    def __init__(
        self,
        matrix: torch.Tensor,
        mean_x: torch.Tensor,
        mean_y: torch.Tensor,
        norms: torch.Tensor,
        norm: Norm,
        report: InversionReport | None = None,
    ) -> None:
        super().__init__()
        require_known("norm", norm, ["proportional", "mean", "unit"])
        self.register_buffer("matrix", matrix.detach().contiguous())
        self.register_buffer("mean_x", mean_x.detach())
        self.register_buffer("mean_y", mean_y.detach())
        self.register_buffer("norms", norms.detach())
        self.norm = norm
        self.report = report

    def forward(self, x: A) -> A:
        """Translate (…, d_x) -> (…, d_y); x = mean_x goes to mean_y, and NaN is passed on, not looked for, as in any
        layer.
        """
        tensor = to_tensor(x, "x", ndim=None, width=len(self.mean_x), finite=False)
        moved = tensor - self.mean_x.to(tensor)
        y = unit_rows(unit_rows(moved) @ self.matrix.to(tensor))
        norm_x, norm_y = self.norms.to(tensor)
        if self.norm == "proportional":
            ratio = norm_y / torch.where(norm_x > 0, norm_x, torch.ones_like(norm_x))
            y = y * torch.linalg.vector_norm(moved, dim=-1, keepdim=True) * ratio
        elif self.norm == "mean":
            y = y * norm_y
        return like(y + self.mean_y.to(tensor), x)

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs besides the state_dict; JSON."""
        dtype = str(self.matrix.dtype).removeprefix("torch.")
        report = asdict(self.report) if self.report else None
        widths = {"width_in": len(self.mean_x), "width_out": len(self.mean_y)}
        return {**widths, "norm": self.norm, "dtype": dtype, "report": report}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> InverseProjection:
        """A zero map of the shape that `spec` describes, ready for `load_state_dict`."""
        dtype = torch.float64 if spec["dtype"] == "float64" else torch.float32
        matrix = torch.zeros(int(spec["width_in"]), int(spec["width_out"]), dtype=dtype)
        stated = spec.get("report")
        report = InversionReport(**{**stated, "kept": tuple(stated["kept"])}) if stated else None
        means = matrix.new_zeros(len(matrix)), matrix.new_zeros(matrix.shape[1])
        return cls(matrix, *means, matrix.new_ones(2), spec["norm"], report)


def fit_inverse_projection(
    anchors_x: Array,
    anchors_y: Array,
    *,
    subsets: int = 8,
    size: int | None = None,
    max_condition: float = 10.0,
    pruning: Pruning = "spectrum",
    center: bool = True,
    norm: Norm = "proportional",
    seed: int = 0,
) -> InverseProjection:
    """The inverse relative projection from parallel anchors (k, d_x), (k, d_y). At least 2 anchors.

    Noise grows by up to `max_condition`, in one of two ways. `pruning` spectrum keeps all anchors, and counts singular
    values of Y's unit anchors below the largest over `max_condition` as 0. `pruning` anchors is the paper's, and
    slower: Y's anchors are pruned by `prune_anchors` to at most `size` (default: all that may serve), from `subsets`
    random starts, and the maps are averaged. X's anchors are only ever used for cosines. Either may leave some of Y out
    of reach; `report.spanned` says how much. The defaults were the best of ten settings over eight families of spaces
    (docs/results/latent-defaults.md); for spaces that agree nearly exactly take a bound of 1,000 or more.

    Args:
        anchors_x: `(k, d_x)`.
        anchors_y: parallel anchors `(k, d_y)`.
        subsets: random starts of the pruning of anchors.
        size: anchors in each subset at most.
        max_condition: bound of the growth of noise, at least 1.
        pruning: `anchors` or `spectrum`.
        center: work about the means of the anchors.
        norm: `proportional`, `mean` or `unit`.
        seed: random seed of the first start.

    Returns:
        The fitted map, with a report of the pruning.

    Raises:
        UnknownNameError: for another pruning or norm.
        InvalidInputError: for anchors that are not parallel, fewer than 2, a value outside its range, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> y = 3 * x.flip(1) + 1
        >>> translate = fit_inverse_projection(x[:8], y[:8])
        >>> bool(torch.allclose(translate(x), y, atol=1e-4))
        True
    """
    points_x, points_y = to_tensor(anchors_x, "anchors_x"), to_tensor(anchors_y, "anchors_y")
    if len(points_x) != len(points_y) or len(points_x) < 2:
        raise InvalidInputError(
            f"anchors_x and anchors_y must be parallel and at least 2, found {len(points_x)} and {len(points_y)}"
        )
    require_count(subsets, 1 << 40, "subsets", "a number of subsets")
    _require_condition(max_condition)
    require_known("pruning", pruning, ["anchors", "spectrum"])
    if pruning == "spectrum" and size is not None:
        raise InvalidInputError(f"size: pruning by spectrum keeps all anchors, expected None, found {size}")
    points_y = convert(points_y, points_x, "anchors_y")
    mean_x, mean_y = (points_x.mean(0), points_y.mean(0)) if center else (0 * points_x[0], 0 * points_y[0])
    moved_x, moved_y = points_x - mean_x, points_y - mean_y
    units_x, units_y = unit_rows(moved_x).double(), unit_rows(moved_y).double()
    matrix = units_x.new_zeros(units_x.shape[1], units_y.shape[1])
    kept, spanned, total = [], 0.0, float(moved_y.double().square().sum())
    if pruning == "spectrum":
        chosen, rtol = [torch.arange(len(points_y), device=points_y.device)], 1 / max_condition
    else:
        most, rtol = len(moved_y) if size is None else size, None
        starts = range(seed, seed + subsets)
        chosen = [prune_anchors(moved_y, most, max_condition=max_condition, seed=start) for start in starts]
    for rows in chosen:
        back = torch.linalg.pinv(units_y[rows].T, rtol=rtol)
        matrix += units_x[rows].T @ back / len(chosen)
        # Projected on to the span of those kept.
        reached = float((moved_y.double() @ units_y[rows].T @ back).square().sum())
        kept.append(len(rows))
        spanned += min(1.0, reached / total) / len(chosen) if total > 0 else 1 / len(chosen)
    norms = torch.stack([torch.linalg.vector_norm(moved, dim=1).mean() for moved in (moved_x, moved_y)])
    report = InversionReport(len(points_y), tuple(kept), units_y.shape[1], spanned)
    return InverseProjection(matrix.to(points_x), mean_x, mean_y, norms, norm, report)

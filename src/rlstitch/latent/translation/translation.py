"""The result of every fit: an affine map between two latent spaces, with a report of how well it fits."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from rlstitch.errors import InvalidInputError
from rlstitch.latent import _files
from rlstitch.latent._arrays import A, Array, like, noise_floor, to_pairs, to_tensor, to_weights
from rlstitch.latent._linalg import product
from rlstitch.latent.normalization import unit_rows

FORMAT = 1
_DTYPES = ("float16", "bfloat16", "float32", "float64")
# The most pairs that the report of a fit looks at.
_MEASURED = 256


@dataclass(frozen=True)
class FitReport:
    """How well a translation maps n_pairs pairs.

    `residual` is the root of the mean squared distance of T(x_i) from y_i; `r2` is 1 - residual^2 / mean |y_i -
    mean(y)|^2 (at most 1; for constant y it is 1 where the fit is exact, else 0); `mean_cosine` lies in [-1, 1];
    `condition_number` is that of the matrix, at least 1, infinite where it is singular. A fit measures itself on at
    most 256 of its pairs, evenly spaced; `evaluate_translation` measures all that it is given.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> report = fit("orthogonal", x, x.flip(1) + 1).report
        >>> report.n_pairs, round(report.r2, 6), report.condition_number
        (20, 1.0, 1.0)
    """

    n_pairs: int
    residual: float
    r2: float
    mean_cosine: float
    condition_number: float


class Translation(nn.Module):
    """A fitted affine map x @ matrix + bias from (…, d_x) to (…, d_y); matrix (d_x, d_y) and bias (d_y,) are buffers.

    Called with a NumPy array it answers with one. `report` tells how well it fits the pairs it was fitted on.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> translate = fit("affine", x, 2 * x.flip(1) + 1)
        >>> translate, bool(torch.allclose(translate.then(translate.inverse())(x), x, atol=1e-4))
        (Translation(affine, 3 -> 3), True)
    """

    matrix: torch.Tensor
    bias: torch.Tensor
    is_affine = True

    def __init__(
        self, matrix: torch.Tensor, bias: torch.Tensor, method: str = "given", report: FitReport | None = None
    ) -> None:
        super().__init__()
        if matrix.ndim != 2 or bias.shape != matrix.shape[1:]:
            raise InvalidInputError(
                f"matrix must be (d_x, d_y) and bias (d_y,), found shapes {tuple(matrix.shape)} and {tuple(bias.shape)}"
            )
        # One layout in memory, so that a reloaded map gives the same bits.
        self.register_buffer("matrix", matrix.detach().contiguous())
        self.register_buffer("bias", bias.detach().contiguous())
        self.method = method
        self._report = report
        # What the report is made of: the number of pairs, some of them, and the condition number where known.
        self._fitted: tuple[int, torch.Tensor, torch.Tensor, float | None] | None = None

    @property
    def report(self) -> FitReport | None:
        """How well it fits the pairs it was fitted on; None for a map that was given or derived from others."""
        if self._report is None and self._fitted is not None:
            # Singular values of wide matrices take seconds, and not every fit is asked.
            n_pairs, x, y, condition = self._fitted
            condition = condition_number(self.matrix) if condition is None else condition
            self._report, self._fitted = FitReport(n_pairs, *_figures(self, x, y), condition), None
        return self._report

    def record(self, x: torch.Tensor, y: torch.Tensor, condition: float | None) -> None:
        """Let `report` be that of the fit to the pairs x (n, d_x), y (n, d_y), from a copy of some of them. It is
        computed when it is first asked for, as is a condition number of None.
        """
        n = len(x)
        kept = min(n, _MEASURED)
        spaced = torch.arange(kept, device=x.device) * n // kept
        x, y = (pairs.detach()[spaced] for pairs in (x, y))
        self._report, self._fitted = None, (n, x, y, condition)

    def _load_from_state_dict(self, *args: Any) -> None:
        # The report is that of the fit, not of what is loaded now.
        _ = self.report
        super()._load_from_state_dict(*args)

    @property
    def width_in(self) -> int:
        """d_x."""
        return self.matrix.shape[0]

    @property
    def width_out(self) -> int:
        """d_y."""
        return self.matrix.shape[1]

    def forward(self, x: A) -> A:
        """Translate (…, d_x) -> (…, d_y), in x's dtype; NaN is passed on, not looked for, as in any layer. Raises
        InvalidInputError for another width.
        """
        tensor = to_tensor(x, "x", ndim=None, width=self.width_in, finite=False)
        return like(tensor @ self.matrix.to(tensor) + self.bias.to(tensor), x)

    def mapped(self, x: torch.Tensor) -> torch.Tensor:
        """Translate rows (n, d_x) that have been checked: (n, d_y)."""
        return product(x, self.matrix.to(x)).add_(self.bias.to(x))

    def then(self, other: Translation) -> Translation:
        """This map, then `other`: one translation. Raises InvalidInputError where their widths do not meet."""
        if not other.is_affine:
            raise InvalidInputError(f"other must be affine, found {other.method!r}")
        if self.width_out != other.width_in:
            raise InvalidInputError(f"other must take width {self.width_out}, found {other.width_in}")
        matrix, bias = other.matrix.to(self.matrix), other.bias.to(self.matrix)
        return Translation(self.matrix @ matrix, self.bias @ matrix + bias, f"{self.method}, then {other.method}")

    def inverse(self) -> Translation:
        """The way back: exact for a square matrix of full numerical rank (method `inverse of …`), else least squares
        (`pseudo-inverse of …`)."""
        wide = self.matrix.double()
        back, exact = torch.linalg.pinv(wide, rtol=_resolution(self.matrix)), False
        if self.width_in == self.width_out and condition_number(self.matrix) < 1 / _resolution(self.matrix):
            back, exact = torch.linalg.inv(wide), True
        method = f"{'inverse' if exact else 'pseudo-inverse'} of {self.method}"
        return Translation(back.to(self.matrix), -(self.bias.double() @ back).to(self.matrix), method)

    def save(self, path: Path | str) -> Path:
        """Write the map as `.safetensors`, with its method and the report of its fit: what `rlstitch latent translate`
        writes. Raises InvalidInputError for another suffix or numbers that are not finite.
        """
        return _files.package.save_translation(self, path)

    @staticmethod
    def load(path: Path | str) -> Translation:
        """Read a map of any kind that was saved. Raises ArtefactError where the file holds none."""
        return _files.package.load_translation(path)

    @classmethod
    def identity(cls, width: int) -> Translation:
        """The map that changes nothing, in float32."""
        return cls(torch.eye(width), torch.zeros(width), "identity")

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs besides the state_dict; JSON (an infinite condition number stands as null)."""
        report = asdict(self.report) if self.report else None
        if report and not math.isfinite(report["condition_number"]):
            report["condition_number"] = None
        return {
            "format": FORMAT,
            "method": self.method,
            "width_in": self.width_in,
            "width_out": self.width_out,
            "dtype": str(self.matrix.dtype).removeprefix("torch."),
            "report": report,
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> Translation:
        """A zero map of the shape that `spec` describes, ready for `load_state_dict`.

        Raises InvalidInputError where the spec is of another format or lacks an entry.
        """
        missing = sorted({"format", "method", "width_in", "width_out", "dtype", "report"} - spec.keys())
        if missing or type(spec["format"]) is not int or spec["format"] != FORMAT:
            stated = reprlib.repr(spec.get("format"))
            raise InvalidInputError(
                f"spec must be of format {FORMAT}, found {stated} with {missing or 'nothing'} missing"
            )
        if (name := spec["dtype"]) not in _DTYPES or not isinstance(spec["method"], str):
            raise InvalidInputError(f"spec must have a method and a dtype of {_DTYPES}, found {reprlib.repr(name)}")
        dtype = getattr(torch, name)
        width_in, width_out = spec["width_in"], spec["width_out"]
        if not all(type(width) is int and width > 0 for width in (width_in, width_out)):
            widths = f"{reprlib.repr(width_in)} and {reprlib.repr(width_out)}"
            raise InvalidInputError(f"spec must have widths of at least 1, found {widths}")
        zeros = torch.zeros(width_in, width_out, dtype=dtype)
        return cls(zeros, zeros.new_zeros(width_out), spec["method"], _read_report(spec["report"]))

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"{self.method}, {self.width_in} -> {self.width_out}"


def _read_report(stated: Any) -> FitReport | None:
    if not stated:
        return None
    report = FitReport(**{**stated, **({"condition_number": math.inf} if stated["condition_number"] is None else {})})
    figures = (report.residual, report.r2, report.mean_cosine, report.condition_number)
    if type(report.n_pairs) is not int or report.n_pairs < 1 or not all(type(x) in (int, float) for x in figures):
        raise InvalidInputError(f"spec must have a report of numbers, found {reprlib.repr(stated)}")
    return report


def _resolution(matrix: torch.Tensor) -> float:
    return max(matrix.shape) * torch.finfo(matrix.dtype).eps


def condition_number(matrix: torch.Tensor) -> float:
    """The largest over the smallest singular value; infinite where the smallest is below what the dtype resolves."""
    # No singular values are known of half precision.
    values = torch.linalg.svdvals(matrix if matrix.dtype == torch.float64 else matrix.float())
    largest, smallest = float(values[0]), float(values[-1])
    return largest / smallest if smallest > largest * _resolution(matrix) else math.inf


def evaluate_translation(translation: Translation, x: Array, y: Array) -> FitReport:
    """The report of a translation on pairs x (n, d_x), y (n, d_y), which may be held out; n >= 1.

    Args:
        translation: the map to evaluate.
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.

    Returns:
        The report on these pairs.

    Raises:
        InvalidInputError: for rows that are not paired, another width, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> translation = fit("affine", x[:10], 2 * x[:10] + 1)
        >>> round(evaluate_translation(translation, x[10:], 2 * x[10:] + 1).r2, 4)
        1.0
    """
    source, target = to_pairs(x, y, minimum=1, method="evaluate_translation")
    if target.shape[1] != translation.width_out:
        raise InvalidInputError(f"y must be {translation.width_out} wide, found shape {tuple(target.shape)}")
    return FitReport(len(source), *_figures(translation, source, target), condition_number(translation.matrix))


def _figures(translation: Translation, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float, float]:
    """Residual, r2 and mean cosine for tensors that have been checked."""
    mapped = translation.mapped(x.detach())
    error = float((mapped - y).square().sum(1).mean())
    spread = float(_without_constants(y - y.mean(0), noise_floor(y)).square().sum(1).mean())
    # Rounding of y itself counts as an exact fit.
    exact = error <= float(y.square().sum(1).mean()) * torch.finfo(y.dtype).eps ** 2 * 64
    r2 = 1 - error / spread if spread > 0 else float(exact)
    cosine = float((unit_rows(mapped) * unit_rows(y)).sum(1).mean())
    return math.sqrt(error), r2, max(-1.0, min(1.0, cosine))


def centred_pairs(
    x: torch.Tensor, y: torch.Tensor, weights: Array | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The (weighted) means (d_x,), (d_y,) and the pairs about them, each times the root of its weight, in float64.

    Constant columns are exactly 0: centring leaves rounding of them.
    """
    w = to_weights(weights, len(x), x.double())
    (mean_x, centred_x), (mean_y, centred_y) = (_about_mean(space, w) for space in (x, y))
    return mean_x, mean_y, centred_x, centred_y


def _about_mean(space: torch.Tensor, weights: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    wide = space.double()
    mean = wide.mean(0) if weights is None else (wide * weights[:, None]).mean(0)
    moved = wide - mean
    if weights is not None:
        root = weights[:, None].sqrt()
        moved, wide = moved * root, wide * root
    return mean, _without_constants(moved, noise_floor(wide, space.dtype))


def _without_constants(centred: torch.Tensor, floor: torch.Tensor) -> torch.Tensor:
    """Columns whose deviation is not above the floor (d,) become 0."""
    return centred * (centred.square().mean(0).sqrt() > floor)


def finish(
    matrix: torch.Tensor,
    bias: torch.Tensor,
    method: str,
    x: torch.Tensor,
    y: torch.Tensor,
    condition: float | None = None,
) -> Translation:
    """A Translation in x's dtype with the report of its own pairs; `condition`: its condition number, where it is
    known.

    Raises InvalidInputError where the fit left finite numbers.
    """
    translation = Translation(matrix.to(x), bias.to(x), method)
    if not bool(torch.isfinite(translation.matrix.sum() + translation.bias.sum())):
        raise InvalidInputError(
            f"x and y must be of a size that {x.dtype} can square, but fitting {method!r} overflowed"
        )
    translation.record(x, y, condition)
    return translation


Fit: TypeAlias = Callable[..., Translation]
"""x (n, d_x), y (n, d_y), options -> a finished translation."""

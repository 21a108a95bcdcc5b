"""Stitch any two torch modules into one: decoder(via(encoder(inputs)))."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.latent._arrays import Array, same_width, to_tensor
from rlstitch.latent.normalization import Normalization, fit_normalization, fit_whitening
from rlstitch.latent.projection.registry import SIMILARITIES, Similarity, bind, normalized
from rlstitch.latent.projection.similarities import kernel_inverse


class RelativeProjection(nn.Module):
    """The relative projection on fixed anchors as a layer (arXiv:2209.15430, equation 1): (n, d) -> (n, k),
    differentiable and exportable.

    `anchors` (k, d) are a buffer; x and anchors are first normalised by the anchors' statistics. `similarity` and the
    options are those of `relative_projection`, except geodesic, which is not made of tensor operations; a function of
    the user's exports where its operations do. Raises UnknownNameError for another name, InvalidInputError for
    unknown options.

    Examples:
        >>> layer = RelativeProjection(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), normalization="identity")
        >>> layer(torch.tensor([[5.0, 0.0]]))
        tensor([[1., 0.]])
    """

    anchors: torch.Tensor

    def __init__(
        self,
        anchors: Array,
        *,
        similarity: Similarity = "cosine",
        normalization: str = "whiten",
        shrinkage: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__()
        known = [name for name in SIMILARITIES if name != "geodesic"]
        if isinstance(similarity, str) and similarity not in known:
            raise UnknownNameError("similarity", similarity, known)
        points = to_tensor(anchors, "anchors", min_rows=1).detach().clone()
        self.normalization: Normalization = fit_normalization(normalization, points, shrinkage=shrinkage)
        self.register_buffer("anchors", self.normalization(points))
        self.similarity = similarity
        if isinstance(similarity, str):
            bind(self.anchors, similarity, options)  # refuses what the similarity does not take
        options = normalized(options, self.normalization)
        self.whitening: Normalization | None = None
        if similarity == "mahalanobis":
            # The Euclidean distance after whitening; its fit looks at values, so it is done here and not in `forward`.
            source = options.pop("points", None)
            self.whitening = fit_whitening(self.anchors if source is None else source)
        self.options = options
        self._known = self._solved()

    def _solved(self) -> dict[str, torch.Tensor]:
        """What is known of the anchors: it looks at values, so it is no work for `forward`."""
        return {"inverse": kernel_inverse(self.anchors, **self.options)} if self.similarity == "kernel_ridge" else {}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._known = self._solved()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Similarities (n, k) of x (n, d) to the anchors; NaN is passed on, not looked for, as in any layer."""
        same_width(x, self.anchors, "x", "anchors")
        # Without the checks of `project`, which look at values and so cannot be exported.
        samples, anchors = self.normalization(x), self.anchors.to(x)
        if self.whitening is not None:
            return bind(self.whitening(anchors), "euclidean", {})(self.whitening(samples))
        return bind(anchors, self.similarity, {**self.options, **self._known})(samples)


class Stitched(nn.Module):
    """decoder(via(encoder(inputs))), one module made by `stitch`; the parts keep their own parameters and modes.

    Examples:
        >>> both = Stitched(nn.Linear(4, 3), nn.Linear(3, 2))
        >>> both(torch.ones(5, 4)).shape
        torch.Size([5, 2])
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, via: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.via = nn.Identity() if via is None else via

    def forward(self, *inputs: Any) -> Any:
        """Whatever the encoder takes, to whatever the decoder gives."""
        return self.decoder(self.via(self.encoder(*inputs)))


def stitch(
    encoder: nn.Module, decoder: nn.Module, via: nn.Module | None = None, *, example: tuple[Any, ...] | None = None
) -> Stitched:
    """Join the encoder of one model to the decoder of another (arXiv:2209.15430, section 5; arXiv:2311.00664).

    `via` stands between them: a `Translation` from the encoder's space to the decoder's, a `RelativeProjection` for a
    decoder that was trained on relative features, or any module; None joins them as they are. `example`, inputs of the
    encoder, makes the stitch run once (no gradient, as it is set: in training mode batch norms see the example), so
    that parts that do not fit raise IncompatibleError here. Parameters are shared with the given modules, not copied.

    Args:
        encoder: gives latents.
        decoder: takes them.
        via: module between the two; None: the identity.
        example: inputs of the encoder to try the joined module on.

    Returns:
        The joined module.

    Raises:
        InvalidInputError: for parts that are no torch modules.
        IncompatibleError: where the example does not pass.

    Examples:
        >>> joined = stitch(nn.Linear(4, 3), nn.Linear(6, 2), nn.Linear(3, 6), example=(torch.ones(1, 4),))
        >>> joined(torch.ones(5, 4)).shape
        torch.Size([5, 2])
    """
    for part, name in ((encoder, "encoder"), (decoder, "decoder"), (via, "via")):
        if not isinstance(part, nn.Module) and not (part is None and name == "via"):
            raise InvalidInputError(f"{name} must be a torch module, found {type(part).__name__}")
    stitched = Stitched(encoder, decoder, via)
    if example is not None:
        with torch.no_grad():
            latent = encoder(*example)
            try:
                stitched.decoder(stitched.via(latent))
            except (RuntimeError, InvalidInputError) as error:
                shape = tuple(latent.shape) if isinstance(latent, torch.Tensor) else type(latent).__name__
                raise IncompatibleError(
                    f"encoder, via and decoder must fit together; a latent of shape {shape} does not pass: {error}"
                ) from error
    return stitched

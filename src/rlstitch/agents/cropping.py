"""Parts of an encoder that looks closely at one object: where it is in an image, and what squares around it show."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlstitch.agents.layers import linear_layers

_ATTENTION = 8
"""Channels of the layer before the attention."""
_CONTRAST = 4.0
"""Brings pixels in [0, 1] to about unit variance, which initial weights are made for."""


class Locator(nn.Module):
    """Finds an object in each image, by attention, and cuts a square of whole pixels around it.

    Attention is a softmax over all cells of the image at half its resolution. Its mean position, which has gradients,
    is what is fitted, as in spatial autoencoders (Finn et al., arXiv:1509.06113); the square lies where it is greatest,
    since the little that falls on a large background moves the mean.

    Args:
        channels: of one image.
        side: of the square, in pixels.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self._side = side
        self.attention = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(channels, _ATTENTION, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_ATTENTION, 1, kernel_size=1),
        )

    def _logits(self, pooled: Tensor) -> Tensor:
        """Return logits `(N, h, w)` of the attention to images `(N, C, h, w)` of `pool`."""
        logits: Tensor = self.attention[1:](_CONTRAST * (pooled - pooled.mean(dim=(2, 3), keepdim=True)))
        return logits[:, 0]

    def pool(self, images: Tensor) -> Tensor:
        """Return images `(N, C, H, W)` averaged over 2 x 2 pixels, as the attention takes them."""
        pooled: Tensor = self.attention[0](images)
        return pooled

    def mean_places(self, pooled: Tensor) -> Tensor:
        """Return the mean positions `(N, 2)` of the attention to images of `pool`, x right and y down, in pixels."""
        logits = self._logits(pooled)
        weights = logits.flatten(1).softmax(dim=1).view_as(logits)
        rows, columns = (2.0 * torch.arange(size, device=pooled.device) + 1 for size in logits.shape[1:])
        return torch.stack([weights.sum(dim=1) @ columns, weights.sum(dim=2) @ rows], dim=1)

    @torch.no_grad()
    def forward(self, stacks: Tensor, frames: int = 1) -> Tensor:
        """Return where the attention to each image is greatest, x and y in [-1, 1], and the squares there.

        Beyond its border an image continues as it ends. No gradient flows. Images are not copied at their full
        size.

        Args:
            stacks: float `(N, frames * C, H, W)` in [0, 1].
            frames: images of a stack.

        Returns:
            `(N * frames, 2 + side * side * C)`
        """
        (height, width), pooled = stacks.shape[2:], self.pool(stacks)
        logits = self._logits(pooled.unflatten(1, (frames, -1)).flatten(0, 1))
        peaks = logits.flatten(1).argmax(dim=1)
        places = 2 * torch.stack([peaks % logits.shape[2], peaks // logits.shape[2]], dim=1) + 1
        window = torch.arange(self._side, device=stacks.device) - self._side // 2
        columns, rows = (
            (places[:, axis, None] + window).clamp(min=0, max=size - 1) for axis, size in enumerate((width, height))
        )
        numbers = torch.arange(places.shape[0], device=stacks.device)[:, None, None]
        pixels = stacks.permute(0, 2, 3, 1).unflatten(3, (frames, -1))
        squares = pixels[numbers // frames, rows[:, :, None], columns[:, None, :], numbers % frames]
        scaled = 2 * places / torch.tensor([width, height], device=stacks.device) - 1
        return torch.cat([scaled, _CONTRAST * (squares.flatten(1) - 0.5)], dim=1)


class Reader(nn.Module):
    """Reads the centres and squares of a stack of images: each image by the same layers, then all together.

    Of all images but the newest the layers that follow see how much they differ from the next, in units of the standard
    deviation: what moves between two images is a hundredth of what they show, and would be learned last.

    Args:
        width: of what the `Locator` returns of one image.
        frames: images of a stack.
        hidden: widths of the layers for one image.
        joined: widths of the hidden layers for all together.
        latent_dim: width of the latents.
    """

    def __init__(
        self, width: int, frames: int, hidden: tuple[int, ...], joined: tuple[int, ...], latent_dim: int
    ) -> None:
        super().__init__()
        self._frames = frames
        self.image = linear_layers((width, *hidden), "relu")
        together = frames * (2 + hidden[-1])
        self.normalization = nn.BatchNorm1d(together, affine=False, momentum=0.02)
        self.joined = linear_layers((together, *joined, latent_dim), "relu")

    def forward(self, stacks: Tensor) -> Tensor:
        """Encode `(N, frames * width)`, the oldest image first, as latents `(N, latent_dim)`."""
        images = stacks.unflatten(1, (self._frames, -1))
        read = torch.cat([images[..., :2], self.image(images)], dim=2)
        changes = torch.cat([read[:, 1:] - read[:, :-1], read[:, -1:]], dim=1)
        latents: Tensor = self.joined(self.normalization(changes.flatten(1)))
        return latents

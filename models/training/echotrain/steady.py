"""Outlines that stay where they are while the speckle changes: a frame and the same frame with other speckle should have one outline.

Unlike agreement with the neighbouring frames of a cine, this asks nothing of the heart's motion.
"""

import torch
from torch.nn import functional as F

from . import loss

GRAIN = (0.4, 1.6)  # standard deviation of the speckle's grain in pixels of the input
DEPTH = (0.05, 0.25)  # spread of the speckle over the brightness
GAIN = 0.04  # spread of the gain


def blur(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """x [n,1,h,w] smoothed by Gaussians of standard deviation sigma [n] pixels."""
    g = torch.exp(-torch.arange(-5, 6, dtype=x.dtype)[None] ** 2 / (2 * sigma[:, None] ** 2))
    g = g / g.sum(1, keepdim=True)
    n = len(x)
    flat = F.conv2d(x.transpose(0, 1), g.view(n, 1, 1, -1), padding=(0, 5), groups=n)
    return F.conv2d(flat, g.view(n, 1, -1, 1), padding=(5, 0), groups=n).transpose(0, 1)


def speckled(frames: torch.Tensor) -> torch.Tensor:
    """Frames [n,1,h,w] in 0..255 with speckle and gain of another moment; what is black stays black."""
    n = len(frames)
    part = lambda low, high: low + (high - low) * torch.rand(n)
    noise = blur(torch.randn_like(frames), part(*GRAIN))
    noise = noise / noise.std((2, 3), keepdim=True).clamp(min=1e-6) * part(*DEPTH).view(n, 1, 1, 1)
    gain = torch.exp(GAIN * torch.randn(n)).view(n, 1, 1, 1)
    return (frames * (1 + noise) * gain).round().clamp(0, 255)


def rows(batch: dict[str, torch.Tensor], most: int) -> torch.Tensor:
    """The first rows of a batch, at most that many, whose cavity is known as a whole and there."""
    known = loss.whole(batch["mask_known"]) * (batch["mask"][:, 0].sum((1, 2)) > 50).float()
    return torch.nonzero(known)[:most, 0]


def doubled(batch: dict[str, torch.Tensor], again: torch.Tensor) -> dict[str, torch.Tensor]:
    """The batch, and behind it rows again with other speckle; what is known of them stays."""
    out = {k: torch.cat([v, v[again]]) for k, v in batch.items()}
    out["frames"][len(batch["frames"]):] = speckled(batch["frames"][again])
    return out


def disagreement(mask: torch.Tensor, again: torch.Tensor) -> torch.Tensor:
    """How much the outlines of rows again and of the last len(again) rows of mask logits [N,C,h,w] differ: cross entropy of the structures either
    way, less what it has at full agreement, and the difference of the logarithm of the cavity's area in per cent."""
    if len(again) == 0:
        return mask.sum() * 0
    a, b = mask[again], mask[-len(again):]
    pa, pb = torch.sigmoid(a), torch.sigmoid(b)
    cross = F.binary_cross_entropy_with_logits(a, pb.detach()) + F.binary_cross_entropy_with_logits(b, pa.detach())
    own = F.binary_cross_entropy(pa.detach(), pa.detach()) + F.binary_cross_entropy(pb.detach(), pb.detach())
    size = lambda p: torch.log(p[:, 0].sum((1, 2)) + 20)
    return 10 * (cross - own) + 100 * F.smooth_l1_loss(size(pa), size(pb), beta=0.02)

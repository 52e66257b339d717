"""What networks make of a frame over several looks: turned, scaled, moved, brightened, and averaged."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from . import augment, sample
from .kinds import Array, Rng


def looks(rng: Rng) -> tuple[float, float, Array, float]:
    """Turn (radians), scale, shift (share of the side), gain exponent of one look."""
    return rng.normal(0, 0.07), np.exp(rng.normal(-0.1, 0.12)), rng.normal(0, 0.02, 2), np.exp(rng.normal(0, 0.2))


def affine(turn: float, scale: float, shift: Array) -> tuple[Array, Array]:
    """grid_sample's theta of one look at a square and of its inverse, [2,3] each."""
    a = augment.rotation(np.array([turn]))[0] / scale  # output offset -> source offset, in half sides
    there = np.concatenate([a, (-a @ (2 * shift))[:, None]], 1)
    back = np.concatenate([np.linalg.inv(a), (2 * shift)[:, None]], 1)
    return there, back


def probabilities(nets: Sequence[nn.Module], images: Array, rng: Rng, n: int, size: int = 224, device: str | torch.device = "cpu") -> Array:
    """Mean probabilities 0..1 float32 [m,3,CACHE,CACHE] of nets over n looks at cached squares uint8 [m,CACHE,CACHE]."""
    side, m = sample.CACHE, len(images)
    x = torch.from_numpy(images).to(device)[:, None].float() / 255
    total = torch.zeros(m, 3, side, side, device=device)
    weight = torch.zeros(1, 1, side, side, device=device)
    for _ in range(n):
        turn, scale, shift, gamma = looks(rng)
        there, back = affine(turn, scale, shift)
        grid = lambda theta, s: F.affine_grid(torch.from_numpy(theta).float().to(device)[None].expand(m, 2, 3), (m, 1, s, s), align_corners=False)
        frame = (F.grid_sample(x, grid(there, size), align_corners=False) ** float(gamma) * 255).round()
        with torch.no_grad():
            p = sum(torch.sigmoid(net(frame)[0].float()) for net in nets) / len(nets)
        p = F.interpolate(p, size=(size, size), mode="bilinear", align_corners=False)
        g = grid(back, side)
        total += F.grid_sample(p, g, align_corners=False)
        weight += (g[:1].abs() < 1).all(-1)[:, None].float()
    return (total / weight.clamp(min=1)).cpu().numpy()

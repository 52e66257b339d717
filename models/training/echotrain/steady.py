"""Steadiness over time from cines without labels: what a network makes of a frame should lie between what it makes of the
frames before and after it.

The middle one of three neighbouring frames is compared with the mean of the other two, so that motion at an even pace costs
nothing and only jitter is punished; consistency of pairs would also teach the network to see less motion than there is.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from .kinds import Data
from .sample import TRIPLET


class Triplets:
    """Draws three neighbouring frames, zoomed, moved, turned and brightened alike."""

    def __init__(self, data: Data, seed: int) -> None:
        rows = np.flatnonzero((data["source"] == TRIPLET) & ~data["held"])
        self.images, self.first, self.rng = data["image"], rows[::3], np.random.default_rng([seed, 5])

    def __len__(self) -> int:
        return len(self.first)

    def draw(self, size: int) -> torch.Tensor:
        """float [3,1,size,size] in 0..255."""
        rng, i = self.rng, self.rng.choice(self.first)
        turn, zoom, flip = rng.normal(0, 0.12), np.exp(rng.uniform(-0.25, 0.25)), rng.choice([-1.0, 1.0], p=[0.15, 0.85])
        c, s = np.cos(turn) / zoom, np.sin(turn) / zoom
        theta = torch.tensor([[flip * c, -s, rng.normal(0, 0.08)], [flip * s, c, rng.normal(0, 0.08)]], dtype=torch.float32)
        x = torch.from_numpy(self.images[i:i + 3]).float()[:, None] / 255
        x = F.avg_pool2d(x, 3, 1, 1) if rng.random() < 0.3 else x
        x = F.grid_sample(x, F.affine_grid(theta.expand(3, 2, 3), (3, 1, size, size), align_corners=False), align_corners=False)
        return (x ** float(np.exp(rng.normal(0, 0.25))) * float(np.exp(rng.normal(0, 0.2)))).clamp(0, 1) * 255


def loss(out: Sequence[torch.Tensor]) -> torch.Tensor:
    """How far the middle frame's cavity and apical points are from the mean of its neighbours'. out: a network's answer to [3,1,S,S]."""
    p = torch.sigmoid(out[0][:, 0])
    bend = p[1] - 0.5 * (p[0] + p[2])
    area = p.sum((1, 2))
    jump = torch.log((area[1] + 20) / (0.5 * (area[0] + area[2]) + 20))
    heat = torch.sigmoid(out[1][:, :3])
    wander = heat[1] - 0.5 * (heat[0] + heat[2])
    return bend.abs().sum() / (area.mean().detach() + 50) + 2 * jump.abs() + 0.1 * wander.square().sum() / 10



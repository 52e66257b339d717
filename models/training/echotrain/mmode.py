"""An anatomical M-mode of a PLAX cine: the line of the caliper through all frames, and the four borders along it.

What the looks say of each frame by itself moves by several per cent of LVID from frame to frame. Along one line a border is the path
through all frames that stays near those answers, lies on edges of the right sign, and does not jump (dynamic programming).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from . import plax
from .kinds import Array

REACH = 1.3  # of the line either side of the caliper's middle, in LVID
STEP = 0.01  # along the line, in LVID
WIDTH = 0.06  # the line is the mean of lines as far to either side, in LVID
SIGNS = (1, -1, 1, 1)  # from the chest on: brighter into the septum, darker into the cavity, brighter into the wall, and into the pericardium
PRIOR = 0.06  # standard deviation of what the looks say, in LVID
MOST = 4.0  # what an answer can cost a path that is far from it: a wrong one does not count for more
EDGE, STIFF = 0.5, 0.05  # weights of the edges and of a step's square
JUMP = 4  # steps from frame to frame at most


@dataclasses.dataclass
class MMode:
    """picture [T,S], and borders [T,4] along the line in LVID from its middle; lvid [T] in pixels of the frames."""

    picture: Array
    borders: Array
    lvid: Array


def along(gray: Array, at: Array, direction: Array, s: Array, width: float) -> Array:
    """Gray [h,w] at the places s (pixels) on the line through at, mean over lines up to width beside it."""
    side = np.array([-direction[1], direction[0]])
    p = at + s[None, :, None] * direction + np.linspace(-width, width, 7)[:, None, None] * side
    return ndimage.map_coordinates(gray.astype(np.float32), [p[..., 1], p[..., 0]], order=1, mode="constant").mean(0)


def path(cost: Array, stiff: float, jump: int) -> Array:
    """The places [T] through cost [T,S] with the least sum of cost and of stiff times each step's square."""
    frames, places = cost.shape
    best, back = cost[0].copy(), np.zeros((frames, places), int)
    steps = np.arange(-jump, jump + 1)
    for t in range(1, frames):
        padded = np.pad(best, jump, constant_values=np.inf)
        come = np.stack([padded[jump + k:jump + k + places] + stiff * k * k for k in steps])
        pick = come.argmin(0)
        back[t], best = np.arange(places) + steps[pick], come.min(0) + cost[t]
    out = [int(best.argmin())]
    for t in range(frames - 1, 0, -1):
        out.append(int(back[t][out[-1]]))
    return np.array(out[::-1])


def trace(frames: Sequence[Array], points: Array) -> MMode:
    """The M-mode of frames [T] of square pixels along the median caliper of points [T,4,2] (source pixels)."""
    middle = np.median(points, 0)
    size = plax.lvid(middle)
    direction = (middle[3] - middle[0]) / np.hypot(*(middle[3] - middle[0]))
    s = np.arange(-REACH, REACH, STEP)
    picture = np.stack([along(g, middle.mean(0), direction, s * size, WIDTH * size) for g in frames])
    edges = ndimage.gaussian_filter1d(picture, 2.0, axis=1, order=1)
    edges /= np.abs(edges).std() + 1e-6
    borders = []
    for k, sign in enumerate(SIGNS):
        said = (points[:, k] - middle.mean(0)) @ direction / size
        prior = np.minimum((s[None] - said[:, None]) ** 2 / (2 * PRIOR ** 2), MOST)
        borders.append(s[path(prior - EDGE * np.clip(sign * edges, -2, 3), STIFF, JUMP)])
    found = np.stack(borders, 1)
    return MMode(picture, found, (found[:, 2] - found[:, 1]) * size)


def unsteadiness(values: Array) -> float:
    """What a curve moves from frame to frame beside its motion, in per cent of its mean: second difference over the root of six."""
    return float(100 * np.sqrt((np.diff(values, 2) ** 2).mean() / 6) / values.mean())

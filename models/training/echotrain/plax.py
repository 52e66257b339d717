"""The PLAX points by several closer looks, and how far they agree.

On a whole screen the ventricle is some forty pixels wide in the network's input. After a first look the frame is looked at
again in squares around the caliper, of several sizes and places; each point is the median over the looks, and the spread of
LVID over them tells whether the points can be believed.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from . import geometry as geo
from .infer import decode_point
from .kinds import Array, Crop

FACTORS = (4.0, 5.0)  # side of a look over LVID as it was found before
SHIFTS = ((0.0, 0.0), (0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1))  # of a look's middle, in sides
ROUNDS = 2
MAX_SPREAD = 0.06  # of LVID over the looks, above which the points are not used

Heat = Callable[[Array], Array]  # uint8 [n,S,S] -> heatmaps of the four points [n,4,S/4,S/4]


@dataclasses.dataclass
class Found:
    """points [4,2] in source pixels; confidence [4], the least over the looks' means; spread of LVID over the looks (0 for one look)."""

    points: Array
    confidence: Array
    spread: float


def lvid(points: Array, aspect: float = 1.0) -> float:
    """Distance of the second and third point (cavity side of the septum, inner edge of the posterior wall), in pixel widths."""
    return float(np.hypot(*((points[1] - points[2]) * (1.0, aspect))))


def squares(points: Array, crop: Crop, aspect: float = 1.0, factors: Sequence[float] = FACTORS, shifts: Sequence[tuple[float, float]] = SHIFTS) -> Iterator[Crop]:
    """The looks around points, squares in physical size, within crop."""
    stretch = np.array([1.0, aspect])
    middle, length = points.mean(0) * stretch, lvid(points, aspect)
    for factor in factors:
        for shift in shifts:
            side = factor * length
            at = middle + np.array(shift) * side
            lo, hi = np.floor((at - side / 2) / stretch).astype(int), np.ceil((at + side / 2) / stretch).astype(int)
            x0, y0, x1, y1 = max(crop[0], lo[0]), max(crop[1], lo[1]), min(crop[2], hi[0]), min(crop[3], hi[1])
            if x1 - x0 >= 24 and y1 - y0 >= 24:
                yield int(x0), int(y0), int(x1), int(y1)


def look(heat: Heat, gray: Array, size: int, crops: list[Crop], aspect: float) -> tuple[Array, Array]:
    """Points [n,4,2] in source pixels and confidences [n,4] from one look through each of crops."""
    boxed = [geo.letterbox(gray, size, c, aspect) for c in crops]
    points, confidence = [], []
    for maps, (_, m), c in zip(heat(np.stack([b for b, _ in boxed])), boxed, crops):
        p = np.array([decode_point(h) for h in maps])
        points.append(geo.to_source(p[:, :2], m, c))
        confidence.append(p[:, 2])
    return np.array(points), np.array(confidence)


def median_of(points: Array, confidence: Array, aspect: float) -> Found:
    """What several looks say together: points [n,4,2], confidence [n,4]."""
    middle = np.median(points, 0)
    lengths = np.array([lvid(p, aspect) for p in points])
    return Found(middle, confidence.mean(0), float(lengths.std() / max(lvid(middle, aspect), 1e-6)))


def find(heat: Heat, gray: Array, size: int, crop: Crop | None = None, aspect: float = 1.0, rounds: int = ROUNDS) -> Found:
    """The points of one frame uint8 [h,w] by a first look at crop and rounds of closer ones."""
    crop = crop or (0, 0, gray.shape[1], gray.shape[0])
    first, sure = look(heat, gray, size, [crop], aspect)
    found = Found(first[0], sure[0], 0.0)
    for _ in range(rounds):
        crops = list(squares(found.points, crop, aspect))
        if not crops:
            return Found(found.points, found.confidence, float("inf"))
        found = median_of(*look(heat, gray, size, crops, aspect), aspect)
    return found

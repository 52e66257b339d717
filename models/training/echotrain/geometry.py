"""Letterboxing and keypoints derived from expert masks.

Coordinates are pixels, x right, y down, origin at the centre of the top-left pixel.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from .kinds import Array, Crop, Map

BACKGROUND, LV, MYO, LA = 0, 1, 2, 3


def letterbox_map(crop: Crop, size: int, aspect: float = 1.0) -> Map:
    """The affine map of the inference rule, the same as models.NewLetterbox on the Go side.

    crop: (x0, y0, x1, y1) half open, source pixels. aspect: physical height of a pixel over its width (1 for
    square pixels). The crop is scaled by min(size/w, size/h) after stretching to square physical pixels; its
    size is rounded to whole pixels and centred; the scales follow from that exactly:
    x_in = (x + 0.5 - crop.x0) * sx - 0.5 + ox, the same for y. Returns sx, sy, ox, oy.
    """
    w, h = float(crop[2] - crop[0]), (crop[3] - crop[1]) * aspect
    s = min(size / w, size / h)
    iw, ih = (min(max(int(np.floor(v * s + 0.5)), 1), size) for v in (w, h))
    return iw / (crop[2] - crop[0]), ih / (crop[3] - crop[1]), (size - iw) // 2, (size - ih) // 2


def letterbox(gray: Array, size: int, crop: Crop | None = None, aspect: float = 1.0) -> tuple[Array, Map]:
    """uint8 [h,w] -> uint8 [size,size], area averaged, centred, padded with 0; returns also the map."""
    crop = crop or (0, 0, gray.shape[1], gray.shape[0])
    sx, sy, ox, oy = m = letterbox_map(crop, size, aspect)
    part = Image.fromarray(np.ascontiguousarray(gray[crop[1]:crop[3], crop[0]:crop[2]]))
    w, h = int(round(sx * (crop[2] - crop[0]))), int(round(sy * (crop[3] - crop[1])))
    out = np.zeros((size, size), np.uint8)
    out[oy:oy + h, ox:ox + w] = np.asarray(part.resize((w, h), Image.BOX if sx < 1 and sy < 1 else Image.BILINEAR))
    return out, m


def to_input(pts: npt.ArrayLike, m: Map, crop: Sequence[int]) -> Array:
    """Source pixel coordinates [...,2] to canvas coordinates under the map m of letterbox_map."""
    sx, sy, ox, oy = m
    pts = np.asarray(pts, np.float64)
    return (pts + 0.5 - np.array(crop[:2])) * np.array([sx, sy]) - 0.5 + np.array([ox, oy])


def to_source(pts: npt.ArrayLike, m: Map, crop: Sequence[int]) -> Array:
    """Inverse of to_input."""
    sx, sy, ox, oy = m
    pts = np.asarray(pts, np.float64)
    return (pts + 0.5 - np.array([ox, oy])) / np.array([sx, sy]) - 0.5 + np.array(crop[:2])


def largest(mask: Array) -> Array:
    """The largest 4-connected component of a boolean image, holes filled."""
    lab, n = ndimage.label(mask)
    if n == 0:
        return mask
    if n > 1:
        mask = lab == 1 + np.argmax(np.bincount(lab.ravel())[1:])
    return ndimage.binary_fill_holes(mask)


def boundary(mask: Array) -> Array:
    """Inner boundary pixels of a boolean image as [n,2] x, y, in order around its centre of mass."""
    edge = mask & ~ndimage.binary_erosion(mask, border_value=0)
    y, x = np.nonzero(edge)
    p = np.stack([x, y], 1).astype(np.float64)
    c = p.mean(0)
    return p[np.argsort(np.arctan2(p[:, 1] - c[1], p[:, 0] - c[0]))]


def _farthest(edge: Array, a: Array, b: Array) -> Array:
    """Contour point farthest from the middle of the mitral line a-b."""
    return edge[np.argmax(((edge - (a + b) / 2) ** 2).sum(1))]


def apical_points(label: Array) -> Array | None:
    """apex, septal and lateral annulus of an A4C label map (0..3), or None.

    The base of the cavity is the part of its boundary that no myocardium touches; its ends are the
    annulus points (the left one septal: in these images the right ventricle lies on the left).
    """
    lv = largest(label == LV)
    if lv.sum() < 50:
        return None
    edge = boundary(lv)
    near = ndimage.distance_transform_edt(label != MYO)[edge[:, 1].astype(int), edge[:, 0].astype(int)] <= 1.6
    base = edge[~near]
    base = base[base[:, 1] > edge[:, 1].mean()]
    if len(base) < 5:
        return None
    # the two ends: the farthest pair among base points
    d = ((base[:, None] - base[None]) ** 2).sum(2)
    i, j = np.unravel_index(np.argmax(d), d.shape)
    a, b = sorted((base[i], base[j]), key=lambda p: p[0])
    if np.hypot(*(a - b)) < 0.15 * np.sqrt(lv.sum()):
        return None
    return np.stack([_farthest(edge, a, b), a, b])


def apical_points_from_cavity(lv: Array, tolerance: float = 0.02) -> Array | None:
    """The same three points from a cavity mask alone (A2C): the mitral line is the longest chord in the
    lower half from which the boundary between its ends deviates by less than tolerance x length of the cavity."""
    lv = largest(lv)
    edge = boundary(lv)
    if len(edge) < 30:
        return None
    step = max(1, len(edge) // 160)
    e = edge[::step]
    n, length = len(e), np.ptp(edge[:, 1])
    best, pick = 0.0, None
    for i in range(n):
        for k in range(4, n // 2):
            a, b = e[i], e[(i + k) % n]
            d = np.hypot(*(b - a))
            if d <= best or min(a[1], b[1]) < edge[:, 1].mean() or abs(b[1] - a[1]) > abs(b[0] - a[0]):
                continue
            run = e[[(i + m) % n for m in range(k + 1)]] - a
            if np.abs(run[:, 0] * (b - a)[1] - run[:, 1] * (b - a)[0]).max() / d < tolerance * length:
                best, pick = d, (a, b)
    if pick is None:
        return None
    a, b = sorted(pick, key=lambda p: p[0])
    return np.stack([_farthest(edge, a, b), a, b])


def wall_points(label: Array, pts: Array, level: float) -> Array | None:
    """Four caliper points across an A4C label map as if it were a PLAX turned on its side, or None.

    level: 0 at the annulus .. 1 at the apex. Order: septum right side, septum cavity side,
    lateral wall inner, lateral wall outer edge.
    """
    apex, a, b = pts
    base = (a + b) / 2
    axis = (apex - base) / np.hypot(*(apex - base))
    side = np.array([-axis[1], axis[0]])
    if side[0] > 0:
        side = -side  # towards the septum (left)
    c = base + level * (apex - base)
    t = np.arange(0, max(label.shape), 0.5)
    out = []
    for s in (side, -side):
        p = c + t[:, None] * s
        v = ndimage.map_coordinates(label, [p[:, 1], p[:, 0]], order=0, cval=0)
        if v[0] != LV:
            return None
        inner = np.argmax(v != LV)
        if v[inner] != MYO:
            return None
        rest = v[inner:] != MYO
        if not rest.any():
            return None
        out.append((p[inner] - 0.25 * s, p[inner + np.argmax(rest)] - 0.25 * s))
    (sl, sr), (pi, po) = out
    return np.stack([sr, sl, pi, po])


def mirror_sector(img: Array, w: int, h: int) -> Array:
    """Fills what lies outside a sector (tip at the top centre of a w x h picture) with its mirror image.

    img: uint8 [S,S], the picture letterboxed in it. Opening angle and depth are read from the picture.
    Used to cut new sectors out of old ones.
    """
    size = img.shape[0]
    x0, y0 = (size - 1) / 2, (size - h) / 2
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    th, r = np.arctan2(x - x0, y - y0), np.hypot(x - x0, y - y0)
    tissue = ndimage.binary_fill_holes(ndimage.binary_closing(img > 4, iterations=2))
    ring = tissue & (r > 0.4 * h) & (r < 0.8 * h)
    half = np.percentile(np.abs(th[ring]), 97) - 0.01 if ring.any() else np.arcsin(min(1.0, w / (2 * h)))
    middle = tissue & (np.abs(th) < 0.6 * half)
    near, deep = np.percentile(r[middle], (0.3, 99)) if middle.any() else (0.0, h)
    fold = lambda v, lo, hi: lo + np.abs((v - lo + (hi - lo)) % (2 * (hi - lo)) - (hi - lo))
    th2, r2 = fold(th, -half, half), fold(r, near + 2, deep - 2)
    return ndimage.map_coordinates(img, [y0 + r2 * np.cos(th2), x0 + r2 * np.sin(th2)], order=1).astype(np.uint8)

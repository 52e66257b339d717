"""Frames that are no view the network measures: cuts and turns of labelled apical frames, and drawn ones.

What a node meets and must refuse: zoomed, cut and off-axis apical pictures, right hearts, five chambers, subcostal and
suprasternal look-alikes, short axis, M-mode and Doppler screens, text, noise and black. Cuts and turns keep their patient's
name, so that the fold holds for them. Drawn anatomy is a free choice of shapes; nothing is measured from patients.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from scipy import ndimage

from . import augment, geometry as geo
from .kinds import Array, Rng
from .names import VIEWS
from .sample import CACHE, SEG_FULL, Sample, absent

A4C, A2C = VIEWS.index("A4C"), VIEWS.index("A2C")
_Y, _X = np.mgrid[0:CACHE, 0:CACHE].astype(float)


def speckle(rng: Rng, img: Array) -> Array:
    """img float in 0..1 with Rayleigh speckle and uneven gain, in a sector; uint8."""
    lateral, axial = rng.uniform(1.0, 3.5), rng.uniform(0.5, 1.2)
    z = np.hypot(*(ndimage.gaussian_filter(rng.standard_normal((CACHE, CACHE)), (axial, lateral)) for _ in range(2)))
    gain = np.exp(augment.smooth_noise(rng, 1, CACHE, 3, [rng.uniform(0.1, 0.5)]).numpy()[0, 0])
    img = ndimage.gaussian_filter(np.clip(img, 0, 1), rng.uniform(0.6, 1.8)) * (z / z.mean()) ** rng.uniform(0.5, 1.3) * gain
    return (255 * np.clip(img * fan(rng), 0, 1) ** rng.uniform(0.7, 1.2)).astype(np.uint8)


def fan(rng: Rng) -> Array:
    """A sector over the whole canvas."""
    tip = (CACHE * rng.uniform(0.42, 0.58), CACHE * rng.uniform(-0.12, 0.06))
    return augment.sector_mask(rng, CACHE, tip, rng.uniform(0.55, 0.85), rng.uniform(0.55, 0.85), CACHE * rng.uniform(0, 0.1), CACHE * rng.uniform(0.85, 1.1))


def warped(rng: Rng, turn: float, length: float, breadth: float, bend: float) -> tuple[Array, Array]:
    """Coordinates along and across a bent axis through the middle, in units of length and breadth (pixels)."""
    cx, cy = CACHE * rng.uniform(0.38, 0.62), CACHE * rng.uniform(0.4, 0.62)
    c, s = np.cos(turn), np.sin(turn)
    u = ((_X - cx) * c + (_Y - cy) * s) / length
    v = (-(_X - cx) * s + (_Y - cy) * c) / breadth
    wobble = augment.smooth_noise(rng, 2, CACHE, 4, [0.08, 0.08]).numpy()[:, 0]
    return u + wobble[0], v + wobble[1] + bend * u ** 2


def tissue(rng: Rng) -> Array:
    """A background of soft tissue with a few blobs."""
    img = np.full((CACHE, CACHE), rng.uniform(0.1, 0.5))
    for _ in range(rng.integers(0, 7)):
        u, v = warped(rng, rng.uniform(0, np.pi), rng.uniform(0.05, 0.4) * CACHE, rng.uniform(0.03, 0.2) * CACHE, 0)
        img += rng.uniform(-0.3, 0.4) * np.exp(-(u ** 2 + v ** 2))
    return img


# drawn anatomy


def short_axis(rng: Rng) -> Array:
    """A ring as of the left ventricle in the short axis, with papillary muscles or a valve, or an aortic root with its star."""
    img = tissue(rng)
    r = CACHE * rng.uniform(0.12, 0.26)
    u, v = warped(rng, rng.uniform(0, np.pi), r, r * rng.uniform(0.8, 1.2), 0)
    d, a = np.hypot(u, v), np.arctan2(v, u)
    blood = rng.uniform(0.01, 0.12)
    if rng.random() < 0.6:
        img[d < 1 + rng.uniform(0.25, 0.6)] = rng.uniform(0.25, 0.6)
        img[d < 1] = blood
        for side in (rng.uniform(0, 3), rng.uniform(3, 6)):
            img += rng.uniform(0.1, 0.5) * np.exp(-((np.hypot(u - 0.7 * np.cos(side), v - 0.7 * np.sin(side))) / rng.uniform(0.1, 0.25)) ** 2)
    else:
        img[d < 1.1] = rng.uniform(0.4, 0.9)
        img[d < 0.95] = blood
        for k in range(3):
            img += rng.uniform(0.2, 0.8) * np.exp(-((np.angle(np.exp(1j * (a - 2.1 * k))) * d) / 0.08) ** 2) * (d < 0.95)
    u2, v2 = warped(rng, rng.uniform(0, np.pi), r * 1.4, r * 0.7, rng.uniform(-0.5, 0.5))
    img = np.where((np.hypot(u2, v2) < 1) & (d > 1.5), blood + 0.03, img)
    return speckle(rng, img)


def tubes(rng: Rng) -> Array:
    """Vessels: an arch with branches (suprasternal) or veins in a liver (subcostal)."""
    img = tissue(rng) + rng.uniform(0, 0.3)
    for _ in range(rng.integers(1, 4)):
        u, v = warped(rng, rng.uniform(-0.9, 0.9), CACHE * rng.uniform(0.25, 0.5), CACHE * rng.uniform(0.03, 0.13), rng.uniform(-2.5, 2.5))
        inside = np.abs(v) < 1
        if rng.random() < 0.5:
            inside &= np.abs(u) < rng.uniform(0.4, 1.2)
        img[inside] = rng.uniform(0.0, 0.1)
        img += rng.uniform(0, 0.6) * np.exp(-((np.abs(v) - 1) / rng.uniform(0.06, 0.2)) ** 2)
    return speckle(rng, img)


def chambers(rng: Rng) -> Array:
    """A few rounded chambers where no standard view has them."""
    img = tissue(rng) + 0.15
    for _ in range(rng.integers(2, 6)):
        r = CACHE * rng.uniform(0.05, 0.2)
        u, v = warped(rng, rng.uniform(0, np.pi), r * rng.uniform(0.8, 1.8), r, rng.uniform(-0.3, 0.3))
        img[np.hypot(u, v) < 1] = rng.uniform(0, 0.12)
        img += rng.uniform(0, 0.4) * np.exp(-((np.hypot(u, v) - 1) / 0.12) ** 2)
    return speckle(rng, img)


def plain_tissue(rng: Rng) -> Array:
    return speckle(rng, tissue(rng) * rng.uniform(0.2, 1.5))


# screens


def m_mode(rng: Rng) -> Array:
    """Lines of tissue over time, some moving; with or without a small picture above."""
    rows = np.clip(ndimage.gaussian_filter1d(rng.uniform(-0.4, 1, CACHE), rng.uniform(1, 6)), 0, 1)
    t = np.arange(CACHE)
    beat = (t / rng.uniform(40, 160) + rng.random()) % 1
    move = rng.uniform(2, 25) * np.exp(-((beat - 0.35) / 0.18) ** 2)
    depth = np.sin(np.pi * np.arange(CACHE) / CACHE)[:, None]
    img = ndimage.map_coordinates(rows, [np.clip(np.arange(CACHE)[:, None] + move[None] * depth, 0, CACHE - 1)], order=1)
    img = img * rng.gamma(3, 1 / 3, (CACHE, CACHE))
    top = int(CACHE * rng.choice([0, rng.uniform(0.2, 0.5)]))
    img[:top] = 0
    return (255 * np.clip(img * rng.uniform(0.5, 1.3), 0, 1)).astype(np.uint8)


def doppler(rng: Rng) -> Array:
    """A spectrum over time about a base line."""
    t = np.arange(CACHE)
    beat = (t / rng.uniform(40, 160) + rng.random()) % 1
    wave = sum(rng.uniform(-1, 1) * np.exp(-((beat - rng.random()) / rng.uniform(0.04, 0.15)) ** 2) for _ in range(3))
    base, height = CACHE * rng.uniform(0.3, 0.8), CACHE * rng.uniform(0.15, 0.4)
    peak = base - height * wave
    lo, hi = np.minimum(base, peak), np.maximum(base, peak)
    edge = rng.uniform(2, 12)
    img = np.clip((_Y - lo) / edge, 0, 1) * np.clip((hi - _Y) / edge, 0, 1) * (0.4 + 0.6 * rng.random((CACHE, CACHE)))
    img += rng.uniform(0, 0.15) * rng.random((CACHE, CACHE)) + 0.8 * (np.abs(_Y - base) < 0.8)
    img[:int(CACHE * rng.choice([0, rng.uniform(0.1, 0.4)]))] = 0
    return (255 * np.clip(img, 0, 1)).astype(np.uint8)


def page(rng: Rng) -> Array:
    """Text, lines and bars: reports, menus, colour bars."""
    img = np.full((CACHE, CACHE), rng.choice([0, 0, 20, 60, 255]), np.uint8)
    for _ in range(rng.integers(1, 9)):
        img = augment.graphics(rng, img)
    if rng.random() < 0.3:
        for _ in range(rng.integers(1, 6)):
            x, y, w, h = rng.integers(0, CACHE - 20, 4)
            img[y:y + h, x:x + w] = rng.integers(0, 256)
    return img


def noise(rng: Rng) -> Array:
    """Noise of some grain, steps, ramps, or nearly nothing."""
    kind = rng.integers(0, 4)
    if kind == 0:
        img = ndimage.gaussian_filter(rng.standard_normal((CACHE, CACHE)), rng.uniform(0, 6))
        img = (img - img.min()) / np.ptp(img)
    elif kind == 1:
        img = np.full((CACHE, CACHE), rng.uniform(0, 1) ** 3)
    elif kind == 2:
        img = (np.sin(rng.uniform(-0.2, 0.2) * _X + rng.uniform(-0.2, 0.2) * _Y) + 1) / 2
    else:
        img = rng.uniform(0, 0.05) * rng.random((CACHE, CACHE))
    return (255 * np.clip(img * rng.uniform(0.2, 1), 0, 1)).astype(np.uint8)


# cuts and turns of labelled frames (image, label, points, filled)


def _cut(image: Array, x0: float, y0: float, x1: float, y1: float) -> Array | None:
    """The rectangle letterboxed to the canvas."""
    left, top, right, bottom = (int(np.clip(v, 0, CACHE)) for v in (x0, y0, x1, y1))
    if right - left < 30 or bottom - top < 30:
        return None
    return geo.letterbox(image, CACHE, (left, top, right, bottom))[0]


def base_only(rng: Rng, s: Sample, filled: Array) -> Array | None:
    """Zoomed on valve and atrium: the apical half of the cavity is missing."""
    apex, a, b = s.points[:3]
    top = apex + rng.uniform(0.55, 0.9) * ((a + b) / 2 - apex)
    half = CACHE * rng.uniform(0.15, 0.35)
    x = (a + b)[0] / 2 + rng.normal(0, 0.06) * CACHE
    return _cut(s.image, x - half, top[1], x + half, top[1] + 2 * half * rng.uniform(0.8, 1.2))


def apex_only(rng: Rng, s: Sample, filled: Array) -> Array | None:
    """Zoomed on the apex: valve and half of the cavity are missing."""
    apex, a, b = s.points[:3]
    end = apex + rng.uniform(0.25, 0.5) * ((a + b) / 2 - apex)
    half = (end[1] - apex[1]) * rng.uniform(0.7, 1.2) + 12
    return _cut(s.image, apex[0] - half, apex[1] - rng.uniform(0.1, 0.4) * half, apex[0] + half, end[1])


def right_heart(rng: Rng, s: Sample, filled: Array) -> Array | None:
    """The right heart in the middle; the left ventricle's outer part lies outside."""
    apex, a, b = s.points[:3]
    cut = 0.5 * (apex + (a + b) / 2) + rng.uniform(-0.15, 0.3) * (b - a)
    width = CACHE * rng.uniform(0.35, 0.6)
    if rng.random() < 0.5:
        return _cut(s.image, cut[0] - width, apex[1] - 40, cut[0], min(CACHE, a[1] + CACHE * rng.uniform(0.1, 0.35)))
    shift = np.array([CACHE * rng.uniform(0.15, 0.3), rng.normal(0, 8)])
    moved = ndimage.shift(filled, (shift[1], shift[0]), order=1, mode="reflect") * fan(rng)
    return moved.astype(np.uint8)


def one_corner(rng: Rng, s: Sample, filled: Array) -> Array | None:
    """A rectangle somewhere that holds little of the left ventricle."""
    for _ in range(8):
        w, h = CACHE * rng.uniform(0.25, 0.5, 2)
        x, y = rng.uniform(0, CACHE - w), rng.uniform(0, CACHE - h)
        part = s.label[int(y):int(y + h), int(x):int(x + w)] == geo.LV
        tissue = s.image[int(y):int(y + h), int(x):int(x + w)] > 8
        if part.sum() < 0.3 * (s.label == geo.LV).sum() and tissue.mean() > 0.5:
            return _cut(s.image, x, y, x + w, y + h)
    return None


def turned(rng: Rng, s: Sample, filled: Array) -> Array | None:
    """Turned far out of the upright, with a new sector: subcostal look-alikes (liver above) and displays upside down."""
    angle = rng.choice([-1, 1]) * rng.uniform(60, 180)
    img = ndimage.rotate(filled, angle, reshape=False, order=1, mode="reflect").astype(float) / 255
    if abs(angle) < 130 and rng.random() < 0.7:
        depth = CACHE * rng.uniform(0.1, 0.35) * (1 + 0.15 * np.sin(_X / CACHE * rng.uniform(2, 6) + rng.uniform(0, 6)))
        liver = rng.uniform(0.15, 0.45) * rng.gamma(4, 0.25, (CACHE, CACHE))
        img = np.where(_Y < depth, ndimage.gaussian_filter(liver, (0.6, 1.5)), img)
    return (255 * np.clip(img * fan(rng), 0, 1)).astype(np.uint8)


def five_chambers(rng: Rng, s: Sample, filled: Array) -> Array | None:
    """An aortic root between the atria and open towards the ventricle, where four chambers have the crux: the blood is that
    of the frame's own cavity, moved there."""
    _, a, b = s.points[:3]
    width = np.hypot(*(b - a)) * rng.uniform(0.4, 0.9)
    axis = np.array([rng.uniform(-0.2, 0.35), 1.0])
    axis /= np.hypot(*axis)
    root = a + np.array([rng.uniform(-0.1, 0.4) * width, rng.uniform(-0.4, -0.1) * width])
    wobble = augment.smooth_noise(rng, 2, CACHE, 8, [0.06, 0.06]).numpy()[:, 0]
    u = ((_X - root[0]) * axis[0] + (_Y - root[1]) * axis[1]) / width + wobble[0]
    v = (-(_X - root[0]) * axis[1] + (_Y - root[1]) * axis[0]) / width + wobble[1]
    long = rng.uniform(1.0, 1.9)
    breadth = 0.42 + 0.12 * np.exp(-((u - 0.65) / 0.35) ** 2)
    ends = 1 / (1 + np.exp(-np.clip(np.minimum(u + 0.2, long - u) / 0.07, -30, 30)))
    inside = ends / (1 + np.exp(np.clip((np.abs(v) - breadth) / 0.05, -30, 30)))
    wall = np.exp(-((np.abs(v) - breadth - 0.08) / rng.uniform(0.05, 0.1)) ** 2) * ends * (u > 0.05)
    y, x = np.nonzero(s.label == geo.LV)
    here = root + 0.5 * long * width * axis
    img = s.image.astype(float)
    blood = ndimage.shift(img, (here[1] - np.median(y), here[0] - np.median(x)), order=1, mode="reflect")
    blood = np.minimum(blood, np.percentile(img[y, x], 80))
    img = img * (1 - inside) + blood * inside * rng.uniform(0.6, 1.0)
    bright = ndimage.gaussian_filter(rng.gamma(4, 0.25, img.shape), (0.7, 1.5)) * np.percentile(img[s.image > 2], rng.uniform(75, 97))
    img = np.maximum(img, bright * wall * rng.uniform(0.5, 1.0))
    if rng.random() < 0.5:  # a closed valve
        img = np.maximum(img, bright * np.exp(-((u - 0.4) / 0.04) ** 2) * (np.abs(v) < breadth) * rng.uniform(0.3, 0.9))
    here = (inside > 0.5) | (wall > 0.5)
    if np.abs(img - s.image)[here].mean() < rng.uniform(8, 14):
        return None  # drawn where it was dark anyway: still four chambers to see
    return (np.clip(img, 0, 255) * (ndimage.uniform_filter((s.image > 2).astype(float), 5) > 0.5)).astype(np.uint8)


def lost(rng: Rng, s: Sample, filled: Array) -> Array | None:
    """Off-axis: the walls dissolve, the chambers are not those of any view."""
    field = augment.smooth_noise(rng, 2, CACHE, rng.integers(2, 5), [rng.uniform(14, 30)] * 2).numpy()[:, 0]
    img = ndimage.map_coordinates(filled.astype(float), [_Y + field[0], _X + field[1]], order=1, mode="reflect")
    turn = rng.normal(0, 25)
    img = ndimage.rotate(img, turn, reshape=False, order=1, mode="reflect")
    return (img * fan(rng)).astype(np.uint8)


Cut: TypeAlias = Callable[[Rng, Sample, Array], Array | None]

# share of each kind; those of labelled frames first
CUTS = {base_only: 2, apex_only: 2, right_heart: 4, one_corner: 2, turned: 4, five_chambers: 5, lost: 2}
DRAWN = {tubes: 4, chambers: 3, plain_tissue: 2, m_mode: 1, doppler: 1, page: 2, noise: 2}


def _pick(rng: Rng, table: dict[Any, int]) -> Any:
    kinds, p = list(table), np.array(list(table.values()), float)
    return kinds[rng.choice(len(kinds), p=p / p.sum())]


def _other(source: str, subject: str, phase: str, image: Array, view: str = "other") -> Sample:
    s = Sample(source, subject, phase, image, view=VIEWS.index(view))
    absent(s.state, view)
    return s


def cut(rng: Rng, s: Sample, kind: Cut) -> Sample | None:
    """The frame that kind makes of the labelled sample s, or None."""
    rows = np.flatnonzero(s.image.max(1) > 0)
    filled = geo.mirror_sector(s.image, CACHE, int(2 * max(CACHE / 2 - rows[0], rows[-1] + 1 - CACHE / 2)))
    image = kind(rng, s, filled)
    return None if image is None else _other("other-cut", s.subject, kind.__name__, image)


def more_five_chambers(known: list[Sample], n: int, seed: int = 0) -> list[Sample]:
    """n further five-chamber look-alikes (source other-five): the kind that is most like a view that is measured."""
    rng = np.random.default_rng([seed, 78])
    apical = [s for s in known if s.seg == SEG_FULL and s.view == A4C and (s.state[:3] == 1).all()]
    out: list[Sample] = []
    while apical and len(out) < n:
        made = cut(rng, apical[rng.integers(len(apical))], five_chambers)
        if made is not None:
            made.source = "other-five"
            out.append(made)
    return out


def samples(known: list[Sample], count: dict[str, int], seed: int = 0) -> list[Sample]:
    """count["cuts"] frames cut from those of known with all structures, count["five"] five-chamber look-alikes more,
    count["drawn"] drawn and count["rings"] short axes."""
    rng = np.random.default_rng([seed, 77])
    out: list[Sample] = []
    apical = [s for s in known if s.seg == SEG_FULL and s.view in (A4C, A2C) and (s.state[:3] == 1).all()]
    while apical and len(out) < count.get("cuts", 0):
        s, kind = apical[rng.integers(len(apical))], _pick(rng, CUTS)
        made = cut(rng, s, kind)
        if made is not None:
            out.append(made)
    out += more_five_chambers(known, count.get("five", 0), seed)
    for i in range(count.get("drawn", 0)):
        kind = _pick(rng, DRAWN)
        out.append(_other("other-drawn", f"drawn-{i}", kind.__name__, kind(rng)))
    for i in range(count.get("rings", 0)):
        out.append(_other("psax-drawn", f"ring-{i}", "short_axis", short_axis(rng), "PSAX"))
    return out


def sheet(out: list[Sample], path: str, per_kind: int = 4) -> list[str]:
    """A picture of some frames of each kind, to look at."""
    kinds: dict[str, list[Array]] = {}
    for s in out:
        kinds.setdefault(s.phase, []).append(s.image)
    rows = [np.concatenate((v + [np.zeros_like(v[0])] * per_kind)[:per_kind], 1) for _, v in sorted(kinds.items())]
    Image.fromarray(np.concatenate(rows)).save(path)
    return sorted(kinds)

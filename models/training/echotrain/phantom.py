"""A parasternal long-axis phantom: drawn anatomy with speckle, for the PLAX points.

Coordinates of the heart: u along the long axis towards the base, v across it towards the posterior wall, in units of
the internal dimension at the caliper level u = 0; cavity from v = -0.5 (septum) to 0.5 (posterior wall) there.
Proportions are free choices around textbook anatomy; nothing is measured from patients.
"""

import numpy as np
from scipy import ndimage

from . import augment
from .sources import CACHE, PLAX_POINTS, Sample, _absent
from .net import VIEWS


def _line(u, v, a, b, width):
    """Soft line from a to b."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    d = b - a
    t = np.clip(((u - a[0]) * d[0] + (v - a[1]) * d[1]) / (d @ d), 0, 1)
    return np.exp(-(((u - a[0] - t * d[0]) ** 2 + (v - a[1] - t * d[1]) ** 2) / width ** 2))


def draw(rng, size=CACHE):
    """One phantom: uint8 [size,size] and the four caliper points [4,2]."""
    r = lambda lo, hi: rng.uniform(lo, hi)
    small = rng.random() < 0.4  # as on a whole screen, set deep
    lvid = size * (r(0.06, 0.13) if small else r(0.13, 0.30))
    turn = np.radians(rng.normal(20, 9))
    centre = np.array([r(0.38, 0.54), r(0.25, 0.5) if small else r(0.45, 0.62)]) * size
    y, x = np.mgrid[0:size, 0:size].astype(float)
    c, s = np.cos(turn), np.sin(turn)
    u = ((x - centre[0]) * c + (y - centre[1]) * s) / lvid
    v = (-(x - centre[0]) * s + (y - centre[1]) * c) / lvid
    warp = augment.smooth_noise(rng, 2, size, 3, [0.03, 0.03]).numpy()[:, 0]
    u0, v0 = u + warp[0], v + warp[1]

    ts, tp = r(0.15, 0.33), r(0.15, 0.33)
    bend, slope = r(0.02, 0.12), r(-0.06, 0.06)
    apex = r(1.3, 2.2)
    sl = -0.5 + bend * u0 ** 2 + slope * u0 + 0.25 * np.clip(-u0 - 0.5 * apex, 0, None) ** 2
    sr = sl - ts * (1 + 0.15 * np.clip(u0, -1, 1))
    pi_ = 0.5 - r(0.12, 0.3) * np.clip(-u0, 0, None) ** 2 - r(0, 0.1) * np.clip(u0, 0, None)
    po = pi_ + tp * np.clip(1.1 - 0.5 * np.clip(u0 - 0.3, 0, None), 0.5, 1.1) / 1.1
    root = r(0.55, 0.85)  # where septum becomes aortic wall

    blood, muscle = r(0.01, 0.10), r(0.22, 0.55)
    img = np.full((size, size), muscle * r(0.6, 1.1))
    # right ventricle and what lies above it
    rv_top = sr - r(0.35, 0.75) * (1 - 0.25 * np.abs(u0 - 0.2))
    img[(v0 < sr) & (v0 > rv_top) & (u0 > -1.5)] = blood + r(0, 0.08)
    img += 0.3 * r(0, 1) * np.exp(-((v0 - rv_top) / 0.06) ** 2)
    img[(v0 >= sr) & (v0 <= sl)] = muscle * r(0.85, 1.3)
    img[(v0 > sl) & (v0 < pi_)] = blood
    img[(v0 >= pi_) & (v0 <= po)] = muscle * r(0.85, 1.3)
    # bright edges of the walls where the beam meets them squarely
    for edge, amp in ((sl, r(0, 0.35)), (sr, r(0, 0.35)), (pi_, r(0, 0.4))):
        img += amp * np.exp(-((v0 - edge) / 0.025) ** 2) * (u0 < root)
    beyond = v0 - po
    img = np.where(beyond > 0, r(0.25, 0.7) * np.exp(-beyond / r(0.5, 2)), img)
    img += r(0.3, 0.9) * np.exp(-((beyond - 0.04) / r(0.03, 0.08)) ** 2)
    if small:  # echoes of what lies behind the heart
        for _ in range(rng.integers(0, 3)):
            img += r(0.05, 0.5) * np.exp(-((beyond - r(0.6, 4)) / r(0.04, 0.15)) ** 2) * np.exp(-((u0 - r(-1.5, 2)) / r(0.3, 1.5)) ** 2)
    # aortic root and left atrium
    tilt = r(0.0, 0.35)
    ao = v0 + 0.5 + tilt * np.clip(u0 - root, 0, None)
    width = r(0.45, 0.65)
    right = u0 > root
    img[right & (ao > -0.06) & (ao < width)] = blood
    for edge in (0.0, width):
        img += r(0.3, 0.9) * np.exp(-((ao - edge) / 0.035) ** 2) * right
    la = ((u0 - root - r(0.45, 0.7)) / r(0.5, 0.8)) ** 2 + ((v0 - r(0.3, 0.45)) / r(0.3, 0.5)) ** 2
    img = np.where((la < 1) & (ao > width + 0.02) & (u0 > root - 0.2), blood, img)
    # mitral leaflets: tips lie just on the base side of the caliper
    hinge_a, hinge_p = (root + 0.05, -0.5 + width), (root - r(0, 0.1), r(0.4, 0.5))
    tip = r(0.08, 0.3)
    if rng.random() < 0.5:
        tips = [(tip, r(-0.25, 0.05)), (tip + r(0, 0.15), r(0.3, 0.42))]  # open
    else:
        closed = r(0.1, 0.3)
        tips = [(tip, closed), (tip + 0.03, closed + 0.02)]
    for hinge, t in zip((hinge_a, hinge_p), tips):
        img += r(0.3, 0.9) * _line(u0, v0, hinge, t, r(0.018, 0.035))
    if rng.random() < 0.6:  # chordae and a papillary muscle on the apical side
        img += r(0.1, 0.5) * _line(u0, v0, tips[1], (-r(0.2, 0.8), r(0.25, 0.42)), r(0.015, 0.04))
    if rng.random() < 0.4:
        img += muscle * _line(u0, v0, (-0.9, 0.3), (-r(0.3, 0.6), 0.28), r(0.05, 0.1))

    img = ndimage.gaussian_filter(np.clip(img, 0, 1), r(0.6, 1.8))
    # speckle: Rayleigh, wider across than along the beam
    lateral, axial = r(1.0, 3.5), r(0.5, 1.2)
    z = [ndimage.gaussian_filter(rng.standard_normal((size, size)), (axial, lateral)) for _ in range(2)]
    speckle = np.hypot(*z)
    img = img * (speckle / speckle.mean()) ** r(0.5, 1.3)
    img = img * np.exp(augment.smooth_noise(rng, 1, size, 3, [r(0.1, 0.5)]).numpy()[0, 0]) + r(0, 0.02)

    # sector with its tip above the heart
    tip_px = np.array([centre[0] + rng.normal(0, 0.12) * lvid / 0.3, max(centre[1] - lvid * (r(1.6, 3.0) if small else r(1.2, 2.4)), -0.2 * size)])
    deep = (centre[1] - tip_px[1]) + lvid * (r(2.0, 6.0) if small else r(1.0, 2.4))
    fan = augment.sector_mask(rng, size, tip_px, r(0.6, 0.85), r(0.6, 0.85), 0, deep)
    img = np.clip(img * fan, 0, 1) ** r(0.7, 1.2)

    at = lambda k: float(ndimage.map_coordinates(k, [[centre[1]], [centre[0]]], order=1)[0])
    pts = []
    for k in (sr, sl, pi_, po):  # one fixed-point step through the warp
        v_at = at(k)
        p = centre + lvid * np.array([-v_at * s, v_at * c])
        w = [ndimage.map_coordinates(f, [[p[1]], [p[0]]], order=1)[0] for f in warp]
        here = ndimage.map_coordinates(k, [[p[1]], [p[0]]], order=1)[0]
        uv = np.array([-w[0] + at(warp[0]), here - w[1]])
        pts.append(centre + lvid * np.array([uv[0] * c - uv[1] * s, uv[0] * s + uv[1] * c]))
    return (255 * img).astype(np.uint8), np.array(pts)


def samples(n, seed=0):
    """n phantoms as PLAX Samples."""
    out = []
    for i in range(n):
        img, pts = draw(np.random.default_rng([seed, i]))
        s = Sample("plax-phantom", f"phantom-{i}", "", img, view=VIEWS.index("PLAX"))
        s.points[PLAX_POINTS] = pts
        s.state[PLAX_POINTS] = 1
        _absent(s.state, "PLAX")
        out.append(s)
    return out

"""A parasternal long-axis phantom: drawn anatomy with speckle, for the PLAX points.

Coordinates of the heart: u along the long axis towards the base, v across it towards the posterior wall, in units of
the internal dimension at the caliper level u = 0; cavity from v = -0.5 (septum) to 0.5 (posterior wall) there.
Proportions are free choices around textbook anatomy; nothing is measured from patients.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from . import augment
from .kinds import Array, Rng
from .names import VIEWS
from .sample import CACHE, PLAX_POINTS, Sample, absent


def _line(u: Array, v: Array, a: npt.ArrayLike, b: npt.ArrayLike, width: float) -> Array:
    """Soft line from a to b."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    d = b - a
    t = np.clip(((u - a[0]) * d[0] + (v - a[1]) * d[1]) / (d @ d), 0, 1)
    return np.exp(-(((u - a[0] - t * d[0]) ** 2 + (v - a[1] - t * d[1]) ** 2) / width ** 2))


class _Heart:
    """Where one phantom's parts lie: borders as offsets v over the whole picture, and what the drawing needs of them."""

    def __init__(self, rng: Rng, size: int) -> None:
        self.rng, self.size = rng, size
        r = rng.uniform
        self.small = rng.random() < 0.4  # as on a whole screen, set deep
        self.lvid = size * (r(0.06, 0.13) if self.small else r(0.13, 0.30))
        turn = np.radians(rng.normal(20, 9))
        self.centre = np.array([r(0.38, 0.54), r(0.25, 0.5) if self.small else r(0.45, 0.62)]) * size
        y, x = np.mgrid[0:size, 0:size].astype(float)
        self.c, self.s = np.cos(turn), np.sin(turn)
        u = ((x - self.centre[0]) * self.c + (y - self.centre[1]) * self.s) / self.lvid
        v = (-(x - self.centre[0]) * self.s + (y - self.centre[1]) * self.c) / self.lvid
        self.warp = augment.smooth_noise(rng, 2, size, 3, [0.03, 0.03]).numpy()[:, 0]
        self.u, self.v = u + self.warp[0], v + self.warp[1]
        septum, posterior = r(0.15, 0.33), r(0.15, 0.33)
        bend, slope = r(0.02, 0.12), r(-0.06, 0.06)
        apex = r(1.3, 2.2)
        u0 = self.u
        self.sl = -0.5 + bend * u0 ** 2 + slope * u0 + 0.25 * np.clip(-u0 - 0.5 * apex, 0, None) ** 2
        self.sr = self.sl - septum * (1 + 0.15 * np.clip(u0, -1, 1))
        self.pi = 0.5 - r(0.12, 0.3) * np.clip(-u0, 0, None) ** 2 - r(0, 0.1) * np.clip(u0, 0, None)
        self.po = self.pi + posterior * np.clip(1.1 - 0.5 * np.clip(u0 - 0.3, 0, None), 0.5, 1.1) / 1.1
        self.root = r(0.55, 0.85)  # where septum becomes aortic wall

    def walls(self) -> tuple[Array, float, float]:
        """Muscle, cavity, right ventricle and what lies behind the heart; the picture, and the gray of blood and muscle."""
        rng, r, u, v = self.rng, self.rng.uniform, self.u, self.v
        blood, muscle = r(0.01, 0.10), r(0.22, 0.55)
        img = np.full((self.size, self.size), muscle * r(0.6, 1.1))
        rv_top = self.sr - r(0.35, 0.75) * (1 - 0.25 * np.abs(u - 0.2))
        img[(v < self.sr) & (v > rv_top) & (u > -1.5)] = blood + r(0, 0.08)
        img += 0.3 * r(0, 1) * np.exp(-((v - rv_top) / 0.06) ** 2)
        img[(v >= self.sr) & (v <= self.sl)] = muscle * r(0.85, 1.3)
        img[(v > self.sl) & (v < self.pi)] = blood
        img[(v >= self.pi) & (v <= self.po)] = muscle * r(0.85, 1.3)
        # bright edges of the walls where the beam meets them squarely
        for edge, amp in ((self.sl, r(0, 0.35)), (self.sr, r(0, 0.35)), (self.pi, r(0, 0.4))):
            img += amp * np.exp(-((v - edge) / 0.025) ** 2) * (u < self.root)
        beyond = v - self.po
        img = np.where(beyond > 0, r(0.25, 0.7) * np.exp(-beyond / r(0.5, 2)), img)
        img += r(0.3, 0.9) * np.exp(-((beyond - 0.04) / r(0.03, 0.08)) ** 2)
        if self.small:  # echoes of what lies behind the heart
            for _ in range(rng.integers(0, 3)):
                img += r(0.05, 0.5) * np.exp(-((beyond - r(0.6, 4)) / r(0.04, 0.15)) ** 2) * np.exp(-((u - r(-1.5, 2)) / r(0.3, 1.5)) ** 2)
        return img, blood, muscle

    def base(self, img: Array, blood: float, muscle: float) -> Array:
        """Aortic root, left atrium, mitral leaflets with their tips just on the base side of the caliper, chordae."""
        rng, r, u, v, root = self.rng, self.rng.uniform, self.u, self.v, self.root
        tilt = r(0.0, 0.35)
        ao = v + 0.5 + tilt * np.clip(u - root, 0, None)
        width = r(0.45, 0.65)
        right = u > root
        img[right & (ao > -0.06) & (ao < width)] = blood
        for edge in (0.0, width):
            img += r(0.3, 0.9) * np.exp(-((ao - edge) / 0.035) ** 2) * right
        la = ((u - root - r(0.45, 0.7)) / r(0.5, 0.8)) ** 2 + ((v - r(0.3, 0.45)) / r(0.3, 0.5)) ** 2
        img = np.where((la < 1) & (ao > width + 0.02) & (u > root - 0.2), blood, img)
        hinge_a, hinge_p = (root + 0.05, -0.5 + width), (root - r(0, 0.1), r(0.4, 0.5))
        tip = r(0.08, 0.3)
        if rng.random() < 0.5:
            tips = [(tip, r(-0.25, 0.05)), (tip + r(0, 0.15), r(0.3, 0.42))]  # open
        else:
            closed = r(0.1, 0.3)
            tips = [(tip, closed), (tip + 0.03, closed + 0.02)]
        for hinge, t in zip((hinge_a, hinge_p), tips):
            img += r(0.3, 0.9) * _line(u, v, hinge, t, r(0.018, 0.035))
        if rng.random() < 0.6:  # chordae and a papillary muscle on the apical side
            img += r(0.1, 0.5) * _line(u, v, tips[1], (-r(0.2, 0.8), r(0.25, 0.42)), r(0.015, 0.04))
        if rng.random() < 0.4:
            img += muscle * _line(u, v, (-0.9, 0.3), (-r(0.3, 0.6), 0.28), r(0.05, 0.1))
        return img

    def seen(self, img: Array) -> Array:
        """Speckle, wider across than along the beam, uneven gain, and a sector with its tip above the heart."""
        rng, r, size, lvid = self.rng, self.rng.uniform, self.size, self.lvid
        img = ndimage.gaussian_filter(np.clip(img, 0, 1), r(0.6, 1.8))
        lateral, axial = r(1.0, 3.5), r(0.5, 1.2)
        z = [ndimage.gaussian_filter(rng.standard_normal((size, size)), (axial, lateral)) for _ in range(2)]
        speckle = np.hypot(*z)
        img = img * (speckle / speckle.mean()) ** r(0.5, 1.3)
        img = img * np.exp(augment.smooth_noise(rng, 1, size, 3, [r(0.1, 0.5)]).numpy()[0, 0]) + r(0, 0.02)
        tip = np.array([self.centre[0] + rng.normal(0, 0.12) * lvid / 0.3,
                        max(self.centre[1] - lvid * (r(1.6, 3.0) if self.small else r(1.2, 2.4)), -0.2 * size)])
        deep = (self.centre[1] - tip[1]) + lvid * (r(2.0, 6.0) if self.small else r(1.0, 2.4))
        fan = augment.sector_mask(rng, size, tip, r(0.6, 0.85), r(0.6, 0.85), 0, deep)
        return np.clip(img * fan, 0, 1) ** r(0.7, 1.2)

    def points(self) -> Array:
        """The four caliper points [4,2]: where the borders cross u = 0, by one fixed-point step through the warp."""
        at = lambda k, p: float(ndimage.map_coordinates(k, [[p[1]], [p[0]]], order=1)[0])
        turned = lambda u, v: self.centre + self.lvid * np.array([u * self.c - v * self.s, u * self.s + v * self.c])
        out = []
        for k in (self.sr, self.sl, self.pi, self.po):
            p = turned(0.0, at(k, self.centre))
            out.append(turned(-at(self.warp[0], p) + at(self.warp[0], self.centre), at(k, p) - at(self.warp[1], p)))
        return np.array(out)


def draw(rng: Rng, size: int = CACHE) -> tuple[Array, Array]:
    """One phantom: uint8 [size,size] and the four caliper points [4,2]."""
    heart = _Heart(rng, size)
    img = heart.seen(heart.base(*heart.walls()))
    return (255 * img).astype(np.uint8), heart.points()


def samples(n: int, seed: int = 0) -> list[Sample]:
    """n phantoms as PLAX Samples."""
    out = []
    for i in range(n):
        img, pts = draw(np.random.default_rng([seed, i]))
        s = Sample("plax-phantom", f"phantom-{i}", "", img, view=VIEWS.index("PLAX"))
        s.points[PLAX_POINTS] = pts
        s.state[PLAX_POINTS] = 1
        absent(s.state, "PLAX")
        out.append(s)
    return out

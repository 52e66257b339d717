"""Batch augmentation: geometry, speckle, gain, shadows, sector shape, graphics, resolution.

Works on whole batches with torch on the CPU; every random draw comes from one numpy Generator.
"""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch.nn import functional as F

from .kinds import Array, Rng

SIZE_REF = 320.0


def smooth_noise(rng: Rng, n: int, size: int, cells: int, amount: npt.ArrayLike) -> torch.Tensor:
    """Smooth random fields [n,1,size,size] with about cells periods, standard deviation amount (per sample)."""
    z = torch.from_numpy(rng.standard_normal((n, 1, cells + 2, cells + 2)).astype(np.float32))
    z = F.interpolate(z, size=(size, size), mode="bicubic", align_corners=True)
    return z * torch.as_tensor(np.asarray(amount, np.float32)).view(-1, 1, 1, 1)


class Warp:
    """One affine map per sample from output pixels to cache pixels, plus a smooth displacement."""

    def __init__(self, matrix: Array, focus: Array, centre: Array, out: int, cache: int, field: torch.Tensor) -> None:
        """matrix [n,2,2]: output offset (px) from centre [n,2] -> cache offset (px) from focus [n,2]; field [n,2,out,out] cache px."""
        self.matrix, self.focus, self.centre, self.out, self.cache, self.field = matrix, focus, centre, out, cache, field
        g = torch.arange(out, dtype=torch.float32)
        part = lambda a: torch.from_numpy(np.asarray(a, np.float32))[:, None, None]
        dx, dy = g[None, None, :] - part(centre[:, 0]), g[None, :, None] - part(centre[:, 1])
        src = [part(matrix[:, i, 0]) * dx + (part(matrix[:, i, 1]) * dy + part(focus[:, i])) + field[:, i] for i in (0, 1)]
        self.grid = (torch.stack(src, -1) + 0.5) * (2.0 / cache) - 1.0  # grid_sample coordinates, align_corners=False

    def sample(self, maps: torch.Tensor) -> torch.Tensor:
        return F.grid_sample(maps, self.grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def points(self, pts: Array) -> Array:
        """Cache coordinates [n,k,2] -> output coordinates; the field is inverted by two fixed-point steps."""
        inv = np.linalg.inv(self.matrix)
        field = self.field.numpy()
        src = pts.copy()
        for _ in range(3):
            u = np.einsum("nij,nkj->nki", inv, src - self.focus[:, None]) + self.centre[:, None]
            i = np.clip(np.rint(u), 0, self.out - 1).astype(int)
            src = pts - np.stack([field[n][:, i[n, :, 1], i[n, :, 0]].T for n in range(len(pts))])
        return u


def squeeze(rng: Rng, cavity: Array, matrix: Array, focus: Array, centre: Array, out: int, amount: float) -> torch.Tensor:
    """Displacement [2,out,out] (cache px) that widens or narrows a cavity, as another phase or patient would show it.

    cavity: bool [cache,cache]; matrix, focus, centre: the sample's affine map as in Warp; amount: standard deviation
    of the change of its width; that of its length is half of it.
    """
    y, x = np.nonzero(cavity)
    middle = np.array([x.mean(), y.mean()])
    reach = np.array([1.3 * np.ptp(x) + 1, 1.0 * np.ptp(y) + 1])  # where the change has died away
    a = np.clip(rng.normal(0, 1, 2) * amount * np.array([1, 0.5]), -0.4, 0.4)
    g = np.stack(np.meshgrid(np.arange(out), np.arange(out)), -1).astype(np.float32)
    d = (g - centre) @ matrix.T + focus - middle
    fall = np.exp(-((d / (0.7 * reach)) ** 2).sum(-1))
    return torch.from_numpy((a * d * fall[..., None]).astype(np.float32)).permute(2, 0, 1)


def veil(rng: Rng, img: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Dims what lies away from the labelled heart, on one side or on both: A4C frames then lack the right heart.

    img float [s,s] in 0..1; masks [3,s,s] cavity, myocardium, atrium (of two-chamber frames the cavity alone).
    """
    size = img.shape[0]
    heart = masks.sum(0).clamp(max=1)
    if heart.max() < 0.5:
        return img
    wide = size * (rng.uniform(0.02, 0.12) + (0.0 if masks[1].max() > 0.5 else 0.06))
    k = 2 * max(1, int(wide)) + 1
    near = F.avg_pool2d(F.avg_pool2d(heart[None, None], k, 1, k // 2), k, 1, k // 2)[0, 0]
    keep = ((near - 0.02) / 0.1).clamp(0, 1)
    side = rng.integers(0, 3)
    if side < 2:
        middle = float((masks[0].sum(0) * torch.arange(size)).sum() / masks[0].sum().clamp(min=1e-3))
        ramp = ((torch.arange(size) - middle) / (0.05 * size)).clamp(0, 1)
        keep = torch.maximum(keep, (ramp if side else 1 - ramp)[None])
    dim = keep + (1 - keep) * float(rng.uniform(0.0, 0.5))
    return img * dim + (1 - keep) * float(rng.uniform(0, 0.12)) * (rng.random() < 0.4) * (img > 0.004)


def fade(rng: Rng, img: torch.Tensor, cavity: torch.Tensor) -> torch.Tensor:
    """Loses the wall at one or two places of the border of cavity [s,s], in the dark or in haze; img [s,s] in 0..1."""
    size = img.shape[0]
    y, x = np.nonzero(((cavity > 0.25) & (cavity < 0.75)).numpy())
    if len(x) == 0:
        return img
    g = torch.arange(size, dtype=torch.float32)
    for _ in range(rng.integers(1, 3)):
        i = rng.integers(len(x))
        along, across = rng.uniform(0.08, 0.35) * size, rng.uniform(0.04, 0.12) * size
        turn = rng.normal(0, 0.35) + (0.4 if x[i] < size / 2 else -0.4)  # roughly along the beams from above
        c, s = float(np.cos(turn)), float(np.sin(turn))
        dx, dy = (g - float(x[i]))[None, :], (g - float(y[i]))[:, None]
        blob = torch.exp(-((dx * c + dy * s) / across) ** 2 - ((dy * c - dx * s) / along) ** 2) * float(rng.uniform(0.4, 1.0))
        level = float(rng.uniform(0, 0.25)) if rng.random() < 0.3 else 0.0
        img = img * (1 - blob) + level * blob * (img > 0.004)
    return img


def rotation(a: Array) -> Array:
    c, s = np.cos(a), np.sin(a)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def sector_mask(rng: Rng, size: int, tip: npt.ArrayLike, half_left: float, half_right: float, near: float, far: float, soft: float = 0.8) -> Array:
    """Soft mask of a fan; tip in pixels, angles in radians from straight down, near and far radii in pixels."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    dx, dy = x - tip[0], y - tip[1]
    r, th = np.hypot(dx, dy), np.arctan2(dx, dy)
    edge = np.minimum(np.minimum((th + half_left) * r, (half_right - th) * r), np.minimum(r - near, far - r))
    return np.clip(edge / soft + 0.5, 0, 1)


def graphics(rng: Rng, img: Array, keep: Array | None = None) -> Array:
    """Draws text, scales, ECG, bars and marker dots as scanners do; img uint8 [h,w]; in place outside keep if given."""
    size = img.shape[0]
    im = Image.fromarray(img)
    d = ImageDraw.Draw(im)
    v = lambda: int(rng.integers(90, 256))
    if rng.random() < 0.5:  # text blocks near the rim
        for _ in range(rng.integers(1, 5)):
            x, y = rng.integers(0, size), rng.integers(0, size)
            if 0.25 * size < x < 0.7 * size and 0.15 * size < y < 0.85 * size:
                continue
            for k in range(rng.integers(1, 5)):
                word = "".join(chr(c) for c in rng.integers(33, 91, rng.integers(1, 9)))
                d.text((x, y + 9 * k), word, fill=v())
    if rng.random() < 0.35:  # ECG
        y0, a, period = rng.uniform(0.78, 0.98) * size, rng.uniform(0.02, 0.08) * size, rng.uniform(0.15, 0.6) * size
        xs = np.arange(0, size, 1.0)
        ph = (xs / period + rng.random()) % 1
        ys = y0 - a * (np.exp(-((ph - 0.3) / 0.02) ** 2) + 0.15 * np.exp(-((ph - 0.15) / 0.03) ** 2) + 0.25 * np.exp(-((ph - 0.55) / 0.05) ** 2))
        end = int(rng.uniform(0.4, 1) * size)
        d.line([(float(x), float(y)) for x, y in zip(xs[:end], ys[:end])], fill=v(), width=1)
        if rng.random() < 0.5:
            d.line([(end, y0 - 2 * a), (end, y0 + a)], fill=v(), width=int(rng.integers(1, 3)))
    if rng.random() < 0.3:  # gray bar
        x = int(rng.choice([rng.uniform(0, 0.1), rng.uniform(0.88, 0.97)]) * size)
        y0, h = int(rng.uniform(0, 0.4) * size), int(rng.uniform(0.2, 0.5) * size)
        for k in range(h):
            d.line([(x, y0 + k), (x + 5, y0 + k)], fill=int(255 * (1 - k / h)))
    if rng.random() < 0.4:  # depth ticks or a dotted edge
        x0, y0 = rng.uniform(0, 1, 2) * size
        ang, step = rng.uniform(-1, 1), rng.uniform(4, 20)
        if rng.random() < 0.5:
            x0, ang = rng.choice([rng.uniform(0, 0.1), rng.uniform(0.9, 1)]) * size, 0.0
        for k in range(-40, 40):
            x, y = x0 + k * step * np.sin(ang), y0 + k * step * np.cos(ang)
            d.line([(x, y), (x + int(rng.integers(0, 2)), y)], fill=200)
    if rng.random() < 0.2:  # horizontal rules (stress protocols)
        for y in (rng.uniform(0, 0.08) * size, rng.uniform(0.92, 1) * size):
            d.line([(0, y), (size, y)], fill=v(), width=int(rng.integers(1, 3)))
    if rng.random() < 0.2:  # outline of a colour box
        x, y, w, h = rng.uniform(0.2, 0.6) * size, rng.uniform(0.2, 0.6) * size, rng.uniform(0.1, 0.35) * size, rng.uniform(0.15, 0.4) * size
        sl = rng.uniform(-0.3, 0.3) * h
        d.line([(x, y), (x + w, y), (x + w + sl, y + h), (x + sl * 0.5, y + h), (x, y)], fill=v())
    out = np.array(im)
    if keep is not None:
        out = np.where(keep, img, out)
    return out


def photometric(rng: Rng, img: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """img float [n,1,s,s] in 0..1; contrast, gain curves, speckle, blur, haze, shadows. Returns 0..1."""
    n, _, size, _ = img.shape
    u = lambda lo, hi: torch.from_numpy(rng.uniform(lo, hi, (n, 1, 1, 1)).astype(np.float32))
    pick = lambda p: torch.from_numpy((rng.random((n, 1, 1, 1)) < p * strength).astype(np.float32))
    inside = (F.avg_pool2d(img, 5, 1, 2) > 0.004).float()

    # colour-flow boxes and filled blood pools seen as luma: patches moved towards a flat gray
    for i in np.flatnonzero(rng.random(n) < 0.08 * strength):
        y, x = rng.integers(0, int(size * 0.7), 2)
        h, w = rng.integers(int(0.1 * size), int(0.35 * size), 2)
        patch = img[i, 0, y:y + h, x:x + w]
        img[i, 0, y:y + h, x:x + w] = torch.where(patch < float(rng.uniform(0.1, 0.4)), patch * 0.3 + float(rng.uniform(0.05, 0.5)), patch)

    # speckle: resolution differs per sample
    for cells in (size, size // 2):
        noise = torch.from_numpy(rng.standard_normal((n, 1, cells, cells)).astype(np.float32))
        if cells != size:
            noise = F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)
        img = img * (1 + noise * u(0.0, 0.30) * pick(0.5)) + noise * u(0.0, 0.06) * pick(0.4) * inside
    img = img.clamp(0, 1)

    # local gain (time and lateral gain compensation), haze near the probe, shadows
    img = img * torch.exp(smooth_noise(rng, n, size, 2, 0.35 * strength * rng.random(n)))
    img = img + (smooth_noise(rng, n, size, 2, 0.15 * strength * rng.random(n)) * pick(0.35)).clamp(min=0) * inside
    g = u(0.55, 1.9) ** strength
    img = img.clamp(1e-5, 1) ** g
    lo = u(0.0, 0.12) * pick(0.4)
    img = ((img - lo) / (1 - lo)).clamp(min=0)
    img = img * (u(0.4, 1.6) ** strength)

    # resolution: down and up, or blur
    for i in np.flatnonzero(rng.random(n) < 0.3 * strength):
        s = int(size * rng.uniform(0.35, 0.85))
        img[i:i + 1] = F.interpolate(F.interpolate(img[i:i + 1], size=(s, s), mode="area"), size=(size, size), mode="bilinear", align_corners=False)
    blur = F.avg_pool2d(F.pad(img, (1, 1, 1, 1), mode="replicate"), 3, 1)
    k = u(-0.5, 0.8) * pick(0.4)
    img = img + k * (blur - img)

    for i in np.flatnonzero(rng.random(n) < 0.2 * strength):  # rib and lung shadows: dark rays from above
        tip = (rng.uniform(0.3, 0.7) * size, rng.uniform(-0.3, 0.1) * size)
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        th = np.arctan2(x - tip[0], y - tip[1])
        a, w = rng.uniform(-0.6, 0.6), rng.uniform(0.03, 0.15)
        img[i, 0] *= torch.from_numpy((1 - rng.uniform(0.3, 0.9) * np.exp(-((th - a) / w) ** 2)).astype(np.float32))
    return img.clamp(0, 1)

"""Endless random batches from the cache: sampling by task, augmentation, targets with their masks."""

from typing import Any
from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as F

from . import augment as aug
from . import geometry as geo
from .kinds import Array, Config, Data, Part, Rng
from .names import CLASSES, KEYPOINTS, MIRRORED, VIEWS
from .sample import CACHE, NK, SEG_CAVITY, SEG_FULL

SIGMA = 1.5  # heatmap standard deviation in cells (a cell is four input pixels)
PLAX = VIEWS.index("PLAX")
MIRROR = {VIEWS.index(v): VIEWS.index(m) for v, m in MIRRORED.items()}  # a view -> the same on a mirrored display
A4C = VIEWS.index("A4C")
APICAL_VIEWS = [i for i, v in enumerate(VIEWS) if v[:3] in ("A4C", "A2C", "A3C")]


class Batches(torch.utils.data.IterableDataset):
    """Yields dicts of tensors:

    frames [n,1,S,S] float 0..255; mask, mask_known [n,3,S/2,S/2]; heat [n,K,S/4,S/4] with heat_known [n,K]
    (1 point known, -1 known absent, 0 unknown) and cell [n,K,2]; view [n] (-1 unknown); weight [n].

    parts: list of (name, count, indexes, options): count samples of a batch come from indexes.
    options: transpose turns A4C frames into PLAX look-alikes; flip is the share of mirrored frames; mild keeps
    frames close to how they were recorded, with zoom (default 1) of the whole frame; vary (default 1) scales the
    spread of their size, turn, place and shape, and the stretch and displacement of any frame; far (default 0.15) is the
    share of the others that are shown small, as on a whole screen; close (default 0.35) the share whose labelled part fills the
    picture; lvid is the range of LVID over the picture's side for PLAX frames that are looked at closely (and for transpose);
    blur is the share shown at a lower resolution, so that it does not tell the sources apart; squeeze is the spread of the cavity's own size
    against its surroundings; veil and fade are the shares of frames whose surroundings of the heart are dimmed, as if
    the other chambers were not there, and whose wall is lost in places.
    """

    def __init__(self, data: Data, parts: list[Part], size: int, seed: int = 0, strength: float = 1.0) -> None:
        self.data, self.parts, self.size, self.seed, self.strength = data, parts, size, seed, strength

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        info = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            yield self.batch(rng)

    def batch(self, rng: Rng) -> dict[str, torch.Tensor]:
        idx, opts = [], []
        for _, count, index, o in self.parts:
            p = self.data["weight"][index]
            idx += list(rng.choice(index, count, p=p / p.sum()))
            opts += [o] * count
        return make(self.data, np.array(idx), opts, self.size, rng, self.strength)


def mirror(image: Array, label: Array, pts: Array, state: Array, view: int) -> tuple[Array, Array, Array, Array, int]:
    """A frame as a display with the marker on the other side shows it. Points keep their names: the septum stays the
    septum. In A2C, where the two sides look alike, the annulus is left unlabelled; views without a mirrored class are unknown."""
    pts, state = pts.copy(), state.copy()
    pts[:, 0] = CACHE - 1 - pts[:, 0]
    if view != A4C:
        state[1:3] = np.minimum(state[1:3], 0)
    return image[:, ::-1].copy(), label[:, ::-1].copy(), pts, state, MIRROR.get(int(view), int(view) if view < 0 or VIEWS[view] == "other" else -1)


def blurred(rng: Rng, img: torch.Tensor) -> torch.Tensor:
    """Reduced and enlarged again, as pictures of lower resolution are: img [1,s,s] in 0..1."""
    s = img.shape[-1]
    small = int(s * rng.uniform(0.4, 0.95))
    return F.interpolate(F.interpolate(img[None], size=(small, small), mode="area"), size=(s, s), mode="bilinear", align_corners=False)[0]


class _Draft:
    """A batch in the making: the samples idx of data with one options dict each, changed step by step by make."""

    def __init__(self, data: Data, idx: Array, opts: list[Config], size: int, rng: Rng, strength: float) -> None:
        self.data, self.idx, self.opts, self.size, self.rng, self.strength = data, idx, opts, size, rng, strength
        self.n = len(idx)
        self.images, self.labels = data["image"][idx].copy(), data["label"][idx].copy()
        self.pts, self.state = data["points"][idx].astype(np.float64), data["state"][idx].copy()
        self.seg, self.view = data["seg"][idx].copy(), data["view"][idx].copy()
        self.transpose, self.mild = self.option("transpose", False), self.option("mild", False)
        self.vary, self.squeeze, self.veil, self.fade = self.option("vary", 1.0), self.option("squeeze", 0.0), self.option("veil", 0.0), self.option("fade", 0.0)
        self.mirrored = np.zeros(self.n, bool)
        self.img = self.masks = torch.empty(0)
        self.u = self.pts  # the points in the batch's pictures, after warp

    def option(self, name: str, default: Any) -> Array:
        return np.array([o.get(name, default) for o in self.opts])

    def turn_on_the_side(self) -> None:
        """A4C frames asked for as PLAX: their wall points become the caliper's."""
        for i in np.flatnonzero(self.transpose):
            wall = geo.wall_points(self.labels[i], self.pts[i, :3], self.rng.uniform(0.2, 0.42))
            self.images[i] = self.data["filled"][self.idx[i]]
            self.seg[i], self.view[i], self.state[i] = 0, PLAX, -1
            if wall is not None:
                self.pts[i, 3:], self.state[i, 3:] = wall, 1
            else:
                self.state[i, 3:] = 0

    def mirror(self) -> None:
        self.mirrored = self.rng.random(self.n) < self.option("flip", 0.0)
        for i in np.flatnonzero(self.mirrored):
            self.images[i], self.labels[i], self.pts[i], self.state[i], self.view[i] = mirror(
                self.images[i], self.labels[i], self.pts[i], self.state[i], self.view[i])

    def place(self, i: int, zoom: Array, turn: Array, focus: Array, centre: Array) -> None:
        """Where and how large sample i is shown: changes row i of the arrays that placing drew for all."""
        rng, size, o, known = self.rng, self.size, self.opts[i], self.state[i] == 1
        if self.mild[i]:
            zoom[i], turn[i] = o.get("zoom", 1.0) * np.exp(rng.normal(0, 0.07 * self.vary[i])), 0.4 * self.vary[i] * turn[i]
            centre[i] += rng.normal(0, 0.02 * self.vary[i], 2) * size
        elif self.transpose[i]:
            c = self.pts[i, 3:].mean(0) if known[3:].all() else focus[i]
            lvid = np.hypot(*(self.pts[i, 4] - self.pts[i, 5])) if known[3:].all() else 60.0
            low, high = o.get("lvid", (0.07, 0.32))
            zoom[i] = np.exp(rng.uniform(np.log(low), np.log(high))) * CACHE / max(lvid, 20.0)
            focus[i] = c
            centre[i] += rng.uniform(-0.13, 0.13, 2) * size
            turn[i] = np.radians(rng.normal(-20, 14))
        elif "lvid" in o and known[3:].all():  # the second, closer look at PLAX points
            lvid = np.hypot(*(self.pts[i, 4] - self.pts[i, 5]))
            focus[i] = self.pts[i, 3:].mean(0)
            zoom[i] = rng.uniform(*o["lvid"]) * CACHE / max(lvid, 8.0)
            centre[i] += rng.uniform(-0.12, 0.12, 2) * size
        elif known.any() and rng.random() < o.get("close", 0.35):  # look closely at what is labelled
            focus[i] = self.pts[i, known].mean(0) + rng.normal(0, 12, 2)
            zoom[i] = np.exp(rng.uniform(np.log(1.1), np.log(2.3)))
            centre[i] += rng.uniform(-0.08, 0.08, 2) * size
        elif rng.random() < o.get("far", 0.15):
            zoom[i] = rng.uniform(0.45, 0.75)
            centre[i] += rng.uniform(-0.15, 0.15, 2) * size
        else:
            centre[i] += rng.normal(0, 0.05, 2) * size

    def warp(self) -> aug.Warp:
        """The map from the batch's pictures to the cache's."""
        rng, n, size = self.rng, self.n, self.size
        focus, centre = np.full((n, 2), (CACHE - 1) / 2.0), np.full((n, 2), (size - 1) / 2.0)
        zoom = np.exp(rng.uniform(np.log(0.72), np.log(1.45), n))
        turn = np.radians(rng.normal(0, 11, n))
        for i in range(n):
            self.place(i, zoom, turn, focus, centre)
        stretch = np.exp(rng.normal(0, 0.07, n) * np.where(self.mild, 0.4, 1) * self.vary)
        unit = CACHE / size / zoom
        matrix = aug.rotation(turn) @ np.stack([np.diag([u / s, u * s]) for u, s in zip(unit, stretch)])
        matrix[self.transpose] = np.array([[0.0, 1.0], [1.0, 0.0]]) @ matrix[self.transpose]
        field = aug.smooth_noise(rng, 2 * n, size, 3, 3.0 * self.strength * np.repeat(self.vary * rng.random(n), 2)).view(n, 2, size, size)
        for i in np.flatnonzero((self.squeeze > 0) & (self.seg > 0) & ~self.transpose):
            if self.labels[i].any():
                field[i] += aug.squeeze(rng, self.labels[i] == 1, matrix[i], focus[i], centre[i], size, self.squeeze[i])
        return aug.Warp(matrix, focus, centre, size, CACHE, field)

    def sample(self, warp: aug.Warp) -> None:
        """Draws pictures, masks and points through the map; a ventricle cut in part has no view any more."""
        maps = np.concatenate([self.images[:, None], *[(self.labels == c)[:, None] * np.uint8(255) for c in (1, 2, 3)]], 1)
        if "soft" in self.data:
            for i in np.flatnonzero((self.data["soft_row"][self.idx] >= 0) & (self.seg > 0)):
                k = self.data["soft_row"][self.idx[i]]
                soft, share = self.data["soft"][k], self.data["soft_share"][k]
                maps[i, 1:] = np.rint((1 - share) * maps[i, 1:] + share * (soft[..., ::-1] if self.mirrored[i] else soft))
        out = warp.sample(torch.from_numpy(maps).float() / 255.0)
        self.img, self.masks = out[:, :1].contiguous(), out[:, 1:]
        self.u = warp.points(self.pts)
        for i in np.flatnonzero(np.isin(self.view, APICAL_VIEWS) & (self.state[:, 0] == 1)):
            if ((self.u[i, :3] < 0) | (self.u[i, :3] > self.size - 1)).any():
                self.view[i] = -1

    def light(self) -> None:
        """Dims the surroundings, loses the wall, changes gain and grain."""
        rng, own = self.rng, (self.seg > 0) & ~self.transpose
        for i in np.flatnonzero((rng.random(self.n) < self.veil) & own):
            self.img[i, 0] = aug.veil(rng, self.img[i, 0], self.masks[i])
            self.view[i] = -1  # without the right heart A4C and A2C can hardly be told apart
        for i in np.flatnonzero((rng.random(self.n) < self.fade) & own):
            self.img[i, 0] = aug.fade(rng, self.img[i, 0], self.masks[i, 0])
        change = torch.from_numpy(np.where(self.mild, 0.35, 1.0).astype(np.float32)).view(-1, 1, 1, 1)
        self.img = self.img + change * (aug.photometric(rng, self.img.clone(), self.strength) - self.img)

    def new_sector(self, i: int) -> None:
        """A narrower or wider sector, its tip outside the picture, where it leaves what is labelled to be seen."""
        rng, size, known, turned = self.rng, self.size, self.state[i] == 1, self.transpose[i]
        target = self.u[i, known].mean(0) if known.any() else np.full(2, size / 2.0)
        low = 0.16 if not turned else target[1] / size - 0.15
        tip = np.array([target[0] + rng.normal(0, 0.08) * size, rng.uniform(-0.4, low) * size])
        reach = np.hypot(*(target - tip))
        a, b = rng.uniform(0.5, 0.9, 2)
        fan = aug.sector_mask(rng, size, tip, a, b, reach * rng.uniform(0, 0.25), max(reach * rng.uniform(1.5, 2.4), 0.3 * size))
        lv = self.masks[i, 0].numpy() > 0.5
        if self.seg[i] and lv.any() and (fan[lv] < 0.5).mean() > 0.08:
            return
        if known.any() and not turned:
            p = np.clip(np.rint(self.u[i, known]), 0, size - 1).astype(int)
            if (fan[p[:, 1], p[:, 0]] < 0.5).any():
                return
        self.img[i, 0] *= torch.from_numpy(fan)

    def frames(self) -> torch.Tensor:
        """The pictures as a network sees them, 0..255: lower resolution and graphics on some."""
        rng = self.rng
        for i in np.flatnonzero(rng.random(self.n) < self.option("blur", 0.0)):
            self.img[i] = blurred(rng, self.img[i])
        out = (self.img * 255).round().clamp(0, 255)
        for i in np.flatnonzero(rng.random(self.n) < np.where(self.mild, 0.1, 0.5 * self.strength)):
            out[i, 0] = torch.from_numpy(aug.graphics(rng, out[i, 0].numpy().astype(np.uint8))).float()
        return out

    def targets(self) -> dict[str, torch.Tensor]:
        """Masks and heatmaps with what is known of them, and views."""
        mask = torch.nn.functional.avg_pool2d(self.masks, 2)
        known = torch.zeros_like(mask)
        known[torch.from_numpy(self.seg == SEG_FULL)] = 1.0
        cavity = torch.from_numpy(self.seg == SEG_CAVITY)
        known[cavity, 0] = 1.0
        known[cavity, 1:] = (mask[cavity, :1] > 0.9).float()  # cavity is neither wall nor atrium
        u, state, size = self.u, self.state, self.size
        cell = (u + 0.5) / 4.0 - 0.5
        q = size // 4
        outside = (cell < 0).any(2) | (cell > q - 1).any(2)
        state[(state == 1) & outside] = -1
        near = (u > -0.02 * size).all(2) & (u < 1.02 * size).all(2)
        state[outside & near & (state == -1) & (self.data["state"][self.idx] == 1)] = 0  # just at the rim: say nothing
        g = np.arange(q, dtype=np.float32)
        gx = np.exp(-((g[None, None] - cell[..., :1]) ** 2) / (2 * SIGMA ** 2))
        gy = np.exp(-((g[None, None] - cell[..., 1:]) ** 2) / (2 * SIGMA ** 2))
        heat = (gy[..., :, None] * gx[..., None, :]).astype(np.float32) * (state == 1)[..., None, None]
        return {"mask": mask, "mask_known": known, "heat": torch.from_numpy(heat), "heat_known": torch.from_numpy(state.astype(np.float32)),
                "cell": torch.from_numpy(cell.astype(np.float32)), "view": torch.from_numpy(self.view.astype(np.int64)), "weight": torch.ones(self.n)}


def make(data: Data, idx: Array, opts: list[Config], size: int, rng: Rng, strength: float = 1.0) -> dict[str, torch.Tensor]:
    """One augmented batch of the samples idx; opts: one options dict per sample.

    data["soft"], where it is there (see dataset.add_soft), is mixed into the masks: what other networks make of a frame.
    """
    d = _Draft(data, idx, opts, size, rng, strength)
    d.turn_on_the_side()
    d.mirror()
    d.sample(d.warp())
    d.light()
    for i in range(d.n):
        if not d.mild[i] and (d.transpose[i] or rng.random() <= 0.3):
            d.new_sector(i)
    return {"frames": d.frames(), **d.targets()}


def add_filled(data: Data, index: Array) -> None:
    """Adds data['filled']: sector pictures with their outside filled by mirroring (rows of index only)."""
    filled = data["image"].copy()
    for i in index:
        rows = np.flatnonzero(data["image"][i].max(1) > 0)
        h = int(2 * max(CACHE / 2 - rows[0], rows[-1] + 1 - CACHE / 2)) if len(rows) else CACHE
        filled[i] = geo.mirror_sector(data["image"][i], CACHE, h)
    data["filled"] = filled


assert len(CLASSES) == 3 and len(KEYPOINTS) == NK

"""Endless random batches from the cache: sampling by task, augmentation, targets with their masks."""

import numpy as np
import torch
from torch.nn import functional as F

from . import augment as aug
from . import geometry as geo
from .net import CLASSES, KEYPOINTS, MIRRORED, VIEWS
from .sources import CACHE, NK, SEG_CAVITY, SEG_FULL

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

    def __init__(self, data, parts, size, seed=0, strength=1.0):
        self.data, self.parts, self.size, self.seed, self.strength = data, parts, size, seed, strength

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            yield self.batch(rng)

    def batch(self, rng):
        idx, opts = [], []
        for _, count, index, o in self.parts:
            p = self.data["weight"][index]
            idx += list(rng.choice(index, count, p=p / p.sum()))
            opts += [o] * count
        return make(self.data, np.array(idx), opts, self.size, rng, self.strength)


def mirror(image, label, pts, state, view):
    """A frame as a display with the marker on the other side shows it. Points keep their names: the septum stays the
    septum. In A2C, where the two sides look alike, the annulus is left unlabelled; views without a mirrored class are unknown."""
    pts, state = pts.copy(), state.copy()
    pts[:, 0] = CACHE - 1 - pts[:, 0]
    if view != A4C:
        state[1:3] = np.minimum(state[1:3], 0)
    return image[:, ::-1].copy(), label[:, ::-1].copy(), pts, state, MIRROR.get(int(view), int(view) if view < 0 or VIEWS[view] == "other" else -1)


def blurred(rng, img):
    """Reduced and enlarged again, as pictures of lower resolution are: img [1,s,s] in 0..1."""
    s = img.shape[-1]
    small = int(s * rng.uniform(0.4, 0.95))
    return F.interpolate(F.interpolate(img[None], size=(small, small), mode="area"), size=(s, s), mode="bilinear", align_corners=False)[0]


def make(data, idx, opts, size, rng, strength=1.0):
    """One augmented batch of the samples idx; opts: one options dict per sample.

    data["soft"], where it is there (see dataset.add_soft), is mixed into the masks: what other networks make of a frame.
    """
    n = len(idx)
    images, labels = data["image"][idx].copy(), data["label"][idx].copy()
    pts, state = data["points"][idx].astype(np.float64), data["state"][idx].copy()
    seg, view = data["seg"][idx].copy(), data["view"][idx].copy()
    weight = data["weight"][idx].astype(np.float32) * 0 + 1
    transpose = np.array([o.get("transpose", False) for o in opts])
    mild = np.array([o.get("mild", False) for o in opts])
    vary = np.array([o.get("vary", 1.0) for o in opts])
    squeeze, veil, fade = (np.array([o.get(k, 0.0) for o in opts]) for k in ("squeeze", "veil", "fade"))

    for i in np.flatnonzero(transpose):
        wall = geo.wall_points(labels[i], pts[i, :3], rng.uniform(0.2, 0.42))
        images[i] = data["filled"][idx[i]]
        seg[i], view[i], state[i] = 0, PLAX, -1
        if wall is not None:
            pts[i, 3:], state[i, 3:] = wall, 1
        else:
            state[i, 3:] = 0

    mirrored = rng.random(n) < np.array([o.get("flip", 0.0) for o in opts])
    for i in np.flatnonzero(mirrored):
        images[i], labels[i], pts[i], state[i], view[i] = mirror(images[i], labels[i], pts[i], state[i], view[i])

    # geometry
    focus, centre = np.full((n, 2), (CACHE - 1) / 2.0), np.full((n, 2), (size - 1) / 2.0)
    zoom = np.exp(rng.uniform(np.log(0.72), np.log(1.45), n))
    turn = np.radians(rng.normal(0, 11, n))
    for i in range(n):
        known = state[i] == 1
        if mild[i]:
            zoom[i], turn[i] = opts[i].get("zoom", 1.0) * np.exp(rng.normal(0, 0.07 * vary[i])), 0.4 * vary[i] * turn[i]
            centre[i] += rng.normal(0, 0.02 * vary[i], 2) * size
        elif transpose[i]:
            c = pts[i, 3:].mean(0) if known[3:].all() else focus[i]
            lvid = np.hypot(*(pts[i, 4] - pts[i, 5])) if known[3:].all() else 60.0
            low, high = opts[i].get("lvid", (0.07, 0.32))
            zoom[i] = np.exp(rng.uniform(np.log(low), np.log(high))) * CACHE / max(lvid, 20.0)
            focus[i] = c
            centre[i] += rng.uniform(-0.13, 0.13, 2) * size
            turn[i] = np.radians(rng.normal(-20, 14))
        elif "lvid" in opts[i] and known[3:].all():  # the second, closer look at PLAX points
            lvid = np.hypot(*(pts[i, 4] - pts[i, 5]))
            focus[i] = pts[i, 3:].mean(0)
            zoom[i] = rng.uniform(*opts[i]["lvid"]) * CACHE / max(lvid, 8.0)
            centre[i] += rng.uniform(-0.12, 0.12, 2) * size
        elif known.any() and rng.random() < opts[i].get("close", 0.35):  # look closely at what is labelled
            focus[i] = pts[i, known].mean(0) + rng.normal(0, 12, 2)
            zoom[i] = np.exp(rng.uniform(np.log(1.1), np.log(2.3)))
            centre[i] += rng.uniform(-0.08, 0.08, 2) * size
        elif rng.random() < opts[i].get("far", 0.15):
            zoom[i] = rng.uniform(0.45, 0.75)
            centre[i] += rng.uniform(-0.15, 0.15, 2) * size
        else:
            centre[i] += rng.normal(0, 0.05, 2) * size
    stretch = np.exp(rng.normal(0, 0.07, n) * np.where(mild, 0.4, 1) * vary)
    unit = CACHE / size / zoom
    matrix = aug.rotation(turn) @ np.stack([np.diag([u / s, u * s]) for u, s in zip(unit, stretch)])
    matrix[transpose] = np.array([[0.0, 1.0], [1.0, 0.0]]) @ matrix[transpose]
    field = aug.smooth_noise(rng, 2 * n, size, 3, 3.0 * strength * np.repeat(vary * rng.random(n), 2)).view(n, 2, size, size)
    for i in np.flatnonzero((squeeze > 0) & (seg > 0) & ~transpose):
        if labels[i].any():
            field[i] += aug.squeeze(rng, labels[i] == 1, matrix[i], focus[i], centre[i], size, squeeze[i])
    warp = aug.Warp(matrix, focus, centre, size, CACHE, field)

    maps = np.concatenate([images[:, None], *[(labels == c)[:, None] * np.uint8(255) for c in (1, 2, 3)]], 1)
    if "soft" in data:
        for i in np.flatnonzero((data["soft_row"][idx] >= 0) & (seg > 0)):
            k = data["soft_row"][idx[i]]
            soft, share = data["soft"][k], data["soft_share"][k]
            maps[i, 1:] = np.rint((1 - share) * maps[i, 1:] + share * (soft[..., ::-1] if mirrored[i] else soft))
    out = warp.sample(torch.from_numpy(maps).float() / 255.0)
    img, masks = out[:, :1].contiguous(), out[:, 1:]
    u = warp.points(pts)
    for i in np.flatnonzero(np.isin(view, APICAL_VIEWS) & (state[:, 0] == 1)):
        if ((u[i, :3] < 0) | (u[i, :3] > size - 1)).any():
            view[i] = -1  # a ventricle cut in part: no telling from when on it is no view any more

    for i in np.flatnonzero((rng.random(n) < veil) & (seg > 0) & ~transpose):
        img[i, 0] = aug.veil(rng, img[i, 0], masks[i])
        view[i] = -1  # without the right heart A4C and A2C can hardly be told apart
    for i in np.flatnonzero((rng.random(n) < fade) & (seg > 0) & ~transpose):
        img[i, 0] = aug.fade(rng, img[i, 0], masks[i, 0])

    change = torch.from_numpy(np.where(mild, 0.35, 1.0).astype(np.float32)).view(-1, 1, 1, 1)
    img = img + change * (aug.photometric(rng, img.clone(), strength) - img)

    # a new sector: narrower, wider, tip outside the picture
    for i in range(n):
        if mild[i] or (not transpose[i] and rng.random() > 0.3):
            continue
        known = state[i] == 1
        target = u[i, known].mean(0) if known.any() else np.full(2, size / 2.0)
        low = 0.16 if not transpose[i] else target[1] / size - 0.15
        tip = np.array([target[0] + rng.normal(0, 0.08) * size, rng.uniform(-0.4, low) * size])
        reach = np.hypot(*(target - tip))
        a, b = rng.uniform(0.5, 0.9, 2)
        fan = aug.sector_mask(rng, size, tip, a, b, reach * rng.uniform(0, 0.25), max(reach * rng.uniform(1.5, 2.4), 0.3 * size))
        lv = masks[i, 0].numpy() > 0.5
        if seg[i] and lv.any() and (fan[lv] < 0.5).mean() > 0.08:
            continue
        if known.any():
            p = np.clip(np.rint(u[i, known]), 0, size - 1).astype(int)
            if (fan[p[:, 1], p[:, 0]] < 0.5).any():
                if not transpose[i]:
                    continue
        img[i, 0] *= torch.from_numpy(fan)

    for i in np.flatnonzero(rng.random(n) < np.array([o.get("blur", 0.0) for o in opts])):
        img[i] = blurred(rng, img[i])

    frames = (img * 255).round().clamp(0, 255)
    for i in np.flatnonzero(rng.random(n) < np.where(mild, 0.1, 0.5 * strength)):
        frames[i, 0] = torch.from_numpy(aug.graphics(rng, frames[i, 0].numpy().astype(np.uint8))).float()

    # targets
    mask = torch.nn.functional.avg_pool2d(masks, 2)
    known = torch.zeros_like(mask)
    known[torch.from_numpy(seg == SEG_FULL)] = 1.0
    cavity = torch.from_numpy(seg == SEG_CAVITY)
    known[cavity, 0] = 1.0
    known[cavity, 1:] = (mask[cavity, :1] > 0.9).float()  # cavity is neither wall nor atrium
    cell = (u + 0.5) / 4.0 - 0.5
    q = size // 4
    outside = (cell < 0).any(2) | (cell > q - 1).any(2)
    state[(state == 1) & outside] = -1
    near = (u > -0.02 * size).all(2) & (u < 1.02 * size).all(2)
    state[outside & near & (state == -1) & (data["state"][idx] == 1)] = 0  # just at the rim: say nothing
    g = np.arange(q, dtype=np.float32)
    gx = np.exp(-((g[None, None] - cell[..., :1]) ** 2) / (2 * SIGMA ** 2))
    gy = np.exp(-((g[None, None] - cell[..., 1:]) ** 2) / (2 * SIGMA ** 2))
    heat = (gy[..., :, None] * gx[..., None, :]).astype(np.float32) * (state == 1)[..., None, None]
    return {"frames": frames, "mask": mask, "mask_known": known, "heat": torch.from_numpy(heat),
            "heat_known": torch.from_numpy(state.astype(np.float32)), "cell": torch.from_numpy(cell.astype(np.float32)),
            "view": torch.from_numpy(view.astype(np.int64)), "weight": torch.from_numpy(weight)}


def add_filled(data, index):
    """Adds data['filled']: sector pictures with their outside filled by mirroring (rows of index only)."""
    filled = data["image"].copy()
    for i in index:
        rows = np.flatnonzero(data["image"][i].max(1) > 0)
        h = int(2 * max(CACHE / 2 - rows[0], rows[-1] + 1 - CACHE / 2)) if len(rows) else CACHE
        filled[i] = geo.mirror_sector(data["image"][i], CACHE, h)
    data["filled"] = filled


assert len(CLASSES) == 3 and len(KEYPOINTS) == NK

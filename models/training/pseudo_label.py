#!/usr/bin/env python3
"""Labels the cavity on the example loops' apical frames with a trained network, for a further round of training.

Each frame is seen at several scales and turns, the probabilities are averaged, and over time with the two neighbours.
Frames whose outline is not plausible (not solid, touching too much of the rim, far from the loop's median area) are
left out. Writes a cache that --extra of train.py adds, and a contact sheet, which must be looked at.
"""

import argparse
import csv
import os

import numpy as np
import torch
from PIL import Image
from scipy import ndimage, spatial

from echotrain import augment, geometry as geo, report, sources
from echotrain.net import VIEWS, Net
from torch.nn import functional as F


def looks(rng):
    """Turn (radians), scale, shift (share of the side), gain exponent of one look."""
    return rng.normal(0, 0.07), np.exp(rng.normal(-0.1, 0.12)), rng.normal(0, 0.02, 2), np.exp(rng.normal(0, 0.2))


def probabilities(net, image, rng, n, size=224):
    """Mean cavity probability [CACHE,CACHE] over n looks at a cached square."""
    side = sources.CACHE
    x = torch.from_numpy(image).float()[None, None] / 255
    total = np.zeros((side, side))
    weight = np.zeros((side, side))
    for _ in range(n):
        turn, scale, shift, gamma = looks(rng)
        m = augment.rotation(np.array([turn])) * (side / size / scale)
        zero = torch.zeros(1, 2, size, size)
        mid = np.full((1, 2), (side - 1) / 2.0)
        w = augment.Warp(m, mid, np.full((1, 2), (size - 1) / 2.0) + shift * size, size, side, zero)
        frame = (w.sample(x) ** float(gamma) * 255).round()
        with torch.no_grad():
            p = F.interpolate(torch.sigmoid(net(frame)[0][:, :1]), size=(size, size), mode="bilinear", align_corners=False)
        g = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(1, -1, 2).astype(float)
        u = w.points(g)[0].reshape(side, side, 2)
        total += ndimage.map_coordinates(p[0, 0].numpy(), [u[..., 1], u[..., 0]], order=1)
        weight += (u > 0).all(2) & (u < size - 1).all(2)
    return total / np.maximum(weight, 1)


def plausible(mask):
    if mask.sum() < 300:
        return False
    hull = spatial.ConvexHull(np.argwhere(mask))
    return mask.sum() / hull.volume > 0.86  # volume of a 2D hull is its area


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--checkpoint", required=True)
    ap.add_argument("--loops", default=os.environ.get("ECHO_LOOPS"))
    ap.add_argument("--looks", type=int, default=6)
    ap.add_argument("--skip", default="", help="loops (comma separated, e.g. I_000010) to leave out after looking")
    ap.add_argument("--out", required=True, help="npz; the contact sheet goes beside it")
    args = ap.parse_args()
    torch.set_num_threads(1)
    saved = torch.load(args.checkpoint, map_location="cpu")
    net = Net(**saved["config"]["net"])
    net.load_state_dict(saved["average"])
    net.eval()
    rng = np.random.default_rng(0)
    table = os.path.join(os.path.dirname(os.path.abspath(__file__)), "loops.csv")
    out, tiles = [], []
    for row in csv.DictReader(l for l in open(table) if not l.startswith("#")):
        if row["view"] not in ("A4C", "A2C", "A3C") or row["file"][:8] in args.skip.split(","):
            continue
        frames, crop, aspect = sources.dicom_frames(os.path.join(args.loops, row["file"]))
        pick = list(range(0, len(frames), max(1, len(frames) // 12)))
        boxed = [geo.letterbox(frames[i], sources.CACHE, crop, aspect)[0] for i in pick]
        p = np.stack([probabilities(net, b, rng, args.looks) for b in boxed])
        p = ndimage.convolve1d(p, [0.2, 0.6, 0.2], axis=0, mode="nearest")
        masks = [geo.largest(ndimage.binary_opening(q > 0.5, iterations=5)) for q in p]
        middle = np.median([m.sum() for m in masks])
        for i, b, m in zip(pick, boxed, masks):
            ok = plausible(m) and 0.5 < m.sum() / middle < 1.7
            if ok:
                s = sources.Sample("loop-cavity", row["file"], str(i), b, m.astype(np.uint8), sources.SEG_CAVITY, view=VIEWS.index(row["view"]))
                sources._absent(s.state, row["view"])
                out.append(s)
            if i in (pick[0], pick[len(pick) // 3], pick[2 * len(pick) // 3]):
                rgb = np.stack([(255 * (b / 255.0) ** 0.7).astype(np.uint8)] * 3, -1)
                rgb[report.outline(m)] = (255, 70, 60) if ok else (120, 120, 255)
                tiles.append(Image.fromarray(rgb[40:280]))
    if not out:
        raise SystemExit(f"{args.checkpoint}: not one plausible outline on the loops; was it trained long enough?")
    sources.save(args.out, out)
    report.sheet(os.path.splitext(args.out)[0] + ".png", tiles, 9)
    print(len(out), "frames")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Labels the cavity on the example loops' apical frames, and on A2C pictures known by their view alone, with a trained network,
for a further round of training.

Each frame is seen at several scales and turns, the probabilities are averaged, and over time with the two neighbours.
Frames whose outline is not plausible (not solid, touching too much of the rim, far from the loop's median area) are
left out. Writes a cache that --extra of train.py adds, and a contact sheet, which must be looked at.
"""

import argparse
import csv
import os

import numpy as np
import torch
from torch import nn
from PIL import Image
from scipy import ndimage, spatial

from echotrain import geometry as geo, report, sample, sources
from echotrain.kinds import Array, Rng
from echotrain.looks import probabilities
from echotrain.names import VIEWS
from echotrain.net import Net


def plausible(mask: Array) -> bool:
    if mask.sum() < 300:
        return False
    hull = spatial.ConvexHull(np.argwhere(mask))
    return mask.sum() / hull.volume > 0.86  # volume of a 2D hull is its area


def cine(net: nn.Module, rng: Rng, row: dict[str, str], args: argparse.Namespace) -> tuple[list[sample.Sample], list[Image.Image]]:
    """Samples and tiles of one apical loop: the mean of several looks, smoothed over three frames of the choice."""
    frames, crop, aspect = sources.dicom_frames(os.path.join(args.loops, row["file"]))
    pick = list(range(0, len(frames), max(1, len(frames) // 12)))
    boxed = [geo.letterbox(frames[i], sample.CACHE, crop, aspect)[0] for i in pick]
    p = np.concatenate([probabilities([net], np.stack(boxed[i:i + 4]), rng, args.looks)[:, 0] for i in range(0, len(boxed), 4)])
    p = ndimage.convolve1d(p, [0.2, 0.6, 0.2], axis=0, mode="nearest")
    masks = [geo.largest(ndimage.binary_opening(q > 0.5, iterations=5)) for q in p]
    middle = np.median([m.sum() for m in masks])
    out, tiles = [], []
    for i, b, m in zip(pick, boxed, masks):
        ok = plausible(m) and 0.5 < m.sum() / middle < 1.7
        if ok:
            out.append(outlined("loop-cavity", row["file"], str(i), b, m, VIEWS.index(row["view"])))
        if i in (pick[0], pick[len(pick) // 3], pick[2 * len(pick) // 3]):
            tiles.append(tile(b, m, ok))
    return out, tiles


def pictures(net: nn.Module, rng: Rng, cache: str, args: argparse.Namespace) -> tuple[list[sample.Sample], list[Image.Image]]:
    """Samples and tiles of the cache's pictures that are known by their view alone."""
    z = sample.load(cache)
    index = np.flatnonzero(z["source"] == "a2c-view")
    out, tiles = [], []
    for i in range(0, len(index), 4):
        part = index[i:i + 4]
        for k, q in zip(part, probabilities([net], z["image"][part], rng, args.looks)[:, 0]):
            m = geo.largest(ndimage.binary_opening(q > 0.5, iterations=5))
            ok = plausible(m) and str(z["subject"][k]) not in args.skip.split(",")
            if ok:
                out.append(outlined("a2c-view-cavity", str(z["subject"][k]), "", z["image"][k], m, int(z["view"][k])))
            tiles.append(tile(z["image"][k], m, ok))
    return out, tiles


def outlined(source: str, subject: str, phase: str, image: Array, mask: Array, view: int) -> sample.Sample:
    s = sample.Sample(source, subject, phase, image, mask.astype(np.uint8), sample.SEG_CAVITY, view=view)
    sample.absent(s.state, VIEWS[view])
    return s


def tile(image: Array, mask: Array, ok: bool) -> Image.Image:
    rgb = np.stack([(255 * (image / 255.0) ** 0.7).astype(np.uint8)] * 3, -1)
    rgb[report.outline(mask)] = (255, 70, 60) if ok else (120, 120, 255)
    return Image.fromarray(rgb[40:280])


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--checkpoint", required=True)
    ap.add_argument("--loops", default=os.environ.get("ECHO_LOOPS"))
    ap.add_argument("--cache", help="outline this cache's A2C pictures without masks as well")
    ap.add_argument("--looks", type=int, default=6)
    ap.add_argument("--skip", default="", help="loops and subjects (comma separated, e.g. I_000010) to leave out after looking")
    ap.add_argument("--out", required=True, help="npz; the contact sheet goes beside it")
    args = ap.parse_args()
    torch.set_num_threads(1)
    saved = torch.load(args.checkpoint, map_location="cpu")
    net = Net(**saved["config"]["net"])
    net.load_start(saved["average"])
    net.eval()
    rng = np.random.default_rng(0)
    table = os.path.join(os.path.dirname(os.path.abspath(__file__)), "loops.csv")
    out: list[sample.Sample] = []
    tiles: list[Image.Image] = []
    for row in csv.DictReader(l for l in open(table) if not l.startswith("#")):
        if row["view"] in ("A4C", "A2C", "A3C") and row["file"][:8] not in args.skip.split(","):
            samples, shown = cine(net, rng, row, args)
            out, tiles = out + samples, tiles + shown
    if args.cache:
        samples, shown = pictures(net, rng, args.cache, args)
        out, tiles = out + samples, tiles + shown
    if not out:
        raise SystemExit(f"{args.checkpoint}: not one plausible outline on the loops; was it trained long enough?")
    sample.save(args.out, out)
    report.sheet(os.path.splitext(args.out)[0] + ".png", tiles, 9)
    print(len(out), "frames")


if __name__ == "__main__":
    main()

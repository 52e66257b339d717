#!/usr/bin/env python3
"""What networks that never saw a patient make of the patient's frames: soft masks for a further round of training.

Networks come from train_together.py. Each frame with a mask is looked at several times (turned, scaled, moved, brightened) by those
networks that left its patient out, held-out patients by all, and the probabilities are averaged. A border that the experts drew
one way in one patient and another way in the next becomes what they draw on average. Frames on which the networks
disagree with the expert as a whole (cavity Dice below 0.85) keep the expert's mask alone.

The apical frames of the example loops, which have no mask, get one if it is plausible: a cache for --extra. The picture beside
it must be looked at.
"""

import argparse
import json
import os
import sys
import tomllib

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from echotrain import augment, dataset, evaluation as ev, geometry as geo, report, sources
from echotrain.net import VIEWS, Net
from pseudo_label import looks, plausible

SHARE = 0.5  # of the soft mask in the target
AGREE = 0.85  # cavity Dice with the expert below which the soft mask is not used


def affine(turn, scale, shift, side, size):
    """grid_sample's theta of one look and of its inverse, [2,3] each, for squares of side and size pixels."""
    a = augment.rotation(np.array([turn]))[0] / scale  # output offset -> source offset, in half sides
    there = np.concatenate([a, (-a @ (2 * shift))[:, None]], 1)
    back = np.concatenate([np.linalg.inv(a), (2 * shift)[:, None]], 1)
    return there, back


def probabilities(nets, images, rng, n, size, device):
    """Mean probabilities uint8 [m,3,CACHE,CACHE] of nets over n looks at cached squares uint8 [m,CACHE,CACHE]."""
    side, m = sources.CACHE, len(images)
    x = torch.from_numpy(images).to(device)[:, None].float() / 255
    total = torch.zeros(m, 3, side, side, device=device)
    weight = torch.zeros(1, 1, side, side, device=device)
    for _ in range(n):
        turn, scale, shift, gamma = looks(rng)
        there, back = affine(turn, scale, shift, side, size)
        grid = lambda theta, s: F.affine_grid(torch.from_numpy(theta).float().to(device)[None].expand(m, 2, 3), (m, 1, s, s), align_corners=False)
        frame = (F.grid_sample(x, grid(there, size), align_corners=False) ** float(gamma) * 255).round()
        p = sum(torch.sigmoid(net(frame)[0].float()) for net in nets) / len(nets)
        p = F.interpolate(p, size=(size, size), mode="bilinear", align_corners=False)
        g = grid(back, side)
        total += F.grid_sample(p, g, align_corners=False)
        weight += (g[:1].abs() < 1).all(-1)[:, None].float()
    return (total / weight.clamp(min=1) * 255).round().to(torch.uint8).cpu().numpy()


def load(run, names, device):
    nets = {}
    for name in names:
        saved = torch.load(os.path.join(run, name, "last.pt"), map_location=device)
        net = Net(**saved["config"]["net"]).to(device=device, memory_format=torch.channels_last)
        net.load_state_dict(saved["average"])
        nets[name] = net.eval()
    return nets


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--config", required=True, help="configuration of the networks")
    ap.add_argument("--run", required=True, help="their run folder")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--looks", type=int, default=8)
    ap.add_argument("--skip", default="", help="loops (comma separated, e.g. I_000010) to leave out after looking")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--out", required=True, help="npz with the soft masks; the loops' cache is written beside it as loop-cavity.npz")
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    device, size = torch.device(args.device), cfg["export"]["size"]
    data = dataset.prepare(cfg, None, None, args.cache, print)
    group = dataset.groups(data, cfg)
    nets = load(args.run, [n["name"] for n in cfg["networks"]], device)
    rng = np.random.default_rng(0)

    index, soft, share, scores = [], [], [], {}
    with torch.no_grad():
        for g in sorted(set(group[np.isin(data["source"], dataset.PATIENTS)])):
            of = np.flatnonzero((group == g) & np.isin(data["source"], dataset.PATIENTS))
            chosen = [nets[n["name"]] for n in cfg["networks"] if g == dataset.HELD or g in n["leave_out"]]
            for k in range(0, len(of), 16):
                part = of[k:k + 16]
                p = probabilities(chosen, data["image"][part], rng, args.looks, size, device)
                for i, q in zip(part, p):
                    d = ev.dice(geo.largest(q[0] > 127), data["label"][i] == geo.LV)
                    scores.setdefault((("held out by all " if g == dataset.HELD else "") + data["source"][i], data["phase"][i]), []).append(d)
                    index.append(i)
                    soft.append(q)
                    share.append(SHARE if d >= AGREE else 0.0)
    for (source, phase), v in sorted(scores.items()):
        print(f"not seen: {source} {phase}: cavity Dice {np.mean(v):.4f} median {np.median(v):.4f} n {len(v)}, below {AGREE}: {np.sum(np.array(v) < AGREE)}", flush=True)
    np.savez(args.out, index=np.array(index), soft=np.array(soft), share=np.array(share, np.float32), subject=data["subject"][index])
    with open(os.path.splitext(args.out)[0] + ".json", "w") as f:
        json.dump({f"{s} {p}": v for (s, p), v in scores.items()}, f)
    loops(args, data, list(nets.values()), rng, size, device)


def loops(args, data, nets, rng, size, device):
    """Writes the cache of the loops' apical frames with plausible outlines, and the picture."""
    out, tiles = [], []
    apical = [VIEWS.index(v) for v in ("A4C", "A2C", "A3C")]
    pick = (data["source"] == "loops") & np.isin(data["view"], apical)
    for name in sorted(set(data["subject"][pick])):
        of = np.flatnonzero(pick & (data["subject"] == name))
        with torch.no_grad():
            p = probabilities(nets, data["image"][of], rng, args.looks, size, device)[:, 0]
        masks = [geo.largest(q > 127) for q in p]
        middle = max(1.0, np.median([m.sum() for m in masks]))
        for k, (i, m) in enumerate(zip(of, masks)):
            ok = plausible(m) and 0.5 < m.sum() / middle < 1.7 and str(name)[:8] not in args.skip.split(",")
            if ok:
                s = sources.Sample("loop-cavity", str(name), str(i), data["image"][i], m.astype(np.uint8), sources.SEG_CAVITY, view=int(data["view"][i]))
                sources._absent(s.state, VIEWS[s.view])
                out.append(s)
            if k in (0, len(of) // 3, 2 * len(of) // 3):
                rgb = np.stack([(255 * (data["image"][i] / 255.0) ** 0.7).astype(np.uint8)] * 3, -1)
                rgb[report.outline(m)] = (255, 70, 60) if ok else (120, 120, 255)
                tiles.append(Image.fromarray(rgb[40:280]))
    folder = os.path.dirname(os.path.abspath(args.out))
    report.sheet(os.path.join(folder, "loop-cavity.png"), tiles, 9)
    print(len(out), "frames of loops", flush=True)
    if out:
        sources.save(os.path.join(folder, "loop-cavity.npz"), out)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What networks that never saw a patient make of the patient's frames: soft masks for a further round of training.

Networks come from train_together.py. Each frame with a mask is looked at several times (turned, scaled, moved, brightened) by those
networks that left its patient out, held-out patients by all, and the probabilities are averaged. A border that the experts drew
one way in one patient and another way in the next becomes what they draw on average. Frames on which the networks
disagree with the expert as a whole (cavity Dice below 0.85) keep the expert's mask alone.
"""

import argparse
import os
import tomllib

import numpy as np
import torch

from echotrain import dataset, evaluation as ev, geometry as geo
from echotrain.looks import probabilities
from echotrain.net import Net

SHARE = 0.5  # of the soft mask in the target
AGREE = 0.85  # cavity Dice with the expert below which the soft mask is not used


def load(run: str, names: list[str], device: torch.device) -> dict[str, Net]:
    nets = {}
    for name in names:
        saved = torch.load(os.path.join(run, name, "last.pt"), map_location=device)
        net = Net(**saved["config"]["net"]).to(device=device, memory_format=torch.channels_last)
        net.load_start(saved["average"])
        nets[name] = net.eval()
    return nets


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--config", required=True, help="configuration of the networks")
    ap.add_argument("--run", required=True, help="their run folder")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--looks", type=int, default=8)
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--out", required=True, help="npz with the soft masks")
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    device, size = torch.device(args.device), cfg["export"]["size"]
    data = dataset.prepare(cfg, None, None, args.cache, print)
    group = dataset.groups(data, cfg)
    nets = load(args.run, [n["name"] for n in cfg["networks"]], device)
    rng = np.random.default_rng(0)

    index, soft, share = [], [], []
    scores: dict[tuple[str, str], list[float]] = {}
    patients = np.isin(data["source"], dataset.PATIENTS)
    for g in sorted(set(group[patients])):
        of = np.flatnonzero((group == g) & patients)
        chosen = [nets[n["name"]] for n in cfg["networks"] if g == dataset.HELD or g in n["leave_out"]]
        for k in range(0, len(of), 16):
            part = of[k:k + 16]
            for i, q in zip(part, probabilities(chosen, data["image"][part], rng, args.looks, size, device)):
                d = ev.dice(geo.largest(q[0] > 0.5), data["label"][i] == geo.LV)
                scores.setdefault((("held out by all " if g == dataset.HELD else "") + data["source"][i], data["phase"][i]), []).append(d)
                index.append(i)
                soft.append(np.rint(q * 255).astype(np.uint8))
                share.append(SHARE if d >= AGREE else 0.0)
    for (source, phase), v in sorted(scores.items()):
        print(f"not seen: {source} {phase}: cavity Dice {np.mean(v):.4f} median {np.median(v):.4f} n {len(v)}, below {AGREE}: {np.sum(np.array(v) < AGREE)}", flush=True)
    np.savez(args.out, index=np.array(index), soft=np.array(soft), share=np.array(share, np.float32), subject=data["subject"][index])


if __name__ == "__main__":
    main()

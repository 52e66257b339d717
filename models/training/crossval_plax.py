#!/usr/bin/env python3
"""Cross-validates the few-shot PLAX fit: in each fold the expert frames of the fold are left out of a short fine-tuning run
from a checkpoint that has seen none of them, and measured afterwards. Prints the error per frame and writes JSON."""

import argparse
import copy
import json
import os
import tomllib

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see train.py

import numpy as np
import torch

from echotrain import batches, dataset, infer, loss, sources
from echotrain.evaluation import to_network
from echotrain.net import Deployed, Net
from echotrain.schedule import param_groups


def measure(net, data, index, size):
    """Per frame: errors of the four points in px at 256 and the LVID error in per cent."""
    out = []
    net.eval()
    with torch.no_grad():
        heat = Deployed(net)(to_network(data["image"][index], size))[1].numpy()
    for h, i in zip(heat, index):
        pts = np.array([infer.decode_point(m) for m in h[3:]])
        got = (pts[:, :2] + 0.5) * sources.CACHE / size - 0.5
        want = data["points"][i, 3:]
        lvid = lambda p: np.hypot(*(p[1] - p[2]))
        out.append({"file": str(data["subject"][i]), "px256": (np.hypot(*(got - want).T) * 256 / sources.CACHE).tolist(),
                    "lvid_percent": float(100 * abs(lvid(got) - lvid(want)) / lvid(want)), "confidence": pts[:, 2].tolist()})
    return out


def summary(name, rows):
    px, lv = np.array([r["px256"] for r in rows]), np.array([r["lvid_percent"] for r in rows])
    print(f"{name}: px at 256 median {np.median(px):.1f} mean {px.mean():.1f} worst {px.max():.1f}; "
          f"per point median {np.round(np.median(px, 0), 1).tolist()}; LVID median {np.median(lv):.1f} % mean {lv.mean():.1f} %", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--config", required=True, help="configuration of the fine-tuning run (its parts and rates are used)")
    ap.add_argument("--start", required=True, help="checkpoint that has not seen the expert frames")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--folds", type=int, default=3)
    ap.add_argument("--steps", type=int, default=80)
    ap.add_argument("--size", type=int, default=192)
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = dataset.prepare(cfg, None, None, args.cache, print)
    expert = np.flatnonzero(data["source"] == "plax-restored")
    size = cfg["export"]["size"]
    start = torch.load(args.start, map_location="cpu")["average"]
    net = Net(**cfg["net"])
    net.load_start(start)
    before = measure(net, data, expert, size)
    summary("before", before)
    result = {"before": before, "folds": []}
    for k in range(args.folds):
        out = expert[k::args.folds]
        torch.manual_seed(k)
        net = Net(**cfg["net"]).to(memory_format=torch.channels_last)
        net.load_start(start)
        data["held"][expert] = False
        data["held"][out] = True
        parts = dataset.parts(data, cfg)
        parts = [(n, 4 if n == "plax" else max(1, c // 3), i, o) for n, c, i, o in parts]
        feed = iter(batches.Batches(data, parts, args.size, seed=100 + k))
        t = cfg["train"]
        opt = torch.optim.AdamW(param_groups(net, t["lr"], t["encoder_lr"], t["weight_decay"]), lr=t["lr"])
        average = copy.deepcopy(net)
        net.train()
        for step in range(args.steps):
            for g in opt.param_groups:
                g["lr"] = g["base"] * min(1, (step + 1) / 10) * 0.5 * (1 + np.cos(np.pi * step / args.steps))
            b = next(feed)
            value, _ = loss.total(net(b["frames"].contiguous(memory_format=torch.channels_last)), b, loss.weights(t))
            opt.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 3.0)
            opt.step()
            with torch.no_grad():
                for a, p in zip(average.state_dict().values(), net.state_dict().values()):
                    a.lerp_(p, 0.05) if a.dtype.is_floating_point else a.copy_(p)
        rows = measure(average, data, out, size)
        summary(f"fold {k}", rows)
        result["folds"] += rows
    summary("cross-validated", result["folds"])
    json.dump(result, open(args.out, "w"), indent=1)


if __name__ == "__main__":
    main()

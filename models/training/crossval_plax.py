#!/usr/bin/env python3
"""Cross-validates the PLAX points on the expert frames, by one look and by closer ones (echotrain/plax.py).

In each fold the expert frames of the fold are left out of a short fine-tuning run from the checkpoint, and measured afterwards.
Prints the error per frame, and of those whose spread lets them be measured, and writes JSON.
"""

import argparse
import json
import os
import tomllib
from collections.abc import Iterable
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see train.py

import numpy as np
import torch
from torch import nn

from echotrain import batches, dataset, learn, plax, sources
from echotrain.kinds import Array, Config, Data, Part
from echotrain.net import Net

Frame = tuple[str, Array, Array]  # name, gray, the four expert points
Row = dict[str, Any]


def heat_of(net: nn.Module) -> plax.Heat:
    """The network's heatmaps of the four points as plax.find wants them."""
    def heat(frames: Array) -> Array:
        with torch.no_grad():
            return torch.sigmoid(net(torch.from_numpy(frames)[:, None].float())[1][:, 3:]).numpy()
    return heat


def measure(net: nn.Module, frames: Iterable[Frame], size: int, rounds: int) -> list[Row]:
    """Per frame: errors of the four points in px at 256, the LVID error in per cent (signed), confidences, spread."""
    net.eval()
    out = []
    for name, gray, want in frames:
        found = plax.find(heat_of(net), gray, size, rounds=rounds)
        out.append({"file": name, "px256": (np.hypot(*(found.points - want).T) * 256 / max(gray.shape)).tolist(),
                    "lvid_percent": 100 * (plax.lvid(found.points) / plax.lvid(want) - 1), "confidence": found.confidence.tolist(), "spread": found.spread})
    return out


def summary(name: str, rows: list[Row]) -> None:
    """Prints the errors of rows."""
    if not rows:
        print(f"{name}: no frame", flush=True)
        return
    px, lv = np.array([r["px256"] for r in rows]), np.abs([r["lvid_percent"] for r in rows])
    print(f"{name}, {len(rows)} frames: px at 256 median {np.median(px):.1f} mean {px.mean():.1f} worst {px.max():.1f}; per point median "
          f"{np.round(np.median(px, 0), 1).tolist()}; LVID median {np.median(lv):.1f} % mean {lv.mean():.1f} % worst {lv.max():.1f} %", flush=True)


def tuned(cfg: Config, data: Data, parts: list[Part], start: dict[str, torch.Tensor], steps: int, seed: int) -> nn.Module:
    """The network of a short run on parts from the weights start."""
    t = {**cfg["train"], "steps": steps, "warmup": 10, "ema": 0.95, "log_every": 1 << 30, "balanced_views": False}
    t.pop("minutes", None)
    torch.manual_seed(seed)
    net = Net(**cfg["net"])
    net.load_start(start)
    learner = learn.Learner({**cfg, "train": t}, net, learn.Objective(t))
    learner.net.train()
    learn.run({"tuned": learner}, iter(batches.Batches(data, parts, t["size"], seed=100 + seed)), lambda _: None)
    return learner.average


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--config", required=True, help="configuration of the fine-tuning run (its parts and rates are used)")
    ap.add_argument("--start", required=True, help="checkpoint whose last run left the expert frames out")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--data", default=os.environ.get("ECHO_DATA"))
    ap.add_argument("--folds", type=int, default=9)
    ap.add_argument("--steps", type=int, default=40)
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = dataset.prepare(cfg, None, None, args.cache, print)
    frames, size = list(sources.plax_frames(os.path.join(args.data, "echo-labelled"))), cfg["export"]["size"]
    start = torch.load(args.start, map_location="cpu")["average"]
    net = Net(**cfg["net"])
    net.load_start(start)
    result = {f"before, {r} rounds": measure(net, frames, size, r) for r in (0, plax.ROUNDS)}
    result |= {"one look": [], "closer looks": []}
    for k in range(args.folds):
        left_out = [f for f in frames[k::args.folds]]
        data["held"][data["source"] == "plax-restored"] = False
        data["held"][np.isin(data["subject"], [f[0] for f in left_out])] = True
        parts = [(n, 3 if n.startswith("plax") and "a4c" not in n else min(1, c), i, o) for n, c, i, o in dataset.parts(data, cfg)]
        net = tuned(cfg, data, parts, start, args.steps, k)
        result["one look"] += measure(net, left_out, size, 0)
        result["closer looks"] += measure(net, left_out, size, plax.ROUNDS)
        print(json.dumps(result["closer looks"][-1]), flush=True)
    for name, rows in result.items():
        summary(name, rows)
        if rows[0]["spread"] or "closer" in name:
            summary(f"{name}, spread under {plax.MAX_SPREAD}", [r for r in rows if r["spread"] < plax.MAX_SPREAD])
    json.dump(result, open(args.out, "w"), indent=1)


if __name__ == "__main__":
    main()

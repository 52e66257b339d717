#!/usr/bin/env python3
"""One table at equal budget: an encoder that learns outlines only, points only, or both.

Three networks of the shipped design start from the same ImageNet weights and learn from the same batches for the same number of
steps; they differ in the losses that count. Measured on the held-out fold. A stopped run continues (--out). Small budgets say
what the tasks give each other early, not where long trainings end.
"""

import argparse
import os
import tomllib

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see train.py

import numpy as np
import torch

from echotrain import batches, dataset, evaluation as ev, geometry as geo, learn, native
from echotrain.infer import decode_point
from echotrain.kinds import Array, Config, Data
from echotrain.names import CLASSES, KEYPOINTS
from echotrain.net import Net
from echotrain.sample import APICAL, CACHE, SEG_FULL
from train import make_log

NONE = {"seg_weight": 0.0, "area_weight": 0.0, "heat_weight": 0.0, "view_weight": 0.0, "quality_weight": 0.0}
TASKS = {"outlines only": {**NONE, "seg_weight": 1.0, "area_weight": 0.3},
         "points only": {**NONE, "heat_weight": 0.3},
         "both": {**NONE, "seg_weight": 1.0, "area_weight": 0.3, "heat_weight": 0.3}}
MILD = {"mild": True, "zoom": 1.08, "vary": 1.5}
PARTS: list[Config] = [{"name": "a4c", "sources": ["a4c"], "count": 12, "options": MILD}, {"name": "a2c", "sources": ["a2c-restored", "a2c-2"], "count": 4, "options": MILD}]


def learner(cfg: Config, name: str, out: str, imagenet: str) -> learn.Learner:
    """The network of one of TASKS, from the ImageNet weights or where it stopped."""
    torch.manual_seed(cfg["train"]["seed"])
    net = Net(**cfg["net"])
    net.encoder.load_imagenet(imagenet)
    native.use(net, out)
    got = learn.Learner(cfg, net, learn.Objective({**cfg["train"], **TASKS[name]}), path=os.path.join(out, name.replace(" ", "-") + ".pt"))
    got.net.train()
    return got


def measure(net: Net, data: Data, index: Array, size: int) -> dict[str, list[float]]:
    """Dice per structure, view and phase, and errors of the apical points in mm, of the frames index."""
    got: dict[str, list[float]] = {}
    add = lambda key, v: got.setdefault(key, []).append(float(v))
    net.eval()
    for i in index:
        with torch.no_grad():
            mask, heat = net(ev.to_network(data["image"][[i]], size))[:2]
        view = "A4C" if data["source"][i] == "a4c" else "A2C"
        for c in range(len(CLASSES) if data["seg"][i] == SEG_FULL else 1):
            p = ev.probability(mask[:, c:c + 1], CACHE)[0, 0].numpy()
            if (truth := data["label"][i] == c + 1).any():
                add(f"{view} {data['phase'][i]} {CLASSES[c]} Dice", ev.dice(geo.largest(p > 0.5), truth))
        points = np.array([decode_point(h)[:2] for h in torch.sigmoid(heat)[0, APICAL].numpy()])
        off = np.hypot(*((points + 0.5) * CACHE / size - 0.5 - data["points"][i, APICAL]).T) * data["mm"][i] / data["scale"][i]
        for k, name in enumerate(KEYPOINTS[APICAL]):
            if data["state"][i, k] == 1:
                add(f"{view} {name} mm", off[k])
    return got


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """Means of results (by network, then quantity) as Markdown; what a network did not learn is left out."""
    rows = ["| | n | " + " | ".join(results) + " |", "| --- " * (len(results) + 2) + "|"]
    for key in sorted(next(iter(results.values())), key=lambda k: (k.endswith("mm"), k)):
        blind = "heat_weight" if key.endswith("mm") else "seg_weight"
        cells = [f"{np.mean(r[key]):.3f}" if blind == "seg_weight" else f"{np.mean(r[key]):.2f}" for r in results.values()]
        cells = [c if TASKS[name][blind] else "-" for c, name in zip(cells, results)]
        rows.append(f"| {key} | {len(next(iter(results.values()))[key])} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--config", required=True, help="configuration that names the fold")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--imagenet", default="$ECHO_IMAGENET/efficientnet-lite0-57934424.pth")
    ap.add_argument("--steps", type=int, default=600)
    ap.add_argument("--size", type=int, default=160)
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)
    log = make_log(args.out)
    cfg = tomllib.load(open(args.config, "rb")) | {"parts": PARTS, "net": {"variant": "lite0"}}
    cfg["train"] = {"steps": args.steps, "warmup": max(1, args.steps // 20), "lr": 2e-3, "encoder_lr": 8e-4, "weight_decay": 2e-2, "ema": 0.99, "seed": 1,
                    "log_every": 50, "save_every": 50}
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = dataset.prepare(cfg, None, None, args.cache, log)
    learners = {name: learner(cfg, name, args.out, os.path.expandvars(args.imagenet)) for name in TASKS}
    done = min(l.step for l in learners.values())
    learn.run(learners, iter(batches.Batches(data, dataset.parts(data, cfg), args.size, seed=1000003 + done)), log)
    held = dataset.held_out(data, cfg)
    log(f"{args.steps} steps of {sum(p['count'] for p in PARTS)} frames at {args.size} x {args.size}, held-out fold\n"
        + table({name: measure(l.average, data, held, args.size) for name, l in learners.items()}))


if __name__ == "__main__":
    main()

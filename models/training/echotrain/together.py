"""Several networks trained at once on one stream of augmented frames, each leaving out patients of its own.

Augmenting costs more than a GPU's step, so the networks share it: every network takes the rows of a batch that it may see.
"""

import os

import numpy as np
import torch

from . import batches, dataset, learn
from .evaluation import quick_dice
from .kinds import Array, Config, Data, Log
from .net import Net


def learner(cfg: Config, name: str, rows: Array, folder: str, device: torch.device) -> learn.Learner:
    """The network called name, which sees rows of each batch; continues from folder/last.pt if it is there."""
    t = cfg["train"]
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(t["seed"] + sum(name.encode()))
    net = Net(**cfg["net"])
    if t.get("imagenet"):
        net.encoder.load_imagenet(os.path.expandvars(t["imagenet"]))
    return learn.Learner(cfg, net, learn.Objective(t), path=os.path.join(folder, "last.pt"), rows=rows, device=device)


def train(cfg: Config, data: Data, out: str, log: Log, device: torch.device, workers: int, minutes: float | None = None) -> dict[str, learn.Learner]:
    """Trains cfg's networks for steps, or for minutes if they are over earlier, and returns them by name.

    Checkpoints go to out/<name>/last.pt. minutes overrides the configuration's.
    """
    t = cfg["train"]
    if minutes:
        t["minutes"] = minutes
    group = dataset.groups(data, cfg)
    parts, owner = dataset.shares(data, cfg, group)
    learners = {}
    for n in cfg["networks"]:
        rows = np.flatnonzero(~np.isin(owner, n["leave_out"]))
        learners[n["name"]] = learner(cfg, n["name"], rows, os.path.join(out, n["name"]), device)
        log(f"{n['name']}: {len(rows)} of {len(owner)} rows of a batch, leaves out {n['leave_out']}")
    step = min(l.step for l in learners.values())
    feed = iter(torch.utils.data.DataLoader(
        batches.Batches(data, parts, t["size"], seed=t["seed"] * 1000003 + step, strength=t.get("strength", 1.0)),
        batch_size=None, num_workers=workers, pin_memory=device.type == "cuda", **({"prefetch_factor": 4} if workers else {})))
    for l in learners.values():
        l.net.train()
    if device.type == "cuda":  # it chooses its algorithms before the clock starts
        b = {k: v.to(device) for k, v in next(feed).items()}
        for l in learners.values():
            l.value(b)[0].backward()
    held = dataset.held_out(data, cfg)
    check = (lambda l: "held out: " + quick_dice(l.average, data, held, cfg["export"]["size"])) if len(held) else None
    learn.run(learners, feed, log, check=check)
    return learners

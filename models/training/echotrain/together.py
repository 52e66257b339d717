"""Several networks trained at once on one stream of augmented frames, each leaving out patients of its own.

Augmenting costs more than a GPU's step, so the networks share it: every network takes the rows of a batch that it may see.
"""

import copy
import os
import time

import numpy as np
import torch

from . import batches, dataset, loss
from .evaluation import quick_dice
from .net import Net
from .schedule import param_groups, rate


class Learner:
    """One network with its optimizer and the exponential average of its weights."""

    def __init__(self, cfg, name, rows, folder, device, log):
        t = cfg["train"]
        self.name, self.folder, self.device, self.t, self.cfg = name, folder, device, t, cfg
        self.rows = torch.from_numpy(rows).to(device)
        torch.manual_seed(t["seed"] + sum(name.encode()))
        net = Net(**cfg["net"])
        if t.get("imagenet"):
            net.encoder.load_imagenet(os.path.expandvars(t["imagenet"]))
        self.net = net.to(device=device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net)
        fused = {"fused": True} if device.type == "cuda" else {}
        self.opt = torch.optim.AdamW(param_groups(self.net, t["lr"], t["encoder_lr"], t["weight_decay"]), lr=t["lr"], **fused)
        self.step, self.sums = 0, {}
        if os.path.exists(self.path):
            saved = torch.load(self.path, map_location=device)
            self.net.load_state_dict(saved["net"])
            self.average.load_state_dict(saved["average"])
            self.opt.load_state_dict(saved["optimizer"])
            self.step = saved["step"]
            log(f"{name}: resumed at step {self.step}")
        floats = lambda n: [v for v in n.state_dict().values() if v.dtype.is_floating_point]
        self.pairs = floats(self.average), floats(self.net)

    @property
    def path(self):
        return os.path.join(self.folder, "last.pt")

    def value(self, batch):
        """Loss on the rows of batch that this network may see."""
        b = {k: v[self.rows] for k, v in batch.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            out = self.net(b["frames"].contiguous(memory_format=torch.channels_last))
        return loss.total([o.float() for o in out], b, loss.weights(self.t))

    def learn(self, batch, progress):
        for g in self.opt.param_groups:
            g["lr"] = g["base"] * rate(self.step, self.t["warmup"], progress)
        value, terms = self.value(batch)
        self.opt.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.t.get("clip", 3.0))
        self.opt.step()
        self.step += 1
        decay = min(self.t["ema"], (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_mul_(self.pairs[0], decay)
            torch._foreach_add_(*self.pairs, alpha=1 - decay)
        for k, v in terms.items():
            self.sums[k] = self.sums.get(k, 0.0) + v

    def state(self, spent):
        return {"net": self.net.state_dict(), "average": self.average.state_dict(), "optimizer": self.opt.state_dict(),
                "step": self.step, "spent": spent, "config": self.cfg}

    def save(self, spent):
        torch.save(self.state(spent), self.path + ".tmp")
        os.replace(self.path + ".tmp", self.path)


def to_device(batch, device):
    return {k: v.to(device, non_blocking=True) for k, v in batch.items()}


def train(cfg, data, out, log, device, workers, minutes=None):
    """Trains cfg's networks for steps, or for minutes if they are over earlier, and returns {name: Learner}.

    Checkpoints go to out/<name>/last.pt. minutes overrides the configuration's.
    """
    t = cfg["train"]
    minutes = minutes or t.get("minutes", float("inf"))
    group = dataset.groups(data, cfg)
    parts, owner = dataset.shares(data, cfg, group)
    learners = {}
    for n in cfg["networks"]:
        rows = np.flatnonzero(~np.isin(owner, n["leave_out"]))
        folder = os.path.join(out, n["name"])
        os.makedirs(folder, exist_ok=True)
        learners[n["name"]] = Learner(cfg, n["name"], rows, folder, device, log)
        log(f"{n['name']}: {len(rows)} of {len(owner)} rows of a batch, leaves out {n['leave_out']}")
    step = min(l.step for l in learners.values())
    spent = 0.0
    if step:
        spent = max(torch.load(l.path, map_location="cpu")["spent"] for l in learners.values())
    feed = iter(torch.utils.data.DataLoader(
        batches.Batches(data, parts, t["size"], seed=t["seed"] * 1000003 + step, strength=t.get("strength", 1.0)),
        batch_size=None, num_workers=workers, pin_memory=device.type == "cuda", **({"prefetch_factor": 4} if workers else {})))
    b = to_device(next(feed), device)
    for l in learners.values():  # a GPU chooses its algorithms before the clock starts
        l.net.train()
        l.value(b)[0].backward()
    began, progress, n, logged = time.time() - spent, 0.0, 0, time.time()
    while progress < 1.0:
        b = to_device(next(feed), device)
        progress = max((step + 1) / t["steps"], (time.time() - began) / 60 / minutes)
        for l in learners.values():
            l.learn(b, progress)
        step += 1
        n += 1
        if time.time() - logged > t.get("log_seconds", 20) or progress >= 1.0:
            seconds = time.time() - logged
            for l in learners.values():
                text = " ".join(f"{k} {float(v) / n:.4f}" for k, v in l.sums.items())
                log(f"step {step} {l.name} {text}")
                l.sums = {}
            log(f"step {step}: {n * len(owner) / seconds:.0f} frames/s, progress {progress:.3f}")
            n, logged = 0, time.time()
        if step % t["save_every"] == 0:
            for l in learners.values():
                l.save(time.time() - began)
    for l in learners.values():
        l.save(time.time() - began)
    held = dataset.held_out(data, cfg)
    for l in learners.values():
        if len(held):
            log(f"{l.name}, held out: {quick_dice(l.average, data, held, cfg['export']['size'])}")
    return learners

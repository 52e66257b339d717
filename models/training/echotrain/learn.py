"""The training loop: one network or several learn from one stream of batches, by steps or by the clock, and can be stopped.

train.py (one network, several processes), train_together.py (several networks, one process), crossval_plax.py and baseline.py
all train by run().
"""

import copy
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from . import loss, steady
from .kinds import Array, Config, Log
from .names import VIEWS
from .schedule import param_groups, rate

Batch = dict[str, torch.Tensor]
Terms = dict[str, torch.Tensor]


def forward(net: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The network's logits as float32; on a GPU it works in bfloat16."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
        out = net(x.contiguous(memory_format=torch.channels_last))
    return [o.float() for o in out]


class Objective:
    """The loss of a network on a batch: the terms of loss.total, agreement with a teacher where there is one, and, with steady_rows,
    agreement of so many rows with themselves under other speckle."""

    def __init__(self, t: Config, teacher: nn.Module | None = None) -> None:
        self.t, self.teacher, self.weight = t, teacher, loss.weights(t)
        self.prior = loss.Prior(len(VIEWS)) if t.get("balanced_views") else None

    def __call__(self, net: nn.Module, b: Batch, step: int) -> tuple[torch.Tensor, Terms]:
        again = steady.rows(b, self.t.get("steady_rows", 0))
        if len(again):
            b = steady.doubled(b, again)
        out = forward(net, b["frames"])
        value, terms = loss.total(out, b, self.weight, self.prior.update(b["view"]) if self.prior else None)
        if len(again):
            d = steady.disagreement(out[0], again)
            value, terms["steady"] = value + self.t.get("steady_weight", 1.0) * d, d.detach()
        if self.teacher is not None:
            with torch.no_grad():
                soft = forward(self.teacher, b["frames"])
            d = loss.distillation(out, soft, b)
            value, terms["distil"] = value + self.t.get("distil_weight", 1.0) * d, d.detach()
        return value, terms


class Learner:
    """One network in training: its optimizer, the exponential average of its weights, and where it is kept (path, if any).

    t is the [train] table of cfg. rows: the rows of a batch that it may see (all, if None). every: steps between two updates of the average.
    """

    def __init__(self, cfg: Config, net: nn.Module, objective: Callable[[nn.Module, Batch, int], tuple[torch.Tensor, Terms]], *,
                 path: str | None = None, rows: Array | None = None, device: str | torch.device = "cpu", every: int = 1) -> None:
        t = cfg["train"]
        self.cfg, self.t, self.objective, self.path, self.every = cfg, t, objective, path, every
        self.device = torch.device(device)
        self.rows = None if rows is None else torch.from_numpy(rows).to(self.device)
        self.net = net.to(device=self.device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net)
        fused = {"fused": True} if self.device.type == "cuda" else {}
        self.opt = torch.optim.AdamW(param_groups(self.net, t["lr"], t["encoder_lr"], t["weight_decay"]), lr=t["lr"], **fused)
        self.step, self.spent = 0, 0.0
        self.sums: dict[str, Any] = {}
        if path and os.path.exists(path):
            saved = torch.load(path, map_location=self.device)
            self.net.load_state_dict(saved["net"])
            self.average.load_state_dict(saved["average"])
            self.opt.load_state_dict(saved["optimizer"])
            self.step, self.spent = saved["step"], saved["spent"]

    @property
    def progress(self) -> float:
        """0..1: done by steps, or by minutes if that is more."""
        return max(self.step / self.t["steps"], self.spent / 60 / self.t.get("minutes", float("inf")))

    def value(self, batch: Batch) -> tuple[torch.Tensor, Terms]:
        """Loss, and its terms, on the rows of batch that this network may see."""
        return self.objective(self.net, batch if self.rows is None else {k: v[self.rows] for k, v in batch.items()}, self.step)

    def learn(self, batch: Batch, progress: float) -> None:
        """One step."""
        for g in self.opt.param_groups:
            g["lr"] = g["base"] * rate(self.step, self.t["warmup"], progress)
        value, terms = self.value(batch)
        self.opt.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.net.parameters() if p.grad is not None], self.t.get("clip", 3.0))
        self.opt.step()
        self.step += 1
        for k, v in terms.items():
            self.sums[k] = self.sums.get(k, 0.0) + v

    @torch.no_grad()
    def follow(self) -> None:
        """Lets the average follow the weights of the last self.every steps."""
        decay = min(self.t["ema"] ** self.every, (1 + self.step) / (10 + self.step))
        now = self.net.state_dict()
        floats = [(a, now[k]) for k, a in self.average.state_dict().items() if a.dtype.is_floating_point]
        for k, a in self.average.state_dict().items():
            if not a.dtype.is_floating_point:
                a.copy_(now[k])
        torch._foreach_mul_([a for a, _ in floats], decay)
        torch._foreach_add_([a for a, _ in floats], [v for _, v in floats], alpha=1 - decay)

    def means(self, n: int) -> str:
        """The mean terms of the last n steps, as text; counts anew from here."""
        text = " ".join(f"{k} {float(v) / n:.4f}" for k, v in self.sums.items())
        self.sums = {}
        return text

    def save(self) -> None:
        if self.path:
            torch.save({"net": self.net.state_dict(), "average": self.average.state_dict(), "optimizer": self.opt.state_dict(),
                        "step": self.step, "spent": self.spent, "config": self.cfg}, self.path + ".tmp")
            os.replace(self.path + ".tmp", self.path)


@torch.no_grad()
def average_weights(net: nn.Module, ranks: int, spent: float) -> float:
    """All ranks continue from the mean of their weights and statistics (local SGD); returns the mean of spent."""
    state = [v for v in net.state_dict().values() if v.dtype.is_floating_point]
    flat = torch.cat([v.flatten() for v in state] + [torch.tensor([spent])])
    torch.distributed.all_reduce(flat)
    flat /= ranks
    at = 0
    for v in state:
        v.copy_(flat[at:at + v.numel()].view_as(v))
        at += v.numel()
    return float(flat[-1])


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def run(learners: dict[str, Learner], feed: Iterator[Batch], log: Log, *, ranks: int = 1, rank: int = 0,
        check: Callable[[Learner], str] | None = None) -> None:
    """Trains until the configuration's steps are done, or its minutes over if that is earlier.

    Logs every log_every steps, saves every save_every, and logs check of each learner every check_every and at the end. With
    ranks, each a process with one learner, weights are averaged every learner.every steps; rank 0 alone logs and saves. On a
    machine shared with other work this is faster than one process with many threads, which wait for the slowest at every layer,
    and than averaging gradients at every step.
    """
    all_of_them: Sequence[Learner] = list(learners.values())
    first = all_of_them[0]
    t, every = first.t, first.every
    for name, l in learners.items():
        if l.step:
            log(f"{name + ': ' if len(learners) > 1 else ''}resumed at step {l.step}")
    began, n, progress = time.time() - first.spent, 0, first.progress
    while progress < 1.0:
        b = {k: v.to(first.device, non_blocking=True) for k, v in next(feed).items()}
        for l in all_of_them:
            l.learn(b, progress)
        n += 1
        if first.step % every == 0:
            spent = time.time() - began
            if ranks > 1:
                spent = average_weights(first.net, ranks, spent)
            for l in all_of_them:
                l.follow()
                l.spent = spent
            progress = first.progress
        if rank > 0:
            continue
        done = progress >= 1.0
        if first.step % t.get("log_every", 50) == 0 or done:
            used = time.time() - began
            left = clock(max(used / progress - used, 0.0)) if progress > 0 else "?"
            for name, l in learners.items():
                who = f" {name}" if len(learners) > 1 else ""
                log(f"step {first.step}{who} {l.means(n)}; {100 * progress:.1f} %, {clock(used)} used, {left} left")
            n = 0
        if first.step % t.get("save_every", 50) == 0 or done:
            for l in all_of_them:
                l.save()
        if check is not None and (done or first.step % t.get("check_every", 1 << 60) == 0):
            for name, l in learners.items():
                log(f"step {first.step} {name}: {check(l)}")

#!/usr/bin/env python3
"""Trains a plain EfficientNet-B0 U-Net from random weights on the apical frames and measures it on the same held-out patients.

Folds differ: this tells how hard ours is, beside figures that others measured on other patients. The recipe is the usual
one: 128 x 128, affine and gain augmentation, 16 frames a step, AdamW, one cosine cycle; no pretrained weights, no other tasks.
"""

import argparse
import os
import tomllib

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see train.py

import torch
from torch import nn
from torch.nn import functional as F

from echotrain import batches, dataset, learn, loss
from echotrain.evaluation import quick_dice
from reference_designs import EfficientNetUNet

SIZE = 128
PARTS = [{"name": "a4c", "sources": ["a4c"], "count": 13, "options": {"mild": True, "vary": 2.0}},
         {"name": "a2c", "sources": ["a2c-restored"], "count": 3, "options": {"mild": True, "vary": 2.0}}]


class Logits(nn.Module):
    """The design's mask as logits, from gray 0..255, in the place of a Net."""

    def __init__(self) -> None:
        super().__init__()
        self.body = EfficientNetUNet()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.logit(self.body((x - 127.0) / 128.0)[0].clamp(1e-6, 1 - 1e-6)),)


def objective(net: nn.Module, b: learn.Batch, step: int) -> tuple[torch.Tensor, learn.Terms]:
    """Batches come at twice the size: frames are then reduced by area, and the half-resolution masks are at full resolution here."""
    value = loss.segmentation(net(F.avg_pool2d(b["frames"], 2).contiguous(memory_format=torch.channels_last))[0], b["mask"], b["mask_known"])
    return value, {"seg": value.detach()}


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--config", required=True, help="configuration that names the fold")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--steps", type=int, default=2600)
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb")) | {"parts": PARTS}
    cfg["train"] = {"steps": args.steps, "warmup": max(1, args.steps // 20), "lr": 1e-3, "encoder_lr": 1e-3, "weight_decay": 1e-2, "ema": 0.0,
                    "log_every": 100, "check_every": 500}
    torch.manual_seed(1)
    torch.set_flush_denormal(True)
    data = dataset.prepare(cfg, None, None, args.cache, print)
    held = dataset.held_out(data, cfg)
    learner = learn.Learner(cfg, Logits(), objective)
    learner.net.train()
    feed = iter(batches.Batches(data, dataset.parts(data, cfg), 2 * SIZE, seed=5))
    learn.run({"held out": learner}, feed, lambda text: print(text, flush=True), check=lambda l: quick_dice(l.average, data, held, SIZE))


if __name__ == "__main__":
    main()

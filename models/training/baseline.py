#!/usr/bin/env python3
"""Trains a plain EfficientNet-B0 U-Net from random weights on the apical frames and measures it on the same held-out patients.

Folds differ: this tells how hard ours is, beside figures that others measured on other patients. The recipe is the usual
one: 128 x 128, affine and gain augmentation, 16 frames a step, AdamW, one cosine cycle; no pretrained weights, no other tasks.
"""

import argparse
import os
import time
import tomllib

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see train.py

import torch
from torch import nn
from torch.nn import functional as F

from echotrain import batches, dataset, loss
from echotrain.evaluation import quick_dice
from reference_designs import EfficientNetUNet

SIZE = 128
PARTS = [{"name": "a4c", "sources": ["a4c"], "count": 13, "options": {"mild": True, "vary": 2.0}},
         {"name": "a2c", "sources": ["a2c-restored"], "count": 3, "options": {"mild": True, "vary": 2.0}}]


class Logits(nn.Module):
    """The design's mask as logits, from gray 0..255, in the place of a Net."""

    def __init__(self):
        super().__init__()
        self.body = EfficientNetUNet()

    def forward(self, x):
        return (torch.logit(self.body((x - 127.0) / 128.0)[0].clamp(1e-6, 1 - 1e-6)),)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--config", required=True, help="configuration that names the fold")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--steps", type=int, default=2600)
    ap.add_argument("--threads", type=int, default=2)
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb")) | {"parts": PARTS}
    torch.manual_seed(1)
    torch.set_flush_denormal(True)
    data = dataset.prepare(cfg, None, None, args.cache, print)
    held = dataset.held_out(data, cfg)
    net = Logits().to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 1e-3, total_steps=args.steps, pct_start=0.05)
    # Twice the size: frames are then reduced by area, and the half-resolution masks of a batch are at full resolution here.
    feed = iter(batches.Batches(data, dataset.parts(data, cfg), 2 * SIZE, seed=5))
    began, total = time.time(), 0.0
    net.train()
    for step in range(1, args.steps + 1):
        b = next(feed)
        torch.set_num_threads(args.threads)  # the feed takes one
        x = F.avg_pool2d(b["frames"], 2).contiguous(memory_format=torch.channels_last)
        value = loss.segmentation(net(x)[0], b["mask"], b["mask_known"])
        opt.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 3.0)
        opt.step()
        schedule.step()
        total += float(value)
        if step % 100 == 0:
            print(f"step {step}/{args.steps} seg {total / 100:.4f} {time.time() - began:.0f} s", flush=True)
            total = 0.0
        if step % 500 == 0 or step == args.steps:
            print(f"step {step} held out: {quick_dice(net, data, held, SIZE)}", flush=True)
            net.train()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Adds the novelty and the look for an aortic root to a checkpoint and chooses the limits of its card on the patients it holds out (train.py does both at
its end); for networks that were trained before, or with other held-out patients."""

import argparse
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see train.py

import torch

from echotrain import dataset, trust


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--checkpoint", required=True, help="last.pt of a run; both are added to it")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--extra", action="append", default=[], help="further caches")
    ap.add_argument("--limits", help="JSON to write; needs a checkpoint with patients held out")
    ap.add_argument("--honest", help="honest.json of crossfit.py: what of an outline foretells its Dice is taken from there")
    args = ap.parse_args()
    torch.set_num_threads(1)
    cfg = torch.load(args.checkpoint, map_location="cpu")["config"]
    data = dataset.prepare(cfg, None, None, args.cache, print, args.extra, filled=False)
    net, novelty = trust.add(args.checkpoint, data, print)
    if args.limits:
        trust.write_limits(args.limits, net, novelty, data, cfg["export"]["size"], print, args.honest)


if __name__ == "__main__":
    main()

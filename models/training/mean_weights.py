#!/usr/bin/env python3
"""The mean of the weights of checkpoints that come from one network:
mean_weights.py --out mean.pt a/last.pt b/last.pt [--shares 1 2]. What a run gained and what it started from, in one network."""

import argparse
import os

import torch


def mean(states: list[dict[str, torch.Tensor]], shares: list[float]) -> dict[str, torch.Tensor]:
    """Mean of state dicts of one design by shares; counters are the last one's. ValueError for different designs."""
    like = lambda s: {k: v.shape for k, v in s.items()}
    if any(like(s) != like(states[-1]) for s in states):
        raise ValueError("the checkpoints are of different designs")
    total = sum(shares)
    return {k: torch.stack([s[k].double() * (w / total) for s, w in zip(states, shares)]).sum(0).to(v.dtype) if v.dtype.is_floating_point else v
            for k, v in states[-1].items()}


def main(given: list[str] | None = None) -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", required=True)
    ap.add_argument("--shares", type=float, nargs="+", help="of each checkpoint (default: equal)")
    ap.add_argument("checkpoints", nargs="+")
    args = ap.parse_args(given)
    shares = args.shares or [1.0] * len(args.checkpoints)
    if len(shares) != len(args.checkpoints) or min(shares) < 0 or sum(shares) <= 0:
        ap.error("a share is needed for each checkpoint, not all of them 0")
    saved = [torch.load(p, map_location="cpu") for p in args.checkpoints]
    if folder := os.path.dirname(args.out):
        os.makedirs(folder, exist_ok=True)
    torch.save({"average": mean([s["average"] for s in saved], shares), "config": saved[-1]["config"], "step": 0}, args.out)


if __name__ == "__main__":
    main()

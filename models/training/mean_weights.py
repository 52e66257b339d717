#!/usr/bin/env python3
"""The mean of the weights of checkpoints that come from one network, as a start for a further run:
mean_weights.py --out start.pt a/last.pt b/last.pt"""

import argparse

import torch


def mean(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Mean of state dicts of one design; counters are the first one's."""
    return {k: torch.stack([s[k].double() for s in states]).mean(0).to(v.dtype) if v.dtype.is_floating_point else v for k, v in states[0].items()}


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", required=True)
    ap.add_argument("checkpoints", nargs="+")
    args = ap.parse_args()
    saved = [torch.load(p, map_location="cpu") for p in args.checkpoints]
    torch.save({"average": mean([s["average"] for s in saved]), "config": saved[0]["config"], "step": 0}, args.out)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Trains the networks of a configuration together, each without the patients it leaves out; for a GPU, or a patient CPU.

The run folder gets <name>/last.pt per network and log.txt; a stopped run continues. See README.md.
"""

import argparse
import os
import sys
import tomllib

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see train.py

import torch

from echotrain import dataset, together
from train import make_log


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--config", required=True, help="TOML file with [[networks]], see configs/")
    ap.add_argument("--data", default=os.environ.get("ECHO_DATA"), help="data folder (default: environment ECHO_DATA)")
    ap.add_argument("--loops", default=os.environ.get("ECHO_LOOPS"), help="folder with go-dicom's example loops (environment ECHO_LOOPS)")
    ap.add_argument("--out", required=True, help="run folder: checkpoints, log")
    ap.add_argument("--cache", help="cache file (default: <out>/../cache.npz)")
    ap.add_argument("--extra", action="append", default=[], help="further caches")
    ap.add_argument("--soft", help="soft masks for the frames of the cache (soften.py)")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2), help="processes that make batches")
    ap.add_argument("--minutes", type=float, help="instead of the configuration's")
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    os.makedirs(args.out, exist_ok=True)
    log = make_log(args.out)
    cache = args.cache or os.path.join(os.path.dirname(os.path.abspath(args.out)), "cache.npz")
    data = dataset.prepare(cfg, args.data, args.loops, cache, log, args.extra)
    if args.soft:
        dataset.add_soft(data, args.soft)
    device = torch.device(args.device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True  # no cudnn.benchmark: its search took most of a minute
        log(f"on {torch.cuda.get_device_name(device)}")
    together.train(cfg, data, args.out, log, device, args.workers, args.minutes)


if __name__ == "__main__":
    sys.exit(main())

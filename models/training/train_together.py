#!/usr/bin/env python3
"""Trains the networks of a configuration together, each without the patients it leaves out; for a GPU, or a patient CPU.

The run folder gets <name>/last.pt per network and log.txt; a stopped run continues. See README.md.
"""

import os
import tomllib

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see train.py

import torch

from echotrain import together
from train import open_run, run_arguments


def main() -> None:
    ap = run_arguments(__doc__)
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2), help="processes that make batches")
    ap.add_argument("--minutes", type=float, help="instead of the configuration's")
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    log, data = open_run(args, cfg)
    device = torch.device(args.device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True  # no cudnn.benchmark: its search took most of a minute
        log(f"on {torch.cuda.get_device_name(device)}")
    together.train(cfg, data, args.out, log, device, args.workers, args.minutes)


if __name__ == "__main__":
    main()

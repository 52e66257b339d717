#!/usr/bin/env python3
"""Trains a network of one configuration for each group of the patients, who are left out of it: what they make of patients they never
saw is honest. Each is trained by itself with one thread, several at a time; a stopped run continues. See README.md.

The run folder gets <group>/last.pt and log.txt, honest.json (what each makes of those it left out, frame by frame), tables.md, dice.svg and
volumes.csv for conformance/bench/grade.
"""

import argparse
import copy
import json
import os
import tomllib
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see train.py

import torch

from echotrain import dataset, honest, report, trust
from echotrain.kinds import Config, Data
from train import make_log, open_run, run_arguments, train


def one(cfg: Config, data: Data, out: str, group: str) -> None:
    """The network that leaves group out, and what it makes of it (<group>/honest.json), anew where it has learnt since."""
    folder = os.path.join(out, group)
    os.makedirs(folder, exist_ok=True)
    cfg = copy.deepcopy(cfg)
    cfg["train"]["seed"] += int(group)
    left, log = dataset.leave_out(data, cfg, group), make_log(folder)
    network, path = (os.path.join(folder, name) for name in ("last.pt", "honest.json"))
    train(cfg, left, folder, log)
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(network):
        net, novelty = trust.add(network, left, log)
        write(path, [{"group": group, **row} for row in honest.left_out(net, novelty, left, cfg["export"]["size"])])


def write(path: str, rows: list[Any]) -> None:
    """JSON at path, whole or not at all."""
    with open(path + ".tmp", "w") as f:
        json.dump(rows, f)
    os.replace(path + ".tmp", path)


def main() -> None:
    ap = run_arguments(__doc__)
    ap.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="networks trained at a time")
    ap.add_argument("--minutes", type=float, help="of each network, instead of the configuration's")
    ap.add_argument("--group", type=int, action="append", help="these groups alone")
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    if args.minutes:
        cfg["train"]["minutes"] = args.minutes
    log, data = open_run(args, cfg)
    waiting = [str(g) for g in args.group or range(cfg["groups"]["count"])]
    for g in waiting:
        left = dataset.leave_out(data, cfg, g)["held"]
        log(f"group {g}: {len(set(data['subject'][left].tolist()))} subjects, {left.sum()} pictures left out")
    fork = torch.multiprocessing.get_context("fork")
    running: list[torch.multiprocessing.Process] = []
    while waiting or running:
        while waiting and len(running) < args.jobs:
            running.append(fork.Process(target=one, args=(cfg, data, args.out, waiting.pop(0))))
            running[-1].start()
        running[0].join(1)
        if any(p.exitcode for p in running):
            for p in running:
                p.terminate()
            raise SystemExit("a network's training failed, see above")
        running = [p for p in running if p.is_alive()]
    told = [os.path.join(args.out, str(g), "honest.json") for g in range(cfg["groups"]["count"])]
    if all(map(os.path.exists, told)):
        log(together(args.out, [json.load(open(path)) for path in told]))


def together(out: str, groups: list[list[Any]]) -> str:
    """Tables, picture and files of what all networks made of those they left out; returns the tables."""
    rows = sum(groups, [])
    figures = honest.expect(rows)
    report.trust(figures, out)
    write(os.path.join(out, "honest.json"), rows)
    honest.volumes(os.path.join(out, "volumes.csv"), rows)
    text = honest.tables(rows)
    with open(os.path.join(out, "tables.md"), "w") as f:
        f.write(text)
    return "what they make of those they left out:\n" + text + json.dumps({k: v for k, v in figures.items() if k != "rows"})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Trains the multi-task network: from data to ONNX with one command, resumable. See README.md."""

import argparse
import json
import os
import time
import tomllib
from collections.abc import Iterator

# OpenBLAS's own threads spin between the small products of a training step: three times slower than none of them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch

from echotrain import batches, dataset, export, learn, native, trust
from echotrain.evaluation import quick_dice
from echotrain.kinds import Config, Data, Log
from echotrain.net import Encoder, Net


def freeze(encoder: Encoder, blocks: int) -> None:
    """Keeps the stem and the first blocks as they are: at their resolution a step costs the most."""
    if blocks:
        for m in (encoder._conv_stem, encoder._bn0, *encoder._blocks[:blocks]):
            m.eval()
            m.requires_grad_(False)


def run_ranks(rank: int, ranks: int, cfg: Config, data: Data, out: str, store: str) -> None:
    """One of several processes with one thread each, see learn.run."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    train(cfg, data, out, make_log(out, quiet=rank > 0), rank, ranks)


def make_log(out: str, quiet: bool = False) -> Log:
    """Prints lines with the time of day and keeps them in out/log.txt."""
    def log(text: str) -> None:
        if quiet:
            return
        line = time.strftime("%H:%M:%S ") + text
        print(line, flush=True)
        with open(os.path.join(out, "log.txt"), "a") as f:
            f.write(line + "\n")

    return log


def beside(out: str, path: str) -> str:
    """A checkpoint that a configuration names, relative to the folder of the runs."""
    return os.path.join(os.path.dirname(out.rstrip("/")) or ".", os.path.expandvars(path))


def first_network(cfg: Config, out: str) -> Net:
    """The network to begin with: from the ImageNet weights, from a start, or random."""
    t = cfg["train"]
    net = Net(**cfg["net"]).to(memory_format=torch.channels_last)
    if t.get("imagenet"):
        net.encoder.load_imagenet(os.path.expandvars(t["imagenet"]))
    if t.get("start"):
        net.load_start(torch.load(beside(out, t["start"]), map_location="cpu")["average"])
    return net


def teacher(path: str) -> Net:
    """The network of a checkpoint, to learn from."""
    saved = torch.load(path, map_location="cpu")
    net = Net(**saved["config"]["net"]).to(memory_format=torch.channels_last)
    net.load_start(saved["average"])
    return net.eval()


def growing(stream: batches.Batches, sizes: list[tuple[float, int]], learner: learn.Learner) -> Iterator[learn.Batch]:
    """The batches of stream in pictures that grow with the learner's progress: sizes are (progress from which on, side), in order. Small
    pictures teach much of what large ones do at a fraction of the cost."""
    feed = iter(stream)
    while True:
        for begin, side in sizes:
            if learner.progress >= begin:
                stream.size = side
        yield next(feed)


def train(cfg: Config, data: Data, out: str, log: Log, rank: int = 0, ranks: int = 1) -> None:
    """Runs the schedule of cfg: steps, or minutes if they are over earlier; checkpoints to out/last.pt (rank 0)."""
    t = cfg["train"]
    torch.set_num_threads(t.get("threads", 1))
    torch.set_flush_denormal(True)
    torch.manual_seed(t["seed"])  # the same weights on every rank
    objective = learn.Objective(t, teacher(beside(out, t["teacher"])) if t.get("teacher") else None)
    learner = learn.Learner(cfg, first_network(cfg, out), objective, path=os.path.join(out, "last.pt"), every=t.get("sync_every", 10) if ranks > 1 else 1)
    if t.get("native"):
        native.use(learner.net, out)
    torch.manual_seed(t["seed"] + 7919 * rank + learner.step)
    stream = batches.Batches(data, dataset.parts(data, cfg, rank, ranks), t["size"], seed=t["seed"] * 1000003 + 1009 * rank + learner.step,
                             strength=t.get("strength", 1.0))
    feed = growing(stream, t.get("grow", []), learner)
    held = dataset.held_out(data, cfg)
    learner.net.train()
    freeze(learner.net.encoder, t.get("freeze", 0))
    check = (lambda l: quick_dice(l.average, data, held, cfg["export"]["size"])) if len(held) else None
    learn.run({"held out": learner}, feed, log, ranks=ranks, rank=rank, check=check)


def run_arguments(description: str | None) -> argparse.ArgumentParser:
    """The arguments of every training run: configuration, data, run folder."""
    ap = argparse.ArgumentParser(description=description)
    ap.add_argument("--config", required=True, help="TOML file, see configs/")
    ap.add_argument("--data", default=os.environ.get("ECHO_DATA"), help="data folder (default: environment ECHO_DATA)")
    ap.add_argument("--loops", default=os.environ.get("ECHO_LOOPS"), help="folder with go-dicom's example loops (environment ECHO_LOOPS)")
    ap.add_argument("--out", required=True, help="run folder: checkpoints, log, results")
    ap.add_argument("--cache", help="cache file (default: <out>/../cache.npz)")
    ap.add_argument("--extra", action="append", default=[], help="further caches (pseudo_label.py)")
    ap.add_argument("--soft", help="soft masks for the frames of the cache (soften.py)")
    return ap


def open_run(args: argparse.Namespace, cfg: Config) -> tuple[Log, Data]:
    """Makes the run folder and returns its log and the data."""
    os.makedirs(args.out, exist_ok=True)
    log = make_log(args.out)
    cache = args.cache or os.path.join(os.path.dirname(os.path.abspath(args.out)), "cache.npz")
    data = dataset.prepare(cfg, args.data, args.loops, cache, log, args.extra)
    if args.soft:
        dataset.add_soft(data, args.soft)
    return log, data


def main() -> None:
    ap = run_arguments(__doc__)
    ap.add_argument("--start", help="checkpoint to begin from, instead of the configuration's")
    ap.add_argument("--all", action="store_true", help="train on everybody, the held-out patients too")
    ap.add_argument("--version", help="another version for the network")
    ap.add_argument("--name", help="another name for the network: its card then says what it was trained on, not what ours was")
    ap.add_argument("--minutes", type=float, help="instead of the configuration's")
    ap.add_argument("--limits", help="JSON of trust.py: limits for the card, chosen on patients held out")
    ap.add_argument("--honest", help="honest.json of crossfit.py: what of an outline foretells its Dice")
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    if args.start:
        cfg["train"]["start"] = os.path.abspath(args.start)
    if args.minutes:
        cfg["train"]["minutes"] = args.minutes
    if args.all:
        cfg["fold"]["every"] = {"default": 0}
    if args.version:
        cfg["export"]["card"]["version"] = args.version
    if args.name and args.name != cfg["export"]["card"]["name"]:
        rename(cfg["export"]["card"], args.name)
    log, data = open_run(args, cfg)
    ranks = cfg["train"].get("processes", 1)
    if ranks == 1:
        train(cfg, data, args.out, log)
    else:
        store = os.path.join(os.path.abspath(args.out), "rendezvous")
        if os.path.exists(store):
            os.remove(store)
        torch.multiprocessing.start_processes(run_ranks, (ranks, cfg, data, args.out, store), nprocs=ranks, start_method="fork")
    finish(cfg, data, args, log)


def rename(card: Config, name: str) -> None:
    """Makes the configuration's card that of another network: what it says of the data and terms of ours goes."""
    for key in ("trained_on", "licence", "note"):
        card.pop(key, None)
    card.update(name=name, licence="Weights carry the terms of the data they were trained on.", note="Trained on site. Not a medical device.")


def finish(cfg: Config, data: Data, args: argparse.Namespace, log: Log) -> None:
    """Fits the novelty, chooses limits if patients were held out, exports and compares with PyTorch."""
    size, card, last = cfg["export"]["size"], cfg["export"]["card"], os.path.join(args.out, "last.pt")
    card.setdefault("trained_on", dataset.describe(data))
    net, novelty = trust.add(last, data, log)
    limits = os.path.join(args.out, "limits.json")
    if len(dataset.held_out(data, cfg)):
        trust.write_limits(limits, net, novelty, data, size, log, args.honest)
    expects = None
    if args.limits or os.path.exists(limits):
        chosen = trust.chosen(args.limits or limits)
        card["limits"], expects = chosen["limits"], chosen["expects"]
        trust.set_up(net, chosen)
    path = os.path.join(args.out, card["name"] + ".onnx")
    card = export.export(net, path, size, card, novelty, expects)
    log(f"wrote {path} sha256 {export.sha256(path)} card {json.dumps(card)}")
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        log("onnxruntime is not installed: the export was not compared with PyTorch")
        return
    log(f"largest difference to PyTorch (mask steps, heatmaps, views, extras): {export.verify(net, path, size, novelty, expects)}")


if __name__ == "__main__":
    main()

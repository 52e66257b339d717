#!/usr/bin/env python3
"""Trains the multi-task network: from data to ONNX with one command, resumable. See README.md."""

import argparse
import copy
import json
import os
import sys
import time
import tomllib

# OpenBLAS's own threads spin between the small products of a training step: three times slower than none of them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch

from echotrain import batches, dataset, export, loss, native, trust
from echotrain.evaluation import quick_dice
from echotrain.net import VIEWS, Net
from echotrain.schedule import param_groups, rate


def freeze(encoder, blocks):
    """Keeps the stem and the first blocks as they are: at their resolution a step costs the most."""
    if blocks:
        for m in (encoder._conv_stem, encoder._bn0, *encoder._blocks[:blocks]):
            m.eval()
            m.requires_grad_(False)


def run_ranks(rank, ranks, cfg, data, out, store):
    """One of several data-parallel processes: one thread each, weights averaged every sync_every steps.

    On a machine shared with other work this is faster than one process with many threads, which wait for the
    slowest at every layer, and than averaging gradients at every step.
    """
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    train(cfg, data, out, make_log(out, quiet=rank > 0), rank, ranks)


def make_log(out, quiet=False):
    def log(text):
        if quiet:
            return
        line = time.strftime("%H:%M:%S ") + text
        print(line, flush=True)
        with open(os.path.join(out, "log.txt"), "a") as f:
            f.write(line + "\n")

    return log


def average_weights(net, ranks, spent):
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


def clock(seconds):
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def train(cfg, data, out, log, rank=0, ranks=1):
    """Runs the schedule of cfg: steps, or minutes if they are over earlier; checkpoints to out/last.pt (rank 0)."""
    t = cfg["train"]
    torch.set_num_threads(t.get("threads", 1))
    torch.set_flush_denormal(True)
    torch.manual_seed(t["seed"])  # the same weights on every rank
    net = Net(**cfg["net"]).to(memory_format=torch.channels_last)
    if t.get("imagenet"):
        net.encoder.load_imagenet(os.path.expandvars(t["imagenet"]))
    if t.get("start"):
        where = os.path.join(os.path.dirname(out.rstrip("/")) or ".", os.path.expandvars(t["start"]))
        net.load_start(torch.load(where, map_location="cpu")["average"])
    average = copy.deepcopy(net)
    if t.get("native"):
        native.use(net, out)
    teacher = None
    if t.get("teacher"):
        saved = torch.load(os.path.join(os.path.dirname(out.rstrip("/")) or ".", t["teacher"]), map_location="cpu")
        teacher = Net(**saved["config"]["net"]).to(memory_format=torch.channels_last)
        teacher.load_start(saved["average"])
        teacher.eval()
    opt = torch.optim.AdamW(param_groups(net, t["lr"], t["encoder_lr"], t["weight_decay"]), lr=t["lr"])
    step, spent, progress = 0, 0.0, 0.0  # spent: seconds in all runs so far
    path = os.path.join(out, "last.pt")
    if os.path.exists(path):
        saved = torch.load(path, map_location="cpu")
        net.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        opt.load_state_dict(saved["optimizer"])
        step, spent, progress = saved["step"], saved["spent"], saved["progress"]
        log(f"resumed at step {step}")

    torch.manual_seed(t["seed"] + 7919 * rank + step)
    feed = iter(batches.Batches(data, dataset.parts(data, cfg, rank, ranks), t["size"], seed=t["seed"] * 1000003 + 1009 * rank + step,
                                strength=t.get("strength", 1.0)))
    held = dataset.held_out(data, cfg)
    weight, balanced, prior = loss.weights(t), t.get("balanced_views", False), loss.Prior(len(VIEWS))
    began, sums, n = time.time() - spent, {}, 0
    net.train()
    freeze(net.encoder, t.get("freeze", 0))
    every = t.get("sync_every", 10) if ranks > 1 else 1
    while progress < 1.0:
        b = next(feed)
        for g in opt.param_groups:
            g["lr"] = g["base"] * rate(step, t["warmup"], progress)
        x = b["frames"].contiguous(memory_format=torch.channels_last)
        out_maps = net(x)
        value, terms = loss.total(out_maps, b, weight, prior.update(b["view"]) if balanced else None)
        if teacher is not None:
            with torch.no_grad():
                soft = teacher(x)
            d = loss.distillation(out_maps, soft, b)
            value, terms["distil"] = value + t.get("distil_weight", 1.0) * d, d.detach()
        opt.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_([p for p in net.parameters() if p.grad is not None], t.get("clip", 3.0))
        opt.step()
        step += 1
        n += 1
        if step % every == 0:
            spent = time.time() - began
            with torch.no_grad():
                if ranks > 1:
                    spent = average_weights(net, ranks, spent)
                progress = max(step / t["steps"], spent / 60 / t.get("minutes", float("inf")))
                decay = min(t["ema"] ** every, (1 + step) / (10 + step))
                for a, p in zip(average.state_dict().values(), net.state_dict().values()):
                    if a.dtype.is_floating_point:
                        a.lerp_(p, 1 - decay)
                    else:
                        a.copy_(p)
        for k, v in terms.items():
            sums[k] = sums.get(k, 0.0) + v
        if rank > 0:
            continue
        done = progress >= 1.0
        if step % t["log_every"] == 0 or done:
            text = " ".join(f"{k} {v / n:.4f}" for k, v in sums.items())
            used = time.time() - began
            left = used / progress - used if progress > 0 else float("nan")
            log(f"step {step} {text}; {100 * progress:.1f} %, {clock(used)} used, {clock(left) if left == left else '?'} left")
            sums, n = {}, 0
        if step % t["save_every"] == 0 or done:
            torch.save({"net": net.state_dict(), "average": average.state_dict(), "optimizer": opt.state_dict(),
                        "step": step, "spent": spent, "progress": progress, "config": cfg}, path + ".tmp")
            os.replace(path + ".tmp", path)
        if len(held) and (step % t["check_every"] == 0 or done):
            log(f"step {step} held out: {quick_dice(average, data, held, cfg['export']['size'])}")


def run_arguments(description):
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


def open_run(args, cfg):
    """Makes the run folder and returns its log and the data."""
    os.makedirs(args.out, exist_ok=True)
    log = make_log(args.out)
    cache = args.cache or os.path.join(os.path.dirname(os.path.abspath(args.out)), "cache.npz")
    data = dataset.prepare(cfg, args.data, args.loops, cache, log, args.extra)
    if args.soft:
        dataset.add_soft(data, args.soft)
    return log, data


def main():
    ap = run_arguments(__doc__)
    ap.add_argument("--start", help="checkpoint to begin from, instead of the configuration's")
    ap.add_argument("--all", metavar="VERSION", help="train on everybody, the held-out patients too, and export as this version")
    ap.add_argument("--name", help="another name for the network: its card then says what it was trained on, not what ours was")
    ap.add_argument("--limits", help="JSON of trust.py: limits for the card, chosen on patients held out")
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    if args.start:
        cfg["train"]["start"] = os.path.abspath(args.start)
    if args.all:
        cfg["fold"]["every"] = {"default": 0}
        cfg["export"]["card"]["version"] = args.all
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


def rename(card, name):
    """Makes the configuration's card that of another network: what it says of the data and terms of ours goes."""
    for key in ("trained_on", "licence", "note"):
        card.pop(key, None)
    card.update(name=name, licence="Weights carry the terms of the data they were trained on.", note="Trained on site. Not a medical device.")


def finish(cfg, data, args, log):
    """Fits the novelty, chooses limits if patients were held out, exports and compares with PyTorch."""
    size, card, last = cfg["export"]["size"], cfg["export"]["card"], os.path.join(args.out, "last.pt")
    card.setdefault("trained_on", dataset.describe(data))
    net, novelty = trust.add(last, data, log)
    limits = os.path.join(args.out, "limits.json")
    if len(dataset.held_out(data, cfg)):
        trust.write_limits(limits, net, novelty, data, size, log)
    line = None
    if args.limits or os.path.exists(limits):
        chosen = json.load(open(args.limits or limits))
        card["limits"], line = chosen["limits"], chosen["line"]
    path = os.path.join(args.out, card["name"] + ".onnx")
    card = export.export(net, path, size, card, novelty, line)
    log(f"wrote {path} sha256 {export.sha256(path)} card {json.dumps(card)}")
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        log("onnxruntime is not installed: the export was not compared with PyTorch")
        return
    log(f"largest difference to PyTorch (mask steps, heatmaps, views, extras): {export.verify(net, path, size, novelty, line)}")


if __name__ == "__main__":
    sys.exit(main())

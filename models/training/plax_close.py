#!/usr/bin/env python3
"""PLAX points by a network that was trained on close-ups (echotrain/closer.py), and an M-mode of cines (echotrain/mmode.py).

Trains it, or takes up a run where it stopped, without any expert frame. Chooses the limit of the spread on phantoms and turned A4C
frames that were held out. Then measures the expert frames, as they are and with further damage, and how steady LVID is over cines.
With --folds networks that go on from there with all expert frames but one each are measured on that one.
"""

import argparse
import copy
import glob
import json
import os
import tomllib
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see train.py

import numpy as np
import torch

from echotrain import batches, closer, dataset, geometry as geo, learn, loss, mmode, native, phantom, plax, sample, sources
from echotrain.kinds import Array, Config, Data, Part, Rng
from echotrain.net import Net
from train import make_log

Row = dict[str, Any]
Frame = tuple[str, Array, Array]  # name, gray, the four expert points
OFF, SHARE = 15.0, 0.05  # the limit: of those measured at most this share is off by more than so many per cent of LVID
EXPERTS = ("plax experts", 7, {"lvid": [0.24, 0.5]})  # what a fold adds to a batch: name, count, options


def material(cfg: Config, data_folder: str, loops: str | None, cache: str) -> Data:
    """The frames to learn from, those of real PLAX at their own resolution; 'held' says which patients and phantoms are kept aside."""
    data = dataset.prepare(cfg, None, None, cache, print, filled=False)
    keep = np.isin(data["source"], ["a4c", "plax-phantom"])
    more = [closer.near(gray, crop, pts, name, "loop-points", aspect) for name, gray, crop, pts, aspect in (sources.loop_points(loops) if loops else ())]
    more += [closer.near(gray, (0, 0, gray.shape[1], gray.shape[0]), pts, name, "plax-restored") for name, gray, pts in expert_frames(data_folder)]
    for s in phantom.samples(400, seed=99):
        s.source, s.subject = "plax-phantom-large", "large-" + s.subject
        more.append(s)
    new = sample.columns(more)
    new["held"] = np.array([s.source == "plax-phantom-large" and dataset.is_held_out(s.subject, cfg) for s in more])
    data = {k: np.concatenate([v[keep], new[k]]) for k, v in data.items()}
    batches.add_filled(data, np.flatnonzero(data["seg"] == sample.SEG_FULL))
    return data


def expert_frames(folder: str) -> list[Frame]:
    return list(sources.plax_frames(os.path.join(folder, "echo-labelled")))


def objective(net: torch.nn.Module, b: learn.Batch, step: int) -> tuple[torch.Tensor, learn.Terms]:
    value = loss.heatmaps(net(b["frames"].contiguous(memory_format=torch.channels_last)), b["heat"], b["heat_known"])
    return value, {"heat": value.detach()}


def trained(cfg: Config, net: closer.Points, data: Data, parts: list[Part], out: str | None, fast: str | None = None) -> closer.Points:
    """The average of net's weights over a run; kept in out/last.pt if out is given; fast: folder for echotrain/native.cpp's library."""
    torch.manual_seed(cfg["train"]["seed"])
    learner = learn.Learner(cfg, net, objective, path=os.path.join(out, "last.pt") if out else None)
    if fast:
        native.use(learner.net, fast)
    learner.net.train()
    learn.run({"close": learner}, closer.feed(data, parts, cfg["train"]["seed"] + learner.step), make_log(out) if out else lambda _: None)
    return learner.average


def heat_of(net: torch.nn.Module) -> plax.Heat:
    net.eval()

    def heat(frames: Array) -> Array:
        with torch.no_grad():
            return torch.sigmoid(net(torch.from_numpy(frames)[:, None].float())).numpy()
    return heat


def first_look(whole: Net, gray: Array) -> Array:
    """The points [4,2] that the network for everything finds on a whole screen."""
    def heat(frames: Array) -> Array:
        with torch.no_grad():
            return torch.sigmoid(whole(torch.from_numpy(frames)[:, None].float())[1][:, closer.POINTS]).numpy()
    return plax.look(heat, gray, 224, [(0, 0, gray.shape[1], gray.shape[0])], 1.0)[0][0]


def held_out(data: Data) -> Iterator[tuple[Array, Array]]:
    """Gray and points [4,2] of the phantoms and turned A4C frames that were kept aside."""
    for i in np.flatnonzero(data["held"] & np.isin(data["source"], ["plax-phantom", "plax-phantom-large"])):
        yield data["image"][i], data["points"][i, closer.POINTS].astype(float)
    for i in np.flatnonzero(data["held"] & (data["source"] == "a4c")):
        wall = geo.wall_points(data["label"][i], data["points"][i, :3].astype(float), 0.3)
        if wall is not None:
            yield np.ascontiguousarray(data["filled"][i].T), wall[:, ::-1]


def about(rng: Rng, points: Array) -> Array:
    """A first look's answer that is as wrong as it can be on a whole screen: points turned, moved, of another size."""
    middle, turn, size = points.mean(0), np.radians(rng.normal(0, 8)), np.exp(rng.normal(0, 0.15))
    c, s = np.cos(turn), np.sin(turn)
    return (points - middle) @ np.array([[c, s], [-s, c]]) * size + middle + rng.normal(0, 0.1, 2) * plax.lvid(points)


def limit(heat: plax.Heat, data: Data, rng: Rng) -> float:
    """The largest spread under which the frames kept aside are measured as OFF and SHARE ask."""
    rows = []
    for gray, want in held_out(data):
        if plax.lvid(want) >= 30:
            found = closer.find(heat, closer.damaged(rng, gray) if rng.random() < 0.5 else gray, about(rng, want))
            rows.append((found.spread, 100 * (plax.lvid(found.points) / plax.lvid(want) - 1)))
    r = np.array(sorted(rows))
    bad = np.cumsum(np.abs(r[:, 1]) > OFF) / np.arange(1, len(r) + 1)
    good = np.flatnonzero((bad <= SHARE) & (np.arange(len(r)) >= 19))
    print(f"kept aside: {len(r)} frames, LVID off by {np.median(np.abs(r[:, 1])):.1f} % in the median, {np.abs(r[:, 1]).mean():.1f} % on average; "
          f"rank correlation of spread and error {np.corrcoef(np.arange(len(r)), np.argsort(np.argsort(np.abs(r[:, 1]))))[0, 1]:.2f}")
    return float(r[good[-1], 0]) if len(good) else 0.0


def row(heat: plax.Heat, name: str, gray: Array, want: Array, first: Array) -> Row:
    found = closer.find(heat, gray, first)
    return {"file": name, "px256": (np.hypot(*(found.points - want).T) * 256 / max(gray.shape)).tolist(), "spread": found.spread,
            "lvid_percent": 100 * (plax.lvid(found.points) / plax.lvid(want) - 1), "confidence": found.confidence.tolist()}


def summary(name: str, rows: list[Row]) -> None:
    if not rows:
        print(f"{name}: no frame", flush=True)
        return
    px, lv = np.array([r["px256"] for r in rows]), np.abs([r["lvid_percent"] for r in rows])
    print(f"{name}, {len(rows)}: px at 256 median {np.median(px):.1f} mean {px.mean():.1f} worst {px.max():.1f}; LVID median {np.median(lv):.1f} % "
          f"mean {lv.mean():.1f} % worst {lv.max():.1f} %: " + " ".join(f"{r['lvid_percent']:+.0f}/{r['spread']:.3f}" for r in rows), flush=True)


def worse(rng: Rng, gray: Array, points: Array) -> Array:
    """The frame with further damage around the heart, twice over."""
    half = int(1.7 * plax.lvid(points))
    x, y = np.maximum(points.mean(0).astype(int) - half, 0)
    out = gray.copy()
    part = out[y:y + 2 * half, x:x + 2 * half]
    square = np.zeros((2 * half, 2 * half), np.uint8)
    square[:part.shape[0], :part.shape[1]] = part
    part[:] = closer.damaged(rng, closer.damaged(rng, square))[:part.shape[0], :part.shape[1]]
    return out


def folds(cfg: Config, net: closer.Points, data: Data, parts: list[Part], frames: list[Frame], firsts: dict[str, Array],
          steps: int) -> tuple[list[Row], list[Row]]:
    """Each expert frame by a network that learnt from the others, as it is and four times with further damage."""
    plain, more = [], []
    t = {**cfg["train"], "steps": steps, "warmup": 10, "lr": 0.5 * cfg["train"]["lr"], "ema": 0.96, "log_every": 1 << 30}
    t.pop("minutes", None)
    for k, (name, gray, want) in enumerate(frames):
        others = np.flatnonzero((data["source"] == "plax-restored") & (data["subject"] != name))
        tuned = copy.deepcopy(net)
        tuned.freeze(len(tuned.encoder._blocks))
        tuned = trained({**cfg, "train": {**t, "seed": 100 + k}}, tuned, data, [*parts, (EXPERTS[0], EXPERTS[1], others, EXPERTS[2])], None)
        heat, rng = heat_of(tuned), np.random.default_rng(k)
        plain.append(row(heat, name, gray, want, firsts[name]))
        more += [row(heat, name, worse(rng, gray, want), want, firsts[name]) for _ in range(4)]
        summary(name, plain[-1:])
    return plain, more


def steadiness(heat: plax.Heat, whole: Net, folder: str) -> dict[str, Row]:
    """LVID over each cine of folder: by the first look, by closer ones, and by the M-mode along their median caliper."""
    out: dict[str, Row] = {}
    for file in sorted(glob.glob(os.path.join(folder, "*"))):
        frames, _, _ = sources.read_cine(file)
        first = np.array([first_look(whole, g) for g in frames])
        near = np.median([closer.find(heat, g, np.median(first, 0)).points for g in frames[::8]], 0)
        crops = list(plax.squares(near, (0, 0, frames[0].shape[1], frames[0].shape[0]), 1.0, closer.FACTORS, closer.SHIFTS))
        found = np.array([plax.median_of(*plax.look(heat, g, closer.SIZE, crops, 1.0), 1.0).points for g in frames])
        curve = mmode.trace(frames, found).lvid
        largest, least = np.percentile(curve, (98, 2))
        out[os.path.basename(file)] = {"frames": len(frames), "one look": mmode.unsteadiness(np.array([plax.lvid(p) for p in first])),
                                       "closer looks": mmode.unsteadiness(np.array([plax.lvid(p) for p in found])),
                                       "m-mode": mmode.unsteadiness(curve), "FS": 100 * (1 - least / largest)}
        print(os.path.basename(file), {k: round(v, 2) for k, v in out[os.path.basename(file)].items()}, flush=True)
    return out


def arguments() -> argparse.Namespace:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--config", required=True)
    ap.add_argument("--start", required=True, help="checkpoint of the network for everything, which also takes the first look")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--data", default=os.environ.get("ECHO_DATA"))
    ap.add_argument("--loops", default=os.environ.get("ECHO_LOOPS"))
    ap.add_argument("--checkpoint", help="weights of earlier runs (last.pt, or mean_weights.py's mean of several): nothing is trained")
    ap.add_argument("--minutes", type=float, help="instead of the configuration's")
    ap.add_argument("--folds", type=int, default=0, help="steps of a fold's run; 0 for none")
    ap.add_argument("--cines", help="folder of PLAX cines (GIF, DICOM)")
    ap.add_argument("--out", required=True, help="run folder")
    return ap.parse_args()


def main() -> None:
    args = arguments()
    cfg = tomllib.load(open(args.config, "rb"))
    cfg["train"]["minutes"] = args.minutes or cfg["train"]["minutes"]
    os.makedirs(args.out, exist_ok=True)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = material(cfg, args.data, args.loops, args.cache)
    whole = Net(**cfg["net"])
    whole.load_start(torch.load(args.start, map_location="cpu")["average"])
    parts = dataset.parts(data, cfg)
    net = closer.Points(copy.deepcopy(whole))
    if args.checkpoint:
        net.load_state_dict(torch.load(args.checkpoint, map_location="cpu")["average"])
    else:
        net = trained(cfg, net, data, parts, args.out, args.out if cfg["train"].get("native") else None)
    heat, rng, frames = heat_of(net), np.random.default_rng(3), expert_frames(args.data)
    whole.eval()
    firsts = {name: first_look(whole, gray) for name, gray, _ in frames}
    most = limit(heat, data, rng)
    result: dict[str, Any] = {"limit": most, "expert frames": [row(heat, n, g, p, firsts[n]) for n, g, p in frames],
                              "with further damage": [row(heat, n, worse(rng, g, p), p, firsts[n]) for n, g, p in frames for _ in range(4)]}
    summary("expert frames", result["expert frames"])
    summary(f"of these, spread up to {most:.3f}", [r for r in result["expert frames"] if r["spread"] <= most])
    summary("with further damage", result["with further damage"])
    if args.cines:
        result["cines"] = steadiness(heat, whole, args.cines)
    if args.folds:
        result["left out in turn"], result["left out, further damage"] = folds(cfg, net, data, parts, frames, firsts, args.folds)
        summary("left out in turn", result["left out in turn"])
        summary("left out, with further damage", result["left out, further damage"])
    json.dump(result, open(os.path.join(args.out, "results.json"), "w"), indent=1)


if __name__ == "__main__":
    main()

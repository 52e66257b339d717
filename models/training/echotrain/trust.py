"""What tells a familiar picture from an unlike one, and the limits of a card, chosen on patients held out."""

import json
import os

import numpy as np
import torch

from . import batches, dataset, geometry as geo
from .evaluation import dice, probability, to_network
from .net import VIEWS, Net, Novelty
from .sources import CACHE

MEASURED = [i for i, v in enumerate(VIEWS) if v not in ("PSAX", "other")]
BAD = 0.88  # cavity Dice under which an outline should be flagged
SPARE = 0.05  # of the other outlines that may be flagged


def passes(net, frames, size=16):
    """view probabilities, quality 0..1, deep features and cavity probabilities of float frames [N,1,S,S]."""
    out = []
    with torch.no_grad():
        for i in range(0, len(frames), size):
            mask, _, view, quality, deep = net.everything(frames[i:i + size])
            out.append((torch.softmax(view, 1), torch.sigmoid(quality)[:, 0], deep, probability(mask[:, :1], CACHE)[:, 0].half()))
    return [torch.cat(v) for v in zip(*out)]


def familiar(data, index, size, rng, looks=1):
    """Frames to fit on: each as recorded, and looks times mildly changed; with their views."""
    frames, views = [to_network(data["image"][index], size)], [torch.from_numpy(data["view"][index].astype(np.int64))]
    for _ in range(looks):
        for i in range(0, len(index), 32):
            part = index[i:i + 32]
            b = batches.make(data, part, [{"mild": True, "flip": 0.15, "blur": 0.3}] * len(part), size, rng)
            frames.append(b["frames"])
            views.append(b["view"])
    return torch.cat(frames), torch.cat(views)


def fit(net, data, size, limit, seed=0):
    """Novelty of net on frames of measured views that were trained on; at most limit of a source."""
    rng = np.random.default_rng(seed)
    pick = np.flatnonzero(~data["held"] & np.isin(data["view"], MEASURED) & ~np.char.startswith(data["source"].astype(str), "other"))
    pick = np.concatenate([rng.permutation(pick[data["source"][pick] == s])[:limit] for s in sorted(set(data["source"][pick]))])
    frames, views = familiar(data, pick, size, rng)
    known = torch.isin(views, torch.tensor(MEASURED))
    _, _, deep, _ = passes(net, frames[known])
    return Novelty.fit(deep, views[known])


def choose_limits(net, novelty, data, size):
    """The card's limits from the held-out frames with masks, and the figures behind them.

    novelty: a tenth more than all but one in a hundred of them stay below; expected_dice: flags one in twenty of those whose
    cavity reaches BAD; view: what a vote must have to be more likely than not.
    """
    index = dataset.held_out(data, {})
    view, quality, deep, cavity = passes(net, to_network(data["image"][index], size))
    reached = np.array([dice(geo.largest(p.float().numpy() > 0.5), data["label"][i] == geo.LV) for p, i in zip(cavity, index)])
    far = novelty(deep)[:, 0].numpy()
    p, right = view.max(1).values.numpy(), (view.argmax(1).numpy() == data["view"][index])
    bad = reached < BAD
    limit = 0.0 if bad.all() else float(np.quantile(quality.numpy()[~bad], SPARE))
    flagged = quality.numpy() < limit
    limits = {"view": 0.5, "novelty": round(float(np.quantile(far, 0.99)) * 1.1, 3), "expected_dice": round(limit, 4)}
    figures = {"frames": len(index), "bad": int(bad.sum()), "bad_flagged": int((bad & flagged).sum()), "good_flagged": int((~bad & flagged).sum()),
               "correlation": float(np.corrcoef(quality.numpy(), reached)[0, 1]), "views_right": int(right.sum()),
               "views_right_above": int((right & (p >= limits["view"])).sum()), "novelty_quantiles": np.quantile(far, (0.5, 0.9, 0.95, 0.99, 1)).round(3).tolist()}
    return limits, figures


def add(path, data, log, per_source=150):
    """Fits the novelty of the checkpoint at path, saves it there, and returns network and novelty."""
    saved = torch.load(path, map_location="cpu")
    net = Net(**saved["config"]["net"]).eval()
    net.load_start(saved["average"])
    if "novelty" not in saved:
        log("fitting novelty")
        saved["novelty"] = fit(net, data, saved["config"]["export"]["size"], per_source).state_dict()
        torch.save(saved, path + ".tmp")
        os.replace(path + ".tmp", path)
    return net, Novelty.load(saved["novelty"])


def write_limits(path, net, novelty, data, size, log):
    """Writes {"limits", "figures"} of choose_limits as JSON."""
    limits, figures = choose_limits(net, novelty, data, size)
    with open(path, "w") as f:
        json.dump({"limits": limits, "figures": figures}, f, indent=1)
    log(f"limits {json.dumps(limits)} from {json.dumps(figures)}")

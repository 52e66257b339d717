#!/usr/bin/env python3
"""Measures an exported network on the held-out fold and writes results.json, tables and plots. See README.md."""

import argparse
import csv
import json
import os
import time
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from echotrain import augment, dataset, geometry as geo, infer, report, sources
from echotrain import evaluation as ev
from echotrain.kinds import Array, Config, Rng
from echotrain.names import CLASSES, KEYPOINTS

Frame = tuple[str, str, str, Array, Array]  # source, subject, phase, gray, label 0..3
Change = Callable[[Array, Array], tuple[Array, Array]]
MM = 0.308  # CAMUS, isotropic
STRUCTURES = {f.source: CLASSES if f.full else CLASSES[:1] for f in sources.FOLDERS}


def held_frames(root: str, cfg: Config) -> Iterator[Frame]:
    """Yields (source, subject, phase, gray, label 0..3) of the held-out frames; restored A2C reduced 2.5x (see the data README)."""
    cfg["fold"]["a2c_subjects"] = sorted({subject for folder, subject, *_ in sources.png_frames(root, ("A2C",))})
    for folder, subject, phase, gray, label in sources.png_frames(root):
        if dataset.is_held_out(subject, cfg):
            yield folder.source, subject, phase, coarse(gray) if folder.coarse else gray, label


def coarse(gray: Array, factor: float = 2.5) -> Array:
    """Reduced and enlarged again, so that a 1 px line cannot be seen."""
    h, w = gray.shape
    small = Image.fromarray(gray).resize((int(w / factor), int(h / factor)), Image.BOX)
    return np.asarray(small.resize((w, h), Image.BICUBIC))


def one_frame(model: infer.Model, source: str, gray: Array, lab: Array, mm: float) -> dict[str, Any]:
    """All measures of one frame."""
    r = model.frame(gray)
    names, p = infer.plain_views(r.view, model.card["views"])
    out = {"view": p.tolist(), "said": names[int(np.argmax(p))], "extras": r.extras, "confidence": r.confidence.tolist(), "dice": {}, "hd95": {}, "msd": {}}
    for c, name in enumerate(STRUCTURES[source]):
        truth = lab == c + 1
        if truth.sum() < 50:
            continue
        mask = geo.largest(r.masks[c] > 0.5)
        out["dice"][name] = ev.dice(mask, truth)
        out["hd95"][name], out["msd"][name] = ev.surface_distances(mask, truth, mm)
    true_points = geo.apical_points(lab) if len(STRUCTURES[source]) > 1 else geo.apical_points_from_cavity(lab == 1)
    cavity = geo.largest(r.masks[0] > 0.5)
    if true_points is not None:
        d = np.hypot(*(r.points[:3] - true_points).T)
        out["point_mm"] = (d * mm).tolist()
        out["point_px256"] = (d * 256 / max(gray.shape)).tolist()
        out["volume_truth"] = ev.volume(geo.largest(lab == 1), true_points[1:3], mm)
        out["volume"] = ev.volume(cavity, r.points[1:3], mm)
    return out


def perturbations(rng: Rng) -> dict[str, Change]:
    """Name -> function(gray, label) -> (gray, label): the robustness table."""
    def turn(deg: float) -> Change:
        return lambda g, l: (ndimage.rotate(g, deg, reshape=False, order=1), ndimage.rotate(l, deg, reshape=False, order=0))

    def gain(f: float, gamma: float = 1.0) -> Change:
        return lambda g, l: ((255 * np.clip((g / 255.0) ** gamma * f, 0, 1)).astype(np.uint8), l)

    def pad(f: float) -> Change:
        def go(g: Array, l: Array) -> tuple[Array, Array]:
            h, w = g.shape
            p = [(int(h * (f - 1) / 2),) * 2, (int(w * (f - 1) / 2),) * 2]
            return np.pad(g, p), np.pad(l, p)
        return go

    def crop(margin: float) -> Change:
        def go(g: Array, l: Array) -> tuple[Array, Array]:
            y, x = np.nonzero(l == 1)
            my, mx = margin * np.ptp(y), margin * np.ptp(x)
            y0, y1 = int(max(0, y.min() - my)), int(min(g.shape[0], y.max() + my))
            x0, x1 = int(max(0, x.min() - 2 * mx)), int(min(g.shape[1], x.max() + 2 * mx))
            return g[y0:y1, x0:x1], l[y0:y1, x0:x1]
        return go

    def text(g: Array, l: Array) -> tuple[Array, Array]:
        g2, l2 = pad(1.3)(g, l)
        return augment.graphics(rng, augment.graphics(rng, g2.copy())), l2

    def noise(s: float) -> Change:
        return lambda g, l: (np.clip(g + g * rng.standard_normal(g.shape) * s + 8 * rng.standard_normal(g.shape) * (g > 0), 0, 255).astype(np.uint8), l)

    return {"none": lambda g, l: (g, l), "gain x0.4": gain(0.4), "gain x1.8": gain(1.8), "gamma 0.6": gain(1, 0.6), "gamma 1.7": gain(1, 1.7),
            "rotated -20 deg": turn(-20), "rotated 20 deg": turn(20), "picture at 60 %": pad(1 / 0.6), "cropped to the ventricle": crop(0.12),
            "text, ECG, scales": text, "speckle 0.4": noise(0.4), "squeezed 20 %": lambda g, l: tuple(np.asarray(Image.fromarray(v).resize((int(v.shape[1] * 0.8), v.shape[0]), o)) for v, o in ((g, Image.BOX), (l, Image.NEAREST)))}


def still(rng: Rng, gray: Array) -> Array:
    """The same heart a moment later: other speckle (a sixth of the brightness, as fine as the picture's), gain by 3 %, moved by half a pixel or so."""
    noise = ndimage.gaussian_filter(rng.standard_normal(gray.shape), 1.0)
    out = ndimage.shift(gray.astype(float), rng.normal(0, 0.6, 2), order=1) * (1 + noise / noise.std() / 6) * np.exp(rng.normal(0, 0.03))
    return np.clip(out, 0, 255).astype(np.uint8)


def jitter(model: infer.Model, frames: list[Frame], rng: Rng, versions: int = 12) -> dict[str, list[float]]:
    """Standard deviation of the cavity's area in per cent of its mean over versions of each frame as a still heart, by view."""
    out: dict[str, list[float]] = {}
    for source, _, _, gray, _ in frames:
        areas = [geo.largest(model.frame(still(rng, gray)).masks[0] > 0.5).sum() for _ in range(versions)]
        out.setdefault(report.TITLES[source], []).append(float(100 * np.std(areas, ddof=1) / max(np.mean(areas), 1)))
    return out


def plax(model: infer.Model, root: str) -> list[dict[str, Any]]:
    """Errors on plax-restored, per frame: px at 256 and LVID error in per cent."""
    out = []
    path = os.path.join(root, "plax-restored", "points.csv")
    for row in csv.DictReader(open(path)) if os.path.exists(path) else []:
        gray = np.asarray(Image.open(os.path.join(root, "plax-restored", row["file"])).convert("L"))
        want = np.array([[float(row[f"{k}_{c}"]) for c in "xy"] for k in KEYPOINTS[3:]])
        r = model.frame(gray)
        got = r.points[3:]
        lvid = lambda p: np.hypot(*(p[1] - p[2]))
        out.append({"file": row["file"], "px256": (np.hypot(*(got - want).T) * 256 / max(gray.shape)).tolist(),
                    "lvid_percent": float(100 * abs(lvid(got) - lvid(want)) / lvid(want)), "confidence": r.confidence[3:].tolist(), "view": r.view.tolist()})
    return out


def loops(model: infer.Model, folder: str, table: str) -> list[dict[str, Any]]:
    """View votes, and the cavity area curve of apical loops."""
    out = []
    for row in csv.DictReader(l for l in open(table) if not l.startswith("#")):
        frames, crop, aspect = sources.dicom_frames(os.path.join(folder, row["file"]))
        views, areas = [], []
        for g in frames[:48]:
            mask, _, view, _ = model.raw(geo.letterbox(g, model.size, crop, aspect)[0][None, None])
            views.append(view[0])
            areas.append(float(geo.largest(mask[0, 0] > 127).sum()))
        names, p = infer.plain_views(views, model.card["views"])
        mean = p.mean(0)
        item = {"file": row["file"], "view": row["view"], "group": row["group"], "said": names[int(np.argmax(mean))], "p": mean.tolist(),
                "names": names, "frames": p.tolist()}
        if row["view"] in ("A4C", "A2C", "A3C"):
            item["area"], item["roughness"] = areas, ev.roughness(areas)
        out.append(item)
    return out


def speed(path: str) -> dict[str, float]:
    """ms per frame, batch 1, with one and two threads: the best of five rounds of 30 (the machine is shared)."""
    out = {}
    for threads in (1, 2):
        m = infer.Model(path, threads)
        x = np.zeros((1, 1, m.size, m.size), np.uint8)
        rounds = []
        for _ in range(6):
            t = time.perf_counter()
            for _ in range(30):
                m.raw(x)
            rounds.append((time.perf_counter() - t) / 30 * 1e3)
        out[str(threads)] = min(rounds[1:])
    return out


def worst_sheet(path: str, items: list[Any], model: infer.Model, n: int = 10) -> None:
    """Picture of the n frames with the lowest cavity Dice: expert contour green, network red."""
    tiles = []
    for source, subject, phase, gray, lab, d in sorted(items, key=lambda i: i[5])[:n]:
        r = model.frame(gray)
        tiles.append(report.tile(gray, r, truth=lab == 1, text=f"{subject} {phase} {source[:3]} {d:.3f}"))
    report.sheet(path, tiles, 5)


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--config", required=True, help="the training configuration: it defines the fold")
    ap.add_argument("--model", required=True)
    ap.add_argument("--data", default=os.environ.get("ECHO_DATA"))
    ap.add_argument("--loops", default=os.environ.get("ECHO_LOOPS"))
    ap.add_argument("--out", required=True, help="folder for results.json, tables.md, volumes.csv and pictures")
    ap.add_argument("--card", help="Markdown file whose part between <!-- tables --> and <!-- end --> is replaced; plots go to card/ beside it")
    ap.add_argument("--limits", help="limits.json of the run: draws expected against reached Dice")
    ap.add_argument("--quick", action="store_true", help="Dice, points and EF only")
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    root = os.path.join(args.data, "echo-labelled")
    os.makedirs(args.out, exist_ok=True)
    model = infer.Model(args.model, 1)
    rng = np.random.default_rng(0)
    frames = list(held_frames(root, cfg))
    results = {"card": model.card, "frames": [], "robustness": {}}
    for s, p, ph, g, lab in frames:
        results["frames"].append({"source": s, "subject": p, "phase": ph, **one_frame(model, s, g, lab, MM)})
    dices = [f["dice"]["lv_cavity"] for f in results["frames"]]
    worst_sheet(os.path.join(args.out, "worst.png"), [(*f, d) for f, d in zip(frames, dices)], model)
    results["plax"] = plax(model, root)
    if not args.quick:
        for name, change in perturbations(rng).items():
            got = []
            for s, p, ph, g, lab in frames:
                g2, l2 = change(g, lab)
                r = model.frame(np.ascontiguousarray(g2))
                got.append(ev.dice(geo.largest(r.masks[0] > 0.5), l2 == 1))
            results["robustness"][name] = [float(np.mean(got)), float(np.percentile(got, 5))]
        results["still"] = jitter(model, frames, rng)
        results["speed"] = speed(args.model)
        if args.loops:
            results["loops"] = loops(model, args.loops, os.path.join(os.path.dirname(os.path.abspath(__file__)), "loops.csv"))
    json.dump(results, open(os.path.join(args.out, "results.json"), "w"))
    report.volumes(os.path.join(args.out, "volumes.csv"), results["frames"])
    text = report.tables(results)
    open(os.path.join(args.out, "tables.md"), "w").write(text)
    print(text)
    if not args.quick:
        report.plots(results, args.out)
    if args.limits:
        report.trust(json.load(open(args.limits))["figures"], args.out)
        if args.card:
            report.trust(json.load(open(args.limits))["figures"], os.path.join(os.path.dirname(os.path.abspath(args.card)), "card"))
    if args.card:
        card = open(args.card).read()
        head, rest = card.split("<!-- tables -->", 1)
        open(args.card, "w").write(f"{head}<!-- tables -->\n\n{text}\n<!-- end -->{rest.split('<!-- end -->', 1)[1]}")
        folder = os.path.join(os.path.dirname(os.path.abspath(args.card)), "card")
        os.makedirs(folder, exist_ok=True)
        report.plots(results, folder)


if __name__ == "__main__":
    main()

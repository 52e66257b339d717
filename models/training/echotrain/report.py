"""Tables, plots and contact sheets."""

import csv
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from . import evaluation as ev
from .infer import Result
from .kinds import Array, Config
from .names import CLASSES, EXTRAS, KEYPOINTS, MIRRORED, VIEWS

COLOURS = {"lv_cavity": (255, 70, 60), "lv_myocardium": (60, 200, 90), "left_atrium": (90, 130, 255)}
POINT_COLOURS = [(255, 255, 0), (255, 0, 255), (0, 255, 255), (255, 170, 0), (255, 255, 0), (0, 255, 255), (255, 255, 255)]
TITLES = {"a4c": "A4C", "a2c-restored": "A2C", "a2c-2": "A2C"}


def outline(mask: Array) -> Array:
    return mask & ~ndimage.binary_erosion(mask)


def tile(gray: Array, result: Result, truth: Array | None = None, text: str = "", width: int = 320, height: int = 260, points: Sequence[int] | None = None, floor: float = 0.2, masks: bool = True) -> Image.Image:
    """One picture: contours, points with a confidence above floor, text; crop is not applied."""
    s = min(width / gray.shape[1], height / gray.shape[0])
    w, h = int(gray.shape[1] * s), int(gray.shape[0] * s)
    resize = lambda a, m: np.asarray(Image.fromarray(a).resize((w, h), m))
    rgb = np.stack([resize(gray, Image.BOX)] * 3, -1)
    rgb = (255 * (rgb / 255.0) ** 0.7).astype(np.uint8)
    for c, name in reversed(list(enumerate(CLASSES))) if masks else ():
        rgb[outline(resize((result.masks[c] * 255).astype(np.uint8), Image.BILINEAR) > 127)] = COLOURS[name]
    if truth is not None:
        rgb[outline(resize((truth * 255).astype(np.uint8), Image.BILINEAR) > 127)] = (120, 255, 0)
    out = Image.new("RGB", (width, height))
    out.paste(Image.fromarray(rgb), (0, 0))
    d = ImageDraw.Draw(out)
    for k in points if points is not None else range(len(KEYPOINTS)):
        if result.confidence[k] >= floor:
            x, y = result.points[k] * s
            d.ellipse([x - 2.5, y - 2.5, x + 2.5, y + 2.5], outline=POINT_COLOURS[k])
    d.text((3, height - 12), text, fill=(255, 255, 255))
    return out


def sheet(path: str, tiles: list[Image.Image], columns: int) -> None:
    if not tiles:
        return
    w, h = tiles[0].size
    out = Image.new("RGB", (columns * w, -(-len(tiles) // columns) * h))
    for i, t in enumerate(tiles):
        out.paste(t, (i % columns * w, i // columns * h))
    out.save(path)


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _stats(values: Sequence[float], digits: int = 3) -> list[str]:
    v = np.asarray([x for x in values if np.isfinite(x)], float)
    if not len(v):
        return ["-"] * 4
    return [f"{v.mean():.{digits}f}", f"{np.median(v):.{digits}f}", f"{v.min():.{digits}f}", f"{v.max():.{digits}f}"]


def ejection(frames: list[Config], title: str) -> dict[str, dict[str, list[float]]]:
    """Paired volumes and EF of one view: dict with arrays truth and got for EDV, ESV, EF."""
    by: dict[str, dict[str, tuple[float, float]]] = {}
    for f in frames:
        if TITLES[f["source"]] == title and "volume" in f:
            by.setdefault(f["subject"], {})[f["phase"]] = (f["volume_truth"], f["volume"])
    pairs = [v for v in by.values() if "ED" in v and "ES" in v]
    ed, es = np.array([p["ED"] for p in pairs]), np.array([p["ES"] for p in pairs])
    if not len(pairs):
        return {}
    ef = 100 * (ed - es) / ed
    return {k: {"truth": v[:, 0].tolist(), "got": v[:, 1].tolist()} for k, v in (("EDV mL", ed), ("ESV mL", es), ("EF points", ef))}


def volumes(path: str, frames: list[Config]) -> int:
    """CSV of the patients with both phases for conformance/bench/grade: volumes in mL and EF in per cent by expert and network, Dice,
    and what the network expected and found unlike. Returns how many patients."""
    by: dict[tuple[str, str], dict[str, Config]] = {}
    for f in frames:
        if "volume" in f:
            by.setdefault((TITLES[f["source"]], f["subject"]), {})[f["phase"]] = f
    pairs = [(*k, p["ED"], p["ES"]) for k, p in sorted(by.items()) if "ED" in p and "ES" in p]
    ef = lambda d, s: 100 * (d - s) / d
    with open(path, "w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow("view subject edv_expert esv_expert ef_expert edv esv ef dice_ed dice_es expected_ed expected_es novelty_ed novelty_es".split())
        for view, subject, d, s in pairs:
            truth, got = [[f[k] for f in (d, s)] for k in ("volume_truth", "volume")]
            table.writerow([view, subject, *(f"{v:.2f}" for v in (*truth, ef(*truth), *got, ef(*got))), *(f"{f['dice']['lv_cavity']:.4f}" for f in (d, s)),
                            *(f"{f['extras'][k]:.4f}" if k in f["extras"] else "" for k in EXTRAS for f in (d, s))])
    return len(pairs)


def steadiness(still: dict[str, list[float]]) -> str:
    """One sentence on the area's standard deviation in per cent over still hearts, by view."""
    if not still:
        return ""
    of = "; ".join(f"{view} {np.mean(v):.2f} % on average, {np.median(v):.2f} % in the median, {np.quantile(v, 0.9):.2f} % for all but a tenth ({len(v)} frames)" for view, v in still.items())
    return f"Area of the cavity over still hearts (standard deviation over twelve versions of a held-out frame with other speckle, gain and place): {of}."


def tables(r: Config) -> str:
    """All tables as Markdown."""
    fr = r["frames"]
    out = ["### Segmentation", "", row("view", "phase", "structure", "n", "Dice mean", "median", "worst", "HD95 mm", "MSD mm"), row(*["---"] * 9)]
    for title in ("A4C", "A2C"):
        for phase in ("ED", "ES"):
            for c in CLASSES:
                sel = [f for f in fr if TITLES[f["source"]] == title and f["phase"] == phase and c in f["dice"]]
                if sel:
                    d = _stats([f["dice"][c] for f in sel])
                    out.append(row(title, phase, c, str(len(sel)), *d[:3], _stats([f["hd95"][c] for f in sel], 2)[0], _stats([f["msd"][c] for f in sel], 2)[0]))
    out += ["", "### Keypoints (apical, derived from the expert masks)", "", row("view", "point", "n", "mean mm", "median mm", "worst mm", "mean px at 256"), row(*["---"] * 7)]
    for title in ("A4C", "A2C"):
        sel = [f for f in fr if TITLES[f["source"]] == title and "point_mm" in f]
        for k in range(3):
            if sel:
                m = _stats([f["point_mm"][k] for f in sel], 2)
                out.append(row(title, KEYPOINTS[k], str(len(sel)), m[0], m[1], m[3], _stats([f["point_px256"][k] for f in sel], 2)[0]))
    out += ["", "### Volumes and ejection fraction (single plane, 20 disks, against the same computed from the expert masks)", "",
            row("view", "quantity", "n", "bias", "limits of agreement", "mean absolute error", "r"), row(*["---"] * 7)]
    for title in ("A4C", "A2C"):
        for quantity, v in ejection(fr, title).items():
            a = ev.agreement(v["got"], v["truth"])
            out.append(row(title, quantity, str(a["n"]), f"{a['bias']:+.1f}", f"± {a['loa']:.1f}", f"{a['mae']:.1f}", f"{a['r']:.2f}"))
    if r.get("plax"):
        px = np.array([f["px256"] for f in r["plax"]])
        out += ["", "### PLAX points on the expert frames", "", row("point", "median px at 256", "mean", "worst"), row(*["---"] * 4)]
        for k in range(4):
            out.append(row(KEYPOINTS[3 + k], f"{np.median(px[:, k]):.1f}", f"{px[:, k].mean():.1f}", f"{px[:, k].max():.1f}"))
        out.append(row("all", f"{np.median(px):.1f}", f"{px.mean():.1f}", f"{px.max():.1f}"))
        lv = [f["lvid_percent"] for f in r["plax"]]
        out += ["", f"LVID error: median {np.median(lv):.1f} %, mean {np.mean(lv):.1f} %, worst {max(lv):.1f} % (n {len(lv)})."]
    if r.get("robustness"):
        out += ["", "### Robustness (cavity Dice, all held-out frames)", "", row("change", "mean", "5th percentile"), row(*["---"] * 3)]
        out += [row(k, f"{v[0]:.3f}", f"{v[1]:.3f}") for k, v in r["robustness"].items()]
    if r.get("loops"):
        out += ["", "### View head on the example loops (mean over frames)", "", row("label", "loops", "right", "said otherwise"), row(*["---"] * 4)]
        for view in [v for v in VIEWS if v not in MIRRORED.values()]:
            sel = [l for l in r["loops"] if l["view"] == view]
            if sel:
                wrong = ", ".join(f"{l['file'][5:8]} {l['said']}" for l in sel if l["said"] != view)
                out.append(row(view, str(len(sel)), str(sum(l["said"] == view for l in sel)), wrong or "-"))
        rough = {l["file"]: l["roughness"] for l in r["loops"] if "roughness" in l}
        out += ["", "Area-curve roughness (RMS of the second difference over the range): " + ", ".join(f"{k[5:8]} {v:.2f}" for k, v in rough.items()) + "."]
    if r.get("still"):
        out += ["", steadiness(r["still"])]
    if r.get("speed"):
        out += ["", "Speed, ONNX Runtime CPU, batch 1: " + ", ".join(f"{k} thread(s) {v:.1f} ms ({1e3 / v:.0f} frames/s)" for k, v in r["speed"].items()) + "."]
    return "\n".join(out) + "\n"


def calibration(r: Config, bins: int = 10) -> Any:
    """Reliability of the view head: (mean confidence, accuracy, n) per bin over all frames with a known view."""
    p, ok = [], []
    for f in r["frames"]:
        p.append(max(f["view"]))
        ok.append(f["said"] == TITLES[f["source"]])
    for l in r.get("loops", []):
        for v in l["frames"]:
            p.append(max(v))
            ok.append(l["names"][int(np.argmax(v))] == l["view"])
    sure, right = np.array(p), np.array(ok)
    rows = []
    for i in range(bins):
        sel = (sure > i / bins) & (sure <= (i + 1) / bins)
        if sel.any():
            rows.append((float(sure[sel].mean()), float(right[sel].mean()), int(sel.sum())))
    return rows


def trust(figures: Config, folder: str) -> None:
    """dice.svg: the Dice that was expected of each held-out frame, without its patient, against the one reached."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "echonode"
    expected, reached = (np.array([row[k] for row in figures["rows"]]) for k in (2, 3))
    fig, a = plt.subplots(figsize=(3.6, 3.2))
    a.plot([0.7, 1], [0.7, 1], color="0.7", linewidth=1)
    a.axhline(0.88, color="0.4", linestyle=":", linewidth=1)
    a.scatter(expected, reached, s=9)
    edges = np.quantile(expected, np.linspace(0, 1, 6))
    for lo, hi in zip(edges[:-1], edges[1:]):
        sel = (expected >= lo) & (expected <= hi)
        a.plot(expected[sel].mean(), reached[sel].mean(), "s", color="C3", markersize=5)
    a.set_xlabel("expected Dice (fitted without the patient)", fontsize=8)
    a.set_ylabel("reached Dice", fontsize=8)
    fig.tight_layout()
    fig.savefig(f"{folder}/dice.svg", metadata={"Date": None})
    plt.close("all")


def plots(r: Config, folder: str) -> None:
    """ef.svg (Bland-Altman), views.svg (reliability), areas.svg (area curves of the real loops)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "echonode"
    fig, ax = plt.subplots(1, 2, figsize=(8, 3.2))
    for a, title in zip(ax, ("A4C", "A2C")):
        e = ejection(r["frames"], title).get("EF points")
        if e:
            t, g = np.array(e["truth"]), np.array(e["got"])
            d = g - t
            a.scatter((g + t) / 2, d, s=12)
            for v, style in ((d.mean(), "-"), (d.mean() - 1.96 * d.std(ddof=1), ":"), (d.mean() + 1.96 * d.std(ddof=1), ":")):
                a.axhline(v, color="0.4", linestyle=style, linewidth=1)
        a.set_title(f"EF, {title}", fontsize=9)
        a.set_xlabel("mean of network and expert, %", fontsize=8)
        a.set_ylabel("network - expert, points", fontsize=8)
    fig.tight_layout()
    fig.savefig(f"{folder}/ef.svg", metadata={"Date": None})
    fig, a = plt.subplots(figsize=(3.6, 3.2))
    rows = calibration(r)
    a.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    a.plot([x[0] for x in rows], [x[1] for x in rows], "o-", markersize=4)
    for x in rows:
        a.annotate(str(x[2]), (x[0], x[1]), fontsize=6)
    a.set_xlabel("confidence of the named view", fontsize=8)
    a.set_ylabel("share right", fontsize=8)
    fig.tight_layout()
    fig.savefig(f"{folder}/views.svg", metadata={"Date": None})
    curves = [l for l in r.get("loops", []) if "area" in l]
    if curves:
        fig, axes = plt.subplots(3, -(-len(curves) // 3), figsize=(9, 4.5))
        for a, l in zip(axes.ravel(), curves):
            a.plot(l["area"], linewidth=1)
            a.set_ylim(0)
            a.set_title(f"{l['file'][2:8]} {l['view']}", fontsize=7)
            a.tick_params(labelsize=5)
        fig.tight_layout()
        fig.savefig(f"{folder}/areas.svg", metadata={"Date": None})
    plt.close("all")

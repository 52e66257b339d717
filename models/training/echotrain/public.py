"""Readers for the public data sets in the form in which they are handed out.

CAMUS            <root>/patientNNNN/patientNNNN_{2CH,4CH}_{ED,ES}.nii.gz with ..._gt.nii.gz, or .mhd (Leclerc et al. 2019)
EchoNet-Dynamic  <root>/FileList.csv, VolumeTracings.csv, Videos/*.avi (Ouyang et al., Nature 2020)
EchoNet-LVH      <root>/MeasurementsList.csv and the AVI files anywhere below (Duffy et al., JAMA Cardiology 2022)
"""

import csv
import glob
import os
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from . import geometry as geo
from . import sample, video, volumes
from .kinds import Array


def read_camus(root: str) -> list[sample.Sample]:
    """A4C and A2C frames with all three structures; pictures are made isotropic first."""
    out = []
    for kind, view in (("4CH", "A4C"), ("2CH", "A2C")):
        for gt in sorted(glob.glob(os.path.join(root, "*", f"*_{kind}_E[DS]_gt.*"))):
            if not gt.endswith((".nii", ".nii.gz", ".mhd")):
                continue
            stem, ext = gt.split("_gt.", 1)
            image, (dy, dx) = volumes.read(f"{stem}.{ext}")
            label, _ = volumes.read(gt)
            if image.shape != label.shape or image.ndim != 2:
                raise ValueError(f"{gt}: mask {label.shape} does not fit image {image.shape}")
            h, w = image.shape
            size = (w, int(round(h * dy / dx)))
            gray = np.asarray(Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).resize(size, Image.BOX))
            lab = np.asarray(Image.fromarray(label.astype(np.uint8)).resize(size, Image.NEAREST))
            subject, _, phase = os.path.basename(stem).split("_")
            out.append(sample.labelled_sample(gray, lab, view, phase, subject, "camus", dx))
    return out


def tracing_polygon(rows: Array) -> tuple[Array, Array, Array]:
    """Polygon, apex and the two ends of the most basal chord of one VolumeTracings.csv frame.

    rows: [n,4] X1 Y1 X2 Y2; the first is the long axis, the others are the chords of the disks along it.
    """
    axis, chords = rows[0].reshape(2, 2), rows[1:]
    middle = (chords[:, :2] + chords[:, 2:]) / 2
    ends = axis[np.argsort(axis[:, 1])]  # apex up
    apex = ends[0]
    base = chords[np.argmax(np.hypot(*(middle - apex).T))].reshape(2, 2)
    polygon = np.concatenate([chords[:, :2], chords[::-1, 2:]])
    return polygon, apex, base[np.argsort(base[:, 0])]


def read_echonet_dynamic(root: str) -> list[sample.Sample]:
    """A4C cavity masks from VolumeTracings.csv; the two traced frames of each video."""
    traces: dict[tuple[str, int], list[list[float]]] = {}
    for r in csv.DictReader(open(os.path.join(root, "VolumeTracings.csv"))):
        key = (os.path.splitext(r["FileName"])[0], int(r["Frame"]))
        traces.setdefault(key, []).append([float(r[k]) for k in ("X1", "Y1", "X2", "Y2")])
    out, videos = [], {}
    areas: dict[str, list[tuple[int, sample.Sample]]] = {}
    for (name, frame), rows in sorted(traces.items()):
        path = os.path.join(root, "Videos", name + ".avi")
        if len(rows) < 4 or not os.path.exists(path):
            continue
        if name not in videos:
            videos = {name: video.read_avi(path)}  # one at a time
        if not 0 <= frame < len(videos[name]):
            continue
        gray = videos[name][frame]
        polygon, apex, base = tracing_polygon(np.array(rows))
        mask = Image.new("L", gray.shape[::-1])
        ImageDraw.Draw(mask).polygon([tuple(p) for p in polygon], fill=geo.LV)
        s = sample.labelled_sample(gray, np.asarray(mask), "A4C", "", name, "echonet-dynamic", float("nan"), full=False)
        crop = (0, 0, gray.shape[1], gray.shape[0])
        s.points[sample.APICAL] = geo.to_input(np.stack([apex, *base]), geo.letterbox_map(crop, sample.CACHE), crop)
        s.state[sample.APICAL] = 1
        areas.setdefault(name, []).append((int((s.label == geo.LV).sum()), s))
        out.append(s)
    for pair in areas.values():  # the larger of the two is end diastole
        for i, (_, s) in enumerate(sorted(pair, key=lambda p: -p[0])):
            s.phase = "ED" if i == 0 else "ES"
    return out


def caliper_points(ivs: Array, lvid: Array, lvpw: Array) -> Array:
    """The four points in network order from three calipers, each [2,2], in whatever direction they were drawn."""
    near = lambda seg, other: seg[np.argmin([np.hypot(*(other - p).T).min() for p in seg])]
    far = lambda seg, other: seg[np.argmax([np.hypot(*(other - p).T).min() for p in seg])]
    return np.stack([far(ivs, lvid), near(lvid, ivs), near(lvid, lvpw), far(lvpw, lvid)])


def read_echonet_lvh(root: str, phases: Sequence[str] = ("d", "s")) -> list[sample.Sample]:
    """PLAX points: frames on which IVS, LVID and LVPW of one phase are all measured."""
    found = {os.path.splitext(os.path.basename(f))[0]: f for f in glob.glob(os.path.join(root, "**", "*.avi"), recursive=True)}
    calipers: dict[tuple[str, int], dict[str, tuple[Array, float, float]]] = {}
    for r in csv.DictReader(open(os.path.join(root, "MeasurementsList.csv"))):
        key = (r["HashedFileName"], int(float(r["Frame"])))
        calipers.setdefault(key, {})[r["Calc"]] = (np.array([[float(r["X1"]), float(r["Y1"])], [float(r["X2"]), float(r["Y2"])]]),
                                                   float(r.get("Width") or 0), float(r.get("Height") or 0))
    out, videos = [], {}
    for (name, frame), c in sorted(calipers.items()):
        for phase in phases:
            names = [k + phase for k in ("IVS", "LVID", "LVPW")]
            if name not in found or not all(n in c for n in names):
                continue
            if name not in videos:
                videos = {name: video.read_avi(found[name])}
            if not 0 <= frame < len(videos[name]):
                continue
            gray = videos[name][frame]
            scale = gray.shape[1] / c[names[1]][1] if c[names[1]][1] else 1.0  # points are given on the recorded size
            pts = caliper_points(*[c[n][0] for n in names]) * scale
            s = sample.points_sample(gray, (0, 0, gray.shape[1], gray.shape[0]), pts, name, "echonet-lvh")
            s.phase = "ED" if phase == "d" else "ES"
            out.append(s)
    return out


READERS: dict[str, Callable[[str], list[sample.Sample]]] = {"camus": read_camus, "echonet-dynamic": read_echonet_dynamic, "echonet-lvh": read_echonet_lvh}

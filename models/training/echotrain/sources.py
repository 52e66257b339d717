"""Readers that turn the PNG folders and the example loops into Samples. Public data sets: public.py."""

import csv
import dataclasses
import glob
import io
import os
import re
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from . import geometry as geo
from .kinds import Array, Crop
from .names import KEYPOINTS, VIEWS
from .sample import CACHE, PLAX_POINTS, Sample, absent, labelled_sample, marked, points_sample

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of CAMUS frames as PNG, img/ and mask/ (see the README of the data).

    source: its name in the cache. coding: grey value of the mask -> structure (see geometry). full: all structures are
    labelled. coarse: the frames carry an interpolated border line and are reduced 2.5 times so that it cannot be learnt.
    """

    name: str
    view: str
    source: str
    coding: dict
    full: bool = True
    coarse: bool = False
    weight: float = 1.0


_ALL = {85: geo.LV, 170: geo.MYO, 255: geo.LA}
FOLDERS = (Folder("a4c", "A4C", "a4c", _ALL), Folder("a4c-2", "A4C", "a4c", _ALL),
           Folder("a2c-restored", "A2C", "a2c-restored", {255: geo.LV}, full=False, coarse=True),
           Folder("a2c-2", "A2C", "a2c-2", _ALL, weight=2.0))


def png_frames(root: str, views: Sequence[str] = ("A4C", "A2C")) -> Iterator[tuple[Folder, str, str, Array, Array]]:
    """Yields folder, subject, phase, gray, label 0..3 of every frame of the views with a mask below root."""
    for folder in (f for f in FOLDERS if f.view in views):
        for path in sorted(glob.glob(os.path.join(root, folder.name, "img", "*.png"))):
            name = os.path.basename(path)
            subject, phase = re.findall(r"^(patient\d+n?)_(E[DS])", name)[0]
            gray = np.asarray(Image.open(path).convert("L"))
            raw = np.asarray(Image.open(os.path.join(root, folder.name, "mask", name)).convert("L"))
            label = np.zeros_like(raw)
            for value, structure in folder.coding.items():
                label[raw == value] = structure
            yield folder, subject, phase, gray, label


def read_png_frames(root: str) -> list[Sample]:
    """The frames of FOLDERS as Samples."""
    out = []
    for f, subject, phase, gray, label in png_frames(root):
        coarse = int(max(gray.shape) / 2.5) if f.coarse else None
        s = labelled_sample(gray, label, f.view, phase, subject, f.source, 0.308, f.full, coarse)
        s.weight = f.weight
        out.append(s)
    return out


def read_a2c_views(root: str) -> list[Sample]:
    """<root>/a2c-view-only: A2C pictures known by their view alone; those squeezed to a square are widened again."""
    out = []
    for path in sorted(glob.glob(os.path.join(root, "a2c-view-only", "*.png"))):
        gray = np.asarray(Image.open(path).convert("L"))
        name = os.path.basename(path)
        subject = re.findall(r"^(?:patient\d+|unknown_sample_\d+)", name)[0]
        square = gray.shape[0] == gray.shape[1]
        img, m = geo.letterbox(gray, CACHE, aspect=0.82 if square else 1.0)  # CAMUS pictures are 1.1 to 1.4 times as wide as high
        s = Sample("a2c-view", subject, "", img, view=VIEWS.index("A2C"), scale=m[0])
        out.append(marked(s))
    return out


def plax_frames(root: str) -> Iterator[tuple[str, Array, Array]]:
    """<root>/plax-restored: name, gray and the four expert points [4,2] of the frames of points.csv."""
    path = os.path.join(root, "plax-restored", "points.csv")
    if not os.path.exists(path):
        return
    for row in csv.DictReader(open(path)):
        gray = np.asarray(Image.open(os.path.join(root, "plax-restored", row["file"])).convert("L"))
        yield row["file"][:-4], gray, np.array([[float(row[f"{k}_{c}"]) for c in "xy"] for k in KEYPOINTS[PLAX_POINTS]])


def read_plax_points(root: str) -> list[Sample]:
    """plax_frames as Samples."""
    return [points_sample(g, (0, 0, g.shape[1], g.shape[0]), pts, name, "plax-restored") for name, g, pts in plax_frames(root)]


def dicom_frames(path: str) -> tuple[list[Array], Crop, float]:
    """Luma frames of a DICOM ultrasound object, its crop rectangle and pixel aspect (see README: crop rule)."""
    import pydicom
    from pydicom.encaps import generate_pixel_data_frame

    d = pydicom.dcmread(path)
    if d.file_meta.TransferSyntaxUID.is_compressed:
        n = int(d.get("NumberOfFrames", 1))
        frames = [np.asarray(Image.open(io.BytesIO(b)).convert("L")) for b in generate_pixel_data_frame(d.PixelData, n)]
    else:
        a = d.pixel_array
        gray = a.ndim == 2 or (a.ndim == 3 and d.get("SamplesPerPixel", 1) == 1)
        if a.ndim == 2 or (a.ndim == 3 and not gray):
            a = a[None]
        if d.get("PhotometricInterpretation", "").startswith("YBR"):
            frames = [np.ascontiguousarray(f[..., 0]) for f in a]
        else:
            frames = [f.astype(np.uint8) if gray else np.asarray(Image.fromarray(f).convert("L")) for f in a]
    rows, cols = frames[0].shape
    crop, aspect = (0, 0, cols, rows), 1.0
    for r in d.get("SequenceOfUltrasoundRegions", []):
        if r.get("RegionSpatialFormat") != 1 or r.get("RegionDataType") != 1:
            continue
        x0, y0, x1, y1 = (int(r.get(f"RegionLocation{k}", 0)) for k in ("MinX0", "MinY0", "MaxX1", "MaxY1"))
        if 0 <= x0 < x1 < cols and 0 <= y0 < y1 < rows and (x1 - x0 + 1) * (y1 - y0 + 1) >= 0.1 * rows * cols:
            crop = (x0, y0, x1 + 1, y1 + 1)
            dx, dy = abs(float(r.get("PhysicalDeltaX", 0))), abs(float(r.get("PhysicalDeltaY", 0)))
            if r.get("PhysicalUnitsXDirection") == 3 == r.get("PhysicalUnitsYDirection") and dx > 0 and dy > 0 and 0.5 < dy / dx < 2:
                aspect = dy / dx
            break
    return frames, crop, aspect


def read_loops(table: str, folder: str, limit: int = 12) -> list[Sample]:
    """Loops named in a table (file, view) as unlabelled frames with a view label; at most limit frames each."""
    out = []
    for row in csv.DictReader(l for l in open(table) if not l.startswith("#")):
        path = os.path.join(folder, row["file"])
        frames, crop, aspect = dicom_frames(path)
        for i in sorted({int(round(v)) for v in np.linspace(0, len(frames) - 1, min(limit, len(frames)))}):
            img, m = geo.letterbox(frames[i], CACHE, crop, aspect)
            s = Sample("loops", row["file"], str(i), img, view=VIEWS.index(row["view"]), scale=m[0])
            absent(s.state, row["view"])
            out.append(s)
    return out


def read_cine(path: str) -> tuple[list[Array], Crop, float]:
    """Luma frames, crop and aspect of a DICOM object or a GIF."""
    if path.lower().endswith(".gif"):
        from PIL import ImageSequence

        frames = [np.asarray(f.convert("RGB").convert("L")) for f in ImageSequence.Iterator(Image.open(path))]
        return frames, (0, 0, frames[0].shape[1], frames[0].shape[0]), 1.0
    return dicom_frames(path)


def loop_points(folder: str) -> Iterator[tuple[str, Array, Crop, Array, float]]:
    """loop_points.csv: file, gray, crop, PLAX points [4,2] and aspect of frames of example loops. The points were set by a developer
    and tracked; they are not expert labels."""
    cines: dict[str, tuple[list[Array], Crop, float]] = {}
    for row in csv.DictReader(l for l in open(os.path.join(HERE, "loop_points.csv")) if not l.startswith("#")):
        if row["file"] not in cines:
            cines[row["file"]] = dicom_frames(os.path.join(folder, row["file"]))
        frames, crop, aspect = cines[row["file"]]
        pts = np.array([[float(row[f"{k}_{c}"]) for c in "xy"] for k in KEYPOINTS[PLAX_POINTS]])
        yield row["file"], frames[int(row["frame"])], crop, pts, aspect


def read_loop_points(folder: str) -> list[Sample]:
    """loop_points as Samples."""
    return [points_sample(gray, crop, pts, name, "loop-points", aspect) for name, gray, crop, pts, aspect in loop_points(folder)]

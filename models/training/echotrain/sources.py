"""Readers that turn data sets into Samples, and the cache that training reads.

A Sample keeps its own labels and says which of them are known, so that data sets with different labels
train one network (see Sample).
"""

import csv
import dataclasses
import glob
import io
import os
import re

import numpy as np
from PIL import Image

from . import geometry as geo
from .net import KEYPOINTS, VIEWS

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = 320  # side of the cached square, pixels
NK = len(KEYPOINTS)
APICAL, PLAX_POINTS = slice(0, 3), slice(3, 7)

# what is known of the label map
SEG_NONE, SEG_FULL, SEG_CAVITY = 0, 1, 2


@dataclasses.dataclass
class Sample:
    """One frame. image and label: uint8 [CACHE,CACHE], letterboxed; label 0..3 (see geometry).

    seg: SEG_FULL (all structures), SEG_CAVITY (only the cavity is known) or SEG_NONE.
    points: float32 [NK,2], canvas pixels; state: int8 [NK], 1 known, -1 known to be absent, 0 unknown.
    view: index in VIEWS or -1. scale: canvas pixels per source pixel. mm: mm per source pixel or nan.
    """

    source: str
    subject: str
    phase: str
    image: np.ndarray
    label: np.ndarray = None
    seg: int = SEG_NONE
    points: np.ndarray = None
    state: np.ndarray = None
    view: int = -1
    scale: float = 1.0
    mm: float = float("nan")
    weight: float = 1.0

    def __post_init__(self):
        if self.label is None:
            self.label = np.zeros_like(self.image)
        if self.points is None:
            self.points = np.zeros((NK, 2), np.float32)
        if self.state is None:
            self.state = np.zeros(NK, np.int8)


def _absent(state, view):
    """Marks the points that a view does not show as known to be absent."""
    if view in ("A4C", "A2C", "PSAX", "other"):
        state[PLAX_POINTS] = -1
    if view in ("PLAX", "PSAX", "other"):
        state[APICAL] = -1
    return state


def box_label(label, size, values):
    """Letterboxes a label image without mixing classes: area share per class, then the largest."""
    share = np.stack([geo.letterbox(((label == v) * 255).astype(np.uint8), size)[0] for v in values])
    out = np.argmax(share, 0).astype(np.uint8) + 1
    out[share.max(0) < 128] = 0
    pair = share.sum(0) >= 128  # on a border between two structures
    out[pair] = (np.argmax(share, 0) + 1)[pair]
    return out


def labelled_sample(image, label, view, phase, subject, source, mm, full=True, coarse=None):
    """A Sample from an apical frame and its label map (0..3), points derived from the mask.

    coarse: side to which the picture is reduced before it is enlarged to the cache size again.
    """
    img, m = geo.letterbox(image, CACHE)
    if coarse and coarse < max(image.shape):
        small, _ = geo.letterbox(image, coarse)
        img = np.asarray(Image.fromarray(small).resize((CACHE, CACHE), Image.BICUBIC))
    lab = box_label(label, CACHE, (1, 2, 3))
    s = Sample(source, subject, phase, img, lab, SEG_FULL if full else SEG_CAVITY, view=VIEWS.index(view), scale=m[0], mm=mm)
    crop = (0, 0, image.shape[1], image.shape[0])
    pts = geo.apical_points(label) if full else geo.apical_points_from_cavity(label == geo.LV)
    if pts is not None:
        s.points[APICAL] = geo.to_input(pts, m, crop)
        s.state[APICAL] = 1
    _absent(s.state, view)
    return s


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


def png_frames(root, views=("A4C", "A2C")):
    """Yields folder, subject, phase, gray, label 0..3 of every frame of the views with a mask below root."""
    for folder in (f for f in FOLDERS if f.view in views):
        for path in sorted(glob.glob(os.path.join(root, folder.name, "img", "*.png"))):
            name = os.path.basename(path)
            subject, phase = re.match(r"(patient\d+n?)_(E[DS])", name).groups()
            gray = np.asarray(Image.open(path).convert("L"))
            raw = np.asarray(Image.open(os.path.join(root, folder.name, "mask", name)).convert("L"))
            label = np.zeros_like(raw)
            for value, structure in folder.coding.items():
                label[raw == value] = structure
            yield folder, subject, phase, gray, label


def read_png_frames(root):
    """The frames of FOLDERS as Samples."""
    out = []
    for f, subject, phase, gray, label in png_frames(root):
        coarse = int(max(gray.shape) / 2.5) if f.coarse else None
        s = labelled_sample(gray, label, f.view, phase, subject, f.source, 0.308, f.full, coarse)
        s.weight = f.weight
        out.append(s)
    return out


def read_a2c_views(root):
    """<root>/a2c-view-only: A2C pictures known by their view alone; those squeezed to a square are widened again."""
    out = []
    for path in sorted(glob.glob(os.path.join(root, "a2c-view-only", "*.png"))):
        gray = np.asarray(Image.open(path).convert("L"))
        name = os.path.basename(path)
        subject = re.match(r"(patient\d+|unknown_sample_\d+)", name).group(1)
        square = gray.shape[0] == gray.shape[1]
        img, m = geo.letterbox(gray, CACHE, aspect=0.82 if square else 1.0)  # CAMUS pictures are 1.1 to 1.4 times as wide as high
        s = Sample("a2c-view", subject, "", img, view=VIEWS.index("A2C"), scale=m[0])
        out.append(_marked(s))
    return out


def _marked(s):
    _absent(s.state, VIEWS[s.view])
    return s


def read_plax_points(root):
    """<root>/plax-restored: frames with the four expert points of points.csv."""
    out = []
    path = os.path.join(root, "plax-restored", "points.csv")
    if not os.path.exists(path):
        return out
    for row in csv.DictReader(open(path)):
        img = np.asarray(Image.open(os.path.join(root, "plax-restored", row["file"])).convert("L"))
        pts = np.array([[float(row[f"{k}_{c}"]) for c in "xy"] for k in KEYPOINTS[PLAX_POINTS]])
        out.append(points_sample(img, (0, 0, img.shape[1], img.shape[0]), pts, row["file"][:-4], "plax-restored"))
    return out


def points_sample(img, crop, pts, subject, source, aspect=1.0):
    """A PLAX Sample with four known points (source pixels)."""
    img, m = geo.letterbox(img, CACHE, crop, aspect)
    s = Sample(source, subject, "", img, view=VIEWS.index("PLAX"), scale=m[0])
    s.points[PLAX_POINTS] = geo.to_input(pts, m, crop)
    s.state[PLAX_POINTS] = 1
    _absent(s.state, "PLAX")
    return s


def dicom_frames(path):
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


def read_loops(table, folder, limit=12):
    """Loops named in a table (file, view) as unlabelled frames with a view label; at most limit frames each."""
    out = []
    for row in csv.DictReader(l for l in open(table) if not l.startswith("#")):
        path = os.path.join(folder, row["file"])
        frames, crop, aspect = dicom_frames(path)
        for i in sorted({int(round(v)) for v in np.linspace(0, len(frames) - 1, min(limit, len(frames)))}):
            img, m = geo.letterbox(frames[i], CACHE, crop, aspect)
            s = Sample("loops", row["file"], str(i), img, view=VIEWS.index(row["view"]), scale=m[0])
            _absent(s.state, row["view"])
            out.append(s)
    return out


def save(path, samples):
    """Writes the cache as one uncompressed npz."""
    cols = {f.name: [getattr(s, f.name) for s in samples] for f in dataclasses.fields(Sample)}
    np.savez(path, **{k: np.stack(v) if isinstance(v[0], np.ndarray) else np.array(v) for k, v in cols.items()})


def load(path):
    """Reads what save wrote as a dict of arrays."""
    z = np.load(path)
    return {k: z[k] for k in z.files}


def read_all(cfg, folder, loops, log):
    """Everything below folder: echo-labelled/ (PNG), camus/, echonet-dynamic/, echonet-lvh/; and the example loops."""
    from . import public

    samples = []
    root = os.path.join(folder, "echo-labelled")
    if os.path.isdir(root):
        samples += read_png_frames(root) + read_plax_points(root) + read_a2c_views(root)
    for name, reader in public.READERS.items():
        if os.path.isdir(os.path.join(folder, name)):
            got = reader(os.path.join(folder, name))
            log(f"{name}: {len(got)} frames")
            samples += got
    if loops:
        samples += read_loops(os.path.join(HERE, "loops.csv"), loops) + read_loop_points(loops)
    else:
        log("no folder with example loops (--loops): the view head learns from labelled frames only")
    if cfg.get("phantoms"):
        from . import phantom

        samples += phantom.samples(cfg["phantoms"])
    if cfg.get("others"):
        from . import others

        samples += others.samples(samples, cfg["others"])
    if not samples:
        raise SystemExit(f"{folder}: no known data set (see README.md)")
    return samples


def read_cine(path):
    """Luma frames, crop and aspect of a DICOM object or a GIF."""
    if path.lower().endswith(".gif"):
        from PIL import ImageSequence

        frames = [np.asarray(f.convert("RGB").convert("L")) for f in ImageSequence.Iterator(Image.open(path))]
        return frames, (0, 0, frames[0].shape[1], frames[0].shape[0]), 1.0
    return dicom_frames(path)


def read_loop_points(folder):
    """loop_points.csv: PLAX points on example loops, set by a developer and tracked; not expert labels."""
    out, cines = [], {}
    for row in csv.DictReader(l for l in open(os.path.join(HERE, "loop_points.csv")) if not l.startswith("#")):
        if row["file"] not in cines:
            cines[row["file"]] = dicom_frames(os.path.join(folder, row["file"]))
        frames, crop, aspect = cines[row["file"]]
        pts = np.array([[float(row[f"{k}_{c}"]) for c in "xy"] for k in KEYPOINTS[PLAX_POINTS]])
        out.append(points_sample(frames[int(row["frame"])], crop, pts, row["file"], "loop-points", aspect))
    return out

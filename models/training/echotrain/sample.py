"""A frame with what is known of it, and the cache of frames that training reads.

A Sample keeps its own labels and says which of them are known, so that data sets with different labels train one network.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image

from . import geometry as geo
from .kinds import Array, Crop, Data
from .names import KEYPOINTS, VIEWS

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

    def __post_init__(self) -> None:
        if self.label is None:
            self.label = np.zeros_like(self.image)
        if self.points is None:
            self.points = np.zeros((NK, 2), np.float32)
        if self.state is None:
            self.state = np.zeros(NK, np.int8)


def absent(state: Array, view: str) -> Array:
    """Marks the points that a view does not show as known to be absent."""
    if view in ("A4C", "A2C", "PSAX", "other"):
        state[PLAX_POINTS] = -1
    if view in ("PLAX", "PSAX", "other"):
        state[APICAL] = -1
    return state


def box_label(label: Array, size: int, values: Sequence[int]) -> Array:
    """Letterboxes a label image without mixing classes: area share per class, then the largest."""
    share = np.stack([geo.letterbox(((label == v) * 255).astype(np.uint8), size)[0] for v in values])
    out = np.argmax(share, 0).astype(np.uint8) + 1
    out[share.max(0) < 128] = 0
    pair = share.sum(0) >= 128  # on a border between two structures
    out[pair] = (np.argmax(share, 0) + 1)[pair]
    return out


def labelled_sample(image: Array, label: Array, view: str, phase: str, subject: str, source: str, mm: float, full: bool = True, coarse: int | None = None) -> Sample:
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
    absent(s.state, view)
    return s


def points_sample(img: Array, crop: Crop, pts: Array, subject: str, source: str, aspect: float = 1.0) -> Sample:
    """A PLAX Sample with four known points (source pixels)."""
    img, m = geo.letterbox(img, CACHE, crop, aspect)
    s = Sample(source, subject, "", img, view=VIEWS.index("PLAX"), scale=m[0])
    s.points[PLAX_POINTS] = geo.to_input(pts, m, crop)
    s.state[PLAX_POINTS] = 1
    absent(s.state, "PLAX")
    return s


def marked(s: Sample) -> Sample:
    """The sample with the points that its view does not show marked as absent."""
    absent(s.state, VIEWS[s.view])
    return s


def save(path: str, samples: list[Sample]) -> None:
    """Writes the cache as one uncompressed npz."""
    np.savez(path, **columns(samples))


def columns(samples: list[Sample]) -> Data:
    """samples as a dict of arrays, one row per sample."""
    cols = {f.name: [getattr(s, f.name) for s in samples] for f in dataclasses.fields(Sample)}
    return {k: np.stack(v) if isinstance(v[0], np.ndarray) else np.array(v) for k, v in cols.items()}


def load(path: str) -> Data:
    """Reads what save wrote as a dict of arrays."""
    z = np.load(path)
    return {k: z[k] for k in z.files}

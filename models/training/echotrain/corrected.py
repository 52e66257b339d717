"""Reader for what cardiologists corrected on a node's review page (its export of training labels, unpacked).

<root>/labels.csv has a line for each frame: file, subject, view, phase, mm, the apex and the hinge points, the four points
of the walls (parasternal long axis), and the outline of the cavity; coordinates are pixels of the picture (gray PNG, square
pixels, cut to the analysed region). Of an apical view only the cavity is known, and no point of another view; of the
parasternal one only the four points.
"""

import csv
import os

import numpy as np
from PIL import Image, ImageDraw

from . import geometry as geo
from . import sample
from .kinds import Array
from .names import KEYPOINTS

POINTS = ("apex", "septal", "lateral")


def read(root: str) -> list[sample.Sample]:
    """The exported frames as Samples; several exports in folders below root are read one after the other."""
    out: list[sample.Sample] = []
    for folder, _, files in sorted(os.walk(root)):
        if "labels.csv" in files:
            out += _read(folder)
    return out


def _read(root: str) -> list[sample.Sample]:
    out = []
    for row in csv.DictReader(open(os.path.join(root, "labels.csv"), newline="")):
        gray = np.asarray(Image.open(os.path.join(root, row["file"])).convert("L"))
        if row["view"] == "PLAX":
            out.append(_walls(row, gray))
            continue
        outline = np.array(row["contour"].split(), float).reshape(-1, 2)
        mask = Image.new("L", gray.shape[::-1])
        ImageDraw.Draw(mask).polygon([tuple(p) for p in outline], fill=geo.LV)
        s = sample.labelled_sample(gray, np.asarray(mask), row["view"], row["phase"], row["subject"], "corrected",
                                    float(row["mm"] or "nan"), full=False)
        # What the reader says of the points counts more than what the mask says.
        crop = (0, 0, gray.shape[1], gray.shape[0])
        m = geo.letterbox_map(crop, sample.CACHE)
        for i, name in enumerate(POINTS):
            if row[name + "_x"]:
                point = np.array([[float(row[name + "_x"]), float(row[name + "_y"])]])
                s.points[i] = geo.to_input(point, m, crop)[0]
                s.state[i] = 1
        out.append(s)
    return out


def _walls(row: dict[str, str], gray: Array) -> sample.Sample:
    """The Sample of a parasternal frame."""
    points = np.array([[float(row[f"{name}_{c}"]) for c in "xy"] for name in KEYPOINTS[sample.PLAX_POINTS]])
    s = sample.points_sample(gray, (0, 0, gray.shape[1], gray.shape[0]), points, row["subject"], "corrected")
    s.phase, s.mm = row["phase"], float(row["mm"] or "nan")
    return s

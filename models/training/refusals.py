#!/usr/bin/env python3
"""What a network makes of pictures it should measure, turn or refuse: a table for ../CARD.md. See README.md.

Each picture is judged alone, by the rule of package pipeline (view.go) for a loop of one frame: the view with the largest
probability, apical ones in the way of display in which they are the more probable, and the limits of the card.
"""

import argparse
import collections
import csv
import glob
import os
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from echotrain import dataset, geometry as geo, infer, sample, sources
from echotrain.kinds import Array, Data
from echotrain.names import MIRRORED, VIEWS

APICAL = ("A4C", "A2C", "A3C")
MEASURED = ("A4C", "A2C", "A3C", "PLAX")
PLAIN = {m: v for v, m in MIRRORED.items()}


def judge(model: Any, frame: Array) -> tuple[str, bool, str]:
    """(view, mirrored, reason) of a network input uint8 [S,S]; reason is "" for what would be measured."""
    view, mirrored, p, far = vote(model, frame)
    turned = False
    if view in APICAL:
        other = vote(model, frame[:, ::-1])
        if other[2] - other[1] > p - mirrored:
            turned, (view, mirrored, p, far) = True, other
    limits = model.card.get("limits", {})
    if view not in MEASURED:
        return view, turned, "view"
    if p < limits.get("view", 0):
        return view, turned, "uncertain"
    if limits.get("novelty") and far > limits["novelty"]:
        return view, turned, "unlike"
    return view, turned, ""


def vote(model: Any, frame: Array) -> tuple[str, float, float, float]:
    """The best view, the mirrored part of its probability, its probability, and the novelty."""
    _, _, view, extras = model.raw(np.ascontiguousarray(frame)[None, None])
    total: dict[str, float] = collections.defaultdict(float)
    mirrored: dict[str, float] = collections.defaultdict(float)
    for name, p in zip(model.card["views"], view[0].tolist()):
        total[PLAIN.get(name, name)] += p
        mirrored[PLAIN.get(name, name)] += p * (name in PLAIN)
    best = max(total, key=lambda v: total[v])
    names = model.card.get("extras", [])
    return best, mirrored[best], total[best], float(extras[0][names.index("novelty")]) if "novelty" in names else 0.0


def groups(data: Data, args: argparse.Namespace) -> Iterator[tuple[str, Iterable[Array]]]:
    """Yields name, pictures [side,side] of each row of the table; those of the cache from the fold."""
    patients = np.isin(data["source"], (*dataset.PATIENTS, "a2c-view"))
    for view in ("A4C", "A2C"):
        pick = data["held"] & patients & (data["view"] == VIEWS.index(view))
        yield view, data["image"][pick]
        yield f"{view}, mirrored", data["image"][pick][:, :, ::-1]
    for source, title in (("other-cut", "cut or turned: "), ("other-five", "drawn into frames, more: "), ("other-drawn", "drawn: "), ("psax-drawn", "drawn: ")):
        of = data["held"] & (data["source"] == source)
        for kind in sorted(set(data["phase"][of])):
            yield title + kind.replace("_", " "), data["image"][of & (data["phase"] == kind)]
    corpus = os.path.join(args.data, "dicom-corpus")
    if os.path.isdir(corpus):
        yield "other modalities (DICOM test files)", list(other_modalities(corpus))
    for path in sorted(glob.glob(os.path.join(args.data, "echo-unlabelled", "plax", "*.gif"))):
        frames, crop, aspect = sources.read_cine(path)
        yield "PLAX cine " + os.path.basename(path), [geo.letterbox(f, sample.CACHE, crop, aspect)[0] for f in frames[::6]]


def other_modalities(corpus: str) -> Iterator[Array]:
    """The first frames of the corpus's readable objects that are not ultrasound, stretched to 0..255."""
    import pydicom

    for row in csv.DictReader(open(os.path.join(corpus, "manifest.tsv")), delimiter="\t"):
        if row["modality"] in ("US", "IVUS") or not row["rows"]:
            continue
        try:
            d = pydicom.dcmread(os.path.join(corpus, row["path"]), force=True)
            a = d.pixel_array
        except Exception:  # a corpus of odd files: what pydicom cannot read is left out
            continue
        while a.ndim > 2 and not (a.ndim == 3 and a.shape[-1] in (3, 4)):
            a = a[0]
        a = a[..., :3].mean(-1) if a.ndim == 3 else a.astype(float)
        if min(a.shape) >= 64 and np.ptp(a) > 0:
            lo, hi = np.percentile(a, (1, 99))
            yield geo.letterbox((255 * np.clip((a - lo) / max(hi - lo, 1e-9), 0, 1)).astype(np.uint8), sample.CACHE)[0]


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--config", required=True, help="the training configuration: it defines the fold")
    ap.add_argument("--model", required=True)
    ap.add_argument("--cache", required=True)
    ap.add_argument("--extra", action="append", default=[], help="further caches")
    ap.add_argument("--data", default=os.environ.get("ECHO_DATA"))
    args = ap.parse_args()
    model = infer.Model(args.model, 1)
    data = dataset.prepare(tomllib.load(open(args.config, "rb")), None, None, args.cache, lambda _: None, args.extra, filled=False)
    print("| pictures | n | measured as A4C / A2C / A3C / PLAX | turned | refused: view | uncertain | unlike |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, images in groups(data, args):
        got = [judge(model, geo.letterbox(i, model.size)[0]) for i in images]
        count = collections.Counter((r or v) for v, _, r in got)
        print(f"| {name} | {len(got)} | {' / '.join(str(count[v]) for v in MEASURED)} | {sum(t for _, t, _ in got)} | "
              f"{count['view']} | {count['uncertain']} | {count['unlike']} |", flush=True)


if __name__ == "__main__":
    main()

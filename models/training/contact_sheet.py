#!/usr/bin/env python3
"""Draws the network's contours and points on the example loops at the largest and smallest cavity (apical) or first and middle frame."""

import argparse
import csv
import os

import numpy as np

from echotrain import infer, report, sources
from echotrain.names import VIEWS


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", required=True)
    ap.add_argument("--loops", default=os.environ.get("ECHO_LOOPS"), required="ECHO_LOOPS" not in os.environ)
    ap.add_argument("--views", default="A4C,A2C,A3C,PLAX")
    ap.add_argument("--extra", nargs="*", default=[], help="further files as path:VIEW")
    ap.add_argument("--out", required=True, help="PNG")
    ap.add_argument("--columns", type=int, default=6)
    args = ap.parse_args()
    model = infer.Model(args.model, 1)
    table = os.path.join(os.path.dirname(os.path.abspath(__file__)), "loops.csv")
    rows = [(os.path.join(args.loops, r["file"]), r["view"]) for r in csv.DictReader(l for l in open(table) if not l.startswith("#"))]
    rows += [tuple(e.rsplit(":", 1)) for e in args.extra]
    tiles = []
    for view in args.views.split(","):
        for path, v in rows:
            if v != view:
                continue
            frames, crop, aspect = sources.read_cine(path)
            some = list(range(0, len(frames), max(1, len(frames) // 24)))
            results = {i: model.frame(frames[i], crop, aspect) for i in some}
            if v == "PLAX":
                pick = [some[0], some[len(some) // 2]]
            else:
                area = {i: r.masks[0].sum() for i, r in results.items()}
                pick = [max(area, key=lambda i: area[i]), min(area, key=lambda i: area[i])]
            for i in pick:
                r, g = results[i], frames[i]
                said = VIEWS[int(np.argmax(r.view))]
                part = infer.Result(r.masks[:, crop[1]:crop[3], crop[0]:crop[2]], r.points - np.array(crop[:2]), r.confidence, r.view, r.extras)
                show = range(3, 7) if v == "PLAX" else range(3)
                conf = " ".join(f"{r.confidence[k]:.2f}" for k in show)
                tiles.append(report.tile(g[crop[1]:crop[3], crop[0]:crop[2]], part, points=show, floor=0.05, masks=v != "PLAX",
                                         text=f"{os.path.basename(path)[-12:]} {i} {v}/{said} {r.view.max():.2f} k {conf}"))
    report.sheet(args.out, tiles, args.columns)


if __name__ == "__main__":
    main()

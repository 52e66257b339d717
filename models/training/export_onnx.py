#!/usr/bin/env python3
"""Exports the averaged weights of a checkpoint: export_onnx.py --config C --checkpoint last.pt --out model.onnx"""

import argparse
import tomllib

import torch

from echotrain import export, trust
from echotrain.net import Net, Novelty, Root


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--config", required=True)
    ap.add_argument("--checkpoint", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--limits", help="JSON of trust.py for the card")
    ap.add_argument("--like", help="exported file whose card is taken (name, version, data), instead of the configuration's")
    ap.add_argument("--version", help="instead of the card's")
    args = ap.parse_args()
    cfg = tomllib.load(open(args.config, "rb"))
    if args.like:
        cfg["export"]["card"] = export.card_of(args.like)
    if args.version:
        cfg["export"]["card"]["version"] = args.version
    saved = torch.load(args.checkpoint, map_location="cpu")
    net = Net(**cfg["net"])
    net.load_start(saved["average"])
    novelty = Novelty.load(saved["novelty"]) if "novelty" in saved else None
    if saved.get("root"):
        net.root = Root.load(saved["root"])
    expects = None
    if args.limits:
        chosen = trust.chosen(args.limits)
        cfg["export"]["card"]["limits"], expects = chosen["limits"], chosen["expects"]
        trust.set_up(net, chosen)
    export.export(net, args.out, cfg["export"]["size"], cfg["export"]["card"], novelty, expects)
    print("step", saved["step"], "differences", export.verify(net, args.out, cfg["export"]["size"], novelty, expects), "sha256", export.sha256(args.out))


if __name__ == "__main__":
    main()

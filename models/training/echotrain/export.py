"""Export to ONNX under the contract of package models, with the card as metadata."""

import hashlib
import json
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper

from .kinds import Array, Config
from .names import CLASSES, EXTRAS, KEYPOINTS, VIEWS
from .net import Deployed, Net, Novelty


def fold_pads(model: Any) -> Any:
    """Moves the padding of strided SAME convolutions (see net.SameConv2d) into the Conv node's own pads."""
    g = model.graph
    made = {o: n for n in g.node for o in n.output}
    for conv in g.node:
        if conv.op_type != "Conv" or conv.input[0] not in made or made[conv.input[0]].op_type != "Pad":
            continue
        attr = {a.name: a.ints for a in conv.attribute}
        p = attr["kernel_shape"][0] - attr["strides"][0]
        attr["pads"][:] = [p // 2, p // 2, p - p // 2, p - p // 2]
        conv.input[0] = made[conv.input[0]].input[0]
    while True:  # what only fed the Pad nodes
        used = {i for n in g.node for i in n.input} | {o.name for o in g.output}
        dead = [n for n in g.node if not any(o in used for o in n.output)]
        if not dead:
            return model
        for n in dead:
            g.node.remove(n)


def export(net: Net, path: str, size: int, card: Config, novelty: Novelty | None = None, expects: list[float] | None = None) -> Config:
    """Writes net to path for size x size frames; card is completed with the contract and returned."""
    net = Deployed(net, novelty, expects).eval()
    names = ["mask", "heatmaps", "view"] + (["extras"] if novelty is not None else [])
    dummy = torch.zeros(1, 1, size, size, dtype=torch.uint8)
    axes = {n: {0: "N"} for n in ("frames", *names)}
    torch.onnx.export(net, dummy, path, input_names=["frames"], output_names=names, dynamic_axes=axes, opset_version=13, do_constant_folding=True)
    model = fold_pads(onnx.load(path))
    shapes = {"mask": [len(CLASSES), size // 2, size // 2], "heatmaps": [len(KEYPOINTS), size // 4, size // 4],
              "view": [len(VIEWS)], "extras": [len(EXTRAS)]}
    for o in model.graph.output:  # fixed sizes but for N
        dims = o.type.tensor_type.shape.dim
        del dims[:]
        dims.add().dim_param = "N"
        for d in shapes[o.name]:
            dims.add().dim_value = d
    card = {"contract": 1, **card, "input": {"width": size, "height": size, "channels": 1},
            "classes": CLASSES, "keypoints": KEYPOINTS, "views": VIEWS, **({"extras": EXTRAS} if novelty is not None else {})}
    helper.set_model_props(model, {"echonode.card": json.dumps(card)})
    model.producer_name, model.producer_version, model.doc_string = "echonode", card.get("version", ""), ""
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return card


def verify(net: Net, path: str, size: int, novelty: Novelty | None = None, expects: list[float] | None = None, frames: Array | None = None, session: Any | None = None) -> list[float]:
    """Largest differences between PyTorch and ONNX Runtime: mask in 1/255 steps, heatmaps, view, extras."""
    import onnxruntime as ort

    s = session or ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    if frames is None:
        frames = np.random.default_rng(0).integers(0, 256, (3, 1, size, size), dtype=np.uint8)
    got = s.run(None, {"frames": frames})
    with torch.no_grad():
        want = Deployed(net, novelty, expects).eval()(torch.from_numpy(frames))
    return [float(np.abs(a.astype(np.float64) - b.numpy().astype(np.float64)).max()) for a, b in zip(got, want)]


def card_of(path: str) -> Config:
    """The card in an exported file."""
    found = {p.key: p.value for p in onnx.load(path).metadata_props}
    if "echonode.card" not in found:
        raise ValueError(f"{path} holds no card")
    return dict(json.loads(found["echonode.card"]))


def sha256(path: str) -> str:
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for b in iter(lambda: f.read(1 << 20), b""):
            h.update(b)
    return h.hexdigest()

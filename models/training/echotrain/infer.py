"""Runs an exported network on source frames and brings its outputs back to source pixels (as the Go side does)."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from . import geometry as geo
from .kinds import Array, Crop, Map
from .names import MIRRORED, VIEWS

MASK_STRIDE, HEAT_STRIDE = 2, 4


@dataclasses.dataclass
class Result:
    """masks: float [C,h,w] probabilities at source resolution; points: [K,2] source px; confidence [K]; view [V]; extras by name."""

    masks: np.ndarray
    points: np.ndarray
    confidence: np.ndarray
    view: np.ndarray
    extras: dict


def plain_views(view: npt.ArrayLike, names: list[str] | None = None) -> tuple[list[str], Array]:
    """Probabilities of the views as such, either way of display: [V] or [N,V] -> names without mirrored ones, probabilities."""
    names = names or VIEWS
    plain = [v for v in names if v not in MIRRORED.values()]
    take = np.array([[n == p or n == MIRRORED.get(p) for n in names] for p in plain], float)
    return plain, np.asarray(view, float) @ take.T


def decode_point(heat: Array) -> tuple[float, float, float]:
    """Peak of one heatmap in input pixels and its value; parabola through the logarithms of the 3x3 neighbourhood."""
    j, i = np.unravel_index(np.argmax(heat), heat.shape)
    dx = dy = 0.0
    top = float(heat[j, i])
    if 0 < i < heat.shape[1] - 1 and 0 < j < heat.shape[0] - 1 and top > 0:
        p = np.maximum(heat[j - 1:j + 2, i - 1:i + 2].astype(np.float64), top / 1000)
        z, u = np.log(p), np.array([-1.0, 0.0, 1.0])
        s = z.sum()
        b, c = (z * u).sum() / 6, (z * u[:, None]).sum() / 6
        d, e = (z * u ** 2).sum() / 2 - s / 3, (z * u[:, None] ** 2).sum() / 2 - s / 3
        f = (z * u * u[:, None]).sum() / 4
        det = 4 * d * e - f * f
        if det > 1e-9 and d < 0 and e < 0 and max(abs(f * c - 2 * e * b), abs(f * b - 2 * d * c)) <= det:
            dx, dy = (f * c - 2 * e * b) / det, (f * b - 2 * d * c) / det
        else:
            dx, dy = (p * u).sum() / p.sum(), (p * u[:, None]).sum() / p.sum()
    return (i + dx + 0.5) * HEAT_STRIDE - 0.5, (j + dy + 0.5) * HEAT_STRIDE - 0.5, min(top, 1.0)


class Model:
    """An ONNX file under the contract of package models."""

    def __init__(self, path: str, threads: int = 1) -> None:
        import onnxruntime as ort

        o = ort.SessionOptions()
        o.intra_op_num_threads = threads
        self.session = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
        self.card = json.loads(self.session.get_modelmeta().custom_metadata_map["echonode.card"])
        self.size = self.card["input"]["width"]

    def raw(self, frames: Array) -> list[Array]:
        """uint8 [n,1,S,S] -> mask uint8, heatmaps, view, and extras [n,E] (E may be 0)."""
        names = ["mask", "heatmaps", "view"] + (["extras"] if self.card.get("extras") else [])
        out = self.session.run(names, {"frames": frames})
        return out if len(out) > 3 else [*out, np.zeros((len(frames), 0), np.float32)]

    def frame(self, gray: Array, crop: Crop | None = None, aspect: float = 1.0) -> Result:
        """One source frame (uint8 [h,w]) -> Result in source pixels."""
        crop = crop or (0, 0, gray.shape[1], gray.shape[0])
        img, m = geo.letterbox(gray, self.size, crop, aspect)
        mask, heat, view, extras = self.raw(img[None, None])
        pts = np.array([decode_point(h) for h in heat[0]])
        return Result(to_source_plane(mask[0], m, crop, gray.shape), geo.to_source(pts[:, :2], m, crop), pts[:, 2], view[0],
                      dict(zip(self.card.get("extras", []), extras[0].tolist())))


def _weights(at: Array, n: int) -> Array:
    """Matrix of linear interpolation at positions at on n cells; positions outside take the nearest cell."""
    at = np.clip(at, 0, n - 1)
    low = np.minimum(at.astype(int), n - 2)
    w = np.zeros((len(at), n), np.float32)
    rows = np.arange(len(at))
    w[rows, low], w[rows, low + 1] = 1 - (at - low), at - low
    return w


def to_source_plane(mask: Array, m: Map, crop: Crop, shape: Sequence[int]) -> Array:
    """Half-resolution planes uint8 [C,S/2,S/2] -> probabilities [C,h,w] by bilinear interpolation; 0 outside crop."""
    sx, sy, ox, oy = m
    out = np.zeros((len(mask), *shape), np.float32)
    x = ((np.arange(crop[0], crop[2]) + 0.5 - crop[0]) * sx + ox) / MASK_STRIDE - 0.5
    y = ((np.arange(crop[1], crop[3]) + 0.5 - crop[1]) * sy + oy) / MASK_STRIDE - 0.5
    wx, wy = _weights(x, mask.shape[2]), _weights(y, mask.shape[1])
    for o, p in zip(out, mask):
        o[crop[1]:crop[3], crop[0]:crop[2]] = wy @ (p.astype(np.float32) / 255) @ wx.T
    return out

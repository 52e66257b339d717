"""Measures on held-out frames."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from scipy import ndimage
from torch.nn import functional as F

from . import geometry as geo
from .kinds import Array, Data
from .sample import CACHE


def to_network(images: Array, size: int) -> torch.Tensor:
    """Cached squares uint8 [n,CACHE,CACHE] -> float [n,1,size,size] by area averaging."""
    x = torch.from_numpy(images).float()[:, None]
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=True).round().clamp(0, 255)


def probability(logits: torch.Tensor, side: int) -> torch.Tensor:
    """Half-resolution logits -> probabilities at side x side."""
    return F.interpolate(torch.sigmoid(logits), size=(side, side), mode="bilinear", align_corners=False)


def dice(a: Array, b: Array) -> float:
    s = a.sum() + b.sum()
    return 2.0 * (a & b).sum() / s if s else 1.0


def quick_dice(net: nn.Module, data: Data, index: Array, size: int) -> str:
    """Mean LV Dice per source and phase at cache resolution: a text for the log."""
    net.eval()
    device = next(net.parameters()).device
    got: dict[str, list[float]] = {}
    with torch.no_grad():
        for i in range(0, len(index), 8):
            part = index[i:i + 8]
            p = probability(net(to_network(data["image"][part], size).to(device))[0], CACHE).cpu().numpy()
            for j, k in enumerate(part):
                d = dice(geo.largest(p[j, 0] > 0.5), data["label"][k] == 1)
                got.setdefault(f"{data['source'][k]} {data['phase'][k]}", []).append(d)
    return ", ".join(f"{k} {np.mean(v):.4f} (worst {min(v):.3f}, n {len(v)})" for k, v in sorted(got.items()))


def surface_distances(a: Array, b: Array, mm: float) -> tuple[float, float]:
    """95 % Hausdorff distance and mean surface distance of two masks, symmetric, in mm."""
    if not a.any() or not b.any():
        return float("nan"), float("nan")
    y, x = np.nonzero(a | b)
    box = np.s_[max(0, y.min() - 1):y.max() + 2, max(0, x.min() - 1):x.max() + 2]
    a, b = a[box], b[box]
    ea, eb = a & ~ndimage.binary_erosion(a), b & ~ndimage.binary_erosion(b)
    d = np.concatenate([ndimage.distance_transform_edt(~eb)[ea], ndimage.distance_transform_edt(~ea)[eb]]) * mm
    return float(np.percentile(d, 95)), float(d.mean())


def disks(mask: Array, base: Array, apex: Array, mm: float, n: int = 20) -> float:
    """Single-plane volume in mL: n disks of equal height between the middle of the mitral line and the apex (px)."""
    axis = apex - base
    length = np.hypot(*axis)
    if length < 1:
        return float("nan")
    axis = axis / length
    side = np.array([-axis[1], axis[0]])
    t = np.arange(-length, length, 0.25)
    c = base + ((np.arange(n) + 0.5) / n * length)[:, None] * axis
    p = c[:, None] + t[None, :, None] * side
    w = ndimage.map_coordinates(mask.astype(np.float32), [p[..., 1], p[..., 0]], order=1).sum(1) * 0.25 * mm
    return float(np.pi / 4 * (w ** 2).sum() * length * mm / n / 1000)


def volume(mask: Array, hinges: Array, mm: float) -> float:
    """Volume of a cavity mask with the long axis from the middle of the hinge points to the farthest contour point."""
    if mask.sum() < 20:
        return float("nan")
    edge, base = geo.boundary(mask), (hinges[0] + hinges[1]) / 2
    apex = edge[np.argmax(((edge - base) ** 2).sum(1))]
    return disks(mask, base, apex, mm)


def agreement(got: npt.ArrayLike, want: npt.ArrayLike) -> dict[str, Any]:
    """Bias, limits of agreement (1.96 SD), mean absolute error and correlation of paired values."""
    g, w = np.asarray(got, float), np.asarray(want, float)
    ok = np.isfinite(g) & np.isfinite(w)
    d = g[ok] - w[ok]
    r = float(np.corrcoef(g[ok], w[ok])[0, 1]) if ok.sum() > 2 else float("nan")
    return {"n": int(ok.sum()), "bias": float(d.mean()), "loa": float(1.96 * d.std(ddof=1)) if len(d) > 1 else float("nan"),
            "mae": float(np.abs(d).mean()), "r": r}


def roughness(area: npt.ArrayLike) -> float:
    """Noise of an area curve: RMS of its second difference over the range of the curve (0 for a straight line)."""
    a = np.asarray(area, float)
    return float(np.sqrt(np.mean(np.diff(a, 2) ** 2)) / max(np.ptp(a), 1e-9))

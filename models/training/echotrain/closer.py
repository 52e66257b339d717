"""A network for the four PLAX points alone, learnt and used on close-ups of the caliper.

The nine expert frames were restored from published drawings: points, lines and labels stood where the points are, and what lies
under them now is filled from the nearest pixels, a white mark left here and there. Close up a network can read that. So it is
not trained on them unless asked to, and damage of the same kind is put anywhere on whatever it sees.
"""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import nn

from . import batches, plax
from .kinds import Array, Crop, Data, Part, Rng
from .net import Net
from .sample import Sample, points_sample

SIZE = 192  # of a close-up, pixels
SIDE = 5.0  # of the square that is kept of a frame, in LVID
FACTORS = (2.4, 3.0)  # side of a look over LVID
SHIFTS = ((0.0, 0.0), (0.08, 0.0), (-0.08, 0.0), (0.0, 0.08), (0.0, -0.08))
POINTS = slice(3, 7)  # of the keypoints


class Points(nn.Module):
    """Encoder and decoder of a Net down to its heatmaps, with a head for the four points: [N,1,H,W] gray 0..255 -> logits [N,4,H/4,W/4].

    The first blocks of the encoder, whose gradients cost the most, are kept as they are.
    """

    def __init__(self, whole: Net, frozen: int = 5) -> None:
        super().__init__()
        self.encoder, self.neck, self.frozen = whole.encoder, whole.neck, frozen
        self.merge16, self.merge8, self.merge4 = whole.merge16, whole.merge8, whole.merge4
        self.near, last = whole.heat[0], whole.heat[1]
        self.out = nn.Conv2d(last.in_channels, 4, 1)
        with torch.no_grad():
            self.out.weight.copy_(last.weight[POINTS])
            self.out.bias.copy_(last.bias[POINTS])
        self.freeze(frozen)

    def freeze(self, blocks: int) -> None:
        """Keeps the stem and as many blocks of the encoder as they are."""
        self.frozen = blocks
        for m in self.kept():
            m.requires_grad_(False)

    def kept(self) -> list[nn.Module]:
        e = self.encoder
        return [e._conv_stem, e._bn0, *e._blocks[:self.frozen]]

    def train(self, mode: bool = True) -> "Points":
        super().train(mode)
        for m in self.kept():
            m.eval()
        return self

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's features at strides 4, 8, 16, 32."""
        e, out = self.encoder, []
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = e._bn0(e._conv_stem((x - 127.0) * (1 / 128.0)))
            for i, b in enumerate(e._blocks[:self.frozen]):
                x = b(x)
                out += [x] if i in e.taps else []
        for i in range(self.frozen, len(e._blocks)):
            x = e._blocks[i](x)
            out += [x] if i in e.taps else []
        return out[1:]

    def decode(self, f4: torch.Tensor, f8: torch.Tensor, f16: torch.Tensor, f32: torch.Tensor) -> torch.Tensor:
        return self.out(self.near(self.merge4(self.merge8(self.merge16(self.neck(f32), f16), f8), f4)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(*self.features(x))


def near(gray: Array, crop: Crop, points: Array, subject: str, source: str, aspect: float = 1.0) -> Sample:
    """A Sample of the square of SIDE times LVID around the caliper, at the resolution of the source."""
    stretch = np.array([1.0, aspect])
    middle, half = points.mean(0) * stretch, SIDE / 2 * plax.lvid(points, aspect)
    lo, hi = np.floor((middle - half) / stretch).astype(int), np.ceil((middle + half) / stretch).astype(int)
    part = max(crop[0], int(lo[0])), max(crop[1], int(lo[1])), min(crop[2], int(hi[0])), min(crop[3], int(hi[1]))
    return points_sample(gray, part, points, subject, source, aspect)


def _strokes(rng: Rng, s: int) -> Array:
    """Where something was drawn on a picture of s x s pixels: words, lines, points, boxes."""
    m = Image.new("L", (s, s))
    d = ImageDraw.Draw(m)
    for _ in range(rng.integers(1, 5)):
        (x, y), kind = rng.uniform(0.15, 0.85, 2) * s, rng.integers(0, 4)
        if kind == 0:
            word = "".join(chr(c) for c in rng.integers(65, 91, rng.integers(3, 9)))
            w, times = Image.new("L", (6 * len(word) + 2, 12)), int(rng.integers(1, 3))
            ImageDraw.Draw(w).text((1, 0), word, fill=255)
            w = w.resize((w.width * times, w.height * times))
            for line in range(rng.integers(1, 3)):
                m.paste(255, (int(x), int(y) + 12 * line * times), w)
        elif kind == 1:
            d.line([(x, y), tuple(rng.uniform(0.15, 0.85, 2) * s)], fill=255, width=int(rng.integers(1, 4)))
        else:
            a, b = rng.uniform(2, 7, 2) if kind == 2 else (rng.uniform(5, 40), rng.uniform(3, 16))
            (d.ellipse if kind == 2 else d.rectangle)((x - a, y - b, x + a, y + b), fill=255)
    return ndimage.binary_dilation(np.asarray(m) > 60, iterations=int(rng.integers(0, 3)))


def damaged(rng: Rng, gray: Array) -> Array:
    """uint8 [s,s] as drawings taken out of it leave it: filled from the nearest pixels, a few white marks left."""
    s = gray.shape[0]
    drawn = _strokes(rng, s)
    if drawn.all() or not drawn.any():
        return gray
    y, x = ndimage.distance_transform_edt(drawn, return_distances=False, return_indices=True)
    out = Image.fromarray(gray[y, x])
    if rng.random() < 0.4:
        for _ in range(rng.integers(1, 4)):
            at, r = rng.uniform(0.15, 0.85, 2) * s, rng.uniform(1.5, 5)
            rim = [tuple(at + r * rng.uniform(0.5, 1) * np.array([np.cos(a), np.sin(a)])) for a in np.arange(0, 6.28, 0.9)]
            ImageDraw.Draw(out).polygon(rim, fill=int(rng.integers(200, 256)))
    return np.array(out)


def feed(data: Data, parts: list[Part], seed: int, damage: float = 0.6) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of close-ups for Points: those of Batches, a share of them damaged, targets of the four points alone."""
    rng = np.random.default_rng(seed)
    source = batches.Batches(data, parts, SIZE, strength=0.9)
    while True:
        b = source.batch(rng)
        frames = b["frames"].numpy()
        for i in np.flatnonzero(rng.random(len(frames)) < damage):
            frames[i, 0] = damaged(rng, frames[i, 0].astype(np.uint8))
        yield {"frames": torch.from_numpy(frames), "heat": b["heat"][:, POINTS], "heat_known": b["heat_known"][:, POINTS]}


def find(heat: plax.Heat, gray: Array, first: Array, crop: Crop | None = None, aspect: float = 1.0) -> plax.Found:
    """The points by two rounds of looks through Points, the first a fifth wider, from first [4,2] on."""
    crop, found = crop or (0, 0, gray.shape[1], gray.shape[0]), plax.Found(first, np.zeros(4), float("inf"))
    for wider in (1.2, 1.0):
        crops = list(plax.squares(found.points, crop, aspect, tuple(f * wider for f in FACTORS), SHIFTS))
        if not crops:
            return plax.Found(found.points, found.confidence, float("inf"))
        found = plax.median_of(*plax.look(heat, gray, SIZE, crops, aspect), aspect)
    return found

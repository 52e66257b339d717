"""The multi-task network: EfficientNet-Lite encoder, separable U-Net decoder, three heads.

Encoder: EfficientNet-Lite0..2 (Tan & Le, ICML 2019; the Lite variants drop squeeze-and-excitation,
use ReLU6 and do not scale stem, first and last stage). Parameter names follow the published
PyTorch conversions of the ImageNet weights so that their state dicts load as they are.

Shapes for an input of H x W (both divisible by 32):
    features   s2 .. s32   [N, C, H/s, W/s]
    mask       [N, classes, H/2, W/2]   logits
    heatmaps   [N, keypoints, H/4, W/4] logits
    view       [N, views]               logits
    quality    [N, 1]                   logit of the Dice that the cavity outline is expected to reach
"""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .names import CLASSES, EXTRAS, KEYPOINTS, MIRRORED, VIEWS

BN_EPS = 1e-3
BN_MOMENTUM = 0.03

# repeats, kernel, stride, expansion, output channels of EfficientNet-B0's seven stages
_STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
_SCALE = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}


def relu6(x: torch.Tensor) -> torch.Tensor:
    """min(max(x, 0), 6), written so that it is exported as one Clip node."""
    return F.hardtanh(x, 0.0, 6.0)


class ReLU6(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return relu6(x)


def _round_channels(c: float, width: float) -> int:
    n = max(8, int(c * width + 4) // 8 * 8)
    return n + 8 if n < 0.9 * c * width else n


class Norm(nn.BatchNorm2d):
    """Batch normalisation, with ReLU6 behind it if act."""

    def __init__(self, c: int, act: bool = False) -> None:
        super().__init__(c, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return relu6(y) if self.act else y


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding; for stride 2 the extra row lies right and below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        k, s = self.kernel_size[0], self.stride[0]
        if s == 1:
            return F.conv2d(x, self.weight, self.bias, 1, k // 2, 1, self.groups)
        p = k - s  # even input sizes
        x = F.pad(x, (p // 2, p - p // 2, p // 2, p - p // 2))
        return F.conv2d(x, self.weight, self.bias, s, 0, 1, self.groups)


class Depthwise(SameConv2d):
    """One kernel x kernel filter per channel."""

    def __init__(self, c: int, kernel: int, stride: int = 1) -> None:
        super().__init__(c, c, kernel, stride, padding=kernel // 2, groups=c, bias=False)


class MBConv(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expand: int, drop: float) -> None:
        super().__init__()
        mid = cin * expand
        self.expand, self.skip, self.drop = expand != 1, stride == 1 and cin == cout, drop
        if self.expand:
            self._expand_conv = nn.Conv2d(cin, mid, 1, bias=False)
            self._bn0 = Norm(mid, act=True)
        self._depthwise_conv = Depthwise(mid, kernel, stride)
        self._bn1 = Norm(mid, act=True)
        self._project_conv = nn.Conv2d(mid, cout, 1, bias=False)
        self._bn2 = Norm(cout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        if self.expand:
            y = self._bn0(self._expand_conv(y))
        y = self._bn1(self._depthwise_conv(y))
        y = self._bn2(self._project_conv(y))
        if not self.skip:
            return y
        if self.training and self.drop > 0:  # stochastic depth
            keep = (torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop).to(x.dtype) / (1 - self.drop)
            y = y * keep
        return x + y


class Encoder(nn.Module):
    """EfficientNet-Lite without its classifier; returns the features at strides 2, 4, 8, 16, 32."""

    def __init__(self, variant: str = "lite0", drop_connect: float = 0.1) -> None:
        super().__init__()
        width, depth = _SCALE[variant]
        self._conv_stem = SameConv2d(1, 32, 3, 2, bias=False)  # RGB weights summed: gray input
        self._bn0 = Norm(32, act=True)
        blocks: list[MBConv] = []
        self.taps: list[int] = []
        self.channels: list[int] = []
        cin, total = 32, sum(r if i in (0, 6) else math.ceil(r * depth) for i, (r, *_) in enumerate(_STAGES))
        for i, (repeats, kernel, stride, expand, c) in enumerate(_STAGES):
            cout = _round_channels(c, width)
            if stride == 2:  # the block before a stride is the last one at its resolution
                self.taps.append(len(blocks) - 1)
                self.channels.append(cin)
            for j in range(repeats if i in (0, 6) else math.ceil(repeats * depth)):
                blocks.append(MBConv(cin, cout, kernel, stride if j == 0 else 1, expand, drop_connect * len(blocks) / total))
                cin = cout
        self.taps.append(len(blocks) - 1)
        self.channels.append(cin)
        self._blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self._bn0(self._conv_stem(x))
        out = []
        for i, b in enumerate(self._blocks):
            x = b(x)
            if i in self.taps:
                out.append(x)
        return out

    def load_imagenet(self, path: str) -> None:
        """Loads a published EfficientNet-Lite state dict; the stem's RGB kernels are summed for gray input."""
        state = torch.load(path, map_location="cpu")
        state["_conv_stem.weight"] = state["_conv_stem.weight"].sum(1, keepdim=True)
        own = self.state_dict()
        missing = [k for k in own if k not in state or state[k].shape != own[k].shape]
        if missing:
            raise ValueError(f"{path}: no fitting weights for {missing[:5]} ({len(missing)} in all)")
        self.load_state_dict({k: state[k] for k in own})


class Separable(nn.Module):
    """Residual depthwise k x k and pointwise convolution, each with batch normalisation."""

    def __init__(self, c: int, kernel: int = 3) -> None:
        super().__init__()
        self.dw = Depthwise(c, kernel)
        self.bn1 = Norm(c, act=True)
        self.pw = nn.Conv2d(c, c, 1, bias=False)
        self.bn2 = Norm(c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn1(self.dw(x))
        return relu6(x + self.bn2(self.pw(y)))


class Merge(nn.Module):
    """Doubles the coarser map and adds the projected encoder feature of the finer level."""

    def __init__(self, below: int, skip: int, out: int, blocks: int, kernel: int = 3) -> None:
        super().__init__()
        self.up = nn.Conv2d(below, out, 1, bias=False)
        self.lateral = nn.Conv2d(skip, out, 1, bias=False)
        self.bn_up, self.bn_lat = Norm(out), Norm(out)
        self.blocks = nn.Sequential(*[Separable(out, kernel) for _ in range(blocks)])

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(self.bn_up(self.up(x)), scale_factor=2.0, mode="nearest")
        return self.blocks(relu6(x + self.bn_lat(self.lateral(skip))))


class Net(nn.Module):
    """Encoder, decoder and heads. widths: decoder channels at strides 32, 16, 8, 4, 2."""

    def __init__(self, variant: str = "lite0", widths: Sequence[int] = (128, 96, 64, 48, 32), blocks: Sequence[int] = (1, 1, 2, 2, 1), drop_connect: float = 0.1) -> None:
        super().__init__()
        self.encoder = Encoder(variant, drop_connect)
        c = self.encoder.channels
        self.neck = nn.Sequential(nn.Conv2d(c[4], widths[0], 1, bias=False), Norm(widths[0]), ReLU6(),
                                  *[Separable(widths[0], 5) for _ in range(blocks[0])])
        self.merge16 = Merge(widths[0], c[3], widths[1], blocks[1], 5)
        self.merge8 = Merge(widths[1], c[2], widths[2], blocks[2], 5)
        self.merge4 = Merge(widths[2], c[1], widths[3], blocks[3])
        self.merge2 = Merge(widths[3], c[0], widths[4], blocks[4])
        self.mask = nn.Conv2d(widths[4], len(CLASSES), 1)
        self.heat = nn.Sequential(Separable(widths[3], 5), nn.Conv2d(widths[3], len(KEYPOINTS), 1))
        self.view = nn.Sequential(nn.Linear(c[4], 128), ReLU6(), nn.Dropout(0.2), nn.Linear(128, len(VIEWS)))
        self.quality = nn.Sequential(nn.Linear(c[4] + 2 * widths[3] + 4, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
        self.root: Root | None = None  # of a finished network, see trust.fit_root
        nn.init.constant_(self.mask.bias, -2.0)
        nn.init.constant_(self.heat[1].bias, -4.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """x: float gray 0..255 [N,1,H,W]; returns the logits of mask, heatmaps, view and quality."""
        return self.everything(x)[:4]

    def everything(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What forward returns, and the deep features [N,C] by which the view is told and novelty measured."""
        return self.details(x)[:5]

    def details(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What everything returns, and the encoder's features of stride 16 [N,C,H/16,W/16], see Root."""
        f2, f4, f8, f16, f32 = self.encoder((x - 127.0) * (1 / 128.0))
        deep = f32.mean((2, 3))
        y = self.merge16(self.neck(f32), f16)
        y4 = self.merge4(self.merge8(y, f8), f4)
        mask, heat = self.mask(self.merge2(y4, f2)), self.heat(y4)
        return mask, heat, self.view(deep), self.quality(evidence(deep, y4, mask, heat)), deep, f16

    @torch.no_grad()
    def lean(self, other: float) -> None:
        """Adds to the logit of the view "other"."""
        self.view[3].bias[VIEWS.index("other")] += other

    def load_start(self, state: dict[str, torch.Tensor]) -> None:
        """Takes the weights of an earlier network. Views and heads that it lacks begin as their likes or as they are."""
        own, old = self.state_dict(), dict(state)
        for key in ("view.3.weight", "view.3.bias"):
            have = len(old[key])
            if have < len(VIEWS):
                rows = [i if i < have else VIEWS.index(next(v for v, m in MIRRORED.items() if m == VIEWS[i])) for i in range(len(VIEWS))]
                old[key] = old[key][rows]
        missing = [k for k in own if k not in old and not k.startswith("quality.")]
        if missing:
            raise ValueError(f"the checkpoint lacks {missing[:5]}")
        self.load_state_dict({**own, **old})


def evidence(deep: torch.Tensor, y4: torch.Tensor, mask: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """What the quality head sees, [N, features], without gradients into the network: deep features, decoder features
    over the picture and over the cavity, how soft the cavity's border is, and the peaks of the apical points."""
    deep, y4, mask, heat = deep.detach(), y4.detach(), mask[:, :1].detach(), heat[:, :3].detach()
    p = torch.sigmoid(mask)
    here = F.avg_pool2d(p, 2)
    area = here.sum((2, 3)) + 1.0
    soft = (p * (1 - p)).sum((2, 3)) / area
    return torch.cat([deep, y4.mean((2, 3)), (y4 * here).sum((2, 3)) / area, soft, torch.sigmoid(heat.amax((2, 3)))], 1)


class Novelty(nn.Module):
    """How far deep features lie from those of the views in training: the least Mahalanobis distance to a view's mean, with
    one covariance for all (Lee et al., NeurIPS 2018), in the leading directions; 1 for a typical frame of training.

    features [N,C] -> [N,1].
    """

    def __init__(self, features: int = 1, directions: int = 1, views: int = 1) -> None:
        super().__init__()
        self.register_buffer("whiten", torch.zeros(directions, features))
        self.register_buffer("means", torch.zeros(views, directions))
        self.register_buffer("scale", torch.ones(1))

    def forward(self, deep: torch.Tensor) -> torch.Tensor:
        z = deep @ self.whiten.t()
        d = (z[:, None] - self.means[None]).square().sum(2)
        return torch.sqrt(d.amin(1, keepdim=True)) / self.scale

    @classmethod
    def fit(cls, features: torch.Tensor, view: torch.Tensor, directions: int = 64) -> "Novelty":
        """From features [M,C] of training frames and their views [M]."""
        kinds = sorted(set(view.tolist()))
        centred = torch.cat([features[view == k] - features[view == k].mean(0) for k in kinds]).double()
        values, vectors = torch.linalg.eigh(centred.t() @ centred / len(centred))
        directions = min(directions, features.shape[1])
        out = cls(features.shape[1], directions, len(kinds))
        out.whiten.copy_((vectors[:, -directions:] / values[-directions:].clamp(min=1e-6).sqrt()).t())
        out.means.copy_(torch.stack([features[view == k].mean(0) for k in kinds]) @ out.whiten.t())
        out.scale.copy_(out(features).median())
        return out

    @classmethod
    def load(cls, state: dict[str, torch.Tensor]) -> "Novelty":
        out = cls(state["whiten"].shape[1], *state["means"].shape[::-1])
        out.load_state_dict(state)
        return out


class Root(nn.Module):
    """Whether an aortic root opens beside the septal hinge: five chambers, which else look like four. A logistic regression on the
    encoder's features of stride 16 around the hinge and one cell below it to the right, where the root lies in the A4C of the usual display.

    Features [N,C,h,w] and logits of the heatmaps [N,K,4h,4w] -> logits [N,1].
    """

    def __init__(self, features: int = 1) -> None:
        super().__init__()
        near = torch.zeros(2, 1, 3, 3)
        near[0], near[1, 0, 0, 0] = 1 / 9, 1.0
        move = torch.zeros(1, len(VIEWS))
        move[0, VIEWS.index("A4C")], move[0, VIEWS.index("other")] = -1.0, 1.0
        self.register_buffer("near", near)
        self.register_buffer("move", move)
        self.register_buffer("weight", torch.zeros(2 * features, 1))
        self.register_buffer("bias", torch.zeros(1))

    def look(self, f16: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
        """What is judged, [N,2C]."""
        hinge = KEYPOINTS.index("mitral_septal")
        at = F.avg_pool2d(torch.sigmoid(heat[:, hinge:hinge + 1]).square(), 4)
        at = at / (at.sum((2, 3), keepdim=True) + 1e-6)
        return (F.conv2d(at, self.near, padding=1).flatten(2) @ f16.flatten(2).transpose(1, 2)).flatten(1)

    def forward(self, f16: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
        return self.look(f16, heat) @ self.weight + self.bias

    def views(self, p: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
        """Probabilities of views [N,V] of which the share sigmoid(root) of A4C went to "other". A mirrored display keeps its own:
        it is judged when it is turned."""
        a4c = VIEWS.index("A4C")
        return p + torch.sigmoid(root) * p[:, a4c:a4c + 1] * self.move

    @classmethod
    def load(cls, state: dict[str, torch.Tensor]) -> "Root":
        out = cls(len(state["weight"]) // 2)
        out.load_state_dict(state)
        return out


SIGNS = ("soft", "wall")  # what of an outline foretells how good it is, see signs


def signs(mask: torch.Tensor) -> torch.Tensor:
    """How soft the border of the cavity is, the spread p(1-p) of its probabilities over its area, and how large the wall is against it, in
    logarithms. Logits [N,C,h,w] of cavity and wall -> [N,2], in the order of SIGNS."""
    p = torch.sigmoid(mask[:, :2])
    cavity, wall = p.sum((2, 3)).split(1, 1)
    soft = (p[:, :1] * (1 - p[:, :1])).sum((2, 3)) / (cavity + 1)
    return torch.cat([torch.log(soft.clamp(min=1e-4)), torch.log((wall + 1) / (cavity + 1))], 1)


class Deployed(nn.Module):
    """The exported graph: uint8 frames in; uint8 mask, sigmoid heatmaps, softmax views and, with novelty, EXTRAS out.

    expects: constant and weights of SIGNS for the logarithm of 1.01 - Dice, fitted on patients held out (trust.choose_limits); without
    them the quality head answers by itself.
    """

    def __init__(self, net: "Net", novelty: "Novelty | None" = None, expects: Sequence[float] | None = None) -> None:
        super().__init__()
        self.net, self.novelty = net, novelty
        self.expects = None if expects is None else torch.tensor([float(w) for w in expects])

    def expected(self, mask: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
        """The Dice [N,1] that the cavity outline is expected to reach, from the logits of mask and quality."""
        if self.expects is None:
            return torch.sigmoid(quality)
        return (1.01 - torch.exp(self.expects[0] + signs(mask) @ self.expects[1:, None])).clamp(0, 1)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mask, heat, view, quality, deep, f16 = self.net.details(frames.float())
        views = torch.softmax(view, 1)
        if self.net.root is not None:
            views = self.net.root.views(views, self.net.root(f16, heat))
        out = torch.floor(torch.sigmoid(mask) * 255.0 + 0.5).to(torch.uint8), torch.sigmoid(heat), views
        return out if self.novelty is None else (*out, torch.cat([self.expected(mask, quality), self.novelty(deep)], 1))

#!/usr/bin/env python3
"""Exports untrained networks of the designs others use, to time beside ours (conformance/bench/infer/run.sh OURS THEIRS ...).

    efficientnet-b0-unet.onnx   EfficientNet-B0 (Tan & Le, ICML 2019) with a plain U-Net decoder of 256..16 channels and a mask
                                at full resolution, 224 x 224: the design of the unified multi-task paper
    deeplabv3-resnet50.onnx     DeepLabV3 (Chen et al., 2017) on a ResNet-50 at output stride 8, 112 x 112 RGB: the
                                segmentation network of EchoNet-Dynamic (Ouyang et al., Nature 2020)

Weights are random: they do not change the time. Normalisation is folded into the convolutions at export.
"""

import argparse
import os
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def conv(cin: int, cout: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1, act: Any = nn.ReLU) -> nn.Sequential:
    pad = dilation * (kernel - 1) // 2
    layers = [nn.Conv2d(cin, cout, kernel, stride, pad, dilation, groups, bias=False), nn.BatchNorm2d(cout)]
    return nn.Sequential(*layers, *([act()] if act else []))


class SqueezeExcite(nn.Module):
    def __init__(self, c: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(c, squeezed, 1), nn.SiLU(), nn.Conv2d(squeezed, c, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> Any:
        return x * self.gate(x.mean((2, 3), keepdim=True))


class MBConv(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        mid = cin * expand
        self.skip = stride == 1 and cin == cout
        self.body = nn.Sequential(*([conv(cin, mid, 1, act=nn.SiLU)] if expand > 1 else []),
                                  conv(mid, mid, kernel, stride, groups=mid, act=nn.SiLU),
                                  SqueezeExcite(mid, cin // 4), conv(mid, cout, 1, act=None))

    def forward(self, x: torch.Tensor) -> Any:
        y = self.body(x)
        return x + y if self.skip else y


class EfficientNetUNet(nn.Module):
    """EfficientNet-B0 U-Net with three masks at full resolution and seven heatmaps at a quarter; one gray channel in."""

    STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(1, 32, 3, 2, act=nn.SiLU)
        stages, c = [], 32
        for repeats, kernel, stride, expand, cout in self.STAGES:
            blocks = []
            for i in range(repeats):
                blocks.append(MBConv(c, cout, kernel, stride if i == 0 else 1, expand))
                c = cout
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        ups, below = [], 320
        for skip, out in ((112, 256), (40, 128), (24, 64), (32, 32), (0, 16)):
            ups.append(nn.Sequential(conv(below + skip, out, 3), conv(out, out, 3)))
            below = out
        self.ups = nn.ModuleList(ups)
        self.mask = nn.Conv2d(16, 3, 3, padding=1)
        self.heat = nn.Conv2d(64, 7, 3, padding=1)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stem(x)
        kept = [x]
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in (1, 2, 4):
                kept.append(x)
        for i, up in enumerate(self.ups):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            if i < 4:
                x = torch.cat([x, kept[3 - i]], 1)
            x = up(x)
            if i == 2:
                heat = self.heat(x)
        return torch.sigmoid(self.mask(x)), torch.sigmoid(heat)


class Bottleneck(nn.Module):
    def __init__(self, cin: int, mid: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(cin, mid, 1), conv(mid, mid, 3, stride, dilation), conv(mid, mid * 4, 1, act=None))
        self.short = conv(cin, mid * 4, 1, stride, act=None) if cin != mid * 4 or stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> Any:
        return F.relu(self.body(x) + self.short(x))


class DeepLabV3(nn.Module):
    """ResNet-50 with dilated last stages, atrous spatial pyramid pooling at rates 12, 24, 36, one mask at full resolution."""

    def __init__(self) -> None:
        super().__init__()
        layers, c = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
        for mid, repeats, stride, dilation in ((64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 1, 2), (512, 3, 1, 4)):
            for i in range(repeats):
                layers.append(Bottleneck(c, mid, stride if i == 0 else 1, dilation if i else max(1, dilation // 2)))
                c = mid * 4
        self.backbone = nn.Sequential(*layers)
        self.rates = nn.ModuleList([conv(c, 256, 1)] + [conv(c, 256, 3, dilation=r) for r in (12, 24, 36)])
        self.pool = conv(c, 256, 1)
        self.head = nn.Sequential(conv(5 * 256, 256, 1), conv(256, 256, 3), nn.Conv2d(256, 1, 1))

    def forward(self, x: torch.Tensor) -> Any:
        size = x.shape[2:]
        y = self.backbone(x)
        pooled = self.pool(y.mean((2, 3), keepdim=True)).expand(-1, -1, *y.shape[2:])
        y = self.head(torch.cat([r(y) for r in self.rates] + [pooled], 1))
        return torch.sigmoid(F.interpolate(y, size=size, mode="bilinear", align_corners=False))


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", required=True, help="folder")
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)
    torch.manual_seed(0)
    for name, net, channels, size in (("efficientnet-b0-unet", EfficientNetUNet(), 1, 224), ("deeplabv3-resnet50", DeepLabV3(), 3, 112)):
        path = os.path.join(args.out, name + ".onnx")
        torch.onnx.export(net.eval(), torch.zeros(1, channels, size, size), path, input_names=["frames"],
                          opset_version=13, do_constant_folding=True)
        millions = sum(p.numel() for p in net.parameters()) / 1e6
        print(f"{path}: {millions:.1f} M parameters, {channels} x {size} x {size}")


if __name__ == "__main__":
    main()

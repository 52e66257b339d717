"""Optional kernels for training on CPUs, in C++ (native.cpp), compiled when first used; needs g++ and single-threaded ranks.

They replace the gradients of depthwise convolutions, and batch normalisation with its activation, which take most of
a step in PyTorch's CPU kernels. use(net) swaps the modules' classes; parameter names and checkpoints stay the same.
"""

import ctypes
import os
import subprocess
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from . import net as nets

_HERE = os.path.dirname(os.path.abspath(__file__))


def load(folder: str) -> ctypes.CDLL:
    """Compiles native.cpp into folder unless it is there already, and returns the library."""
    source, path = os.path.join(_HERE, "native.cpp"), os.path.join(folder, "native.so")
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(source):
        part = f"{path}.{os.getpid()}"
        subprocess.run(["g++", "-O3", "-march=native", "-ffast-math", "-std=c++17", "-shared", "-fPIC", "-o", part, source], check=True)
        os.replace(part, path)
    return ctypes.CDLL(path)


def _p(t: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(t.data_ptr())


def _last(t: torch.Tensor) -> torch.Tensor:
    return t.contiguous(memory_format=torch.channels_last)


def functions(lib: ctypes.CDLL) -> tuple[Any, Any]:
    """The autograd functions depthwise(x, weight, stride) and norm(x, gamma, beta, eps, act) over the library lib."""

    class Depthwise(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, stride: int) -> Any:
            k = weight.shape[2]
            before, after = ((k - stride) // 2, k - stride - (k - stride) // 2) if stride > 1 else (k // 2, k // 2)
            ctx.save_for_backward(x, weight)
            ctx.stride, ctx.before = stride, before
            if stride == 1:
                return F.conv2d(x, weight, None, 1, k // 2, 1, weight.shape[0])
            return F.conv2d(F.pad(x, (before, after, before, after)), weight, None, stride, 0, 1, weight.shape[0])

        @staticmethod
        def backward(ctx: Any, gy: torch.Tensor) -> Any:
            x, weight = ctx.saved_tensors
            x, gy = _last(x), _last(gy)
            n, c, h, w = x.shape
            k = weight.shape[2]
            taps = weight.reshape(c, k * k).t().contiguous()
            gx, gw = torch.empty_like(x, memory_format=torch.channels_last), torch.zeros_like(taps)
            lib.depthwise_backward(_p(x), _p(gy), _p(taps), _p(gx), _p(gw), n, h, w, c, gy.shape[2], gy.shape[3], k, ctx.stride, ctx.before)
            return gx, gw.t().reshape(weight.shape), None

    class Norm(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, eps: float, act: bool) -> Any:
            x = _last(x)
            c = x.shape[1]
            rows = x.numel() // c
            y, mean, var = torch.empty_like(x, memory_format=torch.channels_last), torch.empty(c), torch.empty(c)
            lib.norm_forward(_p(x), _p(gamma), _p(beta), _p(y), _p(mean), _p(var), ctypes.c_size_t(rows), c, ctypes.c_float(eps), act)
            ctx.save_for_backward(x, gamma, beta, mean, var)
            ctx.eps, ctx.act = eps, act
            ctx.mark_non_differentiable(mean, var)
            return y, mean, var

        @staticmethod
        def backward(ctx: Any, gy: torch.Tensor, _mean: torch.Tensor, _var: torch.Tensor) -> Any:
            x, gamma, beta, mean, var = ctx.saved_tensors
            gy = _last(gy)
            c = x.shape[1]
            rows = x.numel() // c
            gx, ggamma, gbeta = torch.empty_like(x, memory_format=torch.channels_last), torch.empty(c), torch.empty(c)
            lib.norm_backward(_p(x), _p(gy), _p(gamma), _p(beta), _p(mean), _p(var), _p(gx), _p(ggamma), _p(gbeta),
                              ctypes.c_size_t(rows), c, ctypes.c_float(ctx.eps), ctx.act)
            return gx, ggamma, gbeta, None, None

    return Depthwise.apply, Norm.apply


def use(net: nn.Module, folder: str) -> None:
    """Lets net train with the native kernels; evaluation, checkpoints and export stay as they are. Returns net."""
    depthwise, norm = functions(load(folder))

    class NativeDepthwise(nets.Depthwise):
        def forward(self, x: torch.Tensor) -> Any:
            return depthwise(x, self.weight, self.stride[0]) if self.training else super().forward(x)

    class NativeNorm(nets.Norm):
        def forward(self, x: torch.Tensor) -> Any:
            if not self.training:
                return super().forward(x)
            y, mean, var = norm(x, self.weight, self.bias, self.eps, int(self.act))
            with torch.no_grad():
                rows = x.numel() // x.shape[1]
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * (rows / max(1, rows - 1)), self.momentum)
            return y

    for m in net.modules():
        if isinstance(m, nets.Depthwise) and m.groups % 16 == 0:
            m.__class__ = NativeDepthwise
        elif isinstance(m, nets.Norm) and m.num_features % 16 == 0:
            m.__class__ = NativeNorm
    return net

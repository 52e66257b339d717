"""Learning rates over a run and over the parts of a network."""

from typing import Any

import numpy as np
from torch import nn


def rate(step: int, warmup: int, progress: float) -> float:
    """Linear warm-up, and a half cosine to 1 % over the whole run (progress 0..1)."""
    return float(min(1.0, (step + 1) / warmup) * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(1.0, progress)))))


def param_groups(net: nn.Module, lr: float, encoder_lr: float, decay: float) -> list[dict[str, Any]]:
    """No weight decay on biases and normalisation; a smaller rate for the pretrained encoder."""
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, p in net.named_parameters():
        r = encoder_lr if name.startswith("encoder.") else lr
        groups.setdefault((r, decay if p.ndim > 1 else 0.0), []).append(p)
    return [{"params": ps, "lr": r, "base": r, "weight_decay": wd} for (r, wd), ps in groups.items()]

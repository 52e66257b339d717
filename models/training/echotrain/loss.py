"""Losses with partial labels: every term is masked per sample and task. Nothing here waits for a GPU."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from .kinds import Config


def segmentation(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Cross entropy plus soft Dice per class over the known pixels; classes without known pixels count nothing."""
    bce = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * known).sum((2, 3))
    area = known.sum((2, 3))
    p = torch.sigmoid(logits) * known
    inter, total = (p * target).sum((2, 3)), (p.square() + (target * known).square()).sum((2, 3))
    full = (area == known[0, 0].numel()).float()  # Dice only where the whole plane is known
    dice = (1 - (2 * inter + 1) / (total + 1)) * full
    class_weight = torch.tensor([1.5, 0.8, 0.7], device=logits.device)
    ce = (bce / area.clamp(min=1) * (area > 0)) * class_weight
    n = (known.sum((1, 2, 3)) > 0).float().sum().clamp(min=1)
    return (2.0 * ce.sum() + (dice * class_weight).sum()) / n


def heatmaps(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Peak maps: weighted cross entropy for calibration plus a spatial cross entropy for position."""
    here, absent = (known > 0).float(), (known < 0).float()
    w = 1 + 20 * target
    bce = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * w).flatten(2).sum(2)
    bce = (bce * (here + 0.3 * absent)).sum() / 60.0
    t = target.flatten(2)
    t = t / t.sum(2, keepdim=True).clamp(min=1e-6)
    ce = -(t * F.log_softmax(logits.flatten(2), 2)).sum(2)
    floor = -(t * t.clamp(min=1e-9).log()).sum(2)
    pos = ((ce - floor) * here).sum()
    return (bce + 0.25 * pos) / here.sum().clamp(min=1)


def views(logits: torch.Tensor, target: torch.Tensor, prior: torch.Tensor | None = None, smoothing: float = 0.05) -> torch.Tensor:
    """Cross entropy of the view; with prior (shares of the classes in training) adjusted so that the network answers as
    if every view were equally frequent (Menon et al., ICLR 2021)."""
    if prior is not None:
        logits = logits + torch.log(prior)
    s = F.cross_entropy(logits, target, ignore_index=-1, label_smoothing=smoothing, reduction="sum")
    return s / (target >= 0).sum().clamp(min=1)


def whole(known: torch.Tensor) -> torch.Tensor:
    """[N] 1 where the cavity is known over the whole plane."""
    return (known[:, 0].mean((1, 2)) > 0.999).float()


def area(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """How far the cavity's area is from the expert's, in its logarithm: volumes follow areas."""
    p, t = torch.sigmoid(logits[:, 0]).sum((1, 2)), target[:, 0].sum((1, 2))
    here = whole(known) * (t > 50).float()
    d = torch.log((p + 20) / (t + 20))
    return (F.smooth_l1_loss(d, torch.zeros_like(d), beta=0.05, reduction="none") * here).sum() / here.sum().clamp(min=1)


def quality(logits: torch.Tensor, mask: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The quality head against the Dice that the cavity outline reaches at this moment."""
    p, t = (mask[:, 0].detach() > 0).float(), target[:, 0]
    dice = (2 * (p * t).sum((1, 2)) + 1) / (p.sum((1, 2)) + t.sum((1, 2)) + 1)
    here = whole(known) * (t.sum((1, 2)) > 50).float()
    ce = F.binary_cross_entropy_with_logits(logits[:, 0], dice, reduction="none")
    return (ce * here).sum() / here.sum().clamp(min=1)


def total(out: Sequence[torch.Tensor], batch: dict[str, torch.Tensor], weight: dict[str, float], prior: torch.Tensor | None = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Sum of the terms, and the terms by name without their gradients. weight: what weights returns; prior: see views."""
    mask, heat, view, grade = out
    terms = {"seg": segmentation(mask, batch["mask"], batch["mask_known"]),
             "heat": heatmaps(heat, batch["heat"], batch["heat_known"]),
             "view": views(view, batch["view"], prior),
             "area": area(mask, batch["mask"], batch["mask_known"]),
             "quality": quality(grade, mask, batch["mask"], batch["mask_known"])}
    value = sum(v * weight.get(k, 1.0) for k, v in terms.items())
    return value, {k: v.detach() for k, v in terms.items()}


def weights(train: Config) -> dict[str, float]:
    """Weights of the terms of total, from a configuration's [train] table."""
    return {"seg": train.get("seg_weight", 1.0), "heat": train.get("heat_weight", 0.35), "view": train.get("view_weight", 0.3), "area": train.get("area_weight", 0.0),
            "quality": train.get("quality_weight", 0.1)}


class Prior:
    """Shares of the views among the frames trained on, as they come; none counts as rarer than floor."""

    def __init__(self, n: int, floor: float = 0.05) -> None:
        self.share, self.floor = torch.full((n,), 1.0 / n), floor

    def update(self, target: torch.Tensor) -> torch.Tensor:
        """Takes a batch's views in and returns the shares [n]."""
        known = target[target >= 0]
        if len(known):
            now = torch.bincount(known, minlength=len(self.share)).float() / len(known)
            self.share.lerp_(now, 0.01)
        return self.share.clamp(min=self.floor)


def distillation(out: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor], batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Student against teacher on the same frames: mask and heatmap probabilities, view distribution."""
    mask, heat, view = out[:3]
    m = F.binary_cross_entropy_with_logits(mask, torch.sigmoid(teacher[0]), reduction="none").mean((2, 3)).sum() / len(mask)
    h = F.binary_cross_entropy_with_logits(heat, torch.sigmoid(teacher[1]), reduction="none").sum((2, 3)).sum() / 60.0 / len(heat)
    v = F.kl_div(F.log_softmax(view, 1), F.softmax(teacher[2], 1), reduction="batchmean")
    return 2.0 * m + 0.25 * h + 0.1 * v

"""Losses with partial labels: every term is masked per sample and task. Nothing here waits for a GPU."""

import torch
from torch.nn import functional as F


def segmentation(logits, target, known):
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


def heatmaps(logits, target, known):
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


def views(logits, target, smoothing=0.05):
    s = F.cross_entropy(logits, target, ignore_index=-1, label_smoothing=smoothing, reduction="sum")
    return s / (target >= 0).sum().clamp(min=1)


def total(out, batch, heat_weight=0.35, view_weight=0.3):
    """Sum of the terms, and the terms by name without their gradients."""
    mask, heat, view = out
    a = segmentation(mask, batch["mask"], batch["mask_known"])
    b = heatmaps(heat, batch["heat"], batch["heat_known"])
    c = views(view, batch["view"])
    return a + heat_weight * b + view_weight * c, {"seg": a.detach(), "heat": b.detach(), "view": c.detach()}


def distillation(out, teacher, batch):
    """Student against teacher on the same frames: mask and heatmap probabilities, view distribution."""
    mask, heat, view = out
    m = F.binary_cross_entropy_with_logits(mask, torch.sigmoid(teacher[0]), reduction="none").mean((2, 3)).sum() / len(mask)
    h = F.binary_cross_entropy_with_logits(heat, torch.sigmoid(teacher[1]), reduction="none").sum((2, 3)).sum() / 60.0 / len(heat)
    v = F.kl_div(F.log_softmax(view, 1), F.softmax(teacher[2], 1), reduction="batchmean")
    return 2.0 * m + 0.25 * h + 0.1 * v

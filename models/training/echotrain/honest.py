"""What networks make of patients they never saw, frame by frame: Dice, points, volumes, and all that might foretell how good they are."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from . import dataset, evaluation as ev, geometry as geo, report, trust
from .infer import decode_point, plain_views
from .kinds import Array, Data
from .names import CLASSES, KEYPOINTS
from .net import Net, Novelty, signs
from .sample import APICAL, CACHE, SEG_CAVITY, SEG_FULL
from .steady import speckled

TITLE = {**report.TITLES, dataset.A2C_VIEW: "A2C"}


def frames(net: Net, novelty: Novelty, data: Data, index: Array, size: int, again: int = 2, seed: int = 0) -> list[dict[str, Any]]:
    """One row for each of the frames index, which net has not learnt from. Its outline is compared with those of further looks, mirrored and,
    again times, with other speckle."""
    torch.manual_seed(seed)
    out = []
    for at in range(0, len(index), 16):
        part = index[at:at + 16]
        x = ev.to_network(data["image"][part], size)
        with torch.no_grad():
            mask, heat, view, quality, deep, f16 = net.details(x)
            far, root = novelty(deep)[:, 0], net.root(f16, heat)[:, 0] if net.root is not None else torch.full((len(x),), -30.0)
            others = {"mirrored": net(x.flip(3))[0].flip(3)} | {f"speckle{k}": net(speckled(x))[0] for k in range(again)}
        small = torch.sigmoid(mask)
        p = ev.probability(mask, CACHE).numpy()
        looks = {k: ev.probability(m[:, :1], CACHE)[:, 0].numpy() for k, m in others.items()}
        outputs, sign = told(small, torch.sigmoid(heat)), signs(mask)
        for j, i in enumerate(part):
            row: dict[str, Any] = {"source": str(data["source"][i]), "subject": str(data["subject"][i]), "phase": str(data["phase"][i])}
            names, probabilities = plain_views(torch.softmax(view[j], 0).numpy())
            row |= {"said": names[int(np.argmax(probabilities))], "p": float(probabilities.max()), "view": torch.softmax(view[j], 0).tolist()}
            row |= {"novelty": float(far[j]), "root": float(root[j]), "quality": float(quality[j, 0]), "signs": sign[j].tolist(), **{k: float(v[j]) for k, v in outputs.items()}}
            cavity = geo.largest(p[j, 0] > 0.5)
            row["agree"] = {k: ev.dice(cavity, geo.largest(l[j] > 0.5)) for k, l in looks.items()}
            row["areas"] = [float(cavity.sum()), *(float(geo.largest(l[j] > 0.5).sum()) for l in looks.values())]
            out.append(row | measured(data, i, p[j], cavity, torch.sigmoid(heat[j, APICAL]).numpy(), size))
    return out


def told(p: torch.Tensor, heat: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the outputs tell of themselves, each [N], from the probabilities of masks [N,3,h,w] and heatmaps [N,K,h/2,w/2]."""
    tiny = 1e-3
    unsure = p * (1 - p)
    cavity, wall = p[:, 0], p[:, 1]
    dx, dy = (cavity[:, :-1, 1:] - cavity[:, :-1, :-1]), (cavity[:, 1:, :-1] - cavity[:, :-1, :-1])
    edge = torch.sqrt(dx.square() + dy.square() + 1e-12)
    length = edge.sum((1, 2)) + tiny
    near = F.max_pool2d(wall[:, None], 9, 1, 4)[:, 0, :-1, :-1]
    local = F.avg_pool2d(unsure[:, :1], 15, 4)
    small = F.avg_pool2d(unsure[:, :1], 2)[:, 0]
    apical = heat[:, APICAL]
    spot = apical.square() / (apical.square().sum((2, 3), keepdim=True) + tiny)
    return {"soft": unsure[:, 0].sum((1, 2)) / (cavity.sum((1, 2)) + 1), "width": unsure[:, 0].sum((1, 2)) / length,
            "soft_wall": unsure[:, 1].sum((1, 2)) / (wall.sum((1, 2)) + 1), "soft_atrium": unsure[:, 2].sum((1, 2)) / (p[:, 2].sum((1, 2)) + 1),
            "worst": local.amax((1, 2, 3)), "large": torch.log(cavity.sum((1, 2)) + 1), "overlap": (cavity * wall).sum((1, 2)) / (cavity.sum((1, 2)) + 1),
            "covered": (edge * near).sum((1, 2)) / length, "compact": torch.log(length.square() / (cavity.sum((1, 2)) + 1)),
            "atrium": torch.log((p[:, 2].sum((1, 2)) + 1) / (cavity.sum((1, 2)) + 1)), "wall": torch.log((wall.sum((1, 2)) + 1) / (cavity.sum((1, 2)) + 1)),
            **{f"peak_{k}": apical[:, n].amax((1, 2)) for n, k in enumerate(KEYPOINTS[APICAL])},
            **{f"at_edge_{k}": (spot[:, n] * small).sum((1, 2)) for n, k in enumerate(KEYPOINTS[APICAL])},
            **{f"spread_{k}": (spot[:, n] * spot[:, n]).sum((1, 2)) for n, k in enumerate(KEYPOINTS[APICAL])}}


def measured(data: Data, i: int, p: Array, cavity: Array, heat: Array, size: int) -> dict[str, Any]:
    """What the expert says of frame i: Dice of the structures, distances of the points in mm, volumes in mL (one plane, 20 disks)."""
    label, mm = data["label"][i], float(data["mm"][i] / data["scale"][i])
    dice = {}
    for c in range({SEG_FULL: len(CLASSES), SEG_CAVITY: 1}.get(int(data["seg"][i]), 0)):
        if (truth := label == c + 1).sum() >= 50:
            dice[CLASSES[c]] = ev.dice(geo.largest(p[c] > 0.5) if c else cavity, truth)
    points = (np.array([decode_point(h)[:2] for h in heat]) + 0.5) * CACHE / size - 0.5
    out: dict[str, Any] = {"dice": dice, "area_truth": float((label == geo.LV).sum())}
    if (data["state"][i, APICAL] == 1).all():
        truth = data["points"][i, APICAL].astype(float)
        out["point_mm"] = (np.hypot(*(points - truth).T) * mm).tolist()
        out["volume_truth"], out["volume"] = ev.volume(geo.largest(label == geo.LV), truth[1:3], mm), ev.volume(cavity, points[1:3], mm)
    return out


def left_out(net: Net, novelty: Novelty, data: Data, size: int) -> list[dict[str, Any]]:
    """frames of all that data holds out of patients, with an expert's outline or known by their view alone."""
    return frames(net, novelty, data, np.flatnonzero(data["held"] & np.isin(data["source"], (*dataset.PATIENTS, dataset.A2C_VIEW))), size)


def tables(rows: list[dict[str, Any]]) -> str:
    """By group left out and for all: Dice, EF (points, one plane) and views, as Markdown."""
    groups = sorted({r["group"] for r in rows})
    shown = {**{f"without {g}": [r for r in rows if r["group"] == g] for g in groups}, "all": rows}
    lines = [report.row("", *shown), report.row(*["---"] * (len(shown) + 1))]
    add = lambda name, value: lines.append(report.row(name, *(value(of) for of in shown.values())))
    for view in ("A4C", "A2C"):
        of_view = lambda of, view=view: [r for r in of if TITLE[r["source"]] == view]
        for structure in CLASSES:
            for phase in ("ED", "ES"):
                add(f"{view} {phase} {structure}", lambda of: _mean([r["dice"][structure] for r in of_view(of) if r["phase"] == phase and structure in r["dice"]]))
        add(f"{view} EF: mean absolute error, bias", lambda of: _ef(report.ejection([r for r in of_view(of) if "volume" in r], view)))
        add(f"{view} called {view}, and otherwise", lambda of: _called(of_view(of), view))
    return "\n".join(lines) + "\n"


def expect(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Gives each row with a Dice the one expected by weights fitted without its group ("extras"), and says how well that foretold it: figures as
    of trust.choose_limits."""
    seen = [r for r in rows if "lv_cavity" in r["dice"]]
    reached = np.array([r["dice"]["lv_cavity"] for r in seen])
    expected = trust.cross_fitted(np.array([r["signs"] for r in seen]), reached, np.array([r["group"] for r in seen]))
    for r, e in zip(seen, expected):
        r["extras"] = {"expected_dice": float(e), "novelty": r["novelty"]}
    return trust.figures(expected, reached, [(r["subject"], r["phase"], r["novelty"]) for r in seen])


def volumes(path: str, rows: list[dict[str, Any]]) -> None:
    """CSV of the patients for conformance/bench/grade, see report.volumes."""
    report.volumes(path, [r for r in rows if "volume" in r])


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ({len(values)})" if values else "-"


def _ef(paired: dict[str, Any]) -> str:
    if not paired:
        return "-"
    a = ev.agreement(paired["EF points"]["got"], paired["EF points"]["truth"])
    return f"{a['mae']:.1f}, {a['bias']:+.1f} ({a['n']})"


def _called(rows: list[dict[str, Any]], view: str) -> str:
    said = [r["said"] for r in rows]
    wrong = ", ".join(f"{v} {said.count(v)}" for v in sorted(set(said) - {view}))
    return f"{said.count(view)} of {len(said)}" + (f"; {wrong}" if wrong else "")

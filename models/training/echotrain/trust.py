"""What tells a familiar picture from an unlike one, and the limits of a card, chosen on patients held out."""

import json
import os
from collections.abc import Sequence

import numpy as np
import torch

from . import batches, dataset, geometry as geo
from .evaluation import dice, probability, to_network
from .kinds import Array, Config, Data, Log, Rng
from .infer import plain_views
from .names import VIEWS
from .net import SIGNS, Net, Novelty, Root, signs
from .sample import CACHE

MEASURED = [i for i, v in enumerate(VIEWS) if v not in ("PSAX", "other")]
SURE = 0.55  # probability of a view that nothing else comes near
BAD = 0.88  # cavity Dice under which an outline should be flagged
ROOTS = 20  # frames of each kind from which an aortic root is learnt
LOST = 0.15  # of its probability that all but one in a hundred A4C lose at most to an aortic root
SPARE = 0.05  # of the other outlines that may be flagged


def passes(net: Net, frames: torch.Tensor, size: int = 16) -> list[torch.Tensor]:
    """View probabilities, SIGNS, deep features, cavity probabilities and logits of an aortic root of
    float frames [N,1,S,S]."""
    out = []
    with torch.no_grad():
        for i in range(0, len(frames), size):
            mask, heat, view, _, deep, f16 = net.details(frames[i:i + size])
            root = net.root(f16, heat)[:, 0] if net.root is not None else torch.full((len(mask),), -30.0)
            out.append((torch.softmax(view, 1), signs(mask), deep, probability(mask[:, :1], CACHE)[:, 0].half(), root))
    return [torch.cat(v) for v in zip(*out)]


def familiar(data: Data, index: Array, size: int, rng: Rng, looks: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames to fit on: each as recorded, and looks times mildly changed; with their views."""
    frames, views = [to_network(data["image"][index], size)], [torch.from_numpy(data["view"][index].astype(np.int64))]
    for _ in range(looks):
        for i in range(0, len(index), 32):
            part = index[i:i + 32]
            b = batches.make(data, part, [{"mild": True, "flip": 0.15, "blur": 0.3}] * len(part), size, rng)
            frames.append(b["frames"])
            views.append(b["view"])
    return torch.cat(frames), torch.cat(views)


def fit(net: Net, data: Data, size: int, limit: int, seed: int = 0) -> Novelty:
    """Novelty of net on frames of measured views that were trained on; at most limit of a source."""
    rng = np.random.default_rng(seed)
    pick = np.flatnonzero(~data["held"] & np.isin(data["view"], MEASURED) & ~np.char.startswith(data["source"].astype(str), "other"))
    pick = np.concatenate([rng.permutation(pick[data["source"][pick] == s])[:limit] for s in sorted(set(data["source"][pick]))])
    frames, views = familiar(data, pick, size, rng)
    known = torch.isin(views, torch.tensor(MEASURED))
    deep = passes(net, frames[known])[2]
    return Novelty.fit(deep, views[known])


def fit_root(net: Net, data: Data, size: int) -> Root | None:
    """Root of net by the A4C frames that were trained on against the five-chamber look-alikes cut from or drawn into such; None with too few."""
    source, view = data["source"].astype(str), data["view"]
    five = (source == "other-five") | (source == "other-cut") & (data["phase"].astype(str) == "five_chambers")
    four = np.isin(source, ("a4c", "loops")) & (view == VIEWS.index("A4C"))
    pick = np.flatnonzero(~data["held"] & (five | four))
    if min(five[pick].sum(), four[pick].sum()) < ROOTS:
        return None
    looks = []
    with torch.no_grad():
        for i in range(0, len(pick), 16):
            _, heat, _, _, _, f16 = net.details(to_network(data["image"][pick[i:i + 16]], size))
            out = Root(f16.shape[1])
            looks.append(out.look(f16, heat))
    weight, bias = regression(torch.cat(looks).double().numpy(), five[pick])
    out.weight.copy_(torch.from_numpy(weight)[:, None])
    out.bias.fill_(bias)
    return out


def regression(x: Array, yes: Array, ridge: float = 100.0, rounds: int = 12) -> tuple[Array, float]:
    """Weights and constant of a logistic regression of yes [N] on x [N,F], by Newton's method, held back in units of x's spread."""
    middle, spread = x.mean(0), x.std(0) + 1e-6
    a, y = np.c_[(x - middle) / spread, np.ones(len(x))], yes.astype(float)
    hold = np.diag(np.r_[np.full(x.shape[1], ridge), 1e-6])
    w = np.zeros(a.shape[1])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-(a @ w).clip(-30, 30)))
        w -= np.linalg.solve((a * (p * (1 - p))[:, None]).T @ a + hold, a.T @ (p - y) + hold @ w)
    return w[:-1] / spread, float(w[-1] - (w[:-1] * middle / spread).sum())


def fit_expected(sign: Array, reached: Array, slopes: Array | None = None) -> Array:
    """Constant and weights of the signs [N,len(SIGNS)] for log(1.01 - Dice): least squares, a little held back (ridge), and the constant such
    that on average as much is expected as is reached. With slopes the constant alone is fitted."""
    if slopes is None:
        want, middle, spread = np.log(1.01 - reached), sign.mean(0), sign.std(0) + 1e-6
        a = (sign - middle) / spread
        slopes = np.linalg.solve(a.T @ a + np.eye(a.shape[1]), a.T @ (want - want.mean())) / spread
    return np.r_[np.log((1.01 - reached).mean() / np.exp(sign @ slopes).mean()), slopes]


def expected_dice(sign: Array, weights: Array) -> Array:
    """The Dice that outlines with these signs are expected to reach, see fit_expected."""
    return np.asarray((1.01 - np.exp(weights[0] + sign @ weights[1:])).clip(0, 1))


def cross_fitted(sign: Array, reached: Array, subject: Array, slopes: Array | None = None) -> Array:
    """Expected Dice of each frame by weights fitted without its patient (or group of patients)."""
    out = np.zeros(len(reached))
    for s in set(subject.tolist()):
        own = subject == s
        w = fit_expected(sign[~own], reached[~own], slopes) if (~own).any() else np.zeros(1 + len(SIGNS))
        out[own] = expected_dice(sign[own], w)
    return out


def learnt(path: str) -> Array:
    """Weights of the signs by what crossfit.py measured (honest.json): of hundreds of patients instead of a fold."""
    with open(path) as f:
        rows = [r for r in json.load(f) if "lv_cavity" in r["dice"]]
    return fit_expected(np.array([r["signs"] for r in rows]), np.array([r["dice"]["lv_cavity"] for r in rows]))[1:]


def sparing(expected: Array, reached: Array) -> float:
    """The limit of the expected Dice that flags one in twenty of the outlines that reach BAD."""
    good = reached >= BAD
    return float(np.quantile(expected[good], SPARE)) if good.any() else 0.0


def figures(expected: Array, reached: Array, of: Sequence[tuple[str, str, float]]) -> Config:
    """What expected Dice foretold; of: subject, phase and novelty of each frame."""
    bad, flagged = reached < BAD, expected < sparing(expected, reached)
    return {"frames": len(reached), "bad": int(bad.sum()), "bad_flagged": int((bad & flagged).sum()), "good_flagged": int((~bad & flagged).sum()),
            "correlation": float(np.corrcoef(expected, reached)[0, 1]), "mean_expected": float(expected.mean()), "mean_reached": float(reached.mean()),
            "rows": [[subject, phase, round(float(e), 4), round(float(r), 4), round(far, 3)] for (subject, phase, far), e, r in zip(of, expected, reached)]}


def leaning(view: Array, other: float) -> Array:
    """Probabilities of views [N,V] after other was added to the logit of the view "other"."""
    p = view * np.exp(np.where(np.arange(len(VIEWS)) == VIEWS.index("other"), other, 0.0))
    return np.asarray(p / p.sum(1, keepdims=True))


def choose_other(view: Array, truth: Array) -> float:
    """The least that must be taken from the logit of "other" so that as many frames as can be keep their view and are
    sure of it: look-alikes of a view in training pull at the frames that are one."""
    steps = np.arange(0, -2.1, -0.25)
    right = [((leaning(view, s).argmax(1) == truth) & (leaning(view, s).max(1) >= SURE)).sum() for s in steps]
    return float(steps[int(np.argmax(right))])


def choose_limits(net: Net, novelty: Novelty, data: Data, size: int, slopes: Array | None = None) -> tuple[Config, Config]:
    """Limits for the card, constant and weights of the expected Dice ("expects"), what is added to the logits of "other" and of an aortic root,
    from the held-out frames with masks; and figures. slopes: the weights of the expected Dice, see learnt.

    novelty: a tenth more than all but one in a hundred of them stay below; expected_dice: flags one in twenty of those whose
    cavity reaches BAD; view: a tenth less than all but one in a hundred of those named rightly have. The figures of the expected Dice are cross-fitted
    by patient.
    """
    index = dataset.held_out(data, {})
    view, told, deep, cavity, root = passes(net, to_network(data["image"][index], size))
    sign = told.double().numpy()
    reached = np.array([dice(geo.largest(p.float().numpy() > 0.5), data["label"][i] == geo.LV) for p, i in zip(cavity, index)])
    expects = fit_expected(sign, reached, slopes)
    far = novelty(deep)[:, 0].numpy()
    other = choose_other(view.numpy(), data["view"][index])
    four = data["view"][index] == VIEWS.index("A4C")
    shift = float(np.log(LOST / (1 - LOST)) - np.quantile(root[four].numpy(), 0.99)) if net.root is not None and four.any() else 0.0
    seen = leaning(view.numpy(), other)
    if net.root is not None:
        seen = net.root.views(torch.from_numpy(seen), root.double()[:, None] + shift).numpy()
    honest = cross_fitted(sign, reached, data["subject"][index], slopes)
    p, right = plain_views(seen)[1].max(1), (seen.argmax(1) == data["view"][index])
    limits = {"view": round(0.9 * float(np.quantile(p[right], 0.01)), 2) if right.any() else 0.5, "novelty": round(float(np.quantile(far, 0.99)) * 1.1, 3),
              "expected_dice": round(sparing(expected_dice(sign, expects), reached), 4)}
    told_of = [(str(data["subject"][i]), str(data["phase"][i]), float(n)) for i, n in zip(index, far)]
    out = {**figures(honest, reached, told_of), "views_right": int(right.sum()), "views_right_below": int((right & (p < limits["view"])).sum()),
           "novelty_quantiles": np.quantile(far, (0.5, 0.9, 0.95, 0.99, 1)).round(3).tolist()}
    return {"limits": limits, "expects": expects.tolist(), "other": other, "root": shift}, out


def add(path: str, data: Data, log: Log, per_source: int = 150) -> tuple[Net, Novelty]:
    """Fits the novelty and the look for an aortic root of the checkpoint at path, saves them there, and returns network and novelty."""
    saved = torch.load(path, map_location="cpu")
    net = Net(**saved["config"]["net"]).eval()
    net.load_start(saved["average"])
    if "novelty" not in saved:
        log("fitting novelty")
        saved["novelty"] = fit(net, data, saved["config"]["export"]["size"], per_source).state_dict()
    if "root" not in saved:
        root = fit_root(net, data, saved["config"]["export"]["size"])
        log("no five-chamber frames to learn an aortic root from" if root is None else "fitting the look for an aortic root")
        saved["root"] = None if root is None else root.state_dict()
        torch.save(saved, path + ".tmp")
        os.replace(path + ".tmp", path)
    net.root = None if saved["root"] is None else Root.load(saved["root"])
    return net, Novelty.load(saved["novelty"])


def chosen(path: str) -> Config:
    """What write_limits wrote."""
    with open(path) as f:
        found: Config = json.load(f)
    if "expects" not in found:
        raise SystemExit(f"{path} was written before networks expected by two signs: make it anew with trust.py --limits")
    return found


def set_up(net: Net, chosen: Config) -> None:
    """Gives net what choose_limits has chosen for the logits of "other" and of an aortic root."""
    net.lean(chosen.get("other", 0.0))
    if net.root is not None:
        net.root.bias += chosen.get("root", 0.0)


def write_limits(path: str, net: Net, novelty: Novelty, data: Data, size: int, log: Log, honest: str | None = None) -> None:
    """Writes "limits", "expects", "other" and "root" of choose_limits, and "figures", as JSON. honest: see learnt."""
    chosen, told = choose_limits(net, novelty, data, size, learnt(honest) if honest else None)
    with open(path, "w") as f:
        json.dump({**chosen, "figures": told}, f, indent=1)
    log(f"{json.dumps(chosen)} from {json.dumps({k: v for k, v in told.items() if k != 'rows'})}")

"""Which data a run uses: the cache, the fold, and the parts of a batch."""

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from . import batches, corpus, corrected, sample
from .kinds import Array, Config, Data, Log, Part
from .names import VIEWS

A2C = ("a2c-restored", "a2c-2")  # sources with A2C masks
PATIENTS = ("a4c", *A2C)  # sources whose subjects are patients with masks
A2C_VIEW = "a2c-view"  # A2C pictures without masks
NETWORK_MADE = ("loop-cavity", "a2c-view-cavity")  # sources whose masks pseudo_label.py made: nothing is measured by them


def is_held_out(subject: str, cfg: Config) -> bool:
    """Patient-wise fold by a hash of the identifier; near-duplicates named in cfg share their first one's fate."""
    f = cfg["fold"]
    for group in f.get("together", []):
        if subject in group:
            subject = group[0]
    every = f["every"].get(_kind(subject, cfg), f["every"]["default"])
    if every <= 0:
        return False
    return int(hashlib.md5((f["salt"] + subject).encode()).hexdigest(), 16) % every == 0


def _kind(subject: str, cfg: Config) -> str:
    return "a2c" if subject in cfg["fold"].get("a2c_subjects", ()) else "default"


def prepare(cfg: Config, folder: str | None, loops: str | None, cache: str, log: Log, extra: Sequence[str] = (), filled: bool = True) -> Data:
    """The cache as a dict of arrays, made on the first run; adds the caches extra, 'held' (bool) and, if asked for, 'filled'.

    What readers corrected on a review page (folder/corrected) is read anew each time: it grows between runs, the cache doesn't.
    """
    if os.path.exists(cache):
        data = sample.load(cache)
    else:
        if not folder:
            raise SystemExit("name the data folder with --data or ECHO_DATA")
        samples = corpus.read_all(cfg, folder, loops, log)
        log(f"{len(samples)} samples -> {cache}")
        sample.save(cache, samples)
        data = sample.load(cache)
    more = [sample.load(path) for path in extra]
    if folder and (frames := corrected.read(os.path.join(folder, "corrected"))):
        more.append(sample.columns(frames))
    for m in more:
        data = {k: np.concatenate([v, m[k]]) for k, v in data.items()}
    cfg["fold"]["a2c_subjects"] = sorted(set(data["subject"][np.isin(data["source"], A2C)].tolist()))
    loops_held = cfg["fold"].get("loops", [])
    data["held"] = np.array([str(s) in loops_held if o.startswith("loop") else is_held_out(str(s), cfg) and o != "plax-restored"
                             for s, o in zip(data["subject"], data["source"])])
    left_out = cfg["fold"].get("plax_left_out", [])  # cross validation of the expert PLAX frames
    data["held"] |= np.isin(data["subject"], left_out)
    if filled:  # takes half a minute, for training alone
        batches.add_filled(data, np.flatnonzero(data["seg"] == sample.SEG_FULL))
    log("samples (held out): " + ", ".join(
        f"{s} {np.sum(data['source'] == s)} ({np.sum((data['source'] == s) & data['held'])})" for s in sorted(set(data["source"]))))
    return data


def describe(data: Data) -> str:
    """What a network was trained on, for its card: frames and subjects of each source that were not held out."""
    parts = []
    for source in sorted(set(data["source"])):
        of = (data["source"] == source) & ~data["held"]
        if of.any():
            parts.append(f"{source} ({len(set(data['subject'][of]))} subjects, {of.sum()} frames)")
    return "; ".join(parts)


def add_soft(data: Data, path: str) -> None:
    """Adds what soften.py wrote: data['soft'] uint8 [M,3,CACHE,CACHE], 'soft_share' [M] and 'soft_row' [N], -1 for none."""
    with np.load(path) as z:
        data["soft"], data["soft_share"] = z["soft"], z["share"].astype(np.float32)
        data["soft_row"] = np.full(len(data["image"]), -1)
        data["soft_row"][z["index"]] = np.arange(len(z["index"]))
        if not np.array_equal(data["subject"][z["index"]].astype(str), z["subject"].astype(str)):
            raise SystemExit(f"{path} was made from another cache")


HELD, COMMON = "held", "common"  # groups of samples, beside the numbered groups of patients


def groups(data: Data, cfg: Config) -> Array:
    """Group of each sample, as text: HELD (the fold, and the expert PLAX frames), a number 0..count-1 for the other patients, COMMON.

    cfg['groups']: count; the same number of patients in each, those with A2C masks among them alike, and those with an A2C picture alone.
    What was cut from or drawn into a patient's frame is in the patient's group.
    """
    f, count = cfg["fold"], cfg["groups"]["count"]
    leader = {s: g[0] for g in f.get("together", []) for s in g}
    out = np.full(len(data["source"]), COMMON, dtype="<U8")
    first = np.array([leader.get(str(s), str(s)) for s in data["subject"]])
    patients = np.isin(data["source"], PATIENTS)
    out[(data["held"] & patients) | (data["source"] == "plax-restored")] = HELD
    out[data["held"] & np.isin(first, first[out == HELD])] = HELD
    order = lambda s: hashlib.md5((f["salt"] + "group" + s).encode()).hexdigest()
    number: dict[str, str] = {}
    for kind, of in (("a2c", patients), ("default", patients), ("default", data["source"] == A2C_VIEW)):
        new = {str(s) for s in first[of & (out != HELD)] if _kind(s, cfg) == kind} - set(number)
        number.update({s: str(i % count) for i, s in enumerate(sorted(new, key=order))})
    for i in np.flatnonzero(out != HELD):
        out[i] = number.get(first[i], COMMON)
    return out


def leave_out(data: Data, cfg: Config, group: str) -> Data:
    """The data with the patients of one group held out, and nobody else but the expert PLAX frames; shares its arrays."""
    nobody = {**data, "held": np.zeros(len(data["source"]), bool)}
    number = groups(nobody, cfg)
    return {**nobody, "held": (number == group) | (number == HELD)}


def shares(data: Data, cfg: Config, group: Array) -> tuple[list[Part], Array]:
    """The parts of a batch for networks that leave out groups, and the group of each row of the batch.

    A part's count is shared evenly by the numbered groups; held (default 0) comes from the held-out patients beside it.
    """
    out, rows = [], []
    for p in cfg["parts"]:
        pick = np.isin(data["source"], p["sources"])
        for g in sorted(set(group[pick])):
            n = p.get("held", 0) if g == HELD else p["count"] // (1 if g == COMMON else cfg["groups"]["count"])
            if n:
                out.append((p["name"], n, np.flatnonzero(pick & (group == g)), p.get("options", {})))
                rows += [g] * n
    return out, np.array(rows)


def parts(data: Data, cfg: Config, rank: int = 0, ranks: int = 1) -> list[Part]:
    """The parts of a batch as Batches wants them; [[parts]] tables of the configuration, their counts shared among ranks."""
    out, odd = [], 0
    for p in cfg["parts"]:
        pick = np.isin(data["source"], p["sources"])
        if "views" in p:
            pick &= np.isin(data["view"], [VIEWS.index(v) for v in p["views"]])
        if not p.get("with_held", False):
            pick &= ~data["held"]
        index = np.flatnonzero(pick)
        if len(index) == 0:
            continue
        count = p["count"] // ranks + ((rank - odd) % ranks < p["count"] % ranks)
        odd = (odd + p["count"]) % ranks  # the next remainder goes to the next rank
        out.append((p["name"], count, index, p.get("options", {})))
    return out


def held_out(data: Data, cfg: Config) -> Array:
    """Indexes of the held-out frames with an expert's mask."""
    return np.flatnonzero(data["held"] & (data["seg"] > 0) & ~np.isin(data["source"], NETWORK_MADE))

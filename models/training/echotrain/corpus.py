"""Everything below a data folder, and what is drawn or cut beside it, as Samples."""

import os

from . import others, phantom, public, sources
from .kinds import Config, Log
from .sample import Sample


def read_all(cfg: Config, folder: str, loops: str | None, log: Log) -> list[Sample]:
    """Everything below folder: echo-labelled/ (PNG), camus/, echonet-dynamic/, echonet-lvh/; and the example loops."""
    samples: list[Sample] = []
    root = os.path.join(folder, "echo-labelled")
    if os.path.isdir(root):
        samples += sources.read_png_frames(root) + sources.read_plax_points(root) + sources.read_a2c_views(root)
    for name, reader in public.READERS.items():
        if os.path.isdir(os.path.join(folder, name)):
            got = reader(os.path.join(folder, name))
            log(f"{name}: {len(got)} frames")
            samples += got
    if loops:
        table = os.path.join(sources.HERE, "loops.csv")
        samples += sources.read_loops(table, loops) + sources.read_loop_points(loops)
    else:
        log("no folder with example loops (--loops): the view head learns from labelled frames only")
    if cfg.get("phantoms"):
        samples += phantom.samples(cfg["phantoms"])
    if cfg.get("others"):
        samples += others.samples(samples, cfg["others"])
    if not samples:
        raise SystemExit(f"{folder}: no known data set (see README.md)")
    return samples

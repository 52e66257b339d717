#!/usr/bin/env python3
"""Time a model in package models beside ONNX Runtime in Python, on the same file, and compare the outputs bit by bit.

    conformance/bench/infer/run.sh [MODEL.onnx ...]

With several models the first is compared and timed on both sides; all are timed in Python. Frames are made from a fixed
seed: smooth noise in a sector, so that no operator sees trivial input.
"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime as ort


def make_frames(n, height, width):
    """n gray frames of smoothed noise within a sector whose tip is at the top."""
    rng = np.random.default_rng(20)
    y, x = np.mgrid[0:height, 0:width]
    x, y = (x + 0.5) / width - 0.5, (y + 0.5) / height
    sector = (np.hypot(x, y) < 0.95) & (np.abs(np.arctan2(x, y)) < np.pi / 4)
    noise = rng.random((n, height + 8, width + 8), dtype=np.float32)
    smooth = sum(noise[:, i:i + height, j:j + width] for i in range(8) for j in range(8)) / 64
    return (np.clip((smooth - 0.35) / 0.3, 0, 1) * 255 * sector).astype(np.uint8)


def session(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def python_rate(path, frames, workers, threads, repeat):
    """Frames per second and CPU ms per frame of Python threads that share one session of the given number of threads."""
    s = session(path, threads)
    name = s.get_inputs()[0].name
    feed = frames[:, None]
    if s.get_inputs()[0].type == "tensor(float)":
        channels, height, width = s.get_inputs()[0].shape[1:]
        feed = np.repeat(feed[:, :, :height, :width].astype(np.float32) / 255, channels, axis=1)
    infer = lambda i: s.run(None, {name: feed[i:i + 1]})
    infer(0)
    best, before = 0, time.process_time()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for _ in range(repeat):
            start = time.perf_counter()
            list(pool.map(infer, range(len(feed))))
            best = max(best, len(feed) / (time.perf_counter() - start))
    return best, (time.process_time() - before) * 1000 / (len(feed) * repeat)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--infer", required=True, help="the built infer command")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()

    first = session(args.models[0], 1)
    height, width = first.get_inputs()[0].shape[2:]
    frames = make_frames(args.frames, height, width)
    with tempfile.TemporaryDirectory() as scratch:
        raw, out = os.path.join(scratch, "frames"), os.path.join(scratch, "out")
        frames.tofile(raw)
        go = {}
        for workers in sorted({1, args.workers}):
            go[workers] = json.loads(subprocess.run(
                [args.infer, "-model", args.models[0], "-frames", raw, "-out", out, "-workers", str(workers),
                 "-repeat", str(args.repeat)], check=True, stdout=subprocess.PIPE).stdout)
        got = np.fromfile(out, np.uint8)
    outputs = [first.run(["mask", "heatmaps", "view"], {"frames": f[None, None]}) for f in frames]
    want = b"".join(np.concatenate([o[i] for o in outputs]).tobytes() for i in range(3))
    same = got.tobytes() == want

    print(f"{go[1]['model']} {go[1]['version']}, sha256 {go[1]['sha256']}")
    print(f"{args.frames} frames {width}x{height}, best of {args.repeat}, {args.workers} CPUs, ONNX Runtime {ort.__version__}")
    print(f"outputs of Go and Python: {'equal bit for bit' if same else 'DIFFERENT'}")
    print(f"\n{'runner':56} frames/s  CPU ms/frame")
    for workers, result in go.items():
        print(f"{f'Go, {workers} worker(s) x 1 thread':56} {result['frames_per_second']:8.1f} {result['cpu_ms_per_frame']:13.1f}")
    for path in args.models:
        name = os.path.basename(path)
        for workers, threads in sorted({(1, 1), (args.workers, 1), (1, args.workers)}):
            rate, cpu = python_rate(path, frames, workers, threads, args.repeat)
            print(f"{f'Python, {workers} worker(s) x {threads} thread(s), {name}':56} {rate:8.1f} {cpu:13.1f}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())

"""Frames of AVI files: Motion JPEG and uncompressed in Python, everything else through an ffmpeg process."""

import io
import shutil
import struct
import subprocess
from collections.abc import Iterator

import numpy as np
from PIL import Image

from .kinds import Array


def _chunks(raw: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields (id, start, end) of the RIFF chunks, going into LIST chunks."""
    while at + 8 <= end:
        name, size = raw[at:at + 4], struct.unpack_from("<I", raw, at + 4)[0]
        stop = min(at + 8 + size, end)
        if name in (b"LIST", b"RIFF"):
            yield from _chunks(raw, at + 12, stop)
        else:
            yield name, at + 8, stop
        at += 8 + size + size % 2


def read_avi(path: str) -> Array:
    """All frames as uint8 [n,h,w] luma."""
    raw = open(path, "rb").read()
    if raw[:4] != b"RIFF" or raw[8:12] != b"AVI ":
        raise ValueError(f"{path}: not an AVI file")
    codec, bits, width, height, frames = None, 0, 0, 0, []
    kind = None
    for name, a, b in _chunks(raw, 0, len(raw)):
        if name == b"strh":
            kind = raw[a:a + 4]
        elif name == b"strf" and kind == b"vids":
            width, height = struct.unpack_from("<ii", raw, a + 4)
            bits, codec = struct.unpack_from("<H4s", raw, a + 14)
        elif name[2:] in (b"dc", b"db") and b > a:
            frames.append((a, b))
    if codec in (b"MJPG", b"mjpg"):
        return np.stack([np.asarray(Image.open(io.BytesIO(raw[a:b])).convert("L")) for a, b in frames])
    if codec == b"\0\0\0\0" and bits in (8, 24):
        out, line = [], (width * bits // 8 + 3) // 4 * 4
        for a, b in frames:
            rows = np.frombuffer(raw, np.uint8, line * abs(height), a).reshape(abs(height), line)[:, :width * bits // 8]
            rows = rows[::-1] if height > 0 else rows
            if bits == 24:
                rows = np.asarray(Image.fromarray(np.ascontiguousarray(rows.reshape(abs(height), width, 3)[..., ::-1])).convert("L"))
            out.append(rows)
        return np.stack(out)
    if not shutil.which("ffmpeg"):
        raise ValueError(f"{path}: codec {codec!r} needs ffmpeg, which is not installed")
    p = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "gray", "-"], capture_output=True)
    if p.returncode or not width or len(p.stdout) % (width * abs(height)):
        raise ValueError(f"{path}: ffmpeg: {p.stderr.decode(errors='replace').strip()}")
    return np.frombuffer(p.stdout, np.uint8).reshape(-1, abs(height), width)

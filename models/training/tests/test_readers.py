"""Readers on small files in the public formats, made here."""

import csv
import gzip
import io
import os
import struct
import tempfile
import unittest
import zlib

import numpy as np
from PIL import Image

from echotrain import geometry as geo
from echotrain import public, sample, video, volumes
from echotrain.names import VIEWS


def apical_label(h=200, w=220):
    """Cavity, wall and atrium of a simple heart: a half ellipse with its wall over a box."""
    y, x = np.mgrid[0:h, 0:w].astype(float)
    lab = np.zeros((h, w), np.uint8)
    up = y <= 130
    lab[(((x - 110) / 45) ** 2 + ((y - 130) / 100) ** 2 <= 1) & up] = 2
    lab[(((x - 110) / 30) ** 2 + ((y - 130) / 85) ** 2 <= 1) & up] = 1
    lab[(np.abs(x - 110) < 28) & (y > 130) & (y < 175)] = 3
    return lab


def write_nifti(path, rows, spacing, code=2, order="<", slope=1.0):
    dtype = {2: "u1", 4: "i2", 16: "f4"}[code]
    h = bytearray(352)
    struct.pack_into(order + "i", h, 0, 348)
    struct.pack_into(order + "8h", h, 40, 2, rows.shape[1], rows.shape[0], 1, 1, 1, 1, 1)
    struct.pack_into(order + "hh", h, 70, code, 8 * np.dtype(dtype).itemsize)
    struct.pack_into(order + "8f", h, 76, 1, spacing[1], spacing[0], 1, 1, 1, 1, 1)
    struct.pack_into(order + "fff", h, 108, 352, slope, 0)
    h[344:348] = b"n+1\0"
    raw = bytes(h) + rows.astype(order + dtype).tobytes()
    with (gzip.open(path, "wb") if path.endswith(".gz") else open(path, "wb")) as f:
        f.write(raw)


def write_mhd(path, rows, spacing, compressed=False):
    raw = rows.astype("u1").tobytes()
    name = os.path.basename(path)[:-4] + (".zraw" if compressed else ".raw")
    with open(os.path.join(os.path.dirname(path), name), "wb") as f:
        f.write(zlib.compress(raw) if compressed else raw)
    with open(path, "w") as f:
        f.write(f"ObjectType = Image\nNDims = 3\nBinaryDataByteOrderMSB = False\nCompressedData = {compressed}\n"
                f"ElementSpacing = {spacing[1]} {spacing[0]} 1\nDimSize = {rows.shape[1]} {rows.shape[0]} 1\n"
                f"ElementType = MET_UCHAR\nElementDataFile = {name}\n")


def write_avi(path, frames, jpeg=True):
    """A small AVI: Motion JPEG, or uncompressed 24 bit bottom-up."""
    h, w = frames[0].shape
    data = []
    for f in frames:
        if jpeg:
            b = io.BytesIO()
            Image.fromarray(f).convert("RGB").save(b, "JPEG", quality=95)
            data.append((b"00dc", b.getvalue()))
        else:
            line = (w * 3 + 3) // 4 * 4
            rows = np.zeros((h, line), np.uint8)
            rows[:, :w * 3] = np.repeat(f[::-1], 3, 1)
            data.append((b"00db", rows.tobytes()))
    chunk = lambda n, d: n + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2)
    head = chunk(b"strh", b"vids" + b"\0" * 52)
    head += chunk(b"strf", struct.pack("<IiiHH4s", 40, w, h, 1, 24, b"MJPG" if jpeg else b"\0" * 4) + b"\0" * 20)
    hdrl = chunk(b"LIST", b"hdrl" + chunk(b"avih", b"\0" * 56) + chunk(b"LIST", b"strl" + head))
    movi = chunk(b"LIST", b"movi" + b"".join(chunk(n, d) for n, d in data))
    with open(path, "wb") as f:
        f.write(chunk(b"RIFF", b"AVI " + hdrl + movi))


class Volumes(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.rows = np.arange(24, dtype=np.uint8).reshape(4, 6)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def test_nifti(self):
        for name, code, order in (("a.nii", 2, "<"), ("b.nii.gz", 4, "<"), ("c.nii", 16, ">")):
            write_nifti(self.path(name), self.rows, (0.154, 0.308), code, order)
            got, spacing = volumes.read(self.path(name))
            np.testing.assert_array_equal(got, self.rows)
            np.testing.assert_allclose(spacing, (0.154, 0.308), rtol=1e-6)

    def test_nifti_slope(self):
        write_nifti(self.path("a.nii"), self.rows, (1, 1), slope=2.0)
        np.testing.assert_array_equal(volumes.read(self.path("a.nii"))[0], 2.0 * self.rows)

    def test_nifti_refused(self):
        write_nifti(self.path("a.nii"), self.rows, (1, 1))
        raw = open(self.path("a.nii"), "rb").read()
        for cut in (raw[:100], raw[:-1], b"\0" * 400):
            open(self.path("b.nii"), "wb").write(cut)
            with self.assertRaises(ValueError):
                volumes.read(self.path("b.nii"))

    def test_mhd(self):
        for compressed in (False, True):
            write_mhd(self.path("a.mhd"), self.rows, (0.2, 0.3), compressed)
            got, spacing = volumes.read(self.path("a.mhd"))
            np.testing.assert_array_equal(got, self.rows)
            self.assertEqual(spacing, (0.2, 0.3))

    def test_mhd_refuses_paths(self):
        open(self.path("a.mhd"), "w").write("DimSize = 1 1\nElementType = MET_UCHAR\nElementDataFile = ../x.raw\n")
        with self.assertRaises(ValueError):
            volumes.read(self.path("a.mhd"))


class Video(unittest.TestCase):
    def test_avi(self):
        y, x = np.mgrid[0:32, 0:40]
        frames = [((x * 4 + y + 20 * i) % 200).astype(np.uint8) // 2 + 60 for i in range(3)]
        with tempfile.TemporaryDirectory() as d:
            for jpeg, tolerance in ((True, 40), (False, 0)):
                write_avi(os.path.join(d, "a.avi"), frames, jpeg)
                got = video.read_avi(os.path.join(d, "a.avi"))
                self.assertEqual(got.shape, (3, 32, 40))
                self.assertLessEqual(np.abs(got.astype(int) - np.stack(frames)).max(), tolerance)
                self.assertLess(np.abs(got.astype(int) - np.stack(frames)).mean(), 4)


class Camus(unittest.TestCase):
    def test_both_formats(self):
        lab = apical_label()
        tall = np.repeat(lab, 2, 0)  # pixels twice as wide as high, as CAMUS hands them out
        for ext in ("nii.gz", "mhd"):
            with tempfile.TemporaryDirectory() as d:
                os.mkdir(os.path.join(d, "patient0001"))
                for kind in ("4CH", "2CH"):
                    stem = os.path.join(d, "patient0001", f"patient0001_{kind}_ED")
                    for name, rows in ((f"{stem}.{ext}", tall * 60), (f"{stem}_gt.{ext}", tall)):
                        (write_mhd if ext == "mhd" else write_nifti)(name, rows, (0.154, 0.308))
                got = public.read_camus(d)
            self.assertEqual([VIEWS[s.view] for s in got], ["A4C", "A2C"])
            s = got[0]
            self.assertEqual((s.subject, s.phase, s.seg), ("patient0001", "ED", sample.SEG_FULL))
            self.assertAlmostEqual(s.mm, 0.308, 5)
            scale = s.scale
            want = geo.to_input([[110, 45], [80.5, 130], [139.5, 130]], geo.letterbox_map((0, 0, 220, 200), sample.CACHE), (0, 0))
            np.testing.assert_allclose(s.points[:3], want, atol=2.5 * scale)
            self.assertEqual(set(np.unique(s.label)), {0, 1, 2, 3})


class EchoNetDynamic(unittest.TestCase):
    def test_tracing(self):
        with tempfile.TemporaryDirectory() as d:
            os.mkdir(os.path.join(d, "Videos"))
            write_avi(os.path.join(d, "Videos", "0X1.avi"), [np.full((112, 112), 40 * i, np.uint8) for i in range(4)])
            with open(os.path.join(d, "VolumeTracings.csv"), "w", newline="") as f:
                w = csv.writer(f)
                w.writerow(["FileName", "X1", "Y1", "X2", "Y2", "Frame"])
                for frame, half in ((1, 20), (3, 12)):
                    w.writerow(["0X1.avi", 56, 20, 56, 90, frame])
                    for y in np.linspace(21, 90, 20):
                        r = half * np.sqrt(max(0.0, 1 - ((90 - y) / 70) ** 2))
                        w.writerow(["0X1.avi", 56 - r, y, 56 + r, y, frame])
            got = public.read_echonet_dynamic(d)
        self.assertEqual([(s.subject, s.phase) for s in got], [("0X1", "ED"), ("0X1", "ES")])
        k = sample.CACHE / 112
        want = (np.array([[56, 20], [36, 90], [76, 90]]) + 0.5) * k - 0.5
        np.testing.assert_allclose(got[0].points[:3], want, atol=0.01)
        area = (got[0].label == 1).sum() / k ** 2
        self.assertLess(abs(area - np.pi / 4 * 40 * 70), 0.05 * area)
        self.assertEqual(int(np.median(got[1].image)), 120)


class EchoNetLVH(unittest.TestCase):
    def test_calipers(self):
        with tempfile.TemporaryDirectory() as d:
            os.mkdir(os.path.join(d, "Batch1"))
            write_avi(os.path.join(d, "Batch1", "0Y.avi"), [np.full((120, 160), 90, np.uint8)] * 3)
            with open(os.path.join(d, "MeasurementsList.csv"), "w", newline="") as f:
                w = csv.writer(f)
                w.writerow("HashedFileName Calc CalcValue Frame X1 X2 Y1 Y2 Frames FPS Width Height split".split())
                for calc, (x1, y1, x2, y2) in (("LVIDd", (140, 160, 160, 100)), ("IVSd", (166, 80, 160, 100)), ("LVPWd", (140, 160, 134, 180))):
                    w.writerow(["0Y", calc, 1, 2, x1, x2, y1, y2, 3, 50, 320, 240, "train"])
                w.writerow(["0Y", "LVIDd", 1, 1, 1, 2, 3, 4, 3, 50, 320, 240, "train"])
            (s,) = public.read_echonet_lvh(d)
        want = (np.array([[166, 80], [160, 100], [140, 160], [134, 180]]) / 2 + 0.5) * 2 - 0.5 + [0, 40]
        np.testing.assert_allclose(s.points[3:], want, atol=0.01)
        self.assertEqual(s.state.tolist(), [-1, -1, -1, 1, 1, 1, 1])


if __name__ == "__main__":
    unittest.main()

"""Minimal readers for the image files of CAMUS: NIfTI-1 (.nii, .nii.gz) and MetaImage (.mhd with .raw or .zraw).

Both return the array as [rows, columns] (or [frames, rows, columns]) and the spacing in mm as (row, column).
"""

import gzip
import os
import struct
import zlib

import numpy as np

from .kinds import Array

_NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_MET_TYPES = {"MET_UCHAR": "u1", "MET_CHAR": "i1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
              "MET_UINT": "u4", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}


def read(path: str) -> tuple[Array, tuple[float, float]]:
    return read_mhd(path) if path.endswith(".mhd") else read_nifti(path)


def read_nifti(path: str) -> tuple[Array, tuple[float, float]]:
    """NIfTI-1, single file. The first axis on disk runs along columns (x); the orientation matrix is not used."""
    with (gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")) as f:
        raw = f.read()
    if len(raw) < 352:
        raise ValueError(f"{path}: {len(raw)} bytes are too few for NIfTI-1")
    order = next((o for o in "<>" if struct.unpack_from(o + "i", raw)[0] == 348), None)
    if order is None or raw[344:347] != b"n+1":
        raise ValueError(f"{path}: no single-file NIfTI-1 header")
    dim = struct.unpack_from(order + "8h", raw, 40)
    code = struct.unpack_from(order + "h", raw, 70)[0]
    pix = struct.unpack_from(order + "8f", raw, 76)
    offset, slope, inter = (struct.unpack_from(order + "f", raw, o)[0] for o in (108, 112, 116))
    if code not in _NIFTI_TYPES:
        raise ValueError(f"{path}: data type {code} is not read")
    shape = [max(1, d) for d in dim[1:1 + dim[0]]]
    n = int(np.prod(shape))
    dtype = np.dtype(order + _NIFTI_TYPES[code])
    start = int(offset)
    if dim[0] < 2 or len(raw) < start + n * dtype.itemsize:
        raise ValueError(f"{path}: {len(raw)} bytes do not hold {shape} values")
    a = np.frombuffer(raw, dtype, n, start).reshape(shape, order="F")
    if slope not in (0.0, 1.0) or (slope == 1.0 and inter != 0.0):
        a = a * slope + inter
    a = np.squeeze(a.T)  # columns last
    return np.ascontiguousarray(a.astype(a.dtype.newbyteorder("="))), (float(pix[2]), float(pix[1]))


def read_mhd(path: str) -> tuple[Array, tuple[float, float]]:
    """MetaImage header with separate data."""
    head = {}
    for line in open(path, encoding="latin-1"):
        key, sep, value = line.partition("=")
        if sep:
            head[key.strip()] = value.strip()
    try:
        dims = [int(v) for v in head["DimSize"].split()]
        dtype = np.dtype(_MET_TYPES[head["ElementType"]])
        name = head["ElementDataFile"]
    except KeyError as e:
        raise ValueError(f"{path}: {e} is missing or not read") from e
    if head.get("BinaryDataByteOrderMSB", head.get("ElementByteOrderMSB", "False")) == "True":
        dtype = dtype.newbyteorder(">")
    if os.path.basename(name) != name or name in ("LOCAL", "LIST"):
        raise ValueError(f"{path}: data in {name!r} are not read")
    raw = open(os.path.join(os.path.dirname(path), name), "rb").read()
    if head.get("CompressedData", "False") == "True":
        raw = zlib.decompress(raw)
    n = int(np.prod(dims))
    if len(raw) < n * dtype.itemsize:
        raise ValueError(f"{path}: {len(raw)} bytes do not hold {dims} values")
    spacing = [float(v) for v in head.get("ElementSpacing", "1 1").split()]
    a = np.squeeze(np.frombuffer(raw, dtype, n).reshape(dims[::-1]))
    return np.ascontiguousarray(a.astype(a.dtype.newbyteorder("="))), (spacing[1], spacing[0])

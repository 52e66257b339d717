#!/usr/bin/env bash
# dicomsdl 0.109.4: to_pil_image shows the stored samples of a native colour frame as red, green and blue whatever Photometric
# Interpretation says. YBR_FULL comes out in false colours; of YBR_FULL_422 (PS3.3 C.7.6.3.1.2: two luminances, then the two colour
# differences of both) four samples are read as one pixel and a third, so that a uniform frame becomes a pattern, and the frame ends in
# the next one's bytes; PALETTE COLOR comes out gray, its palette not applied. Nothing is said.
#
# Ultrasound machines store colour loops in all three. RGB of either planar configuration is what the others are compared with: colour by
# pixel is right, colour by plane is refused with an error.
# Valid Ultrasound Multi-frame objects of one colour, (200, 100, 50), are made; pydicom 3.0.2 shows that colour for all five.
# Needs Linux x86_64, python3 (3.10 to 3.13) with pip. Run: half a minute. Exit code 0: as described; 1: otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m pip install -qq --disable-pip-version-check --root-user-action ignore --target "$tmp/py" dicomsdl==0.109.4 pydicom==3.0.2 numpy==2.2.6 pillow==11.3.0
export PYTHONPATH=$tmp/py
python3 - "$tmp" 2>"$tmp/log" <<'PY' || { cat "$tmp/log"; exit 1; }
import sys
import dicomsdl
from importlib.metadata import version
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_color_lut
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid
W, H, N = 16, 8, 3
colour, ybr = (200, 100, 50), (124, 86, 182)  # PS3.3 C.7.6.3.1.2, rounded
ways = {  # photometric interpretation, planar configuration: the bytes of a frame
    ("RGB", 0): bytes(colour) * (W * H),
    ("RGB", 1): b"".join(bytes([c]) * (W * H) for c in colour),
    ("YBR_FULL", 0): bytes(ybr) * (W * H),
    ("YBR_FULL_422", 0): bytes((ybr[0], ybr[0], ybr[1], ybr[2])) * (W * H // 2),
    ("PALETTE COLOR", None): bytes([7]) * (W * H),
}
def loop(way):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Loop", "T1", "", ""
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ds.Manufacturer = ""
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.PatientOrientation = "US", 1, 1, ""
    ds.ImageType, ds.LossyImageCompression = ["ORIGINAL", "PRIMARY", "", "0001"], "00"
    ds.NumberOfFrames, ds.FrameTime, ds.FrameIncrementPointer = N, "40", 0x00181063
    ds.PhotometricInterpretation, planar = way
    ds.SamplesPerPixel = 1 if planar is None else 3
    if planar is not None:
        ds.PlanarConfiguration = planar
    else:
        for name, value in zip(("Red", "Green", "Blue"), colour):
            setattr(ds, name + "PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(ds, name + "PaletteColorLookupTableData", bytes([0, value]) * 256)
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = H, W, 8, 8, 7, 0
    ds.PixelData = ways[way] * N
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds
def near(pixel):
    return len(pixel) == 3 and all(abs(int(a) - b) <= 2 for a, b in zip(pixel, colour))
print("dicomsdl", version("dicomsdl"))
seen = {}
for way in ways:
    path = f"{sys.argv[1]}/{way[0]}-{way[1]}.dcm"
    loop(way).save_as(path, enforce_file_format=True)
    ds = dcmread(path)
    truth = ds.pixel_array  # YBR becomes RGB
    if way[1] is None:
        truth = apply_color_lut(truth, ds) >> 8
    if not all(near(p) for p in truth.reshape(-1, 3)):
        sys.exit(f"CHANGED: pydicom shows {way} otherwise")
    try:
        image = dicomsdl.open(path).to_pil_image()
        rgb = image.convert("RGB")
        pixels = [rgb.getpixel((x, 0)) for x in range(4)]
        seen[way] = "right" if all(near(p) for p in pixels) else "one colour" if len(set(pixels)) == 1 else "pattern"
        print(f"{way}: mode {image.mode}, the first four pixels {pixels}: {seen[way]}")
    except Exception as e:
        seen[way] = "error"
        print(f"{way}: {type(e).__name__}: {e}")
want = dict(zip(ways, ("right", "error", "one colour", "pattern", "one colour")))
sys.exit(None if seen == want else f"CHANGED: {seen}")
PY

#!/usr/bin/env bash
# The size of a pixel of an echo loop stands in its ultrasound regions (Sequence of Ultrasound Regions, PS3.3 C.8.5.5). SimpleITK 2.5.7
# and dcm2niix v1.0.20260724 do not read them: both give a pixel of 1 x 1 mm and take the frames for slices 1 mm apart. SimpleITK says
# nothing; dcm2niix warns of an orientation that it misses ("0020,0037 missing (Type 1 attribute: not a valid DICOM)", of a valid loop,
# whose IOD has none) and of a bogus spatial matrix, ends with 0 and writes millimetres into the header. The times of the frames are
# neither in the NIfTI file nor in its JSON, and the JSON has no scale.
#
# So areas and volumes that are measured on what these programs make of a calibrated loop are in pixels, labelled as millimetres.
# A valid loop of 6 frames at 40 ms with pixels of 0.5 x 0.4 mm is made. ITK's reader has the attributes at hand: FrameTime is among the
# keys of its metadata.
# Needs Linux x86_64, python3 (3.10 to 3.13) with pip. Run: 1 minute. Exit code 0: as described; 1: otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m pip install -qq --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2 SimpleITK==2.5.7 dcm2niix==1.0.20260724
export PYTHONPATH=$tmp/py
mkdir "$tmp/in" "$tmp/out"
python3 - "$tmp/in/loop.dcm" <<'PY'
import sys
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid
W, H, N = 64, 48, 6
ds = Dataset()
ds.SOPClassUID, ds.SOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid()
ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Loop", "T1", "", ""
ds.StudyDate, ds.StudyTime = "20260101", "120000"
ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ds.Manufacturer = ds.PatientOrientation = ""
ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "US", 1, 1
ds.ImageType, ds.LossyImageCompression = ["ORIGINAL", "PRIMARY", "", "0001"], "00"
ds.NumberOfFrames, ds.FrameTime, ds.FrameIncrementPointer = N, "40", 0x00181063
ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", H, W
ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
region = Dataset()
region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0  # 2D, tissue
region.RegionLocationMinX0, region.RegionLocationMinY0, region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 0, 0, W - 1, H - 1
region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
region.PhysicalDeltaX, region.PhysicalDeltaY = 0.05, 0.04
ds.SequenceOfUltrasoundRegions = [region]
ds.PixelData = b"".join(bytes([40 + 10 * f]) * (W * H) for f in range(N))
ds.file_meta = FileMetaDataset()
ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
ds.save_as(sys.argv[1], enforce_file_format=True)
PY
"$tmp/py/bin/dcm2niix" -b y -z n -f loop -o "$tmp/out" "$tmp/in" >"$tmp/log" 2>&1
sed -n 1p "$tmp/log"
python3 - "$tmp" <<'PY'
import json, struct, sys
import SimpleITK as sitk
tmp = sys.argv[1]
image = sitk.ReadImage(f"{tmp}/in/loop.dcm")
header = open(f"{tmp}/out/loop.nii", "rb").read(348)
dim, pixdim, units = struct.unpack_from("<8h", header, 40), struct.unpack_from("<8f", header, 76), header[123]
sidecar = json.load(open(f"{tmp}/out/loop.json"))
log = open(f"{tmp}/log").read()
print("SimpleITK", sitk.Version_VersionString(), "size", image.GetSize(), "spacing in mm", image.GetSpacing(), "| FrameTime in its metadata:",
    image.GetMetaData("0018|1063").strip() if image.HasMetaDataKey("0018|1063") else None)
print("dcm2niix: size", dim[1:1 + dim[0]], "spacing", pixdim[1:1 + dim[0]], "units", units, "(2: mm)")
print("dcm2niix: JSON", sidecar)
said = "0020,0037 missing (Type 1 attribute: not a valid DICOM)" in log
print("dcm2niix: says that the loop is not valid:", said)
scale = any(word in json.dumps(sidecar).lower() for word in ("spacing", "region", "delta", "frametime", "repetition"))
ok = (image.GetSize() == (64, 48, 6) and image.GetSpacing() == (1.0, 1.0, 1.0) and image.GetMetaData("0018|1063").strip() == "40"
    and dim[:4] == (3, 64, 48, 6) and pixdim[1:4] == (1.0, 1.0, 1.0) and units & 7 == 2 and not scale and said)
sys.exit(None if ok else "CHANGED")
PY

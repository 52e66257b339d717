#!/usr/bin/env bash
# A JPEG loop whose frames are stored in two fragments each, which PS3.5 A.4 allows and the basic offset table says, and what readers make
# of it:
#   pydicom 3.0.2                       6 frames, as they are
#   SimpleITK 2.5.7 (GDCM)              RuntimeError "Failed to change to Implicit Transfer Syntax"
#   dcm2niix v1.0.20260724              "No valid DICOM images were found", exit code 2; asks for another program to decompress it
#   github.com/suyashkumar/dicom v1.1.0 12 "frames" without an error, each half a JPEG file; Number of Frames stays 6
# With one fragment a frame all four read 6 frames.
#
# Two valid Ultrasound Multi-frame objects with the same JPEG frames are made (pillow 11.3.0).
# Needs Linux x86_64, go, python3 (3.10 to 3.13) with pip. Run: 1 minute. Exit code 0: as described; 1: otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
python3 -m pip install -qq --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2 numpy==2.2.6 pillow==11.3.0 \
	SimpleITK==2.5.7 dcm2niix==1.0.20260724
export PYTHONPATH=$tmp/py

mkdir "$tmp/frames"
cat >"$tmp/frames/go.mod" <<'MOD'
module frames

go 1.21

require github.com/suyashkumar/dicom v1.1.0
MOD
cat >"$tmp/frames/main.go" <<'GO'
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"
)

func main() {
	ds, err := dicom.ParseFile(os.Args[1], nil)
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	e, err := ds.FindElementByTag(tag.PixelData)
	if err != nil {
		panic(err)
	}
	n, whole := 0, 0
	for _, f := range dicom.MustGetPixelDataInfo(e.Value).Frames {
		b := bytes.TrimRight(f.EncapsulatedData.Data, "\x00")
		n++
		if bytes.HasPrefix(b, []byte{0xFF, 0xD8}) && bytes.HasSuffix(b, []byte{0xFF, 0xD9}) {
			whole++
		}
	}
	fmt.Printf("%d frames, %d of them whole JPEG files\n", n, whole)
}
GO
(cd "$tmp/frames" && export GOFLAGS=-mod=mod GOMODCACHE=$tmp/mod CGO_ENABLED=0 && go mod tidy && go build -o "$tmp/goframes" .) 2>"$tmp/build" || { cat "$tmp/build"; exit 1; }

cat >"$tmp/loops.py" <<'PY'
import io, struct, sys
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage, generate_uid
N = 6
def jpeg(f):
    b = io.BytesIO()
    Image.new("L", (64, 48), 40 + 10 * f).save(b, "JPEG", quality=90)
    return b.getvalue() + bytes(len(b.getvalue()) % 2)
def item(b):
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(b)) + b
for name, parts in (("one", 1), ("two", 2)):
    offsets, items, at = [], [], 0
    for f in range(N):
        b = jpeg(f)
        cut = len(b) // 2 // 2 * 2
        offsets.append(at)
        for part in ([b] if parts == 1 else [b[:cut], b[cut:]]):
            items.append(item(part))
            at += len(items[-1])
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Loop", "T1", "", ""
    ds.StudyDate, ds.StudyTime = "20260101", "120000"
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ds.Manufacturer = ds.PatientOrientation = ""
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "US", 1, 1
    ds.ImageType, ds.LossyImageCompression, ds.LossyImageCompressionMethod = ["ORIGINAL", "PRIMARY", "", "0001"], "01", "ISO_10918_1"
    ds.NumberOfFrames, ds.FrameTime, ds.FrameIncrementPointer = N, "40", 0x00181063
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 48, 64
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = item(struct.pack(f"<{N}I", *offsets)) + b"".join(items)  # pydicom adds the delimiter
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.save_as(f"{sys.argv[1]}/{name}.dcm", enforce_file_format=True)
PY
cat >"$tmp/read.py" <<'PY'
import sys
reader, path = sys.argv[1:]
if reader == "pydicom":
    from pydicom import dcmread
    frames = dcmread(path).pixel_array
else:
    import SimpleITK as sitk
    try:
        frames = sitk.GetArrayFromImage(sitk.ReadImage(path))
    except RuntimeError as e:
        print("RuntimeError", str(e).strip().splitlines()[-1].split("): ")[-1])
        sys.exit()
print(len(frames), "frames, means", [round(float(f.mean())) for f in frames])
PY
mkdir "$tmp/in-one" "$tmp/in-two" "$tmp/out"
python3 "$tmp/loops.py" "$tmp"
cp "$tmp/one.dcm" "$tmp/in-one"
cp "$tmp/two.dcm" "$tmp/in-two"
declare -A seen
for name in one two; do
	seen[pydicom $name]=$(python3 "$tmp/read.py" pydicom "$tmp/$name.dcm")
	seen[SimpleITK $name]=$(python3 "$tmp/read.py" SimpleITK "$tmp/$name.dcm" 2>/dev/null)
	code=0
	"$tmp/py/bin/dcm2niix" -b n -z n -f "$name" -o "$tmp/out" "$tmp/in-$name" >"$tmp/log" 2>&1 || code=$?
	seen[dcm2niix $name]="exit code $code, $(ls "$tmp/out" | grep -c "^$name.nii$" || true) NIfTI file, $(grep -c 'No valid DICOM images were found' "$tmp/log" || true) times \"No valid DICOM images were found\""
	seen[suyashkumar/dicom $name]=$("$tmp/goframes" "$tmp/$name.dcm")
	for reader in pydicom SimpleITK dcm2niix suyashkumar/dicom; do echo "$name fragment(s) a frame, $reader: ${seen[$reader $name]}"; done
done
right="6 frames, means [40, 50, 60, 70, 80, 90]"
[[ ${seen[pydicom one]} == "$right" && ${seen[pydicom two]} == "$right" && ${seen[SimpleITK one]} == "$right" ]] || { echo CHANGED; exit 1; }
[[ ${seen[SimpleITK two]} == "RuntimeError Failed to change to Implicit Transfer Syntax" ]] || { echo CHANGED; exit 1; }
[[ ${seen[dcm2niix one]} == "exit code 0, 1 NIfTI file, 0 times"* && ${seen[dcm2niix two]} == "exit code 2, 0 NIfTI file, 1 times"* ]] || { echo CHANGED; exit 1; }
[[ ${seen[suyashkumar/dicom one]} == "6 frames, 6 of them whole JPEG files" && ${seen[suyashkumar/dicom two]} == "12 frames, 0 of them whole JPEG files" ]] || { echo CHANGED; exit 1; }

#!/usr/bin/env bash
# github.com/suyashkumar/dicom v1.1.0 (Go): an object that is parsed and written again has its text in UTF-8 and says that it is in the
# character set of before. "Müller" under ISO_IR 100 comes out as "MÃ¼ller" for every reader, and the data set is longer; neither
# Parse nor Write says anything, and SpecificCharacterSet is still ISO_IR 100.
#
# So a Go program that changes one attribute and writes the object changes the patient's name. Writing an object of 7-bit text, or one
# whose character set is set to ISO_IR 192 in between, does no harm.
#
# A valid Secondary Capture object in ISO_IR 100 is made, goes through Parse and Write, and is read by pydicom 3.0.2.
# Needs go, python3 with pip. Run: half a minute. Exit code 0: as described; 1: otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
python3 -m pip install -qq --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2
export PYTHONPATH=$tmp/py

mkdir "$tmp/again"
cat >"$tmp/again/go.mod" <<'MOD'
module again

go 1.21

require github.com/suyashkumar/dicom v1.1.0
MOD
cat >"$tmp/again/main.go" <<'GO'
package main

import (
	"os"

	"github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"
)

func main() {
	ds, err := dicom.ParseFile(os.Args[1], nil)
	if err != nil {
		panic(err)
	}
	if len(os.Args) > 3 {
		e, err := ds.FindElementByTag(tag.SpecificCharacterSet)
		if err != nil {
			panic(err)
		}
		if e.Value, err = dicom.NewValue([]string{os.Args[3]}); err != nil {
			panic(err)
		}
	}
	f, err := os.Create(os.Args[2])
	if err != nil {
		panic(err)
	}
	if err := dicom.Write(f, ds); err != nil {
		panic(err)
	}
	if err := f.Close(); err != nil {
		panic(err)
	}
}
GO
(cd "$tmp/again" && export GOFLAGS=-mod=mod GOMODCACHE=$tmp/mod CGO_ENABLED=0 && go mod tidy && go build -o "$tmp/goagain" .) 2>"$tmp/build" || { cat "$tmp/build"; exit 1; }

cat >"$tmp/object.py" <<'PY'
import sys
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
ds = Dataset()
ds.SpecificCharacterSet = "ISO_IR 100"
ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Müller^Jörg", "T1", "", ""
ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.ConversionType = "OT", 1, 1, "WSD"
ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 8, 8
ds.BitsAllocated = ds.BitsStored = 8
ds.HighBit, ds.PixelRepresentation, ds.PixelData = 7, 0, bytes(64)
ds.file_meta = FileMetaDataset()
ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
ds.save_as(sys.argv[1], enforce_file_format=True)
PY
cat >"$tmp/read.py" <<'PY'
import sys
from pydicom import dcmread
ds = dcmread(sys.argv[1])
print(ds.SpecificCharacterSet, ds.PatientName, ds.PatientName.original_string.hex(" "))
PY
python3 "$tmp/object.py" "$tmp/object.dcm"
"$tmp/goagain" "$tmp/object.dcm" "$tmp/again.dcm"
"$tmp/goagain" "$tmp/object.dcm" "$tmp/named.dcm" "ISO_IR 192"
export PYTHONIOENCODING=utf-8
before=$(python3 "$tmp/read.py" "$tmp/object.dcm") again=$(python3 "$tmp/read.py" "$tmp/again.dcm") named=$(python3 "$tmp/read.py" "$tmp/named.dcm")
echo "before:                                        $before"
echo "after Parse and Write:                         $again"
echo "with Specific Character Set changed between:   $named"
[[ $before == "ISO_IR 100 Müller^Jörg "* && $again == "ISO_IR 100 MÃ¼ller^JÃ¶rg "* && $named == "ISO_IR 192 Müller^Jörg "* ]] || { echo CHANGED; exit 1; }

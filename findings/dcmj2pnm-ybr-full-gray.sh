#!/usr/bin/env bash
# dcmtk 3.6.7: dcmj2pnm shows neutral gray of an uncompressed YBR_FULL image as a faint magenta: Y,128,128 comes out as red Y, green
# Y - 1, blue Y, for every Y but 0. PS3.3 C.7.6.3.1.2 puts the neutral chroma at 128, which gives Y,Y,Y; this looks like a neutral point
# at 127.5 and fractions that are cut off.
#
# So a picture that is gray everywhere is no longer gray after dcmtk, and whoever looks for colour by comparing the channels, or compares
# two readers value by value, finds a difference of 1 that neither file nor standard explains. pydicom 3.0.2 gives Y,Y,Y.
#
# A valid Secondary Capture object with all 256 grays is made and rendered.
# Needs apt-get on Debian 12 x86_64, python3 (3.10 to 3.13) with pip. Run: 1 minute. Exit code 0: as described; 1: it behaves otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# Debian 12 packages at these versions, unpacked in the temporary folder with everything they need; the system stays as it is.
debian() {
	mkdir -p "$tmp/apt/lists/partial" "$tmp/apt/cache/archives/partial" "$tmp/root"
	local option options=()
	for option in "Dir::State=$tmp/apt" "Dir::State::Lists=$tmp/apt/lists" Dir::State::status=/dev/null "Dir::Cache=$tmp/apt/cache" \
		APT::Install-Recommends=false APT::Sandbox::User=root; do
		options+=(-o "$option")
	done
	apt-get -qq "${options[@]}" update
	apt-get -qq -y "${options[@]}" --download-only install "$@" >/dev/null
	for deb in "$tmp"/apt/cache/archives/*.deb; do dpkg-deb -x "$deb" "$tmp/root"; done
	libraries=$(find "$tmp/root" -name "*.so*" -printf "%h\n" | sort -u | paste -s -d :)
}
# run PROGRAM ARG...: with the libraries of those packages
run() { "$tmp"/root/lib64/ld-linux-x86-64.so.2 --library-path "$libraries" "$(ls "$tmp"/root/usr/{bin,sbin}/"$1" 2>/dev/null)" "${@:2}"; }

debian 'dcmtk=3.6.7-*'
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2 numpy==2.2.6
export PYTHONPATH=$tmp/py DCMDICTPATH=$tmp/root/usr/share/libdcmtk17/dicom.dic

cat >"$tmp/gray.py" <<'PY'
import sys
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
ds = Dataset()
ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Gray", "T1", "", ""
ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.ConversionType, ds.PatientOrientation = "OT", 1, 1, "WSD", ""
ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration, ds.Rows, ds.Columns = 3, "YBR_FULL", 0, 1, 256
ds.BitsAllocated = ds.BitsStored = 8
ds.HighBit, ds.PixelRepresentation = 7, 0
ds.PixelData = b"".join(bytes((y, 128, 128)) for y in range(256))
ds.file_meta = FileMetaDataset()
ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
ds.save_as(sys.argv[1], enforce_file_format=True)
PY
python3 "$tmp/gray.py" "$tmp/gray.dcm"
run dcmj2pnm --version | sed -n 1p
run dcmj2pnm +op "$tmp/gray.dcm" "$tmp/gray.ppm"
python3 - "$tmp" <<'PY'
import sys
from collections import Counter
from pydicom import dcmread
def differences(pixels):
    return Counter(tuple(int(v) - y for v in pixels[y]) for y in range(256))
ppm = open(f"{sys.argv[1]}/gray.ppm", "rb").read()[-768:]
dcmtk = differences([ppm[3 * y:3 * y + 3] for y in range(256)])
pydicom = differences(dcmread(f"{sys.argv[1]}/gray.dcm").pixel_array.reshape(256, 3))  # converted to RGB
for name, seen in ("dcmj2pnm", dcmtk), ("pydicom", pydicom):
    print(f"{name}: (R, G, B) - Y, number of grays:", ", ".join(f"{d}: {n}" for d, n in seen.most_common()))
if dcmtk != {(0, -1, 0): 255, (0, 0, 0): 1} or pydicom != {(0, 0, 0): 256}:
    sys.exit("CHANGED")
PY

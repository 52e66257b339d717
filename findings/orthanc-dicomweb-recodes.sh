#!/usr/bin/env bash
# Orthanc 1.10.1 with its DICOMweb plugin 1.7 (Debian 12): frames of a JPEG Baseline object come back recoded, as JPEG Lossless and
# several times larger, when the Accept header names no transfer syntax; named, they come back byte for byte as they were stored.
# JPEG Lossless is PS3.18's default for image/jpeg, so this is allowed; a viewer that names no syntax downloads a cine several times
# over its size, and its frames are no longer the stored bytes.
#
# A valid Multi-frame True Color Secondary Capture with two JPEG Baseline frames (Pillow) is stored by REST and fetched by WADO-RS.
# Needs apt-get on Debian 12 x86_64, curl, python3 with pip. Run: 1 to 2 minutes. Exit code 0: as described; 1: otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'kill "${orthanc:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$tmp"' EXIT
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
# serve PROGRAM ARG... &: the same as a server; $! is then the program itself, which kill ends
serve() { exec "$tmp"/root/lib64/ld-linux-x86-64.so.2 --library-path "$libraries" "$(ls "$tmp"/root/usr/{bin,sbin}/"$1" 2>/dev/null)" "${@:2}"; }

debian 'orthanc=1.10.1*' 'orthanc-dicomweb=1.7*'
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2 pillow==12.0.0
export PYTHONPATH=$tmp/py

cat >"$tmp/cine.py" <<'PY'
import io, random, sys
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid
random.seed(1)
frames = []
for n in range(2):
    small = Image.frombytes("RGB", (40, 30), bytes(random.randrange(256) for _ in range(3600)))
    out = io.BytesIO()
    small.resize((320, 240), Image.BICUBIC).save(out, "JPEG", quality=90, subsampling="4:2:2")
    frames.append(out.getvalue())
ds = Dataset()
ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7.4", generate_uid()
ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Cine", "T1", "", ""
ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.ConversionType, ds.PatientOrientation = "OT", 1, 1, "WSD", ""
ds.BurnedInAnnotation, ds.PresentationLUTShape = "NO", "IDENTITY"
ds.NumberOfFrames, ds.FrameTime, ds.FrameIncrementPointer = 2, "40", 0x00181063
ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration, ds.Rows, ds.Columns = 3, "YBR_FULL_422", 0, 240, 320
ds.BitsAllocated = ds.BitsStored = 8
ds.HighBit, ds.PixelRepresentation = 7, 0
ds.LossyImageCompression, ds.LossyImageCompressionRatio, ds.LossyImageCompressionMethod = "01", "10", "ISO_10918_1"
ds.PixelData = encapsulate(frames)
ds["PixelData"].VR = "OB"
ds.file_meta = FileMetaDataset(); ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
ds.save_as(sys.argv[1] + "/cine.dcm", enforce_file_format=True)
open(sys.argv[1] + "/frame", "wb").write(frames[0])
print(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
PY
read -r study series instance < <(python3 "$tmp/cine.py" "$tmp")
plugin=$(find "$tmp/root" -name 'libOrthancDicomWeb.so*' | sed -n 1p)
http=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$tmp/data"
printf '{"HttpPort": %s, "RemoteAccessAllowed": false, "DicomServerEnabled": false, "StorageDirectory": "%s", "IndexDirectory": "%s", "AuthenticationEnabled": false, "Plugins": ["%s"], "DicomWeb": {"Enable": true}}' \
	"$http" "$tmp/data" "$tmp/data" "$plugin" >"$tmp/orthanc.json"
serve Orthanc "$tmp/orthanc.json" >"$tmp/log" 2>&1 &
orthanc=$!
until curl -sf "http://127.0.0.1:$http/system" >"$tmp/system"; do kill -0 "$orthanc" || { cat "$tmp/log"; exit 1; }; sleep 0.2; done
python3 -c 'import json, sys; print("Orthanc", json.load(open(sys.argv[1]))["Version"])' "$tmp/system"
curl -sf --data-binary @"$tmp/cine.dcm" "http://127.0.0.1:$http/instances" >/dev/null
frame() { curl -sf -H "Accept: $1" "http://127.0.0.1:$http/dicom-web/studies/$study/series/$series/instances/$instance/frames/1" -o "$tmp/answer"; }
cat >"$tmp/part.py" <<'PY'
import sys
data, stored = open(sys.argv[1] + "/answer", "rb").read(), open(sys.argv[1] + "/frame", "rb").read()
head, body = data.split(b"\r\n\r\n", 1)
body = body[:body.rindex(b"\r\n--")]
kind = [l.split(b":", 1)[1].strip().decode() for l in head.split(b"\r\n") if l.lower().startswith(b"content-type")]
marker = next((m for m in (b"\xff\xc0", b"\xff\xc3") if m in body), b"")
name = {b"\xff\xc0": "JPEG-Baseline", b"\xff\xc3": "JPEG-Lossless"}.get(marker, "other")
same = body.rstrip(b"\0") == stored.rstrip(b"\0")
print(name, f"{len(body) / len(stored):.1f}", "same" if same else "different", *kind)
PY
frame 'multipart/related; type="image/jpeg"' && read -r plain ratio same kind < <(python3 "$tmp/part.py" "$tmp")
echo "transfer syntax not named: $plain, $ratio times the stored size, bytes $same ($kind)"
frame 'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50' && read -r named _ identical kind < <(python3 "$tmp/part.py" "$tmp")
echo "1.2.840.10008.1.2.4.50 named: $named, bytes $identical ($kind)"
[[ $plain == JPEG-Lossless && $named == JPEG-Baseline && $identical == same ]] || { echo "CHANGED"; exit 1; }

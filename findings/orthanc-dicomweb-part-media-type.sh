#!/usr/bin/env bash
# Orthanc's DICOMweb plugin 1.7: a store request (STOW-RS) whose part says "application/dicom; transfer-syntax=..." is answered with
# 200 OK and nothing is stored: Referenced and Failed SOP Sequence are both empty, only the server's log calls it an unsupported media
# type. The same part as plain "application/dicom" is stored.
#
# PS3.18 8.7.3.5.2 defines the parameter for this media type. A client that names the transfer syntax and goes by the HTTP status
# believes that its objects are there; whether they are stands only in Referenced SOP Sequence.
# A valid Secondary Capture object is posted in both ways.
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
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2
export PYTHONPATH=$tmp/py

cat >"$tmp/object.py" <<'PY'
import sys
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
ds = Dataset()
ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Object", "T1", "", ""
ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.ConversionType = "OT", 1, 1, "WSD"
ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 8, 8
ds.BitsAllocated = ds.BitsStored = 8
ds.HighBit, ds.PixelRepresentation, ds.PixelData = 7, 0, bytes(64)
ds.file_meta = FileMetaDataset()
ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
ds.save_as(sys.argv[1] + "/object.dcm", enforce_file_format=True)
data = open(sys.argv[1] + "/object.dcm", "rb").read()
for name, kind in (("plain", "application/dicom"), ("named", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1")):
    body = b"--border\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + data + b"\r\n--border--\r\n"
    open(f"{sys.argv[1]}/{name}", "wb").write(body)
PY
python3 "$tmp/object.py" "$tmp"
http=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$tmp/data"
plugin=$(find "$tmp/root" -name 'libOrthancDicomWeb.so*' -type f | sed -n 1p)
printf '{"HttpPort": %s, "RemoteAccessAllowed": false, "DicomServerEnabled": false, "StorageDirectory": "%s", "IndexDirectory": "%s", "AuthenticationEnabled": false, "Plugins": ["%s"], "DicomWeb": {"Enable": true}}' \
	"$http" "$tmp/data" "$tmp/data" "$plugin" >"$tmp/orthanc.json"
serve Orthanc "$tmp/orthanc.json" >"$tmp/log" 2>&1 &
orthanc=$!
until curl -sf "http://127.0.0.1:$http/system" >"$tmp/system"; do kill -0 "$orthanc" || { cat "$tmp/log"; exit 1; }; sleep 0.2; done
curl -sf "http://127.0.0.1:$http/plugins/dicom-web" | python3 -c 'import json, sys; print("Orthanc plugin dicom-web", json.load(sys.stdin)["Version"])'
post() { curl -s -o "$tmp/answer" -w '%{http_code}' -H 'Content-Type: multipart/related; type="application/dicom"; boundary=border' -H 'Accept: application/dicom+json' \
	--data-binary @"$tmp/$1" "http://127.0.0.1:$http/dicom-web/studies"; }
stored() { curl -sf "http://127.0.0.1:$http/instances" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))'; }
named=$(post named) after_named=$(stored)
items=$(python3 -c 'import json, sys; a = json.load(open(sys.argv[1])); print(*(len(a[t].get("Value", [])) for t in ("00081199", "00081198")))' "$tmp/answer")
plain=$(post plain) after_plain=$(stored)
echo "with the transfer-syntax parameter: HTTP $named, stored and failed items in the answer: $items; objects in Orthanc: $after_named"
echo "without it: HTTP $plain; objects in Orthanc: $after_plain"
[[ "$named $items $after_named $plain $after_plain" == "200 0 0 0 200 1" ]] || { echo "CHANGED"; cat "$tmp/answer"; exit 1; }

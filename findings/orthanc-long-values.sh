#!/usr/bin/env bash
# Orthanc 1.10.1: the tag lists of the REST API give null for every value of more than 256 characters, so that the contour of a
# report (Graphic Data of a spatial coordinate) is not there, without a word; ?ignore-length=GraphicData gives it.
#
# A valid Comprehensive SR with one measurement from a polyline of 60 points is stored and read back.
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

debian 'orthanc=1.10.1*'
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2
export PYTHONPATH=$tmp/py

cat >"$tmp/report.py" <<'PY'
import sys
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
def code(value, scheme, meaning):
    c = Dataset(); c.CodeValue, c.CodingSchemeDesignator, c.CodeMeaning = value, scheme, meaning
    return [c]
ds = Dataset()
ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", generate_uid()
ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Report", "T1", "", ""
ds.StudyDate = ds.ContentDate = "20260101"
ds.StudyTime = ds.ContentTime = "120000"
ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.Manufacturer = "SR", 1, 1, "Maker"
ds.ReferencedPerformedProcedureStepSequence = []
ds.PerformedProcedureCodeSequence = []
ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
ds.ConceptNameCodeSequence = code("18745-0", "LN", "Cardiac catheterization report")
coord = Dataset()
coord.RelationshipType, coord.ValueType, coord.GraphicType = "INFERRED FROM", "SCOORD", "POLYLINE"
coord.GraphicData = [v for i in range(60) for v in (100.25 + i, 200.75 - i)]
image = Dataset(); image.RelationshipType, image.ValueType = "SELECTED FROM", "IMAGE"
ref = Dataset(); ref.ReferencedSOPClassUID, ref.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid()
image.ReferencedSOPSequence = [ref]
coord.ContentSequence = [image]
num = Dataset()
num.RelationshipType, num.ValueType = "CONTAINS", "NUM"
num.ConceptNameCodeSequence = code("121206", "DCM", "Distance")
mv = Dataset(); mv.NumericValue = "12"; mv.MeasurementUnitsCodeSequence = code("mm", "UCUM", "mm")
num.MeasuredValueSequence = [mv]
num.ContentSequence = [coord]
ds.ContentSequence = [num]
ds.file_meta = FileMetaDataset(); ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
ds.save_as(sys.argv[1], enforce_file_format=True)
PY
python3 "$tmp/report.py" "$tmp/report.dcm"
http=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$tmp/data"
printf '{"HttpPort": %s, "RemoteAccessAllowed": false, "DicomServerEnabled": false, "StorageDirectory": "%s", "IndexDirectory": "%s", "AuthenticationEnabled": false, "Plugins": []}' \
	"$http" "$tmp/data" "$tmp/data" >"$tmp/orthanc.json"
serve Orthanc "$tmp/orthanc.json" >"$tmp/log" 2>&1 &
orthanc=$!
until curl -sf "http://127.0.0.1:$http/system" >"$tmp/system"; do kill -0 "$orthanc" || { cat "$tmp/log"; exit 1; }; sleep 0.2; done
python3 -c 'import json, sys; print("Orthanc", json.load(open(sys.argv[1]))["Version"])' "$tmp/system"
id=$(curl -sf --data-binary @"$tmp/report.dcm" "http://127.0.0.1:$http/instances" | python3 -c 'import json, sys; print(json.load(sys.stdin)["ID"])')
graphic() { curl -sf "http://127.0.0.1:$http/instances/$id/$1" | python3 -c '
import json, sys
v = json.load(sys.stdin)["ContentSequence"][0]["ContentSequence"][0]["GraphicData"]
print("null" if v is None else f"{len(v)} characters")'; }
plain=$(graphic simplified-tags) whole=$(graphic 'simplified-tags?ignore-length=GraphicData')
echo "simplified-tags: $plain; with ignore-length=GraphicData: $whole"
[[ $plain == null && $whole != null ]] || { echo "CHANGED"; exit 1; }

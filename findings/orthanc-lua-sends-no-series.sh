#!/usr/bin/env bash
# Orthanc 1.10.1: SendToModality in a Lua script (auto-routing) takes a series without complaint, sends nothing of it, and the job that it
# makes ends as "Success". It takes single instances only: the identifier of the series is looked up as one of an instance, which only the
# log says ("Unable to send instance"). POST /modalities/NAME/store takes a series.
#
# So a route that is written on OnStableSeries looks as if it worked: Orthanc starts, calls the script, and lists a successful job.
#
# A valid Secondary Capture object is stored; a receiver (pynetdicom 3.0.4) counts what comes by Lua and by REST.
# Needs apt-get on Debian 12 x86_64, curl, python3 with pip. Run: 1 to 2 minutes. Exit code 0: as described; 1: otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'kill "${orthanc:-}" "${scp:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$tmp"' EXIT
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
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2 pynetdicom==3.0.4
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
ds.save_as(sys.argv[1], enforce_file_format=True)
PY
cat >"$tmp/count.py" <<'PY'
import sys, threading
from pynetdicom import AE, evt, StoragePresentationContexts
def store(event):
    with open(sys.argv[1], "a") as f:
        f.write(".")
    return 0
ae = AE(ae_title="COUNTER")
ae.supported_contexts = StoragePresentationContexts
server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
print(server.server_address[1], flush=True)
threading.Event().wait()
PY
cat >"$tmp/route.lua" <<'LUA'
function OnStableSeries(id, tags, metadata)
  SendToModality(id, 'counter')
end
LUA
python3 "$tmp/object.py" "$tmp/object.dcm"
: >"$tmp/came"
python3 "$tmp/count.py" "$tmp/came" >"$tmp/port" &
scp=$!
until [[ -s $tmp/port ]]; do sleep 0.2; done
http=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$tmp/data"
printf '{"HttpPort": %s, "RemoteAccessAllowed": false, "DicomServerEnabled": false, "StableAge": 1, "StorageDirectory": "%s", "IndexDirectory": "%s", "AuthenticationEnabled": false, "Plugins": [], "LuaScripts": ["%s"], "DicomModalities": {"counter": ["COUNTER", "127.0.0.1", %s]}}' \
	"$http" "$tmp/data" "$tmp/data" "$tmp/route.lua" "$(<"$tmp/port")" >"$tmp/orthanc.json"
serve Orthanc "$tmp/orthanc.json" >"$tmp/log" 2>&1 &
orthanc=$!
url=http://127.0.0.1:$http
until curl -sf "$url/system" >"$tmp/system"; do kill -0 "$orthanc" || { cat "$tmp/log"; exit 1; }; sleep 0.2; done
python3 -c 'import json, sys; print("Orthanc", json.load(open(sys.argv[1]))["Version"])' "$tmp/system"
series=$(curl -sf --data-binary @"$tmp/object.dcm" "$url/instances" | python3 -c 'import json, sys; print(json.load(sys.stdin)["ParentSeries"])')
job() { curl -sf "$url/jobs?expand" | python3 -c 'import json, sys; print(*[j["State"] for j in json.load(sys.stdin) if j["Content"].get("Description") == "Lua"])'; }
for ((i = 0; i < 300; i++)); do [[ $(job) == Success || $(job) == Failure ]] && break; sleep 0.2; done
state=$(job) lua=$(wc -c <"$tmp/came")
logged=no
grep -q "Unable to send instance $series" "$tmp/log" && logged=yes
curl -sf -d "$series" "$url/modalities/counter/store" >/dev/null
rest=$(wc -c <"$tmp/came")
echo "SendToModality(series): job $state, $lua objects came, \"Unable to send instance\" with the series' identifier in the log: $logged"
echo "POST /modalities/counter/store with the same identifier: $rest object came"
[[ "$state $lua $logged $rest" == "Success 0 yes 1" ]] || { echo "CHANGED"; tail "$tmp/log"; exit 1; }

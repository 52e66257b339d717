#!/usr/bin/env bash
# dcmtk 3.6.7: dcmsend ends with exit code 0 and prints nothing although every object was refused; storescu ends with the
# refusal's status divided by 256, so that 0xA700 becomes 167.
#
# What a script concludes from the exit code of dcmsend is therefore wrong: all objects may have been refused with "out of
# resources". The counts stand only in what --verbose prints and in the file of --create-report-file.
#
# A receiver (pynetdicom 3.0.4) answers C-STORE with A700H; both programs send it two valid Secondary Capture objects.
# Needs apt-get on Debian 12 x86_64, python3 with pip. Run: 1 minute. Exit code 0: as described; 1: it behaves otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'kill "${scp:-}" 2>/dev/null || true; rm -rf "$tmp"' EXIT
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
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2 pynetdicom==3.0.4
export PYTHONPATH=$tmp/py DCMDICTPATH=$tmp/root/usr/share/libdcmtk17/dicom.dic

cat >"$tmp/objects.py" <<'PY'
import sys
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
study, series = generate_uid(), generate_uid()
for i in range(2):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Object", "T1", "", ""
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.ConversionType = "OT", 1, i + 1, "WSD"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 8, 8
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.PixelData = 7, 0, bytes(64)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(f"{sys.argv[1]}/{i}.dcm", enforce_file_format=True)
PY
cat >"$tmp/refuse.py" <<'PY'
import sys, threading
from pynetdicom import AE, evt, StoragePresentationContexts
seen = 0
def store(event):
    global seen
    seen += 1
    open(sys.argv[1] + "/seen", "w").write(str(seen))
    return 0xA700
ae = AE(ae_title="FULL")
ae.supported_contexts = StoragePresentationContexts
server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
print(server.server_address[1], flush=True)
threading.Event().wait()
PY
python3 "$tmp/objects.py" "$tmp"
python3 "$tmp/refuse.py" "$tmp" >"$tmp/port" &
scp=$!
until [[ -s $tmp/port ]]; do sleep 0.2; done
port=$(<"$tmp/port")

run dcmsend --version | sed -n 1p
code=0
run dcmsend -aec FULL 127.0.0.1 "$port" "$tmp"/[01].dcm >"$tmp/out" 2>&1 || code=$?
echo "dcmsend:  exit code $code, $(wc -c <"$tmp/out") bytes printed, the receiver refused $(<"$tmp/seen") objects"
[[ $code == 0 && ! -s $tmp/out && $(<"$tmp/seen") == 2 ]] || { echo "CHANGED: dcmsend says that objects were refused"; cat "$tmp/out"; exit 1; }

code=0
run storescu -aec FULL 127.0.0.1 "$port" "$tmp"/[01].dcm >"$tmp/out" 2>&1 || code=$?
echo "storescu: exit code $code; 0xA700 / 256 is $((0xA700 / 256)); the receiver has seen $(<"$tmp/seen") objects in all: it stopped at the first"
[[ $code == $((0xA700 / 256)) && $(<"$tmp/seen") == 3 ]] || { echo "CHANGED: storescu ends otherwise"; cat "$tmp/out"; exit 1; }

#!/usr/bin/env bash
# dcmtk 3.6.7: dcmqrscp answers C-GET on the first accepted presentation context of the object's SOP class, whatever its transfer
# syntax, although it has accepted another one in which the object is stored. A JPEG object then fails ("unable to convert"); it comes
# when its own transfer syntax is the only one proposed.
#
# So a client that proposes one context per transfer syntax, as PS3.4 C.4.3 and PS3.8 allow, gets some objects and not others, and has
# to ask again for those with one transfer syntax at a time. (pynetdicom 3.0.4 asks; one JPEG Baseline object is stored.)
# Needs apt-get on Debian 12 x86_64, python3 with pip. Run: 1 to 2 minutes. Exit code 0: as described; 1: it behaves otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'kill "${scp:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$tmp"' EXIT
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

debian 'dcmtk=3.6.7-*'
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2 pynetdicom==3.0.4 pillow==11.3.0
export PYTHONPATH=$tmp/py DCMDICTPATH=$tmp/root/usr/share/libdcmtk17/dicom.dic

cat >"$tmp/ask.py" <<'PY'
import io, sys
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, SecondaryCaptureImageStorage as SC, generate_uid
from pynetdicom import AE, evt, build_context, build_role
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET
port = int(sys.argv[1])
jpeg = io.BytesIO()
Image.new("L", (16, 16), 99).save(jpeg, "JPEG")
data = jpeg.getvalue()
ds = Dataset()
ds.SOPClassUID, ds.SOPInstanceUID = SC, generate_uid()
ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Object", "T1", "", ""
ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.ReferringPhysicianName, ds.StudyID = "20260101", "120000", "", "", "1"
ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.ConversionType = "OT", 1, 1, "WSD"
ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 16, 16
ds.BitsAllocated = ds.BitsStored = 8
ds.HighBit, ds.PixelRepresentation, ds.LossyImageCompression = 7, 0, "01"
ds.PixelData = encapsulate([data + bytes(len(data) % 2)])
ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
ds.file_meta = FileMetaDataset()
ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
ae = AE(ae_title="ASKER")
ae.add_requested_context(SC, JPEGBaseline8Bit)
assoc = ae.associate("127.0.0.1", port, ae_title="QRSCP")
assert assoc.is_established and assoc.send_c_store(ds).Status == 0
assoc.release()
def get(*syntaxes):
    came = []
    ae = AE(ae_title="ASKER")
    ae.requested_contexts = [build_context(GET)] + [build_context(SC, [s]) for s in syntaxes]
    def store(event):
        came.append(event.context.transfer_syntax)
        return 0
    assoc = ae.associate("127.0.0.1", port, ae_title="QRSCP", ext_neg=[build_role(SC, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, store)])
    assert assoc.is_established
    accepted = sorted(c.transfer_syntax[0].name for c in assoc.accepted_contexts if c.abstract_syntax == SC)
    q = Dataset()
    q.QueryRetrieveLevel, q.StudyInstanceUID = "STUDY", ds.StudyInstanceUID
    for status, _ in assoc.send_c_get(q, GET):
        pass
    assoc.release()
    return accepted, len(came)
both, one = get(ExplicitVRLittleEndian, JPEGBaseline8Bit), get(JPEGBaseline8Bit)
print(f"accepted {both[0]}: {both[1]} of 1 objects came")
print(f"accepted {one[0]}: {one[1]} of 1 objects came")
sys.exit(0 if len(both[0]) == 2 and both[1] == 0 and one[1] == 1 else 1)
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$tmp/db"
# dcmqrscp cannot be told an address to listen on: its table of hosts has it store for this machine only.
printf 'NetworkTCPPort = %s\nMaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\nname = (ASKER, localhost, 104)\nnumber = (ASKER, 127.0.0.1, 104)\nlocal = name, number\nHostTable END\nVendorTable BEGIN\nVendorTable END\nAETable BEGIN\nQRSCP %s RW (100, 1024mb) local\nAETable END\n' \
	"$port" "$tmp/db" >"$tmp/dcmqrscp.cfg"
run dcmqrscp --version | sed -n 1p
serve dcmqrscp --config "$tmp/dcmqrscp.cfg" +xy >"$tmp/log" 2>&1 &
scp=$!
until python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1)' "$port" 2>/dev/null; do kill -0 "$scp" || { cat "$tmp/log"; exit 1; }; sleep 0.2; done
python3 "$tmp/ask.py" "$port" || { echo "CHANGED"; cat "$tmp/log"; exit 1; }

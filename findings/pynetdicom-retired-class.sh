#!/usr/bin/env bash
# pynetdicom 3.0.4: a receiver that is told to support a retired storage class, here Ultrasound Multi-frame Image Storage
# (Retired) 1.2.840.10008.5.1.4.1.1.3, accepts the presentation context and then ends the association when an object of that
# class is sent; the handler is never called. The class that replaced it works in the same association.
#
# Sender and receiver are pynetdicom, on one machine; two valid objects that differ in their SOP class.
# Needs python3 with pip. Run: half a minute. Exit code 0: as described; 1: otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2 pynetdicom==3.0.4
export PYTHONPATH=$tmp/py
python3 - <<'PY'
import logging, sys, time
import pynetdicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
logging.getLogger("pynetdicom").addHandler(logging.NullHandler())
retired, current = "1.2.840.10008.5.1.4.1.1.3", "1.2.840.10008.5.1.4.1.1.3.1"
def loop(sop_class):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = sop_class, generate_uid(), generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Loop", "T1", "", ""
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.PatientOrientation = "US", 1, 1, ""
    ds.NumberOfFrames, ds.FrameTime, ds.FrameIncrementPointer = 2, "40", 0x00181063
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 8, 8
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.PixelData = 7, 0, bytes(128)
    ds.file_meta = FileMetaDataset(); ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds
seen = []
def store(event):
    seen.append(event.request.AffectedSOPClassUID)
    return 0
def ae():
    a = AE()
    a.acse_timeout = a.dimse_timeout = a.network_timeout = 10
    return a
receiver = ae()
for c in (retired, current):
    receiver.add_supported_context(c, ExplicitVRLittleEndian)
server = receiver.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
results = {}
for c in (current, retired):
    sender = ae()
    sender.add_requested_context(c, ExplicitVRLittleEndian)
    assoc = sender.associate(*server.server_address)
    accepted = bool(assoc.accepted_contexts)
    status = assoc.send_c_store(loop(c))
    for _ in range(50):  # the abort may be on its way
        if status or not assoc.is_established:
            break
        time.sleep(0.1)
    results[c] = (accepted, status.Status if "Status" in status else None, not assoc.is_established)
    if assoc.is_established:
        assoc.release()
server.shutdown()
print("pynetdicom", pynetdicom.__version__)
for c, (accepted, status, aborted) in results.items():
    print(f"{c}: context {'accepted' if accepted else 'refused'}, {'no status' if status is None else f'status {status:04X}H'}, {'association gone' if aborted else 'association stands'}, handler called: {c in seen}")
if results != {current: (True, 0, False), retired: (True, None, True)} or seen != [current]:
    sys.exit("CHANGED")
PY

#!/usr/bin/env bash
# dcmtk 3.6.7: a report that goes through dsr2xml and xml2dsr keeps its content tree and loses its author (Author Observer
# Sequence), its equipment (Contributing Equipment Sequence) and, unless +Wt is given, the template of its root.
# Both programs say nothing and end with exit code 0.
#
# A valid Basic Text SR with these attributes makes the round trip.
# Needs apt-get on Debian 12 x86_64, python3 with pip. Run: 1 minute. Exit code 0: as described; 1: otherwise.
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
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2
export PYTHONPATH=$tmp/py DCMDICTPATH=$tmp/root/usr/share/libdcmtk17/dicom.dic

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
ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "SR", 1, 1
ds.Manufacturer, ds.ManufacturerModelName, ds.DeviceSerialNumber, ds.SoftwareVersions = "Maker", "Model", "4711", "1.2.3"
made = Dataset()
made.PurposeOfReferenceCodeSequence = code("109101", "DCM", "Acquisition Equipment")
made.Manufacturer, made.ManufacturerModelName = "Cart maker", "Cart"
ds.ContributingEquipmentSequence = [made]
author = Dataset()
author.ObserverType, author.InstitutionName, author.InstitutionCodeSequence = "PSN", "Hospital", []
author.PersonName, author.PersonIdentificationCodeSequence = "Reader^Jane", []
ds.AuthorObserverSequence = [author]
ds.ReferencedPerformedProcedureStepSequence = []
ds.PerformedProcedureCodeSequence = []
ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
ds.ConceptNameCodeSequence = code("125200", "DCM", "Adult Echocardiography Procedure Report")
template = Dataset(); template.MappingResource, template.TemplateIdentifier = "DCMR", "5200"
ds.ContentTemplateSequence = [template]
text = Dataset()
text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", "Nothing of note"
text.ConceptNameCodeSequence = code("121071", "DCM", "Finding")
ds.ContentSequence = [text]
ds.file_meta = FileMetaDataset(); ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
ds.save_as(sys.argv[1], enforce_file_format=True)
PY
python3 "$tmp/report.py" "$tmp/report.dcm"
run dsr2xml --version | sed -n 1p
run dsr2xml "$tmp/report.dcm" "$tmp/report.xml"
run xml2dsr "$tmp/report.xml" "$tmp/back.dcm"
run dsr2xml +Wt "$tmp/report.dcm" "$tmp/template.xml"
run xml2dsr "$tmp/template.xml" "$tmp/template.dcm"
python3 - "$tmp" <<'PY'
import sys
from pydicom import dcmread
a, b, t = (dcmread(f"{sys.argv[1]}/{n}.dcm") for n in ("report", "back", "template"))
kept = b.ContentSequence[0].TextValue == a.ContentSequence[0].TextValue
lost = sorted(e.keyword for e in a if e.value and (e.tag not in b or not b[e.tag].value))
print("content kept:", kept, "- lost:", ", ".join(lost), "- template with +Wt:", "ContentTemplateSequence" in t)
if not kept or not {"AuthorObserverSequence", "ContentTemplateSequence", "ContributingEquipmentSequence"} <= set(lost) or "ContentTemplateSequence" not in t:
    sys.exit("CHANGED")
PY

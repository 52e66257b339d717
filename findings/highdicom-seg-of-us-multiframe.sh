#!/usr/bin/env bash
# highdicom 0.28.2: no Segmentation can be made of an Ultrasound Multi-frame Image, the ordinary object of an echo cine. It is
# multi-frame without functional groups and without a frame of reference: the constructor raises ValueError, since it takes a source
# without a Frame of Reference UID for a single frame.
#
# A valid Ultrasound Multi-frame object (4 frames, native) and a mask of one segment are handed to Segmentation.
# Needs python3 (3.10 to 3.13) with pip. Run: half a minute. Exit code 0: as described; 1: a segmentation is made, or another error.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" highdicom==0.28.2 pydicom==3.0.2 numpy==2.2.6
export PYTHONPATH=$tmp/py
python3 - <<'PY'
import sys
import highdicom as hd
import numpy as np
from highdicom.seg import Segmentation, SegmentDescription, SegmentAlgorithmTypeValues, SegmentationTypeValues
from highdicom.content import AlgorithmIdentificationSequence
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid
us = Dataset()
us.SOPClassUID, us.SOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid()
us.StudyInstanceUID, us.SeriesInstanceUID = generate_uid(), generate_uid()
us.PatientName, us.PatientID, us.PatientBirthDate, us.PatientSex = "Test^Loop", "T1", "", ""
us.StudyDate, us.StudyTime, us.AccessionNumber, us.ReferringPhysicianName, us.StudyID = "20260101", "120000", "", "", ""
us.Modality, us.SeriesNumber, us.InstanceNumber, us.ImageType = "US", 1, 1, ["ORIGINAL", "PRIMARY"]
us.Manufacturer, us.PatientOrientation = "Maker", ""
us.NumberOfFrames, us.FrameTime, us.FrameIncrementPointer = 4, "33.3", 0x00181063
us.SamplesPerPixel, us.PhotometricInterpretation, us.Rows, us.Columns = 1, "MONOCHROME2", 16, 16
us.BitsAllocated = us.BitsStored = 8
us.HighBit, us.PixelRepresentation, us.PixelData = 7, 0, bytes(4 * 256)
us.file_meta = FileMetaDataset()
us.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
mask = np.zeros((4, 16, 16), dtype=np.uint8)
mask[:, 4:12, 4:12] = 1
algorithm = AlgorithmIdentificationSequence("test", codes.DCM.ArtificialIntelligence, "1")
segment = SegmentDescription(1, "cavity", codes.SCT.Organ, codes.SCT.Heart, SegmentAlgorithmTypeValues.AUTOMATIC, algorithm)
print("highdicom", hd.__version__)
try:
    Segmentation([us], mask, SegmentationTypeValues.BINARY, [segment], generate_uid(), 2, generate_uid(), 1, "Maker", "Model", "1", "1")
except ValueError as error:
    print(f"ValueError: {error}")
    if str(error) != "Only a single frame is supported when the source image has no Frame of Reference UID.":
        sys.exit("CHANGED: another error")
else:
    sys.exit("CHANGED: the segmentation is made")
PY

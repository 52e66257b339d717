"""Read reports and segmentations as importers do, and print what they found as JSON.

Arguments: DICOM files. highdicom reads every structured report and every segmentation; a plain reader goes through every
content item and takes its concept name without asking whether there is one, as many do.
"""

import json
import sys

import highdicom
import pydicom


def items(ds):
    for item in ds.get("ContentSequence", []):
        name = item.ConceptNameCodeSequence[0]
        yield item, (name.CodeValue, name.CodingSchemeDesignator)
        yield from items(item)


def report(path):
    ds = pydicom.dcmread(path)
    highdicom.sr.ComprehensiveSR.from_dataset(ds)
    values, ef, unmarked = {}, [], []
    for item, name in items(ds):
        if item.ValueType != "NUM":
            continue
        value = float(item.MeasuredValueSequence[0].NumericValue)
        values.setdefault("%s %s" % name, value)
        if name == ("18043-0", "LN"):
            ef.append(value)
            if not any(n == ("18139-6", "LN") or n == ("121404", "DCM") for _, n in items(item)):
                unmarked.append(value)
    return {"values": values, "first": ef[0] if ef else None, "last": ef[-1] if ef else None, "unmarked": unmarked}


def segmentation(path):
    seg = highdicom.seg.segread(path)
    frame = seg.get_pixels_by_source_frame(
        source_sop_instance_uid=seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID,
        source_frame_numbers=[1], assert_missing_frames_are_empty=True, ignore_spatial_locations=True)
    return {"segments": [seg.get_segment_description(n).segment_label for n in seg.segment_numbers], "pixels": int((frame[..., 0] > 0).sum())}


def main():
    out = {"reports": {}, "segmentations": {}}
    for path in sys.argv[1:]:
        modality = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"]).Modality
        if modality == "SR":
            out["reports"][path] = report(path)
        elif modality == "SEG":
            out["segmentations"][path] = segmentation(path)
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()

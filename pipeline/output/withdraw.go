package output

import (
	"errors"
	"os"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// Withdraw writes a note that the objects of some files, all of one study and
// patient, are not to be used any more, because their images have another patient or study:
// a key object selection document, see [sr.Rejection].
func Withdraw(files []string, path string, by result.Software, at time.Time, o Options) (out result.Output, err error) {
	r := sr.Rejection{Reason: sr.WrongPatient, Time: at,
		Description: "These results were made under another patient, patient ID or study than their images have now.",
		Observer:    instance.Equipment{Manufacturer: result.Manufacturer, Model: "EchoNode", Version: by.Version, Station: o.Station, UID: o.DeviceUID}}
	if r.Observer.UID == "" {
		r.Observer.UID = instance.UID("device", o.Station)
	}
	for _, file := range files {
		f, err := dicomio.Open(file, dicomio.Options{Strict: true})
		if err != nil {
			return out, err
		}
		defer f.Close() // read only; the data set reads from it
		r.Rejected = append(r.Rejected, instance.RefOf(f.DataSet))
		if r.Source == nil {
			r.Source = f.DataSet
		}
	}
	ds, err := sr.BuildRejection(r)
	if err != nil {
		return out, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return out, err
	}
	if err := errors.Join(dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian}), f.Close()); err != nil {
		return out, err
	}
	return result.Output{Kind: result.KindWithdrawal, File: path, SOPClassUID: uid.KeyObjectSelectionDocumentStorage,
		SOPInstanceUID: ds.String(tag.SOPInstanceUID)}, nil
}

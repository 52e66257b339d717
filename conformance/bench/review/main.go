// Command review prepares what the benchmarks of the review page open: see
// conformance/review/bench, which drives the browser.
//
//	review cine FILE                 writes a cine of 60 frames of 800x600 at 60 frames/s
//	review worklist DIR ADDRESS N    serves a worklist of N studies until it is stopped
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/review"
	"github.com/echonode/echonode/pipeline/store"
)

func main() {
	err := errors.New("review cine FILE | review worklist DIR ADDRESS N")
	switch args := os.Args[1:]; {
	case len(args) == 2 && args[0] == "cine":
		err = cine(args[1])
	case len(args) == 4 && args[0] == "worklist":
		var n int
		if n, err = strconv.Atoi(args[3]); err == nil {
			err = worklist(args[1], args[2], n)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "review:", err)
		os.Exit(1)
	}
}

const (
	columns, rows, frames = 800, 600, 60
	// The browser's side names these too.
	studyUID = "1.2.826.0.1.3680043.10.1554.7.1"
	user     = "reader"
	password = "a long enough password"
)

// cine writes the cine as a scanner would: an ultrasound multi-frame object,
// JPEG Baseline. Squares at its lower left say the number of the frame, six
// after one that is always white.
func cine(path string) error {
	r := rand.New(rand.NewPCG(1, 2))
	speckle := make([]float64, columns*rows)
	for i := range speckle {
		speckle[i] = r.ExpFloat64()
	}
	pixels := make([]byte, 0, 3*columns*rows*frames)
	for f := range frames {
		for y := range rows {
			for x := range columns {
				v := tissue(x, y, f, speckle)
				pixels = append(pixels, v, v, v)
			}
		}
	}
	ds := dicomio.NewDataSet()
	ds.SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetString(tag.SOPInstanceUID, studyUID+".1.1").
		SetString(tag.StudyInstanceUID, studyUID).SetString(tag.SeriesInstanceUID, studyUID+".1").SetString(tag.Modality, "US").
		SetString(tag.PatientName, "Bench^Cine").SetString(tag.PatientID, "BENCH").SetString(tag.PatientBirthDate, "19700101").SetString(tag.PatientSex, "O").
		SetString(tag.StudyDate, "20260101").SetString(tag.StudyTime, "120000").SetString(tag.AccessionNumber, "B1").SetString(tag.StudyID, "1").
		SetString(tag.StudyDescription, "Bench").SetString(tag.SeriesDescription, "Bench").SetString(tag.SeriesNumber, "1").SetString(tag.InstanceNumber, "1").
		SetString(tag.PhotometricInterpretation, "RGB").SetInt(tag.SamplesPerPixel, 3).SetInt(tag.PlanarConfiguration, 0).
		SetInt(tag.Rows, rows).SetInt(tag.Columns, columns).
		SetInt(tag.BitsAllocated, 8).SetInt(tag.BitsStored, 8).SetInt(tag.HighBit, 7).SetInt(tag.PixelRepresentation, 0).
		SetString(tag.NumberOfFrames, strconv.Itoa(frames)).SetString(tag.FrameTime, "16.6666667").SetString(tag.CineRate, "60").
		SetString(tag.RecommendedDisplayFrameRate, "60")
	ds.SetBytes(tag.PixelData, "OB", pixels)
	if err := ds.Err(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "native")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian})
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if out, err := exec.Command("dcmcjpeg", "+eb", "+q", "85", "+un", f.Name(), path).CombinedOutput(); err != nil {
		return fmt.Errorf("dcmcjpeg: %w\n%s", err, out)
	}
	return nil
}

// tissue is a pixel of a moving cavity in speckle, in a sector.
func tissue(x, y, f int, speckle []float64) byte {
	const side = 24
	if k := (x - 16) / side; y >= 560 && y < 560+side && x >= 16 && k < 7 {
		if k == 0 || f>>(k-1)&1 == 1 {
			return 255
		}
		return 0
	}
	dx, dy := float64(x-columns/2), float64(y-20)
	if math.Hypot(dx, dy) > 560 || math.Abs(math.Atan2(dx, dy)) > 0.7 {
		return 0
	}
	level, width := 90.0, 75+15*math.Cos(2*math.Pi*float64(f)/frames)
	if e := math.Hypot(dx/width, (dy-260)/160); e < 1 {
		level = 8
	} else if e < 1.3 {
		level = 150
	}
	return byte(min(255, level*speckle[(y+f)%rows*columns+x]))
}

// worklist serves the page of a node that has so many studies.
func worklist(dir, address string, studies int) error {
	ctx := context.Background()
	st, err := store.Open(ctx, filepath.Join(dir, "worklist.db"))
	if err != nil {
		return err
	}
	defer st.Close() // the file is of no use afterwards
	now := time.Now()
	for i := range studies {
		uid := fmt.Sprintf("1.2.840.99999.%d", i)
		if _, err := st.AddInstance(ctx, store.Instance{SOPInstanceUID: uid + ".1", StudyInstanceUID: uid, SeriesInstanceUID: uid + ".0", SOPClassUID: "1",
			Path: uid, Received: now, Loop: true}); err != nil {
			return err
		}
	}
	for done := 0; done < studies; {
		changes, err := st.Changes(ctx, "", 500)
		if err != nil {
			return err
		}
		for _, c := range changes {
			ef := float64(20 + done%50)
			l := store.Listing{StudyInstanceUID: c.StudyInstanceUID, PatientName: fmt.Sprintf("Family%05d, Given", done), PatientID: fmt.Sprint("P", done),
				BirthDate: "19600102", Sex: "F",
				Accession: fmt.Sprint("A", done), Time: now.Add(-time.Duration(done) * time.Minute), State: store.Done, Revision: 1, Objects: 40, EF: &ef,
				EFGrade: "good", Flags: store.ReducedEF}
			if err := st.List(ctx, c, &l); err != nil {
				return err
			}
			done++
		}
		if len(changes) == 0 {
			return fmt.Errorf("only %d studies are listed", done)
		}
	}
	hash, err := review.HashPassword(password)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "users.yaml")
	err = review.EditUsers(path, func([]review.User) ([]review.User, error) {
		return []review.User{{Name: user, Person: "Bench^Reader", Organisation: "Bench", Roles: []review.Role{review.Reader}, Password: hash}}, nil
	})
	if err != nil {
		return err
	}
	users, err := review.OpenUsers(path)
	if err != nil {
		return err
	}
	pages, err := review.New(review.Options{Store: st, Users: users, Listen: address, Idle: time.Hour, Longest: time.Hour, Version: "bench",
		Log: slog.New(slog.DiscardHandler), Limits: dicomio.Limits{Memory: dicomio.NewMemory(320 << 20)}})
	if err != nil {
		return err
	}
	server := &http.Server{Addr: address, Handler: pages, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

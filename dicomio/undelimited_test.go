package dicomio

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

const (
	fragmentsBegin = "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF"
	sequenceEnd    = "\xFE\xFF\xDD\xE0\x00\x00\x00\x00"
	itemEnd        = "\xFE\xFF\x0D\xE0\x00\x00\x00\x00"
	padding        = "\xFC\xFF\xFC\xFFOB\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00"
)

// items are the fragments of pixel data.
func items(values ...string) string {
	var b []byte
	for _, v := range values {
		b = append(b, "\xFE\xFF\x00\xE0"...)
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(v))), v...)
	}
	return string(b)
}

// upToPixels is a file of n frames, announced as count says ("" is not at all), up to
// the basic offset table of its pixel data.
func upToPixels(t *testing.T, syntax, count string) string {
	t.Helper()
	d := syntheticBase(1, 1, 8, 8, "MONOCHROME2").SetInt(tag.Rows, 16).SetInt(tag.Columns, 24).SetString(tag.NumberOfFrames, "1")
	var b bytes.Buffer
	if err := Write(&b, d, WriteOptions{TransferSyntax: syntax, Pixels: FrameBytes([][]byte{{1, 2}})}); err != nil {
		t.Fatal(err)
	}
	s, _, ok := strings.Cut(b.String(), fragmentsBegin)
	one := "\x28\x00\x08\x00IS\x02\x001 "
	if !ok || strings.Count(s, one) != 1 {
		t.Fatal("no pixel data, or no Number of Frames")
	}
	counted := ""
	if count != "" {
		counted = "\x28\x00\x08\x00IS" + string(binary.LittleEndian.AppendUint16(nil, uint16(len(count)))) + count
	}
	return strings.Replace(s, one, counted, 1) + fragmentsBegin
}

// Pixel data behind whose fragments the delimiter is missing are read where all frames
// that are announced are there, with the end of the last: a transfer that broke off
// between two fragments is no shorter loop.
func TestUndelimitedPixels(t *testing.T) {
	frame := func(level uint8) string { return string(grayJPEG(t, 24, 16, level)) }
	var frames []string
	for i := range 3 {
		f := frame(uint8(50 * (i + 1)))
		if len(f)%2 == 1 {
			f += "\x00"
		}
		frames = append(frames, f)
	}
	half := len(frames[0]) / 4 * 2
	halves := []string{frames[0][:half], frames[0][half:], frames[1][:half], frames[1][half:]}
	rle := "\x01\x00\x00\x00\x40\x00\x00\x00" + strings.Repeat("\x00", 56) + strings.Repeat("\x81\x07", 3)
	const jpeg = uid.JPEGBaseline8Bit
	table := func(offsets ...int) string {
		var b []byte
		for _, o := range offsets {
			b = binary.LittleEndian.AppendUint32(b, uint32(o))
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		syntax, count string
		fragments     []string // the offset table first
		behind        string
		want          int // frames, 0: what is missing is told
		err           error
	}{
		"to the end":               {jpeg, "3 ", append([]string{""}, frames...), "", 3, nil},
		"zeros behind":             {jpeg, "3 ", append([]string{""}, frames...), strings.Repeat("\x00", 100), 3, nil},
		"some zeros behind":        {jpeg, "3 ", append([]string{""}, frames...), "\x00\x00\x00", 3, nil},
		"padding behind":           {jpeg, "3 ", append([]string{""}, frames...), padding, 3, nil},
		"half of the delimiter":    {jpeg, "3 ", append([]string{""}, frames...), sequenceEnd[:4], 3, nil},
		"a frame less":             {jpeg, "3 ", append([]string{""}, frames[:2]...), "", 0, ErrTruncated},
		"a frame less, padding":    {jpeg, "3 ", append([]string{""}, frames[:2]...), padding, 0, ErrMalformed},
		"nobody counted":           {jpeg, "", append([]string{""}, frames...), "", 0, ErrTruncated},
		"one that nobody counted":  {jpeg, "", append([]string{""}, frames[0]), "", 0, ErrTruncated},
		"counted by the table":     {jpeg, "", append([]string{table(0)}, frames[0]), "", 1, nil},
		"another table":            {jpeg, "2 ", append([]string{table(0, 700, 1400)}, frames[:2]...), "", 0, ErrTruncated},
		"the table too":            {jpeg, "2 ", append([]string{table(0, len(frames[0])+8)}, frames[:2]...), "", 2, nil},
		"a count of two values":    {jpeg, "3\\3 ", append([]string{""}, frames...), "", 0, ErrTruncated},
		"no end of the last":       {jpeg, "2 ", []string{"", frames[0], frames[1][:len(frames[1])-4]}, "", 0, ErrTruncated},
		"begun":                    {jpeg, "3 ", append([]string{""}, frames...), "\xFE\xFF\x00\xE0\x08", 0, ErrTruncated},
		"halves":                   {jpeg, "2 ", append([]string{""}, halves...), "", 2, nil},
		"a half less":              {jpeg, "2 ", append([]string{""}, halves[:3]...), "", 0, ErrTruncated},
		"as many halves as frames": {jpeg, "2 ", append([]string{""}, halves[:2]...), "", 0, ErrTruncated},
		"one in two halves":        {jpeg, "1 ", append([]string{""}, halves[:2]...), "", 1, nil},
		"half of one":              {jpeg, "1 ", append([]string{""}, halves[:1]...), "", 0, ErrTruncated},
		"RLE":                      {uid.RLELossless, "2 ", []string{"", rle, rle}, "", 2, nil},
		"RLE, a frame less":        {uid.RLELossless, "2 ", []string{"", rle}, "", 0, ErrTruncated},
		"video":                    {uid.MPEG4HP41, "1 ", []string{"", frames[0]}, "", 0, ErrTruncated},
		"an unknown syntax":        {"1.2.3.4.5", "1 ", []string{"", frames[0]}, "", 0, ErrTruncated},
		"garbage behind":           {jpeg, "3 ", append([]string{""}, frames...), "\xFF\xFF\x12\x34garbage!", 0, ErrMalformed},
		"a lower tag behind":       {jpeg, "3 ", append([]string{""}, frames...), "\x10\x00\x10\x00PN\x04\x00A^B ", 0, ErrMalformed},
		"a delimiter later":        {jpeg, "3 ", append([]string{""}, frames...), padding + sequenceEnd, 0, ErrMalformed},
	} {
		known := c.syntax
		if c.syntax == "1.2.3.4.5" {
			known = jpeg
		}
		head := upToPixels(t, known, c.count)
		if known != c.syntax {
			head = strings.Replace(head, jpeg, c.syntax+strings.Repeat("\x00", len(jpeg)-len(c.syntax)), 1)
		}
		b := []byte(head + items(c.fragments...) + c.behind)
		whole := []byte(head + items(c.fragments...) + sequenceEnd)
		for _, memory := range []*Memory{nil, NewMemory(1 << 30)} {
			o := Options{Strict: true, Limits: Limits{Memory: memory}}
			f, err := Read(bytes.NewReader(b), int64(len(b)), o)
			_, ierr := Identify(context.Background(), bytes.NewReader(b), int64(len(b)), o)
			if !errors.Is(err, c.err) || !errors.Is(ierr, c.err) || (err == nil) != (c.want > 0) {
				t.Errorf("%s: %v, identified %v, want %v", name, err, ierr, c.err)
			}
			if err != nil {
				continue
			}
			checkUndelimited(t, name, f, b, whole, c.want)
			f.Close()
		}
	}
}

// checkUndelimited checks a file b that was read although a delimiter is missing: it
// holds what the whole one does, and what is written of it has the delimiter.
func checkUndelimited(t *testing.T, name string, f *File, b, whole []byte, frames int) {
	t.Helper()
	e, _ := f.DataSet.Get(tag.PixelData)
	r, err := f.RawFrames()
	if err != nil || r.Len() != frames || !e.Undelimited() {
		t.Errorf("%s: %d frames, %v", name, r.Len(), err)
		return
	}
	w := readBytes(t, whole, Options{Strict: true})
	we, _ := w.DataSet.Get(tag.PixelData)
	stored := func(e *Element) string {
		s, err := io.ReadAll(e.Stored())
		if err != nil {
			t.Fatal(err)
		}
		return string(s)
	}
	if we.Undelimited() || stored(e) != stored(we) {
		t.Errorf("%s: not stored as with the delimiter", name)
	}
	var same, other bytes.Buffer
	if _, err := f.WriteTo(&same); err != nil || !bytes.Equal(same.Bytes(), b) {
		t.Errorf("%s: not written as it was read: %v", name, err)
	}
	f.DataSet.SetString(tag.PatientName, "Another^Name")
	w.DataSet.SetString(tag.PatientName, "Another^Name")
	if _, err := f.WriteTo(&other); err != nil {
		t.Fatal(err)
	}
	again := readBytes(t, other.Bytes(), Options{Strict: true})
	if ae, _ := again.DataSet.Get(tag.PixelData); ae.Undelimited() || stored(ae) != stored(we) {
		t.Errorf("%s: changed, it is written without the delimiter", name)
	}
	var made, wanted bytes.Buffer
	if err := errors.Join(Write(&made, f.DataSet, WriteOptions{TransferSyntax: f.TransferSyntax}),
		Write(&wanted, w.DataSet, WriteOptions{TransferSyntax: f.TransferSyntax})); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(made.Bytes(), wanted.Bytes()) {
		t.Errorf("%s: written otherwise than with the delimiter", name)
	}
}

// Sequences and items of undefined length without their delimiter end where what is
// around them does, or at the next element; what could be a part of them does not
// become one of the data set around.
func TestUndelimitedSequences(t *testing.T) {
	long := func(tag, vr, v string) string {
		return tag + vr + "\x00\x00" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(v)))) + v
	}
	const (
		open  = "\xFF\xFF\xFF\xFF"
		outer = "\x08\x00\x15\x11" // Referenced Series Sequence
		inner = "SQ\x00\x00" + open
		name  = "\x10\x00\x10\x00PN\x04\x00A^B "
		class = "\x08\x00\x50\x11UI\x04\x001.3\x00"
		uids  = "\x08\x00\x55\x11UI\x04\x001.4\x00"
		start = "\x08\x00\x16\x00UI\x04\x001.2\x00"
		image = "\x08\x00\x40\x11"
	)
	openItem := "\xFE\xFF\x00\xE0" + open
	of := func(n int, s string) string {
		return "\xFE\xFF\x00\xE0" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) + s
	}
	reference := class + uids
	for title, c := range map[string]struct {
		b     string
		items int // of Referenced Series Sequence; -1: refused
		kind  error
	}{
		"at the end of its item":              {start + long(outer, "SQ", items(image+inner+items(reference))) + name, 1, nil},
		"item too":                            {start + long(outer, "SQ", items(image+inner+openItem+reference)) + name, 1, nil},
		"the outer item":                      {start + long(outer, "SQ", openItem+image+inner+items(reference)+sequenceEnd) + name, 1, nil},
		"before the next":                     {start + outer + inner + items(reference, reference) + name, 2, nil},
		"empty":                               {start + outer + inner + name, 0, nil},
		"in an open item":                     {start + outer + inner + openItem + image + inner + items(reference) + name + itemEnd + sequenceEnd, 1, nil},
		"at the end":                          {start + outer + inner + items(reference), -1, ErrTruncated},
		"of the last item":                    {start + long(outer, "SQ", items(image+inner+items(reference))), -1, ErrTruncated},
		"an item that is longer than it says": {start + outer + inner + of(len(class), reference) + sequenceEnd + name, -1, ErrMalformed},
		"the same, with a lower tag": {start + outer + inner + of(len(class), reference+name) + "\x08\x00\x60\x11IS\x02\x001 ", -1,
			ErrMalformed},
		"another item behind": {start + outer + inner + of(len(class), reference) + items(reference) + sequenceEnd + name, -1, ErrMalformed},
		"in an item, longer than it says": {start + outer + inner + openItem + image + inner + of(len(class), reference) + sequenceEnd + itemEnd +
			sequenceEnd + name, -1, ErrMalformed},
		"garbage": {start + outer + inner + items(reference) + "\x12\x34\x56\x78garbage!", -1, ErrMalformed},
	} {
		b := []byte(c.b)
		for _, memory := range []*Memory{nil, NewMemory(1 << 30)} {
			o := Options{Strict: true, TransferSyntax: uid.ExplicitVRLittleEndian, Limits: Limits{Memory: memory}}
			f, err := Read(bytes.NewReader(b), int64(len(b)), o)
			if !errors.Is(err, c.kind) || (err == nil) != (c.items >= 0) {
				t.Errorf("%s: %v, want %v", title, err, c.kind)
			}
			if err != nil {
				continue
			}
			checkSequences(t, title, f, b, c.items)
			f.Close()
		}
	}
}

// checkSequences checks that a data set holds what it should, and does when it was
// changed, written and read again, every delimiter in its place.
func checkSequences(t *testing.T, title string, f *File, b []byte, n int) {
	t.Helper()
	said := func(d *DataSet) string {
		var s []string
		for depth, e := range d.All() {
			s = append(s, fmt.Sprintf("%d %v %d %q", depth, e.Tag, len(e.items), e.val))
		}
		return strings.Join(s, "; ")
	}
	if got := f.DataSet.Items(tag.New(0x0008, 0x1115)); len(got) != n || f.DataSet.String(tag.PatientName) != "A^B" && !strings.Contains(title, "open") {
		t.Errorf("%s: %d items, want %d: %s", title, len(got), n, said(f.DataSet))
	}
	var same bytes.Buffer
	if _, err := f.WriteTo(&same); err != nil || !bytes.Equal(same.Bytes(), b) {
		t.Errorf("%s: not written as it was read: %v", title, err)
	}
	before := said(f.DataSet)
	f.DataSet.SetString(tag.SOPClassUID, "1.2")
	var changed bytes.Buffer
	if _, err := f.WriteTo(&changed); err != nil {
		t.Fatal(err)
	}
	again := readBytes(t, changed.Bytes(), Options{Strict: true, TransferSyntax: uid.ExplicitVRLittleEndian})
	if got := said(again.DataSet); got != before {
		t.Errorf("%s: written again it is %s, was %s", title, got, before)
	}
	if begins, ends := strings.Count(changed.String(), "SQ\x00\x00\xFF\xFF\xFF\xFF"), strings.Count(changed.String(), sequenceEnd); begins != ends {
		t.Errorf("%s: %d sequences, %d delimiters are written", title, begins, ends)
	}
}

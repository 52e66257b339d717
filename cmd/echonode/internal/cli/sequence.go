package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/echonode/echonode/dicomio"
)

// sequence are the numbered pictures of a folder that are frames of one cine.
type sequence struct {
	name  string // folder and what their names begin with
	paths []string
	first int // number of the first
}

// frameName is a picture's name: what it begins with, and a number.
var frameName = regexp.MustCompile(`^(.*?)(\d{1,9})\.[A-Za-z]+$`)

// sequences takes the pictures that are numbered one after the other, two at
// least under one name in one folder, out of a list of files: they are a cine
// once somebody says how fast they follow each other.
func sequences(files []string) (out []sequence, rest []string) {
	type frame struct {
		number int
		path   string
	}
	groups := map[string][]frame{}
	var order []string
	for _, path := range files {
		m := frameName.FindStringSubmatch(filepath.Base(path))
		if m == nil || !isStill(path) || movesAsPicture(path) {
			rest = append(rest, path)
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			rest = append(rest, path)
			continue
		}
		name := filepath.Join(filepath.Dir(path), m[1])
		if groups[name] == nil {
			order = append(order, name)
		}
		groups[name] = append(groups[name], frame{n, path})
	}
	for _, name := range order {
		frames := groups[name]
		if len(frames) < 2 {
			rest = append(rest, frames[0].path)
			continue
		}
		slices.SortStableFunc(frames, func(a, b frame) int { return a.number - b.number })
		s := sequence{name: name, first: frames[0].number}
		for _, f := range frames {
			s.paths = append(s.paths, f.path)
		}
		out = append(out, s)
	}
	return out, rest
}

// toDICOM writes the pictures as one ultrasound object in dir; see the function
// of that name. Of a long cine it holds the first ones. A picture that is
// missing, or of another size, is an error: the times of the others would be
// wrong.
func (s sequence) toDICOM(dir string, o mediaSettings) (made, error) {
	all := len(s.paths)
	s.paths = s.paths[:min(all, o.frames)]
	h := sha256.New()
	for i, path := range s.paths {
		m := frameName.FindStringSubmatch(filepath.Base(path))
		if n, err := strconv.Atoi(m[2]); err != nil || n != s.first+i {
			return made{}, fmt.Errorf("no picture has the number %d, and that after it is %s: no cine", s.first+i, m[2])
		}
		sum, err := digest(path)
		if err != nil {
			return made{}, err
		}
		h.Write([]byte(sum))
	}
	_, size, err := readStill(s.paths[0])
	if err != nil {
		return made{}, err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	ds := mediaObject(sum, filepath.Base(s.name))
	describeMedia(ds, size, len(s.paths), o)
	timeMedia(ds, o.fps)
	out := filepath.Join(dir, sum[:32]+".dcm")
	return made{path: out, frames: all}, writeMedia(out, ds, dicomio.FrameFunc(len(s.paths), int64(3*size.X*size.Y), func(i int) ([]byte, error) {
		pix, got, err := readStill(s.paths[i])
		if err == nil && got != size {
			err = errors.New("a picture of another size than the first")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(s.paths[i]), err)
		}
		return pix, nil
	}))
}

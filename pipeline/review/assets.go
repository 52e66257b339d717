package review

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"time"
)

// assetAddresses names every file of the bundle by its content, so that
// browsers may keep it and still get a new version at once.
func assetAddresses() (map[string]string, error) {
	names, err := fs.Glob(distFiles, "web/dist/*")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, path := range names {
		b, err := distFiles.ReadFile(path)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		name := path[len("web/dist/"):]
		out[name] = "/static/" + hex.EncodeToString(sum[:8]) + "/" + name
	}
	return out, nil
}

func (s *Server) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if address, ok := s.assets[name]; !ok || address != r.URL.Path {
		http.NotFound(w, r)
		return
	}
	b, err := distFiles.ReadFile("web/dist/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestCurrent: the tables of packages tag and uid are what ps3.6.tsv says.
func TestCurrent(t *testing.T) {
	d, err := parse(source)
	if err != nil {
		t.Fatal(err)
	}
	d.sort()
	if again := d.tsv(); !bytes.Equal(again, source) {
		t.Error("ps3.6.tsv is not as this program writes it")
	}
	for name, generate := range d.files() {
		want, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("dicomio/%s is not current: go generate ./dicomio/tag", name)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tsv := range map[string]string{"short": "00080005\tCS\t1-n\tSpecificCharacterSet\n", "columns": "00080005\tCS\n", "tag": "0008000Z\tCS\t1\tX\n"} {
		if _, err := parse([]byte(tsv)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

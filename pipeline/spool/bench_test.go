package spool

import (
	"fmt"
	"testing"

	"github.com/echonode/echonode/scp"
)

// BenchmarkCommit stores 5.4 MB objects, the size of a compressed cine, in the
// pieces in which they come from the network; beside it a plain file with a
// sync is the floor.
func BenchmarkCommit(b *testing.B) {
	for name, opt := range map[string]Options{"sync": {MinFree: -1}, "nosync": {MinFree: -1, NoSync: true}} {
		b.Run(name, func(b *testing.B) {
			s, err := Open(b.TempDir(), opt)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			piece := make([]byte, 131066)
			for i := range piece {
				piece[i] = byte(i * 7)
			}
			const size = 5_400_000
			b.SetBytes(size)
			n := 0
			for b.Loop() {
				n++
				in, err := s.Create(&scp.StoreRequest{Association: &scp.AssociationInfo{CallingAE: "A"}, SOPClassUID: "1.2",
					SOPInstanceUID: fmt.Sprintf("1.2.%d", n), TransferSyntaxUID: "1.2.840.10008.1.2.1"})
				if err != nil {
					b.Fatal(err)
				}
				for left := size; left > 0; left -= len(piece) {
					if _, err := in.Write(piece[:min(left, len(piece))]); err != nil {
						b.Fatal(err)
					}
				}
				e, err := in.Commit()
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Remove(e.Path); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

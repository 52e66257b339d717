package encoding_test

import (
	"fmt"
	"log"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
)

// Two elements are written in Implicit VR Little Endian and read again; their
// VRs are then those of the dictionary.
func ExampleSyntax_Elements() {
	implicit := encoding.Syntax{Implicit: true}
	b := implicit.AppendString(nil, tag.PatientName, "PN", "Doe^Jo")
	b = implicit.AppendUint16(b, tag.Rows, 600)
	for e, err := range implicit.Elements(b) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v %s %s % x\n", e.Tag, tag.Keyword(e.Tag), encoding.DictionaryVR(e.Tag, false), e.Value)
	}
	// Output:
	// (0010,0010) PatientName PN 44 6f 65 5e 4a 6f
	// (0028,0010) Rows US 58 02
}

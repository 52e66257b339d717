package scp

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/echonode/echonode/conformance/golden"
	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/uid"
)

const goldenAssociateRQ = `
01 00                            ; PDU type 01H A-ASSOCIATE-RQ, reserved
00 00 01 58                      ; 344 bytes follow
00 01 00 00                      ; protocol version 1, reserved
"ECHONODE        "               ; called AE title, 16 bytes padded with spaces
"CART1           "               ; calling AE title
00000000000000000000000000000000 ; reserved, 32 bytes
00000000000000000000000000000000
10 00 00 15                      ; application context item, 21 bytes
"1.2.840.10008.3.1.1.1"          ;   DICOM application context
20 00 00 2e                      ; presentation context item, 46 bytes
01 00 00 00                      ;   ID 1, reserved
30 00 00 11                      ;   abstract syntax sub-item, 17 bytes
"1.2.840.10008.1.1"              ;     Verification
40 00 00 11                      ;   transfer syntax sub-item, 17 bytes
"1.2.840.10008.1.2"              ;     Implicit VR Little Endian
20 00 00 55                      ; presentation context item, 85 bytes
03 00 00 00                      ;   ID 3
30 00 00 1c                      ;   abstract syntax, 28 bytes
"1.2.840.10008.5.1.4.1.1.3.1"    ;     Ultrasound Multi-frame Image,
00                               ;     padded with NUL as some senders do
40 00 00 16                      ;   transfer syntax, 22 bytes
"1.2.840.10008.1.2.4.50"         ;     JPEG Baseline
40 00 00 13                      ;   transfer syntax, 19 bytes
"1.2.840.10008.1.2.1"            ;     Explicit VR Little Endian
50 00 00 6c                      ; user information item, 108 bytes
51 00 00 04 00 00 40 00          ;   maximum length received 16384
52 00 00 07 "1.2.3.4"            ;   implementation class UID
53 00 00 04 00 05 00 01          ;   asynchronous operations window: 5 invoked, 1 performed
54 00 00 18                      ;   role selection, 24 bytes
00 14 "1.2.840.10008.1.20.1"     ;     20 bytes: Storage Commitment Push Model
01 00                            ;     SCU role yes, SCP role no
55 00 00 06 "CART_1"             ;   implementation version name
56 00 00 10                      ;   SOP class extended negotiation, 16 bytes
00 0b "1.2.840.1.2"              ;     11 bytes of SOP class UID
02 00 01                         ;     service class application information
58 00 00 13                      ;   user identity, 19 bytes
02 01                            ;     type 2, user name and passcode; response requested
00 05 "sonia"                    ;     primary field: user name
00 08 "geheim!!"                 ;     secondary field: passcode
`

func goldenRQ() *associatePDU {
	return &associatePDU{
		ProtocolVersion: 1, Called: aeField("ECHONODE"), Calling: aeField("CART1"),
		ApplicationContext: "1.2.840.10008.3.1.1.1",
		Contexts: []contextItem{
			{ID: 1, AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
			{ID: 3, AbstractSyntax: usmfClass, TransferSyntaxes: []string{jpegTS, uid.ExplicitVRLittleEndian}},
		},
		User: userInformation{
			MaxLength: 16384, ImplementationClassUID: "1.2.3.4", ImplementationVersion: "CART_1",
			Async:    &asyncWindow{5, 1},
			Roles:    []RoleSelection{{uid.StorageCommitmentPushModel, true, false}},
			Extended: []ExtendedNegotiation{{"1.2.840.1.2", []byte{2, 0, 1}}},
			Identity: &UserIdentity{Type: IdentityPasscode, ResponseRequested: true, Primary: []byte("sonia"), Secondary: []byte("geheim!!")},
		},
	}
}

func TestGoldenAssociateRQ(t *testing.T) {
	want := golden.Bytes(t, goldenAssociateRQ)
	got, err := parseAssociate(want[6:], false)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, goldenRQ()) {
		t.Errorf("decoded %+v", got)
	}
	// What is written has no NUL behind the UID, so that item and the lengths
	// above it are one less.
	unpadded := strings.NewReplacer("01 58 ", "01 57 ", "20 00 00 55 ", "20 00 00 54 ", "30 00 00 1c ", "30 00 00 1b ", "\n00  ", "\n").Replace(goldenAssociateRQ)
	enc, err := goldenRQ().append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := golden.Bytes(t, unpadded); !bytes.Equal(enc, want) {
		t.Errorf("encoded\n%x, want\n%x", enc, want)
	}
}

const goldenAssociateAC = `
02 00 00 00 00 da                ; A-ASSOCIATE-AC, 218 bytes follow
00 01 00 00                      ; protocol version 1
"ECHONODE        "               ; called AE title, as in the request
"CART1           "               ; calling AE title
00000000000000000000000000000000 ; reserved
00000000000000000000000000000000
10 00 00 15                      ; application context
"1.2.840.10008.3.1.1.1"
21 00 00 1e                      ; presentation context item, 30 bytes
01 00 00 00                      ;   ID 1, result 0: acceptance
40 00 00 16                      ;   transfer syntax
"1.2.840.10008.1.2.4.50"         ;     JPEG Baseline
21 00 00 19                      ; presentation context item, 25 bytes
03 00 04 00                      ;   ID 3, result 4: transfer syntaxes not supported
40 00 00 11                      ;   transfer syntax, not significant
"1.2.840.10008.1.2"
50 00 00 3a                      ; user information, 58 bytes
51 00 00 04 00 02 00 00          ;   maximum length 131072
52 00 00 07 "1.2.3.4"            ;   implementation class UID
53 00 00 04 00 01 00 01          ;   asynchronous operations window 1, 1
54 00 00 0b                      ;   role selection
00 07 "1.2.3.5"                  ;     SOP class
00 01                            ;     SCU role no, SCP role yes
55 00 00 02 "E1"                 ;   implementation version name
59 00 00 06                      ;   user identity response, 6 bytes
00 04 "pass"                     ;     server response
`

func TestGoldenAssociateAC(t *testing.T) {
	pdu := &associatePDU{
		AC: true, ProtocolVersion: 1, Called: aeField("ECHONODE"), Calling: aeField("CART1"),
		ApplicationContext: uid.DICOMApplicationContext,
		Contexts: []contextItem{
			{ID: 1, TransferSyntaxes: []string{jpegTS}},
			{ID: 3, Result: 4, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
		},
		User: userInformation{
			MaxLength: 131072, ImplementationClassUID: "1.2.3.4", ImplementationVersion: "E1",
			Async: &asyncWindow{1, 1}, Roles: []RoleSelection{{"1.2.3.5", false, true}},
			IdentityResponse: []byte("pass"),
		},
	}
	want := golden.Bytes(t, goldenAssociateAC)
	enc, err := pdu.append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(enc, want) {
		t.Errorf("encoded\n%x, want\n%x", enc, want)
	}
	got, err := parseAssociate(want[6:], true)
	if err != nil || !reflect.DeepEqual(got, pdu) {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

// TestGoldenTolerated has what must not disturb: an unknown item, an unknown
// sub-item, SOP class common extended negotiation, and no user information
// length limits.
func TestGoldenTolerated(t *testing.T) {
	b := golden.Bytes(t, `
00 01 00 00
"ECHONODE        " "CART1           "
00000000000000000000000000000000
00000000000000000000000000000000
10 00 00 15 "1.2.840.10008.3.1.1.1"
7f 00 00 03 010203               ; unknown item, 3 bytes
20 00 00 04 05 00 00 00          ; presentation context without syntaxes
50 00 00 2b                      ; user information, 43 bytes
57 00 00 17                      ;   SOP class common extended negotiation, 23 bytes
00 07 "1.2.3.4"                  ;     SOP class UID
00 07 "1.2.3.6"                  ;     service class UID
00 03 000000                     ;     related general SOP classes
5a 00 00 04 00000000             ;   unknown sub-item
51 00 00 04 00000000             ;   maximum length 0: unlimited
`)
	p, err := parseAssociate(b, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Contexts) != 1 || p.Contexts[0].ID != 5 || p.User.CommonExtended != 1 || p.User.MaxLength != 0 {
		t.Errorf("decoded %+v", p)
	}
}

func TestGoldenShortPDUs(t *testing.T) {
	for _, tc := range []struct {
		text string
		got  []byte
	}{
		{`03 00 00000004 00 01 01 07 ; A-ASSOCIATE-RJ: permanent, service-user, called AE title not recognized`,
			appendReject(nil, &RejectError{RejectPermanent, SourceUser, ReasonCalledAE})},
		{`03 00 00000004 00 02 03 02 ; A-ASSOCIATE-RJ: transient, presentation, local limit exceeded`,
			appendReject(nil, &RejectError{RejectTransient, SourcePresentation, ReasonLocalLimit})},
		{`05 00 00000004 00000000 ; A-RELEASE-RQ`, appendRelease(nil, pduReleaseRQ)},
		{`06 00 00000004 00000000 ; A-RELEASE-RP`, appendRelease(nil, pduReleaseRP)},
		{`07 00 00000004 00 00 02 06 ; A-ABORT: service-provider, invalid PDU parameter value`,
			appendAbort(nil, AbortByProvider, AbortInvalidParam)},
		{`04 00 0000000a ; P-DATA-TF of 10 bytes
		  00000006 ;   one PDV of 6 bytes
		  05 03    ;   presentation context 5; command, last fragment
		  01020304 ;   the fragment`,
			append(appendDataPDU(nil, 5, pdvCommand|pdvLast, 4), 1, 2, 3, 4)},
	} {
		if want := golden.Bytes(t, tc.text); !bytes.Equal(tc.got, want) {
			t.Errorf("%s\ngot %x", tc.text, tc.got)
		}
	}
}

// goldenCommands are whole command sets: Implicit VR Little Endian, (0000,xxxx).
var goldenCommands = []struct {
	name string
	text string
	cmd  command
}{
	{"C-ECHO-RQ", `
0000 0000 04000000 38000000            ; (0000,0000) group length 56
0000 0200 12000000 "1.2.840.10008.1.1" 00 ; (0000,0002) affected SOP class UID: Verification, padded to 18
0000 0001 02000000 3000                ; (0000,0100) command field 0030H C-ECHO-RQ
0000 1001 02000000 0700                ; (0000,0110) message ID 7
0000 0008 02000000 0101                ; (0000,0800) command data set type 0101H: none
`, command{Field: cmdEchoRQ, MessageID: 7, HasMessageID: true, DataSetType: noDataSet, AffectedSOPClass: uid.Verification}},
	{"C-STORE-RQ", `
0000 0000 04000000 5e000000            ; group length 94
0000 0200 08000000 "1.2.3.40"          ; affected SOP class UID
0000 0001 02000000 0100                ; command field 0001H C-STORE-RQ
0000 1001 02000000 0900                ; message ID 9
0000 0007 02000000 0200                ; (0000,0700) priority 2 low
0000 0008 02000000 0000                ; data set type 0000H: a data set follows
0000 0010 06000000 "1.2.50"            ; (0000,1000) affected SOP instance UID
0000 3010 06000000 "MOVER "            ; (0000,1030) move originator AE title, padded
0000 3110 02000000 0300                ; (0000,1031) move originator message ID 3
`, command{Field: cmdStoreRQ, MessageID: 9, HasMessageID: true, HasPriority: true, Priority: 2, AffectedSOPClass: "1.2.3.40",
		AffectedSOPInstance: "1.2.50", MoveOriginatorAE: "MOVER", MoveOriginatorID: 3, HasMoveOriginatorID: true}},
	{"C-STORE-RSP", `
0000 0000 04000000 58000000            ; group length 88
0000 0200 08000000 "1.2.3.40"          ; affected SOP class UID
0000 0001 02000000 0180                ; command field 8001H C-STORE-RSP
0000 2001 02000000 0900                ; (0000,0120) message ID being responded to 9
0000 0008 02000000 0101                ; no data set
0000 0009 02000000 00a7                ; (0000,0900) status A700H out of resources
0000 0209 0a000000 "disk full "        ; (0000,0902) error comment, padded with a space
0000 0010 06000000 "1.2.50"            ; affected SOP instance UID
`, command{Field: cmdStoreRQ | cmdResponse, RespondedTo: 9, DataSetType: noDataSet, Status: 0xA700, HasStatus: true,
		ErrorComment: "disk full", AffectedSOPClass: "1.2.3.40", AffectedSOPInstance: "1.2.50"}},
	{"N-ACTION-RQ", `
0000 0000 04000000 62000000               ; group length 98
0000 0300 14000000 "1.2.840.10008.1.20.1" ; (0000,0003) requested SOP class UID: storage commitment push model
0000 0001 02000000 3001                   ; command field 0130H N-ACTION-RQ
0000 1001 02000000 0100                   ; message ID 1
0000 0008 02000000 0100                   ; data set type 0001H: a data set follows
0000 0110 16000000 "1.2.840.10008.1.20.1.1" ; (0000,1001) requested SOP instance UID: the well-known instance
0000 0810 02000000 0100                   ; (0000,1008) action type ID 1: request storage commitment
`, command{Field: cmdActionRQ, MessageID: 1, HasMessageID: true, DataSetType: 1, RequestedSOPClass: uid.StorageCommitmentPushModel,
		RequestedSOPInstance: uid.StorageCommitmentPushModelInstance, ActionTypeID: 1, HasActionTypeID: true}},
	{"N-EVENT-REPORT-RQ", `
0000 0000 04000000 62000000               ; group length 98
0000 0200 14000000 "1.2.840.10008.1.20.1" ; affected SOP class UID
0000 0001 02000000 0001                   ; command field 0100H N-EVENT-REPORT-RQ
0000 1001 02000000 0300                   ; message ID 3
0000 0008 02000000 0100                   ; a data set follows
0000 0010 16000000 "1.2.840.10008.1.20.1.1" ; affected SOP instance UID
0000 0210 02000000 0200                   ; (0000,1002) event type ID 2: complete, failures exist
`, *eventReportCommand(3, &CommitResult{Failed: make([]FailedReference, 1)})},
	{"C-CANCEL-RQ", `
0000 0000 04000000 1e000000            ; group length 30
0000 0001 02000000 ff0f                ; command field 0FFFH C-CANCEL-RQ
0000 2001 02000000 0400                ; message ID being responded to 4
0000 0008 02000000 0101                ; no data set
`, command{Field: cmdCancelRQ, RespondedTo: 4, DataSetType: noDataSet}},
}

func TestGoldenCommands(t *testing.T) {
	for _, tc := range goldenCommands {
		want := golden.Bytes(t, tc.text)
		if got := tc.cmd.append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s encoded\n%x, want\n%x", tc.name, got, want)
		}
		got, err := parseCommand(want)
		if err != nil || !reflect.DeepEqual(got, &tc.cmd) {
			t.Errorf("%s decoded %+v, %v", tc.name, got, err)
		}
	}
}

// goldenReport is an N-EVENT-REPORT data set, Explicit VR Little Endian.
const goldenReport = `
0800 9511 "UI" 0600 "1.2.77"      ; (0008,1195) transaction UID
0800 9811 "SQ" 0000 2e000000      ; (0008,1198) failed SOP sequence, 46 bytes
feff 00e0 26000000                ;   item, 38 bytes
0800 5011 "UI" 0600 "1.2.3" 00    ;     (0008,1150) referenced SOP class UID
0800 5511 "UI" 0600 "1.2.52"      ;     (0008,1155) referenced SOP instance UID
0800 9711 "US" 0200 1201          ;     (0008,1197) failure reason 0112H no such object instance
0800 9911 "SQ" 0000 24000000      ; (0008,1199) referenced SOP sequence, 36 bytes
feff 00e0 1c000000                ;   item, 28 bytes
0800 5011 "UI" 0600 "1.2.3" 00
0800 5511 "UI" 0600 "1.2.51"
`

func TestGoldenCommitment(t *testing.T) {
	res := &CommitResult{
		TransactionUID: "1.2.77",
		Committed:      []Reference{{"1.2.3", "1.2.51"}},
		Failed:         []FailedReference{{Reference{"1.2.3", "1.2.52"}, FailureNoSuchInstance}},
	}
	want := golden.Bytes(t, goldenReport)
	if got := encodeCommitment(res, encoding.Syntax{}); !bytes.Equal(got, want) {
		t.Errorf("encoded\n%x, want\n%x", got, want)
	}
	for _, syntax := range []encoding.Syntax{{}, {Implicit: true}} {
		got, err := parseCommitment(encodeCommitment(res, syntax), syntax)
		if err != nil || !reflect.DeepEqual(got, res) {
			t.Errorf("%+v: %+v, %v", syntax, got, err)
		}
	}
	undefined := golden.Bytes(t, `
0800 9511 06000000 "1.2.77"        ; Implicit VR: transaction UID
0800 9911 ffffffff                 ; referenced SOP sequence of undefined length
feff 00e0 ffffffff                 ;   item of undefined length
0800 5011 06000000 "1.2.3" 00
0800 5511 06000000 "1.2.51"
0800 4011 ffffffff                 ;     a nested sequence that is skipped
feff 00e0 00000000
feff dde0 00000000
feff 0de0 00000000                 ;   item delimitation
feff dde0 00000000                 ; sequence delimitation
`)
	got, err := parseCommitment(undefined, encoding.Syntax{Implicit: true})
	if want := (&CommitResult{TransactionUID: "1.2.77", Committed: res.Committed}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("undefined lengths: %+v, %v", got, err)
	}
}

// capturedEchoscu is what DCMTK 3.6.7 sends: echoscu -aet CART -aec ECHONODE -pts 2.
const capturedEchoscu = `
01 00 000000e4                   ; A-ASSOCIATE-RQ, 228 bytes
00 01 00 00                      ; protocol version 1
"ECHONODE        "               ; called AE title
"CART            "               ; calling AE title
00000000000000000000000000000000 ; reserved
00000000000000000000000000000000
10 00 0015 "1.2.840.10008.3.1.1.1" ; application context
20 00 0045                       ; presentation context item, 69 bytes
01 00 ff 00                      ;   ID 1; the third byte is reserved and not zero
30 00 0011 "1.2.840.10008.1.1"   ;   abstract syntax: Verification
40 00 0011 "1.2.840.10008.1.2"   ;   transfer syntax: Implicit VR Little Endian
40 00 0013 "1.2.840.10008.1.2.1" ;   transfer syntax: Explicit VR Little Endian
50 00 003a                       ; user information, 58 bytes
51 00 0004 00004000              ;   maximum length 16384
52 00 001b "1.2.276.0.7230010.3.0.3.6.7" ; implementation class UID
55 00 000f "OFFIS_DCMTK_367"     ;   implementation version name
`

func TestCapturedEchoscu(t *testing.T) {
	p, err := parseAssociate(golden.Bytes(t, capturedEchoscu)[6:], false)
	if err != nil {
		t.Fatal(err)
	}
	want := []contextItem{{ID: 1, AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian}}}
	if aeString(p.Calling) != "CART" || !reflect.DeepEqual(p.Contexts, want) || p.User.ImplementationVersion != "OFFIS_DCMTK_367" {
		t.Errorf("decoded %+v", p)
	}
}

// An archive says more about a failed C-GET in elements of other groups, against
// PS3.7 6.3.1. In a request they are refused.
func TestForeignElementsOfAResponse(t *testing.T) {
	for field, whole := range map[string]bool{"1080": true, "1000": false} {
		b := golden.Bytes(t, "0000 0001 02000000 "+field+" 0000 1001 02000000 0100 0000 2001 02000000 0100 0000 0008 02000000 0101 "+
			"0000 0009 02000000 02a7 0800 0000 04000000 10000000 0800 5800 00000000")
		c, err := parseCommand(b)
		if (err == nil) != whole || whole && (c.Status != 0xA702 || c.RespondedTo != 1 || c.hasDataSet()) {
			t.Errorf("%s: %+v, %v", field, c, err)
		}
	}
}

package scp

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Statuses used by the package (PS3.7 annex C, PS3.4 B.2.3). Handlers may
// return any other value in a [StatusError].
const (
	StatusSuccess             uint16 = 0x0000
	StatusProcessingFailure   uint16 = 0x0110
	StatusDuplicateInstance   uint16 = 0x0111
	StatusNoSuchInstance      uint16 = 0x0112
	StatusInvalidArgument     uint16 = 0x0115
	StatusInvalidInstance     uint16 = 0x0117
	StatusNoSuchClass         uint16 = 0x0118
	StatusClassInstance       uint16 = 0x0119
	StatusSOPClassUnsupported uint16 = 0x0122
	StatusNoSuchAction        uint16 = 0x0123
	StatusNotAuthorized       uint16 = 0x0124
	StatusDuplicateInvocation uint16 = 0x0210
	StatusUnrecognizedOp      uint16 = 0x0211
	StatusMistypedArgument    uint16 = 0x0212
	StatusResourceLimitation  uint16 = 0x0213
	StatusOutOfResources      uint16 = 0xA700
	StatusDataSetMismatch     uint16 = 0xA900
	StatusCannotUnderstand    uint16 = 0xC000
	// StatusSyntaxUnsupported is a failure reason of DICOMweb (PS3.18 10.5.3), where
	// no transfer syntax is negotiated.
	StatusSyntaxUnsupported uint16 = 0xC122
)

// StatusClass sorts a status into the classes of PS3.7 annex C.
type StatusClass int

// Classes of a status.
const (
	ClassSuccess StatusClass = iota
	ClassWarning
	ClassFailure
	ClassCancel
	ClassPending
)

func (c StatusClass) String() string {
	switch c {
	case ClassSuccess:
		return "success"
	case ClassWarning:
		return "warning"
	case ClassCancel:
		return "cancel"
	case ClassPending:
		return "pending"
	}
	return "failure"
}

// ClassOf gives the class of a status: 0000H success; 0001H, 0107H, 0116H and
// Bxxx warnings; FE00H cancel; FF00H and FF01H pending; all else a failure.
func ClassOf(status uint16) StatusClass {
	switch {
	case status == StatusSuccess:
		return ClassSuccess
	case status == 0x0001, status == 0x0107, status == 0x0116, status&0xF000 == 0xB000:
		return ClassWarning
	case status == 0xFE00:
		return ClassCancel
	case status == 0xFF00, status == 0xFF01:
		return ClassPending
	}
	return ClassFailure
}

// StatusError carries a DIMSE status. A [Handler] returns one to choose the
// status of its response; the client returns one when the peer answered with a
// failure, with the peer's comment verbatim. A peer's comment is not part of
// the text of the error: it may hold anything, a patient's name or what moves a
// terminal's cursor. Show it with [Printable] to who asks for it.
type StatusError struct {
	Status  uint16
	Comment string // Error Comment (0000,0902); the server sends its first 64 characters, so no patient data here
	Err     error  // the cause; stays on this side

	peer bool // Comment is a peer's
}

// Printable is text of a peer that is safe to show: what is not printable, the
// marks that change the direction of text among it, is written as an escape.
func Printable(s string) string {
	clean := func(r rune) bool { return r != utf8.RuneError && (unicode.IsGraphic(r) || r == ' ') }
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if clean(r) {
			b.WriteString(s[:n])
		} else {
			for _, c := range []byte(s[:n]) {
				fmt.Fprintf(&b, "\\x%02x", c)
			}
		}
		s = s[n:]
	}
	return b.String()
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("dicom: status %04XH", e.Status)
	if e.Comment != "" && !e.peer {
		s += " (" + e.Comment + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *StatusError) Unwrap() error { return e.Err }

// Results, sources and reasons of A-ASSOCIATE-RJ (PS3.8 table 9-21).
const (
	RejectPermanent uint8 = 1
	RejectTransient uint8 = 2

	SourceUser         uint8 = 1 // DICOM UL service-user
	SourceACSE         uint8 = 2 // DICOM UL service-provider, ACSE
	SourcePresentation uint8 = 3 // DICOM UL service-provider, presentation

	ReasonNoReason           uint8 = 1 // with SourceUser and SourceACSE
	ReasonApplicationContext uint8 = 2 // with SourceUser
	ReasonCallingAE          uint8 = 3 // with SourceUser
	ReasonCalledAE           uint8 = 7 // with SourceUser
	ReasonProtocolVersion    uint8 = 2 // with SourceACSE
	ReasonCongestion         uint8 = 1 // with SourcePresentation
	ReasonLocalLimit         uint8 = 2 // with SourcePresentation
)

// RejectError is an A-ASSOCIATE-RJ: returned by a [Policy] to send one, and by
// [Dialer.Dial] when the peer sent one.
type RejectError struct {
	Result, Source, Reason uint8
}

func (e *RejectError) Error() string {
	result := "permanently"
	if e.Result == RejectTransient {
		result = "for now"
	}
	return fmt.Sprintf("dicom: association rejected %s: %s (result %d, source %d, reason %d)",
		result, e.ReasonText(), e.Result, e.Source, e.Reason)
}

// ReasonText names source and reason in the words of PS3.8 table 9-21.
func (e *RejectError) ReasonText() string {
	switch [2]uint8{e.Source, e.Reason} {
	case [2]uint8{1, 1}:
		return "no reason given"
	case [2]uint8{1, 2}:
		return "application context name not supported"
	case [2]uint8{1, 3}:
		return "calling AE title not recognized"
	case [2]uint8{1, 7}:
		return "called AE title not recognized"
	case [2]uint8{2, 1}:
		return "no reason given by the provider"
	case [2]uint8{2, 2}:
		return "protocol version not supported"
	case [2]uint8{3, 1}:
		return "temporary congestion"
	case [2]uint8{3, 2}:
		return "local limit exceeded"
	}
	return "unknown reason"
}

// Temporary reports whether the peer said that a later attempt may succeed.
func (e *RejectError) Temporary() bool { return e.Result == RejectTransient }

// Sources and reasons of A-ABORT (PS3.8 table 9-26).
const (
	AbortByUser     uint8 = 0
	AbortByProvider uint8 = 2

	AbortNotSpecified      uint8 = 0
	AbortUnrecognizedPDU   uint8 = 1
	AbortUnexpectedPDU     uint8 = 2
	AbortUnrecognizedParam uint8 = 4
	AbortUnexpectedParam   uint8 = 5
	AbortInvalidParam      uint8 = 6
)

// AbortError is an A-ABORT received from the peer.
type AbortError struct {
	Source, Reason uint8
}

func (e *AbortError) Error() string {
	who := "peer"
	if e.Source == AbortByProvider {
		who = "peer's upper layer"
	}
	return fmt.Sprintf("dicom: association aborted by the %s (source %d, reason %d)", who, e.Source, e.Reason)
}

// ProtocolError is a violation of the protocol by the peer. Reason is the
// A-ABORT reason with which the association ends.
type ProtocolError struct {
	Reason uint8
	Msg    string
}

func (e *ProtocolError) Error() string { return "dicom: protocol error: " + e.Msg }

func protocolErrorf(reason uint8, format string, args ...any) error {
	return &ProtocolError{Reason: reason, Msg: fmt.Sprintf(format, args...)}
}

// TimeoutError names the wait that ran out: "artim", "idle", "pdu", "rate",
// "write", "connect", "response", "release". It is a net.Error.
type TimeoutError struct {
	Phase string
}

func (e *TimeoutError) Error() string { return "dicom: " + e.Phase + " timeout" }

// Timeout is always true.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary is true: another attempt on a new association may succeed.
func (e *TimeoutError) Temporary() bool { return true }

// ContextError says that no accepted presentation context fits an object.
type ContextError struct {
	SOPClassUID, TransferSyntaxUID string
	Proposed                       bool  // the pair was proposed
	Result                         uint8 // the peer's answer to it: 1 user, 2 no reason, 3 abstract syntax, 4 transfer syntaxes
}

func (e *ContextError) Error() string {
	why := "was not proposed"
	if e.Proposed {
		switch e.Result {
		case 0:
			why = "was accepted in another transfer syntax"
		case 1:
			why = "was refused by the peer's user"
		case 3:
			why = "was refused: SOP class not supported"
		case 4:
			why = "was refused: transfer syntax not supported"
		default:
			why = fmt.Sprintf("was refused (result %d)", e.Result)
		}
	}
	return fmt.Sprintf("dicom: presentation context for SOP class %s in transfer syntax %s %s",
		e.SOPClassUID, e.TransferSyntaxUID, why)
}

var (
	// ErrServerClosed is returned by Serve after Shutdown or Close.
	ErrServerClosed = errors.New("scp: server closed")
	// ErrObjectTooLarge is what the reader of a data set returns at Limits.MaxObject.
	ErrObjectTooLarge = errors.New("scp: object over the size limit")
	// ErrClientClosed is returned by the methods of a client that was released, aborted or has failed.
	ErrClientClosed = errors.New("scp: association is over")
)

// errReleaseRequested and errReleaseReply are how the link reports A-RELEASE PDUs.
var (
	errReleaseRequested = errors.New("dicom: peer asks for release")
	errReleaseReply     = errors.New("dicom: peer confirms release")
	errKicked           = errors.New("scp: association ended from this side")
)

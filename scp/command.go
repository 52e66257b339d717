package scp

import (
	"encoding/binary"
	"strings"

	"github.com/echonode/echonode/dicomio/uid"
)

// Command fields (PS3.7 annex E.1). A response has bit 15 set.
const (
	cmdStoreRQ       uint16 = 0x0001
	cmdGetRQ         uint16 = 0x0010
	cmdFindRQ        uint16 = 0x0020
	cmdMoveRQ        uint16 = 0x0021
	cmdEchoRQ        uint16 = 0x0030
	cmdEventReportRQ uint16 = 0x0100
	cmdActionRQ      uint16 = 0x0130
	cmdCancelRQ      uint16 = 0x0FFF
	cmdResponse      uint16 = 0x8000
)

// noDataSet is the Command Data Set Type (0000,0800) of a message without a data set.
const noDataSet uint16 = 0x0101

// element numbers of group 0000.
const (
	elGroupLength          = 0x0000
	elAffectedSOPClass     = 0x0002
	elRequestedSOPClass    = 0x0003
	elCommandField         = 0x0100
	elMessageID            = 0x0110
	elMessageIDRespondedTo = 0x0120
	elMoveDestination      = 0x0600
	elPriority             = 0x0700
	elDataSetType          = 0x0800
	elStatus               = 0x0900
	elOffendingElement     = 0x0901
	elErrorComment         = 0x0902
	elErrorID              = 0x0903
	elAffectedSOPInstance  = 0x1000
	elRequestedSOPInstance = 0x1001
	elEventTypeID          = 0x1002
	elActionTypeID         = 0x1008
	elRemaining            = 0x1020
	elCompleted            = 0x1021
	elFailed               = 0x1022
	elWarning              = 0x1023
	elMoveOriginatorAE     = 0x1030
	elMoveOriginatorID     = 0x1031
)

// maxCommandElements bounds the elements of one command set; the standard
// defines fewer than thirty.
const maxCommandElements = 256

// command is a DIMSE command set. Fields a message does not have are zero;
// presence matters only where a Has field says so.
type command struct {
	Field                uint16
	MessageID            uint16
	HasMessageID         bool
	RespondedTo          uint16
	DataSetType          uint16
	Status               uint16
	HasStatus            bool
	ErrorComment         string
	AffectedSOPClass     string
	RequestedSOPClass    string
	AffectedSOPInstance  string
	RequestedSOPInstance string
	Priority             uint16
	HasPriority          bool
	EventTypeID          uint16
	HasEventTypeID       bool
	ActionTypeID         uint16
	HasActionTypeID      bool
	MoveOriginatorAE     string
	MoveOriginatorID     uint16
	HasMoveOriginatorID  bool
	MoveDestination      string
	Sub                  SubOperations // of C-GET and C-MOVE responses; never sent
}

func (c *command) hasDataSet() bool { return c.DataSetType != noDataSet }
func (c *command) isResponse() bool { return c.Field&cmdResponse != 0 }

// sopClass is the class a request is about: Affected for C-services and
// N-EVENT-REPORT, Requested for the other N-services.
func (c *command) sopClass() string {
	if c.AffectedSOPClass != "" {
		return c.AffectedSOPClass
	}
	return c.RequestedSOPClass
}

func (c *command) sopInstance() string {
	if c.AffectedSOPInstance != "" {
		return c.AffectedSOPInstance
	}
	return c.RequestedSOPInstance
}

// parseCommand decodes a command set: Implicit VR Little Endian, group 0000
// only, flat (PS3.7 6.3.1). Elements it has no use for are skipped; lengths
// are checked against what is there. Violations are *ProtocolError.
func parseCommand(b []byte) (*command, error) {
	c := &command{DataSetType: noDataSet}
	var haveField, haveType bool
	for n := 0; len(b) > 0; n++ {
		if n == maxCommandElements {
			return nil, protocolErrorf(AbortInvalidParam, "command set of more than %d elements", maxCommandElements)
		}
		if len(b) < 8 {
			return nil, protocolErrorf(AbortInvalidParam, "%d stray bytes at the end of a command set", len(b))
		}
		group, el := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		size := binary.LittleEndian.Uint32(b[4:])
		if group != 0 {
			return nil, protocolErrorf(AbortInvalidParam, "element (%04X,%04X) in a command set", group, el)
		}
		if uint64(size) > uint64(len(b)-8) {
			return nil, protocolErrorf(AbortInvalidParam, "command element (0000,%04X) announces %d bytes, %d are left", el, size, len(b)-8)
		}
		v := b[8 : 8+size]
		b = b[8+size:]
		us := func() (uint16, bool) {
			if len(v) < 2 {
				return 0, false
			}
			return binary.LittleEndian.Uint16(v), true
		}
		switch el {
		case elAffectedSOPClass:
			c.AffectedSOPClass = uid.Trim(v)
		case elRequestedSOPClass:
			c.RequestedSOPClass = uid.Trim(v)
		case elCommandField:
			c.Field, haveField = us()
		case elMessageID:
			c.MessageID, c.HasMessageID = us()
		case elMessageIDRespondedTo:
			c.RespondedTo, _ = us()
		case elPriority:
			c.Priority, c.HasPriority = us()
		case elDataSetType:
			c.DataSetType, haveType = us()
		case elStatus:
			c.Status, c.HasStatus = us()
		case elErrorComment:
			c.ErrorComment = uid.Trim(v)
		case elAffectedSOPInstance:
			c.AffectedSOPInstance = uid.Trim(v)
		case elRequestedSOPInstance:
			c.RequestedSOPInstance = uid.Trim(v)
		case elEventTypeID:
			c.EventTypeID, c.HasEventTypeID = us()
		case elActionTypeID:
			c.ActionTypeID, c.HasActionTypeID = us()
		case elMoveDestination:
			c.MoveDestination = strings.Trim(string(v), " \x00")
		case elRemaining:
			c.Sub.Remaining, _ = us()
		case elCompleted:
			c.Sub.Completed, _ = us()
		case elFailed:
			c.Sub.Failed, _ = us()
		case elWarning:
			c.Sub.Warnings, _ = us()
		case elMoveOriginatorAE:
			c.MoveOriginatorAE = strings.Trim(string(v), " \x00")
		case elMoveOriginatorID:
			c.MoveOriginatorID, c.HasMoveOriginatorID = us()
		}
	}
	if !haveField || !haveType {
		return nil, protocolErrorf(AbortInvalidParam, "command set without Command Field or Command Data Set Type")
	}
	if !c.isResponse() && !c.HasMessageID && c.Field != cmdCancelRQ {
		return nil, protocolErrorf(AbortInvalidParam, "request without Message ID")
	}
	return c, nil
}

// append encodes the command set with its group length.
func (c *command) append(b []byte) []byte {
	start := len(b)
	b = appendElementUL(b, elGroupLength, 0)
	b = appendElementString(b, elAffectedSOPClass, c.AffectedSOPClass, 0)
	b = appendElementString(b, elRequestedSOPClass, c.RequestedSOPClass, 0)
	b = appendElementUS(b, elCommandField, c.Field)
	if c.HasMessageID {
		b = appendElementUS(b, elMessageID, c.MessageID)
	}
	if c.isResponse() || c.Field == cmdCancelRQ {
		b = appendElementUS(b, elMessageIDRespondedTo, c.RespondedTo)
	}
	b = appendElementString(b, elMoveDestination, c.MoveDestination, ' ')
	if c.HasPriority {
		b = appendElementUS(b, elPriority, c.Priority)
	}
	b = appendElementUS(b, elDataSetType, c.DataSetType)
	if c.HasStatus {
		b = appendElementUS(b, elStatus, c.Status)
	}
	b = appendElementString(b, elErrorComment, c.ErrorComment, ' ')
	b = appendElementString(b, elAffectedSOPInstance, c.AffectedSOPInstance, 0)
	b = appendElementString(b, elRequestedSOPInstance, c.RequestedSOPInstance, 0)
	if c.HasEventTypeID {
		b = appendElementUS(b, elEventTypeID, c.EventTypeID)
	}
	if c.HasActionTypeID {
		b = appendElementUS(b, elActionTypeID, c.ActionTypeID)
	}
	b = appendElementString(b, elMoveOriginatorAE, c.MoveOriginatorAE, ' ')
	if c.HasMoveOriginatorID {
		b = appendElementUS(b, elMoveOriginatorID, c.MoveOriginatorID)
	}
	binary.LittleEndian.PutUint32(b[start+8:], uint32(len(b)-start-12))
	return b
}

func appendElementHeader(b []byte, el uint16, n int) []byte {
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, el)
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}

func appendElementUS(b []byte, el, v uint16) []byte {
	return binary.LittleEndian.AppendUint16(appendElementHeader(b, el, 2), v)
}

func appendElementUL(b []byte, el uint16, v uint32) []byte {
	return binary.LittleEndian.AppendUint32(appendElementHeader(b, el, 4), v)
}

// appendElementString leaves out empty values and pads to an even length.
func appendElementString(b []byte, el uint16, s string, pad byte) []byte {
	if s == "" {
		return b
	}
	b = appendElementHeader(b, el, len(s)+len(s)%2)
	b = append(b, s...)
	if len(s)%2 == 1 {
		b = append(b, pad)
	}
	return b
}

// commentLO makes a comment fit an LO value: 64 printable ASCII characters
// without backslash.
func commentLO(s string) string {
	var out strings.Builder
	for _, r := range s {
		if out.Len() == 64 {
			break
		}
		if r < ' ' || r > '~' || r == '\\' {
			r = '?'
		}
		out.WriteRune(r)
	}
	return strings.TrimSpace(out.String())
}

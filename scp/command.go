package scp

import (
	"encoding/binary"
	"strings"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
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

// commandSyntax is how every command set is encoded (PS3.7 6.3.1).
var commandSyntax = encoding.Syntax{Implicit: true}

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
// only, flat (PS3.7 6.3.1). Elements it has no use for are skipped, in responses
// also those of other groups, with which archives say more about a failure; lengths
// are checked against what is there. Violations are *ProtocolError.
func parseCommand(b []byte) (*command, error) {
	c := &command{DataSetType: noDataSet}
	var haveField, haveType bool
	var foreign tag.Tag
	n := 0
	for e, err := range commandSyntax.Elements(b) {
		if err != nil {
			return nil, protocolErrorf(AbortInvalidParam, "command set: %v", err)
		}
		if n++; n > maxCommandElements {
			return nil, protocolErrorf(AbortInvalidParam, "command set of more than %d elements", maxCommandElements)
		}
		if e.Tag.Group() != 0 {
			foreign = e.Tag
			continue
		}
		v := e.Value
		us := func() (uint16, bool) {
			if len(v) < 2 {
				return 0, false
			}
			return binary.LittleEndian.Uint16(v), true
		}
		switch e.Tag {
		case tag.AffectedSOPClassUID:
			c.AffectedSOPClass = uid.Trim(v)
		case tag.RequestedSOPClassUID:
			c.RequestedSOPClass = uid.Trim(v)
		case tag.CommandField:
			c.Field, haveField = us()
		case tag.MessageID:
			c.MessageID, c.HasMessageID = us()
		case tag.MessageIDBeingRespondedTo:
			c.RespondedTo, _ = us()
		case tag.Priority:
			c.Priority, c.HasPriority = us()
		case tag.CommandDataSetType:
			c.DataSetType, haveType = us()
		case tag.Status:
			c.Status, c.HasStatus = us()
		case tag.ErrorComment:
			c.ErrorComment = uid.Trim(v)
		case tag.AffectedSOPInstanceUID:
			c.AffectedSOPInstance = uid.Trim(v)
		case tag.RequestedSOPInstanceUID:
			c.RequestedSOPInstance = uid.Trim(v)
		case tag.EventTypeID:
			c.EventTypeID, c.HasEventTypeID = us()
		case tag.ActionTypeID:
			c.ActionTypeID, c.HasActionTypeID = us()
		case tag.MoveDestination:
			c.MoveDestination = strings.Trim(string(v), " \x00")
		case tag.NumberOfRemainingSuboperations:
			c.Sub.Remaining, _ = us()
		case tag.NumberOfCompletedSuboperations:
			c.Sub.Completed, _ = us()
		case tag.NumberOfFailedSuboperations:
			c.Sub.Failed, _ = us()
		case tag.NumberOfWarningSuboperations:
			c.Sub.Warnings, _ = us()
		case tag.MoveOriginatorApplicationEntityTitle:
			c.MoveOriginatorAE = strings.Trim(string(v), " \x00")
		case tag.MoveOriginatorMessageID:
			c.MoveOriginatorID, c.HasMoveOriginatorID = us()
		}
	}
	if !haveField || !haveType {
		return nil, protocolErrorf(AbortInvalidParam, "command set without Command Field or Command Data Set Type")
	}
	if foreign != 0 && !c.isResponse() {
		return nil, protocolErrorf(AbortInvalidParam, "element %v in the command set of a request", foreign)
	}
	if !c.isResponse() && !c.HasMessageID && c.Field != cmdCancelRQ {
		return nil, protocolErrorf(AbortInvalidParam, "request without Message ID")
	}
	return c, nil
}

// append encodes the command set with its group length.
func (c *command) append(b []byte) []byte {
	start := len(b)
	b = commandSyntax.AppendUint32(b, tag.CommandGroupLength, 0)
	b = appendNonempty(b, tag.AffectedSOPClassUID, "UI", c.AffectedSOPClass)
	b = appendNonempty(b, tag.RequestedSOPClassUID, "UI", c.RequestedSOPClass)
	b = commandSyntax.AppendUint16(b, tag.CommandField, c.Field)
	if c.HasMessageID {
		b = commandSyntax.AppendUint16(b, tag.MessageID, c.MessageID)
	}
	if c.isResponse() || c.Field == cmdCancelRQ {
		b = commandSyntax.AppendUint16(b, tag.MessageIDBeingRespondedTo, c.RespondedTo)
	}
	b = appendNonempty(b, tag.MoveDestination, "AE", c.MoveDestination)
	if c.HasPriority {
		b = commandSyntax.AppendUint16(b, tag.Priority, c.Priority)
	}
	b = commandSyntax.AppendUint16(b, tag.CommandDataSetType, c.DataSetType)
	if c.HasStatus {
		b = commandSyntax.AppendUint16(b, tag.Status, c.Status)
	}
	b = appendNonempty(b, tag.ErrorComment, "LO", c.ErrorComment)
	b = appendNonempty(b, tag.AffectedSOPInstanceUID, "UI", c.AffectedSOPInstance)
	b = appendNonempty(b, tag.RequestedSOPInstanceUID, "UI", c.RequestedSOPInstance)
	if c.HasEventTypeID {
		b = commandSyntax.AppendUint16(b, tag.EventTypeID, c.EventTypeID)
	}
	if c.HasActionTypeID {
		b = commandSyntax.AppendUint16(b, tag.ActionTypeID, c.ActionTypeID)
	}
	b = appendNonempty(b, tag.MoveOriginatorApplicationEntityTitle, "AE", c.MoveOriginatorAE)
	if c.HasMoveOriginatorID {
		b = commandSyntax.AppendUint16(b, tag.MoveOriginatorMessageID, c.MoveOriginatorID)
	}
	commandSyntax.PutLength(b[start+8:], uint32(len(b)-start-12))
	return b
}

// appendNonempty leaves out empty values.
func appendNonempty(b []byte, t tag.Tag, vr, s string) []byte {
	if s == "" {
		return b
	}
	return commandSyntax.AppendString(b, t, vr, s)
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

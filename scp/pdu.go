package scp

import (
	"encoding/binary"
	"fmt"

	"github.com/echonode/echonode/dicomio/uid"
)

// PDU types (PS3.8 9.3.1).
const (
	pduAssociateRQ byte = 0x01
	pduAssociateAC byte = 0x02
	pduAssociateRJ byte = 0x03
	pduData        byte = 0x04
	pduReleaseRQ   byte = 0x05
	pduReleaseRP   byte = 0x06
	pduAbort       byte = 0x07
)

// Item types of A-ASSOCIATE (PS3.8 9.3.2, PS3.7 annex D.3.3).
const (
	itemApplicationContext     byte = 0x10
	itemPresentationContextRQ  byte = 0x20
	itemPresentationContextAC  byte = 0x21
	itemAbstractSyntax         byte = 0x30
	itemTransferSyntax         byte = 0x40
	itemUserInformation        byte = 0x50
	itemMaximumLength          byte = 0x51
	itemImplementationClassUID byte = 0x52
	itemAsynchronousOperations byte = 0x53
	itemRoleSelection          byte = 0x54
	itemImplementationVersion  byte = 0x55
	itemExtendedNegotiation    byte = 0x56
	itemCommonExtended         byte = 0x57
	itemUserIdentityRQ         byte = 0x58
	itemUserIdentityAC         byte = 0x59
)

// Counts that bound what is kept of one A-ASSOCIATE PDU, whatever its length.
const (
	maxContexts         = 128 // odd IDs 1 to 255
	maxTransferSyntaxes = 256 // of one presentation context
	maxUserItems        = 512 // role selections and extended negotiations
)

// Presentation context results (PS3.8 table 9-18).
const (
	contextAccepted                  byte = 0
	contextUserRejection             byte = 1
	contextNoReason                  byte = 2
	contextAbstractSyntaxUnsupported byte = 3
	contextTransferSyntaxUnsupported byte = 4
	pdvCommand                       byte = 0x01 // message control header: command fragment
	pdvLast                          byte = 0x02 // message control header: last fragment
	pduHeaderLen                          = 6    // type, reserved, length
	pdvHeaderLen                          = 6    // length, context ID, message control header
	minPeerPDU                            = 8    // room for one PDV header and two bytes
	associateFixedLen                     = 68   // version, reserved, two AE titles, reserved
)

// associatePDU is an A-ASSOCIATE-RQ or, with AC set, an A-ASSOCIATE-AC.
type associatePDU struct {
	AC                 bool
	ProtocolVersion    uint16 // bit 0: version 1
	Called, Calling    [16]byte
	Reserved           [32]byte // an AC repeats what the RQ held
	ApplicationContext string
	Contexts           []contextItem
	User               userInformation
}

// contextItem is a presentation context item: abstract syntax and proposed
// transfer syntaxes in an RQ, result and one transfer syntax in an AC.
type contextItem struct {
	ID               byte
	Result           byte
	AbstractSyntax   string
	TransferSyntaxes []string
}

// userInformation is the user information item (50H) with its sub-items.
type userInformation struct {
	MaxLength              uint32 // 51H; 0 is unlimited
	ImplementationClassUID string // 52H
	ImplementationVersion  string // 55H
	Async                  *asyncWindow
	Roles                  []RoleSelection
	Extended               []ExtendedNegotiation
	CommonExtended         int           // 57H items seen; they are tolerated and not kept
	Identity               *UserIdentity // 58H, in an RQ
	IdentityResponse       []byte        // 59H, in an AC; not nil when present
}

// asyncWindow is the asynchronous operations window (53H); 0 is unlimited.
type asyncWindow struct{ Invoked, Performed uint16 }

// RoleSelection says which roles the association requestor takes for a SOP
// class (PS3.7 D.3.3.4).
type RoleSelection struct {
	SOPClassUID string
	SCU, SCP    bool
}

// ExtendedNegotiation is service class application information for a SOP class
// (PS3.7 D.3.3.5).
type ExtendedNegotiation struct {
	SOPClassUID string
	Info        []byte
}

// Kinds of UserIdentity (PS3.7 D.3.3.7).
const (
	IdentityUsername byte = 1
	IdentityPasscode byte = 2 // user name and passcode
	IdentityKerberos byte = 3
	IdentitySAML     byte = 4
	IdentityJWT      byte = 5
)

// UserIdentity is what a requestor says about its user. The fields are secrets:
// they are never logged.
type UserIdentity struct {
	Type              byte
	ResponseRequested bool
	Primary           []byte // user name, ticket, assertion or token
	Secondary         []byte // passcode, with IdentityPasscode only
}

// aeField pads an AE title with spaces to the 16 bytes of the PDU.
func aeField(s string) (f [16]byte) {
	n := copy(f[:], s)
	for ; n < len(f); n++ {
		f[n] = ' '
	}
	return f
}

// aeString is the significant part of an AE title field: leading and trailing
// spaces are not significant (PS3.5 6.2, AE).
func aeString(f [16]byte) string {
	b := f[:]
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == 0) {
		b = b[:len(b)-1]
	}
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return string(b)
}

// appendItem appends an item whose body is written by fill, and sets its length.
func appendItem(b []byte, typ byte, fill func([]byte) []byte) []byte {
	b = append(b, typ, 0, 0, 0)
	start := len(b)
	b = fill(b)
	binary.BigEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	return b
}

func appendStringItem(b []byte, typ byte, s string) []byte {
	return appendItem(b, typ, func(b []byte) []byte { return append(b, s...) })
}

func appendUID16(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// append encodes the PDU with its header.
func (p *associatePDU) append(b []byte) ([]byte, error) {
	typ, ctxItem := pduAssociateRQ, itemPresentationContextRQ
	if p.AC {
		typ, ctxItem = pduAssociateAC, itemPresentationContextAC
	}
	start := len(b)
	b = append(b, typ, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, p.ProtocolVersion)
	b = append(b, 0, 0)
	b = append(b, p.Called[:]...)
	b = append(b, p.Calling[:]...)
	b = append(b, p.Reserved[:]...)
	b = appendStringItem(b, itemApplicationContext, p.ApplicationContext)
	for _, c := range p.Contexts {
		size := 0
		for _, ts := range c.TransferSyntaxes {
			size += 4 + len(ts)
		}
		if 8+len(c.AbstractSyntax)+size > 0xFFFF {
			return nil, fmt.Errorf("scp: presentation context %d does not fit its item", c.ID)
		}
		b = appendItem(b, ctxItem, func(b []byte) []byte {
			b = append(b, c.ID, 0, c.Result, 0)
			if !p.AC {
				b = appendStringItem(b, itemAbstractSyntax, c.AbstractSyntax)
			}
			for _, ts := range c.TransferSyntaxes {
				b = appendStringItem(b, itemTransferSyntax, ts)
			}
			return b
		})
	}
	userStart := len(b)
	b = appendItem(b, itemUserInformation, func(b []byte) []byte { return p.User.append(b) })
	if len(b)-userStart-4 > 0xFFFF {
		return nil, fmt.Errorf("scp: user information of %d bytes does not fit its item", len(b)-userStart-4)
	}
	binary.BigEndian.PutUint32(b[start+2:], uint32(len(b)-start-pduHeaderLen))
	return b, nil
}

func (u *userInformation) append(b []byte) []byte {
	b = appendItem(b, itemMaximumLength, func(b []byte) []byte {
		return binary.BigEndian.AppendUint32(b, u.MaxLength)
	})
	if u.ImplementationClassUID != "" {
		b = appendStringItem(b, itemImplementationClassUID, u.ImplementationClassUID)
	}
	if u.Async != nil {
		b = appendItem(b, itemAsynchronousOperations, func(b []byte) []byte {
			b = binary.BigEndian.AppendUint16(b, u.Async.Invoked)
			return binary.BigEndian.AppendUint16(b, u.Async.Performed)
		})
	}
	for _, r := range u.Roles {
		b = appendItem(b, itemRoleSelection, func(b []byte) []byte {
			return append(appendUID16(b, r.SOPClassUID), bit(r.SCU), bit(r.SCP))
		})
	}
	if u.ImplementationVersion != "" {
		b = appendStringItem(b, itemImplementationVersion, u.ImplementationVersion)
	}
	for _, e := range u.Extended {
		b = appendItem(b, itemExtendedNegotiation, func(b []byte) []byte {
			return append(appendUID16(b, e.SOPClassUID), e.Info...)
		})
	}
	if id := u.Identity; id != nil {
		b = appendItem(b, itemUserIdentityRQ, func(b []byte) []byte {
			b = append(b, id.Type, bit(id.ResponseRequested))
			b = binary.BigEndian.AppendUint16(b, uint16(len(id.Primary)))
			b = append(b, id.Primary...)
			b = binary.BigEndian.AppendUint16(b, uint16(len(id.Secondary)))
			return append(b, id.Secondary...)
		})
	}
	if u.IdentityResponse != nil {
		b = appendItem(b, itemUserIdentityAC, func(b []byte) []byte {
			b = binary.BigEndian.AppendUint16(b, uint16(len(u.IdentityResponse)))
			return append(b, u.IdentityResponse...)
		})
	}
	return b
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// nextItem cuts the first item off b. Item lengths are two bytes, so no item
// exceeds 64 KiB; a length beyond b is an error.
func nextItem(b []byte) (typ byte, body, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, nil, protocolErrorf(AbortInvalidParam, "%d stray bytes where an item should start", len(b))
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n > len(b)-4 {
		return 0, nil, nil, protocolErrorf(AbortInvalidParam, "item %02XH announces %d bytes, %d are left", b[0], n, len(b)-4)
	}
	return b[0], b[4 : 4+n], b[4+n:], nil
}

// parseAssociate decodes the body (without the six header bytes) of an
// A-ASSOCIATE-RQ or, with ac, of an A-ASSOCIATE-AC. Unknown items are skipped,
// as PS3.8 9.3.1 asks. Violations are *ProtocolError.
func parseAssociate(body []byte, ac bool) (*associatePDU, error) {
	if len(body) < associateFixedLen {
		return nil, protocolErrorf(AbortInvalidParam, "A-ASSOCIATE PDU of %d bytes, need %d", len(body), associateFixedLen)
	}
	p := &associatePDU{AC: ac, ProtocolVersion: binary.BigEndian.Uint16(body)}
	copy(p.Called[:], body[4:20])
	copy(p.Calling[:], body[20:36])
	copy(p.Reserved[:], body[36:68])
	ctxItem := itemPresentationContextRQ
	if ac {
		ctxItem = itemPresentationContextAC
	}
	var seen [256]bool
	rest := body[associateFixedLen:]
	for len(rest) > 0 {
		typ, item, more, err := nextItem(rest)
		if err != nil {
			return nil, err
		}
		rest = more
		switch typ {
		case itemApplicationContext:
			p.ApplicationContext = uid.Trim(item)
		case ctxItem:
			c, err := parseContext(item, ac)
			if err != nil {
				return nil, err
			}
			if c.ID%2 == 0 || seen[c.ID] {
				return nil, protocolErrorf(AbortInvalidParam, "presentation context ID %d is even or repeated", c.ID)
			}
			seen[c.ID] = true
			p.Contexts = append(p.Contexts, c)
		case itemUserInformation:
			if err := p.User.parse(item); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

func parseContext(item []byte, ac bool) (c contextItem, err error) {
	if len(item) < 4 {
		return c, protocolErrorf(AbortInvalidParam, "presentation context item of %d bytes, need 4", len(item))
	}
	c.ID = item[0]
	if ac {
		c.Result = item[2]
	}
	rest := item[4:]
	for len(rest) > 0 {
		typ, sub, more, err := nextItem(rest)
		if err != nil {
			return c, err
		}
		rest = more
		switch {
		case typ == itemAbstractSyntax && !ac:
			c.AbstractSyntax = uid.Trim(sub)
		case typ == itemTransferSyntax:
			if len(c.TransferSyntaxes) == maxTransferSyntaxes {
				return c, protocolErrorf(AbortInvalidParam, "presentation context %d has more than %d transfer syntaxes", c.ID, maxTransferSyntaxes)
			}
			c.TransferSyntaxes = append(c.TransferSyntaxes, uid.Trim(sub))
		}
	}
	return c, nil
}

// take cuts n bytes off b.
func take(b []byte, n int) (head, rest []byte, ok bool) {
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// take16 cuts a field with a two-byte length off b.
func take16(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	return take(b[2:], int(binary.BigEndian.Uint16(b)))
}

func (u *userInformation) parse(item []byte) error {
	for count := 0; len(item) > 0; count++ {
		typ, sub, more, err := nextItem(item)
		if err != nil {
			return err
		}
		if count == maxUserItems {
			return protocolErrorf(AbortInvalidParam, "more than %d user information sub-items", maxUserItems)
		}
		item = more
		ok := true
		switch typ {
		case itemMaximumLength:
			if ok = len(sub) >= 4; ok {
				u.MaxLength = binary.BigEndian.Uint32(sub)
			}
		case itemImplementationClassUID:
			u.ImplementationClassUID = uid.Trim(sub)
		case itemImplementationVersion:
			u.ImplementationVersion = uid.Trim(sub)
		case itemAsynchronousOperations:
			if ok = len(sub) >= 4; ok {
				u.Async = &asyncWindow{binary.BigEndian.Uint16(sub), binary.BigEndian.Uint16(sub[2:])}
			}
		case itemRoleSelection:
			var class, roles []byte
			if class, roles, ok = take16(sub); ok {
				if ok = len(roles) >= 2; ok {
					u.Roles = append(u.Roles, RoleSelection{uid.Trim(class), roles[0] == 1, roles[1] == 1})
				}
			}
		case itemExtendedNegotiation:
			var class, info []byte
			if class, info, ok = take16(sub); ok {
				u.Extended = append(u.Extended, ExtendedNegotiation{uid.Trim(class), append([]byte{}, info...)})
			}
		case itemCommonExtended:
			u.CommonExtended++
		case itemUserIdentityRQ:
			u.Identity, ok = parseIdentity(sub)
		case itemUserIdentityAC:
			var resp []byte
			if resp, _, ok = take16(sub); ok {
				u.IdentityResponse = append([]byte{}, resp...)
			}
		}
		if !ok {
			return protocolErrorf(AbortInvalidParam, "user information sub-item %02XH of %d bytes is malformed", typ, len(sub))
		}
	}
	return nil
}

func parseIdentity(sub []byte) (*UserIdentity, bool) {
	head, rest, ok := take(sub, 2)
	if !ok {
		return nil, false
	}
	primary, rest, ok := take16(rest)
	if !ok {
		return nil, false
	}
	secondary, _, ok := take16(rest)
	if !ok {
		return nil, false
	}
	return &UserIdentity{
		Type:              head[0],
		ResponseRequested: head[1] == 1,
		Primary:           append([]byte{}, primary...),
		Secondary:         append([]byte{}, secondary...),
	}, true
}

// appendReject encodes an A-ASSOCIATE-RJ.
func appendReject(b []byte, e *RejectError) []byte {
	return append(b, pduAssociateRJ, 0, 0, 0, 0, 4, 0, e.Result, e.Source, e.Reason)
}

// appendRelease encodes an A-RELEASE-RQ or A-RELEASE-RP.
func appendRelease(b []byte, typ byte) []byte {
	return append(b, typ, 0, 0, 0, 0, 4, 0, 0, 0, 0)
}

// appendAbort encodes an A-ABORT.
func appendAbort(b []byte, source, reason uint8) []byte {
	return append(b, pduAbort, 0, 0, 0, 0, 4, 0, 0, source, reason)
}

// appendDataPDU encodes a P-DATA-TF header and PDV header for n bytes that
// follow.
func appendDataPDU(b []byte, contextID, control byte, n int) []byte {
	b = append(b, pduData, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(n+pdvHeaderLen))
	b = binary.BigEndian.AppendUint32(b, uint32(n+2))
	return append(b, contextID, control)
}

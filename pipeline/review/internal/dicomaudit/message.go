// Package dicomaudit makes DICOM audit messages (PS3.15 A.5) and sends them to a
// collector by syslog over TLS (RFC 5424 in the frames of RFC 5425, PS3.15 A.6).
package dicomaudit

import (
	"encoding/xml"
	"strings"
	"time"
	"unicode"
)

// Code is a coded value (PS3.15 A.5.1, CodedValueType).
type Code struct {
	Value   string `xml:"csd-code,attr"`
	System  string `xml:"codeSystemName,attr"`
	Meaning string `xml:"originalText,attr"`
}

// dcm is a code of PS3.16 annex D, rfc3881 one of RFC 3881 as PS3.15 table
// A.5.1.2.4 has it.
func dcm(value, meaning string) Code     { return Code{value, "DCM", meaning} }
func rfc3881(value, meaning string) Code { return Code{value, "RFC-3881", meaning} }

// Events that a message can be about (PS3.16 CID 400) and their types (CID 401).
var (
	applicationActivity = dcm("110100", "Application Activity")
	auditLogUsed        = dcm("110101", "Audit Log Used")
	beginTransferring   = dcm("110102", "Begin Transferring DICOM Instances")
	instancesAccessed   = dcm("110103", "DICOM Instances Accessed")
	studyDeleted        = dcm("110105", "DICOM Study Deleted")
	export              = dcm("110106", "Export")
	query               = dcm("110112", "Query")
	securityAlert       = dcm("110113", "Security Alert")
	userAuthentication  = dcm("110114", "User Authentication")

	applicationStart = dcm("110120", "Application Start")
	applicationStop  = dcm("110121", "Application Stop")
	login            = dcm("110122", "Login")
	logout           = dcm("110123", "Logout")
	restricted       = dcm("110127", "Use of Restricted Function")

	roleApplication = dcm("110150", "Application")
	studyUID        = dcm("110180", "Study Instance UID")
	patientNumber   = rfc3881("2", "Patient Number")
	searchCriteria  = rfc3881("10", "Search Criteria")
	address         = rfc3881("12", "URI")
)

// Event is something that somebody did, to be told.
type Event struct {
	At      time.Time
	User    string // account; "" where that is not known
	Address string // IP address of the browser, or ""
	// Action is as package review's trail has it.
	Action string
	Detail string
	Study  string // UID, or ""
	// Patient is the Patient ID of the study, "" where that is not known.
	Patient string
	Failed  bool
}

// message is an AuditMessage. The order of the elements is the schema's.
type message struct {
	XMLName      xml.Name      `xml:"AuditMessage"`
	Event        identified    `xml:"EventIdentification"`
	Participants []participant `xml:"ActiveParticipant"`
	Source       source        `xml:"AuditSourceIdentification"`
	Objects      []object      `xml:"ParticipantObjectIdentification"`
}

type identified struct {
	Action   string `xml:"EventActionCode,attr"`
	DateTime string `xml:"EventDateTime,attr"`
	Outcome  int    `xml:"EventOutcomeIndicator,attr"` // 0 success, 4 minor failure
	ID       Code   `xml:"EventID"`
	Types    []Code `xml:"EventTypeCode"`
	Words    string `xml:"EventOutcomeDescription,omitempty"`
}

type participant struct {
	UserID      string `xml:"UserID,attr"`
	Requestor   bool   `xml:"UserIsRequestor,attr"`
	AccessPoint string `xml:"NetworkAccessPointID,attr,omitempty"`
	AccessType  string `xml:"NetworkAccessPointTypeCode,attr,omitempty"` // 2: IP address
	Roles       []Code `xml:"RoleIDCode"`
}

type source struct {
	ID   string `xml:"AuditSourceID,attr"`
	Type struct {
		Value string `xml:"csd-code,attr"`
	} `xml:"AuditSourceTypeCode"`
}

type object struct {
	ID     string `xml:"ParticipantObjectID,attr"`
	Type   int    `xml:"ParticipantObjectTypeCode,attr"`     // 1 person, 2 system object
	Role   int    `xml:"ParticipantObjectTypeCodeRole,attr"` // 1 patient, 3 report, 24 query
	IDType Code   `xml:"ParticipantObjectIDTypeCode"`
	Name   string `xml:"ParticipantObjectName,omitempty"`
	// Query holds base64, as xsd:base64Binary wants it.
	Query string `xml:"ParticipantObjectQuery,omitempty"`
}

// kind is what a message says of an action.
type kind struct {
	event  Code
	types  []Code
	action string // C create, R read, U update, D delete, E execute
}

// Actions of the trail.
var kinds = map[string]kind{
	"application start":        {applicationActivity, []Code{applicationStart}, "E"},
	"application stop":         {applicationActivity, []Code{applicationStop}, "E"},
	"sign-in":                  {userAuthentication, []Code{login}, "E"},
	"sign-out":                 {userAuthentication, []Code{logout}, "E"},
	"worklist":                 {query, nil, "E"},
	"operations":               {query, nil, "E"},
	"audit trail":              {auditLogUsed, nil, "R"},
	"study opened":             {instancesAccessed, nil, "R"},
	"loop opened":              {instancesAccessed, nil, "R"},
	"sign":                     {instancesAccessed, nil, "U"},
	"reanalyse":                {instancesAccessed, nil, "U"},
	"moved to another patient": {instancesAccessed, nil, "U"},
	"retry":                    {beginTransferring, nil, "E"},
	"remove":                   {studyDeleted, nil, "D"},
	"values exported":          {export, nil, "R"},
	"summary exported":         {export, nil, "R"},
	"labels exported":          {export, nil, "R"},
}

// Encode makes the message of an event, as one line of XML. Source names the
// node.
func Encode(e Event, sourceID string) ([]byte, error) {
	k, ok := kinds[e.Action]
	if !ok {
		k = kind{securityAlert, []Code{restricted}, "E"} // what is refused has an action of its own each time
	}
	m := message{Event: identified{Action: k.action, DateTime: e.At.UTC().Format("2006-01-02T15:04:05.000Z07:00"), ID: k.event, Types: k.types}}
	if e.Failed {
		m.Event.Outcome, m.Event.Words = 4, e.Action
		if e.Detail != "" {
			m.Event.Words += ": " + e.Detail
		}
	}
	m.Source.ID, m.Source.Type.Value = sourceID, "3" // web server
	process := participant{UserID: sourceID, Roles: []Code{roleApplication}}
	user := participant{UserID: token(e.User), Requestor: true}
	if e.Address != "" {
		user.AccessPoint, user.AccessType = e.Address, "2"
	}
	switch k.event {
	case applicationActivity:
		m.Participants = []participant{process}
	default:
		m.Participants = []participant{user, process}
	}
	switch {
	case k.event == auditLogUsed:
		m.Objects = []object{{ID: "/audit", Type: 2, Role: 13, IDType: address, Name: "Security Audit Log"}}
	case k.event == query:
		m.Objects = []object{{ID: e.Action, Type: 2, Role: 24, IDType: searchCriteria, Name: e.Action}}
	case k.event == securityAlert:
		m.Objects = []object{{ID: e.Detail, Type: 2, Role: 13, IDType: address, Name: e.Action}}
	case e.Study != "":
		m.Objects = []object{{ID: e.Study, Type: 2, Role: 3, IDType: studyUID, Name: e.Study}}
	case k.event == export:
		m.Objects = []object{{ID: e.Action, Type: 2, Role: 24, IDType: searchCriteria, Name: e.Action + ": " + e.Detail}}
	}
	if e.Study != "" {
		m.Objects = append(m.Objects, object{ID: e.Patient, Type: 1, Role: 1, IDType: patientNumber, Name: "patient"})
	}
	for i := range m.Objects {
		o := &m.Objects[i]
		o.ID, o.Name = token(o.ID), token(o.Name)
	}
	return xml.Marshal(m)
}

// token is a text as xsd:token has it: no control characters, single spaces; an
// empty one is "unknown".
func token(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if s == "" {
		return "unknown"
	}
	return s
}

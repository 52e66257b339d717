package dicomaudit

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// element is what the schema of PS3.15 A.5.1 says of an element: attributes, with
// the pattern of their values, and children in their order.
type element struct {
	attributes map[string]string // name → pattern; with "?" before it the attribute may be missing
	children   []child
	text       string // pattern of the text, "" for none
}

type child struct {
	name     string
	min, max int // 0 for any number
	of       *element
}

const (
	tokenPattern = `\S(.*\S)?`
	dateTime     = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`
)

var (
	coded = &element{attributes: map[string]string{"csd-code": tokenPattern, "codeSystemName": tokenPattern, "displayName": "?" + tokenPattern,
		"originalText": tokenPattern}}

	schema = &element{children: []child{
		{"EventIdentification", 1, 1, &element{
			attributes: map[string]string{"EventActionCode": "?[CRUDE]", "EventDateTime": dateTime, "EventOutcomeIndicator": "0|4|8|12"},
			children:   []child{{"EventID", 1, 1, coded}, {"EventTypeCode", 0, 0, coded}, {"EventOutcomeDescription", 0, 1, &element{text: `(?s).*`}}},
		}},
		{"ActiveParticipant", 1, 0, &element{
			attributes: map[string]string{"UserID": `.+`, "AlternativeUserID": "?.*", "UserName": "?.*", "UserIsRequestor": "true|false|0|1", "NetworkAccessPointID": "?" + tokenPattern, "NetworkAccessPointTypeCode": "?[1-5]"},
			children:   []child{{"RoleIDCode", 0, 0, coded}},
		}},
		{"AuditSourceIdentification", 1, 1, &element{
			attributes: map[string]string{"AuditEnterpriseSiteID": "?" + tokenPattern, "AuditSourceID": tokenPattern},
			children:   []child{{"AuditSourceTypeCode", 0, 0, &element{attributes: map[string]string{"csd-code": "[1-9]"}}}},
		}},
		{"ParticipantObjectIdentification", 0, 0, &element{
			attributes: map[string]string{"ParticipantObjectID": tokenPattern, "ParticipantObjectTypeCode": "?[1-4]", "ParticipantObjectTypeCodeRole": "?([1-9]|1[0-9]|2[0-6])",
				"ParticipantObjectDataLifeCycle": "?([1-9]|1[0-5])", "ParticipantObjectSensitivity": "?" + tokenPattern},
			children: []child{{"ParticipantObjectIDTypeCode", 1, 1, coded}, {"ParticipantObjectName", 1, 1, &element{text: tokenPattern}}},
		}},
	}}
)

type node struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []node     `xml:",any"`
}

// check holds a node against the schema.
func check(t *testing.T, at string, n node, e *element) {
	t.Helper()
	full := func(pattern, s string) bool { return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(s) }
	seen := map[string]bool{}
	for _, a := range n.Attrs {
		pattern, ok := e.attributes[a.Name.Local]
		if !ok || a.Name.Space != "" || !full(strings.TrimPrefix(pattern, "?"), a.Value) {
			t.Errorf("%s: attribute %s=%q", at, a.Name.Local, a.Value)
		}
		seen[a.Name.Local] = true
	}
	for name, pattern := range e.attributes {
		if !seen[name] && !strings.HasPrefix(pattern, "?") {
			t.Errorf("%s: %s is missing", at, name)
		}
	}
	if e.text == "" && strings.TrimSpace(n.Text) != "" || e.text != "" && !full(e.text, n.Text) {
		t.Errorf("%s: text %q", at, n.Text)
	}
	rest := n.Children
	for _, c := range e.children {
		k := 0
		for ; k < len(rest) && rest[k].XMLName.Local == c.name; k++ {
			check(t, at+"/"+c.name, rest[k], c.of)
		}
		if k < c.min || c.max > 0 && k > c.max {
			t.Errorf("%s: %d of %s", at, k, c.name)
		}
		rest = rest[k:]
	}
	if len(rest) > 0 {
		t.Errorf("%s: %s is out of place", at, rest[0].XMLName.Local)
	}
}

func parse(t *testing.T, b []byte) node {
	t.Helper()
	var n node
	d := xml.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&n); err != nil {
		t.Fatal(err, string(b))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Errorf("more than one message: %s", b)
	}
	return n
}

// Every action makes a message as the schema wants it, whatever names hold.
func TestMessagesFollowTheSchema(t *testing.T) {
	at := time.Date(2026, 11, 27, 13, 14, 15, 16e6, time.FixedZone("", 3600))
	actions := []string{"refused for want of a role", "request without the page's tokenPattern refused", "something new"}
	for a := range kinds {
		actions = append(actions, a)
	}
	for _, action := range actions {
		for _, e := range []Event{
			{At: at, User: "mueller", Address: "10.0.0.7", Action: action, Study: "1.2.840.1", Patient: `P"<&>'7`, Detail: "corrected"},
			{At: at, Action: action, Failed: true, Detail: "GET /x\n\x01]]>"},
			{At: at, Action: action},
		} {
			b, err := Encode(e, "ECHONODE")
			if err != nil {
				t.Fatal(action, err)
			}
			n := parse(t, b)
			if n.XMLName.Local != "AuditMessage" || bytes.ContainsAny(b, "\n\r") {
				t.Errorf("%s: %s", action, b)
			}
			check(t, action, n, schema)
		}
	}
}

// What the tables of PS3.15 A.5.3 ask of a user who opens a study.
func TestStudyOpened(t *testing.T) {
	b, err := Encode(Event{At: time.Date(2026, 11, 27, 13, 14, 15, 0, time.UTC), User: "mueller", Address: "10.0.0.7", Action: "study opened", Study: "1.2.3",
		Patient: "P7"}, "ECHONODE")
	if err != nil {
		t.Fatal(err)
	}
	want := `<AuditMessage><EventIdentification EventActionCode="R" EventDateTime="2026-11-27T13:14:15.000Z" EventOutcomeIndicator="0">` +
		`<EventID csd-code="110103" codeSystemName="DCM" originalText="DICOM Instances Accessed"></EventID></EventIdentification>` +
		`<ActiveParticipant UserID="mueller" UserIsRequestor="true" NetworkAccessPointID="10.0.0.7" NetworkAccessPointTypeCode="2"></ActiveParticipant>` +
		`<ActiveParticipant UserID="ECHONODE" UserIsRequestor="false">` +
		`<RoleIDCode csd-code="110150" codeSystemName="DCM" originalText="Application"></RoleIDCode></ActiveParticipant>` +
		`<AuditSourceIdentification AuditSourceID="ECHONODE"><AuditSourceTypeCode csd-code="3"></AuditSourceTypeCode></AuditSourceIdentification>` +
		`<ParticipantObjectIdentification ParticipantObjectID="1.2.3" ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="3">` +
		`<ParticipantObjectIDTypeCode csd-code="110180" codeSystemName="DCM" originalText="Study Instance UID"></ParticipantObjectIDTypeCode>` +
		`<ParticipantObjectName>1.2.3</ParticipantObjectName></ParticipantObjectIdentification>` +
		`<ParticipantObjectIdentification ParticipantObjectID="P7" ParticipantObjectTypeCode="1" ParticipantObjectTypeCodeRole="1">` +
		`<ParticipantObjectIDTypeCode csd-code="2" codeSystemName="RFC-3881" originalText="Patient Number"></ParticipantObjectIDTypeCode>` +
		`<ParticipantObjectName>patient</ParticipantObjectName></ParticipantObjectIdentification></AuditMessage>`
	if string(b) != want {
		t.Errorf("%s\nwant\n%s", b, want)
	}
}

// Length, header and byte order mark as RFC 5425 and RFC 5424 have them.
func TestFrame(t *testing.T) {
	c := Collector{Host: "nöde 1.example"}
	f := string(c.Frame(time.Date(2026, 11, 27, 13, 14, 15, 0, time.UTC), []byte("<AuditMessage/>")))
	m := regexp.MustCompile(`^(\d+) (<85>1 2026-11-27T13:14:15\.000Z nde1\.example EchoNode \d+ DICOM\+RFC3881 - \x{FEFF}<AuditMessage/>)$`).FindStringSubmatch(f)
	if m == nil {
		t.Fatalf("%q", f)
	}
	if n := strconv.Itoa(len(m[2])); m[1] != n {
		t.Errorf("length %s of %s bytes", m[1], n)
	}
}

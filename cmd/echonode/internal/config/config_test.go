package config

import (
	"strings"
	"testing"
	"time"
)

func TestDefaultsAreValid(t *testing.T) {
	c, err := Parse(Default)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.DICOM.AETitle != "ECHONODE" || empty.DICOM.AETitle != "ECHONODE" || c.Study.Idle != Duration(30*time.Second) || c.Storage.MinFree != 1<<30 {
		t.Fatalf("defaults: %+v", c)
	}
}

func TestParseOverridesOnlyWhatIsNamed(t *testing.T) {
	c, err := Parse([]byte("study:\n  idle: 5s\ndestinations:\n  - name: pacs\n    address: localhost:104\n    ae_title: PACS\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Study.Idle != Duration(5*time.Second) || c.Study.Cap != Duration(30*time.Minute) {
		t.Errorf("study = %+v, want idle 5s and the default cap", c.Study)
	}
	if d := c.Destinations[0]; strings.Join(d.Send, ",") != "report,overlay,summary" {
		t.Errorf("send = %v, want these three by default", d.Send)
	}
}

// Some editors begin UTF-8 with a byte order mark.
func TestByteOrderMark(t *testing.T) {
	c, err := Parse([]byte("\ufeffdicom:\n  ae_title: X\n"))
	if err != nil || c.DICOM.AETitle != "X" {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := Parse([]byte("\ufeff")); err != nil {
		t.Errorf("a mark alone: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"unknown key with its line":    {"study:\n  idle: 5s\n  idel: 6s\n", "[3:3]"},
		"unknown section":              {"stduy:\n  idle: 5s\n", "stduy"},
		"syntax":                       {"study: [", "[1:"},
		"duration":                     {"study:\n  idle: soon\n", "[2:"},
		"size":                         {"storage:\n  min_free: lots\n", "[2:13]"},
		"password in the URL":          {"storage:\n  database: 'postgres://me:secret@db/echonode'\n", "storage.database"},
		"password as parameter":        {"storage:\n  database: 'postgres://me@db/echonode?password=secret'\n", "storage.database"},
		"URL of a database":            {"storage:\n  database: 'postgres://me@db:many/echonode'\n", "storage.database"},
		"words of a database":          {"storage:\n  database: 'host=db user=me password=secret dbname=echonode'\n", "storage.database"},
		"another URL":                  {"storage:\n  database: 'postgress://me:secret@db/echonode'\n", "storage.database"},
		"password of a file":           {"storage:\n  database_password_file: p\n", "storage.database_password_file"},
		"no wait for commitment":       {"destinations:\n  - {name: a, address: 'h:104', ae_title: A, ask_wait: 0s}\n", "ask_wait"},
		"role":                         {"roles: [receive, dance]\n", "roles"},
		"role twice":                   {"roles: [receive, receive, analyse, deliver]\n", "twice"},
		"no role":                      {"roles: []\n", "roles"},
		"roles on one disk":            {"roles: [receive]\nstorage: {database: 'postgres://me@db/echonode'}\noutputs: {device_uid: 2.25.1}\n", "storage.objects"},
		"roles on SQLite":              {"roles: [receive]\nstorage: {objects: {kind: shared, shared: /mnt}}\noutputs: {device_uid: 2.25.1}\n", "PostgreSQL"},
		"roles without device":         {"roles: [receive]\nstorage: {database: 'postgres://me@db/echonode', objects: {kind: shared, shared: /mnt}}\n", "device_uid"},
		"object store":                 {"storage: {objects: {kind: tape}}\n", "storage.objects.kind"},
		"shared without a folder":      {"storage: {objects: {kind: shared}}\n", "storage.objects.shared"},
		"S3 without bucket":            {"storage: {objects: {kind: s3, s3: {endpoint: 'https://s3'}}}\n", "storage.objects.s3.bucket"},
		"S3 with a path":               {"storage: {objects: {kind: s3, s3: {endpoint: 'https://s3/x', bucket: b}}}\n", "storage.objects.s3.endpoint"},
		"S3 prefix":                    {"storage: {objects: {kind: s3, s3: {endpoint: 'https://s3', bucket: b, prefix: x}}}\n", "storage.objects.s3.prefix"},
		"S3 checksums":                 {"storage: {objects: {kind: s3, s3: {endpoint: 'https://s3', bucket: b, checksums: sha1}}}\n", "storage.objects.s3.checksums"},
		"bucket of another kind":       {"storage: {objects: {s3: {bucket: b}}}\n", "storage.objects.s3"},
		"idle over cap":                {"study:\n  idle: 2h\n", "study.cap"},
		"AE title that is reported to": {"dicom: {commitment: {report_to: {0012: 'h:104'}}}\n", "put it in quotes"},
		"AE title of digits":           {"dicom:\n  ae_title: 0012\n", "put it in quotes"},
		"hexadecimal AE title":         {"destinations:\n  - {name: a, address: 'h:104', ae_title: 0x1F}\n", "put it in quotes"},
		"AE titles of digits":          {"dicom: {calling_ae_titles: [OK, 12_34]}\n", "put it in quotes"},
		"AE title too long":            {"dicom:\n  ae_title: ABCDEFGHIJKLMNOPQ\n", "dicom.ae_title"},
		"AE title backslash":           {"dicom:\n  ae_title: 'A\\B'\n", "dicom.ae_title"},
		"source":                       {"dicom:\n  sources: [hospital]\n", "dicom.sources"},
		"SOP class":                    {"dicom:\n  extra_sop_classes: [ct]\n", "extra_sop_classes"},
		"provider":                     {"analysis:\n  provider: gpu\n", "analysis.provider"},
		"remote without URL":           {"analysis:\n  provider: remote\n", "analysis.remote"},
		"destination name":             {"destinations:\n  - {name: 'My PACS', address: 'a:1', ae_title: A}\n", "destinations[0].name"},
		"destination twice":            {"destinations:\n  - {name: a, address: 'a:1', ae_title: A}\n  - {name: a, address: 'a:1', ae_title: A}\n", "used twice"},
		"destination address":          {"destinations:\n  - {name: a, address: a, ae_title: A}\n", "destinations[0].address"},
		"rule's condition":             {"destinations:\n  - {name: a, address: 'a:1', ae_title: A, rules: [{when: {age: old}, send: [report]}]}\n", "destinations[0].rules[0].when"},
		"rule's kinds":                 {"destinations:\n  - {name: a, address: 'a:1', ae_title: A, rules: [{send: [everything]}]}\n", "destinations[0].rules[0].send"},
		"url":                          {"destinations:\n  - {name: a, url: 'pacs/dicom-web'}\n", "destinations[0].url"},
		"url and address":              {"destinations:\n  - {name: a, url: 'https://pacs/dicom-web', address: 'a:1', ae_title: A}\n", "destinations[0].url"},
		"password in url":              {"destinations:\n  - {name: a, url: 'https://me:secret@pacs/dicom-web'}\n", "destinations[0].url"},
		"password in a bad url":        {"destinations:\n  - {name: a, url: 'https://me:sec%ret@pacs/dicom-web'}\n", "destinations[0].url"},
		"password and a bad port":      {"destinations:\n  - {name: a, url: 'https://me:secret@pacs:x/dicom-web'}\n", "destinations[0].url"},
		"password in token_url":        {"destinations:\n  - {name: a, url: 'https://pacs/dicom-web', auth: {token_url: 'https://me:secret@sso/token', client_id: c, client_secret_file: s}}\n", "token_url"},
		"password in issuer":           {"review: {oidc: {issuer: 'http://me:secret@sso'}}\n", "review.oidc.issuer"},
		"password in the clear":        {"destinations:\n  - {name: a, url: 'http://pacs/dicom-web', auth: {user: me, password_file: p}}\n", "destinations[0].url: https is needed"},
		"commitment over DICOMweb":     {"destinations:\n  - {name: a, url: 'https://a', ask: commitment}\n", "destinations[0].ask: storage commitment is not to be had over DICOMweb"},
		"unknown way of asking":        {"destinations:\n  - {name: a, url: 'https://a', ask: politely}\n", "destinations[0].ask"},
		"token in the clear":           {"destinations:\n  - {name: a, url: 'http://10.0.0.1/dicom-web', auth: {token_file: t}}\n", "destinations[0].url: https is needed"},
		"user without password":        {"destinations:\n  - {name: a, url: 'https://pacs/dicom-web', auth: {user: me}}\n", "destinations[0].auth"},
		"credentials without url":      {"destinations:\n  - {name: a, address: 'a:1', ae_title: A, auth: {token_file: t}}\n", "destinations[0].auth"},
		"DICOMweb without accounts":    {"dicomweb:\n  listen: 127.0.0.1:1\n", "dicomweb.accounts"},
		"DICOMweb in the clear":        {"dicomweb:\n  listen: ':1'\n  accounts: a\n", "dicomweb.tls"},
		"transcode":                    {"destinations:\n  - {name: a, address: 'a:1', ae_title: A, transcode: jpeg}\n", "destinations[0].transcode"},
		"classes":                      {"dicom:\n  sop_classes: some\n", "dicom.sop_classes"},
		"half a key pair":              {"dicom:\n  tls: {certificate: c.pem}\n", "dicom.tls"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.in))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Parse = %v, want an error naming %q", err, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), "me:sec") || strings.Contains(err.Error(), "sec%ret") || strings.Contains(err.Error(), "password=")) {
				t.Errorf("the error holds a password: %v", err)
			}
		})
	}
}

// A path of SQLite does not depend on where the process runs.
func TestDatabasePath(t *testing.T) {
	for in, want := range map[string]string{"": "/data/node.db", "sqlite": "/data/node.db", "states.db": "/data/states.db", "/ssd/states.db": "/ssd/states.db",
		"postgres://me@db/echonode": "postgres://me@db/echonode"} {
		c, err := Parse([]byte("storage: {directory: /data, database: '" + in + "'}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Database(); got != want {
			t.Errorf("database %q is %s, want %s", in, got, want)
		}
	}
}

func TestDICOMwebDestination(t *testing.T) {
	c, err := Parse([]byte("destinations:\n  - {name: web, url: 'https://pacs.example.org/dicom-web', auth: {user: me, password_file: p}}\n" +
		"  - {name: token, url: 'http://localhost:8042/dicom-web', auth: {token_file: t}}\n"))
	if err != nil || c.Destinations[0].Auth.User != "me" || c.Destinations[1].Auth.TokenFile != "t" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWarnings(t *testing.T) {
	c, err := Parse([]byte("dicom:\n  listen: ':11112'\nhttp:\n  listen: ':80'\n"))
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) != 3 {
		t.Errorf("warnings = %q, want open DICOM port, open HTTP port, no destinations", w)
	}
	c, err = Parse([]byte("dicom:\n  listen: ':11112'\n  sources: [10.0.0.0/8]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) != 1 {
		t.Errorf("warnings = %q, want only: no destinations", w)
	}
	for roles, want := range map[string]int{"receive": 0, "web": 1, "analyse": 1, "receive, deliver": 1} {
		c, err := Parse([]byte("dicom: {sources: [10.0.0.0/8]}\nroles: [" + roles + "]\noutputs: {device_uid: 2.25.1}\n" +
			"storage: {database: 'postgres://me@db/echonode', objects: {kind: shared, shared: /mnt}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if w := c.Warnings(); len(w) != want || want > 0 && !strings.HasSuffix(w[0], "storage.objects") {
			t.Errorf("%s: warnings %q, want %d", roles, w, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	p, err := DICOM{Sources: []string{"10.1.2.3", "10.2.3.4/16", "fe80::1"}}.Prefixes()
	if err != nil {
		t.Fatal(err)
	}
	if got := p[0].String() + " " + p[1].String() + " " + p[2].String(); got != "10.1.2.3/32 10.2.0.0/16 fe80::1/128" {
		t.Errorf("prefixes = %s", got)
	}
}

// A kind that is not made is not sent by default.
func TestDefaultSendFollowsOutputs(t *testing.T) {
	c, err := Parse([]byte("outputs: {summary: false}\ndestinations: [{name: a, address: \"h:1\", ae_title: A}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Destinations[0].Send, ","); got != "report,overlay" {
		t.Errorf("send %s", got)
	}
	if bad := c.Contradictions(); len(bad) != 0 {
		t.Errorf("contradictions %q", bad)
	}
}

// Two places that are one are told, two DICOMweb services are not one peer, and
// what is sent by a rule has to be made.
func TestContradictions(t *testing.T) {
	for name, c := range map[string]struct {
		yaml, want string // want is a part of the only contradiction; empty: none
	}{
		"two services":             {"destinations: [{name: a, url: 'https://a/dicom-web'}, {name: b, url: 'https://b/dicom-web'}]", ""},
		"one service twice":        {"destinations: [{name: a, url: 'https://a/dicom-web'}, {name: b, url: 'https://a/dicom-web/'}]", "a and b are one peer (https://a/dicom-web)"},
		"one peer twice":           {"destinations: [{name: a, address: 'h:104', ae_title: P}, {name: b, address: 'h:104', ae_title: P}]", "a and b are one peer (P at h:104)"},
		"two titles, one box":      {"destinations: [{name: a, address: 'h:104', ae_title: P}, {name: b, address: 'h:104', ae_title: Q}]", ""},
		"a service and a box":      {"destinations: [{name: a, url: 'https://a'}, {name: b, address: 'h:104', ae_title: Q}]", ""},
		"send of what is not made": {"destinations: [{name: a, url: 'https://a', send: [pdf]}]", "destination a is to be sent the pdf, but outputs.pdf is false"},
		"rule for what is not made": {"destinations: [{name: a, url: 'https://a', rules: [{when: {stress: 'no'}, send: [report, segmentation]}]}]",
			"destination a is to be sent the segmentation by rules[0], but outputs.segmentation is false"},
		"rule for what is made":    {"outputs: {pdf: true}\ndestinations: [{name: a, url: 'https://a', rules: [{when: {stress: 'no'}, send: [pdf]}]}]", ""},
		"status on the DICOM port": {"http: {listen: '127.0.0.1:11112'}", "dicom.listen and http.listen are one port"},
		"page on the status port":  {"review: {listen: '127.0.0.1:8104'}", "http.listen and review.listen are one port"},
		"store on the DICOM port":  {"dicomweb: {listen: 'localhost:11112', accounts: f}", "dicom.listen and dicomweb.listen are one port"},
		"page and store":           {"review: {listen: '127.0.0.1:8106'}\ndicomweb: {listen: '127.0.0.1:8106', accounts: f}", "dicomweb.listen and review.listen are one port"},
		"listeners of their own":   {"review: {listen: '127.0.0.1:8105'}\ndicomweb: {listen: '127.0.0.1:8106', accounts: f}", ""},
		"listeners that are off":   {"http: {listen: ''}\nreview: {listen: ''}", ""},
		"nothing is sent":          {"destinations: [{name: a, url: 'https://a', send: []}]", "destination a is sent nothing"},
		"nothing but by a rule":    {"destinations: [{name: a, url: 'https://a', send: [], rules: [{when: {stress: 'no'}, send: [report]}]}]", ""},
		"commitment, known peer":   {"dicom: {calling_ae_titles: [US, P]}\ndestinations: [{name: a, address: 'h:104', ae_title: P, ask: commitment}]", ""},
		"commitment, other title":  {"destinations: [{name: a, address: 'h:104', ae_title: P, calling_ae_title: OTHER, ask: commitment}]", "reports to that title are rejected"},
		"commitment, unknown peer": {"dicom: {calling_ae_titles: [US]}\ndestinations: [{name: a, address: 'h:104', ae_title: P, ask: commitment}]", "P is not in dicom.calling_ae_titles"},
		"destination is the node":  {"destinations: [{name: a, address: '127.0.0.1:11112', ae_title: P}]", "destination a is this node itself"},
	} {
		p, err := Parse([]byte(c.yaml))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := p.Contradictions()
		if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// An empty list is nothing, as in a rule; a list that is left out is the default.
func TestEmptySendIsNothing(t *testing.T) {
	for text, want := range map[string]int{"": 3, ", send: []": 0, ", send: [report]": 1} {
		c, err := Parse([]byte("destinations: [{name: a, url: 'https://a'" + text + "}]"))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Destinations[0].Send; len(got) != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

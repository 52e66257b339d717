// Package statement writes the DICOM conformance statement (PS3.2) from the
// tables by which the program works, so that it cannot say anything else than
// they do. The text lies in conformance/CONFORMANCE.md; the test keeps it
// current (go test ./conformance/statement -update).
package statement

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/scp"
	"github.com/echonode/echonode/sr"
)

// Output is a kind of object that the program makes.
type Output struct{ Kind, SOPClass, Syntax, When string }

// Outputs lists the objects that are made and sent.
func Outputs() []Output {
	return []Output{
		{"report", sr.Settings{}.SOPClassUID(), uid.ExplicitVRLittleEndian, "always (outputs.report)"},
		{"overlay", uid.MultiFrameTrueColorSecondaryCaptureImageStorage, uid.JPEGBaseline8Bit, "outputs.overlay_class: sc"},
		{"overlay", uid.UltrasoundMultiFrameImageStorage, uid.JPEGBaseline8Bit, "outputs.overlay_class: us"},
		{"segmentation", uid.SegmentationStorage, uid.ExplicitVRLittleEndian, "outputs.segmentation"},
		{"summary", uid.SecondaryCaptureImageStorage, uid.JPEGBaseline8Bit, "outputs.summary"},
		{"pdf", uid.EncapsulatedPDFStorage, uid.ExplicitVRLittleEndian, "outputs.pdf"},
		{"withdrawal", uid.KeyObjectSelectionDocumentStorage, uid.ExplicitVRLittleEndian, "destinations.withdraw: note"},
	}
}

// Accepted lists the transfer syntaxes that the node takes of known storage
// classes where ffmpeg is installed; without it those of video are not taken.
func Accepted() []dicomio.Codec {
	var out []dicomio.Codec
	for _, c := range dicomio.Codecs() {
		if (c.Decodes || c.Syntax.Video) && slices.Contains(scp.DefaultTransferSyntaxes(), c.Syntax.UID) {
			if c.Syntax.Video {
				c.By = "ffmpeg"
			}
			out = append(out, c)
		}
	}
	return out
}

// writer collects the text.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) p(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.w, format+"\n", args...)
	}
}

// Defaults are values of the commented configuration that the statement names.
type Defaults struct {
	Idle, Response                                            time.Duration // dicom.idle_timeout, delivery.timeout
	Associations, AssociationsPerPeer, AssociationsPerNetwork int
}

// Write writes the statement as Markdown.
func Write(out io.Writer, defaults Defaults) error {
	w := &writer{w: out}
	w.overview()
	w.policies(defaults)
	w.acceptance()
	w.initiation()
	w.dicomweb()
	w.closing()
	w.annexes()
	return w.err
}

// overview writes title and chapters 1 to 3.
func (w *writer) overview() {
	w.p("# DICOM conformance statement of EchoNode\n")
	w.p("Made from the program's own tables by `go test ./conformance/statement -update`; do not edit. Structure: PS3.2.\n")
	w.p("EchoNode is research software and no medical device. Whatever it makes is marked UNVERIFIED, and its reports PRELIMINARY, until a reader has signed.\n")

	w.p("## 1 Overview\n")
	w.p("EchoNode receives echocardiography studies, measures the left ventricle in them and sends structured reports, overlays and")
	w.p("other results to archives.\n")
	w.p("| Network service | as user (SCU) | as provider (SCP) |\n|---|---|---|")
	w.p("| Verification | yes | yes |")
	w.p("| Storage | yes, of what it makes (8.1) | yes (4.2.3) |")
	w.p("| Storage Commitment, push model | option, off (`destinations.ask`) | option, off (`dicom.commitment`) |")
	w.p("| Query/Retrieve, Study Root: FIND, GET, MOVE | yes (`echonode fetch`) | no |\n")
	w.p("| DICOMweb service | as user agent | as origin server |\n|---|---|---|")
	w.p("| Studies, store transaction (STOW-RS) | option (`destinations.url`) | option, off (`dicomweb.listen`) |\n")
	w.p("Media interchange: none. Print, worklist, performed procedure step: none.\n")

	w.p("## 2 Introduction\n")
	w.p("For administrators of archives and modalities. Conformance does not by itself mean interoperability: test with your peers. What")
	w.p("was tried with which peers is in [README.md](README.md).\n")
	w.p("AE application entity, PDU protocol data unit, SCU/SCP service class user/provider, SR structured report.\n")

	w.p("## 3 Implementation model\n")
	w.p("One application entity, ECHONODE (title: `dicom.ae_title`). Objects come in by C-STORE; when a study is complete (its association")
	w.p("is closed and nothing has come for `study.idle`, or after `study.cap`) it is analysed and the results go to every destination by")
	w.p("C-STORE, each with a queue of its own. `echonode fetch` is a program that is run by hand; it queries and retrieves.\n")
}

// policies writes 4.1.
func (w *writer) policies(defaults Defaults) {
	limits, timeouts := scp.DefaultLimits(), scp.DefaultTimeouts()
	w.p("## 4 AE specification\n")
	w.p("### 4.1 Association policies\n")
	w.p("| | |\n|---|---|")
	w.p("| Application context | 1.2.840.10008.3.1.1.1 |")
	w.p("| Implementation class UID | %s |", uid.ImplementationClass)
	w.p("| Implementation version name | %s |", uid.ImplementationVersionName)
	w.p("| Maximum PDU received | %d |", limits.MaxPDU)
	w.p("| PDU sent | as the peer says; 0 is no limit |")
	w.p("| Asynchronous operations | offered windows are answered with 1 and 1 |")
	w.p("| Role selection | answered for accepted classes; proposed by `fetch` for C-GET |")
	w.p("| User identity | taken, not judged |")
	w.p("| Associations at a time | %d, %d from one address, %d from one network (`dicom.max_associations`) |", defaults.Associations,
		defaults.AssociationsPerPeer, defaults.AssociationsPerNetwork)
	w.p("| A-ASSOCIATE-RQ read | at most %s |", humanize.IBytes(uint64(limits.MaxAssociatePDU)))
	w.p("| Data set of a C-STORE | at most %s, then A700H (`dicom.max_object`) |\n", humanize.IBytes(uint64(limits.MaxObject)))
	w.p("| Time limit | default |\n|---|---|")
	for _, t := range []struct {
		what string
		d    time.Duration
	}{{"Connection to association (ARTIM)", timeouts.ARTIM}, {"Between messages, as acceptor (`dicom.idle_timeout`)", defaults.Idle}, {"One PDU", timeouts.PDU},
		{"Response, as requestor (`delivery.timeout`)", defaults.Response}, {"Release", timeouts.Release}} {
		w.p("| %s | %s |", t.what, t.d)
	}
	w.p("\nA peer has to deliver at least %d bytes per second inside a message, averaged over %s.\n", limits.MinRate, timeouts.Rate)
}

// acceptance writes 4.2, what the node does as SCP.
func (w *writer) acceptance() {
	w.p("### 4.2 Association acceptance\n")
	w.p("#### 4.2.1 Rejection\n")
	w.p("| Reason | Result, source, reason |\n|---|---|")
	w.p("| Called AE title is not the node's | 1, 1, 7 |\n| Calling AE title or certificate not allowed | 1, 1, 3 |")
	w.p("| Too many associations | 2, 3, 2 |\n| Stopping | 2, 3, 1 |")
	w.p("| Application context | 1, 1, 2 |\n| Protocol version | 1, 2, 2 |\n")
	w.p("Connections from networks that are not in `dicom.sources` are closed before an association.\n")
	w.p("#### 4.2.2 Verification\n")
	w.p("%s with Implicit VR Little Endian, Explicit VR Little Endian and Big Endian, Deflated.\n", uid.Verification)
	w.p("#### 4.2.3 Storage\n")
	w.p("Of the syntaxes of a context the first proposed one that is accepted wins, except that Explicit VR Little Endian is preferred over")
	w.p("Implicit VR and Big Endian. Accepted is what this machine decodes:\n")
	w.p("| Transfer syntax | UID | decoded by |\n|---|---|---|")
	for _, c := range Accepted() {
		w.p("| %s | %s | %s |", c.Syntax.Name, c.Syntax.UID, c.By)
	}
	w.p("\nVideo needs ffmpeg; without it these syntaxes are not accepted.\n")
	w.p("| SOP class | UID |\n|---|---|")
	for _, c := range scp.DefaultStorageClasses() {
		w.p("| %s | %s |", uid.Name(c), c)
	}
	w.p("\nWith `dicom.sop_classes: any` (the default) every other storage class of the standard and every private class is accepted too, in")
	w.p("all transfer syntaxes that put the object on the wire (%d). Objects that are not ultrasound images are kept with their study and",
		len(scp.DefaultTransferSyntaxes()))
	w.p("left out of the analysis. Level 2 (full) storage: all elements are kept as they came. Coercion: none.\n")
	w.p("| Status | meaning |\n|---|---|")
	w.p("| 0000H | durable on disk and on record |\n| A700H | disk full, object over the limit, database or object store not available |")
	w.p("| A900H | data set is of another SOP class, instance or transfer syntax than announced, or of another study than a DICOMweb request names |\n" +
		"| C000H | data set cannot be read |")
	w.p("| 0111H | another object, of other pixels, under the same SOP Instance UID |")
	w.p("| 0117H | SOP Instance UID is not a UID |\n| 0122H | SOP class is not that of the context |\n")
	w.p("UIDs with leading zeros in a component are taken and written as they came.\n")
	w.p("#### 4.2.4 Storage Commitment (option)\n")
	w.p("%s, Explicit and Implicit VR Little Endian. The result is sent on the same association, or later to the address configured for the",
		uid.StorageCommitmentPushModel)
	w.p("AE title.\n")
}

// initiation writes 4.3, what it does as SCU.
func (w *writer) initiation() {
	w.p("### 4.3 Association initiation\n")
	w.p("#### 4.3.1 Storage\n")
	w.p("For every object one context with its own transfer syntax and, where it is uncompressed or can be decompressed, one each with")
	w.p("Explicit VR Little Endian and Implicit VR Little Endian (`destinations.transcode`: auto, never, uncompressed). Nothing is compressed")
	w.p("anew, video is not decompressed.\n")
	w.p("| Peer's status | what follows |\n|---|---|")
	w.p("| 0000H | delivered |\n| 0001H, 0107H, 0116H, Bxxx | delivered with a warning, which is kept |")
	w.p("| any other | tried again as `delivery` says, then put aside and shown |\n")
	w.p("An object whose answer was lost is asked for before it is sent again (`destinations.ask`): by C-FIND (default), by storage commitment, or")
	w.p("not at all.\n")
	w.p("#### 4.3.2 Storage Commitment (`ask: commitment`)\n")
	w.p("%s, Explicit and Implicit VR Little Endian, N-ACTION for the objects in question.", uid.StorageCommitmentPushModel)
	w.p("The N-EVENT-REPORT is taken on the same association for 5 s and on one that the archive opens to the node's port,")
	w.p("with or without role selection, for `ask_wait`.\n")
	w.p("| Report | what follows |\n|---|---|")
	w.p("| committed | delivered |\n| failed, 0112H | sent again |")
	w.p("| failed for another reason, not offered, refused, no report in time | asked by C-FIND, then sent again |\n")
	w.p("A report for an unknown or former Transaction UID is answered with 0000H and changes nothing.\n")
	w.p("#### 4.3.3 Query and retrieve (`echonode fetch`, `destinations.ask`)\n")
	w.p("| SOP class | UID | Transfer syntaxes |\n|---|---|---|")
	for _, c := range []string{uid.StudyRootQueryRetrieveInformationModelFind, uid.StudyRootQueryRetrieveInformationModelGet,
		uid.StudyRootQueryRetrieveInformationModelMove} {
		w.p("| %s | %s | Explicit, Implicit VR Little Endian |", uid.Name(c), c)
	}
	w.p("\n| Level | Keys matched | Keys returned |\n|---|---|---|")
	w.p("| STUDY | Study Instance UID, Study Date (range), Patient ID, Accession Number, Modalities in Study | " +
		"Study Description, Number of Study Related Instances |")
	w.p("| SERIES | Study Instance UID, Modality | Series Instance UID |\n| IMAGE | Study and Series Instance UID | SOP Instance UID, SOP Class UID |\n")
	w.p("C-GET and C-MOVE name a series, or up to 100 objects of one.\n")
}

// dicomweb writes 4.4.
func (w *writer) dicomweb() {
	w.p("### 4.4 DICOMweb\n")
	w.p("Store transaction of the studies service (PS3.18 10.5), multipart/related of application/dicom; other media types are refused (415).\n")
	w.p("| | as user agent | as origin server |\n|---|---|---|")
	w.p("| Resource | {url}/studies | /studies, /studies/{study}, the same below /dicom-web |")
	w.p("| Objects in a request | one | up to 10,000 |")
	w.p("| Authentication | basic, or a bearer token from a file; TLS | basic or bearer token; TLS, needed beyond loopback |")
	w.p("| Answer | application/dicom+json | application/dicom+json: 200 all stored, 202 some, 409 none, 503 no resources, 400, 401, 415 |")
	w.p("| Transfer syntaxes | as made; decompressed after 415 (`destinations.transcode`) | those that the meta group names |\n")
	w.p("Failure Reason (0008,1197) is the status that C-STORE would have; 0122H for a SOP class that `dicom.sop_classes` leaves out, " +
		"C122H for a transfer syntax that would not be negotiated for it.\n")
}

// closing writes 4.5 and chapters 5 to 7.
func (w *writer) closing() {
	w.p("### 4.5 Network interfaces, configuration\n")
	w.p("TCP/IP, version 4 and 6. Titles, addresses, limits: the commented configuration (`echonode check-config --print-default`).\n")

	w.p("## 5 Media interchange\n\nNone. Files written are Part 10 files without DICOMDIR.\n")

	w.p("## 6 Character sets\n")
	w.p("Read: %s, and the default repertoire. Results name the character set that they are written in.\n", strings.Join(dicomio.CharacterSets(), ", "))

	w.p("## 7 Security\n")
	w.p("TLS 1.2 and 1.3 after BCP 195 (PS3.15 B.9, B.12) on either side, with client certificates whose common name or DNS name is the AE")
	w.p("title; TLS 1.0 and the retired suites only by configuration (`dicom.tls.legacy`). Called and calling AE titles and source networks can")
	w.p("be restricted. No patient data in logs at the default level.\n")
}

// annexes writes chapter 8: what is made, and by which codes.
func (w *writer) annexes() {
	w.p("## 8 Annexes\n")
	w.p("### 8.1 Objects made\n")
	w.p("| Kind | SOP class | UID | Transfer syntax | Made with |\n|---|---|---|---|---|")
	for _, o := range Outputs() {
		w.p("| %s | %s | %s | %s | %s |", o.Kind, uid.Name(o.SOPClass), o.SOPClass, uid.Name(o.Syntax), o.When)
	}
	w.p("\nPatient and study are those of the source; series are new; SOP Instance UIDs are digests of the content. Private attributes: none.\n")
	w.p("### 8.2 Templates and codes\n")
	w.p("TID %s Adult Echocardiography Procedure Report. Codes of modifiers: SCT, or SRT with `outputs.code_set: srt`.\n", sr.Template)
	w.p("| Quantity | Unit | Code | Code, srt |\n|---|---|---|---|")
	for _, q := range quantity.All() {
		if q.Code == 0 {
			continue
		}
		a, b := q.Code.Code(sr.SCT), q.Code.Code(sr.SRT)
		w.p("| %s | %s | %s, %s, %q | %s, %s |", q.Title, q.Unit, a.Value, a.Scheme, a.Meaning, b.Value, b.Scheme)
	}
	w.p("\nA report that would not be valid after the template is not sent: it is checked before.")
}

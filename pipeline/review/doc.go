// Package review is the page on which people look at what the node measured:
// a web server for the machine's own browser or, with TLS, for the hospital's
// network.
//
//	access.go     who may come in: users, roles, what every request must show
//	sessions.go   who is signed in, and failed attempts: in the database, for all processes
//	users.go      the file of users, with argon2id hashes
//	oidc.go       sign-in at an OpenID provider
//	index.go      keeps the worklist's rows up to date and tells open pages
//	worklist.go   the list of studies
//	study.go      one study, and one loop of it
//	frames.go     frames as JPEG
//	sign.go       corrections, and a reader's signature
//	operate.go    queue, disk and deliveries; retry, reanalyse, remove; the audit trail
//	auditing.go   the audit trail as DICOM audit messages over syslog
//	export.go     summary as PDF, values as CSV, corrections as training labels
//	text.go       the words of the page, English and German; what the pipeline says, in German
//	templates/    HTML
//	web/          the client in TypeScript, and the bundle made of it
//
// The page needs no network (model): it shows stored results. Names, dates and
// values of patients stand in pages and answers only. Addresses hold UIDs, that
// of a link from elsewhere an accession number; the log names studies and objects
// by their UIDs and holds nothing else of a patient.
//
// # Links
//
// /study/UID opens a study by its Study Instance UID, /accession/NUMBER by its
// accession number; both ask for a sign-in first where there is none. In OHIF
// (3.13) a link in the place of the logo opens the study that is shown; in
// app-config.js:
//
//	whiteLabeling: {
//	  createLogoComponentFn: (React) => {
//	    const study = new URLSearchParams(location.search).get('StudyInstanceUIDs');
//	    return study && React.createElement('a', {
//	      href: 'https://NODE/study/' + study.split(',')[0], target: '_blank', rel: 'noopener', className: 'text-primary',
//	      onClick: (e) => e.stopPropagation(), // the place itself leads to the list of studies
//	    }, 'EchoNode');
//	  },
//	},
//
// Orthanc Explorer, Orthanc's own page, gets a button on that of a study by
// Orthanc's Python plugin (in Debian the package orthanc-python), with this as
// PythonScript in Orthanc's configuration:
//
//	import orthanc
//
//	orthanc.ExtendOrthancExplorer("""
//	$('#study').live('pagebeforeshow', function() {
//	  $.getJSON('../studies/' + $.mobile.pageData.uuid, function(study) {
//	    if (!$('#echonode').length) {
//	      $('<a id="echonode" target="_blank" rel="noopener">EchoNode</a>').insertBefore('#study-access').buttonMarkup();
//	    }
//	    $('#echonode').attr('href', 'https://NODE/study/' + study.MainDicomTags.StudyInstanceUID);
//	  });
//	});
//	""")
//
// Both of these are tried in the tests, with OHIF 3.13.2 and Orthanc 1.10.1.
// Orthanc Explorer 2, which is not, has buttons in the rows of its list; in
// Orthanc's configuration, by its documentation:
//
//	"OrthancExplorer2": {"UiOptions": {"CustomButtons": {"study": [{"HttpMethod": "GET", "Id": "echonode", "Tooltip": "EchoNode",
//	  "Icon": "bi bi-heart-pulse", "Url": "https://NODE/study/{StudyInstanceUID}", "Target": "_blank"}]}}}
//
// A page that shows the review page in a frame must be named in the
// configuration (review.embed_in) and be of the same site, as the servers of one
// domain are, since the session's cookie is not sent to others.
//
// # Signing in at an OpenID provider
//
// review.oidc sends people to the hospital's provider (authorization code flow
// with PKCE, state bound to the browser, nonce). What they may do follows from
// their groups; family and given name of the provider stand in signed reports
// with the configured organisation. The account is as it was at the sign-in
// until the session ends; signing out ends the session here, not the one at the
// provider.
//
// # Correcting and signing
//
// The browser keeps what a reader changed (package correct) until it is signed,
// for its tab only, and has the server measure it after every change by the
// code of the pipeline. A signature names the revision that was looked at and
// the values that were shown: when either is no longer so, nothing is recorded
// and the reader is told. What is signed becomes a revision of the study, with
// outputs and deliveries, in one transaction.
//
// # The client
//
// web/ is TypeScript under strict checks, without a framework: the pages are
// HTML from the server, and what moves (cine, curve, contour) is drawn on
// canvases, where a framework has nothing to say. The curve is drawn by uPlot
// (MIT), whose released module and licence are in web/vendor. The bundle in
// web/dist is committed and embedded; `go generate` makes it with esbuild's Go
// package, and a test holds it against the sources. `npm ci && npm run check`
// in web/ checks the types.
package review

//go:generate go run ./internal/bundle

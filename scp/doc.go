// Package scp is a DICOM upper layer and DIMSE library: a server (Service Class
// Provider) and a client (Service Class User) for verification, storage and
// storage commitment; the client also queries and retrieves. Beside the standard library it needs
// the element codec and the tables of PS3.6 (packages encoding, tag, uid, part10).
//
// The package knows sockets, protocol data units and a [Handler]. It does not
// know what is in a data set: a C-STORE reaches the handler as a [StoreRequest]
// and an [io.Reader] of the bare data set in the negotiated transfer syntax,
// while it arrives, and the client sends bytes from an [io.Reader] as they are.
// Nothing is re-encoded and nothing is buffered whole.
//
// It implements
//
//	DICOM PS3.8   upper layer protocol for TCP/IP
//	DICOM PS3.7   C-ECHO, C-STORE, C-FIND, C-GET, C-MOVE, N-ACTION and N-EVENT-REPORT; annex D, association negotiation
//	DICOM PS3.4   annex A verification, annex B storage, annex C query/retrieve (user only), annex J storage commitment push model
//	DICOM PS3.15  B.9, B.12 secure transport connection profiles (BCP 195)
//
// # Server
//
//	srv := &scp.Server{AETitle: "ECHONODE", Handler: h}
//	l, err := net.Listen("tcp", ":11112")
//	...
//	err = srv.Serve(l) // until Shutdown or Close
//
// A handler returns nil for success, a [*StatusError] for a status of its
// choice, and any other error for status C000H. The success response leaves
// only after the handler has returned, so a handler that returns after its
// file is durable acknowledges nothing it could lose. Abilities beyond storage
// are further interfaces of the handler: [Echoer], [Committer],
// [CommitReceiver], [AssociationWatcher].
//
// Each association has one goroutine that reads, acts and answers. TCP is the
// back-pressure. Every length a peer announces is checked against [Limits]
// before memory is set aside, and every wait is bounded by [Timeouts].
//
// # Client
//
//	d := &scp.Dialer{CallingAE: "ECHONODE", CalledAE: "PACS"}
//	c, err := d.Dial(ctx, "pacs:104", contexts)
//	res, err := c.Store(ctx, object)
//	err = c.Release(ctx)
//
// [Dialer.SendAll] sends any number of objects, proposes one presentation
// context for each pair of SOP class and transfer syntax, and opens further
// associations beyond 128 of them. [Client.Find], [Client.Get] and
// [Client.Move] ask an archive and have it send.
//
// # Why it is not go-netdicom
//
// github.com/grailbio/go-netdicom is archived, hands over objects that are whole
// in memory (1.5 GB for eight of 86 MB, here 10 MB) at a fifth of the speed
// (conformance/bench/net.md), and its C-ECHO lacks an attribute without which
// dcmtk aborts (findings). It is a peer of the tests, in a module of its own
// (conformance/netdicom).
package scp

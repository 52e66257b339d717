package deliver

import (
	"context"
	"crypto/rand"
	"errors"
	"math/big"

	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

// Asked is what became of a request for storage commitment.
type Asked int

// Kinds of answer to a request for storage commitment.
const (
	// NotOffered: the archive does not accept the service.
	NotOffered Asked = iota
	// Refused: it offers the service and refused the request.
	Refused
	// Reported: it has reported, on the association of the request.
	Reported
	// Promised: it took the request, and reports on an association of its own.
	Promised
)

// Commitment asks an archive to commit to objects that were sent and whose
// answers were lost (PS3.4 annex J). A report on the same association is awaited
// until patience ends. The report is nil unless it has Reported, and the error
// with Refused is the archive's *scp.StatusError.
func Commitment(ctx, patience context.Context, d *scp.Dialer, addr, transaction string, refs []scp.Reference) (Asked, *scp.CommitResult, error) {
	contexts := []scp.PresentationContext{CommitmentContext()}
	c, err := d.Dial(ctx, addr, contexts)
	if err != nil {
		return NotOffered, nil, err
	}
	defer c.Abort() // after Release it does nothing
	if c.Accepts(uid.StorageCommitmentPushModel, "") != nil {
		return NotOffered, nil, c.Release(ctx)
	}
	if err := c.RequestCommitment(ctx, transaction, refs); err != nil {
		var status *scp.StatusError
		if errors.As(err, &status) {
			return Refused, nil, errors.Join(err, c.Release(ctx))
		}
		return NotOffered, nil, err
	}
	for {
		report, err := c.WaitCommitment(patience)
		switch {
		case ctx.Err() != nil:
			return Promised, nil, ctx.Err()
		case err != nil:
			// The archive is done with this association, or we are.
			return Promised, nil, nil
		case report.TransactionUID == transaction:
			return Reported, report, c.Release(ctx)
		}
	}
}

// CommitmentContext is what is proposed to be able to ask for storage commitment.
func CommitmentContext() scp.PresentationContext {
	return scp.PresentationContext{AbstractSyntax: uid.StorageCommitmentPushModel,
		TransferSyntaxes: []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}}
}

// NewTransaction is a Transaction UID that nobody can guess: who knows it may
// say what an archive has.
func NewTransaction() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return "2.25." + new(big.Int).SetBytes(b[:]).String()
}

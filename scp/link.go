package scp

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/scp/bufpool"
)

const (
	smallBuffer = 4 << 10  // of an association that waits; while a data set passes it has one of a bufpool.Pool
	directMin   = 16 << 10 // shortest read past the buffer
	maxEmpty    = 1024     // consecutive PDVs without data
)

// link is one connection seen as a stream of PDVs, of either side. One
// goroutine reads and writes; only kick may be called from others.
//
// Waits are budgets, not absolute deadlines: only time spent blocked in Read
// counts, so a slow handler never makes its peer look slow.
type link struct {
	conn net.Conn
	pool *bufpool.Pool
	lim  Limits
	tmo  Timeouts

	peerMax uint32 // longest P-DATA-TF the peer takes; 0 is unlimited

	buf, small []byte // buf[r:w] is unread
	r, w       int

	pduLeft uint32 // of the current P-DATA-TF
	pdvLeft uint32 // of the current PDV's fragment
	empty   int    // consecutive PDVs without data

	budget    time.Duration // left of the current wait
	phase     string        // its name
	inMessage bool          // waits count against MinRate
	blocked   time.Duration // waited inside messages in the present rate window
	got       int64         // bytes received in it

	wbuf []byte

	received, sent atomic.Int64 // bytes on the wire, inside TLS
	waiting        atomic.Int64 // UnixNano since when the peer is waited for, else 0

	mu           sync.Mutex // serialises deadlines with kick
	kicked       bool       // for reading
	kickedWrites bool
}

func newLink(conn net.Conn, pool *bufpool.Pool, lim Limits, tmo Timeouts) *link {
	small := make([]byte, smallBuffer)
	return &link{conn: conn, pool: pool, lim: lim, tmo: tmo, buf: small, small: small}
}

// kick ends the present and all later reads with errKicked.
func (l *link) kick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kicked = true
	l.conn.SetReadDeadline(time.Unix(1, 0))
}

// kickBoth ends the present and all later reads and writes.
func (l *link) kickBoth() {
	l.kick()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kickedWrites = true
	l.conn.SetWriteDeadline(time.Unix(1, 0))
}

func (l *link) setReadDeadline(t time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kicked {
		return false
	}
	l.conn.SetReadDeadline(t)
	return true
}

// wait starts a wait of at most d for what is read next.
func (l *link) wait(phase string, d time.Duration) { l.phase, l.budget = phase, d }

// grow takes a larger buffer for a data set.
func (l *link) grow() {
	if len(l.buf) > smallBuffer {
		return
	}
	b := l.pool.Get()
	l.w = copy(b, l.buf[l.r:l.w])
	l.r, l.buf = 0, b
}

// shrink gives the larger buffer back, when what is unread fits the small one.
func (l *link) shrink() {
	if len(l.buf) == smallBuffer || l.w-l.r > len(l.small) {
		return
	}
	b := l.buf
	l.w = copy(l.small, l.buf[l.r:l.w])
	l.r, l.buf = 0, l.small
	l.pool.Put(b)
}

// drop forgets the unread bytes and gives the buffer back; for the end.
func (l *link) drop() {
	l.r, l.w = 0, 0
	l.shrink()
}

// fill reads once, behind what is unread.
func (l *link) fill() error {
	if l.r == l.w {
		l.r, l.w = 0, 0
	} else if l.w == len(l.buf) {
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.r = 0
	}
	n, err := l.receive(l.buf[l.w:])
	l.w += n
	return err
}

// receive reads once from the connection, within the budget of the wait.
func (l *link) receive(p []byte) (n int, err error) {
	start := time.Now()
	if l.budget <= 0 {
		return 0, &TimeoutError{l.phase}
	}
	if !l.setReadDeadline(start.Add(l.budget)) {
		return 0, errKicked
	}
	l.waiting.Store(start.UnixNano())
	n, err = l.conn.Read(p)
	l.waiting.Store(0)
	elapsed := time.Since(start)
	l.budget -= elapsed
	l.received.Add(int64(n))
	if n > 0 {
		return n, l.checkRate(elapsed, n)
	}
	switch {
	case err == nil:
		return 0, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		l.mu.Lock()
		kicked := l.kicked
		l.mu.Unlock()
		if kicked {
			return 0, errKicked
		}
		return 0, &TimeoutError{l.phase}
	}
	return 0, err
}

// checkRate fails when a peer trickles bytes: less than MinRate over
// Timeouts.Rate of waiting inside messages.
func (l *link) checkRate(elapsed time.Duration, n int) error {
	if !l.inMessage || l.lim.MinRate == 0 {
		return nil
	}
	l.blocked += elapsed
	l.got += int64(n)
	if l.blocked < l.tmo.Rate {
		return nil
	}
	slow := float64(l.got) < float64(l.lim.MinRate)*l.blocked.Seconds()
	l.blocked, l.got = 0, 0
	if slow {
		return &TimeoutError{"rate"}
	}
	return nil
}

// need returns the next n bytes, n no more than the small buffer, and consumes
// them. They stay valid until the next read.
func (l *link) need(n int) ([]byte, error) {
	for l.w-l.r < n {
		if err := l.fill(); err != nil {
			if errors.Is(err, io.EOF) && l.w > l.r {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	b := l.buf[l.r : l.r+n]
	l.r += n
	return b, nil
}

// header reads the next PDU header. With idle it may wait for the first byte
// as long as the peer may stay silent between messages.
func (l *link) header(phase string, first time.Duration) (typ byte, length uint32, err error) {
	if l.r == l.w {
		l.wait(phase, first)
		for l.r == l.w {
			if err := l.fill(); err != nil {
				return 0, 0, err
			}
		}
	}
	l.wait("pdu", l.tmo.PDU)
	h, err := l.need(pduHeaderLen)
	if err != nil {
		return 0, 0, unexpected(err)
	}
	return h[0], binary.BigEndian.Uint32(h[2:]), nil
}

// unexpected turns an EOF inside a unit into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// body reads n bytes into memory that grows as they arrive, so that an
// announced length alone costs nothing.
func (l *link) body(n int) ([]byte, error) {
	var b []byte
	for len(b) < n {
		for l.r == l.w {
			if err := l.fill(); err != nil {
				return nil, unexpected(err)
			}
		}
		chunk := l.buf[l.r:min(l.w, l.r+n-len(b))]
		b = append(b, chunk...)
		l.r += len(chunk)
	}
	return b, nil
}

// pdv is the header of a presentation data value.
type pdv struct {
	contextID     byte
	command, last bool
}

// nextPDV moves to the next PDV. A-ABORT arrives as *AbortError, A-RELEASE as
// errReleaseRequested or errReleaseReply, anything illegal as *ProtocolError.
// phase and first say how long the first byte may take.
func (l *link) nextPDV(phase string, first time.Duration) (pdv, error) {
	for l.pduLeft == 0 {
		typ, n, err := l.header(phase, first)
		if err != nil {
			return pdv{}, err
		}
		switch typ {
		case pduData:
			if n > uint32(l.lim.MaxPDU) {
				return pdv{}, protocolErrorf(AbortInvalidParam, "P-DATA-TF of %d bytes, %d were advertised", n, l.lim.MaxPDU)
			}
			if n < pdvHeaderLen {
				return pdv{}, protocolErrorf(AbortInvalidParam, "P-DATA-TF of %d bytes", n)
			}
			l.pduLeft = n
		case pduReleaseRQ, pduReleaseRP, pduAbort:
			if n != 4 {
				return pdv{}, protocolErrorf(AbortInvalidParam, "PDU %02XH of %d bytes, need 4", typ, n)
			}
			b, err := l.need(4)
			if err != nil {
				return pdv{}, unexpected(err)
			}
			switch typ {
			case pduReleaseRQ:
				return pdv{}, errReleaseRequested
			case pduReleaseRP:
				return pdv{}, errReleaseReply
			}
			return pdv{}, &AbortError{b[2], b[3]}
		case pduAssociateRQ, pduAssociateAC, pduAssociateRJ:
			return pdv{}, protocolErrorf(AbortUnexpectedPDU, "PDU %02XH on an established association", typ)
		default:
			return pdv{}, protocolErrorf(AbortUnrecognizedPDU, "PDU type %02XH", typ)
		}
	}
	if l.pduLeft < pdvHeaderLen {
		return pdv{}, protocolErrorf(AbortInvalidParam, "%d stray bytes at the end of a P-DATA-TF", l.pduLeft)
	}
	h, err := l.need(pdvHeaderLen)
	if err != nil {
		return pdv{}, unexpected(err)
	}
	n := binary.BigEndian.Uint32(h)
	if n < 2 || n > l.pduLeft-4 {
		return pdv{}, protocolErrorf(AbortInvalidParam, "PDV of %d bytes in the last %d bytes of a P-DATA-TF", n, l.pduLeft)
	}
	l.pduLeft -= 4 + n
	l.pdvLeft = n - 2
	p := pdv{contextID: h[4], command: h[5]&pdvCommand != 0, last: h[5]&pdvLast != 0}
	if l.pdvLeft > 0 || p.last {
		l.empty = 0
	} else if l.empty++; l.empty > maxEmpty {
		return pdv{}, protocolErrorf(AbortInvalidParam, "more than %d PDVs without data", maxEmpty)
	}
	return p, nil
}

// fragment returns what is buffered of the current PDV, at least one byte, and
// consumes it. It is valid until the next read. Call it only while pdvLeft > 0.
func (l *link) fragment(limit int) ([]byte, error) {
	for l.r == l.w {
		if err := l.fill(); err != nil {
			return nil, unexpected(err)
		}
	}
	n := min(l.w-l.r, int(l.pdvLeft), limit)
	b := l.buf[l.r : l.r+n]
	l.r += n
	l.pdvLeft -= uint32(n)
	return b, nil
}

// direct reads the current PDV straight into p, past the buffer, which must be
// empty. With ahead it asks for the header of the next PDV too, so that a PDU
// costs one read: those bytes land in p behind the fragment and go to the
// buffer.
func (l *link) direct(p []byte, ahead bool) (int, error) {
	want := int(l.pdvLeft)
	if ahead {
		want += pduHeaderLen + pdvHeaderLen
	}
	got, err := 0, error(nil)
	for got == 0 && err == nil {
		got, err = l.receive(p[:min(want, len(p))])
	}
	n := min(got, int(l.pdvLeft))
	l.pdvLeft -= uint32(n)
	l.r, l.w = 0, copy(l.buf, p[n:got])
	return n, unexpected(err)
}

// readCommand waits for a command set. It is the only place where the peer may
// be silent for first.
func (l *link) readCommand(phase string, first time.Duration) (contextID byte, c *command, err error) {
	l.inMessage, l.blocked, l.got = false, 0, 0
	l.shrink()
	var set []byte
	for started := false; ; started = true {
		p, err := l.nextPDV(phase, first)
		if err != nil {
			if started && (errors.Is(err, errReleaseRequested) || errors.Is(err, errReleaseReply)) {
				err = protocolErrorf(AbortUnexpectedPDU, "A-RELEASE inside a command set")
			}
			return 0, nil, err
		}
		if !started {
			contextID = p.contextID
			phase, first = "pdu", l.tmo.PDU
			l.inMessage = true
		}
		if !p.command {
			return 0, nil, protocolErrorf(AbortUnexpectedParam, "data set fragment where a command set has to be")
		}
		if p.contextID != contextID {
			return 0, nil, protocolErrorf(AbortUnexpectedParam, "command set on presentation contexts %d and %d", contextID, p.contextID)
		}
		if len(set)+int(l.pdvLeft) > l.lim.MaxCommandSet {
			return 0, nil, protocolErrorf(AbortInvalidParam, "command set of more than %d bytes", l.lim.MaxCommandSet)
		}
		for l.pdvLeft > 0 {
			b, err := l.fragment(smallBuffer)
			if err != nil {
				return 0, nil, err
			}
			set = append(set, b...)
		}
		if p.last {
			break
		}
	}
	c, err = parseCommand(set)
	return contextID, c, err
}

// dataSetReader streams the data set that follows a command. It implements
// io.WriterTo without a copy in between. After an error other than io.EOF the
// association is lost, except after ErrObjectTooLarge.
type dataSetReader struct {
	l         *link
	contextID byte
	limit     int64
	n         int64
	last      bool  // the current PDV is the last
	long      bool  // the current PDV is worth a read past the buffer
	direct    bool  // there was such a read; a larger buffer would only catch what belongs into the next
	err       error // sticky; io.EOF at the end
	tooLarge  bool
}

// advance makes sure that bytes of a PDV are left, or returns the sticky error.
func (d *dataSetReader) advance() error {
	for d.err == nil && d.l.pdvLeft == 0 {
		if d.last {
			d.err = io.EOF
			break
		}
		p, err := d.l.nextPDV("pdu", d.l.tmo.PDU)
		switch {
		case errors.Is(err, errReleaseRequested) || errors.Is(err, errReleaseReply):
			d.err = protocolErrorf(AbortUnexpectedPDU, "A-RELEASE inside a data set")
		case err != nil:
			d.err = unexpected(err)
		case p.command:
			d.err = protocolErrorf(AbortUnexpectedParam, "command set inside a data set")
		case p.contextID != d.contextID:
			d.err = protocolErrorf(AbortUnexpectedParam, "data set on presentation contexts %d and %d", d.contextID, p.contextID)
		default:
			d.last, d.long = p.last, d.l.pdvLeft >= directMin
		}
	}
	return d.err
}

// next returns the next bytes of the data set.
func (d *dataSetReader) next(limit int) ([]byte, error) {
	if err := d.advance(); err != nil {
		return nil, err
	}
	b, err := d.l.fragment(limit)
	if err != nil {
		d.err = err
		return nil, err
	}
	if err := d.count(len(b)); err != nil {
		return nil, err
	}
	return b, nil
}

// count adds n bytes and fails when they are too many.
func (d *dataSetReader) count(n int) error {
	if d.n += int64(n); d.n > d.limit {
		d.tooLarge = true
		return ErrObjectTooLarge
	}
	return nil
}

// Read reads one fragment or part of one. What is long on both sides, the rest
// of the PDV and p, is read without a copy in between.
func (d *dataSetReader) Read(p []byte) (int, error) {
	if d.tooLarge {
		return 0, ErrObjectTooLarge
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := d.advance(); err != nil {
		return 0, err
	}
	direct := d.long && len(p) >= directMin
	d.direct = d.direct || direct
	if d.l.r < d.l.w || !direct {
		if !d.direct {
			d.l.grow()
		}
		b, err := d.next(len(p))
		return copy(p, b), err
	}
	n, err := d.l.direct(p, !d.last)
	if err == nil {
		err = d.count(n)
	} else {
		d.err = err
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// WriteTo implements io.WriterTo.
func (d *dataSetReader) WriteTo(w io.Writer) (n int64, err error) {
	if d.tooLarge {
		return 0, ErrObjectTooLarge
	}
	d.l.grow()
	for {
		b, err := d.next(bufpool.Large)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m, err := w.Write(b)
		n += int64(m)
		if err != nil {
			return n, err
		}
		if m != len(b) {
			return n, io.ErrShortWrite
		}
	}
}

// drain discards the rest. It returns an error when the association is lost: a
// peer may send an object of twice the limit before that is an abuse.
func (d *dataSetReader) drain() error {
	if d.err == nil {
		d.l.grow()
	}
	for {
		_, err := d.next(bufpool.Large)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, ErrObjectTooLarge):
			if d.n/2 > d.limit {
				return protocolErrorf(AbortNotSpecified, "data set of more than twice the limit of %d bytes", d.limit)
			}
		case err != nil:
			return err
		}
	}
}

// write sends b in one Write.
func (l *link) write(b []byte) error {
	l.mu.Lock()
	if l.kickedWrites {
		l.mu.Unlock()
		return errKicked
	}
	l.conn.SetWriteDeadline(time.Now().Add(l.tmo.Write))
	l.mu.Unlock()
	n, err := l.conn.Write(b)
	l.sent.Add(int64(n))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &TimeoutError{"write"}
	}
	return err
}

// fragmentSize is the longest fragment that fits a P-DATA-TF for the peer and
// the PDU size of this side.
func (l *link) fragmentSize() int {
	n := uint32(l.lim.MaxPDU)
	if l.peerMax != 0 {
		n = min(n, l.peerMax)
	}
	return int(n-pdvHeaderLen) &^ 1
}

// writeMessage sends a command set, and data when it is not nil, as one Write.
func (l *link) writeMessage(contextID byte, c *command, data []byte) error {
	set := c.append(nil)
	b := l.appendFragments(l.wbuf[:0], contextID, pdvCommand, set)
	if data != nil {
		b = l.appendFragments(b, contextID, 0, data)
	}
	err := l.write(b)
	if cap(b) <= smallBuffer {
		l.wbuf = b
	}
	return err
}

// appendFragments cuts p into P-DATA-TF PDUs of the peer's size.
func (l *link) appendFragments(b []byte, contextID, control byte, p []byte) []byte {
	size := l.fragmentSize()
	for {
		n := min(size, len(p))
		last := byte(0)
		if n == len(p) {
			last = pdvLast
		}
		b = appendDataPDU(b, contextID, control|last, n)
		b = append(b, p[:n]...)
		p = p[n:]
		if len(p) == 0 {
			return b
		}
	}
}

// writeDataSet sends r as a data set, several PDUs to a Write while they fit
// the buffer. It reads one byte ahead to know which fragment is the last; no
// PDV is empty unless the whole data set is. Fragments have to be even (PS3.8
// 9.3.5.1), so an odd data set, as deflating makes, ends with a NUL (PS3.5 A.5).
func (l *link) writeDataSet(contextID byte, r io.Reader) (n int64, err error) {
	buf := l.pool.Get()
	defer l.pool.Put(buf)
	const overhead = pduHeaderLen + pdvHeaderLen
	size := min(l.fragmentSize(), (len(buf)-overhead-1)&^1)
	var carry [1]byte
	have := 0 // bytes in carry
	used := 0 // bytes in buf
	for {
		if len(buf)-used < overhead+size+1 {
			if err := l.write(buf[:used]); err != nil {
				return n, err
			}
			used = 0
		}
		frag := buf[used+overhead : used+overhead+size+1]
		copy(frag, carry[:have])
		m, err := io.ReadFull(r, frag[have:])
		m += have
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return n, &sourceError{err}
		}
		have = 0
		control := pdvLast
		if !last {
			carry[0] = frag[size]
			m, have, control = size, 1, 0
		}
		n += int64(m)
		if m%2 == 1 {
			frag[m] = 0 // there is room: frag is one longer than a fragment
			m++
		}
		appendDataPDU(buf[used:used:len(buf)], contextID, control, m)
		used += overhead + m
		if last {
			return n, l.write(buf[:used])
		}
	}
}

// sourceError marks an error of the reader that a data set comes from, in
// contrast to one of the network.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "reading the data set: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// finish sends the last PDU of this side, closes for writing and waits briefly
// for the peer to close, so that a reset cannot destroy that PDU on its way.
func (l *link) finish(last []byte) {
	defer l.conn.Close()
	if last != nil {
		l.conn.SetWriteDeadline(time.Now().Add(min(l.tmo.Write, l.tmo.Linger)))
		if n, err := l.conn.Write(last); err != nil {
			return
		} else {
			l.sent.Add(int64(n))
		}
	}
	if c, ok := l.conn.(interface{ CloseWrite() error }); ok {
		if c.CloseWrite() != nil {
			return
		}
	}
	l.conn.SetReadDeadline(time.Now().Add(l.tmo.Linger))
	l.drop()
	for total := 0; total < 16<<20; {
		n, err := l.conn.Read(l.small)
		total += n
		if err != nil {
			return
		}
	}
}

// Package store is the node's durable memory: which studies and objects were
// received, which analyses ran, what they made and where it was delivered. It
// is one database, of SQLite for a node of one process or of PostgreSQL for
// several, that also holds the job queue (River), so that a state change and
// the job that follows from it are committed together.
//
// Every method is one transaction. SQLite runs in WAL mode with
// synchronous=FULL, PostgreSQL with synchronous_commit: when a method returns,
// its effect survives a power cut. In
// PostgreSQL everything that concerns a study locks the study's row first, so that
// several processes that receive, analyse and deliver one study see each other's
// work; SQLite has one writer.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// State of a study.
type State string

// States of a study. A late object takes a study back to Receiving.
const (
	Receiving State = "receiving"
	Queued    State = "queued"
	Analysing State = "analysing"
	Done      State = "done"
	Failed    State = "failed"
)

// DeliveryState of one object at one destination.
type DeliveryState string

// Delivery states. Pending is retried, Dead has used up its attempts and waits
// for a person.
const (
	Pending DeliveryState = "pending"
	Sent    DeliveryState = "sent"
	Warning DeliveryState = "warning"
	Dead    DeliveryState = "dead"
)

// ErrNotFound is returned for a study that is not in the store.
var ErrNotFound = errors.New("not found")

// ErrCursor is returned for a cursor that [Store.Page] did not give.
var ErrCursor = errors.New("not a cursor")

// Instance is one received object.
type Instance struct {
	SOPInstanceUID    string
	StudyInstanceUID  string
	SeriesInstanceUID string
	SOPClassUID       string
	TransferSyntaxUID string
	Path              string
	Size              int64
	CallingAE         string
	Received          time.Time
	Sender            string // address that it came from, "" where that is not known
	// Sum is a checksum of the data set as it was received, "" of objects that a
	// program of before has recorded.
	Sum string
	Person
	// Corrections is how often another version has taken the object's place.
	Corrections int
	// Loop says that the object is one to analyse. Others are kept, and neither
	// begin a run nor are part of one.
	Loop bool
	// Copy is a loop that begins no run once its study was reported, though it is
	// part of the next one.
	Copy bool
	// Sources are the images from which the object says that it was derived, if it
	// is no secondary capture. They are not recorded.
	Sources []string
}

// Study is the state of one study.
type Study struct {
	StudyInstanceUID string
	State            State
	Revision         int
	First, Last      time.Time // received, of the current round
	Error            string
}

// Output is one object that a run made.
type Output struct {
	SOPInstanceUID string
	SOPClassUID    string
	Kind           string
	Path           string // "" where the file has gone with its study, see [Store.SentReports]
	// SeriesInstanceUID is recorded of those without Path only. The node knows it of
	// other reports too, see its Request.
	SeriesInstanceUID string
	// For, see result.Output. It is not recorded.
	For []string
	// To, where it is set, are the only destinations that get the output,
	// whatever their kinds. It is not recorded.
	To []string
}

// Run is one analysis of a study.
type Run struct {
	ID               int64
	StudyInstanceUID string
	Revision         int
	Started          time.Time
	Finished         time.Time // zero while running
	Error            string
	Directory        string
	Summary          string // JSON, see pipeline/node
	Basis            string // what the outputs depend on
	Attempt          int    // counts starts of the run: only the latest may finish it
	// Like is the revision whose result this one has, a reader's word on it included;
	// 0: it has made its own. It is not read back.
	Like int
}

// Delivery is the state of one output at one destination.
type Delivery struct {
	Output
	RunID       int64
	Begun       RunMark // of the run
	Destination string
	State       DeliveryState
	Attempts    int
	Status      *uint16
	Comment     string
	Error       string
	Updated     time.Time
	Sending     bool // it is being sent, or was when the answer was lost: the destination may have it
	Untried     bool // what is recorded was no attempt. It is not read back
}

// RunMark tells a run from one of another study that came under its UID after a
// removal.
type RunMark struct {
	Started time.Time
	Attempt int
}

// Store is the database. It is safe for concurrent use.
type Store struct {
	sql     *sql.DB
	readers *sql.DB       // SQLite: see openReaders
	pool    *pgxpool.Pool // PostgreSQL, below sql
	db      handle
	read    handle // beside the writers
	writing group
	adding  additions
	process atomic.Pointer[string] // see Enter
	ahead   atomic.Int64           // see Ahead, in ns
	locks   lockConn
}

// AddInstance records a received object, and takes its study to Receiving if
// it is a loop. It reports whether the object is new; a repeated object changes
// nothing. Objects that come at the same time share a transaction, so that many
// senders cost one wait for the disk together; ctx bounds the wait, not the
// transaction.
func (s *Store) AddInstance(ctx context.Context, in Instance) (isNew bool, err error) {
	if s.pool == nil { // all its writers do that
		err = s.Transact(ctx, func(tx *Tx) (err error) {
			isNew, err = addOne(ctx, tx, in)
			return err
		})
		if err != nil {
			return false, fmt.Errorf("record instance: %w", err)
		}
		return isNew, nil
	}
	a := &addition{in: in, done: make(chan struct{})}
	s.adding.mu.Lock()
	s.adding.queue = append(s.adding.queue, a)
	if !s.adding.busy {
		s.adding.busy = true
		go s.addQueued()
	}
	s.adding.mu.Unlock()
	select {
	case <-a.done:
	case <-ctx.Done():
		return false, fmt.Errorf("record instance: %w", ctx.Err())
	}
	if a.err != nil {
		return false, fmt.Errorf("record instance: %w", a.err)
	}
	return a.isNew, nil
}

// addition is an object that waits to be recorded.
type addition struct {
	in    Instance
	isNew bool
	err   error
	done  chan struct{}
}

// additions are the objects that wait, and whether somebody records them.
type additions struct {
	mu    sync.Mutex
	queue []*addition
	busy  bool
}

// maxAdditions bounds the objects of one transaction.
const maxAdditions = 64

// addQueued records what waits until nothing does.
func (s *Store) addQueued() {
	for {
		s.adding.mu.Lock()
		n := min(len(s.adding.queue), maxAdditions)
		batch := slices.Clone(s.adding.queue[:n])
		s.adding.queue = s.adding.queue[n:]
		// In one order everywhere, so that processes don't wait for each other.
		slices.SortStableFunc(batch, func(a, b *addition) int { return strings.Compare(a.in.StudyInstanceUID, b.in.StudyInstanceUID) })
		if n == 0 {
			s.adding.busy, s.adding.queue = false, nil
			s.adding.mu.Unlock()
			return
		}
		s.adding.mu.Unlock()
		ctx := context.Background()
		err := s.Transact(ctx, func(tx *Tx) error {
			for _, a := range batch {
				if a.isNew, a.err = addOne(ctx, tx, a.in); a.err != nil && n > 1 {
					return a.err
				}
			}
			return batch[0].err
		})
		if err != nil && n > 1 && !errors.Is(err, context.DeadlineExceeded) {
			// One of them, or the disk: each by itself, so that none fails for
			// another. A server that does not answer fails them all.
			for _, a := range batch {
				a.isNew = false
				a.err = s.Transact(ctx, func(tx *Tx) (err error) {
					a.isNew, err = addOne(ctx, tx, a.in)
					return err
				})
			}
		} else {
			for _, a := range batch {
				a.err = err
			}
		}
		for _, a := range batch {
			close(a.done)
		}
	}
}

func addOne(ctx context.Context, tx *Tx, in Instance) (isNew bool, err error) {
	now := in.Received.UnixMilli()
	// A study that is analysed while a late object arrives goes back to
	// Receiving; the run under way finishes and a later one supersedes it.
	// A study without any loop has nothing to do.
	var added int64
	if err := tx.run(ctx,
		step{query: `INSERT INTO studies (study_uid, state, first_received_at, last_received_at, sender)
			VALUES (?, 'done', ?, ?, ?) ON CONFLICT (study_uid) DO NOTHING`,
			args: []any{in.StudyInstanceUID, now, now, in.Sender}},
		tx.locking(in.StudyInstanceUID),
		step{rows: &added, query: `INSERT INTO instances
			(sop_uid, study_uid, series_uid, sop_class, transfer_syntax, path, size, calling_ae, received_at, patient, issuer, family, given, born, sex, sum)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (sop_uid) DO NOTHING`,
			args: []any{in.SOPInstanceUID, in.StudyInstanceUID, in.SeriesInstanceUID, in.SOPClassUID, in.TransferSyntaxUID,
				in.Path, in.Size, in.CallingAE, now, in.Patient, in.Issuer, in.Family, in.Given, in.Born, in.Sex, tied(in.Sum, in.Path)}},
		step{query: `DELETE FROM removals WHERE path = ?`, args: []any{in.Path}}); err != nil {
		return false, err
	}
	isNew = added == 1
	if !isNew {
		return isNew, nil
	}
	loop := step{query: `INSERT INTO loops (sop_uid, study_uid, number)
			SELECT ?1, ?2, 1 + coalesce(max(number), 0) FROM loops WHERE study_uid = ?2`, args: []any{in.SOPInstanceUID, in.StudyInstanceUID}}
	begins := in.Loop
	if in.Copy && in.Loop {
		if err := tx.QueryRowContext(ctx, `SELECT NOT EXISTS (SELECT 1 FROM studies s JOIN runs r ON r.study_uid = s.study_uid
			WHERE s.study_uid = ? AND s.state IN ('done','failed') AND r.finished_at IS NOT NULL)`, in.StudyInstanceUID).Scan(&begins); err != nil {
			return false, err
		}
	}
	if in.Loop && !begins {
		if err := tx.run(ctx, loop); err != nil {
			return false, err
		}
	}
	if !begins {
		_, err = tx.ExecContext(ctx, `UPDATE studies SET last_received_at = ? WHERE study_uid = ?`, now, in.StudyInstanceUID)
		return isNew, err
	}
	err = tx.run(ctx, loop,
		step{query: `UPDATE studies SET
			first_received_at = CASE state WHEN 'receiving' THEN first_received_at ELSE ? END,
			last_received_at = ?, state = 'receiving', error = '' WHERE study_uid = ?`,
			args: []any{now, now, in.StudyInstanceUID}})
	return isNew, err
}

const studyColumns = `SELECT study_uid, state, revision, first_received_at, last_received_at, error FROM studies`

func scanStudy(r *sql.Rows) (st Study, err error) {
	var first, last int64
	err = r.Scan(&st.StudyInstanceUID, &st.State, &st.Revision, &first, &last, &st.Error)
	st.First, st.Last = time.UnixMilli(first), time.UnixMilli(last)
	return st, err
}

// Studies lists studies in the given states, or all of them, oldest first.
func (s *Store) Studies(ctx context.Context, states ...State) ([]Study, error) {
	query := studyColumns
	var args []any
	for i, st := range states {
		sep := ","
		if i == 0 {
			sep = " WHERE state IN ("
		}
		query += sep + "?"
		args = append(args, string(st))
	}
	if len(states) > 0 {
		query += ")"
	}
	return collect(ctx, s.read, scanStudy, query+" ORDER BY first_received_at, study_uid", args...)
}

// Study returns one study, or ErrNotFound.
func (s *Store) Study(ctx context.Context, uid string) (Study, error) {
	all, err := collect(ctx, s.read, scanStudy, studyColumns+` WHERE study_uid = ?`, uid)
	if err != nil {
		return Study{}, err
	}
	if len(all) == 0 {
		return Study{}, fmt.Errorf("study %s: %w", uid, ErrNotFound)
	}
	return all[0], nil
}

const instanceColumns = `SELECT sop_uid, study_uid, series_uid, sop_class, transfer_syntax, path, size, calling_ae, received_at,
	coalesce(patient,''), coalesce(issuer,''), family, coalesce(given,''), born, coalesce(sex,''), corrections, sum FROM instances `

func scanInstance(r *sql.Rows) (in Instance, err error) {
	var at int64
	err = r.Scan(&in.SOPInstanceUID, &in.StudyInstanceUID, &in.SeriesInstanceUID, &in.SOPClassUID,
		&in.TransferSyntaxUID, &in.Path, &in.Size, &in.CallingAE, &at, &in.Patient, &in.Issuer, &in.Family, &in.Given, &in.Born, &in.Sex, &in.Corrections, &in.Sum)
	in.Received, in.Sum = time.UnixMilli(at), untied(in.Sum, in.Path)
	return in, err
}

// tied is a checksum as it is recorded, with a sign of the path of the file that
// it is of: a program of before changes the path alone.
func tied(sum, path string) string {
	if sum == "" {
		return ""
	}
	return sum + pathSign(path)
}

// untied is the checksum that was recorded of the file at path, "" if it is of
// another.
func untied(recorded, path string) string {
	sum, ok := strings.CutSuffix(recorded, pathSign(path))
	if !ok {
		return ""
	}
	return sum
}

func pathSign(path string) string { return fmt.Sprintf("@%08x", crc32.ChecksumIEEE([]byte(path))) }

// InstancesAfter lists up to limit objects in order of their UIDs, beginning
// behind one.
func (s *Store) InstancesAfter(ctx context.Context, sopUID string, limit int) ([]Instance, error) {
	return collect(ctx, s.read, scanInstance, instanceColumns+`WHERE sop_uid > ? ORDER BY sop_uid LIMIT ?`, sopUID, limit)
}

// Instances lists the objects of a study in order of arrival.
func (s *Store) Instances(ctx context.Context, study string) ([]Instance, error) {
	return collect(ctx, s.read, scanInstance, instanceColumns+`WHERE study_uid = ? ORDER BY received_at, sop_uid`, study)
}

// Instance returns one object, or ErrNotFound.
func (s *Store) Instance(ctx context.Context, sopUID string) (Instance, error) {
	found, err := collect(ctx, s.read, scanInstance, instanceColumns+`WHERE sop_uid = ?`, sopUID)
	if err != nil {
		return Instance{}, err
	}
	if len(found) == 0 {
		return Instance{}, fmt.Errorf("object %s: %w", sopUID, ErrNotFound)
	}
	return found[0], nil
}

// Paths is the set of files that the store knows: of recorded objects, and of
// removed ones whose file is still to be deleted.
func (s *Store) Paths(ctx context.Context) (map[string]bool, error) {
	all, err := collect(ctx, s.read, func(r *sql.Rows) (p string, err error) {
		return p, r.Scan(&p)
	}, `SELECT path FROM instances UNION SELECT path FROM removals`)
	paths := make(map[string]bool, len(all))
	for _, p := range all {
		paths[p] = true
	}
	return paths, err
}

// Person is what tells patients apart: digests of what an object says of its
// own, empty where it says nothing.
type Person struct{ Patient, Issuer, Family, Given, Born, Sex string }

// Persons lists the different persons that the objects of a study name.
func (s *Store) Persons(ctx context.Context, study string) ([]Person, error) {
	return collect(ctx, s.read, func(r *sql.Rows) (p Person, err error) {
		return p, r.Scan(&p.Patient, &p.Issuer, &p.Family, &p.Given, &p.Born, &p.Sex)
	}, `SELECT DISTINCT patient, coalesce(issuer, ''), family, coalesce(given, ''), born, coalesce(sex, '') FROM instances
			WHERE study_uid = ? AND patient IS NOT NULL`, study)
}

// PersonsOf lists the different persons that objects under a Patient ID, given as
// a digest, name, in the order in which they were received first.
func (s *Store) PersonsOf(ctx context.Context, patient string) ([]Person, error) {
	return collect(ctx, s.read, func(r *sql.Rows) (p Person, err error) {
		var first int64
		return p, r.Scan(&p.Patient, &p.Issuer, &p.Family, &p.Given, &p.Born, &p.Sex, &first)
	}, `SELECT patient, coalesce(issuer, ''), family, coalesce(given, ''), born, coalesce(sex, ''), min(received_at) FROM instances WHERE patient = ?
		GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 7, 1, 2, 3, 4, 5, 6`, patient)
}

// Unread lists the objects of a study whose person was recorded, or corrected,
// by a program of before: what it wrote of the family name does not begin with
// form.
func (s *Store) Unread(ctx context.Context, study, form string) ([]Instance, error) {
	return collect(ctx, s.read, scanInstance, instanceColumns+`WHERE study_uid = ? AND family <> ? AND family NOT LIKE ?
		ORDER BY received_at, sop_uid`, study, form, form+" %")
}

// SetPerson records of whom an object is that [Store.Unread] has listed, unless
// it has been corrected meanwhile.
func (s *Store) SetPerson(ctx context.Context, in Instance) error {
	if _, err := s.db.ExecContext(ctx, `UPDATE instances SET patient = ?, issuer = ?, family = ?, given = ?, born = ?, sex = ? WHERE sop_uid = ? AND path = ?`,
		in.Patient, in.Issuer, in.Family, in.Given, in.Born, in.Sex, in.SOPInstanceUID, in.Path); err != nil {
		return fmt.Errorf("record a person: %w", err)
	}
	return nil
}

// SetSum records the checksum of an object that has none, unless its bytes are in
// another file by now, and says whether it did.
func (s *Store) SetSum(ctx context.Context, in Instance) (set bool, err error) {
	res, err := s.db.ExecContext(ctx, `UPDATE instances SET sum = ?1 WHERE sop_uid = ?2 AND path = ?3 AND sum NOT LIKE ?4`,
		tied(in.Sum, in.Path), in.SOPInstanceUID, in.Path, "%"+pathSign(in.Path))
	var n int64
	if err == nil {
		n, err = res.RowsAffected()
	}
	if err != nil {
		return false, fmt.Errorf("record a checksum: %w", err)
	}
	return n > 0, nil
}

// Sender is the address that the first object of a study came from, "" where
// that is not known.
func (s *Store) Sender(ctx context.Context, study string) (string, error) {
	var sender string
	err := s.read.QueryRowContext(ctx, `SELECT sender FROM studies WHERE study_uid = ?`, study).Scan(&sender)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("study %s: %w", study, ErrNotFound)
	}
	return sender, err
}

// IsOutput reports whether the object was made by this node.
func (s *Store) IsOutput(ctx context.Context, sopUID string) (bool, error) {
	var n int
	err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM outputs WHERE sop_uid = ?`, sopUID).Scan(&n)
	return n > 0, err
}

// Queue takes a study from Receiving to Queued under a new revision; loops whose
// results depend on another basis wait again. If no loop is left to do, it calls
// enqueue in the same transaction. It returns false when the study is no longer
// receiving or has received something after last.
func (s *Store) Queue(ctx context.Context, study string, last time.Time, basis string, enqueue Enqueue) (queued bool, err error) {
	err = s.Transact(ctx, func(tx *Tx) error {
		queued = false
		if err := tx.lock(ctx, study); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `UPDATE studies SET state = 'queued', revision = revision + 1
			WHERE study_uid = ? AND state = 'receiving' AND last_received_at <= ?`, study, last.UnixMilli())
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		queued = true
		if err := refresh(ctx, tx, study, basis, false); err != nil {
			return err
		}
		return s.combineIfDue(ctx, tx, study, enqueue)
	})
	if err != nil {
		return false, fmt.Errorf("queue study: %w", err)
	}
	return queued, nil
}

// Requeue starts a new revision of a study that is Done or Failed and holds a
// loop. Loops wait again whose results depend on another basis or may come out
// better this time.
func (s *Store) Requeue(ctx context.Context, study, basis string, enqueue Enqueue) error {
	return s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lock(ctx, study); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `UPDATE studies SET state = 'queued', revision = revision + 1, error = ''
			WHERE study_uid = ? AND state IN ('done','failed') AND EXISTS (SELECT 1 FROM loops WHERE study_uid = ?)`, study, study)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("study %s is not done or failed, or holds no loop: %w", study, ErrNotFound))
		}
		if err := refresh(ctx, tx, study, basis, true); err != nil {
			return err
		}
		return s.combineIfDue(ctx, tx, study, enqueue)
	})
}

// StartRun opens (or reopens, after a crash) the run of a revision and marks
// the study as being analysed unless it is receiving again.
func (s *Store) StartRun(ctx context.Context, study string, revision int) (Run, error) {
	run := Run{StudyInstanceUID: study, Revision: revision, Started: s.Now()}
	err := s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lock(ctx, study); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, `INSERT INTO runs (id, study_uid, revision, started_at, attempt) VALUES (`+nextRun+`,?,?,?,1)
			ON CONFLICT (study_uid, revision) DO UPDATE SET started_at = excluded.started_at, error = '', attempt = runs.attempt + 1 RETURNING id, attempt`,
			study, revision, run.Started.UnixMilli()).Scan(&run.ID, &run.Attempt); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE studies SET state = 'analysing'
			WHERE study_uid = ? AND revision = ? AND state IN ('queued','failed')`, study, revision)
		return err
	})
	if err != nil {
		return Run{}, fmt.Errorf("start run: %w", err)
	}
	return run, nil
}

// Route says which kinds of output a destination gets.
type Route struct {
	Destination string
	Kinds       []string
	Own         bool // outputs are made for it in a form of its own
}

// gets reports whether an output goes to the route's destination.
func (r Route) gets(o Output) bool {
	if len(o.To) > 0 {
		return slices.Contains(o.To, r.Destination)
	}
	form := ""
	if r.Own {
		form = r.Destination
	}
	return slices.Contains(r.Kinds, o.Kind) && (len(o.For) == 0 && !r.Own || slices.Contains(o.For, form))
}

// FinishRun records what a run made, opens a delivery for every output at
// every destination that gets its kind and calls enqueue for each destination
// that something is left to send to, all in one transaction. It may be
// repeated for the same run: outputs have deterministic UIDs and what was
// sent stays sent. What earlier runs made, this one did not and was given up is
// not sent any more. An error wrapping ErrOutdated says that the run's objects were
// corrected meanwhile, that the run was started again, because its process was
// taken for dead, or that it is of another study, which came under the UID after a
// removal: nothing is recorded of it. What a reader has signed, and a run that is like
// it has taken over, is signed.
func (s *Store) FinishRun(ctx context.Context, run Run, outputs []Output, routes []Route, enqueue func(tx *Tx, run int64, destination string) error) error {
	err := s.Transact(ctx, func(tx *Tx) error {
		now := tx.now().UnixMilli()
		if err := tx.lock(ctx, run.StudyInstanceUID); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `UPDATE runs SET finished_at = ?, error = '', directory = ?, summary = ?, basis = ?
			WHERE id = ? AND study_uid = ? AND revision = ? AND attempt = ? AND started_at = ?`, now, run.Directory, run.Summary, run.Basis, run.ID,
			run.StudyInstanceUID, run.Revision, run.Attempt, run.Started.UnixMilli())
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrOutdated)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE studies SET state = 'done', error = ''
			WHERE study_uid = ? AND revision = ? AND state IN ('queued','analysing')`, run.StudyInstanceUID, run.Revision); err != nil {
			return err
		}
		if run.Like > 0 {
			if _, err := tx.ExecContext(ctx, `INSERT INTO reviews (run_id, verdict, "user", name, organisation, comment, corrections, signed_at)
				SELECT CAST(? AS BIGINT), v.verdict, v."user", v.name, v.organisation, v.comment, v.corrections, v.signed_at
				FROM reviews v JOIN runs r ON r.id = v.run_id WHERE r.study_uid = ? AND r.revision = ? ON CONFLICT (run_id) DO NOTHING`,
				run.ID, run.StudyInstanceUID, run.Like); err != nil {
				return err
			}
		}
		if err := deliver(ctx, tx, run.ID, outputs, routes, enqueue); err != nil {
			return err
		}
		return supersede(ctx, tx, run.StudyInstanceUID)
	})
	if err != nil {
		return fmt.Errorf("finish run: %w", err)
	}
	return nil
}

// deliver records what a run made, opens a delivery for every output at every
// destination that gets its kind and calls enqueue for each destination that
// something is left to send to.
func deliver(ctx context.Context, tx *Tx, run int64, outputs []Output, routes []Route, enqueue func(tx *Tx, run int64, destination string) error) error {
	now := tx.now().UnixMilli()
	for _, o := range outputs {
		if _, err := tx.ExecContext(ctx, `INSERT INTO outputs (sop_uid, run_id, kind, sop_class, path) VALUES (?,?,?,?,?)
			ON CONFLICT (sop_uid) DO UPDATE SET run_id = excluded.run_id, path = excluded.path`,
			o.SOPInstanceUID, run, o.Kind, o.SOPClassUID, o.Path); err != nil {
			return err
		}
		for _, r := range routes {
			if !r.gets(o) {
				continue
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO deliveries (run_id, sop_uid, destination, state, updated_at)
				VALUES (?,?,?,'pending',?) ON CONFLICT (sop_uid, destination) DO UPDATE SET run_id = excluded.run_id,
				state = CASE WHEN deliveries.sending = 2 THEN 'pending' ELSE deliveries.state END,
				sending = CASE WHEN deliveries.sending = 2 THEN 1 ELSE deliveries.sending END`,
				run, o.SOPInstanceUID, r.Destination, now); err != nil {
				return err
			}
		}
	}
	for _, r := range routes {
		var pending bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM deliveries WHERE run_id = ? AND destination = ? AND state = 'pending')`,
			run, r.Destination).Scan(&pending); err != nil {
			return err
		}
		if !pending {
			continue
		}
		if err := enqueue(tx, run, r.Destination); err != nil {
			return err
		}
	}
	return nil
}

// overtaken is said of deliveries that a newer run came before.
const overtaken = "superseded while it was being sent: the destination may have it"

// supersede forgets what was given up of what a later run of the study has taken
// the place of, so that nothing outdated goes out after that when all is sent
// again. What is still tried goes out: the later report names it as predecessor. A
// reader's run makes no drawings of loops that he left as they were. What an
// archive may have, because its answer was lost, counts as sent with a Warning.
func supersede(ctx context.Context, tx *Tx, study string) error {
	const outdated = ` AND state = 'dead'` + replaced
	if _, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = 'warning', sending = 2, error = ?, updated_at = ? WHERE sending = 1`+outdated,
		overtaken, tx.now().UnixMilli(), study); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM deliveries WHERE sending <> 1`+outdated, study)
	return err
}

// replaced is what a later run of a study has taken the place of.
const replaced = ` AND sop_uid IN (
	SELECT o.sop_uid FROM outputs o JOIN runs r ON r.id = o.run_id WHERE r.study_uid = ? AND o.kind <> 'withdrawal' AND EXISTS (
		SELECT 1 FROM runs n WHERE n.study_uid = r.study_uid AND n.revision > r.revision AND n.finished_at IS NOT NULL
		AND (o.kind IN ('report','summary','pdf') OR NOT EXISTS (SELECT 1 FROM reviews v WHERE v.run_id = n.id))))`

// OlderReports lists the reports of runs of a run's study before it that are still
// pending at a destination, the oldest first.
func (s *Store) OlderReports(ctx context.Context, run int64, destination string) ([]Delivery, error) {
	return collect(ctx, s.read, scanDelivery, deliveryColumns+`JOIN runs n ON n.study_uid = r.study_uid
		WHERE n.id = ? AND r.revision < n.revision AND d.destination = ? AND d.state = 'pending' AND o.kind = 'report' ORDER BY r.revision, o.sop_uid`,
		run, destination)
}

// Overtaken gives up a delivery of which a later run has sent what takes its place:
// it would go out after that.
func (s *Store) Overtaken(ctx context.Context, d Delivery) error {
	err := s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lockOf(ctx, `SELECT study_uid FROM runs WHERE id = ?`, d.RunID); err != nil {
			return err
		}
		var study string
		err := tx.QueryRowContext(ctx, `SELECT study_uid FROM runs WHERE id = ?`, d.RunID).Scan(&study)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = 'dead', updated_at = ? WHERE run_id = ? AND destination = ? AND state = 'pending'
			AND deliveries.sop_uid = ?`+replaced, tx.now().UnixMilli(), d.RunID, d.Destination, d.SOPInstanceUID, study); err != nil {
			return err
		}
		return supersede(ctx, tx, study)
	})
	if err != nil {
		return fmt.Errorf("a delivery that was overtaken: %w", err)
	}
	return nil
}

// NoteRun ends a run that makes no results for a reason, and opens deliveries
// of what it sends all the same: notes that take earlier results back. The study
// becomes Done or Failed. For ErrOutdated see [Store.FinishRun].
func (s *Store) NoteRun(ctx context.Context, run Run, state State, reason error, notes []Output, routes []Route,
	enqueue func(tx *Tx, run int64, destination string) error) error {
	err := s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lock(ctx, run.StudyInstanceUID); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `UPDATE runs SET error = ? WHERE id = ? AND study_uid = ? AND revision = ? AND attempt = ? AND started_at = ?`,
			reason.Error(), run.ID, run.StudyInstanceUID, run.Revision, run.Attempt, run.Started.UnixMilli())
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrOutdated)
		}
		problem := ""
		if state == Failed {
			problem = reason.Error()
		}
		if _, err := tx.ExecContext(ctx, `UPDATE studies SET state = ?, error = ?
			WHERE study_uid = ? AND revision = ? AND state IN ('queued','analysing')`, string(state), problem, run.StudyInstanceUID, run.Revision); err != nil {
			return err
		}
		return deliver(ctx, tx, run.ID, notes, routes, enqueue)
	})
	if err != nil {
		return fmt.Errorf("note run: %w", err)
	}
	return nil
}

// FailRun records why a run failed. With final set, the study is Failed;
// otherwise it is queued again. Nothing is recorded of a run that was started again
// meanwhile, because its process was taken for dead, or that has finished. A run
// with Attempt 0, which could not be started or whose process died, is whichever
// attempt is open.
func (s *Store) FailRun(ctx context.Context, run Run, cause error, final bool) error {
	state := Queued
	if final {
		state = Failed
	}
	err := s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lock(ctx, run.StudyInstanceUID); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx,
			`UPDATE runs SET error = ?1 WHERE study_uid = ?2 AND revision = ?3 AND finished_at IS NULL
				AND (CAST(?4 AS BIGINT) = 0 OR attempt = ?4 AND started_at = ?5)`,
			cause.Error(), run.StudyInstanceUID, run.Revision, run.Attempt, run.Started.UnixMilli())
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			if run.Attempt > 0 {
				return nil // another attempt's, or of a study that was removed
			}
			var there bool
			if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM runs WHERE study_uid = ? AND revision = ?)`,
				run.StudyInstanceUID, run.Revision).Scan(&there); err != nil || there {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `UPDATE studies SET state = ?, error = ?
			WHERE study_uid = ? AND revision = ? AND state IN ('queued','analysing')`, string(state), cause.Error(), run.StudyInstanceUID, run.Revision)
		return err
	})
	if err != nil {
		return fmt.Errorf("fail run: %w", err)
	}
	return nil
}

const runColumns = `SELECT id, study_uid, revision, started_at, finished_at, error, directory, summary, basis FROM runs `

func scanRun(r *sql.Rows) (run Run, err error) {
	var started int64
	var finished sql.NullInt64
	err = r.Scan(&run.ID, &run.StudyInstanceUID, &run.Revision, &started, &finished, &run.Error, &run.Directory, &run.Summary, &run.Basis)
	run.Started = time.UnixMilli(started)
	if finished.Valid {
		run.Finished = time.UnixMilli(finished.Int64)
	}
	return run, err
}

// Runs lists the runs of a study, newest first.
func (s *Store) Runs(ctx context.Context, study string) ([]Run, error) {
	return collect(ctx, s.read, scanRun, runColumns+`WHERE study_uid = ? ORDER BY revision DESC`, study)
}

// RunOutput is an output with the revision that made it.
type RunOutput struct {
	Output
	Revision int
}

// Outputs lists what the runs of a study made, newest run first.
func (s *Store) Outputs(ctx context.Context, study string) ([]RunOutput, error) {
	return collect(ctx, s.read, func(r *sql.Rows) (o RunOutput, err error) {
		return o, r.Scan(&o.SOPInstanceUID, &o.SOPClassUID, &o.Kind, &o.Path, &o.Revision)
	}, `SELECT o.sop_uid, o.sop_class, o.kind, o.path, r.revision FROM outputs o JOIN runs r ON r.id = o.run_id
		WHERE r.study_uid = ? ORDER BY r.revision DESC, o.kind DESC, o.sop_uid`, study)
}

const deliveryColumns = `SELECT o.sop_uid, o.sop_class, o.kind, o.path, d.run_id, d.destination, d.state, d.attempts, d.status, d.comment, d.error,
	d.updated_at, r.started_at, r.attempt, d.sending FROM deliveries d JOIN outputs o ON o.sop_uid = d.sop_uid JOIN runs r ON r.id = d.run_id `

func scanDelivery(r *sql.Rows) (d Delivery, err error) {
	var status sql.NullInt64
	var at, started, sending int64
	err = r.Scan(&d.SOPInstanceUID, &d.SOPClassUID, &d.Kind, &d.Path, &d.RunID, &d.Destination, &d.State,
		&d.Attempts, &status, &d.Comment, &d.Error, &at, &started, &d.Begun.Attempt, &sending)
	d.Sending = sending != 0
	if status.Valid {
		v := uint16(status.Int64)
		d.Status = &v
	}
	d.Updated, d.Begun.Started = time.UnixMilli(at), time.UnixMilli(started)
	return d, err
}

// Deliveries lists the deliveries of a study, newest run first.
func (s *Store) Deliveries(ctx context.Context, study string) ([]Delivery, error) {
	return collect(ctx, s.read, scanDelivery, deliveryColumns+`
		WHERE r.study_uid = ? ORDER BY r.revision DESC, d.destination, o.kind DESC, o.sop_uid`, study)
}

// PendingDeliveries lists what a run still has to send to a destination, the
// report first and of the others what has failed least often: what fails each time
// is not always in the way of the same.
func (s *Store) PendingDeliveries(ctx context.Context, run int64, destination string) ([]Delivery, error) {
	return collect(ctx, s.read, scanDelivery, deliveryColumns+`
		WHERE d.run_id = ? AND d.destination = ? AND d.state = 'pending'
		ORDER BY o.kind <> 'report', d.attempts, o.kind DESC, o.sop_uid`, run, destination)
}

// sameStudy is for a delivery that was read before: its study was not removed
// since, for another one that came under its UIDs and makes outputs under the same.
// Its arguments are those of ofRun.
const sameStudy = ` AND EXISTS (SELECT 1 FROM runs r JOIN runs now ON now.study_uid = r.study_uid
	WHERE now.id = deliveries.run_id AND r.id = ? AND (r.started_at = ? OR r.attempt > ?))`

func (d Delivery) ofRun() []any { return []any{d.RunID, d.Begun.Started.UnixMilli(), d.Begun.Attempt} }

// RecordDelivery stores the outcome of one attempt. Of a delivery that was
// withdrawn meanwhile an answer is recorded: it was taken, or the destination
// refused it and has nothing. Of one whose study was removed meanwhile nothing is.
func (s *Store) RecordDelivery(ctx context.Context, d Delivery) error {
	var status any
	if d.Status != nil {
		status = int64(*d.Status)
	}
	attempts := 1
	if d.Untried {
		attempts = 0
	}
	err := s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lockOf(ctx, `SELECT r.study_uid FROM deliveries d JOIN runs r ON r.id = d.run_id WHERE d.sop_uid = ? AND d.destination = ?`, d.SOPInstanceUID,
			d.Destination); err != nil {
			return err
		}
		if d.State == Pending && status != nil {
			if _, err := tx.ExecContext(ctx, `DELETE FROM deliveries WHERE sop_uid = ? AND destination = ? AND sending = 2`+sameStudy,
				append([]any{d.SOPInstanceUID, d.Destination}, d.ofRun()...)...); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx,
			`UPDATE deliveries SET state = ?, attempts = attempts + CAST(? AS BIGINT), sending = CASE WHEN CAST(? AS BIGINT) IS NULL THEN sending ELSE 0 END,
			status = ?, comment = ?, error = ?, updated_at = ?
			WHERE sop_uid = ? AND destination = ? AND (sending <> 2 OR CAST(? AS BIGINT) IS NOT NULL)`+sameStudy,
			append([]any{string(d.State), attempts, status, status, d.Comment, d.Error, tx.now().UnixMilli(), d.SOPInstanceUID, d.Destination, status},
				d.ofRun()...)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("record delivery: %w", err)
	}
	return nil
}

// BuryDeliveries marks what a run could not deliver to a destination as dead.
func (s *Store) BuryDeliveries(ctx context.Context, run int64, destination string) error {
	return s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lockOf(ctx, `SELECT study_uid FROM runs WHERE id = ?`, run); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = 'dead', updated_at = ?
			WHERE run_id = ? AND destination = ? AND state = 'pending'`, tx.now().UnixMilli(), run, destination); err != nil {
			return err
		}
		var study string
		err := tx.QueryRowContext(ctx, `SELECT study_uid FROM runs WHERE id = ?`, run).Scan(&study)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		return supersede(ctx, tx, study)
	})
}

// DeadStudies lists the studies with deliveries to a destination that were given up, ""
// for any destination.
func (s *Store) DeadStudies(ctx context.Context, destination string) ([]string, error) {
	return collect(ctx, s.read, scanText, `SELECT DISTINCT r.study_uid FROM deliveries d JOIN runs r ON r.id = d.run_id
		WHERE d.state = 'dead' AND (CAST(?1 AS TEXT) = '' OR d.destination = ?1) ORDER BY 1`, destination)
}

// ReviveDeliveries takes the dead deliveries of a study to a destination, "" for all, back to pending and
// calls enqueue for each run and destination concerned, in one transaction.
func (s *Store) ReviveDeliveries(ctx context.Context, study, destination string, enqueue func(tx *Tx, run int64, destination string) error) (int, error) {
	n := 0
	err := s.Transact(ctx, func(tx *Tx) error {
		n = 0
		if err := tx.lock(ctx, study); err != nil {
			return err
		}
		if err := supersede(ctx, tx, study); err != nil { // given up by an earlier version
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT DISTINCT d.run_id, d.destination FROM deliveries d JOIN runs r ON r.id = d.run_id
			WHERE r.study_uid = ?1 AND d.state = 'dead' AND (CAST(?2 AS TEXT) = '' OR d.destination = ?2)`, study, destination)
		if err != nil {
			return err
		}
		type target struct {
			run  int64
			dest string
		}
		var targets []target
		for rows.Next() {
			var t target
			if err := rows.Scan(&t.run, &t.dest); err != nil {
				return errors.Join(err, rows.Close())
			}
			targets = append(targets, t)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for _, t := range targets {
			res, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = 'pending', updated_at = ?
				WHERE run_id = ? AND destination = ? AND state = 'dead'`, tx.now().UnixMilli(), t.run, t.dest)
			if err != nil {
				return err
			}
			k, err := res.RowsAffected()
			if err != nil {
				return err
			}
			n += int(k)
			if err := enqueue(tx, t.run, t.dest); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// Retention says which studies are removed: see [Store.Expired]. A zero time
// removes none.
type Retention struct {
	Done   time.Time // finished studies that were last touched before
	Failed time.Time // studies that failed, or that have deliveries which were given up, before
}

// expired is what makes a study removable. A pending delivery keeps it in any
// case.
const expired = `(state = 'done' AND last_received_at < ?
		AND NOT EXISTS (SELECT 1 FROM deliveries d JOIN runs r ON r.id = d.run_id
			WHERE r.study_uid = studies.study_uid AND (d.state IN ('pending','dead') OR d.updated_at >= ?))
	OR state IN ('done','failed') AND last_received_at < ?
		AND NOT EXISTS (SELECT 1 FROM deliveries d JOIN runs r ON r.id = d.run_id
			WHERE r.study_uid = studies.study_uid AND (d.state = 'pending' OR d.updated_at >= ?)))`

func (r Retention) args() []any {
	ms := func(t time.Time) int64 {
		if t.IsZero() {
			return math.MinInt64
		}
		return t.UnixMilli()
	}
	return []any{ms(r.Done), ms(r.Done), ms(r.Failed), ms(r.Failed)}
}

// Expired lists studies that nobody needs any more: done, last touched before
// r.Done, with every delivery answered; or failed, or done with deliveries that
// were given up, and last touched before r.Failed.
func (s *Store) Expired(ctx context.Context, r Retention) ([]string, error) {
	return collect(ctx, s.read, func(r *sql.Rows) (uid string, err error) {
		return uid, r.Scan(&uid)
	}, `SELECT study_uid FROM studies WHERE `+expired, r.args()...)
}

// Removal is a file that is to be deleted because its record is gone.
type Removal struct{ Path, SOPInstanceUID string }

// Delete removes a study and everything recorded about it, and notes its files
// for [Store.Removals]. Only sent is kept, for [Store.SentReports].
func (s *Store) Delete(ctx context.Context, study string, sent ...SentReport) error {
	return s.Transact(ctx, func(tx *Tx) error { return remove(ctx, tx, study, sent) })
}

// DeleteExpired is Delete of a study that still is what [Store.Expired] lists;
// otherwise it does nothing and returns false. An object that arrives between
// the two keeps its study.
func (s *Store) DeleteExpired(ctx context.Context, study string, r Retention, sent ...SentReport) (deleted bool, err error) {
	err = s.Transact(ctx, func(tx *Tx) error {
		var n int
		deleted = false
		if err := tx.lock(ctx, study); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM studies WHERE study_uid = ? AND `+expired, append([]any{study}, r.args()...)...).
			Scan(&n); err != nil || n == 0 {
			return err
		}
		deleted = true
		return remove(ctx, tx, study, sent)
	})
	return deleted, err
}

func remove(ctx context.Context, tx *Tx, study string, sent []SentReport) error {
	if err := tx.lock(ctx, study); err != nil {
		return err
	}
	if err := keepSent(ctx, tx, study, sent); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO removals (path, sop_uid) SELECT path, sop_uid FROM instances WHERE study_uid = ? ON CONFLICT DO NOTHING`,
		study); err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `DELETE FROM studies WHERE study_uid = ?`, study)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("study %s: %w", study, ErrNotFound))
	}
	return nil
}

// Removals lists the files that are to be deleted.
func (s *Store) Removals(ctx context.Context) ([]Removal, error) {
	return collect(ctx, s.read, func(r *sql.Rows) (m Removal, err error) {
		return m, r.Scan(&m.Path, &m.SOPInstanceUID)
	}, `SELECT path, sop_uid FROM removals`)
}

// Removing reports whether a file is still to be deleted.
func (s *Store) Removing(ctx context.Context, path string) (bool, error) {
	var n int
	err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM removals WHERE path = ?`, path).Scan(&n)
	return n > 0, err
}

// Removed notes that a file was deleted.
func (s *Store) Removed(ctx context.Context, path string) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM removals WHERE path = ?`, path)
	return err
}

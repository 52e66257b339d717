package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Flags mark what a reader should see of a study at a glance.
type Flags int

// Flags of a listed study.
const (
	NotMeasured    Flags = 1 << iota // analysed, and no ejection fraction
	Disagreement                     // the two views disagree
	ReducedEF                        // below the normal range of the patient's sex
	LateObjects                      // objects came after the first analysis
	DeliveryFailed                   // a delivery was given up
	AnalysisFailed
)

// Listing is a study as the review page lists it.
type Listing struct {
	StudyInstanceUID string
	PatientName      string // for people: Family, Given
	PatientID        string
	BirthDate        string // YYYYMMDD or ""
	Sex              string
	Accession        string
	Description      string
	Time             time.Time // of the examination; of arrival where the objects do not say
	State            State
	Revision         int
	Objects          int
	EF               *float64 // per cent
	EFMethod         string
	EFGrade          string
	Flags            Flags
	Verdict          string // of the latest review of this revision, or ""

	// NamedBy is the object that patient and time were read from. It is not recorded.
	NamedBy *Instance
	// Unread is why no object could be asked for patient and time: what was known
	// before stands there. It is not recorded.
	Unread error
}

// WorklistQuery selects, orders and pages listings.
type WorklistQuery struct {
	// Search is looked for in name, patient ID, accession number and study UID;
	// every word must occur.
	Search string
	State  State // or ""
	Flags  Flags // any of them; 0 for all
	// Unreviewed leaves out what has a verdict.
	Unreviewed bool
	From, To   time.Time // of Time, half-open; zero for no bound
	Order      Order
	Descending bool
	Limit      int
	Offset     int
}

// Order of a worklist.
type Order string

// Orders of a worklist.
const (
	ByTime Order = "time"
	ByName Order = "name"
	ByEF   Order = "ef"
)

var orderColumns = map[Order]string{ByTime: "study_time", ByName: "patient_name", ByEF: "ef"}

const listingColumns = `study_uid, patient_name, patient_id, birth_date, sex, accession, description, study_time,
	state, revision, objects, ef, ef_method, ef_grade, flags, verdict`

func scanListing(r *sql.Rows) (l Listing, err error) {
	var at int64
	var ef sql.NullFloat64
	err = r.Scan(&l.StudyInstanceUID, &l.PatientName, &l.PatientID, &l.BirthDate, &l.Sex, &l.Accession, &l.Description, &at,
		&l.State, &l.Revision, &l.Objects, &ef, &l.EFMethod, &l.EFGrade, &l.Flags, &l.Verdict)
	l.Time = time.UnixMilli(at)
	if ef.Valid {
		l.EF = &ef.Float64
	}
	return l, err
}

// An index finds words of letters letters and more, and is worth while up to
// manyRows rows that it finds.
const (
	letters  = 3
	manyRows = 5000
)

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// addSearch adds the conditions that every word occurs in what is searched.
func (s *Store) addSearch(ctx context.Context, words []string, add func(condition string, values ...any)) error {
	if s.pool != nil {
		for _, word := range words {
			add(`search LIKE ?`, "%"+escapeLike.Replace(word)+"%")
		}
		return nil
	}
	best, rows := "", manyRows
	for _, word := range words {
		add(`instr(search, ?) > 0`, word)
		if utf8.RuneCountInString(word) < letters {
			continue
		}
		phrase := `"` + strings.ReplaceAll(word, `"`, `""`) + `"`
		var n int
		if err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT rowid FROM worklist_letters WHERE worklist_letters MATCH ? LIMIT ?)`, phrase, rows).
			Scan(&n); err != nil {
			return err
		}
		if n < rows {
			best, rows = phrase, n
		}
	}
	if best != "" {
		add(`n IN (SELECT rowid FROM worklist_letters WHERE worklist_letters MATCH ?)`, best)
	}
	return nil
}

// Worklist returns one page of listings and how many there are on all pages.
func (s *Store) Worklist(ctx context.Context, q WorklistQuery) (page []Listing, total int, err error) {
	var where []string
	var args []any
	add := func(condition string, values ...any) {
		where = append(where, condition)
		args = append(args, values...)
	}
	if err := s.addSearch(ctx, strings.Fields(strings.ToLower(q.Search)), add); err != nil {
		return nil, 0, fmt.Errorf("worklist: %w", err)
	}
	if q.State != "" {
		add(`state = ?`, string(q.State))
	}
	if q.Flags != 0 {
		add(`flags & ? <> 0`, int(q.Flags))
	}
	if q.Unreviewed {
		add(`verdict = ''`)
	}
	if !q.From.IsZero() {
		add(`study_time >= ?`, q.From.UnixMilli())
	}
	if !q.To.IsZero() {
		add(`study_time < ?`, q.To.UnixMilli())
	}
	if q.Order == ByEF {
		add(`ef IS NOT NULL`)
	}
	filter := ""
	if len(where) > 0 {
		filter = " WHERE " + strings.Join(where, " AND ")
	}
	if err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM worklist`+filter, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("worklist: %w", err)
	}
	if total == 0 {
		return nil, 0, nil
	}
	column, direction := orderColumns[q.Order], "ASC"
	if column == "" {
		column = orderColumns[ByTime]
	}
	if q.Descending {
		direction = "DESC"
	}
	page, err = collect(ctx, s.read, scanListing, `SELECT `+listingColumns+` FROM worklist`+filter+
		` ORDER BY `+column+` `+direction+`, study_uid LIMIT ? OFFSET ?`, append(args, q.Limit, q.Offset)...)
	if err != nil {
		return nil, 0, fmt.Errorf("worklist: %w", err)
	}
	return page, total, nil
}

// Listing returns the row of one study, or ErrNotFound.
func (s *Store) Listing(ctx context.Context, study string) (Listing, error) {
	all, err := collect(ctx, s.read, scanListing, `SELECT `+listingColumns+` FROM worklist WHERE study_uid = ?`, study)
	if err != nil {
		return Listing{}, err
	}
	if len(all) == 0 {
		return Listing{}, fmt.Errorf("study %s: %w", study, ErrNotFound)
	}
	return all[0], nil
}

// ByAccession lists the studies with an accession number, newest first.
func (s *Store) ByAccession(ctx context.Context, accession string) ([]Listing, error) {
	return collect(ctx, s.read, scanListing, `SELECT `+listingColumns+` FROM worklist WHERE accession = ? ORDER BY study_time DESC LIMIT 100`, accession)
}

// Change is a study whose listing is out of date.
type Change struct {
	StudyInstanceUID string
	n                int64
}

// Changes lists up to limit studies whose listing is out of date, or that were
// removed, in the order of their UIDs from after one on; "" is before all.
func (s *Store) Changes(ctx context.Context, after string, limit int) ([]Change, error) {
	return collect(ctx, s.read, func(r *sql.Rows) (c Change, err error) {
		return c, r.Scan(&c.StudyInstanceUID, &c.n)
	}, `SELECT study_uid, n FROM worklist_changes WHERE study_uid > ? ORDER BY study_uid LIMIT ?`, after, limit)
}

// List writes the listing of a changed study; nil for one that was removed. A
// change that happened meanwhile stays listed among the changes. Nothing is
// written that was read from an object that is another one by now, as after a
// removal, when somebody else's came under its UIDs: the study stays to be listed.
// So does one whose objects could not be asked, see Listing.Unread, of which nothing
// is written where somebody else has listed it meanwhile.
func (s *Store) List(ctx context.Context, c Change, l *Listing) error {
	err := s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lock(ctx, c.StudyInstanceUID); err != nil {
			return err
		}
		// The study may have been removed meanwhile.
		var there int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM studies WHERE study_uid = ?`, c.StudyInstanceUID).Scan(&there); err != nil {
			return err
		}
		if l != nil && l.NamedBy != nil && there > 0 {
			now, err := collect(ctx, tx, scanInstance, instanceColumns+`WHERE sop_uid = ?`, l.NamedBy.SOPInstanceUID)
			if err != nil || len(now) == 0 || now[0].Version() != l.NamedBy.Version() {
				return err
			}
		}
		if l != nil && l.Unread != nil {
			var open int
			err := tx.QueryRowContext(ctx, `SELECT count(*) FROM worklist_changes WHERE study_uid = ? AND n = ?`, c.StudyInstanceUID, c.n).Scan(&open)
			if err != nil || open == 0 || there == 0 {
				return err
			}
		}
		if l != nil && there > 0 {
			var ef any
			if l.EF != nil {
				ef = *l.EF
			}
			search := strings.ToLower(strings.Join([]string{l.PatientName, l.PatientID, l.Accession, l.StudyInstanceUID}, "\n"))
			_, err := tx.ExecContext(ctx, `INSERT INTO worklist (`+listingColumns+`, search)
				VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
				ON CONFLICT (study_uid) DO UPDATE SET patient_name = excluded.patient_name, patient_id = excluded.patient_id,
				birth_date = excluded.birth_date, sex = excluded.sex, accession = excluded.accession, description = excluded.description,
				study_time = excluded.study_time, state = excluded.state, revision = excluded.revision, objects = excluded.objects,
				ef = excluded.ef, ef_method = excluded.ef_method, ef_grade = excluded.ef_grade, flags = excluded.flags,
				verdict = excluded.verdict, search = excluded.search`,
				l.StudyInstanceUID, l.PatientName, l.PatientID, l.BirthDate, l.Sex, l.Accession, l.Description, l.Time.UnixMilli(),
				string(l.State), l.Revision, l.Objects, ef, l.EFMethod, l.EFGrade, int(l.Flags), l.Verdict, search)
			if err != nil {
				return err
			}
		}
		if l == nil || l.Unread == nil {
			if _, err := tx.ExecContext(ctx, `DELETE FROM worklist_changes WHERE study_uid = ? AND n = ?`, c.StudyInstanceUID, c.n); err != nil {
				return err
			}
		}
		return s.tellListed(ctx, tx, c.StudyInstanceUID)
	})
	if err != nil {
		return fmt.Errorf("list study: %w", err)
	}
	return nil
}

// AuditEntry is one thing that somebody did on the review page.
type AuditEntry struct {
	ID      int64 // given by the store, rising
	At      time.Time
	User    string
	Address string // the browser's
	Action  string
	Study   string // UID, or ""
	Detail  string // no patient data
	Failed  bool   // refused or not possible
}

// Audit records an entry.
func (s *Store) Audit(ctx context.Context, e AuditEntry) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO audit (at, "user", address, action, study_uid, detail, failed) VALUES (?,?,?,?,?,?,?)`,
		e.At.UnixMilli(), e.User, e.Address, e.Action, e.Study, e.Detail, e.Failed)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// AuditTrail lists entries of a study, or of everything when study is empty,
// newest first: those before an entry, or all when before is 0.
func (s *Store) AuditTrail(ctx context.Context, study string, before int64, limit int) ([]AuditEntry, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	query, args := auditColumns+` WHERE id < ?`, []any{before}
	if study != "" {
		query += ` AND study_uid = ?`
		args = append(args, study)
	}
	return collect(ctx, s.read, scanAudit, query+` ORDER BY id DESC LIMIT ?`, append(args, limit)...)
}

// AuditAfter lists the entries after one, oldest first.
func (s *Store) AuditAfter(ctx context.Context, id int64, limit int) ([]AuditEntry, error) {
	return collect(ctx, s.read, scanAudit, auditColumns+` WHERE id > ? ORDER BY id LIMIT ?`, id, limit)
}

const auditColumns = `SELECT id, at, "user", address, action, study_uid, detail, failed FROM audit`

func scanAudit(r *sql.Rows) (e AuditEntry, err error) {
	var at int64
	err = r.Scan(&e.ID, &at, &e.User, &e.Address, &e.Action, &e.Study, &e.Detail, &e.Failed)
	e.At = time.UnixMilli(at)
	return e, err
}

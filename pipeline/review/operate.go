package review

import (
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/store"
)

// Operator does what administrators ask for; *node.Node is one.
type Operator interface {
	Retry(ctx context.Context, study string) (int, error)
	Reanalyse(ctx context.Context, study string) error
	Remove(ctx context.Context, study string) error
}

// operate performs an administrator's action on a study.
func (s *Server) operate(w http.ResponseWriter, r *http.Request) {
	uid, action := r.PathValue("study"), r.PathValue("action")
	if _, err := s.opt.Store.Study(r.Context(), uid); err != nil {
		s.fail(w, r, err)
		return
	}
	next := "/study/" + url.PathEscape(uid)
	var err error
	switch action {
	case "retry":
		_, err = s.opt.Operator.Retry(r.Context(), uid)
	case "reanalyse":
		err = s.opt.Operator.Reanalyse(r.Context(), uid)
	case "remove":
		if r.PostFormValue("sure") == "" {
			http.Error(w, s.words(r).T("error.sure"), http.StatusUnprocessableEntity)
			return
		}
		next, err = "/", s.opt.Operator.Remove(r.Context(), uid)
	default:
		http.NotFound(w, r)
		return
	}
	s.audit(r, uid, action, "", err != nil)
	switch {
	case errors.Is(err, store.ErrNotFound):
		http.Error(w, s.words(r).T("error.state"), http.StatusConflict)
	case err != nil:
		s.fail(w, r, err)
	default:
		http.Redirect(w, r, next, http.StatusSeeOther)
	}
}

// values answers with a study's values as CSV, with the UID as its only
// identity.
func (s *Server) values(w http.ResponseWriter, r *http.Request) {
	uid := r.PathValue("study")
	rec, err := s.record(r.Context(), uid)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.audit(r, uid, "values exported", "", false)
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="echonode-values.csv"`)
	out := csv.NewWriter(w)
	defer out.Flush()
	_ = out.Write([]string{"study_instance_uid", "stage", "quantity", "value", "unit", "method", "view", "beats", "grade", "by_reader", "verdict", "reason"})
	if rec.result == nil {
		return
	}
	verdict := ""
	if rec.result.Review != nil {
		verdict = rec.result.Review.Verdict
	}
	for _, m := range rec.result.Measurements {
		value, reason := "", ""
		if m.Value != nil {
			value = strconv.FormatFloat(*m.Value, 'f', -1, 64)
			if q, ok := quantity.Of(m.Name); ok {
				value = q.Format(*m.Value)
			}
		} else if m.Reason != nil {
			reason = m.Reason.Code
		}
		_ = out.Write([]string{uid, cell(m.Stage), m.Name, value, m.Unit, m.Method, m.View, strconv.Itoa(len(m.Beats)), m.Quality.Grade, strconv.FormatBool(m.ByReader), verdict, reason})
	}
}

// cell keeps a text from the objects from being taken for a formula by a
// spreadsheet.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

type auditPage struct {
	page
	Entries []auditRow
}

type auditRow struct {
	store.AuditEntry
	Time string
}

// trail shows the last entries of the audit trail.
func (s *Server) trail(w http.ResponseWriter, r *http.Request) {
	entries, err := s.opt.Store.AuditTrail(r.Context(), "", 500)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := auditPage{page: s.page(r, "audit.title")}
	for _, e := range entries {
		p.Entries = append(p.Entries, auditRow{e, p.Words.Time(e.At)})
	}
	s.render(w, r, http.StatusOK, "audit.html", p)
}

package review

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// operator notes what it is asked for.
type operator struct {
	asked []string
	err   error
}

func (o *operator) Retry(_ context.Context, study string) (int, error) {
	o.asked = append(o.asked, "retry "+study)
	return 1, o.err
}

func (o *operator) Reanalyse(_ context.Context, study string) error {
	o.asked = append(o.asked, "reanalyse "+study)
	return o.err
}

func (o *operator) Remove(_ context.Context, study string) error {
	o.asked = append(o.asked, "remove "+study)
	return o.err
}

func (o *operator) Health(context.Context) node.Health {
	return node.Health{Status: node.HealthDegraded, Problems: []node.Problem{{Code: node.ProblemDead, Text: "2 deliveries to <b>pacs</b> were given up"}}}
}

func (o *operator) Load(context.Context) (node.Load, error) {
	return node.Load{Free: 3 << 29, Total: 8 << 30, MinFree: 1 << 30, Studies: map[store.State]int{store.Done: 17},
		Waiting: []store.Waiting{{Destination: "pacs", State: store.Dead, Count: 2}, {Destination: "pacs", State: store.Pending, Count: 5}}}, o.err
}

// One page says what the whole node is doing, and acts on every study.
func TestOperations(t *testing.T) {
	o := &operator{}
	s := newSite(t, func(opt *Options) { opt.Operator = o })
	ok := sample{study: "1.2.1", loop: "1.2.1.1", name: "Fine^Nina", view: "A4C", ef: value(60)}
	s.add(ok)
	bad := sample{study: "1.2.2", loop: "1.2.2.1", name: "Dead^Dora", view: "A4C", ef: value(60), state: store.Receiving}
	s.add(bad)
	run := s.run(bad, func([]store.Output) []store.Route {
		return []store.Route{{Destination: "pacs", Kinds: []string{result.KindReport}}}
	})
	if err := s.store.BuryDeliveries(t.Context(), run.ID, "pacs"); err != nil {
		t.Fatal(err)
	}
	s.add(sample{study: "1.2.3", loop: "1.2.3.1", name: "Come^In", view: "A4C", state: store.Receiving})
	s.indexed()
	for _, user := range []string{"viewer", "reader"} {
		b := s.as(user)
		b.want(http.StatusForbidden, http.MethodGet, "/operations", "")
		if _, page := b.want(http.StatusOK, http.MethodGet, "/", ""); strings.Contains(page, "/operations") {
			t.Errorf("%s is offered operations", user)
		}
	}
	admin := s.as("admin")
	_, page := admin.want(http.StatusOK, http.MethodGet, "/operations", "")
	for _, want := range []string{"2 deliveries to &lt;b&gt;pacs", "1.5 GiB of 8.0 GiB free", "below 1.0 GiB", "Dead, Dora", "Come, In", "/study/1.2.2/do/retry",
		"/study/1.2.3/do/remove"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "Fine, Nina") || strings.Contains(page, "/study/1.2.3/do/reanalyse") {
		t.Error("the page shows what needs nobody, or offers what is not possible")
	}
	res, _ := admin.want(http.StatusSeeOther, http.MethodPost, "/study/1.2.2/do/retry", "next=/operations")
	if to := res.Header.Get("Location"); to != "/operations" {
		t.Errorf("goes on at %s", to)
	}
	res, _ = admin.want(http.StatusSeeOther, http.MethodPost, "/study/1.2.2/do/retry", "next=//evil.example")
	if to := res.Header.Get("Location"); to != "/study/1.2.2" {
		t.Errorf("goes on at %s", to)
	}
}

func TestOperate(t *testing.T) {
	o := &operator{}
	s := newSite(t, func(opt *Options) { opt.Operator = o })
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(60)})
	for _, user := range []string{"viewer", "reader"} {
		b := s.as(user)
		for _, action := range []string{"retry", "reanalyse", "remove"} {
			b.want(http.StatusForbidden, http.MethodPost, "/study/1.2.1/do/"+action, "sure=on")
		}
		b.want(http.StatusForbidden, http.MethodGet, "/audit", "")
		if _, page := b.want(http.StatusOK, http.MethodGet, "/study/1.2.1", ""); strings.Contains(page, "/do/") {
			t.Errorf("%s is offered to operate", user)
		}
	}
	admin := s.as("admin")
	if _, page := admin.want(http.StatusOK, http.MethodGet, "/study/1.2.1", ""); !strings.Contains(page, "/study/1.2.1/do/remove") {
		t.Error("an administrator is not offered to remove")
	}
	admin.want(http.StatusSeeOther, http.MethodPost, "/study/1.2.1/do/retry", "")
	admin.want(http.StatusSeeOther, http.MethodPost, "/study/1.2.1/do/reanalyse", "")
	admin.want(http.StatusUnprocessableEntity, http.MethodPost, "/study/1.2.1/do/remove", "")
	admin.want(http.StatusSeeOther, http.MethodPost, "/study/1.2.1/do/remove", "sure=on")
	admin.want(http.StatusNotFound, http.MethodPost, "/study/1.2.1/do/other", "")
	admin.want(http.StatusNotFound, http.MethodPost, "/study/9.9/do/remove", "sure=on")
	if got := strings.Join(o.asked, ", "); got != "retry 1.2.1, reanalyse 1.2.1, remove 1.2.1" {
		t.Errorf("asked for %s", got)
	}
	o.err = store.ErrNotFound
	admin.want(http.StatusConflict, http.MethodPost, "/study/1.2.1/do/reanalyse", "")
	o.err = errors.New("disk of /secret/path full")
	if _, text := admin.want(http.StatusInternalServerError, http.MethodPost, "/study/1.2.1/do/reanalyse", ""); strings.Contains(text, "/secret") {
		t.Error("the inside is shown")
	}
	if _, page := admin.want(http.StatusOK, http.MethodGet, "/audit", ""); !strings.Contains(page, "reanalyse") ||
		!strings.Contains(page, "refused for want of a role") {
		t.Error("the trail does not show it")
	}
}

// The whole trail can be read, page by page, and that of one study.
func TestTrailPages(t *testing.T) {
	s := newSite(t, func(opt *Options) { opt.Operator = &operator{} })
	for i := range 2*auditEntries + 100 {
		e := store.AuditEntry{At: s.now(), User: "u", Action: "study opened", Study: "1.2.1", Detail: fmt.Sprintf("entry-%04d.", i)}
		if i%10 == 0 {
			e.Study = "1.2.2"
		}
		if err := s.store.Audit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	admin := s.as("admin")
	next := regexp.MustCompile(`<a href="([^"]*)">Older</a>`)
	read := func(at string) (entries []string, pages int) {
		for at != "" {
			_, page := admin.want(http.StatusOK, http.MethodGet, at, "")
			entries, pages = append(entries, regexp.MustCompile(`entry-\d+\.`).FindAllString(page, -1)...), pages+1
			if newest := strings.Contains(page, ">Newest</a>"); newest != (pages > 1) {
				t.Errorf("page %d leads to the newest: %t", pages, newest)
			}
			at = ""
			if m := next.FindStringSubmatch(page); m != nil {
				at = html.UnescapeString(m[1])
			}
		}
		return entries, pages
	}
	all, pages := read("/audit")
	slices.Reverse(all)
	if len(all) != 2*auditEntries+100 || pages != 3 || all[0] != "entry-0000." || all[len(all)-1] != "entry-1099." || !slices.IsSorted(all) {
		t.Errorf("%d entries on %d pages", len(all), pages)
	}
	if one, pages := read("/audit?study=1.2.2"); len(one) != 110 || pages != 1 || one[0] != "entry-1090." {
		t.Errorf("of one study: %d entries on %d pages", len(one), pages)
	}
	for _, bad := range []string{"?before=x", "?before=-1", "?study=<b>", "?study=1..2"} {
		admin.want(http.StatusBadRequest, http.MethodGet, "/audit"+bad, "")
	}
}

func TestValuesAsCSV(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(61.23)})
	res, text := s.as("viewer").want(http.StatusOK, http.MethodGet, "/study/1.2.1/values.csv", "")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != "1.2.1" || rows[1][2] != "EF" || rows[1][3] != "61" || strings.Contains(text, "Doe") {
		t.Errorf("%q, %v", text, err)
	}
	if d := res.Header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment") {
		t.Errorf("disposition %q", d)
	}
	for in, want := range map[string]string{"=1+1": "'=1+1", "Rest": "Rest", "": "", "@x": "'@x"} {
		if got := cell(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

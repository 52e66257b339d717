package review

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/text/language"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/store"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed web/dist
var distFiles embed.FS

// Options are the settings of a Server.
type Options struct {
	Store *store.Store
	// Objects is where received objects and results are.
	Objects *objects.Files
	// Users are accounts with passwords; nil where all sign in at the provider.
	Users *Users
	// OIDC is the provider at which users may sign in; nil for none.
	OIDC *OIDC
	// Listen is the address served on; its host is one of the names the server
	// answers to, and a loopback address stands for all of this machine's.
	Listen string
	// Hosts are further names by which browsers may call the server.
	Hosts []string
	// EmbedIn are origins whose pages may show this one in a frame.
	EmbedIn []string
	// Secure says that browsers reach the server by HTTPS.
	Secure bool
	// Proxied says that a proxy stands before the server, which says whom it asks
	// for.
	Proxied bool
	// Idle and Longest end a session: after so long without a request, and
	// after so long at all.
	Idle, Longest time.Duration
	// Signer records what readers sign; nil offers no correcting and signing.
	Signer Signer
	// Measure are the settings by which corrected results are measured.
	Measure measure.Options
	// Operator retries, reanalyses and removes; nil offers none of it.
	Operator Operator
	// SilentRejection sends nothing when a reader rejects the values, instead of
	// a report that withdraws them.
	SilentRejection bool
	// LabelsKey offers readers' corrections as training labels to administrators;
	// it makes the subjects' names, so that a patient has the same one in every
	// export. Empty offers none: the site has no consent for it.
	LabelsKey []byte
	// Syslog is where the audit trail is told to; nil for nobody.
	Syslog *Syslog
	// Limits are those of the objects that pages show, with a budget of their own:
	// what is being looked at stays open.
	Limits  dicomio.Limits
	Version string
	Log     *slog.Logger

	now    func() time.Time // tests
	unused time.Duration    // see maxUnused; tests
}

// Server is the review page. It is an http.Handler; Run keeps its worklist up
// to date.
type Server struct {
	opt       Options
	log       *slog.Logger
	now       func() time.Time
	hosts     map[string]bool
	sessions  *sessions
	byAddress *attempts
	byName    *attempts // and address
	byAccount *attempts
	signing   chan struct{}
	drawing   chan struct{} // summaries and labels, as many as are made at once
	oidc      *relying
	text      map[string]*Words
	matcher   language.Matcher
	templates map[string]*template.Template
	handler   http.Handler
	hub       *hub
	removed   removals
	late      *late
	refusals  refusals
	documents *documents
	loops     *openLoops
	assets    map[string]string // name → address with the content's hash

	unlisted   unlisted
	complaints node.Complaints
}

// New prepares a server.
func New(o Options) (*Server, error) {
	if o.now == nil {
		o.now = time.Now
	}
	if o.unused == 0 {
		o.unused = maxUnused
	}
	if o.Idle <= 0 || o.Longest <= 0 {
		return nil, errors.New("review: sessions must end")
	}
	if o.Limits.Memory == nil {
		return nil, errors.New("review: what objects take of the memory must have a limit")
	}
	s := &Server{opt: o, log: o.Log, now: o.now, hosts: map[string]bool{}, hub: newHub(), documents: newDocuments(o.Objects),
		loops: newOpenLoops(o.Objects, o.Limits)}
	s.late, s.refusals.of, s.removed.of = newLate(), map[refusal]*refused{}, map[string][]removal{}
	s.sessions = &sessions{Lifetime: store.Lifetime{Idle: o.Idle, Longest: o.Longest}, store: o.Store, late: s.late, now: o.now, log: o.Log}
	s.byAddress = newAttempts("address", 20, 15*time.Second, o.Store, o.now)
	// One address does not lock an account for the others: they share no more than
	// what it cannot use up.
	s.byName = newAttempts("name", 5, 30*time.Second, o.Store, o.now)
	s.byAccount = newAttempts("account", 60, 5*time.Second, o.Store, o.now)
	if o.OIDC != nil {
		s.oidc = newRelying(*o.OIDC, o.Store, o.now)
	}
	s.signing, s.drawing = make(chan struct{}, 1), make(chan struct{}, maxDrawing)
	var err error
	if s.text, s.matcher, err = loadWords(); err != nil {
		return nil, fmt.Errorf("review: %w", err)
	}
	if s.assets, err = assetAddresses(); err != nil {
		return nil, fmt.Errorf("review: %w", err)
	}
	if s.templates, err = s.parseTemplates(); err != nil {
		return nil, fmt.Errorf("review: %w", err)
	}
	for _, h := range o.Hosts {
		s.hosts[strings.ToLower(h)] = true
	}
	if host, _, err := net.SplitHostPort(o.Listen); err == nil && host != "" {
		s.hosts[strings.ToLower(host)] = true
		if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
			s.hosts["localhost"], s.hosts["127.0.0.1"], s.hosts["::1"] = true, true, true
		}
	}
	s.handler = s.routes()
	return s, nil
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", s.loginForm)
	if s.opt.Users != nil {
		mux.HandleFunc("POST /login", s.login)
	}
	if s.oidc != nil {
		mux.HandleFunc("GET /oidc/login", s.oidcLogin)
		mux.HandleFunc("GET "+callbackPath, s.oidcCallback)
	}
	mux.HandleFunc("GET /language/{lang}", s.setLanguage)
	mux.HandleFunc("GET /static/{hash}/{name}", s.static)
	mux.Handle("POST /logout", s.signedIn(s.logout))
	mux.Handle("GET /{$}", s.signedIn(s.worklist))
	mux.Handle("POST /worklist", s.signedIn(s.worklistRows))
	mux.Handle("GET /events", s.signedIn(s.events))
	mux.Handle("GET /study/{study}", s.signedIn(s.study))
	mux.Handle("GET /accession/{accession}", s.signedIn(s.accession))
	mux.Handle("GET /study/{study}/loop/{loop}", s.signedIn(s.loop))
	mux.Handle("GET /study/{study}/loop/{loop}/data", s.signedIn(s.loopData))
	mux.Handle("GET /study/{study}/loop/{loop}/frame/{frame}", s.signedIn(s.frame))
	mux.Handle("GET /study/{study}/values.csv", s.signedIn(s.values))
	mux.Handle("GET /study/{study}/summary.pdf", s.signedIn(s.summary))
	mux.Handle("POST /export/values.csv", s.signedIn(s.exportValues))
	if len(s.opt.LabelsKey) > 0 {
		mux.Handle("POST /export/labels.zip", s.signedIn(s.exportLabels, Administrator))
	}
	mux.Handle("GET /audit", s.signedIn(s.trail, Administrator))
	if s.opt.Operator != nil {
		mux.Handle("GET /operations", s.signedIn(s.operations, Administrator))
		mux.Handle("POST /study/{study}/do/{action}", s.signedIn(s.operate, Administrator))
	}
	if s.opt.Signer != nil {
		mux.Handle("POST /study/{study}/recalculate", s.signedIn(s.recalculate, Reader))
		mux.Handle("POST /study/{study}/sign", s.signedIn(s.sign, Reader))
	}
	return s.guard(mux)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Run keeps the worklist up to date until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	defer s.hub.close()
	defer s.loops.close()
	s.auditEntry(ctx, store.AuditEntry{At: s.now(), Action: "application start"})
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.index(gctx) })
	if s.opt.Store.Shared() {
		group.Go(func() error {
			s.follow(gctx)
			return nil
		})
	}
	group.Go(func() error { return s.tidy(gctx) })
	group.Go(func() error { return s.countRefusals(gctx) })
	if s.opt.Syslog != nil {
		group.Go(func() error {
			s.tell(gctx, *s.opt.Syslog)
			return nil
		})
	}
	err := group.Wait()
	s.late.end(3 * time.Second)
	return err
}

// tidy lets go of what nobody looks at any more, until ctx ends.
func (s *Server) tidy(ctx context.Context) error {
	tick := time.NewTicker(s.opt.unused / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:

			s.loops.forget(s.opt.unused)
			s.documents.forget(s.opt.unused)
		}
	}
}

// page is what every page shows around its content.
type page struct {
	Title   string
	Words   *Words
	User    User
	CSRF    string
	Path    string // of this page, for the choice of language
	Version string
	Name    string // of the page's script entry
	Audit   bool   // may see the audit trail
	Operate bool   // may look after studies and deliveries
}

func (s *Server) page(r *http.Request, title string) page {
	v := visitorOf(r.Context())
	w := s.words(r)
	return page{Title: w.T(title), Words: w, User: v.User, CSRF: v.session.csrf, Path: r.URL.Path, Version: s.opt.Version, Audit: v.May(Administrator),
		Operate: v.May(Administrator) && s.opt.Operator != nil}
}

func (s *Server) parseTemplates() (map[string]*template.Template, error) {
	functions := template.FuncMap{
		"asset": func(name string) string { return s.assets[name] },
		"rows":  func(rows []valueRow, w *Words) any { return tableOf(rows, w) },
	}
	layout, err := template.New("layout.html").Funcs(functions).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	out := map[string]*template.Template{}
	for _, path := range names {
		name := strings.TrimPrefix(path, "templates/")
		t, err := layout.Clone()
		if err != nil {
			return nil, err
		}
		if out[name], err = t.ParseFS(templateFiles, path); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// render writes a page as a whole: half a page is worse than an error.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	s.renderPart(w, r, status, name, "layout.html", data)
}

func (s *Server) renderPart(w http.ResponseWriter, r *http.Request, status int, name, part string, data any) {
	var b bytes.Buffer
	if err := s.templates[name].ExecuteTemplate(&b, part, data); err != nil {
		s.log.Error("review: page", "name", name, "error", err)
		http.Error(w, s.words(r).T("error.internal"), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

type errorPage struct {
	page
	Message string
}

// fail shows what went wrong, without details of the inside.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, key := http.StatusInternalServerError, "error.internal"
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		status, key = http.StatusNotFound, "error.notfound"
	case errors.Is(err, errSearch):
		status, key = http.StatusUnprocessableEntity, "error.search"
	case errors.Is(err, context.Canceled):
		return // nobody is waiting
	default:
		s.log.Error("review", "error", err)
	}
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Error(w, s.words(r).T(key), status)
		return
	}
	s.render(w, r, status, "error.html", errorPage{page: s.page(r, "error.title"), Message: s.words(r).T(key)})
}

package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// verdict of one check.
type verdict int

const (
	good verdict = iota
	doubtful
	broken
)

func (v verdict) String() string { return [...]string{"ok", "warning", "FAILED"}[v] }

// finding is what one check found.
type finding struct {
	verdict    verdict
	what, text string
}

// liveCheck tries what a configuration names. Nothing is changed by it: what it creates it removes.
type liveCheck struct {
	c        *config.Config
	running  bool // a node uses the data directory now
	findings []finding
}

func (l *liveCheck) add(v verdict, what, format string, args ...any) {
	l.findings = append(l.findings, finding{v, what, fmt.Sprintf(format, args...)})
}

// checkLive tries library, model, data directory, ports, certificates and destinations, prints what it found, and returns
// an error if something does not work.
func (p *program) checkLive(ctx context.Context, c *config.Config) error {
	l := &liveCheck{c: c}
	l.system()
	l.directory()
	l.database(ctx)
	l.objects(ctx)
	l.engine(ctx)
	l.listeners(ctx)
	l.accounts()
	l.certificates(time.Now())
	l.destinations(ctx)
	w := tabwriter.NewWriter(p.out, 0, 4, 2, ' ', 0)
	failed := 0
	for _, f := range l.findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.verdict, f.what, f.text)
		if f.verdict == broken {
			failed++
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(l.findings))
	}
	return nil
}

func (l *liveCheck) system() {
	name := strconv.Itoa(os.Geteuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	zone, offset := time.Now().Zone()
	l.add(good, "process", "checked as user %s; time zone %s (UTC%+.4g h)", name, zone, float64(offset)/3600)
	if path, err := exec.LookPath("ffmpeg"); err != nil {
		l.add(doubtful, "ffmpeg", "not installed: MPEG-2, H.264 and HEVC loops can't be analysed")
	} else {
		l.add(good, "ffmpeg", "%s", path)
	}
}

func (l *liveCheck) database(ctx context.Context) {
	database := l.c.Database()
	if !store.IsPostgreSQL(database) {
		return // a file in the directory
	}
	password, err := databasePassword(l.c)
	if err != nil {
		l.add(broken, "database", "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	what, doubts, err := store.CheckPostgreSQL(ctx, database, password)
	if err != nil {
		l.add(broken, "database", "%v", err)
		return
	}
	l.add(good, "database", "%s", what)
	for _, d := range doubts {
		l.add(doubtful, "database", "%s", d)
	}
}

func (l *liveCheck) engine(ctx context.Context) {
	if !l.c.Does(node.RoleAnalyse) {
		return // it runs no network
	}
	if l.c.Analysis.Provider != models.Remote {
		path, build, err := models.Library(l.c.Analysis.ONNXRuntime)
		if err != nil {
			l.add(broken, "library", "%v", err)
			return
		}
		v := good
		if build == models.NotPinned {
			v = doubtful
		}
		l.add(v, "library", "%s (ONNX Runtime, %s)", path, build)
	}
	engine, err := models.Open(ctx, engineConfig(l.c), slog.New(slog.DiscardHandler))
	if err != nil {
		l.add(broken, "model", "%v", err)
		return
	}
	card := engine.Card()
	l.add(good, "model", "%s %s runs on %s and passes its self-test", card.Name, card.Version, engine.Provider())
	if err := engine.Close(); err != nil {
		l.add(broken, "model", "%v", err)
	}
}

func (l *liveCheck) directory() {
	dir, err := filepath.Abs(l.c.Storage.Directory)
	if err != nil {
		l.add(broken, "storage", "%v", err)
		return
	}
	// The nearest folder that is there decides whether the rest can be made.
	at := dir
	var info fs.FileInfo
	for {
		if info, err = os.Stat(at); err == nil || !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	if err != nil {
		l.add(broken, "storage", "%v", err)
		return
	}
	if !info.IsDir() {
		l.add(broken, "storage", "%s is not a folder", at)
		return
	}
	probe, err := os.MkdirTemp(at, ".check-config-")
	if err == nil {
		err = os.Remove(probe)
	}
	if err != nil {
		l.add(broken, "storage", "%s can't be written: %v", at, err)
	} else if at != dir {
		l.add(good, "storage", "%s will be made", dir)
	} else {
		if f, err := os.Open(filepath.Join(dir, "lock")); err == nil {
			l.running = errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
			_ = f.Close() // gives the lock back
		}
		text := dir
		if l.running {
			text += ", in use by a running node"
		}
		l.add(good, "storage", "%s", text)
		l.owners(dir, info)
	}

	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		l.add(broken, "free space", "%v", err)
		return
	}
	total, free, least := st.Blocks*uint64(st.Bsize), st.Bavail*uint64(st.Bsize), uint64(l.c.Storage.MinFree)
	text := fmt.Sprintf("%s free of %s, storage.min_free is %s", humanize.IBytes(free), humanize.IBytes(total), humanize.IBytes(least))
	switch {
	case least > total:
		l.add(broken, "free space", "%s: more than the file system holds, every C-STORE would be refused", text)
	case free < least:
		l.add(broken, "free space", "%s: every C-STORE would be refused with A700", text)
	case free < 2*least || free < total/10:
		l.add(doubtful, "free space", "%s: not much is left", text)
	default:
		l.add(good, "free space", "%s", text)
	}
}

// objects tries to put, get, list and remove an object.
func (l *liveCheck) objects(ctx context.Context) {
	o := l.c.Storage.Objects
	if o.Kind == config.KindDirectory {
		// storage.directory, which was looked at
		s := objects.NewDirectory(l.c.Storage.Directory)
		if _, err := s.Stat(ctx, s.Name(objects.MarkerName)); err == nil {
			l.belongs(ctx, l.c.Storage.Directory, s)
		}
		return
	}
	where := o.Shared
	if o.Kind == config.KindS3 {
		where = o.S3.Endpoint + "/" + o.S3.Bucket + "/" + o.S3.Prefix
	}
	s, err := objectStore(l.c)
	if err == nil {
		bounded, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		err = objects.Probe(bounded, s)
	}
	if err != nil {
		l.add(broken, "objects", "%s: %v", where, err)
		return
	}
	l.add(good, "objects", "%s: an object was put, read, listed and removed", where)
	l.belongs(ctx, where, s)
}

// belongs compares the database that a store belongs to with the configured one: a node
// does not start on another's.
func (l *liveCheck) belongs(ctx context.Context, where string, s objects.Store) {
	b, err := objects.ReadAll(ctx, s, s.Name(objects.MarkerName), 4<<10)
	if errors.Is(err, fs.ErrNotExist) {
		l.add(good, "objects", "%s is no database's yet", where)
		return
	}
	line, _, _ := strings.Cut(string(b), "\n")
	line = strings.TrimSpace(line)
	number, password := "", ""
	if err == nil && store.IsPostgreSQL(l.c.Database()) {
		password, err = databasePassword(l.c)
	}
	if err == nil {
		number, err = store.Identity(ctx, l.c.Database(), password)
	}
	switch {
	case err != nil:
		l.add(broken, "objects", "whose %s is cannot be told: %v", where, err)
	case line == "":
		l.add(broken, "objects", "%s of %s is empty: where no other node uses the store, remove it", objects.MarkerName, where)
	case number == line:
		l.add(good, "objects", "%s is that of the database, number %s", where, number)
	case number == "":
		l.add(broken, "objects", "%s belongs to the database with the number %.64q, and no node has used this one: see storage.md, %s",
			where, line, objects.MarkerName)
	default:
		l.add(broken, "objects", "%s belongs to the database with the number %.64q, this one has %s: see storage.md, %s",
			where, line, number, objects.MarkerName)
	}
}

// owners finds files that the owner of the data directory does not own, as a run by root leaves them.
func (l *liveCheck) owners(dir string, info fs.FileInfo) {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	own := []string{"lock", "node.db", "node.db.lock", "node.db-wal", "node.db-shm", node.SpoolFolder, "results", "scratch", "arriving", "cache", "tensorrt"}
	for _, name := range own {
		path := filepath.Join(dir, name)
		st, err := os.Stat(path)
		if err != nil {
			continue // not made yet
		}
		if s, ok := st.Sys().(*syscall.Stat_t); ok && s.Uid != owner.Uid {
			l.add(broken, "storage", "%s belongs to user %d, its folder to user %d: the node can't use both", path, s.Uid, owner.Uid)
		}
	}
	who := accountOf(int(owner.Uid), int(owner.Gid))
	reads := func(key, path string) {
		if at := who.stopsAt(path); at != "" {
			l.add(broken, key, "%s can't be read by user %s, whom %s belongs to: see owner and mode of %s", path, who.name, dir, at)
		}
	}
	reads("storage", filepath.Join(dir, installationFile))
	if l.c.Review.Listen != "" {
		reads("review.users", l.c.UsersFile())
		reads("review", l.c.LabelsKeyFile())
		reads("review", l.c.SyslogPositionFile())
	}
	filesOf(reflect.ValueOf(*l.c), "", reads)
}

// filesOf calls each with the files that a configuration names.
func filesOf(v reflect.Value, key string, each func(key, path string)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			below := strings.Trim(key+"."+name, ".")
			if path := v.Field(i); path.Kind() != reflect.String {
				filesOf(path, below, each)
			} else if path.String() != "" && (strings.HasSuffix(name, "_file") || slices.Contains(fileKeys, name)) {
				each(below, path.String())
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			filesOf(v.Index(i), fmt.Sprintf("%s[%d]", key, i), each)
		}
	}
}

// fileKeys are the keys, beside those that end so, whose values are files to be read.
var fileKeys = []string{"certificate", "key", "ca", "client_ca", "model", "onnxruntime", "accounts"}

// account is a user of the system with all groups.
type account struct {
	name string
	uid  int
	gids []int
}

func accountOf(uid, gid int) account {
	a := account{strconv.Itoa(uid), uid, []int{gid}}
	if u, err := user.LookupId(a.name); err == nil {
		a.name = u.Username
		groups, _ := u.GroupIds() // as far as they are known
		for _, g := range groups {
			if n, err := strconv.Atoi(g); err == nil {
				a.gids = append(a.gids, n)
			}
		}
	}
	return a
}

// stopsAt is the file, or the folder on the way to it, whose owner and mode keep the account from reading it; "" where nothing
// does, or it can't be told, as where there is no such file or its folder has an access list.
func (a account) stopsAt(path string) string {
	path, err := filepath.EvalSymlinks(path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil || a.uid == 0 {
		return ""
	}
	for at, bit := path, fs.FileMode(4); ; at, bit = filepath.Dir(at), 1 {
		info, err := os.Stat(at)
		if err != nil {
			return ""
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return ""
		}
		mode := info.Mode().Perm()
		switch {
		case int(st.Uid) == a.uid:
			mode >>= 6
		case slices.Contains(a.gids, int(st.Gid)):
			mode >>= 3
		}
		if mode&bit == 0 {
			if n, err := unix.Getxattr(at, "system.posix_acl_access", nil); err == nil && n > 0 {
				return ""
			}
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}

func (l *liveCheck) listeners(ctx context.Context) {
	listen := func(key, address string, roles ...string) {
		if address == "" {
			l.add(good, key, "off")
			return
		}
		if len(roles) > 0 && !slices.ContainsFunc(roles, l.c.Does) {
			l.add(good, key, "not opened: this process has not the role %s", strings.Join(roles, " or "))
			return
		}
		n, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		switch {
		case err == nil:
			if err := n.Close(); err != nil {
				l.add(broken, key, "%v", err)
				return
			}
			l.add(good, key, "%s is free", address)
		case errors.Is(err, syscall.EADDRINUSE) && l.running:
			l.add(good, key, "%s is in use, a node is running", address)
		case errors.Is(err, syscall.EACCES):
			l.add(broken, key, "%v: ports below 1024 need net.ipv4.ip_unprivileged_port_start or CAP_NET_BIND_SERVICE", err)
		default:
			l.add(broken, key, "%v", err)
		}
	}
	listen("dicom.listen", l.c.DICOM.Listen, node.RoleReceive)
	listen("http.listen", l.c.HTTP.Listen)
	listen("dicomweb.listen", l.c.DICOMweb.Listen, node.RoleReceive)
	listen("review.listen", l.c.Review.Listen, node.RoleWeb)
}

// accounts reads the file without which the review page does not begin.
func (l *liveCheck) accounts() {
	if l.c.Review.Listen == "" {
		return
	}
	users, err := reviewUsers(l.c)
	switch {
	case err != nil:
		l.add(broken, "review.users", "%v", err)
	case users == nil:
		l.add(good, "review.users", "none: all sign in at review.oidc.issuer")
	default:
		l.add(good, "review.users", "%s", l.c.UsersFile())
	}
}

// soon is how long before its end a certificate is warned of.
const soon = 30 * 24 * time.Hour

func (l *liveCheck) certificates(now time.Time) {
	type use struct{ key, file string }
	uses := []use{{"dicom.tls.certificate", l.c.DICOM.TLS.Certificate}, {"dicom.tls.client_ca", l.c.DICOM.TLS.ClientCA}}
	if l.c.DICOMweb.Listen != "" {
		uses = append(uses, use{"dicomweb.tls.certificate", l.c.DICOMweb.TLS.Certificate})
	}
	if l.c.Review.Listen != "" {
		uses = append(uses, use{"review.tls.certificate", l.c.Review.TLS.Certificate})
	}
	for _, d := range l.c.Destinations {
		uses = append(uses, use{d.Name + " tls.ca", d.TLS.CA}, use{d.Name + " tls.certificate", d.TLS.Certificate})
	}
	for _, u := range uses {
		if u.file == "" {
			continue
		}
		certificates, err := readCertificates(u.file)
		if err != nil {
			l.add(broken, u.key, "%v", err)
			continue
		}
		for _, c := range certificates {
			text := fmt.Sprintf("%s, valid until %s", c.Subject.CommonName, c.NotAfter.Format(time.DateOnly))
			switch {
			case now.After(c.NotAfter):
				l.add(broken, u.key, "%s: it has expired", text)
			case now.Before(c.NotBefore):
				l.add(broken, u.key, "%s: not valid before %s", text, c.NotBefore.Format(time.DateOnly))
			case now.Add(soon).After(c.NotAfter):
				l.add(doubtful, u.key, "%s: it expires soon", text)
			default:
				l.add(good, u.key, "%s", text)
			}
		}
	}
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rest, err := io.ReadAll(io.LimitReader(f, 16<<20))
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return out, nil
}

// offer is how a kind of output is stored: its class, and the transfer syntaxes in two contexts, as made and uncompressed.
type offer struct {
	class  string
	asMade []string
	plain  []string
}

func (o offer) contexts() []scp.PresentationContext {
	var out []scp.PresentationContext
	for _, syntaxes := range [][]string{o.asMade, o.plain} {
		if len(syntaxes) > 0 {
			out = append(out, scp.PresentationContext{AbstractSyntax: o.class, TransferSyntaxes: syntaxes})
		}
	}
	return out
}

// offerFor is the offer for a kind of output, empty for a kind that no DICOM object is made of.
func offerFor(outputs config.Outputs, kind string) offer {
	plain := []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}
	switch kind {
	case "report":
		return offer{class: uid.ComprehensiveSRStorage, plain: plain}
	case "overlay":
		if outputs.OverlayClass == "us" {
			return offer{uid.UltrasoundMultiFrameImageStorage, []string{uid.JPEGBaseline8Bit}, plain}
		}
		return offer{uid.MultiFrameTrueColorSecondaryCaptureImageStorage, []string{uid.JPEGBaseline8Bit}, plain}
	case "summary": // a picture of one frame
		return offer{uid.SecondaryCaptureImageStorage, []string{uid.JPEGBaseline8Bit}, plain}
	case "pdf":
		return offer{class: uid.EncapsulatedPDFStorage, plain: plain}
	case result.KindWithdrawal:
		return offer{class: uid.KeyObjectSelectionDocumentStorage, plain: plain}
	case "segmentation":
		return offer{class: uid.SegmentationStorage, plain: plain}
	}
	return offer{}
}

// destinations asks every destination by C-ECHO, and whether it would take what it is to be sent.
func (l *liveCheck) destinations(ctx context.Context) {
	found := make([]finding, len(l.c.Destinations))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, d := range l.c.Destinations {
		group.Go(func() error {
			found[i] = l.destination(ctx, d)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		l.add(broken, "destinations", "%v", err)
	}
	l.findings = append(l.findings, found...)
}

func (l *liveCheck) destination(ctx context.Context, d config.Destination) finding {
	what := "destination " + d.Name
	fail := func(err error) finding { return finding{broken, what, err.Error()} }
	dialer, err := destinationDialer(l.c, d)
	if err != nil {
		return fail(err)
	}
	dialer.Timeouts.Connect, dialer.Timeouts.Response = 10*time.Second, 10*time.Second
	start := time.Now()
	if d.URL != "" {
		code, err := stowTo(d, dialer.TLSConfig, 10*time.Second).Ping(ctx)
		if err != nil {
			return fail(err)
		}
		return finding{good, what, fmt.Sprintf("%s answers HTTP %d in %d ms", d.URL, code, time.Since(start).Milliseconds())}
	}
	verification := scp.PresentationContext{AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}
	contexts := []scp.PresentationContext{verification}
	kinds := slices.Clone(d.Send)
	if d.Withdraw == "note" {
		kinds = append(kinds, result.KindWithdrawal)
	}
	for _, kind := range kinds {
		contexts = append(contexts, offerFor(l.c.OutputsOf(d), kind).contexts()...)
	}
	if d.Ask == config.AskCommitment {
		contexts = append(contexts, deliver.CommitmentContext())
	}
	client, err := dialer.Dial(ctx, d.Address, contexts)
	if err != nil {
		return fail(err)
	}
	defer client.Abort()
	commits := d.Ask != config.AskCommitment || client.Accepts(uid.StorageCommitmentPushModel, "") == nil
	if err := client.Echo(ctx); err != nil {
		return fail(err)
	}
	text := fmt.Sprintf("%s at %s answers C-ECHO in %d ms", d.AETitle, d.Address, time.Since(start).Milliseconds())
	var refused, recoded []string
	for _, kind := range kinds {
		o := offerFor(l.c.OutputsOf(d), kind)
		accepts := func(syntax string) bool { return client.Accepts(o.class, syntax) == nil }
		switch {
		case o.class == "" || slices.ContainsFunc(o.asMade, accepts) || len(o.asMade) == 0 && slices.ContainsFunc(o.plain, accepts):
		case slices.ContainsFunc(o.plain, accepts):
			recoded = append(recoded, kind)
		default:
			refused = append(refused, fmt.Sprintf("%s (SOP class %s)", kind, o.class))
		}
	}
	if err := client.Release(ctx); err != nil {
		return finding{doubtful, what, text + "; release: " + err.Error()}
	}
	if len(refused) > 0 {
		return finding{broken, what, text + ", but does not accept " + strings.Join(refused, ", ")}
	}
	if len(recoded) > 0 {
		return finding{doubtful, what, text + ", but takes " + strings.Join(recoded, ", ") + " uncompressed only"}
	}
	if !commits {
		return finding{doubtful, what, text + " and accepts what it is sent, but offers no storage commitment (ask: commitment)"}
	}
	return finding{good, what, text + " and accepts what it is sent"}
}

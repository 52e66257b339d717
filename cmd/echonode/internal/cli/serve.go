package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/derived"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/review"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
	"github.com/echonode/echonode/sr"
)

func (p *program) serveCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve [-c FILE]",
		Short: "Run the node: receive, analyse, deliver",
		Long: `Runs until it is told to stop (SIGTERM or SIGINT): associations may then finish,
an analysis under way is put back and goes on at the next start.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(path)
			if err != nil {
				return err
			}
			return p.serve(cmd.Context(), c)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "configuration file (default: the embedded one)")
	return cmd
}

func (p *program) serve(ctx context.Context, c *config.Config) (err error) {
	log := logger(p.err, c.Log)
	log.Info("EchoNode starts", "version", p.version, "notice", "UNVERIFIED research output, not a cleared medical device")
	warn(c, log)
	// What is written is the owner's, and its group's to read, whoever starts
	// the node.
	unix.Umask(0o027)
	unlock, err := lockDirectory(c.Storage.Directory)
	if err != nil {
		return err
	}
	defer unlock()
	if err := wholeDirectory(c.Storage.Directory); err != nil {
		return err
	}
	scratch := filepath.Join(c.Storage.Directory, "scratch")
	if err := os.MkdirAll(scratch, 0o750); err != nil {
		return fmt.Errorf("storage.directory: %w", err)
	}
	if err := emptyFolder(scratch); err != nil {
		log.Warn("what a process that died had under way is left", "error", err)
	}
	analyzer, engine, err := p.openServing(ctx, c, scratch, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	ctx, stop := rearm(ctx)
	defer stop()
	defer outlive(log)()
	unlockDatabase, err := lockDatabase(c)
	if err != nil {
		return err
	}
	defer unlockDatabase()
	st, err := awaitStore(ctx, c, log)
	if errors.Is(err, errStopped) {
		log.Info("EchoNode stopped while it waited for the database")
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	files, err := openFiles(c)
	if err != nil {
		return err
	}
	defer files.Close()
	sp, closeIntake, err := openIntake(c, files, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeIntake()) }()
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics, err := node.NewMetrics(reg)
	if err != nil {
		return err
	}
	device, err := installationUID(c, true)
	if err != nil {
		return err
	}
	worker, err := newProcessor(analyzer, forms(c, device))
	if err != nil {
		return err
	}
	options, err := p.nodeOptions(c, worker, log)
	if err != nil {
		return err
	}
	options.Limits, options.Objects, options.Scratch, options.Places = analyzer.Limits(), files, scratch, analyzer.Places()
	if options.StoreIdentity, err = st.Key(ctx, store.StoreKey, []byte(rand.Text())); err != nil {
		return err
	}
	n, err := node.New(ctx, options, sp, st, worker, metrics, log)
	if errors.As(err, new(*node.MovedError)) || errors.As(err, new(*node.KindError)) || errors.Is(err, objects.ErrAnother) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if err := reg.Register(n.Collector()); err != nil {
		return err
	}
	d, err := openDoors(c, n, reg, metrics, log)
	if err != nil {
		return err
	}
	if d.page, err = openReview(ctx, c, st, files, n, analyzer.Measuring(), scratch, p.version, log); err != nil {
		return errors.Join(err, d.close())
	}
	log.Info("ready", "roles", c.Roles, "ae_title", c.DICOM.AETitle, "dicom", d.address(), "http", c.HTTP.Listen,
		"destinations", len(c.Destinations), "model", analyzer.Model().Name, "provider", engine.Provider())
	err = d.serve(ctx, n)
	log.Info("EchoNode stopped")
	return err
}

// emptyFolder removes what is in a folder, which may be a link or a disk of its own.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// warn logs what is doubtful about the configuration.
func warn(c *config.Config, log *slog.Logger) {
	for _, w := range slices.Concat(c.Warnings(), c.Contradictions()) {
		log.Warn("configuration: " + w)
	}
	for _, err := range secretProblems(c) {
		log.Warn("configuration: " + err.Error())
	}
}

// doors are what a node is reached by: its servers and where they listen, nil for
// those that it has not.
type doors struct {
	dicom              *scp.Server
	web, status        *http.Server // DICOMweb; status page and metrics
	dicomAt, webAt, at net.Listener // at: of status
	page               *reviewPage
}

// openDoors takes the addresses that the configuration names.
func openDoors(c *config.Config, n *node.Node, reg *prometheus.Registry, metrics *node.Metrics, log *slog.Logger) (_ *doors, err error) {
	d := &doors{status: statusServer(statusMux(n, reg), c.HTTP.Hosts)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.dicom, err = dicomServer(c, n, metrics, log); err != nil {
		return nil, err
	}
	if c.HTTP.Listen != "" {
		if d.at, err = net.Listen("tcp", c.HTTP.Listen); err != nil {
			return nil, fmt.Errorf("http.listen: %w", err)
		}
		room, err := share(shareOfHTTP)
		if err != nil {
			return nil, err
		}
		d.at = limitConnections(d.at, "http.listen", room, room/4, log)
	}
	if !c.Does(node.RoleReceive) {
		return d, nil
	}
	if d.dicomAt, err = net.Listen("tcp", c.DICOM.Listen); err != nil {
		return nil, fmt.Errorf("dicom.listen: %w", err)
	}
	d.web, d.webAt, err = dicomwebServer(c, n, d.dicom, metrics, log)
	return d, err
}

// close gives the addresses back of doors that were not served.
func (d *doors) close() (err error) {
	for _, l := range []net.Listener{d.dicomAt, d.webAt, d.at} {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return err
}

// address is where DICOM is received, "" for nowhere.
func (d *doors) address() string {
	if d.dicomAt == nil {
		return ""
	}
	return d.dicomAt.Addr().String()
}

// serve runs the node behind its doors until ctx ends, and then stops in the
// reverse order of the data's way: first nothing comes in any more, then the jobs
// stop.
func (d *doors) serve(ctx context.Context, n *node.Node) error {
	group, gctx := errgroup.WithContext(ctx)
	jobs, stopJobs := context.WithCancel(context.WithoutCancel(ctx))
	defer stopJobs()
	group.Go(func() error {
		defer stopJobs()
		return d.receive(gctx)
	})
	group.Go(func() error { return n.Run(jobs) })
	if d.at != nil {
		group.Go(func() error { return serveHTTP(gctx, d.status, d.at) })
	}
	if d.page != nil {
		group.Go(func() error { return d.page.run(gctx) })
	}
	return group.Wait()
}

// receive takes objects until ctx ends.
func (d *doors) receive(ctx context.Context) error {
	if d.dicomAt == nil {
		<-ctx.Done()
		return nil
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(gctx, d.dicom, d.dicomAt) })
	if d.web != nil {
		group.Go(func() error { return serveHTTP(gctx, d.web, d.webAt) })
	}
	return group.Wait()
}

// outlive keeps the process alive when the terminal or the session that began it
// goes away, and when nobody reads its log any more: a service is stopped by
// SIGTERM.
func outlive(log *slog.Logger) (stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			log.Info("SIGHUP changes nothing: the configuration and its certificates are read at a start")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		signal.Reset(syscall.SIGPIPE)
	}
}

// lockDirectory creates the data directory and makes sure that only this
// process uses it; the lock ends with the process, however it ends.
func lockDirectory(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("storage.directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("storage.directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("storage.directory %s is in use by another node: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// lockDatabase makes sure that only this process uses a database of SQLite, which
// another configuration may name too.
func lockDatabase(c *config.Config) (unlock func(), err error) {
	if store.IsPostgreSQL(c.Database()) {
		return func() {}, nil
	}
	path := c.Database()
	// One lock, by whichever name the file or its folder goes.
	if is, err := filepath.EvalSymlinks(path); err == nil {
		path = is
	} else if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("storage.database: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(usageError{fmt.Errorf("storage.database %s is in use by another node: %w", c.Database(), err)}, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

func statusMux(n *node.Node, reg *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.Handle("/", n.API())
	return mux
}

// dicomServer builds the listener's server from the configuration.
func dicomServer(c *config.Config, n *node.Node, metrics *node.Metrics, log *slog.Logger) (*scp.Server, error) {
	tlsConfig, err := serverTLS(c.DICOM.TLS)
	if err != nil {
		return nil, usageError{err}
	}
	warnOfCertificates(log, "dicom.tls", tlsConfig)
	sources, err := c.DICOM.Prefixes()
	if err != nil {
		return nil, usageError{err}
	}
	var peers []scp.Peer
	for _, title := range c.DICOM.CallingAETitles {
		peers = append(peers, scp.Peer{AETitle: title, Networks: sources})
	}
	if len(peers) == 0 && len(sources) > 0 {
		peers = []scp.Peer{{Networks: sources}}
	}
	decoded := decodedSyntaxes(log)
	var contexts []scp.PresentationContext
	for _, uid := range append(scp.DefaultStorageClasses(), c.DICOM.ExtraSOPClasses...) {
		contexts = append(contexts, scp.PresentationContext{AbstractSyntax: uid, TransferSyntaxes: decoded})
	}
	var others []string
	if c.DICOM.SOPClasses == "any" {
		others = scp.DefaultTransferSyntaxes() // nothing of them is decoded
	}
	srv := &scp.Server{
		AETitle:   c.DICOM.AETitle,
		Handler:   n.Handler(c.DICOM.Commitment.Enabled),
		Contexts:  contexts,
		Others:    others,
		Policy:    scp.AccessList{CalledAETitles: []string{c.DICOM.AETitle}, Peers: peers},
		TLSConfig: tlsConfig,
		Sources:   sources,
		Logger:    log,
		Observer:  metrics.Observer(),
	}
	srv.Limits.MaxAssociations = c.DICOM.MaxAssociations
	srv.Limits.MaxAssociationsPerPeer = c.DICOM.MaxAssociationsPerPeer
	srv.Limits.MaxAssociationsPerNetwork = c.DICOM.MaxAssociationsPerNetwork
	srv.Limits.MaxObject = int64(c.DICOM.MaxObject)
	srv.Timeouts.Idle = time.Duration(c.DICOM.IdleTimeout)
	if c.DICOM.TLS.ClientCA != "" {
		srv.PeerAETitles = scp.CertificateTitles
	}
	return srv, nil
}

// warnOfCertificates logs what is wrong with the node's own certificates.
func warnOfCertificates(log *slog.Logger, key string, t *tls.Config) {
	if t == nil {
		return
	}
	for _, pair := range t.Certificates {
		c := pair.Leaf
		if c == nil && len(pair.Certificate) > 0 {
			c, _ = x509.ParseCertificate(pair.Certificate[0])
		}
		if c == nil {
			continue
		}
		if doubt := scp.CertificateDoubt(c, time.Now()); doubt != "" {
			log.Warn(key + ": " + doubt)
		}
	}
}

// decodedSyntaxes are the transfer syntaxes that are accepted: those whose
// frames this machine decodes, so that a sender that has another one to offer
// offers it.
func decodedSyntaxes(log *slog.Logger) []string {
	var out, missing []string
	for s := range uid.Syntaxes() {
		if i := slices.IndexFunc(dicomio.Codecs(), func(x dicomio.Codec) bool { return x.Syntax.UID == s.UID && x.Decodes }); i >= 0 {
			out = append(out, s.UID)
		} else {
			missing = append(missing, s.Name)
		}
	}
	if len(missing) > 0 {
		log.Info("not accepted, since nothing here decodes them", "transfer_syntaxes", missing)
	}
	return out
}

func (p *program) nodeOptions(c *config.Config, worker *processor, log *slog.Logger) (node.Options, error) {
	o := node.Options{
		Version: p.version, Roles: c.Roles, Alone: c.Storage.Objects.Kind == config.KindDirectory,
		Idle:       time.Duration(c.Study.Idle),
		Cap:        time.Duration(c.Study.Cap),
		Retention:  time.Duration(c.Storage.Retention),
		OnArrival:  c.Analysis.OnArrival,
		Attempts:   c.Analysis.Attempts,
		RetryFor:   time.Duration(c.Analysis.RetryFor),
		Timeout:    time.Duration(c.Analysis.Timeout),
		RetryFirst: time.Duration(c.Delivery.RetryFirst),
		RetryMax:   time.Duration(c.Delivery.RetryMax),
		Deliveries: c.Delivery.Attempts,
	}
	if users := c.UsersFile(); c.Review.Listen != "" {
		o.Account = func(name string) (bool, error) {
			all, err := review.OpenUsers(users)
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil // all sign in at the provider
			}
			if err != nil {
				return false, err
			}
			_, ok, err := all.Find(name)
			return ok, err
		}
	}
	if c.Storage.Retention > 0 && c.Storage.RetentionFailed > 0 {
		o.RetentionFailed = time.Duration(max(c.Storage.Retention, c.Storage.RetentionFailed))
	}
	var err error
	if o.Settings, err = sharedSettings(c); err != nil {
		return o, err
	}
	if o.Seat, err = seatOf(c.Storage.Directory); err != nil {
		return o, err
	}
	certificates, err := loadCertificates(c)
	if err != nil {
		return o, usageError{err}
	}
	o.Checks = []func() []node.Problem{func() []node.Problem { return certificates.problems(time.Now()) }}
	for _, check := range o.Checks {
		for _, problem := range check() {
			log.Warn(problem.Text)
		}
	}
	o.CommitPeers = map[string]node.Peer{}
	for title, address := range c.DICOM.Commitment.ReportTo {
		o.CommitPeers[title] = node.Peer{Address: address, Dialer: &scp.Dialer{CallingAE: c.DICOM.AETitle, CalledAE: title}}
	}
	for _, d := range c.Destinations {
		dialer, err := destinationDialer(c, d)
		if err != nil {
			return o, usageError{fmt.Errorf("destination %s: %w", d.Name, err)}
		}
		dialer.Logger = log.With("destination", d.Name)
		warnOfCertificates(log, "destinations."+d.Name+".tls", dialer.TLSConfig)
		dialer.Timeouts.Connect, dialer.Timeouts.Response = time.Duration(c.Delivery.Timeout), time.Duration(c.Delivery.Timeout)
		dest := node.Destination{Name: d.Name, Address: d.Address, Dialer: dialer, Kinds: d.Send, Convert: deliver.Conversion(d.Transcode), Rules: d.Rules,
			Withdraws: d.Withdraw == "note", Own: worker.own(d.Name)}
		dest.Unasked = d.Ask == config.AskNothing
		if d.Ask == config.AskCommitment {
			dest.Commitment = time.Duration(*d.AskWait)
		}
		if d.URL != "" {
			dest.Stow = stowTo(d, dialer.TLSConfig, time.Duration(c.Delivery.Timeout))
		}
		o.Destinations = append(o.Destinations, dest)
	}
	return o, nil
}

// seatOf names what only one process uses at a time: this directory, since this
// machine was started. Machines that were cloned, and containers, may have one
// host name and one path.
func seatOf(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", fmt.Errorf("storage.directory: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return fmt.Sprintf("%s (%d:%d since %s)", path, st.Dev, st.Ino, bytes.TrimSpace(boot)), nil
}

// destinationDialer opens associations to a destination.
func destinationDialer(c *config.Config, d config.Destination) (*scp.Dialer, error) {
	t, err := clientTLS(d)
	if err != nil {
		return nil, err
	}
	dialer := &scp.Dialer{CallingAE: d.CallingAETitle, CalledAE: d.AETitle, TLSConfig: t}
	if dialer.CallingAE == "" {
		dialer.CallingAE = c.DICOM.AETitle
	}
	return dialer, nil
}

// forms are the outputs to make: those for all destinations, and for those that
// have a form of their own.
func forms(c *config.Config, device string) []form {
	all := []form{{names: []string{""}, o: outputOptions(c, c.Outputs)}}
	all[0].o.DeviceUID = device
	for _, d := range c.Destinations {
		if d.Outputs == nil {
			continue
		}
		o := outputOptions(c, c.OutputsOf(d))
		o.DeviceUID = device
		same := func(f form) bool {
			f.o.Pictures = o.Pictures // which are for nobody's destination
			return reflect.DeepEqual(f.o, o)
		}
		o.Pictures = false
		switch i := slices.IndexFunc(all, same); {
		case i > 0:
			all[i].names = append(all[i].names, d.Name)
		case i < 0:
			all = append(all, form{names: []string{d.Name}, o: o})
		}
	}
	return all
}

func outputOptions(c *config.Config, outputs config.Outputs) output.Options {
	class := derived.SecondaryCapture
	if outputs.OverlayClass == "us" {
		class = derived.Ultrasound
	}
	return output.Options{
		Class:        class,
		Structures:   outputs.Structures,
		Summary:      outputs.Summary,
		PDF:          outputs.PDF,
		Segmentation: outputs.Segmentation,
		Report:       outputs.Report,
		Codeset:      sr.Codeset(outputs.CodeSet),
		Stages:       outputs.Stages,
		Strain:       outputs.Strain,
		Overlay:      outputs.Overlay,
		JPEGQuality:  outputs.JPEGQuality,
		Pictures:     outputs.Pictures,
		Station:      c.DICOM.AETitle,
	}
}

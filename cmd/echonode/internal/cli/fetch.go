package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/fetch"
	"github.com/echonode/echonode/scp"
)

// fetchOptions are the flags of fetch.
type fetchOptions struct {
	peer   peer
	config string
	from   string
	query  fetch.Query
	dir    string
	moveTo string
	listen string
	rate   string
	pause  time.Duration
	list   bool
	quiet  bool
}

func (p *program) fetchCommand() *cobra.Command {
	var o fetchOptions
	cmd := &cobra.Command{
		Use:   "fetch --from HOST:PORT|NAME (--study UID | --date YYYYMMDD[-YYYYMMDD] | --patient ID | --accession NUMBER) [--modality US]",
		Short: "Fetch studies from an archive by DICOM query and retrieve",
		Long: `Asks an archive what it has (C-FIND) and fetches it: by C-GET into --out, as
STUDY/OBJECT.dcm, or with --move-to by C-MOVE to an application entity that the
archive knows: a running node, which then analyses what comes, or with --listen
this program itself.

--from is an address (with --called for the archive's AE title), or with -c the
name of a destination of the configuration, whose AE titles and TLS are used.

Started again, it fetches what is missing: objects that lie in --out are left
out. Progress goes to standard error.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.fetch(cmd.Context(), o) },
	}
	o.peer.register(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.config, "config", "c", "", "configuration file, when --from is a destination's name")
	f.StringVar(&o.from, "from", "", "the archive: HOST:PORT, or a destination's name")
	f.StringVar(&o.query.StudyInstanceUID, "study", "", "Study Instance UID")
	f.StringVar(&o.query.Date, "date", "", "study date or range, YYYYMMDD or YYYYMMDD-YYYYMMDD, either end open")
	f.StringVar(&o.query.PatientID, "patient", "", "patient ID, as it is: * and ? are no wildcards")
	f.StringVar(&o.query.AccessionNumber, "accession", "", "accession number, as it is")
	f.StringVar(&o.query.Modality, "modality", "", "only series of this modality, such as US")
	f.StringVar(&o.dir, "out", "", "folder for the objects")
	f.StringVar(&o.moveTo, "move-to", "", "AE title that the archive sends to (C-MOVE); empty: C-GET")
	f.StringVar(&o.listen, "listen", "", "with --move-to: receive on this address into --out")
	f.StringVar(&o.rate, "rate", "", "most bytes per second by C-GET, such as 5MiB; empty: no bound")
	f.DurationVar(&o.pause, "pause", 0, "wait between series")
	f.BoolVar(&o.list, "list", false, "list the studies and fetch nothing")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no progress")
	return cmd
}

// check says what is wrong with the flags.
func (o *fetchOptions) check() error {
	switch {
	case o.from == "":
		return errors.New("--from names the archive")
	case o.query == (fetch.Query{Modality: o.query.Modality}):
		return errors.New("one of --study, --date, --patient, --accession is needed")
	case o.query.StudyInstanceUID != "" && !uid.Valid(o.query.StudyInstanceUID):
		return fmt.Errorf("--study %q is not a UID", o.query.StudyInstanceUID)
	case !validDateRange(o.query.Date):
		return fmt.Errorf("--date %q is not YYYYMMDD or a range of them", o.query.Date)
	case o.list:
		return nil
	case o.moveTo == "" && o.dir == "":
		return errors.New("--out names the folder for the objects")
	case o.listen != "" && (o.moveTo == "" || o.dir == ""):
		return errors.New("--listen needs --move-to, our AE title at the archive, and --out")
	case o.moveTo != "" && o.listen == "" && o.dir != "":
		return errors.New("--out with --move-to needs --listen: otherwise another program receives")
	case o.rate != "" && o.moveTo != "" && o.listen == "":
		return errors.New("--rate is the receiver's; with --move-to use --pause")
	}
	return nil
}

// validDateRange checks a date or range of PS3.4 C.2.2.2.5; "" is any.
func validDateRange(s string) bool {
	if s == "" {
		return true
	}
	from, to, ranged := strings.Cut(s, "-")
	valid := func(d string) bool {
		_, err := time.Parse("20060102", d)
		return err == nil
	}
	if !ranged {
		return valid(from)
	}
	return (from != "" || to != "") && (from == "" || valid(from)) && (to == "" || valid(to)) && (from == "" || to == "" || from <= to)
}

// archive finds the address and the dialer of --from.
func (o *fetchOptions) archive() (string, *scp.Dialer, error) {
	if _, _, err := net.SplitHostPort(o.from); err == nil && o.config == "" {
		d, err := o.peer.dialer()
		return o.from, d, err
	}
	if o.config == "" {
		return "", nil, usageError{fmt.Errorf("--from %q is neither HOST:PORT nor, without -c, a destination's name", o.from)}
	}
	c, err := load(o.config)
	if err != nil {
		return "", nil, err
	}
	i := slices.IndexFunc(c.Destinations, func(d config.Destination) bool { return d.Name == o.from })
	if i < 0 {
		return "", nil, usageError{fmt.Errorf("--from %q is no destination of %s", o.from, o.config)}
	}
	if c.Destinations[i].URL != "" {
		return "", nil, usageError{fmt.Errorf("--from %q is a DICOMweb destination: fetch speaks DIMSE", o.from)}
	}
	d, err := destinationDialer(c, c.Destinations[i])
	if err != nil {
		return "", nil, usageError{err}
	}
	d.Timeouts.Connect, d.Timeouts.Response = time.Duration(c.Delivery.Timeout), time.Duration(c.Delivery.Timeout)
	return c.Destinations[i].Address, d, nil
}

func (p *program) fetch(ctx context.Context, o fetchOptions) (err error) {
	if err := o.check(); err != nil {
		return usageError{err}
	}
	address, dialer, err := o.archive()
	if err != nil {
		return err
	}
	f := &fetch.Fetcher{Dialer: dialer, Address: address, Dir: o.dir, MoveTo: o.moveTo, Pause: o.pause}
	for _, c := range dicomio.Codecs() {
		if slices.Contains(scp.DefaultTransferSyntaxes(), c.Syntax.UID) && c.Decodes {
			f.Syntaxes = append(f.Syntaxes, c.Syntax.UID)
		}
	}
	if o.rate != "" {
		n, err := humanize.ParseBytes(o.rate)
		if err != nil || n == 0 {
			return usageError{fmt.Errorf("--rate %q is not a size such as 5MiB", o.rate)}
		}
		f.BytesPerSecond = int64(n)
	}
	studies, err := f.Studies(ctx, o.query)
	if err != nil {
		return err
	}
	if o.list {
		for _, s := range studies {
			fmt.Fprintf(p.out, "%s  %-8s  %-12s  %5d  %s\n", s.StudyInstanceUID, s.Date, strings.Join(s.Modalities, ","), s.Instances, printableLine(s.Description))
		}
		return nil
	}
	if len(studies) == 0 {
		return errors.New("the archive has no such study")
	}
	if o.listen != "" {
		l, err := net.Listen("tcp", o.listen)
		if err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
		sctx, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			done <- serve(sctx, &scp.Server{AETitle: o.moveTo, Handler: f, Others: scp.DefaultTransferSyntaxes(),
				Logger: logger(p.err, config.Log{Level: "warn", Format: "text"})}, l)
		}()
		defer func() {
			stop()
			err = errors.Join(err, <-done)
		}()
	}
	if !o.quiet {
		f.Progress = p.fetchProgress(len(studies))
	}
	start := time.Now()
	r, err := f.Fetch(ctx, studies, o.query.Modality)
	fmt.Fprintf(p.out, "%d studies, %d series: %d objects fetched (%s in %s), %d were here, %d failed\n", r.Studies, r.Series+r.SeriesAlreadyDone, r.Fetched,
		humanize.IBytes(uint64(r.Bytes)), time.Since(start).Round(time.Second), r.Skipped, r.Failed)
	if errors.Is(err, fetch.ErrPartial) && r.Fetched+r.Skipped > 0 {
		return partError{err}
	}
	return err
}

// fetchProgress prints a line for a series at most once a second, and its end.
func (p *program) fetchProgress(studies int) func(fetch.Progress) {
	var last time.Time
	seen := map[string]bool{}
	return func(x fetch.Progress) {
		if x.Total == 0 {
			return // an object that came by C-MOVE: the archive counts
		}
		seen[x.Series.StudyInstanceUID] = true
		if time.Since(last) < time.Second && x.Have < x.Total {
			return
		}
		last = time.Now()
		fmt.Fprintf(p.err, "study %d of %d, series %s: %d of %d objects\n", len(seen), studies, x.Series.SeriesInstanceUID, x.Have, x.Total)
	}
}

// printableLine keeps a peer's text from the terminal's control characters.
func printableLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r >= 0x80 && r < 0xA0 {
			return '?'
		}
		return r
	}, s)
}

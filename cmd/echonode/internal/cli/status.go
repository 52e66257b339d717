package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// control are the flags of commands that talk to a running node.
type control struct{ url, config string }

func (c *control) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.config, "config", "c", "", "configuration file of the node, for its http.listen")
	cmd.Flags().StringVar(&c.url, "url", "", "status address of the node, for example http://127.0.0.1:8104")
}

func (c *control) base() (string, error) {
	if c.url != "" {
		return strings.TrimSuffix(c.url, "/"), nil
	}
	cfg, err := load(c.config)
	if err != nil {
		return "", err
	}
	if cfg.HTTP.Listen == "" {
		return "", usageError{errors.New("http.listen is off in the configuration: nothing to ask")}
	}
	return "http://" + reachable(cfg.HTTP.Listen), nil
}

// reachable is an address to ask at for one that is listened on: every interface
// includes the loopback.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip, perr := netip.ParseAddr(host); err != nil || host != "" && (perr != nil || !ip.IsUnspecified()) {
		return listen
	} else if ip.Is6() && host != "" {
		return net.JoinHostPort("::1", port)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// call asks a running node and decodes its answer.
func call(cmd *cobra.Command, method, address string, v any) error {
	_, err := callPage(cmd, method, address, v)
	return err
}

// callPage is call for an answer that may have a next page, and gives its cursor.
func callPage(cmd *cobra.Command, method, address string, v any) (next string, err error) {
	req, err := http.NewRequestWithContext(cmd.Context(), method, address, nil)
	if err != nil {
		return "", err
	}
	return askPage(&http.Client{Timeout: 30 * time.Second}, req, v)
}

// ask sends a request to a running node and decodes its answer.
func ask(client *http.Client, req *http.Request, v any) error {
	_, err := askPage(client, req, v)
	return err
}

func askPage(client *http.Client, req *http.Request, v any) (next string, err error) {
	res, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("the node does not answer: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return "", err
	}
	// 207 is something done in part, which the answer tells.
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusMultiStatus {
		return "", fmt.Errorf("the node answers %s: %s", res.Status, harmless(strings.TrimSpace(string(body))))
	}
	return res.Header.Get(node.NextPage), json.Unmarshal(body, v)
}

// harmless is text that may hold a peer's words, on one line, harmless to a
// terminal.
func harmless(s string) string { return scp.Printable(strings.ReplaceAll(s, "\n", "; ")) }

// listing are the settings of the studies command.
type listing struct {
	control
	json, all bool
	states    []string
	limit     int
	after     string
}

func (p *program) studiesCommand() *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use:   "studies [UID]",
		Short: "Show the studies of a running node and their deliveries",
		Long: `Asks a running node for the state of its studies, the last touched first. With a
UID, one study with every delivery, what became of its objects and why loops were
not measured. Where there are more studies than asked for, standard error says how
to go on.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if l.limit < 1 {
				return usageError{fmt.Errorf("--limit %d", l.limit)}
			}
			return p.studies(cmd, l, args)
		},
	}
	l.register(cmd)
	cmd.Flags().BoolVar(&l.json, "json", false, "print JSON")
	cmd.Flags().StringSliceVar(&l.states, "state", nil, "only studies in these states: receiving, queued, analysing, done, failed")
	cmd.Flags().IntVar(&l.limit, "limit", 100, "at most so many studies")
	cmd.Flags().BoolVar(&l.all, "all", false, "all studies, however many")
	cmd.Flags().StringVar(&l.after, "after", "", "go on where a listing before has ended, by what it has said")
	return cmd
}

// studiesAtOnce is how many studies are asked for at a time.
const studiesAtOnce = 1000

// studies shows what the node says of its studies, page by page.
func (p *program) studies(cmd *cobra.Command, l listing, args []string) error {
	base, err := l.base()
	if err != nil {
		return err
	}
	show := printStudies
	if l.json {
		show = studiesAsJSON
	}
	for shown := 0; ; {
		count := studiesAtOnce
		if !l.all {
			count = min(count, l.limit-shown)
		}
		query := url.Values{"state": l.states, "limit": {strconv.Itoa(count)}}
		if len(args) == 1 {
			query.Set("uid", args[0])
		}
		if l.after != "" {
			query.Set("after", l.after)
		}
		var studies []node.StudyStatus
		if l.after, err = callPage(cmd, http.MethodGet, base+"/studies?"+query.Encode(), &studies); err != nil {
			return err
		}
		last := l.after == "" || len(studies) == 0 || !l.all && shown+len(studies) >= l.limit
		if err := show(p.out, studies, part{first: shown == 0, last: last, whole: len(args) == 1}); err != nil {
			return err
		}
		shown += len(studies)
		if !last {
			continue
		}
		if l.after != "" {
			fmt.Fprintf(p.err, "there are more studies than these %d: --all, --limit, or --after %s\n", shown, l.after)
		}
		return nil
	}
}

// part is a part of a listing.
type part struct {
	first, last bool
	whole       bool // one study with all that is known of it
}

// studiesAsJSON prints one array in all parts together.
func studiesAsJSON(out io.Writer, studies []node.StudyStatus, p part) error {
	var b bytes.Buffer
	if p.first {
		b.WriteByte('[')
	}
	for i := range studies {
		one, err := json.MarshalIndent(&studies[i], " ", " ")
		if err != nil {
			return err
		}
		if i > 0 || !p.first {
			b.WriteByte(',')
		}
		b.WriteString("\n ")
		b.Write(one)
	}
	if p.last {
		if len(studies) > 0 || !p.first {
			b.WriteByte('\n')
		}
		b.WriteString("]\n")
	}
	_, err := out.Write(b.Bytes())
	return err
}

func printStudies(out io.Writer, studies []node.StudyStatus, p part) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	if p.first {
		fmt.Fprintln(w, "STUDY\tSTATE\tOBJECTS\tRUNS\tLAST RECEIVED\tDELIVERIES")
	}
	for i := range studies {
		s := &studies[i]
		counts := map[store.DeliveryState]int{}
		for _, d := range s.Deliveries {
			counts[d.State]++
		}
		var parts []string
		for _, st := range []store.DeliveryState{store.Sent, store.Warning, store.Pending, store.Dead} {
			if counts[st] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", counts[st], st))
			}
		}
		state := string(s.State)
		if s.Progress != "" {
			state += " " + s.Progress
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", s.StudyInstanceUID, state, s.Objects, len(s.Runs), s.Received.Format(time.DateTime), strings.Join(parts, ", "))
		if s.Error != "" {
			fmt.Fprintf(w, "\terror: %s\n", harmless(s.Error))
		}
		if s.Conflicts > 0 {
			fmt.Fprintf(w, "\t%s\n", counted(s.Conflicts, "object: another picture came under its UID and was refused",
				"objects: other pictures came under their UIDs and were refused"))
		}
		if p.whole {
			printWhole(w, s)
		}
	}
	return w.Flush()
}

// printWhole prints what is only of interest where one study is asked for.
func printWhole(w io.Writer, s *node.StudyStatus) {
	if s.Corrected > 0 {
		fmt.Fprintf(w, "  %s sent again with other attributes, which count\n", counted(s.Corrected, "object was", "objects were"))
	}
	for _, r := range s.Remarks {
		fmt.Fprintf(w, "  %s\n", harmless(r))
	}
	for i := range s.Runs {
		if r := &s.Runs[i]; r.Error != "" && r.Error != s.Error {
			fmt.Fprintf(w, "  run %d: %s\n", r.Revision, harmless(r.Error))
		}
	}
	if len(s.Runs) > 0 && s.Runs[0].Summary != nil {
		reasons := s.Runs[0].Summary.Reasons
		for _, code := range slices.Sorted(maps.Keys(reasons)) {
			fmt.Fprintf(w, "  %d loops not measured: %s\n", reasons[code], code)
		}
	}
	for _, d := range s.Deliveries {
		status := ""
		if d.Status != nil {
			status = fmt.Sprintf("%04XH", *d.Status)
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s %s\n", d.SOPInstanceUID, d.State, d.Destination, d.Kind, status, harmless(d.Comment), harmless(d.Error))
	}
}

func (p *program) retryCommand() *cobra.Command {
	cmd := p.studyAction("retry", "Restart dead deliveries",
		`Takes deliveries that were given up back into the queue of a running node: those of a
study, those to a destination, or all.`)
	one := cmd.RunE
	destination, all := "", false
	cmd.Use, cmd.Args = "retry STUDY-UID | --destination NAME | --all", cobra.MaximumNArgs(1)
	cmd.Flags().StringVar(&destination, "destination", "", "those of all studies to this destination")
	cmd.Flags().BoolVar(&all, "all", false, "those of all studies to all destinations")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if b2i(len(args) == 1)+b2i(destination != "")+b2i(all) != 1 {
			return usageError{errors.New("a study, --destination or --all")}
		}
		if len(args) == 1 {
			return one(cmd, args)
		}
		var answer struct{ Deliveries int }
		c := control{url: cmd.Flag("url").Value.String(), config: cmd.Flag("config").Value.String()}
		if err := c.post(cmd, "/deliveries/retry", url.Values{"destination": {destination}}, &answer); err != nil {
			return err
		}
		fmt.Fprintf(p.out, "%s again\n", counted(answer.Deliveries, "delivery starts", "deliveries start"))
		return nil
	}
	return cmd
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (p *program) reanalyseCommand() *cobra.Command {
	return p.studyAction("reanalyse", "Analyse a study again",
		"Starts a new run of a study that is done or failed. Its report names the earlier one as predecessor.")
}

// studyAction is a command that asks a running node to do something with one
// study: POST /studies/NAME?uid=UID.
func (p *program) studyAction(name, short, long string) *cobra.Command {
	var c control
	cmd := &cobra.Command{
		Use:   name + " STUDY-UID",
		Short: short,
		Long:  long,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			var answer struct {
				Deliveries *int   `json:"deliveries"`
				State      string `json:"state"`
			}
			if err := call(cmd, http.MethodPost, base+"/studies/"+name+"?uid="+url.QueryEscape(args[0]), &answer); err != nil {
				return err
			}
			if answer.Deliveries != nil {
				fmt.Fprintf(p.out, "%d deliveries start again\n", *answer.Deliveries)
			} else {
				fmt.Fprintf(p.out, "study is %s\n", answer.State)
			}
			return nil
		},
	}
	c.register(cmd)
	return cmd
}

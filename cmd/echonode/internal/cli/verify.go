package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/echonode/echonode/pipeline/node"
)

func (p *program) verifyCommand() *cobra.Command {
	var c control
	var record bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare all stored objects with what was received",
		Long: `Has a running node read every object that it has received where it is stored and
compare it with the checksum of what was received, and lists those that are
damaged, missing or unreadable. Nothing is changed: an object that is sent again takes the
place of its damaged version (in an S3 store an hour later, where another process
still has a whole copy), "echonode remove STUDY SOP" takes it away. Of objects
that a version before 0.5.0 has received into a directory only the length, SOP
class and transfer syntax are known: with --record the node takes the checksum that
they have now, so that it notices what changes from then on. That does not prove
that they are what was received; sending them again does, and records it too. The
exit code is 3 if something is damaged,
missing or unreadable.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			return p.verify(cmd, base, record)
		},
	}
	c.register(cmd)
	cmd.Flags().BoolVar(&record, "record", false, "record the checksum that objects without one have now")
	return cmd
}

// verify asks for one part after the other, so that neither node nor network has
// to hold an answer for hours.
func (p *program) verify(cmd *cobra.Command, base string, record bool) error {
	var all node.Verified
	damaged := 0
	client := &http.Client{Timeout: 30 * time.Minute} // one object may be large, and its store slow
	for after := ""; ; {
		query := url.Values{"after": {after}}
		if record {
			query.Set("record", "true")
		}
		req, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, base+"/objects/verify?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		var v node.Verified
		if err := ask(client, req, &v); err != nil {
			return err
		}
		for _, d := range v.Damaged {
			fmt.Fprintf(p.out, "%s %s %s\n", d.Reason, d.StudyInstanceUID, d.SOPInstanceUID)
		}
		damaged += len(v.Damaged)
		all.Objects, all.Bytes, all.Unknown = all.Objects+v.Objects, all.Bytes+v.Bytes, all.Unknown+v.Unknown
		all.Recorded += v.Recorded
		if v.Next == "" {
			break
		}
		if v.Next == after {
			return errors.New("the node does not get on")
		}
		after = v.Next
	}
	fmt.Fprintf(p.out, "%s, %s: %d damaged, missing or unreadable", counted(all.Objects, "object", "objects"), humanize.IBytes(uint64(all.Bytes)), damaged)
	if all.Unknown > 0 {
		fmt.Fprintf(p.out, "; of %d only the length was known", all.Unknown)
	}
	if record {
		fmt.Fprintf(p.out, "; the checksum of %d was recorded", all.Recorded)
	}
	fmt.Fprintln(p.out)
	if damaged > 0 {
		return partError{fmt.Errorf("%s damaged, missing or unreadable", counted(damaged, "object is", "objects are"))}
	}
	return nil
}

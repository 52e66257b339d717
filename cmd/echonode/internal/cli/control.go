package cli

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/echonode/echonode/pipeline/node"
)

func (p *program) removeCommand() *cobra.Command {
	var c control
	cmd := &cobra.Command{
		Use:   "remove STUDY-UID [SOP-INSTANCE-UID...]",
		Short: "Remove a study, or objects of it, from a running node",
		Long: `Deletes a study from a running node, whatever its state: the objects that were
received, their results, and what is left to deliver. With SOP Instance UIDs it
deletes only these objects: what was made with them and is not sent yet is not
sent any more, and the study is analysed again without them. What was delivered
stays where it is; a destination with "withdraw: note" is told where no loop is
left.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var answer node.RemovedObjects
			if err := c.post(cmd, "/studies/remove", url.Values{"uid": args[:1], "object": args[1:]}, &answer); err != nil {
				return err
			}
			fmt.Fprintf(p.out, "study is %s\n", answer.State)
			if len(args) > 1 {
				fmt.Fprintf(p.out, "%s removed; %s withdrawn, %s of the study sent before\n", counted(answer.Objects, "object", "objects"),
					counted(int(answer.Unsent), "delivery", "deliveries"), counted(answer.Sent, "result", "results"))
			}
			return nil
		},
	}
	c.register(cmd)
	return cmd
}

func (p *program) redirectCommand() *cobra.Command {
	var c control
	cmd := &cobra.Command{
		Use:   "redirect FROM TO",
		Short: "Deliver to another destination what one is still owed",
		Long: `Takes what is left to deliver to destination FROM, given up or not, to destination
TO. FROM need not be configured any more: after a destination was renamed its
deliveries wait under the old name, and /healthz says so.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var answer struct{ Deliveries, Dropped int }
			if err := c.post(cmd, "/deliveries/redirect", url.Values{"from": args[:1], "to": args[1:]}, &answer); err != nil {
				return err
			}
			fmt.Fprintf(p.out, "%s to %s now", counted(answer.Deliveries, "delivery goes", "deliveries go"), args[1])
			if answer.Dropped > 0 {
				fmt.Fprintf(p.out, "; %s dropped, whose object is there or is owed to it", counted(answer.Dropped, "is", "are"))
			}
			fmt.Fprintln(p.out)
			return nil
		},
	}
	c.register(cmd)
	return cmd
}

func (p *program) dropCommand() *cobra.Command {
	var c control
	cmd := &cobra.Command{
		Use:   "drop DESTINATION",
		Short: "Give up what a destination is still owed",
		Long: `Forgets what is left to deliver to a destination, configured or not. Results stay
in storage.directory until their study is removed. A name that is no destination
and that nothing is owed to fails.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var answer struct{ Deliveries int }
			if err := c.post(cmd, "/deliveries/drop", url.Values{"destination": args}, &answer); err != nil {
				return err
			}
			fmt.Fprintf(p.out, "%s to %s given up\n", counted(answer.Deliveries, "delivery", "deliveries"), args[0])
			return nil
		},
	}
	c.register(cmd)
	return cmd
}

// post has a running node do something.
func (c *control) post(cmd *cobra.Command, path string, query url.Values, v any) error {
	base, err := c.base()
	if err != nil {
		return err
	}
	return call(cmd, http.MethodPost, base+path+"?"+query.Encode(), v)
}

// counted is a number with the word for it.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/echonode/echonode/pipeline/node"
)

func (p *program) healthCommand() *cobra.Command {
	var c control
	strict := false
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say whether a running node takes objects, and what needs a person",
		Long: `Asks a running node for its health and prints it with its problems, one a line. It
fails while the node refuses objects or does not answer; with --strict, exit code
3, also while something needs a person.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := c.base()
			if err != nil {
				return err
			}
			h, err := health(cmd, base)
			if err != nil {
				return err
			}
			fmt.Fprintln(p.out, h.Status)
			for _, problem := range h.Problems {
				fmt.Fprintf(p.out, "%s: %s\n", harmless(problem.Code), harmless(problem.Text))
			}
			switch {
			case h.Status == node.HealthRefusing:
				return errors.New("the node refuses objects")
			case h.Status != node.HealthOK && strict:
				return partError{errors.New("something needs a person")}
			}
			return nil
		},
	}
	c.register(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "fail also while something needs a person")
	return cmd
}

func health(cmd *cobra.Command, base string) (h node.Health, err error) {
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, base+"/health", nil)
	if err != nil {
		return h, err
	}
	res, err := (&http.Client{Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		return h, fmt.Errorf("the node does not answer: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("the node answers %s: %s", res.Status, harmless(string(b[:min(len(b), 300)])))
	}
	return h, nil
}

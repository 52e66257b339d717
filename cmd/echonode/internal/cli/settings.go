package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/kept"
	"github.com/echonode/echonode/pipeline/node"
)

// sharedSettings are what the processes of one database have to agree on, of what the
// roles of this one go by: for durations what they are, for the rest a sign.
func sharedSettings(c *config.Config) (map[string]string, error) {
	s := map[string]string{}
	duration := func(key string, d config.Duration) { s[key] = time.Duration(d).String() }
	if c.Does(node.RoleReceive) {
		duration("study.idle", c.Study.Idle)
		duration("study.cap", c.Study.Cap)
		duration("storage.retention", c.Storage.Retention)
		duration("storage.retention_failed", c.Storage.RetentionFailed)
	}
	sign := func(key string, value any) error {
		d, err := kept.Digest(value)
		s[key] = "digest " + d
		return err
	}
	if c.Does(node.RoleAnalyse) || c.Does(node.RoleWeb) { // who decide what is made and where it goes
		var names []string
		for _, d := range c.Destinations {
			names = append(names, d.Name)
			if err := sign("what "+d.Name+" gets", []any{d.Send, d.Rules, c.OutputsOf(d), d.Withdraw}); err != nil {
				return nil, err
			}
		}
		slices.Sort(names)
		s["destinations"] = strings.Join(names, ", ")
		if err := sign("outputs", c.Outputs); err != nil {
			return nil, err
		}
		s["analysis.model"] = c.Analysis.Model
		s["analysis.mirrored"] = c.Analysis.Mirrored
		s["analysis.max_frames"] = fmt.Sprint(c.Analysis.MaxFrames)
	}
	if c.Does(node.RoleDeliver) { // whichever of them holds the queue
		for _, d := range c.Destinations {
			if err := sign("address of "+d.Name, []any{d.Address, d.AETitle, d.CallingAETitle, d.URL, d.Transcode, d.Ask, d.TLS.Enabled}); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

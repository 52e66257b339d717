package cli

import (
	"fmt"
	"time"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/deliver"
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
	if c.Does(node.RoleAnalyse) || c.Does(node.RoleWeb) { // who decide what is made and where it goes
		type destination struct {
			Name     string
			Send     []string
			Rules    []deliver.Rule
			Outputs  config.Outputs
			Withdraw string
		}
		all := []destination{}
		for _, d := range c.Destinations {
			all = append(all, destination{d.Name, d.Send, d.Rules, c.OutputsOf(d), d.Withdraw})
		}
		for key, value := range map[string]any{"destinations": all, "outputs": c.Outputs} {
			sign, err := kept.Digest(value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			s[key] = "digest " + sign
		}
		s["analysis.mirrored"] = c.Analysis.Mirrored
		s["analysis.max_frames"] = fmt.Sprint(c.Analysis.MaxFrames)
	}
	return s, nil
}

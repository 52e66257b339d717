package config

import (
	"slices"

	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/store"
)

// Does reports whether the process has a role.
func (c *Config) Does(role string) bool { return slices.Contains(c.Roles, role) }

// checkRoles finds what keeps processes with some of the roles from working
// together.
func (c *Config) checkRoles(bad func(key, format string, args ...any)) {
	if len(c.Roles) == 0 {
		bad("roles", "must name at least one of receive, analyse, deliver, web")
		return
	}
	for i, r := range c.Roles {
		if !slices.Contains(node.Roles, r) {
			bad("roles", "%q is not one of receive, analyse, deliver, web", r)
		} else if slices.Contains(c.Roles[:i], r) {
			bad("roles", "%s stands there twice", r)
		}
	}
	if len(c.Roles) == len(node.Roles) {
		return
	}
	if c.Storage.Objects.Kind == KindDirectory {
		bad("roles", "the other roles need storage.objects of kind shared or s3: they cannot see this machine's disk")
	}
	if !store.IsPostgreSQL(c.Database()) {
		bad("roles", "the other roles need storage.database on PostgreSQL")
	}
	if c.Outputs.DeviceUID == "" {
		bad("roles", "the processes need one outputs.device_uid, by which they make the same objects")
	}
}

package config

import (
	"net"
	"net/url"
	"path/filepath"
	"strings"
)

// Review configures the review page.
type Review struct {
	Listen      string   `yaml:"listen"`
	TLS         PageTLS  `yaml:"tls"`
	BehindProxy bool     `yaml:"behind_proxy"`
	Hosts       []string `yaml:"hosts"`
	EmbedIn     []string `yaml:"embed_in"`
	Users       string   `yaml:"users"`
	SessionIdle Duration `yaml:"session_idle"`
	SessionMax  Duration `yaml:"session_max"`
	Reject      string   `yaml:"reject"`
	Labels      bool     `yaml:"export_labels"`
	OIDC        OIDC     `yaml:"oidc"`
	Syslog      Syslog   `yaml:"audit_syslog"`
}

// Syslog configures where DICOM audit messages go.
type Syslog struct {
	Address     string `yaml:"address"`
	CA          string `yaml:"ca"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// OIDC configures the sign-in at an OpenID provider.
type OIDC struct {
	Issuer       string            `yaml:"issuer"`
	ClientID     string            `yaml:"client_id"`
	SecretFile   string            `yaml:"client_secret_file"`
	Redirect     string            `yaml:"redirect"`
	Scopes       []string          `yaml:"scopes"`
	NameClaim    string            `yaml:"name_claim"`
	GroupsClaim  string            `yaml:"groups_claim"`
	Roles        map[string]string `yaml:"roles"`
	Organisation string            `yaml:"organisation"`
	CA           string            `yaml:"ca"`
}

// check holds the settings against each other.
func (o OIDC) check(bad func(key, format string, args ...any)) {
	if o.Issuer == "" {
		return
	}
	secure := func(address string) bool {
		u, err := url.Parse(address)
		return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Host))
	}
	if !secure(o.Issuer) {
		bad("review.oidc.issuer", "is not an https address")
	}
	if u, err := url.Parse(o.Redirect); err != nil || !secure(o.Redirect) || u.Path != "/oidc/callback" {
		bad("review.oidc.redirect", "is not the page's https address with the path /oidc/callback")
	}
	if o.ClientID == "" {
		bad("review.oidc.client_id", "the provider must know this node by a name")
	}
	if o.NameClaim == "" || o.GroupsClaim == "" {
		bad("review.oidc.name_claim", "name_claim and groups_claim must be set")
	}
	if len(o.Roles) == 0 {
		bad("review.oidc.roles", "no group has a role: nobody could sign in")
	}
	for group, role := range o.Roles {
		if role != "viewer" && role != "reader" && role != "administrator" {
			bad("review.oidc.roles", "group %q: %q is not one of viewer, reader, administrator", group, role)
		}
		if role == "reader" && strings.TrimSpace(o.Organisation) == "" {
			bad("review.oidc.organisation", "readers need an organisation, which stands in signed reports")
		}
	}
}

// PageTLS is the certificate of the review page.
type PageTLS struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// UsersFile is where the accounts of the review page are.
func (c *Config) UsersFile() string {
	if c.Review.Users != "" {
		return c.Review.Users
	}
	return filepath.Join(c.Storage.Directory, "users.yaml")
}

// LabelsKeyFile is where the key is that names subjects in exported labels.
func (c *Config) LabelsKeyFile() string { return filepath.Join(c.Storage.Directory, "labels.key") }

// SyslogPositionFile keeps how far the audit trail has been told.
func (c *Config) SyslogPositionFile() string {
	return filepath.Join(c.Storage.Directory, "audit-syslog.position")
}

// check holds the review page's settings against each other.
func (r Review) check(bad func(key, format string, args ...any)) {
	if (r.TLS.Certificate == "") != (r.TLS.Key == "") {
		bad("review.tls", "certificate and key belong together")
	}
	if r.Listen != "" && !loopback(r.Listen) && r.TLS.Certificate == "" && !r.BehindProxy {
		bad("review.listen", "%q is reachable from other machines: set review.tls, or review.behind_proxy where a proxy does the TLS", r.Listen)
	}
	for _, h := range r.Hosts {
		if h == "" || strings.ContainsAny(h, "/: ") {
			bad("review.hosts", "%q is not a host name without port", h)
		}
	}
	for _, o := range r.EmbedIn {
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" || u.RawQuery != "" || strings.ContainsAny(o, " ;,'\"") {
			bad("review.embed_in", "is not an origin such as https://pacs.example.org")
		}
	}
	if r.Reject != "withdraw" && r.Reject != "nothing" {
		bad("review.reject", "%q is not one of withdraw, nothing", r.Reject)
	}
	r.OIDC.check(bad)
	if s := r.Syslog; s.Address != "" {
		if host, port, err := net.SplitHostPort(s.Address); err != nil || host == "" || port == "" {
			bad("review.audit_syslog.address", "%q is not host:port", s.Address)
		}
		if (s.Certificate == "") != (s.Key == "") {
			bad("review.audit_syslog", "certificate and key belong together")
		}
	}
	if r.SessionIdle <= 0 || r.SessionMax < r.SessionIdle {
		bad("review.session_max", "session_idle must be greater than zero and session_max not shorter")
	}
}

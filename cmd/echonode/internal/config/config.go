// Package config reads the node's configuration file. The embedded
// echonode.yaml is at once the set of defaults and the reference for people.
package config

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/node"
)

// Default is the commented configuration file with every default.
//
//go:embed echonode.yaml
var Default []byte

// Config is the whole configuration. See echonode.yaml for what each key does.
type Config struct {
	Roles        []string      `yaml:"roles"`
	DICOM        DICOM         `yaml:"dicom"`
	DICOMweb     DICOMweb      `yaml:"dicomweb"`
	Memory       Memory        `yaml:"memory"`
	Storage      Storage       `yaml:"storage"`
	Study        Study         `yaml:"study"`
	Analysis     Analysis      `yaml:"analysis"`
	Outputs      Outputs       `yaml:"outputs"`
	Destinations []Destination `yaml:"destinations"`
	Delivery     Delivery      `yaml:"delivery"`
	HTTP         HTTP          `yaml:"http"`
	Review       Review        `yaml:"review"`
	Log          Log           `yaml:"log"`
}

// DICOM configures the listener.
type DICOM struct {
	AETitle                   string     `yaml:"ae_title"`
	Listen                    string     `yaml:"listen"`
	CallingAETitles           []string   `yaml:"calling_ae_titles"`
	Sources                   []string   `yaml:"sources"`
	SOPClasses                string     `yaml:"sop_classes"`
	ExtraSOPClasses           []string   `yaml:"extra_sop_classes"`
	MaxAssociations           int        `yaml:"max_associations"`
	MaxAssociationsPerPeer    int        `yaml:"max_associations_per_peer"`
	MaxAssociationsPerNetwork int        `yaml:"max_associations_per_network"`
	MaxObject                 Size       `yaml:"max_object"`
	IdleTimeout               Duration   `yaml:"idle_timeout"`
	TLS                       ServerTLS  `yaml:"tls"`
	Commitment                Commitment `yaml:"commitment"`
}

// Commitment configures storage commitment.
type Commitment struct {
	Enabled  bool              `yaml:"enabled"`
	ReportTo map[string]string `yaml:"report_to"` // address by AE title
}

// ServerTLS configures TLS on the listener.
type ServerTLS struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	ClientCA    string `yaml:"client_ca"`
	Legacy      bool   `yaml:"legacy"`
}

// Memory configures what peers can make the node hold.
type Memory struct {
	Budget Size `yaml:"budget"`
}

// Storage configures the data directory.
type Storage struct {
	Directory string `yaml:"directory"`
	// Database is "sqlite", a path, or a URL of PostgreSQL: see Config.Database.
	Database             string   `yaml:"database"`
	DatabasePasswordFile string   `yaml:"database_password_file"`
	DatabaseWait         Duration `yaml:"database_wait"`
	MinFree              Size     `yaml:"min_free"`
	Retention            Duration `yaml:"retention"`
	// RetentionFailed is for studies that failed or could not be delivered.
	RetentionFailed Duration `yaml:"retention_failed"`
	Objects         Objects  `yaml:"objects"`
}

// Objects configures where received objects and what is made of them are kept.
type Objects struct {
	Kind   string `yaml:"kind"`
	Shared string `yaml:"shared"`
	Cache  Size   `yaml:"cache"`
	S3     S3     `yaml:"s3"`
}

// Kinds of object store.
const (
	KindDirectory = "directory"
	KindShared    = "shared"
	KindS3        = "s3"
)

// S3 configures an S3-compatible object store.
type S3 struct {
	Endpoint        string   `yaml:"endpoint"`
	Region          string   `yaml:"region"`
	Bucket          string   `yaml:"bucket"`
	Prefix          string   `yaml:"prefix"`
	CredentialsFile string   `yaml:"credentials_file"`
	CA              string   `yaml:"ca"`
	Checksums       string   `yaml:"checksums"`
	Timeout         Duration `yaml:"timeout"`
}

// Study configures completeness.
type Study struct {
	Idle Duration `yaml:"idle"`
	Cap  Duration `yaml:"cap"`
}

// Analysis configures the model and the work on a study.
type Analysis struct {
	Model       string   `yaml:"model"`
	ONNXRuntime string   `yaml:"onnxruntime"`
	Provider    string   `yaml:"provider"`
	Device      int      `yaml:"device"`
	Remote      string   `yaml:"remote"`
	Workers     int      `yaml:"workers"`
	StartLimit  Duration `yaml:"start_limit"`
	MaxFrames   int      `yaml:"max_frames"`
	MaxPixels   int64    `yaml:"max_pixels"`
	ObjectTime  Duration `yaml:"object_timeout"`
	Mirrored    string   `yaml:"mirrored"`
	OnArrival   bool     `yaml:"on_arrival"`
	Timeout     Duration `yaml:"timeout"`
	Attempts    int      `yaml:"attempts"`
	RetryFor    Duration `yaml:"retry_for"`
}

// Outputs configures what is made of a study.
type Outputs struct {
	Report       bool     `yaml:"report"`
	CodeSet      string   `yaml:"code_set"`
	Stages       string   `yaml:"stages"`
	Strain       bool     `yaml:"strain"`
	DeviceUID    string   `yaml:"device_uid"`
	Overlay      string   `yaml:"overlay"`
	OverlayClass string   `yaml:"overlay_class"`
	Structures   []string `yaml:"structures"`
	Segmentation bool     `yaml:"segmentation"`
	Summary      bool     `yaml:"summary"`
	PDF          bool     `yaml:"pdf"`
	JPEGQuality  int      `yaml:"jpeg_quality"`
	Pictures     bool     `yaml:"pictures"`
}

// check says what is wrong with the settings of outputs.
func (o Outputs) check(key string, bad func(key, format string, args ...any), oneOf func(key, v string, allowed ...string)) {
	oneOf(key+".code_set", o.CodeSet, "sct", "srt")
	oneOf(key+".stages", o.Stages, "rest", "separate", "all")
	if u := o.DeviceUID; u != "" && !uid.Conforms(u) {
		bad(key+".device_uid", "%q is not a UID", u)
	}
	oneOf(key+".overlay", o.Overlay, "measured", "all", "none")
	for _, st := range o.Structures {
		oneOf(key+".structures", st, "myocardium", "atrium")
	}
	oneOf(key+".overlay_class", o.OverlayClass, "sc", "us")
	if o.JPEGQuality < 50 || o.JPEGQuality > 100 {
		bad(key+".jpeg_quality", "must be between 50 and 100")
	}
}

// OwnOutputs are the outputs of one destination where they differ from those of
// the others; what is left out is as in Outputs.
type OwnOutputs struct {
	CodeSet      string    `yaml:"code_set"`
	Stages       string    `yaml:"stages"`
	Strain       *bool     `yaml:"strain"`
	Overlay      string    `yaml:"overlay"`
	OverlayClass string    `yaml:"overlay_class"`
	Structures   *[]string `yaml:"structures"`
	Segmentation *bool     `yaml:"segmentation"`
	Summary      *bool     `yaml:"summary"`
	PDF          *bool     `yaml:"pdf"`
	JPEGQuality  int       `yaml:"jpeg_quality"`
}

// OutputsOf are the outputs that are made for a destination.
func (c *Config) OutputsOf(d Destination) Outputs {
	o, own := c.Outputs, d.Outputs
	if own == nil {
		return o
	}
	for _, s := range []struct {
		to   *string
		from string
	}{{&o.CodeSet, own.CodeSet}, {&o.Stages, own.Stages}, {&o.Overlay, own.Overlay}, {&o.OverlayClass, own.OverlayClass}} {
		if s.from != "" {
			*s.to = s.from
		}
	}
	for _, b := range []struct{ to, from *bool }{{&o.Strain, own.Strain}, {&o.Segmentation, own.Segmentation}, {&o.Summary, own.Summary}, {&o.PDF, own.PDF}} {
		if b.from != nil {
			*b.to = *b.from
		}
	}
	if own.Structures != nil {
		o.Structures = *own.Structures
	}
	if own.JPEGQuality != 0 {
		o.JPEGQuality = own.JPEGQuality
	}
	return o
}

// Destination is one place results are sent to.
type Destination struct {
	Name           string         `yaml:"name"`
	Address        string         `yaml:"address"`
	AETitle        string         `yaml:"ae_title"`
	URL            string         `yaml:"url"`
	Auth           Auth           `yaml:"auth"`
	CallingAETitle string         `yaml:"calling_ae_title"`
	Send           []string       `yaml:"send"`
	Rules          []deliver.Rule `yaml:"rules"`
	Transcode      string         `yaml:"transcode"`
	Outputs        *OwnOutputs    `yaml:"outputs"`
	Withdraw       string         `yaml:"withdraw"`
	Ask            string         `yaml:"ask"`
	AskWait        *Duration      `yaml:"ask_wait"`
	TLS            ClientTLS      `yaml:"tls"`
}

// How a destination is asked for what it was sent and whose answer was lost.
const (
	AskNothing    = "nothing"
	AskQuery      = "query"
	AskCommitment = "commitment"
)

// Auth are the credentials for a DICOMweb destination.
type Auth struct {
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	TokenFile    string `yaml:"token_file"`
	// OAuth 2.0 client credentials.
	TokenURL         string            `yaml:"token_url"`
	ClientID         string            `yaml:"client_id"`
	ClientSecretFile string            `yaml:"client_secret_file"`
	Scopes           []string          `yaml:"scopes"`
	Params           map[string]string `yaml:"params"`
}

// check says what is wrong with credentials.
func (a Auth) check() error {
	kinds := 0
	for _, is := range []bool{a.User != "" || a.PasswordFile != "", a.TokenFile != "", a.oauth()} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds > 1 || (a.User == "") != (a.PasswordFile == ""):
		return errors.New("either user and password_file, or token_file, or token_url, client_id and client_secret_file")
	case !a.oauth():
		return nil
	case a.TokenURL == "" || a.ClientID == "" || a.ClientSecretFile == "":
		return errors.New("token_url, client_id and client_secret_file belong together")
	}
	for _, k := range []string{"grant_type", "client_id", "client_secret", "scope"} {
		if _, ok := a.Params[k]; ok {
			return fmt.Errorf("params: %s is no further parameter", k)
		}
	}
	if err := deliver.CheckURL(a.TokenURL); err != nil {
		return fmt.Errorf("token_url: %w", err)
	}
	if deliver.InTheClear(a.TokenURL) {
		return errors.New("token_url: https is needed, the client secret would go in the clear")
	}
	return nil
}

// oauth reports whether tokens are asked for.
func (a Auth) oauth() bool {
	return a.TokenURL != "" || a.ClientID != "" || a.ClientSecretFile != "" || len(a.Scopes) > 0 || len(a.Params) > 0
}

// set reports whether there are any credentials.
func (a Auth) set() bool {
	return a.oauth() || a.User != "" || a.PasswordFile != "" || a.TokenFile != ""
}

// DICOMweb configures the way in over HTTP.
type DICOMweb struct {
	Listen   string `yaml:"listen"`
	Accounts string `yaml:"accounts"`
	TLS      struct {
		Certificate string `yaml:"certificate"`
		Key         string `yaml:"key"`
	} `yaml:"tls"`
}

// ClientTLS configures TLS towards a destination.
type ClientTLS struct {
	Enabled     bool   `yaml:"enabled"`
	CA          string `yaml:"ca"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// Delivery configures retries.
type Delivery struct {
	RetryFirst Duration `yaml:"retry_first"`
	RetryMax   Duration `yaml:"retry_max"`
	Attempts   int      `yaml:"attempts"`
	Timeout    Duration `yaml:"timeout"`
}

// HTTP configures the status listener.
type HTTP struct {
	Listen string   `yaml:"listen"`
	Hosts  []string `yaml:"hosts"`
}

// Log configures logging.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Size is a number of bytes, written 512MiB or 20GiB.
type Size uint64

// maxSize is the largest size that any setting takes.
const maxSize = 4 << 60

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (s *Size) UnmarshalYAML(node ast.Node) error {
	text := node.GetToken().Value
	n, err := humanize.ParseBytes(text)
	if err != nil {
		return at(node, "%q is not a size such as 512MiB or 20GiB", text)
	}
	if n > maxSize {
		return at(node, "%q is more than can be meant: at most %s", text, humanize.IBytes(maxSize))
	}
	*s = Size(n)
	return nil
}

// Duration is a length of time, written 90s, 15m or 24h.
type Duration time.Duration

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	text := node.GetToken().Value
	v, err := time.ParseDuration(text)
	if err != nil {
		return at(node, "%q is not a duration such as 90s, 15m or 24h", text)
	}
	*d = Duration(v)
	return nil
}

// at names the place in the file in the form of the library's own errors.
func at(node ast.Node, format string, args ...any) error {
	p := node.GetToken().Position
	return fmt.Errorf("[%d:%d] %s", p.Line, p.Column, fmt.Sprintf(format, args...))
}

// Load reads a configuration file over the defaults. Its errors name the file,
// and for syntax and unknown keys the line and column.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse reads a configuration over the defaults and checks it. The byte order mark
// that some editors put before UTF-8 is no part of it.
func Parse(b []byte) (*Config, error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	c := new(Config)
	if err := yaml.UnmarshalWithOptions(Default, c, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("embedded defaults: %w", err)
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, err
	}
	documents := slices.DeleteFunc(file.Docs, func(d *ast.DocumentNode) bool {
		return d.Body == nil || d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType
	})
	if len(documents) > 1 {
		return nil, at(documents[1].Body, "a second document (after ---): the configuration is one")
	}
	for _, d := range documents {
		if err := plainNumbers(d.Body); err != nil {
			return nil, err
		}
	}
	if len(documents) > 0 {
		if err := yaml.UnmarshalWithOptions(b, c, yaml.Strict()); err != nil {
			return nil, err
		}
	}
	for i := range c.Destinations {
		d := &c.Destinations[i]
		if d.Send == nil { // left out; [] is nothing, as in a rule
			d.Send = []string{"report", "overlay"}
			if c.OutputsOf(*d).Summary {
				d.Send = append(d.Send, "summary")
			}
		}
		if d.Transcode == "" {
			d.Transcode = "auto"
		}
		if d.Withdraw == "" {
			d.Withdraw = "none"
		}
		if d.Ask == "" {
			d.Ask = AskQuery
		}
		if d.AskWait == nil {
			d.AskWait = new(Duration)
			*d.AskWait = Duration(2 * time.Minute)
		}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// plainNumber is a number as people write one.
var plainNumber = regexp.MustCompile(`^[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?$`)

// textKeys are the keys of names that may look like numbers.
var textKeys = []string{"ae_title", "calling_ae_title", "calling_ae_titles", "report_to", "from", "client_id", "user", "bucket", "prefix"}

// plainNumbers refuses names that YAML takes for a number that nobody reads there: an AE
// title 0012, which would be 10.
func plainNumbers(body ast.Node) error {
	var problem error
	check := visitor(func(n ast.Node) {
		switch n.Type() {
		case ast.IntegerType, ast.FloatType:
			if raw := n.GetToken().Value; problem == nil && !plainNumber.MatchString(raw) {
				problem = at(n, "%s is taken for another number: put it in quotes", raw)
			}
		}
	})
	ast.Walk(visitor(func(n ast.Node) {
		if pair, ok := n.(*ast.MappingValueNode); ok && slices.Contains(textKeys, pair.Key.GetToken().Value) {
			ast.Walk(check, pair.Value)
		}
	}), body)
	return problem
}

type visitor func(ast.Node)

// Visit implements ast.Visitor.
func (v visitor) Visit(n ast.Node) ast.Visitor {
	v(n)
	return v
}

var (
	destinationName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
)

// minMemory is the least budget with which ordinary loops can be analysed.
const minMemory = 64 << 20

// problems are what is wrong with a configuration: all of it, not only the first.
type problems struct{ errs []error }

func (p *problems) bad(key, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}

func (p *problems) oneOf(key, v string, allowed ...string) {
	if !slices.Contains(allowed, v) {
		p.bad(key, "%q is not one of %s", v, strings.Join(allowed, ", "))
	}
}

func (p *problems) positive(key string, d Duration) {
	if d <= 0 {
		p.bad(key, "must be greater than zero")
	}
}

func (p *problems) aeTitle(key, v string) {
	if v != strings.TrimSpace(v) || !encoding.ValidAETitle(v) {
		p.bad(key, "%q is not an AE title: 1 to 16 printable ASCII characters without backslash", v)
	}
}

func (p *problems) listen(key, v string) {
	if err := checkAddress(v, true); err != nil {
		p.bad(key, "%v", err)
	}
}

func (p *problems) address(key, v string) {
	if err := checkAddress(v, false); err != nil {
		p.bad(key, "%v", err)
	}
}

func (p *problems) pair(key, cert, k string) {
	if (cert == "") != (k == "") {
		p.bad(key, "certificate and key belong together")
	}
}

// check returns every problem found.
func (c *Config) check() error {
	p := &problems{}
	c.checkDICOM(p)
	if c.Memory.Budget < minMemory {
		p.bad("memory.budget", "must be at least %s, what a few frames and their codecs need", humanize.IBytes(minMemory))
	}
	c.checkDICOMweb(p)
	c.Storage.check(p.bad)
	if c.Storage.Directory == "" {
		p.bad("storage.directory", "must be set")
	}
	c.Storage.Objects.check(p.bad)
	c.checkRoles(p.bad)
	if c.Storage.Retention < 0 || c.Storage.RetentionFailed < 0 {
		p.bad("storage.retention", "must not be negative, nor retention_failed")
	}
	if c.Storage.DatabaseWait < 0 {
		p.bad("storage.database_wait", "must not be negative")
	}
	p.positive("study.idle", c.Study.Idle)
	if c.Study.Cap < c.Study.Idle {
		p.bad("study.cap", "must not be shorter than study.idle")
	}
	c.checkAnalysis(p)
	c.Outputs.check("outputs", p.bad, p.oneOf)
	names := map[string]bool{}
	for i, d := range c.Destinations {
		key := fmt.Sprintf("destinations[%d]", i)
		if names[d.Name] {
			p.bad(key+".name", "%q is used twice", d.Name)
		}
		names[d.Name] = true
		c.checkDestination(p, key, d)
	}
	p.positive("delivery.retry_first", c.Delivery.RetryFirst)
	if c.Delivery.RetryMax < c.Delivery.RetryFirst {
		p.bad("delivery.retry_max", "must not be shorter than delivery.retry_first")
	}
	if c.Delivery.Attempts < 1 {
		p.bad("delivery.attempts", "must be at least 1")
	}
	p.positive("delivery.timeout", c.Delivery.Timeout)
	if c.HTTP.Listen != "" {
		p.listen("http.listen", c.HTTP.Listen)
	}
	if c.Review.Listen != "" {
		p.listen("review.listen", c.Review.Listen)
	}
	c.Review.check(p.bad)
	c.limits(p.bad)
	p.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	p.oneOf("log.format", c.Log.Format, "text", "json")
	return errors.Join(p.errs...)
}

func (c *Config) checkDICOM(p *problems) {
	p.aeTitle("dicom.ae_title", c.DICOM.AETitle)
	p.listen("dicom.listen", c.DICOM.Listen)
	for _, t := range c.DICOM.CallingAETitles {
		p.aeTitle("dicom.calling_ae_titles", t)
	}
	if _, err := c.DICOM.Prefixes(); err != nil {
		p.bad("dicom.sources", "%v", err)
	}
	p.oneOf("dicom.sop_classes", c.DICOM.SOPClasses, "any", "known")
	for _, u := range c.DICOM.ExtraSOPClasses {
		if !uid.Valid(u) {
			p.bad("dicom.extra_sop_classes", "%q is not a UID", u)
		}
	}
	if c.DICOM.MaxAssociations < 1 || c.DICOM.MaxAssociationsPerPeer < 1 || c.DICOM.MaxAssociationsPerNetwork < 1 {
		p.bad("dicom.max_associations", "must be at least 1, also per peer and per network")
	}
	if c.DICOM.MaxObject == 0 {
		p.bad("dicom.max_object", "must be greater than zero")
	}
	p.positive("dicom.idle_timeout", c.DICOM.IdleTimeout)
	p.pair("dicom.tls", c.DICOM.TLS.Certificate, c.DICOM.TLS.Key)
	if c.DICOM.TLS.ClientCA != "" && c.DICOM.TLS.Certificate == "" {
		p.bad("dicom.tls.client_ca", "needs certificate and key")
	}
	for title, a := range c.DICOM.Commitment.ReportTo {
		p.aeTitle("dicom.commitment.report_to", title)
		p.address("dicom.commitment.report_to", a)
	}
}

func (c *Config) checkDICOMweb(p *problems) {
	p.pair("dicomweb.tls", c.DICOMweb.TLS.Certificate, c.DICOMweb.TLS.Key)
	if w := c.DICOMweb; w.Listen != "" {
		p.listen("dicomweb.listen", w.Listen)
		if w.Accounts == "" {
			p.bad("dicomweb.accounts", "names the file of those who may store")
		}
		if w.TLS.Certificate == "" && !loopback(w.Listen) {
			p.bad("dicomweb.tls", "is needed where other machines reach dicomweb.listen: secrets would go in the clear")
		}
	}
}

func (c *Config) checkAnalysis(p *problems) {
	p.oneOf("analysis.mirrored", c.Analysis.Mirrored, "measure", "refuse")
	p.oneOf("analysis.provider", c.Analysis.Provider, "auto", "cpu", "cuda", "tensorrt", "remote")
	if (c.Analysis.Provider == "remote") != (c.Analysis.Remote != "") {
		p.bad("analysis.remote", "must be set exactly when analysis.provider is remote")
	}
	if c.Analysis.Device < 0 || c.Analysis.Workers < 0 {
		p.bad("analysis", "device and workers must not be negative")
	}
	if c.Analysis.MaxFrames < 1 || c.Analysis.Attempts < 1 {
		p.bad("analysis", "max_frames and attempts must be at least 1")
	}
	if c.Analysis.MaxPixels < 1 {
		p.bad("analysis.max_pixels", "must be at least 1")
	}
	p.positive("analysis.start_limit", c.Analysis.StartLimit)
	p.positive("analysis.object_timeout", c.Analysis.ObjectTime)
	p.positive("analysis.timeout", c.Analysis.Timeout)
	if c.Analysis.RetryFor < 0 {
		p.bad("analysis.retry_for", "must not be negative")
	}
}

func (c *Config) checkDestination(p *problems, key string, d Destination) {
	if !destinationName.MatchString(d.Name) {
		p.bad(key+".name", "%q: use 1 to 32 of a-z, 0-9, - and _", d.Name)
	}
	if d.URL == "" {
		p.address(key+".address", d.Address)
		p.aeTitle(key+".ae_title", d.AETitle)
	} else {
		if err := deliver.CheckURL(d.URL); err != nil {
			p.bad(key+".url", "%v", err)
		} else if d.Auth.set() && deliver.InTheClear(d.URL) {
			p.bad(key+".url", "https is needed, the credentials of auth would go in the clear")
		}
		if d.Address != "" || d.AETitle != "" {
			p.bad(key+".url", "a DICOMweb destination has no address and ae_title")
		}
	}
	if d.Auth.set() && d.URL == "" {
		p.bad(key+".auth", "belongs to a destination with url")
	}
	if err := d.Auth.check(); err != nil {
		p.bad(key+".auth", "%v", err)
	}
	if d.CallingAETitle != "" {
		p.aeTitle(key+".calling_ae_title", d.CallingAETitle)
	}
	for _, s := range d.Send {
		p.oneOf(key+".send", s, "report", "overlay", "segmentation", "summary", "pdf")
	}
	for j, r := range d.Rules {
		key := fmt.Sprintf("%s.rules[%d]", key, j)
		if err := r.When.Check(); err != nil {
			p.bad(key+".when", "%v", err)
		}
		for _, s := range r.Send {
			p.oneOf(key+".send", s, "report", "overlay", "segmentation", "summary", "pdf")
		}
		for _, title := range r.When.From {
			p.aeTitle(key+".when.from", title)
		}
	}
	if d.Outputs != nil {
		c.OutputsOf(d).check(key+".outputs", p.bad, p.oneOf)
	}
	p.oneOf(key+".withdraw", d.Withdraw, "none", "note")
	p.oneOf(key+".ask", d.Ask, AskNothing, AskQuery, AskCommitment)
	p.positive(key+".ask_wait", *d.AskWait)
	if d.Ask == AskCommitment && d.URL != "" {
		p.bad(key+".ask", "storage commitment is not to be had over DICOMweb: %s or %s", AskQuery, AskNothing)
	}
	p.oneOf(key+".transcode", d.Transcode, "auto", "never", "uncompressed")
	p.pair(key+".tls", d.TLS.Certificate, d.TLS.Key)
}

// Warnings names settings that work and are probably not meant.
func (c *Config) Warnings() []string {
	var w []string
	if !loopback(c.DICOM.Listen) && len(c.DICOM.CallingAETitles) == 0 && len(c.DICOM.Sources) == 0 && c.DICOM.TLS.ClientCA == "" {
		w = append(w, "dicom.listen is reachable from other machines and neither calling_ae_titles, sources nor tls.client_ca restrict who may send")
	}
	if c.HTTP.Listen != "" && !loopback(c.HTTP.Listen) {
		w = append(w, "http.listen is reachable from other machines and has no authentication")
	}
	if c.DICOM.Commitment.Enabled && c.Storage.Retention > 0 {
		w = append(w, "dicom.commitment is enabled and storage.retention removes objects that were committed to")
	}
	if len(c.Destinations) == 0 && slices.ContainsFunc([]string{node.RoleAnalyse, node.RoleDeliver, node.RoleWeb}, c.Does) {
		where := "storage.directory"
		if c.Storage.Objects.Kind != KindDirectory {
			where = "storage.objects"
		}
		w = append(w, "no destinations: results stay in "+where)
	}
	return w
}

// Contradictions names settings that can't all be meant: the node starts with them, and something that was asked for will
// not happen.
func (c *Config) Contradictions() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for i, d := range c.Destinations {
		made := c.OutputsOf(d).off()
		for _, kind := range d.Send {
			if off, ok := made[kind]; ok {
				say("destination %s is to be sent the %s, but %s", d.Name, kind, off)
			}
		}
		if len(d.Send) == 0 && !slices.ContainsFunc(d.Rules, func(r deliver.Rule) bool { return len(r.Send) > 0 }) {
			say("destination %s is sent nothing: send is empty, and no rule sends anything", d.Name)
		}
		for j, r := range d.Rules {
			for _, kind := range r.Send {
				if off, ok := made[kind]; ok {
					say("destination %s is to be sent the %s by rules[%d], but %s", d.Name, kind, j, off)
				}
			}
		}
		if sameAddress(d.Address, c.DICOM.Listen) {
			say("destination %s is this node itself (%s)", d.Name, d.Address)
		}
		if d.Ask == AskCommitment {
			if d.CallingAETitle != "" && d.CallingAETitle != c.DICOM.AETitle {
				say("destination %s is asked for storage commitment as %s, but its reports to that title are rejected: dicom.ae_title is %s",
					d.Name, d.CallingAETitle, c.DICOM.AETitle)
			}
			if len(c.DICOM.CallingAETitles) > 0 && !slices.Contains(c.DICOM.CallingAETitles, d.AETitle) {
				say("destination %s is asked for storage commitment, but its reports are rejected: %s is not in dicom.calling_ae_titles", d.Name, d.AETitle)
			}
		}
		for _, other := range c.Destinations[:i] {
			if d.peer() == other.peer() {
				say("destinations %s and %s are one peer (%s): it would get everything twice", other.Name, d.Name, d.peer())
			}
		}
	}
	listeners := []struct{ key, address string }{{"dicom.listen", c.DICOM.Listen}, {"http.listen", c.HTTP.Listen},
		{"dicomweb.listen", c.DICOMweb.Listen}, {"review.listen", c.Review.Listen}}
	for i, l := range listeners {
		for _, other := range listeners[:i] {
			if sameAddress(l.address, other.address) {
				say("%s and %s are one port (%s)", other.key, l.key, other.address)
			}
		}
	}
	return out
}

// off names the kinds of output that are not made, and the setting that turns
// each off.
func (o Outputs) off() map[string]string {
	off := map[string]string{}
	for _, k := range []struct {
		kind, setting string
		on            bool
	}{
		{"report", "outputs.report is false", o.Report},
		{"overlay", "outputs.overlay is none", o.Overlay != "none"},
		{"segmentation", "outputs.segmentation is false", o.Segmentation},
		{"summary", "outputs.summary is false", o.Summary},
		{"pdf", "outputs.pdf is false", o.PDF},
	} {
		if !k.on {
			off[k.kind] = k.setting
		}
	}
	return off
}

// peer names who is behind a destination.
func (d Destination) peer() string {
	if d.URL != "" {
		return strings.TrimSuffix(d.URL, "/")
	}
	return d.AETitle + " at " + d.Address
}

// sameAddress reports whether two addresses are one port of this machine.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	local := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
	}
	return hostA == hostB || local(hostA) && local(hostB)
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Prefixes returns dicom.sources as prefixes; a bare address is itself.
func (d DICOM) Prefixes() ([]netip.Prefix, error) { return deliver.Prefixes(d.Sources) }

// checkAddress says what is wrong with a host and port. Port 0 is one of the
// system's choice, and only something to listen on; a name is a service's.
func checkAddress(v string, listen bool) error {
	_, port, err := net.SplitHostPort(v)
	if err != nil || port == "" {
		return fmt.Errorf("%q is not host:port", v)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil || n == 0 && !listen {
		return fmt.Errorf("%q: %s is not a port, 1 to 65535", v, port)
	}
	return nil
}

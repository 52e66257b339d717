package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/scp"
)

// logger writes structured logs in the configured form.
func logger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	form := func(w io.Writer) slog.Handler {
		if c.Format == "json" {
			return slog.NewJSONHandler(w, o)
		}
		return slog.NewTextHandler(w, o)
	}
	return slog.New(form(logTo(w, form)))
}

func engineConfig(c *config.Config) models.Config {
	return models.Config{
		Path:     c.Analysis.Model,
		Library:  c.Analysis.ONNXRuntime,
		Provider: c.Analysis.Provider,
		Remote:   c.Analysis.Remote,
		Device:   c.Analysis.Device,
		Workers:  c.Analysis.Workers,
		CacheDir: filepath.Join(c.Storage.Directory, "tensorrt"),

		StartLimit: time.Duration(c.Analysis.StartLimit),
	}
}

// rearm catches signals again after a GPU provider was loaded: CUDA replaces
// the process's signal handlers.
func rearm(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

// openAnalyzer loads the model and returns the analyzer on it, which puts large
// intermediate data into the directory scratch, or the system's if it is "".
func (p *program) openAnalyzer(ctx context.Context, c *config.Config, scratch string, log *slog.Logger) (*pipeline.Analyzer, models.Engine, error) {
	engine, err := models.Open(ctx, engineConfig(c), log)
	if err != nil {
		return nil, nil, err
	}
	return p.analyzerOn(engine, c, scratch, log), engine, nil
}

// openServing is openAnalyzer for the roles of a process: one that leaves the
// analysis to others knows the network, on which results depend, and runs none.
func (p *program) openServing(ctx context.Context, c *config.Config, scratch string, log *slog.Logger) (*pipeline.Analyzer, models.Engine, error) {
	if c.Does(node.RoleAnalyse) {
		return p.openAnalyzer(ctx, c, scratch, log)
	}
	engine, err := models.Describe(engineConfig(c))
	if err != nil {
		return nil, nil, err
	}
	return p.analyzerOn(engine, c, scratch, log), engine, nil
}

func (p *program) analyzerOn(engine models.Engine, c *config.Config, scratch string, log *slog.Logger) *pipeline.Analyzer {
	options := pipeline.Options{
		Software:  result.Software{Name: "EchoNode", Version: p.version},
		Workers:   c.Analysis.Workers,
		MaxFrames: c.Analysis.MaxFrames,
		MaxPixels: c.Analysis.MaxPixels,
		Timeout:   time.Duration(c.Analysis.ObjectTime),
		Limits:    objectLimits(c, scratch),
		Mirrored:  pipeline.MirroredDisplay(c.Analysis.Mirrored),
		LV:        lv.DefaultOptions(),
	}
	budget := int64(c.Memory.Budget)
	if showsPages(c) {
		budget *= 2 // that of the review page
	}
	limitRuntime(budget)
	return pipeline.NewAnalyzer(engine, options, log)
}

// objectLimits bound what objects cost, with a budget of its own for whoever calls it.
func objectLimits(c *config.Config, scratch string) dicomio.Limits {
	return dicomio.Limits{Memory: dicomio.NewMemory(int64(c.Memory.Budget)), Scratch: scratch,
		Video: min(dicomio.DefaultLimits().Video, time.Duration(c.Analysis.ObjectTime))}
}

// showsPages reports whether a process has the review page.
func showsPages(c *config.Config) bool { return c.Does(node.RoleWeb) && c.Review.Listen != "" }

// runtimeBase is what the program's own heap takes beside the budget for what
// it receives: the database, the job queue, results, buffers of associations.
const runtimeBase = 192 << 20

// collectAt lets the garbage collector wait until the heap is two and a half times what is
// in use. That is a few megabytes, so that it would run ten times a second, and
// each time stop goroutines that are in the network or a codec.
const collectAt = 150

// limitRuntime makes the garbage collector work harder rather than let the heap
// grow past the budget, and less while it is small. GOMEMLIMIT and GOGC of the
// environment stand.
func limitRuntime(budget int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(budget + runtimeBase)
	}
}

// serverTLS is the listener's TLS configuration, nil for none.
func serverTLS(c config.ServerTLS) (*tls.Config, error) {
	if c.Certificate == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fmt.Errorf("dicom.tls: %w", err)
	}
	var pool *x509.CertPool
	if c.ClientCA != "" {
		if pool, err = certPool(c.ClientCA); err != nil {
			return nil, fmt.Errorf("dicom.tls.client_ca: %w", err)
		}
	}
	t := scp.ServerTLS(cert, pool)
	if c.Legacy {
		t = scp.LegacyTLS(t)
	}
	return t, nil
}

// clientTLS is the TLS configuration towards a destination, nil for none.
func clientTLS(d config.Destination) (*tls.Config, error) {
	if !d.TLS.Enabled && d.URL == "" {
		return nil, nil
	}
	cfg, err := tlsTowards(d.TLS.CA, d.TLS.Certificate, d.TLS.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.%w", err)
	}
	return cfg, nil
}

// tlsTowards is the TLS configuration towards a server: with the authorities of a
// file, the system's where none is named, and with a certificate of our own if one
// is named.
func tlsTowards(ca, certificate, key string) (*tls.Config, error) {
	var pool *x509.CertPool
	var own *tls.Certificate
	if ca != "" {
		var err error
		if pool, err = certPool(ca); err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
	}
	if certificate != "" {
		cert, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		own = &cert
	}
	return scp.ClientTLS(own, pool), nil
}

func certPool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}

// grace is how long associations may finish after SIGTERM.
const grace = 15 * time.Second

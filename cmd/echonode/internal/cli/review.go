package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/review"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// reviewPage is the review page with its listener.
type reviewPage struct {
	pages    *review.Server
	server   *http.Server
	listener net.Listener
}

// reviewUsers are the accounts of the review page; nil where all sign in at the
// provider.
func reviewUsers(c *config.Config) (*review.Users, error) {
	users, err := review.OpenUsers(c.UsersFile())
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.Review.OIDC.Issuer != "" && c.Review.Users == "":
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w; make an account with `echonode user add NAME`", err)
	}
	return users, err
}

// openReview prepares the review page, which puts large intermediate data into the
// directory scratch; nil when it is off.
func openReview(ctx context.Context, c *config.Config, st *store.Store, files *objects.Files, n *node.Node, measuring measure.Options, scratch,
	version string, log *slog.Logger) (*reviewPage, error) {
	r := c.Review
	if !showsPages(c) {
		return nil, nil
	}
	users, err := reviewUsers(c)
	if err != nil {
		return nil, usageError{fmt.Errorf("review.users: %w", err)}
	}
	provider, err := openIDProvider(r.OIDC)
	if err != nil {
		return nil, usageError{fmt.Errorf("review.oidc: %w", err)}
	}
	collector, err := auditCollector(c)
	if err != nil {
		return nil, usageError{fmt.Errorf("review.audit_syslog: %w", err)}
	}
	var labels []byte
	if r.Labels {
		if labels, err = labelsKey(ctx, c.LabelsKeyFile(), st); err != nil {
			return nil, fmt.Errorf("review.export_labels: %w", err)
		}
	}
	pages, err := review.New(review.Options{
		Store: st, Objects: files, Users: users, OIDC: provider, Listen: r.Listen, Hosts: r.Hosts, EmbedIn: r.EmbedIn,
		Secure: r.TLS.Certificate != "" || r.BehindProxy, Proxied: r.BehindProxy,
		Idle: time.Duration(r.SessionIdle), Longest: time.Duration(r.SessionMax), Version: version, Log: log,
		Signer: n, Operator: n, Measure: measuring, SilentRejection: r.Reject == "nothing", LabelsKey: labels, Syslog: collector,
		Limits: objectLimits(c, scratch),
	})
	if err != nil {
		return nil, err
	}
	p := &reviewPage{pages: pages, server: &http.Server{Handler: pages, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}}
	if r.TLS.Certificate != "" {
		cert, err := tls.LoadX509KeyPair(r.TLS.Certificate, r.TLS.Key)
		if err != nil {
			return nil, usageError{fmt.Errorf("review.tls: %w", err)}
		}
		p.server.TLSConfig = scp.ServerTLS(cert, nil)
	}
	room, err := share(shareOfReview)
	if err != nil {
		return nil, err
	}
	if p.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", r.Listen); err != nil {
		return nil, fmt.Errorf("review.listen: %w", err)
	}
	each := room / 2
	if r.BehindProxy {
		each = 0 // the proxy speaks for everybody
	}
	p.listener = limitConnections(p.listener, "review.listen", room, each, log)
	log.Info("review page", "listen", p.listener.Addr().String(), "tls", p.server.TLSConfig != nil)
	return p, nil
}

// openIDProvider prepares the sign-in at an OpenID provider; nil for none.
func openIDProvider(c config.OIDC) (*review.OIDC, error) {
	if c.Issuer == "" {
		return nil, nil
	}
	o := &review.OIDC{Issuer: c.Issuer, ClientID: c.ClientID, SecretFile: c.SecretFile, Redirect: c.Redirect, Scopes: c.Scopes, NameClaim: c.NameClaim,
		GroupsClaim: c.GroupsClaim, Roles: map[string][]review.Role{}, Organisation: c.Organisation, Client: &http.Client{Timeout: 15 * time.Second}}
	for group, role := range c.Roles {
		o.Roles[group] = []review.Role{review.Role(role)}
	}
	if c.CA != "" {
		cfg, err := tlsTowards(c.CA, "", "")
		if err != nil {
			return nil, err
		}
		o.Client.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg, TLSHandshakeTimeout: 10 * time.Second}
	}
	return o, nil
}

// auditCollector prepares the telling of the audit trail; nil for none.
func auditCollector(c *config.Config) (*review.Syslog, error) {
	a := c.Review.Syslog
	if a.Address == "" {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		return nil, err
	}
	cfg, err := tlsTowards(a.CA, a.Certificate, a.Key)
	if err != nil {
		return nil, err
	}
	cfg.ServerName = host
	return &review.Syslog{Address: a.Address, Source: c.DICOM.AETitle, Position: c.SyslogPositionFile(), TLS: cfg}, nil
}

// labelsKey reads the key in a file, and makes it when there is none.
//
// Where processes share a database it is in there, so that a subject has one
// name whoever exports: the key of the file, if the first of them has one.
func labelsKey(ctx context.Context, path string, st *store.Store) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b = make([]byte, 32)
		_, _ = rand.Read(b) // never fails
		if err = nil; !st.Shared() {
			err = os.WriteFile(path, b, 0o600)
		}
	}
	if err == nil && len(b) < 32 {
		err = fmt.Errorf("%s is damaged: it has %d bytes, not 32", path, len(b))
	}
	if err != nil || !st.Shared() {
		return b, err
	}
	return st.Key(ctx, "labels", b)
}

// run serves until ctx ends.
func (p *reviewPage) run(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.pages.Run(gctx) })
	group.Go(func() error {
		serve := p.server.Serve
		if p.server.TLSConfig != nil {
			serve = func(l net.Listener) error { return p.server.ServeTLS(l, "", "") }
		}
		if err := serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-gctx.Done()
		return finish(ctx, p.server, 5*time.Second)
	})
	return group.Wait()
}

// ---- accounts ----

func (p *program) userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Accounts of the review page",
		Long: `Makes, changes, lists and removes accounts of the review page. They are in
review.users of the configuration, with argon2id hashes of the passwords; a
running node sees a change at once. Root, and the owner of the file, may change
them; it stays its owner's.

A viewer may look, a reader may also correct and sign, an administrator looks
after studies, deliveries and the audit trail; an account may be several.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.userAddCommand(), p.userPasswordCommand(), p.userRemoveCommand(), p.userSignOutCommand(), p.userListCommand())
	return cmd
}

// usersFlags name the file of accounts.
type usersFlags struct{ config, file string }

func (f *usersFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.config, "config", "c", "", "configuration file of the node, for its review.users")
	cmd.Flags().StringVar(&f.file, "file", "", "file of accounts instead of the configured one")
}

func (f *usersFlags) path() (string, error) {
	if f.file != "" {
		return f.file, nil
	}
	c, err := load(f.config)
	if err != nil {
		return "", err
	}
	return c.UsersFile(), nil
}

func (p *program) userAddCommand() *cobra.Command {
	var f usersFlags
	var u review.User
	var roles []string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make an account",
		Long: `Makes an account. The password is asked for, or read from the first line of
standard input where that is no terminal.`,
		Example: `  echonode user add mueller --role reader --person 'Müller^Anna^^Dr.' --organisation 'City Hospital'`,
		Args:    exactlyOne,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := f.path()
			if err != nil {
				return err
			}
			u.Name = strings.ToLower(args[0])
			for _, r := range roles {
				u.Roles = append(u.Roles, review.Role(r))
			}
			password, err := p.readPassword()
			if err != nil {
				return err
			}
			if u.Password, err = review.HashPassword(password); err != nil {
				return usageError{err}
			}
			if err := u.Validate(); err != nil {
				return usageError{err}
			}
			return review.EditUsers(path, func(users []review.User) ([]review.User, error) {
				if slices.ContainsFunc(users, func(have review.User) bool { return have.Name == u.Name }) {
					return nil, usageError{fmt.Errorf("there is a user %s already", u.Name)}
				}
				return append(users, u), nil
			})
		},
	}
	f.register(cmd)
	cmd.Flags().StringSliceVar(&roles, "role", []string{string(review.Viewer)}, "viewer, reader or administrator; several separated by commas")
	cmd.Flags().StringVar(&u.Person, "person", "", "the person's name as DICOM writes it: Family^Given^Middle^Prefix^Suffix")
	cmd.Flags().StringVar(&u.Organisation, "organisation", "", "organisation of the person, for signed reports")
	return cmd
}

// exactlyOne is cobra.ExactArgs(1) with our exit code for a wrong use.
func exactlyOne(cmd *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}

func (p *program) userPasswordCommand() *cobra.Command {
	var hash string
	ask := func() error {
		password, err := p.readPassword()
		if err != nil {
			return err
		}
		if hash, err = review.HashPassword(password); err != nil {
			return usageError{err}
		}
		return nil
	}
	return p.userEdit("password NAME", "Set another password", ask, func(users []review.User, i int) []review.User {
		users[i].Password = hash
		return users
	})
}

func (p *program) userRemoveCommand() *cobra.Command {
	return p.userEdit("remove NAME", "Remove an account", nil, func(users []review.User, i int) []review.User {
		return slices.Delete(users, i, i+1)
	})
}

// userEdit is a command that changes one account, after what is to be asked for it.
func (p *program) userEdit(use, short string, ask func() error, edit func(users []review.User, i int) []review.User) *cobra.Command {
	var f usersFlags
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  exactlyOne,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := f.path()
			if err != nil {
				return err
			}
			name := strings.ToLower(args[0])
			find := func(users []review.User) (int, error) {
				i := slices.IndexFunc(users, func(u review.User) bool { return u.Name == name })
				if i < 0 {
					return i, usageError{fmt.Errorf("there is no user %s", name)}
				}
				return i, nil
			}
			if ask != nil { // not while the file is locked
				var known []review.User
				users, err := review.OpenUsers(path)
				if err == nil {
					known, err = users.All()
				}
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				if _, err := find(known); err != nil {
					return err
				}
				if err := ask(); err != nil {
					return err
				}
			}
			return review.EditUsers(path, func(users []review.User) ([]review.User, error) {
				i, err := find(users)
				if err != nil {
					return nil, err
				}
				return edit(users, i), nil
			})
		},
	}
	f.register(cmd)
	return cmd
}

func (p *program) userSignOutCommand() *cobra.Command {
	var c control
	cmd := &cobra.Command{
		Use:   "sign-out NAME",
		Short: "End all sessions of an account",
		Long: `Has a running node end all sessions that an account has at the review page,
wherever they are: also one that came from an OpenID provider, where it was
closed or changed meanwhile. It may sign in again if it still can. Of a name
that is no account of the file, and that nobody is signed in under, it says so
and fails.`,
		Args: exactlyOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			var answer struct{ Sessions int }
			if err := c.post(cmd, "/accounts/sign-out", url.Values{"name": args}, &answer); err != nil {
				return err
			}
			fmt.Fprintf(p.out, "%s ended\n", counted(answer.Sessions, "session", "sessions"))
			return nil
		},
	}
	c.register(cmd)
	return cmd
}

func (p *program) userListCommand() *cobra.Command {
	var f usersFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the accounts",
		Args:  cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			path, err := f.path()
			if err != nil {
				return err
			}
			users, err := review.OpenUsers(path)
			if err != nil {
				return err
			}
			all, err := users.All()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(p.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tROLES\tPERSON\tORGANISATION")
			for _, u := range all {
				roles := make([]string, len(u.Roles))
				for i, r := range u.Roles {
					roles[i] = string(r)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Name, strings.Join(roles, ","), u.Person, u.Organisation)
			}
			return w.Flush()
		},
	}
	f.register(cmd)
	return cmd
}

// readPassword asks at a terminal twice, or reads a line.
func (p *program) readPassword() (string, error) {
	if in, ok := p.in.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		ask := func(what string) (string, error) {
			fmt.Fprint(p.err, what)
			b, err := term.ReadPassword(int(in.Fd()))
			fmt.Fprintln(p.err)
			return string(b), err
		}
		first, err := ask(fmt.Sprintf("Password (at least %d characters): ", review.MinPassword))
		if err != nil {
			return "", err
		}
		again, err := ask("Again: ")
		if err != nil {
			return "", err
		}
		if first != again {
			return "", usageError{errors.New("the passwords differ")}
		}
		return first, nil
	}
	line, err := bufio.NewReader(io.LimitReader(p.in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

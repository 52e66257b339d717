package mainjob

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/scp"
)

// problems is what the node says of its own health.
func (n *node) problems() (status string, codes []string) {
	res, err := client.Get("http://" + n.http + "/health")
	if err != nil {
		return "", nil
	}
	defer res.Body.Close()
	var h struct {
		Status   string
		Problems []struct{ Code string }
	}
	if err := json.NewDecoder(res.Body).Decode(&h); err != nil {
		return "", nil
	}
	for _, p := range h.Problems {
		codes = append(codes, p.Code)
	}
	return h.Status, codes
}

// The database goes away for a while (ECHONODE_OUTAGE, 3 s by default) and comes
// back. Meanwhile the node says so and refuses objects truthfully; afterwards it
// goes on by itself, and nothing that it acknowledged is missing.
func TestDatabaseGoesAway(t *testing.T) {
	database := postgres.Start(t)
	archive := &pacs{objects: map[string]*archived{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &scp.Server{AETitle: "PACS", Handler: archive}
	go func() { _ = srv.Serve(l) }() // ends with the test
	t.Cleanup(func() { _ = srv.Close() })
	n := newNode(t, l.Addr().String())
	n.on(database)
	n.start()
	dir := t.TempDir()
	var studies []string
	send := func(k int) (refused int) {
		path, _, study := copyLoop(t, dir, 9, k)
		other, _, _ := copyLoop(t, dir, 7, k)
		studies = append(studies, study)
		d := &scp.Dialer{CallingAE: "CART", CalledAE: "ECHONODE"}
		results, err := d.SendAll(context.Background(), n.dicom, []scp.ObjectSource{scp.FileSource(path), scp.FileSource(other)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				refused++
				if !strings.Contains(r.Err.Error(), "A700") {
					t.Errorf("refused with %v, want A700", r.Err)
				}
			}
		}
		return refused
	}
	if refused := send(1); refused != 0 {
		t.Fatalf("%d objects refused", refused)
	}
	time.Sleep(500 * time.Millisecond) // it is at work
	database.Stop()
	began := time.Now()
	if refused := send(2); refused != 2 {
		t.Errorf("%d objects refused without a database, want 2", refused)
	}
	eventually(t, "the node says that it refuses", func() bool {
		status, codes := n.problems()
		return status == "refusing" && len(codes) > 0 && codes[0] == "database"
	})
	outage := 3 * time.Second
	if s := os.Getenv("ECHONODE_OUTAGE"); s != "" {
		if outage, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Until(began.Add(outage)))
	if err := database.Run(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is well again", func() bool { return n.health() == http.StatusOK })
	studies = studies[:1]
	if refused := send(2); refused != 0 {
		t.Errorf("%d objects refused after the database was back", refused)
	}
	for _, study := range studies {
		eventually(t, "study "+study+" is done and delivered", func() bool {
			a, err := n.accountOf(study)
			return err == nil && a.State == "done" && a.Objects == 2 && len(a.Deliveries) > 0 && pendingOf(a) == 0
		})
	}
	// It says so once, whatever of it asks how often in vain; a question that was
	// under way at the end may still be told of. That the database is back shows
	// at the next heartbeat, which the work above does not wait for.
	eventually(t, "the node says that the database is back", func() bool {
		return strings.Contains(n.log.String(), "the database answers again")
	})
	said := n.log.String()
	if going, back, asked := strings.Count(said, "the database does not answer"), strings.Count(said, "the database answers again"),
		strings.Count(said, "Error fetching jobs"); going < 1 || going > 3 || back < 1 || back > 3 || asked > 3 {
		t.Errorf("the log says %d times that the database is away, %d times that it is back, %d times that there are no jobs to be had", going, back, asked)
	}
	if strings.Contains(n.log.String(), postgres.Password) {
		t.Error("the password is in the log")
	}
}

func pendingOf(a account) (n int) {
	for _, d := range a.Deliveries {
		if d.State == "pending" {
			n++
		}
	}
	return n
}

// A node that starts before its database, as when all machines of a hospital come
// up again at once, waits for it.
func TestStartsBeforeDatabase(t *testing.T) {
	database := postgres.Start(t)
	n := newNode(t, "127.0.0.1:1")
	n.on(database)
	database.Stop()
	n.log = new(logged)
	t.Cleanup(n.kill)
	if err := n.again(); err != nil {
		t.Fatal(err)
	}
	waits := func() bool { return strings.Contains(n.log.String(), "waiting for it") }
	eventually(t, "the node says that it waits", waits)
	// Told to stop meanwhile it stops as one that was ready.
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Wait(); err != nil {
		t.Errorf("stopped while it waits: %v", err)
	}
	n.log = new(logged)
	if err := n.again(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node says again that it waits", waits)
	if err := database.Run(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node answers", func() bool { return n.health() == n.healthy })
	if said := n.log.String(); strings.Count(said, "waiting for it") != 1 || strings.Contains(said, postgres.Password) {
		t.Errorf("log:\n%s", said)
	}
}

// What is said of a database that is not there does not hold its password, and
// backup says what to do instead.
func TestCommandsOnPostgreSQL(t *testing.T) {
	database := postgres.Start(t)
	n := newNode(t, "127.0.0.1:1")
	n.on(database)
	if out, code := echonode(t, "check-config", "--live", "-c", n.config); !strings.Contains(out, "no node has used it yet") {
		t.Errorf("check-config: exit %d\n%s", code, out)
	}
	if out, code := echonode(t, "backup", "-c", n.config, t.TempDir()+"/b"); code == 0 || !strings.Contains(out, "pg_dump") {
		t.Errorf("backup: exit %d\n%s", code, out)
	}
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("storage: {"), []byte("storage: {database_wait: 0s, "), 1)
	if err := os.WriteFile(n.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	database.Stop()
	for _, args := range [][]string{{"serve", "-c", n.config}, {"check-config", "--live", "-c", n.config}} {
		out, code := echonode(t, args...)
		if code == 0 || !strings.Contains(out, "database at 127.0.0.1:") || strings.Contains(out, postgres.Password) {
			t.Errorf("%s without the database: exit %d\n%s", args[0], code, out)
		}
	}
	if err := database.Run(); err != nil {
		t.Fatal(err)
	}
}

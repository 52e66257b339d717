package review

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
)

// rsyslog takes the audit messages, where it is installed with its TLS. (Systems
// that confine it to its own folders refuse the test's.)
func TestRsyslog(t *testing.T) {
	path, err := exec.LookPath("rsyslogd")
	if err != nil {
		t.Skip("rsyslog is not installed")
	}
	if drivers, _ := filepath.Glob("/usr/lib/*/rsyslog/lmnsd_gtls.so"); len(drivers) == 0 {
		t.Skip("rsyslog has no TLS: its package rsyslog-gnutls is not installed")
	}
	address := freeport.Addr(t)
	s := newSite(t, fmt.Sprintf("  audit_syslog: {address: %q, ca: \"{dir}/cert.pem\"}\n", address), func(dir string) { certificate(t, dir) })
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	out, config := filepath.Join(s.dir, "messages"), filepath.Join(s.dir, "rsyslog.conf")
	text := fmt.Sprintf(`global(workDirectory=%[1]q DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="%[1]s/cert.pem"
  DefaultNetstreamDriverCertFile="%[1]s/cert.pem" DefaultNetstreamDriverKeyFile="%[1]s/key.pem" maxMessageSize="64k")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" address=%[2]q port=%[3]q)
template(name="parts" type="string" string="%%pri%%|%%protocol-version%%|%%app-name%%|%%msgid%%|%%msg%%\n")
*.* action(type="omfile" file=%[4]q template="parts")
`, s.dir, host, port, out)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-n", "-f", config, "-i", filepath.Join(s.dir, "rsyslog.pid"))
	log := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s.open("reader")
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		b, _ := os.ReadFile(out)
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "85|1|EchoNode|DICOM+RFC3881|") && strings.Contains(line, `csd-code="110122"`) && strings.Contains(line, `UserID="reader"`) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("rsyslog has %q\n%s", b, log)
		}
	}
}

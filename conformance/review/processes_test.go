package review

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/conformance/postgres"
)

// Two processes serve the page on one database: who signs in at one of them is
// signed in at both, and is signed out at both, also after one was restarted. They
// need no ONNX Runtime.
func TestTwoProcesses(t *testing.T) {
	server := postgres.Start(t)
	dir := t.TempDir()
	users := filepath.Join(dir, "users.yaml")
	database := server.Create(t)
	t.Setenv("PGPASSWORD", postgres.Password)
	var pages, configs [2]string
	var processes [2]*exec.Cmd
	log := new(lockedBuffer)
	for i := range pages {
		pages[i], configs[i] = freeport.Addr(t), filepath.Join(dir, fmt.Sprintf("%d.yaml", i))
		text := fmt.Sprintf(`roles: [web]
http: {listen: ""}
storage: {directory: "%s", database: "%s", objects: {kind: shared, shared: "%s"}}
outputs: {device_uid: "2.25.1"}
analysis: {onnxruntime: /nowhere}
review: {listen: "%s", users: "%s"}
`, filepath.Join(dir, fmt.Sprint(i)), database, filepath.Join(dir, "objects"), pages[i], users)
		if err := os.WriteFile(configs[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "objects"), 0o750); err != nil {
		t.Fatal(err)
	}
	add := exec.Command(binary, "user", "add", "viewer", "-c", configs[0])
	add.Stdin = strings.NewReader(password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start := func(i int) {
		t.Helper()
		cmd := exec.Command(binary, "serve", "-c", configs[i])
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		processes[i] = cmd
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			if res, err := http.Get("http://" + pages[i] + "/login"); err == nil {
				_ = res.Body.Close()
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %d does not answer\n%s", i, log)
			}
		}
	}
	kill := func(i int) {
		_ = processes[i].Process.Kill()
		_ = processes[i].Wait()
	}
	start(0)
	start(1)
	t.Cleanup(func() { kill(0); kill(1) })

	// Cookies know no ports: one browser goes to both.
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	at := func(i int, path string, form url.Values) (where, text string) {
		t.Helper()
		method, body := http.MethodGet, ""
		if form != nil {
			method, body = http.MethodPost, form.Encode()
		}
		req, err := http.NewRequest(method, "http://"+pages[i]+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.Request.URL.Path, string(b)
	}
	if where, text := at(0, "/login", url.Values{"name": {"viewer"}, "password": {password}}); where != "/" {
		t.Fatalf("after the sign-in: %s\n%s\n%s", where, text, log)
	}
	where, text := at(1, "/", nil)
	csrf := regexp.MustCompile(`name="csrf" content="([0-9a-f]+)"`).FindStringSubmatch(text)
	if where != "/" || csrf == nil {
		t.Fatalf("the other process shows %s\n%s", where, text)
	}
	kill(0)
	start(0)
	if where, _ := at(0, "/", nil); where != "/" {
		t.Errorf("after a restart: %s", where)
	}
	page, err := url.Parse("http://" + pages[0])
	if err != nil {
		t.Fatal(err)
	}
	kept := jar.Cookies(page)
	if where, text := at(1, "/logout", url.Values{"csrf": {csrf[1]}}); where != "/login" {
		t.Errorf("the sign-out leads to %s\n%s", where, text)
	}
	jar.SetCookies(page, kept) // a browser that was not told
	if where, _ := at(0, "/", nil); where != "/login" {
		t.Errorf("after the sign-out at the other process: %s", where)
	}
	// Failed attempts count together: five at once, and one more every half a minute.
	for tries := 3; ; tries-- {
		began := time.Now()
		for i := range 5 {
			at(i%2, "/login", url.Values{"name": {"viewer"}, "password": {"wrong"}})
		}
		let := ""
		for i := range 2 {
			if _, text := at(i, "/login", url.Values{"name": {"viewer"}, "password": {password}}); !strings.Contains(text, "Too many attempts") {
				let += fmt.Sprintf("process %d, after five attempts:\n%s", i, text)
			}
		}
		if let == "" {
			break
		}
		if time.Since(began) < 25*time.Second || tries == 0 {
			t.Fatal(let)
		}
	}
}

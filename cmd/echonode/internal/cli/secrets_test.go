package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
)

// check-config reads the keys of the object store, not only whether there is a
// file.
func TestCredentialsFileIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	for text, good := range map[string]bool{
		"[default]\naws_access_key_id = a\naws_secret_access_key = b\n": true,
		"[default]\naws_access_key_id = a\n":                            false,
		"key\n":                                                         false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse([]byte("storage: {objects: {kind: s3, s3: {endpoint: 'https://s3', bucket: b, credentials_file: " + path + "}}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		problems := secretProblems(c)
		if good != (len(problems) == 0) || !good && !strings.Contains(problems[0].Error(), "storage.objects.s3: credentials") {
			t.Errorf("%q: %v", text, problems)
		}
	}
}

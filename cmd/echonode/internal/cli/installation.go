package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/dicomio/instance"
)

// installationFile in the storage directory holds the UID of the installation.
const installationFile = "device-uid"

var uidForm = regexp.MustCompile(`^[0-9]+(\.[0-9]+)+$`)

// installationUID is the UID by which reports name this installation: that of
// the configuration, else the one kept in the storage directory, which is made
// when create is set. Without either it is made of the machine's name.
func installationUID(c *config.Config, create bool) (string, error) {
	if c.Outputs.DeviceUID != "" {
		return c.Outputs.DeviceUID, nil
	}
	path := filepath.Join(c.Storage.Directory, installationFile)
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		uid := strings.TrimSpace(string(b))
		if len(uid) > 64 || !uidForm.MatchString(uid) {
			return "", fmt.Errorf("%s does not hold a UID", path)
		}
		return uid, nil
	case !errors.Is(err, os.ErrNotExist):
		return "", err
	case !create:
		name, err := os.Hostname()
		if err != nil {
			return "", err
		}
		return instance.UID("device", name), nil
	}
	uid := instance.UID("device", rand.Text())
	return uid, os.WriteFile(path, []byte(uid+"\n"), 0o640)
}

package main_test

import (
	"bytes"
	"debug/buildinfo"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys/genesystest"
)

// TestIngest_SendsItsRequestsWithTheSDK runs the built process until the Genesys API
// rejects the request for the connection details.
func TestIngest_SendsItsRequestsWithTheSDK(t *testing.T) {
	dir := t.TempDir()
	ingest := filepath.Join(dir, "ingest")
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", ingest, ".").CombinedOutput()
	require.NoError(t, err, string(built))
	assert.Contains(t, modules(t, ingest), "github.com/mypurecloud/platform-client-sdk-go/v188")
	targets := filepath.Join(dir, "targets.yaml")
	require.NoError(t, os.WriteFile(targets, []byte(`
targets:
  - name: one
    url: http://127.0.0.1:1/
`), 0o600))

	rejected := genesystest.Answer{
		Status: http.StatusForbidden, Header: http.Header{"Inin-Correlation-Id": {"corr-1"}},
		Body: `{"message":"No permission","code":"missing.permission","contextId":"ctx-1"}`,
	}
	genesys := genesystest.NewServer(t, genesystest.Answer{}, rejected)
	process := exec.CommandContext(t.Context(), ingest, "--targets", targets, "--http-addr", "127.0.0.1:0")
	process.Env = []string{
		"HOME=" + dir, "GENESYS_API_URL=" + genesys.URL, "GENESYS_TOKEN_URL=" + genesys.URL + "/oauth/token",
		"GENESYS_CLIENT_ID=" + genesystest.ClientID, "GENESYS_CLIENT_SECRET=" + genesystest.ClientSecret,
	}
	var printed bytes.Buffer
	process.Stdout, process.Stderr = &printed, &printed
	err = process.Run()

	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 1, exit.ExitCode())
	assert.Contains(t, printed.String(), "genesys: GET /api/v2/eventbridge: status 403, code missing.permission: No permission (contextId ctx-1) (correlation id corr-1)")
	genesystest.AssertNoSecret(t, printed.String())
}

// modules returns the paths of the modules that a binary is built from.
func modules(t *testing.T, binary string) []string {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	require.NoError(t, err)
	var paths []string
	for _, module := range info.Deps {
		paths = append(paths, module.Path)
	}
	return paths
}

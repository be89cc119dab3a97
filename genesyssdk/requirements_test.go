package genesyssdk_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// go mod tidy needs the SDK. Where the SDK cannot be fetched, this test finds out that
// go.mod and go.sum no longer match the main module.
func TestGoMod_RequiresTheVersionsOfTheMainModule(t *testing.T) {
	var mod struct {
		Require []struct{ Path, Version string }
	}
	require.NoError(t, json.Unmarshal(run(t, "go", "mod", "edit", "-json"), &mod))
	required := map[string]string{}
	for _, r := range mod.Require {
		required[r.Path] = r.Version
	}
	sums, err := os.ReadFile("go.sum")
	require.NoError(t, err)

	used := run(t, "go", "list", "-test", "-deps", "-f", "{{with .Module}}{{if and .Version (not .Replace)}}{{.Path}} {{.Version}}{{end}}{{end}}", "./...")
	modules := map[string]bool{}
	for line := range strings.Lines(string(used)) {
		if line = strings.TrimSpace(line); line != "" {
			modules[line] = true
		}
	}
	require.NotEmpty(t, modules)
	for module := range modules {
		path, version, _ := strings.Cut(module, " ")
		assert.Equal(t, version, required[path], "genesyssdk/go.mod: %s: differs from the version that is built; set it with go mod edit -require", path)
		assert.Contains(t, string(sums), module+" h1:", "genesyssdk/go.sum: %s: has no sum; copy it from the main module's go.sum", path)
		assert.Contains(t, string(sums), module+"/go.mod h1:", "genesyssdk/go.sum: %s: has no sum of its go.mod; copy it from the main module's go.sum", path)
	}
}

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	require.NoError(t, err)
	return out
}

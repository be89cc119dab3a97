package deploy_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var fromLine = regexp.MustCompile(`(?m)^FROM (\S+)`)

func TestDockerfile_BasesProgramsAndUser(t *testing.T) {
	text := string(read(t, "Dockerfile"))
	bases := fromLine.FindAllStringSubmatch(text, -1)
	require.Len(t, bases, 2)
	for _, base := range bases {
		_, tag, tagged := strings.Cut(base[1], ":")
		assert.True(t, tagged && tag != "latest", "%s has no exact version", base[1])
		assert.Contains(t, tag, "bookworm", "both stages need the same glibc")
	}
	goVersion := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(read(t, "go.mod"))
	require.NotNil(t, goVersion)
	assert.Equal(t, "golang:"+string(goVersion[1])+"-bookworm", bases[0][1], "the image must build with the Go version of go.mod")

	final := text[strings.LastIndex(text, "\nFROM "):]
	for _, program := range programs {
		assert.Contains(t, text, "./cmd/"+program)
		assert.Contains(t, final, "/out/"+program)
	}
	user := regexp.MustCompile(`(?m)^USER (\S+)$`).FindAllStringSubmatch(final, -1)
	require.NotEmpty(t, user)
	assert.Equal(t, "10001:10001", user[len(user)-1][1], "the image must not run as root")
}

// A file with secrets must not get into a layer of the image.
func TestDockerignore_ExcludesSecrets(t *testing.T) {
	lines := strings.Split(string(read(t, ".dockerignore")), "\n")
	for _, pattern := range []string{".git", ".env", "*.env", "dead-letters"} {
		assert.Contains(t, lines, pattern)
	}
}

func TestScripts_HaveValidSyntax(t *testing.T) {
	scripts, err := filepath.Glob("*/*.sh")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, script := range scripts {
		t.Run(script, func(t *testing.T) {
			first, _, _ := bytes.Cut(read(t, filepath.Join("deploy", script)), []byte("\n"))
			shell := strings.TrimPrefix(string(first), "#!")
			out, err := exec.CommandContext(t.Context(), shell, "-n", script).CombinedOutput()
			assert.NoError(t, err, "%s", out)
		})
	}
}

// Package docs_test checks what the documents of this repository say of it: that a symbol which
// docs/architecture.md names is there, that a link leads somewhere, and that lines are at most 100
// columns wide.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// root is the top of the repository.
const root = ".."

// documents returns the paths of all Markdown files, relative to root.
func documents(t *testing.T) []string { return files(t, ".md") }

// files returns the paths of all files with a suffix, relative to root. It leaves out folders
// whose name begins with a dot.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case !entry.IsDir() && strings.HasSuffix(path, suffix):
			found = append(found, path)
		}
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, found)
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

var word = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

// symbol matches a Go name in backticks, such as `ingest.New` or `limits.go`.
var symbol = regexp.MustCompile("`([A-Za-z_][A-Za-z0-9_]*(?:[./][A-Za-z_][A-Za-z0-9_]*)*)`")

func TestArchitectureNamesOnlySymbolsThatTheCodeHas(t *testing.T) {
	words := make(map[string]bool)
	for _, file := range files(t, ".go") {
		words[strings.TrimSuffix(filepath.Base(file), ".go")] = true
		if !strings.HasSuffix(file, "_test.go") {
			for _, one := range word.FindAllString(read(t, file), -1) {
				words[one] = true
			}
		}
	}
	_, rules, found := strings.Cut(read(t, filepath.Join(root, "docs", "architecture.md")), "\n## Non-obvious\n")
	require.True(t, found)
	symbols := symbol.FindAllStringSubmatch(rules, -1)
	require.Greater(t, len(symbols), 50)
	for _, match := range symbols {
		for _, part := range word.FindAllString(strings.TrimSuffix(match[1], ".go"), -1) {
			assert.True(t, words[part], "%s: the code has no %s", match[0], part)
		}
	}
}

// link matches the target of a Markdown link to a file of the repository.
var link = regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)

func TestLinksLeadToFilesThatAreThere(t *testing.T) {
	for _, document := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, document), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(document), match[1]))
			require.NoError(t, err, "%s links to %s", document, match[1])
		}
	}
}

// unwrapped matches a line that Markdown does not let wrap: a table, a picture, indented output, or
// the address of a link.
var (
	unwrapped = regexp.MustCompile(`^ *\||^!\[|^    |^\[[a-z-]+\]: `)
	// fence and generated match what a program printed: code blocks, and results of make bench.
	fence     = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	generated = regexp.MustCompile("(?s)<!-- bench:[a-z-]+ -->.*?<!-- /bench:[a-z-]+ -->")
)

func TestMarkdownIsAtMost100ColumnsWide(t *testing.T) {
	for _, document := range documents(t) {
		if strings.Contains(document, filepath.Join("bench", "results")) {
			continue
		}
		keepLines := func(text string) string { return strings.Repeat("\n", strings.Count(text, "\n")) }
		text := fence.ReplaceAllStringFunc(read(t, document), keepLines)
		text = generated.ReplaceAllStringFunc(text, keepLines)
		for i, line := range strings.Split(text, "\n") {
			if !unwrapped.MatchString(line) {
				assert.LessOrEqual(t, utf8.RuneCountInString(line), 100, "%s:%d: %s", document, i+1, line)
			}
		}
	}
}

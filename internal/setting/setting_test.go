package setting

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSecret_ReadsTheVariableOrItsFile(t *testing.T) {
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	const mebibyte = 1 << 20
	dir := t.TempDir()
	for name, test := range map[string]struct {
		env     map[string]string
		want    string
		problem string
	}{
		"unset":                     {},
		"set to nothing":            {env: map[string]string{"KEY": "", "KEY_FILE": ""}},
		"variable, as it is":        {env: map[string]string{"KEY": " a\n"}, want: " a\n"},
		"file":                      {env: map[string]string{"KEY_FILE": write("a")}, want: "a"},
		"file beside nothing":       {env: map[string]string{"KEY": "", "KEY_FILE": write("a")}, want: "a"},
		"file with a line break":    {env: map[string]string{"KEY_FILE": write("a\n")}, want: "a"},
		"file with two":             {env: map[string]string{"KEY_FILE": write("a\n\n")}, want: "a\n"},
		"file from another system":  {env: map[string]string{"KEY_FILE": write("a\r\n")}, want: "a"},
		"file that ends in a CR":    {env: map[string]string{"KEY_FILE": write("a\r")}, want: "a\r"},
		"file with blanks":          {env: map[string]string{"KEY_FILE": write(" a ")}, want: " a "},
		"the longest file":          {env: map[string]string{"KEY_FILE": write(strings.Repeat("a", mebibyte))}, want: strings.Repeat("a", mebibyte)},
		"a file that is longer":     {env: map[string]string{"KEY_FILE": write(strings.Repeat("a", mebibyte+1))}, problem: `", which cannot be read: longer than 1 MiB; name a file that this process can read`},
		"a file without end":        {env: map[string]string{"KEY_FILE": "/dev/zero"}, problem: `KEY_FILE: names "/dev/zero", which cannot be read: longer than 1 MiB; `},
		"an empty file":             {env: map[string]string{"KEY_FILE": write("")}, problem: `", which is empty; put the secret into it`},
		"a file with nothing in it": {env: map[string]string{"KEY_FILE": write("\n")}, problem: `", which is empty; put the secret into it`},
		"a missing file":            {env: map[string]string{"KEY_FILE": "/nonexistent"}, problem: `KEY_FILE: names "/nonexistent", which cannot be read: no such file or directory; name a file that this process can read`},
		"a directory":               {env: map[string]string{"KEY_FILE": dir}, problem: `KEY_FILE: names "` + dir + `", which cannot be read: is a directory; `},
		"both":                      {env: map[string]string{"KEY": "hush-a", "KEY_FILE": write("hush-b")}, problem: "KEY: is set, and so is KEY_FILE; set one of the two"},
	} {
		t.Run(name, func(t *testing.T) {
			value, set, err := Secret("KEY", func(name string) (string, bool) {
				value, found := test.env[name]
				return value, found
			})
			assert.Equal(t, test.want, value)
			assert.Equal(t, test.want != "", set)
			if test.problem == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorAs(t, err, new(*Problem))
			require.ErrorContains(t, err, test.problem)
			assert.NotContains(t, err.Error(), "hush")
		})
	}
}

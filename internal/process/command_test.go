package process

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// toolSettings is the struct of settings of a program with commands.
type toolSettings struct {
	Commands
	Targets string `env:"FANOUT_TARGETS" default:"targets.yaml" help:"Targets file."`
	Show    struct {
		Name string `arg:"" help:"What to show."`
		Wide bool   `help:"In full."`
	} `cmd:"" help:"Show one."`
	Count struct{} `cmd:"" help:"Count them."`
}

func parseTool(args []string, env Env) (settings toolSettings, command, stdout string, done bool, problems *Problems) {
	var out bytes.Buffer
	command, done, problems = ParseCommand(App{Name: "tool", Description: "Shows things."}, &settings, args, env, &out)
	return settings, command, out.String(), done, problems
}

func TestParseCommand_ReturnsTheChosenCommandAndItsSettings(t *testing.T) {
	settings, command, _, done, problems := parseTool([]string{"show", "x", "--wide"}, Env{"FANOUT_TARGETS": "a.yaml", "FANOUT_HTTP_ADDR": "of another"})
	require.NoError(t, problems.Err())
	assert.False(t, done)
	assert.Equal(t, "show", command)
	assert.Equal(t, "x", settings.Show.Name)
	assert.True(t, settings.Show.Wide)
	assert.Equal(t, "a.yaml", settings.Targets)

	settings, command, _, _, problems = parseTool([]string{"--targets=b.yaml", "count"}, Env{"FANOUT_TARGETS": "a.yaml"})
	require.NoError(t, problems.Err())
	assert.Equal(t, "count", command)
	assert.Equal(t, "b.yaml", settings.Targets)
}

func TestParseCommand_PrintsHelpAndVersion(t *testing.T) {
	for _, test := range []struct {
		args  []string
		wants []string
	}{
		{[]string{"--help"}, []string{"show <name>", "count", "FANOUT_TARGETS", "--version", "TEMPORAL_ADDRESS"}},
		{[]string{"show", "--help"}, []string{"--wide", "FANOUT_TARGETS"}},
		{[]string{"--version"}, []string{"tool ", "Temporal SDK v1."}},
		{[]string{"show", "--version"}, []string{"tool "}},
	} {
		_, _, stdout, done, problems := parseTool(test.args, Env{"FANOUT_TYPO": "1"})
		assert.True(t, done, test.args)
		require.NoError(t, problems.Err(), test.args)
		for _, want := range test.wants {
			assert.Contains(t, stdout, want, test.args)
		}
	}
}

func TestParseCommand_AWrongCommandLineIsAUsageError(t *testing.T) {
	for _, args := range [][]string{{}, {"nonsense"}, {"show"}, {"show", "x", "y"}, {"count", "--wide"}} {
		_, _, _, done, problems := parseTool(args, Env{"FANOUT_TYPO": "1"})
		assert.True(t, done, args)
		got := lines(problems)
		require.Len(t, got, 2, args)
		assert.Contains(t, got[0], "FANOUT_TYPO: is not a setting")
		assert.Regexp(t, `^tool: .+; see --help$`, got[1])
	}
}

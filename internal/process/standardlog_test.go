package process

import (
	"encoding/json"
	"log"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/redact"
)

// capture makes the standard logger write JSON at the given level until the test ends.
func capture(t *testing.T, level string) *syncBuffer {
	t.Helper()
	flags, prefix := log.Flags(), log.Prefix()
	t.Cleanup(func() { log.SetFlags(flags); log.SetPrefix(prefix); log.SetOutput(os.Stderr) })
	out := &syncBuffer{}
	CaptureStandardLog(Logger(out, level, "json"), redact.New("hunter2").String)
	return out
}

func TestCaptureStandardLog_RemovesQuotedTextAndSecrets(t *testing.T) {
	out := capture(t, "debug")
	for line, want := range map[string]string{
		"Unsolicited response received on idle HTTP channel starting with \"Bearer hunter2\\n\"; err=<nil>": "Unsolicited response received on idle HTTP channel starting with [redacted]; err=<nil>",
		`two "a" and "b\"c" here`: "two [redacted] and [redacted] here",
		`no end: "abc`:            "no end: [redacted]",
		"in clear: hunter2":       "in clear: [redacted]",
		"plain":                   "plain",
	} {
		before := len(out.String())
		log.Print(line)
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(out.String()[before:]), &entry))
		assert.Equal(t, want, entry["msg"])
		assert.Equal(t, "DEBUG", entry["level"])
	}
}

func TestCaptureStandardLog_IsSilentAboveDebug(t *testing.T) {
	out := capture(t, "info")
	log.Print("plain")
	assert.Empty(t, out.String())
}

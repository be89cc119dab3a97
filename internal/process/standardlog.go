package process

import (
	"context"
	"log"
	"log/slog"
	"regexp"
	"strings"

	"genesys-fanout/internal/redact"
)

// CaptureStandardLog sends the lines of the standard library's own logger to logger, at
// level debug. net/http writes to the standard logger, as a client and as a server, when a
// connection breaks in a way that it reports to no caller. Such a line may quote bytes of a
// request or an answer. CaptureStandardLog therefore removes all quoted text, and applies
// withoutSecrets to the rest.
func CaptureStandardLog(logger *slog.Logger, withoutSecrets func(string) string) {
	log.SetFlags(0) // logger writes the time itself
	log.SetPrefix("")
	log.SetOutput(standardLog{logger.With("component", "go"), withoutSecrets})
}

type standardLog struct {
	log            *slog.Logger
	withoutSecrets func(string) string
}

// quoted matches text as strconv.Quote writes it. If the closing quote is missing, it matches
// up to the end of the line.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*(?:"|$)`)

// Write logs one line. The standard logger calls it once for each.
func (s standardLog) Write(line []byte) (int, error) {
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		text := quoted.ReplaceAllLiteralString(string(line), redact.Marker)
		s.log.Debug(strings.TrimSpace(s.withoutSecrets(text)))
	}
	return len(line), nil
}

package process

import (
	"context"
	"log"
	"log/slog"
	"regexp"
	"strings"
)

// CaptureStandardLog sends the lines of the standard library's own logger to log, at
// debug. net/http writes to that logger, as a client and as a server, when a
// connection breaks in a way that no caller is told of. Such a line may quote bytes
// of a request or an answer, so quoted text is cut out of it, and redact is applied
// to the rest.
func CaptureStandardLog(logger *slog.Logger, redact func(string) string) {
	log.SetFlags(0) // log has a time of its own
	log.SetPrefix("")
	log.SetOutput(standardLog{logger.With("component", "go"), redact})
}

type standardLog struct {
	log    *slog.Logger
	redact func(string) string
}

// quoted is text as strconv.Quote writes it, to the end of the line if the end of
// the quotation is missing.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*(?:"|$)`)

// Write logs one line. The standard logger calls it once for each.
func (s standardLog) Write(line []byte) (int, error) {
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		text := quoted.ReplaceAllLiteralString(string(line), Redacted)
		s.log.Debug(strings.TrimSpace(s.redact(text)))
	}
	return len(line), nil
}

package process

import (
	"io"
	"log/slog"
	"strings"

	temporallog "go.temporal.io/sdk/log"
)

// The values of FANOUT_LOG_LEVEL and FANOUT_LOG_FORMAT.
var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"text", "json"}
)

// Logger writes log lines to w. Level and format are those of FANOUT_LOG_LEVEL
// and FANOUT_LOG_FORMAT, which Parse has checked; anything else means info and text.
func Logger(w io.Writer, level, format string) *slog.Logger {
	var threshold slog.Level
	if err := threshold.UnmarshalText([]byte(level)); err != nil {
		threshold = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: threshold}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// TemporalLogger hands the Temporal SDK's log lines to log.
func TemporalLogger(log *slog.Logger) temporallog.Logger {
	return temporallog.NewStructuredLogger(log.With("component", "temporal-sdk"))
}

// WarnTracing says once that OpenTelemetry's variables are set to no effect.
func WarnTracing(log *slog.Logger, env Env) {
	var set []string
	for _, name := range env.names() {
		if strings.HasPrefix(name, "OTEL_") {
			set = append(set, name)
		}
	}
	if len(set) > 0 {
		log.Warn("tracing is not supported by this version: these variables have no effect", "variables", set)
	}
}

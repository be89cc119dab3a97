package process

import (
	"io"
	"log/slog"
	"strings"

	temporallog "go.temporal.io/sdk/log"

	"genesys-fanout/target"
)

// The valid values of FANOUT_LOG_LEVEL and FANOUT_LOG_FORMAT.
var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"text", "json"}
)

// Logger returns a logger that writes to w. level and format are the values of
// FANOUT_LOG_LEVEL and FANOUT_LOG_FORMAT, which Parse has checked. Any other value means info
// or text.
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

// TemporalLogger returns a logger for the Temporal SDK that writes to log.
func TemporalLogger(log *slog.Logger) temporallog.Logger {
	return temporallog.NewStructuredLogger(log.With("component", "temporal-sdk"))
}

// WarnPaused logs one warning for each paused target, because a pause that somebody forgets ends
// in dead letters.
func WarnPaused(log *slog.Logger, targets *target.Set) {
	for _, t := range targets.All() {
		if t.State == target.Paused {
			log.Warn("target is paused: its events wait in Temporal until it is active again; an event that waits longer than max_age becomes a dead letter",
				"target", t.Name(), "max_age", t.Policy.MaxAge, "cure", "to deliver them, set state: active in targets.yaml and restart worker and ingest")
		}
	}
}

// WarnTracing logs one warning if variables of OpenTelemetry are set, because they have no
// effect.
func WarnTracing(log *slog.Logger, env Env) {
	var set []string
	for _, name := range env.names() {
		if strings.HasPrefix(name, "OTEL_") {
			set = append(set, name)
		}
	}
	if len(set) > 0 {
		log.Warn("tracing is not supported by this version, so these variables have no effect; unset them", "variables", set)
	}
}

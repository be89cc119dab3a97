package ingest

import (
	"log/slog"
	"regexp"
	"sync"
	"time"
)

// lines lets log lines of a kind through once in 30 s, and counts the others, so
// that what happens ten times a second does not flood the log. It is safe for
// concurrent use.
type lines struct {
	mu   sync.Mutex
	seen map[string]*seenLine
}

type seenLine struct {
	at   time.Time
	held int
}

func newLines() *lines { return &lines{seen: make(map[string]*seenLine)} }

// allow is true if a line of this kind should be logged now. The attribute says how
// many were held back since the last one; it is empty, and so not printed, if none
// were.
func (l *lines) allow(kind string, now time.Time) (repeated slog.Attr, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.seen[kind]
	if line != nil && now.Sub(line.at) < remindInterval {
		line.held++
		return repeated, false
	}
	if line != nil && line.held > 0 {
		repeated = slog.Int("repeated", line.held)
	}
	l.forget(now)
	l.seen[kind] = &seenLine{at: now}
	return repeated, true
}

// forget keeps what is remembered small. The caller holds l.mu.
func (l *lines) forget(now time.Time) {
	for kind, line := range l.seen {
		if now.Sub(line.at) >= 2*remindInterval {
			delete(l.seen, kind)
		}
	}
}

// incidental is what differs between lines of librdkafka that say the same: how
// long something took, offsets, ports.
var incidental = regexp.MustCompile(`[0-9]+|\(after .*`)

// warning is the level of librdkafka's log, that of syslog, from which on a line
// matters to a user: 4 is a warning, lower ones are worse.
const warning = 4

// forwardLogs hands librdkafka's log to ours. Some of its warnings, as that of a
// position that was reset, come as no error. It ends with the consumer.
func (s *session) forwardLogs() {
	for line := range s.consumer.Logs() {
		text := s.connection.redact(line.Message)
		if line.Level > warning {
			s.log.Debug("librdkafka", "level", line.Level, "tag", line.Tag, "message", text)
			continue
		}
		if repeated, ok := s.lines.allow("log "+line.Tag+incidental.ReplaceAllString(text, ""), time.Now()); ok {
			s.log.Warn("librdkafka", "level", line.Level, "tag", line.Tag, "message", text, repeated)
		}
	}
}

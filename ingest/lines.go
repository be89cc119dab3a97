package ingest

import (
	"regexp"
	"sync"
)

// lines limits the lines of each kind, as occasional does those of one. It is safe
// for concurrent use.
type lines struct {
	mu    sync.Mutex
	kinds map[string]*occasional
}

// mostKinds bounds what is remembered. There are some dozens, unless a text that
// should be of one kind is of many.
const mostKinds = 1000

// happened counts an occurrence of a kind. If a line is due, it also returns how many
// occurrences the line stands for.
func (l *lines) happened(kind string) (times int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds == nil || len(l.kinds) >= mostKinds {
		l.kinds = make(map[string]*occasional)
	}
	if l.kinds[kind] == nil {
		l.kinds[kind] = &occasional{}
	}
	return l.kinds[kind].happened()
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
		if times, due := s.lines.happened("log " + line.Tag + incidental.ReplaceAllString(text, "")); due {
			s.log.Warn("librdkafka", "level", line.Level, "tag", line.Tag, "message", text, "times", times)
		}
	}
}

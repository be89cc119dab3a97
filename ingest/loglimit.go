package ingest

import (
	"regexp"
	"sync"
	"time"
)

const (
	// logInterval is the time between two lines of one kind in the log.
	logInterval = 30 * time.Second

	// maxLineKinds bounds the memory of a lineLimiter. There are some dozens of kinds,
	// unless a text that should be of one kind counts as many.
	maxLineKinds = 1000
)

// lineLimiter limits the lines of the log to one in logInterval of each kind, and counts
// the occurrences that each line stands for. The zero value is ready for use. It is safe for
// concurrent use.
//
// rate.Sometimes of golang.org/x/time does not count the occurrences that it drops.
type lineLimiter struct {
	mu    sync.Mutex
	kinds map[string]*lineKind
}

type lineKind struct {
	times  int // occurrences since the last line
	logged time.Time
}

// occurred counts an occurrence of a kind. If a line is due, it also returns how many
// occurrences the line stands for.
func (l *lineLimiter) occurred(kind string) (times int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds == nil || len(l.kinds) >= maxLineKinds {
		l.kinds = make(map[string]*lineKind)
	}
	k := l.kinds[kind]
	if k == nil {
		k = &lineKind{}
		l.kinds[kind] = k
	}
	k.times++
	now := time.Now()
	if now.Sub(k.logged) < logInterval {
		return 0, false
	}
	times, k.times, k.logged = k.times, 0, now
	return times, true
}

// incidental matches the parts in which lines of librdkafka that say the same differ: how
// long something lasted, offsets, ports.
var incidental = regexp.MustCompile(`[0-9]+|\(after .*`)

// syslogWarning is the level of a warning in librdkafka's log, which has the levels of
// syslog: lower ones are worse.
const syslogWarning = 4

// forwardLogs writes librdkafka's log to ours. Some of its warnings, such as that of a
// position that was reset, are not reported as errors. It ends with the consumer.
func (s *session) forwardLogs() {
	for line := range s.consumer.Logs() {
		text := s.redactor.String(line.Message)
		if line.Level > syslogWarning {
			s.log.Debug("librdkafka", "level", line.Level, "tag", line.Tag, "message", text)
			continue
		}
		if times, due := s.logLimit.occurred("log " + line.Tag + incidental.ReplaceAllString(text, "")); due {
			s.log.Warn("librdkafka", "level", line.Level, "tag", line.Tag, "message", text, "times", times)
		}
	}
}

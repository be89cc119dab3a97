package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
	"genesys-fanout/internal/devstack"
)

// startEchoingTarget starts a target that answers each request with 204, followed by the request's
// Authorization header, although 204 has no body. It returns the target's URL and its count of
// answers.
func startEchoingTarget(t *testing.T) (string, *atomic.Int32) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	answered := new(atomic.Int32)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close() //nolint:errcheck // nothing is left to be sent
				reader := bufio.NewReader(conn)
				for {
					request, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, request.Body)
					_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n"+request.Header.Get("Authorization")+"\n")
					answered.Add(1)
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String(), answered
}

// net/http logs unexpected bytes of an answer with its own logger, which has neither the project's log
// format nor its redaction.
func TestLogs_NetHTTPLinesContainNoSecret(t *testing.T) {
	t.Parallel()
	url, answered := startEchoingTarget(t)
	s := newStack(t, nil, `
  - {name: analytics, url: '`+url+`', headers: {Authorization: "Bearer ${TOKEN}"}}
`)
	logs := []string{"TOKEN=hush-token", "FANOUT_LOG_LEVEL=debug", "FANOUT_LOG_FORMAT=json"}
	for _, eager := range []string{"true", "false"} { // with eager start ingest sends the requests, else worker
		worker := s.run("worker", logs...)
		ingest := s.run("ingest", append(logs, "FANOUT_EAGER_START="+eager)...)
		sender := map[string]interface{ Text() string }{"true": ingest, "false": worker}[eager]
		before := answered.Load()
		s.publish(int(before), 5)
		s.eventually(func() bool { return answered.Load() == before+5 }, "5 requests")
		s.eventually(func() bool { return strings.Contains(sender.Text(), "Unsolicited response") }, "the log line of net/http")
		stop(t, ingest)
		stop(t, worker)
		for _, p := range []interface{ Text() string }{ingest, worker} {
			assert.NotContains(t, p.Text(), "hush-token")
		}
		for line := range strings.Lines(sender.Text()) {
			var entry struct {
				Msg   string
				Level any // any, because librdkafka's lines also have a number of this name
			}
			if assert.NoError(t, json.Unmarshal([]byte(line), &entry), line) && strings.Contains(entry.Msg, "Unsolicited") {
				assert.Equal(t, "DEBUG", entry.Level)
			}
		}
	}
}

// max_age includes the time in which the target is paused.
func TestMaxAge_EventsOfAPausedTargetExpire(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION, state: paused, max_age: 3s}
`)
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 1)
	got := s.record("notification", s.id(0))
	assert.Equal(t, event.ReasonExpired, got.Reason)
	assert.Equal(t, "max_age has passed before the first attempt", got.Error)
	assert.Zero(t, got.Attempts)
	assert.Zero(t, s.targets["notification"].Count())
	s.exactlyOnce("analytics", 1)
	s.eventually(func() bool {
		return s.metric(worker, `fanout_dead_letters_total{reason="expired",target="notification"}`) == 1
	}, "the dead letter is counted")
}

// The dead letter names both durations.
func TestMaxAge_RetryAfterBeyondItExpiresTheEventAtOnce(t *testing.T) {
	t.Parallel()
	tooLong := func(devstack.Request) devstack.Answer {
		return devstack.Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"7200"}}}
	}
	s := newStack(t, targetScripts{"analytics": tooLong}, `
  - {name: analytics, url: $ANALYTICS, max_age: 10m}
`)
	s.run("worker")
	s.run("ingest")
	s.publish(0, 1)
	got := s.record("analytics", s.id(0))
	assert.Equal(t, event.ReasonExpired, got.Reason)
	assert.Regexp(t, `^a wait of 15m0s \(asked for by the target\) is longer than the \S+ that are left of max_age 10m0s; 429 Too Many Requests`, got.Error)
}

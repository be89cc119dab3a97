package activities

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestARedirectNobodyCanReadIsStillAnAnswer: net/http fails on it, and a failure
// would be tried again.
func TestARedirectNobodyCanReadIsStillAnAnswer(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://[::1")
		w.WriteHeader(http.StatusFound)
	}, "  - {name: a, url: $URL}\n")
	outcome := f.firstAttempt(f.delivery())
	assert.Equal(t, Rejected, outcome.Verdict)
	assert.Equal(t, http.StatusFound, outcome.Progress.StatusCode)
}

// TestSwitchingProtocolsEndsInTime: such an answer has no body but a connection,
// which no time-out ends.
func TestSwitchingProtocolsEndsInTime(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if assert.NoError(t, err) {
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: anything\r\n\r\n")
			_ = buffered.Flush()
		}
	}, "  - {name: a, url: $URL, timeout: 1s}\n")
	done := make(chan Outcome, 1)
	go func() { done <- f.firstAttempt(f.delivery()) }()
	select {
	case outcome := <-done:
		assert.Equal(t, Rejected, outcome.Verdict)
		assert.Equal(t, http.StatusSwitchingProtocols, outcome.Progress.StatusCode)
	case <-time.After(10 * time.Second):
		t.Fatal("the request never ends, and its permit is gone")
	}
}

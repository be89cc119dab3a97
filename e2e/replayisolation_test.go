package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

// mendedAndDown are two targets that have rejected the same events. One of them
// is mended, the other one is down.
func mendedAndDown(t *testing.T, events int) *stack {
	t.Helper()
	s := newStack(t, targetScripts{"mended": status(http.StatusUnprocessableEntity), "down": status(http.StatusUnprocessableEntity)}, `
  - name: mended
    url: $MENDED
  - name: down
    url: $DOWN
    max_attempts: 20
`)
	s.run("worker")
	ingest := s.run("ingest")
	s.publish(0, events)
	s.waitRecorded("mended", events)
	s.waitRecorded("down", events)
	for i := range events {
		s.waitStatus(s.id(i), failed)
	}
	stop(t, ingest)
	s.targets["mended"].SetScript(ok)
	s.targets["down"].SetScript(ok)
	s.targets["down"].Down()
	return s
}

// prints waits until a process has printed all of the words on one line.
func (s *stack) prints(p *devstack.Process, words ...string) {
	s.t.Helper()
	await.True(s.t, "a line with "+strings.Join(words, ", "), func() bool {
		for _, line := range p.Output() {
			has := func(word string) bool { return strings.Contains(line, word) }
			found := true
			for _, word := range words {
				found = found && has(word)
			}
			if found {
				return true
			}
		}
		return false
	})
}

// TestReplay_ATargetThatIsDownHoldsUpNoOther: more runs than any bound on what is
// in flight wait for the target that is down, and the mended target gets all of its
// events meanwhile.
func TestReplay_ATargetThatIsDownHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	const events = 400
	s := mendedAndDown(t, events)
	replay := s.startDeadletter("replay", "--all", "--yes", "--rate", "100/s")
	s.exactlyOnce("mended", events)
	await.Equal(t, "resolved records of mended", events, func() int { return s.count("mended", "resolved") })
	assert.Equal(t, events, s.count("down"), "all of its records stay open")
	s.prints(replay, "mended 400 of 400", "down 0 of 400")
	s.prints(replay, "waiting for down (400)")

	require.NoError(t, s.targets["down"].Up(s.ctx))
	code, err := replay.Wait(s.ctx)
	require.NoError(t, err)
	assert.Zero(t, code, replay.Text())
	assert.Contains(t, replay.Text(), "sent 800, delivered 800, failed again 0, skipped 0, left 0")
	s.exactlyOnce("mended", events)
	s.exactlyOnce("down", events)
	assert.Empty(t, s.records())
}

// TestReplay_StoppedWhileATargetIsDown: the first Ctrl-C waits for what is
// started, the second one leaves it to Temporal, and running it again goes on.
func TestReplay_StoppedWhileATargetIsDown(t *testing.T) {
	t.Parallel()
	const events = 20
	s := mendedAndDown(t, events)
	replay := s.startDeadletter("replay", "--all", "--yes", "--rate", "100/s")
	s.exactlyOnce("mended", events)
	s.prints(replay, "mended 20 of 20", "down 0 of 20")
	require.NoError(t, replay.Signal(syscall.SIGINT))
	s.prints(replay, "stopping: no further run is started")
	require.NoError(t, replay.Signal(syscall.SIGINT))
	code, err := replay.Wait(s.ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, code, replay.Text())

	again := s.startDeadletter("replay", "--all", "--yes", "--rate", "100/s")
	s.prints(again, "has an open run: skipped")
	code, err = again.Wait(s.ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, code, again.Text())
	assert.Contains(t, again.Text(), "20 skipped, because a run of their event is open")

	require.NoError(t, s.targets["down"].Up(s.ctx))
	s.exactlyOnce("down", events)
	await.Equal(t, "resolved records of down", events, func() int { return s.count("down", "resolved") })
	_, _, code = s.deadletter("replay", "--all", "--yes")
	assert.Zero(t, code, "nothing is left to send")
	s.exactlyOnce("mended", events)
}

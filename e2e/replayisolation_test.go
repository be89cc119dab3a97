package e2e

import (
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

// startRepairedAndDown starts a stack with two targets that have rejected the same events. Then one
// target is repaired and the other is down.
func startRepairedAndDown(t *testing.T, events int) *stack {
	t.Helper()
	s := newStack(t, targetScripts{"repaired": answers(http.StatusUnprocessableEntity), "down": answers(http.StatusUnprocessableEntity)}, `
  - name: repaired
    url: $REPAIRED
  - name: down
    url: $DOWN
    max_attempts: 20
`)
	s.run("worker")
	ingest := s.run("ingest")
	s.publishAndFail(events, "repaired", "down")
	stop(t, ingest)
	s.targets["repaired"].SetScript(ok)
	s.targets["down"].SetScript(ok)
	s.targets["down"].Stop()
	return s
}

// waitLine waits until a process has printed a line that contains all of the words.
func (s *stack) waitLine(p *devstack.Process, words ...string) {
	s.t.Helper()
	await.True(s.t, "a line with "+strings.Join(words, ", "), func() bool {
		return slices.ContainsFunc(p.Output(), func(line string) bool {
			return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) })
		})
	})
}

// More runs than any limit of runs in flight wait for the target that is down. Meanwhile the repaired
// target gets all of its events.
func TestReplay_TargetThatIsDownDoesNotDelayOthers(t *testing.T) {
	t.Parallel()
	const events = 400
	s := startRepairedAndDown(t, events)
	replay := s.startDeadletter("replay", "--all", "--yes", "--rate", "100/s")
	s.exactlyOnce("repaired", events)
	await.Equal(t, "resolved records of repaired", events, func() int { return s.count("repaired", "resolved") })
	assert.Equal(t, events, s.count("down"), "all of its records stay open")
	s.waitLine(replay, "repaired 400 of 400", "down 0 of 400")
	s.waitLine(replay, "waiting for down (400)")

	require.NoError(t, s.targets["down"].Start(s.ctx))
	code, err := replay.Wait(s.ctx)
	require.NoError(t, err)
	assert.Zero(t, code, replay.Text())
	assert.Contains(t, replay.Text(), "sent 800, delivered 800, failed again 0, skipped 0, left 0")
	s.exactlyOnce("repaired", events)
	s.exactlyOnce("down", events)
	assert.Empty(t, s.records())
}

// After the first Ctrl-C the replay waits for the runs that it has started. After the second it leaves
// them to Temporal. Another replay then sends the rest.
func TestReplay_InterruptedWhileATargetIsDownCanBeContinued(t *testing.T) {
	t.Parallel()
	const events = 20
	s := startRepairedAndDown(t, events)
	replay := s.startDeadletter("replay", "--all", "--yes", "--rate", "100/s")
	s.exactlyOnce("repaired", events)
	s.waitLine(replay, "repaired 20 of 20", "down 0 of 20")
	require.NoError(t, replay.Signal(syscall.SIGINT))
	s.waitLine(replay, "stopping: no further run is started")
	require.NoError(t, replay.Signal(syscall.SIGINT))
	code, err := replay.Wait(s.ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, code, replay.Text())

	again := s.startDeadletter("replay", "--all", "--yes", "--rate", "100/s")
	s.waitLine(again, "has an open run: skipped")
	code, err = again.Wait(s.ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, code, again.Text())
	assert.Contains(t, again.Text(), "20 skipped, because a run of their event is open")

	require.NoError(t, s.targets["down"].Start(s.ctx))
	s.exactlyOnce("down", events)
	await.Equal(t, "resolved records of down", events, func() int { return s.count("down", "resolved") })
	_, _, code = s.deadletter("replay", "--all", "--yes")
	assert.Zero(t, code, "nothing is left to send")
	s.exactlyOnce("repaired", events)
}

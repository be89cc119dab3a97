package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

const oneOfTwoRejects = `
  - {name: analytics, url: $ANALYTICS}
  - {name: compliance, url: $COMPLIANCE}
`

// countIn is the number of files in a folder that match a pattern.
func countIn(t *testing.T, elements ...string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(elements...))
	require.NoError(t, err)
	return len(files)
}

// waitReady waits until /readyz of a process answers with a status and a text.
func (s *stack) waitReady(p *devstack.Process, status int, text string) {
	s.t.Helper()
	s.eventually(func() bool {
		got, body, err := p.Read(s.ctx, "/readyz")
		return err == nil && got == status && strings.Contains(body, text)
	}, "/readyz answers %d with %q", status, text)
}

// TestTwoTrackers_AResetSendsWhatTheOtherTrackerHas: two workers have a tracker of
// their own each. Whichever of them a reset run asks, the event is sent once, and
// its record is resolved in the tracker that has it.
func TestTwoTrackers_AResetSendsWhatTheOtherTrackerHas(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "compliance": status(http.StatusBadRequest)}, oneOfTwoRejects)
	other := filepath.Join(s.dir, "other-dead-letters")
	workers := []*devstack.Process{s.run("worker"), s.run("worker", "FANOUT_DEAD_LETTERS="+other)}
	s.run("ingest")
	const events = 12
	s.publish(0, events)
	s.eventually(func() bool {
		return countIn(t, s.deadLetters(), "compliance_*")+countIn(t, other, "compliance_*") == events
	}, "%d dead letters in both trackers", events)
	for i := range events {
		s.waitStatus(s.id(i), failed)
	}
	s.targets["compliance"].SetScript(ok)
	for i := range events {
		s.reset(s.id(i))
	}
	for i := range events {
		s.waitStatus(s.id(i), completed)
	}
	s.exactlyOnce("compliance", events)
	s.exactlyOnce("analytics", events)
	for _, tracker := range []string{s.deadLetters(), other} {
		assert.Zero(t, countIn(t, tracker, "*.json"), "open records in %s", tracker)
	}
	resolved := countIn(t, s.deadLetters(), "resolved", "*.json") + countIn(t, other, "resolved", "*.json")
	assert.Equal(t, events, resolved)
	for _, worker := range workers {
		s.waitReady(worker, http.StatusServiceUnavailable, "another tracker")
	}
}

// TestTrackerThatVanishes_RecordsAreWrittenOnceItIsBack: the directory goes away
// while the worker runs. It is not made anew, the worker says so, and the dead
// letter is written when the directory is back.
func TestTrackerThatVanishes_RecordsAreWrittenOnceItIsBack(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "compliance": status(http.StatusBadRequest)}, oneOfTwoRejects)
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 1)
	s.waitRecorded("compliance", 1)
	s.waitStatus(s.id(0), failed)

	elsewhere := filepath.Join(s.dir, "unmounted")
	require.NoError(t, os.Rename(s.deadLetters(), elsewhere))
	s.waitReady(worker, http.StatusServiceUnavailable, "tracker")
	s.publish(1, 1)
	s.eventually(func() bool { return s.metric(worker, "fanout_dead_letters_waiting") == 1 }, "a dead letter waits")
	assert.NoDirExists(t, s.deadLetters(), "a missing directory is made at the start only")
	s.targets["compliance"].SetScript(ok)
	s.reset(s.id(0)) // what is outstanding cannot be known now

	require.NoError(t, os.Rename(elsewhere, s.deadLetters()))
	s.waitStatus(s.id(1), failed)
	assert.Equal(t, 1, s.count("compliance"))
	s.waitStatus(s.id(0), completed)
	s.exactlyOnce("compliance", 1)
	s.waitReady(worker, http.StatusOK, "ready")
	s.eventually(func() bool { return s.metric(worker, "fanout_dead_letters_waiting") == 0 }, "none waits any more")
	assert.Equal(t, 1, s.count("compliance", "resolved"))
}

// TestTrackerThatVanishes_AnEmptyMountPointIsNoTracker: below a mount that went
// away there is often an empty directory.
func TestTrackerThatVanishes_AnEmptyMountPointIsNoTracker(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "compliance": status(http.StatusBadRequest)}, oneOfTwoRejects)
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 1)
	s.waitRecorded("compliance", 1)
	s.waitStatus(s.id(0), failed)
	elsewhere := filepath.Join(s.dir, "unmounted")
	require.NoError(t, os.Rename(s.deadLetters(), elsewhere))
	require.NoError(t, os.Mkdir(s.deadLetters(), 0o700))
	s.waitReady(worker, http.StatusServiceUnavailable, "tracker")
	s.publish(1, 1)
	s.eventually(func() bool { return s.metric(worker, "fanout_dead_letters_waiting") == 1 }, "a dead letter waits")
	s.targets["compliance"].SetScript(ok)
	s.reset(s.id(0))
	_, errs, code := s.deadletter("list")
	assert.Zero(t, code, errs)
	assert.Zero(t, countIn(t, s.deadLetters(), "*"), "nothing is written into what is not the tracker")
	require.NoError(t, os.Remove(s.deadLetters()))
	require.NoError(t, os.Rename(elsewhere, s.deadLetters()))
	s.waitStatus(s.id(1), failed)
	s.waitStatus(s.id(0), completed)
	s.exactlyOnce("compliance", 1)
}

// TestDiscardAndPrune_OpenDeadLettersReturnToZero: what nobody will send is closed,
// and the worker's gauges show that none is left.
func TestDiscardAndPrune_OpenDeadLettersReturnToZero(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "compliance": status(http.StatusBadRequest)}, oneOfTwoRejects)
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 3)
	s.produce([]byte("no JSON"))
	s.waitRecorded("compliance", 3)
	s.waitRecorded("_undecodable", 1)
	open := func(target, reason string) float64 {
		return s.metric(worker, fmt.Sprintf(`fanout_open_dead_letters{reason=%q,target=%q}`, reason, target))
	}
	s.eventually(func() bool { return open("compliance", "rejected") == 3 && open("_undecodable", "undecodable") == 1 }, "the open records are counted")
	assert.Positive(t, s.metric(worker, `fanout_oldest_dead_letter_seconds{target="compliance"}`))

	_, errs, code := s.deadletter("discard", "compliance", s.id(0))
	assert.Equal(t, 2, code)
	assert.Contains(t, errs, "--note: is not set")
	_, _, code = s.deadletter("discard", "compliance", s.id(0), "--note", "a test tenant")
	assert.Zero(t, code)
	s.targets["compliance"].SetScript(ok)
	s.reset(s.id(0)) // nothing is outstanding any more
	s.waitStatus(s.id(0), completed)
	_, _, code = s.deadletter("replay", "--event", s.id(1), "--yes")
	assert.Zero(t, code)
	for _, args := range [][]string{{"--target", "compliance"}, {"--reason", "undecodable"}} {
		_, _, code = s.deadletter(append([]string{"discard", "--note", "obsolete", "--yes"}, args...)...)
		assert.Zero(t, code)
	}
	assert.Empty(t, s.records())
	s.eventually(func() bool { return open("compliance", "rejected") == 0 && open("_undecodable", "undecodable") == 0 }, "none is open")
	assert.Zero(t, s.metric(worker, `fanout_oldest_dead_letter_seconds{target="compliance"}`))
	assert.Equal(t, 1, delivered(s.targets["compliance"])[s.id(1)])
	assert.Len(t, delivered(s.targets["compliance"]), 1, "what was discarded is not sent")

	_, _, code = s.deadletter("prune", "--older-than", "90d", "--yes")
	assert.Zero(t, code)
	assert.Equal(t, 2, s.count("compliance", "discarded"))
	_, _, code = s.deadletter("prune", "--older-than", "1ms", "--discarded", "--yes")
	assert.Zero(t, code)
	assert.Zero(t, s.count("compliance", "discarded")+s.count("_undecodable", "discarded"))
	assert.Equal(t, 1, s.count("compliance", "resolved"))
}

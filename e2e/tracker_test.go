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

// countFiles returns the number of files that match a pattern. The elements of the pattern are joined.
func countFiles(t *testing.T, elements ...string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(elements...))
	require.NoError(t, err)
	return len(files)
}

// waitReadyz waits until /readyz of a process answers with a status and a body that contains text.
func (s *stack) waitReadyz(p *devstack.Process, status int, text string) {
	s.t.Helper()
	s.eventually(func() bool {
		got, body, err := p.Read(s.ctx, "/readyz")
		return err == nil && got == status && strings.Contains(body, text)
	}, "/readyz answers %d with %q", status, text)
}

// Two workers have a tracker each. Whichever tracker a reset run asks, the event is sent once, and its
// record is resolved in the tracker that has the record.
func TestTwoTrackers_ResetResolvesTheRecordInItsTracker(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "compliance": answers(http.StatusBadRequest)}, analyticsAndCompliance)
	other := filepath.Join(s.dir, "other-dead-letters")
	workers := []*devstack.Process{s.run("worker"), s.run("worker", "FANOUT_DEAD_LETTERS="+other)}
	s.run("ingest")
	const events = 12
	s.publish(0, events)
	s.eventually(func() bool {
		return countFiles(t, s.deadLetters(), "compliance_*")+countFiles(t, other, "compliance_*") == events
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
		assert.Zero(t, countFiles(t, tracker, "*.json"), "open records in %s", tracker)
	}
	resolved := countFiles(t, s.deadLetters(), "resolved", "*.json") + countFiles(t, other, "resolved", "*.json")
	assert.Equal(t, events, resolved)
	for _, worker := range workers {
		s.waitReadyz(worker, http.StatusServiceUnavailable, "another tracker")
	}
}

// The directory disappears while the worker runs. The worker does not create it again, and is not ready.
// It writes the dead letter when the directory is back.
func TestTrackerOutage_RecordsAreWrittenWhenTheDirectoryIsBack(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "compliance": answers(http.StatusBadRequest)}, analyticsAndCompliance)
	worker := s.run("worker")
	s.run("ingest")
	s.publishAndFail(1, "compliance")

	moved := filepath.Join(s.dir, "unmounted")
	require.NoError(t, os.Rename(s.deadLetters(), moved))
	s.waitReadyz(worker, http.StatusServiceUnavailable, "tracker")
	s.publish(1, 1)
	s.eventually(func() bool { return s.metric(worker, "fanout_dead_letters_waiting") == 1 }, "a dead letter waits")
	assert.NoDirExists(t, s.deadLetters(), "the worker creates a missing directory only at its start")
	s.targets["compliance"].SetScript(ok)
	s.reset(s.id(0)) // the run cannot ask which records are open, so it waits

	require.NoError(t, os.Rename(moved, s.deadLetters()))
	s.waitStatus(s.id(1), failed)
	assert.Equal(t, 1, s.count("compliance"))
	s.waitStatus(s.id(0), completed)
	s.exactlyOnce("compliance", 1)
	s.waitReadyz(worker, http.StatusOK, "ready")
	s.eventually(func() bool { return s.metric(worker, "fanout_dead_letters_waiting") == 0 }, "no dead letter waits")
	assert.Equal(t, 1, s.count("compliance", "resolved"))
}

// When a file system is unmounted, an empty directory is often left at its mount point.
func TestTrackerOutage_EmptyMountPointIsNotUsedAsTracker(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "compliance": answers(http.StatusBadRequest)}, analyticsAndCompliance)
	worker := s.run("worker")
	s.run("ingest")
	s.publishAndFail(1, "compliance")
	moved := filepath.Join(s.dir, "unmounted")
	require.NoError(t, os.Rename(s.deadLetters(), moved))
	require.NoError(t, os.Mkdir(s.deadLetters(), 0o700))
	s.waitReadyz(worker, http.StatusServiceUnavailable, "tracker")
	s.publish(1, 1)
	s.eventually(func() bool { return s.metric(worker, "fanout_dead_letters_waiting") == 1 }, "a dead letter waits")
	s.targets["compliance"].SetScript(ok)
	s.reset(s.id(0))
	_, errs, code := s.deadletter("list")
	assert.Zero(t, code, errs)
	assert.Zero(t, countFiles(t, s.deadLetters(), "*"), "nothing is written into a directory that is not the tracker")
	require.NoError(t, os.Remove(s.deadLetters()))
	require.NoError(t, os.Rename(moved, s.deadLetters()))
	s.waitStatus(s.id(1), failed)
	s.waitStatus(s.id(0), completed)
	s.exactlyOnce("compliance", 1)
}

func TestDiscardAndPrune_OpenDeadLetterGaugesReturnToZero(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "compliance": answers(http.StatusBadRequest)}, analyticsAndCompliance)
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
	s.reset(s.id(0)) // the run has no open record, so it completes
	s.waitStatus(s.id(0), completed)
	_, _, code = s.deadletter("replay", "--event", s.id(1), "--yes")
	assert.Zero(t, code)
	for _, args := range [][]string{{"--target", "compliance"}, {"--reason", "undecodable"}} {
		_, _, code = s.deadletter(append([]string{"discard", "--note", "obsolete", "--yes"}, args...)...)
		assert.Zero(t, code)
	}
	assert.Empty(t, s.records())
	s.eventually(func() bool { return open("compliance", "rejected") == 0 && open("_undecodable", "undecodable") == 0 }, "no record is open")
	assert.Zero(t, s.metric(worker, `fanout_oldest_dead_letter_seconds{target="compliance"}`))
	assert.Equal(t, 1, delivered(s.targets["compliance"])[s.id(1)])
	assert.Len(t, delivered(s.targets["compliance"]), 1, "a discarded event is not sent")

	_, _, code = s.deadletter("prune", "--older-than", "90d", "--yes")
	assert.Zero(t, code)
	assert.Equal(t, 2, s.count("compliance", "discarded"))
	_, _, code = s.deadletter("prune", "--older-than", "1ms", "--discarded", "--yes")
	assert.Zero(t, code)
	assert.Zero(t, s.count("compliance", "discarded")+s.count("_undecodable", "discarded"))
	assert.Equal(t, 1, s.count("compliance", "resolved"))
}

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/internal/devstack"
)

// deadletter runs the command deadletter to its end, without a terminal.
func (s *stack) deadletter(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	command := exec.CommandContext(s.ctx, filepath.Join(shared.bin, "deadletter"), args...)
	command.Env = append(s.env(), "PATH="+os.Getenv("PATH"), "HOME="+s.dir)
	command.Dir = s.dir
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(s.t, err)
	}
	s.t.Logf("deadletter %s: exit %d\n%s%s", strings.Join(args, " "), command.ProcessState.ExitCode(), out.String(), errs.String())
	return out.String(), errs.String(), command.ProcessState.ExitCode()
}

// startDeadletter starts the command deadletter and returns at once.
func (s *stack) startDeadletter(args ...string) *devstack.Process {
	s.t.Helper()
	p, err := devstack.StartProcess(s.ctx, devstack.ProcessOptions{Path: filepath.Join(shared.bin, "deadletter"), Args: args, Dir: s.dir, Env: s.env()})
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		p.Close()
		if s.t.Failed() {
			s.t.Logf("deadletter %s printed:\n%s", strings.Join(args, " "), p.Text())
		}
	})
	return p
}

// The maximum number of targets, with names of the maximum length, reject each event. Every delivery
// has a dead letter, also after a replay that the targets reject. A replay that they accept resolves
// all of them.
func TestReplay_HundredTargetsWithTheLongestNames(t *testing.T) {
	t.Parallel()
	var repaired atomic.Bool
	s := newStack(t, targetScripts{"all": func(devstack.Request) devstack.Answer {
		if repaired.Load() {
			return devstack.Answer{Status: http.StatusOK}
		}
		return devstack.Answer{Status: http.StatusUnprocessableEntity, Body: strings.Repeat("\x01", 4<<10)}
	}}, "")
	var list strings.Builder
	for i := range 100 {
		fmt.Fprintf(&list, "\n  - {name: a-target-whose-name-has-forty-letters-%02d, url: $ALL}", i)
	}
	s.writeTargets(list.String())
	s.run("worker")
	s.run("ingest")
	const events = 3
	s.publish(0, events)
	s.eventually(func() bool { return len(s.records()) == 100*events }, "a dead letter of every delivery")
	for i := range events {
		s.waitStatus(s.id(i), failed)
	}
	s.waitCommitted(events)

	_, _, code := s.deadletter("replay", "--all", "--yes", "--rate", "1000/s")
	assert.Equal(t, 1, code, "all failed again")
	assert.Len(t, s.records(), 100*events)
	repaired.Store(true)
	_, _, code = s.deadletter("replay", "--all", "--yes", "--rate", "1000/s")
	assert.Zero(t, code)
	assert.Empty(t, s.records())
}

// Sixty events fail at one target, which is then repaired. One run is reset, and deadletter replay
// sends the other events.
func TestReplay_DeliversOnceAfterTheTargetIsRepaired(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok, "compliance": answers(http.StatusUnprocessableEntity)}, threeTargets)
	s.run("worker")
	ingest := s.run("ingest")
	s.publishAndFail(60, "compliance")
	out, _, code := s.deadletter("list", "--target", "compliance", "--json")
	assert.Zero(t, code)
	var listed []deadletter.Record
	require.NoError(t, json.Unmarshal([]byte(out), &listed))
	assert.Len(t, listed, 60)
	out, _, code = s.deadletter("list", "--interaction", "conv-"+s.id(7))
	assert.Zero(t, code)
	assert.Contains(t, out, s.id(7))
	assert.NotContains(t, out, s.id(8))
	out, _, code = s.deadletter("show", "compliance", s.id(7))
	assert.Zero(t, code)
	assert.Contains(t, out, "422 Unprocessable Entity")
	assert.Contains(t, out, "/namespaces/"+devstack.Namespace+"/workflows/event-"+s.id(7)+"/")

	_, _, code = s.deadletter("replay")
	assert.Equal(t, 2, code, "no filter and no --all")
	_, _, code = s.deadletter("replay", "--target", "compliance")
	assert.Equal(t, 2, code, "without a terminal it cannot ask for a confirmation")
	_, errs, code := s.deadletter("replay", "--target", "complianz", "--yes")
	assert.Equal(t, 2, code)
	assert.Contains(t, errs, "complianz")
	_, _, code = s.deadletter("replay", "--target", "compliance", "--dry-run")
	assert.Zero(t, code)

	s.targets["compliance"].SetScript(ok)
	s.reset(s.id(0))
	s.waitStatus(s.id(0), completed)
	_, _, code = s.deadletter("replay", "--target", "compliance", "--yes", "--rate", "100/s")
	assert.Zero(t, code)
	for name := range s.targets {
		s.exactlyOnce(name, 60)
	}
	assert.Empty(t, s.records())
	assert.Equal(t, 60, s.count("compliance", "resolved"))
	for i := range 60 {
		s.waitStatus(s.id(i), completed)
		requests := s.targets["compliance"].ByEvent(s.id(i))
		assert.Len(t, requests, 2)
		for _, r := range requests {
			assert.Equal(t, s.id(i), r.Header.Get("Idempotency-Key"))
		}
	}
	_, _, code = s.deadletter("replay", "--target", "compliance", "--yes")
	assert.Zero(t, code, "nothing is left to send")

	s.produce(flatEvent(s.id(0), "conversation.started")) // redelivered
	s.eventually(func() bool { return s.starts(ingest, "duplicate") == 1 }, "a duplicate of the run that was reset")
	s.publish(60, 1)
	s.waitFor("compliance", hasEvents(61))
	s.exactlyOnce("compliance", 61)
}

// The first replay fails again.
func TestReplay_OneTargetAfterTheOther(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": answers(http.StatusInternalServerError), "compliance": answers(http.StatusUnprocessableEntity)}, threeTargets)
	s.run("worker")
	s.run("ingest")
	s.publishAndFail(5, "compliance", "notification")
	first := s.record("compliance", s.id(0))

	_, _, code := s.deadletter("replay", "--target", "compliance", "--yes", "--rate", "50/s")
	assert.Equal(t, 1, code, "they failed again")
	assert.Equal(t, 5, s.count("compliance"))
	assert.Equal(t, 5, s.count("compliance", "superseded"))
	again := s.record("compliance", s.id(0))
	assert.NotEqual(t, first.RunID, again.RunID)
	assert.Equal(t, 1, again.Attempts, "Attempts counts those of the latest run only")

	s.targets["compliance"].SetScript(ok)
	s.targets["notification"].SetScript(ok)
	_, _, code = s.deadletter("replay", "--target", "compliance", "--yes", "--rate", "50/s")
	assert.Zero(t, code, "every selected record is resolved")
	s.waitStatus(s.id(0), failed) // because of the record that was not selected
	assert.Equal(t, 5, s.count("notification"))
	_, _, code = s.deadletter("replay", "--all", "--yes", "--rate", "50/s")
	assert.Zero(t, code)
	for name := range s.targets {
		s.exactlyOnce(name, 5)
	}
	for i := range 5 {
		s.waitStatus(s.id(i), completed)
	}
	assert.Empty(t, s.records())
}

// First the command is killed, then the worker.
func TestReplay_CanBeContinuedAfterSIGKILL(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok, "compliance": answers(http.StatusUnprocessableEntity)}, threeTargets)
	worker := s.run("worker")
	s.run("ingest")
	const events = 60
	s.publishAndFail(events, "compliance")
	s.targets["compliance"].SetScript(func(devstack.Request) devstack.Answer {
		return devstack.Answer{Status: http.StatusOK, Delay: 50 * time.Millisecond}
	})
	replay := s.startDeadletter("replay", "--all", "--yes", "--rate", "20/s")
	s.eventually(func() bool { return s.count("compliance", "resolved") >= 10 }, "the replay has resolved 10 records")
	replay.Kill()
	assert.Positive(t, s.count("compliance"))

	replay = s.startDeadletter("replay", "--all", "--yes", "--rate", "20/s")
	s.eventually(func() bool { return s.count("compliance", "resolved") >= 30 }, "the second replay continues")
	for name := range s.targets {
		for id, times := range delivered(s.targets[name]) {
			assert.Equal(t, 1, times, "%s at %s", id, name)
		}
	}
	worker.Kill()
	s.run("worker")
	_, err := replay.Wait(s.ctx)
	require.NoError(t, err)
	// A run of the first replay may still be open, because the worker that had its task was killed.
	s.eventually(func() bool {
		_, _, code := s.deadletter("replay", "--all", "--yes", "--rate", "50/s")
		return code == 0
	}, "a replay that leaves no record")
	s.atLeastOnce("compliance", events)
	s.exactlyOnce("analytics", events)
	s.exactlyOnce("notification", events)
	assert.Empty(t, s.records())
	assert.Equal(t, events, s.count("compliance", "resolved"))
}

func TestReplay_KeepsTheRateAndStopsOnASignal(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok, "compliance": answers(http.StatusUnprocessableEntity)}, threeTargets)
	s.run("worker")
	s.run("ingest")
	const events = 100
	s.publishAndFail(events, "compliance")
	s.targets["compliance"].ClearRequests()
	s.targets["compliance"].SetScript(ok)
	replay := s.startDeadletter("replay", "--all", "--yes", "--rate", "5/s")
	s.waitFor("compliance", hasEvents(10))
	requests := s.targets["compliance"].Requests()
	assert.Greater(t, requests[9].Time.Sub(requests[0].Time), 900*time.Millisecond, "10 events at 5/s")
	code, err := replay.Stop(s.ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, code, replay.Text())
	left := s.count("compliance")
	assert.Positive(t, left)
	assert.Equal(t, events, left+s.count("compliance", "resolved"), "the replay waits for the runs that it has started")
	assert.Contains(t, replay.Text(), fmt.Sprint(left))
	_, _, code = s.deadletter("replay", "--all", "--yes", "--rate", "100/s")
	assert.Zero(t, code)
	s.exactlyOnce("compliance", events)
}

func TestReplay_NamesExcludedRecordsAndSendsTheOthers(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": answers(http.StatusInternalServerError), "compliance": answers(http.StatusUnprocessableEntity)}, threeTargets)
	worker := s.run("worker")
	ingest := s.run("ingest")
	s.publish(0, 2)
	s.produce([]byte("{not json"))
	s.waitRecorded("compliance", 2)
	s.waitRecorded("notification", 2)
	s.waitRecorded(event.UndecodableTarget, 1)
	s.waitStatus(s.id(0), failed)
	s.waitStatus(s.id(1), failed)
	stop(t, ingest)
	stop(t, worker)
	damaged := filepath.Join(s.deadLetters(), deadletter.FileName("compliance", s.id(1)))
	require.NoError(t, os.WriteFile(damaged, []byte(`{"event_id":`), 0o600))
	s.targets["compliance"].SetScript(ok)
	s.writeTargets(analyticsAndCompliance)
	s.run("worker")

	out, errs, code := s.deadletter("replay", "--all", "--yes", "--rate", "50/s")
	assert.Equal(t, 1, code)
	text := out + errs
	assert.Contains(t, text, "notification", "a target that targets.yaml does not contain")
	assert.Contains(t, text, event.UndecodableTarget)
	assert.Contains(t, text, damaged)
	s.exactlyOnce("compliance", 1)
	assert.Equal(t, 1, s.count("compliance"))
	assert.Equal(t, 2, s.count("notification"))
	left, err := os.ReadFile(damaged)
	require.NoError(t, err)
	assert.Equal(t, `{"event_id":`, string(left))

	out, errs, code = s.deadletter("list", "--json")
	assert.Equal(t, 1, code, "one file cannot be read")
	assert.Contains(t, errs, damaged)
	var listed []deadletter.Record
	require.NoError(t, json.Unmarshal([]byte(out), &listed))
	assert.Len(t, listed, 3)
	_, errs, code = s.deadletter("list", "--since", "yesterday")
	assert.Equal(t, 2, code)
	assert.Contains(t, errs, "--since")
}

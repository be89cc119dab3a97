package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
)

func TestResult_CheckFindsProblems(t *testing.T) {
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	rejected := everyTenthOf(ids)
	assert.Equal(t, map[string]bool{"9": true, "19": true}, rejected)

	good := func() targetResult {
		r := targetResult{delivered: map[string]int{}, requested: map[string]bool{}, deadLetters: map[string]bool{}}
		for _, id := range ids {
			r.requested[id] = true
			if rejected[id] {
				r.deadLetters[id] = true
			} else {
				r.delivered[id] = 1
			}
		}
		return r
	}
	assert.Empty(t, good().check(compliance, ids, rejected))
	assert.Equal(t, 20, good().done())
	assert.Len(t, good().check(analytics, ids, rejected), 4, "other targets reject no event")

	twice := good()
	twice.delivered["3"] = 2
	assert.Equal(t, []string{"compliance-service: event 3 was delivered 2 times, want 1"}, twice.check(compliance, ids, rejected))

	lost := good()
	delete(lost.delivered, "3")
	assert.Len(t, lost.check(compliance, ids, rejected), 1)
	assert.Equal(t, 1, lost.retrying())

	unrecorded := good()
	delete(unrecorded.deadLetters, "9")
	assert.Len(t, unrecorded.check(compliance, ids, rejected), 1)

	strange := good()
	strange.requested["x"] = true
	assert.Equal(t, []string{"compliance-service: event x was never published"}, strange.check(compliance, ids, rejected))

	both := good()
	both.deadLetters["3"] = true
	assert.Equal(t, 20, both.done(), "an event that is delivered and a dead letter counts once")
	assert.Len(t, both.check(compliance, ids, rejected), 1)
}

func TestCheckRecords_WantsOneForEachRejectedEvent(t *testing.T) {
	ids := []string{"a", "b"}
	rejected := map[string]bool{"b": true}
	name := deadletter.FileName(compliance, "b")
	right := deadletter.Record{EventID: "b", Reason: event.ReasonRejected, StatusCode: 422}
	for what, test := range map[string]struct {
		records  map[string]deadletter.Record
		problems int
	}{
		"as expected": {map[string]deadletter.Record{name: right}, 0},
		"missing":     {nil, 1},
		"damaged":     {map[string]deadletter.Record{name: {}}, 1},
		"exhausted":   {map[string]deadletter.Record{name: {EventID: "b", Reason: event.ReasonExhausted, StatusCode: 422}}, 1},
		"of no event": {map[string]deadletter.Record{name: right, "_undecodable_x.json": {}}, 1},
	} {
		assert.Len(t, checkRecords(test.records, ids, rejected), test.problems, what)
	}
}

func TestCheckRuns_WantsFailedRunsOfRejectedEvents(t *testing.T) {
	assert.Empty(t, checkRuns(map[string]int{"Completed": 18, "Failed": 2}, 20, 2))
	assert.Len(t, checkRuns(map[string]int{"Completed": 19, "Failed": 1}, 20, 2), 2)
	assert.Len(t, checkRuns(map[string]int{"Completed": 17, "Failed": 2}, 20, 2), 1)
}

func TestShellExports_CanBeSourcedByAShell(t *testing.T) {
	file := filepath.Join(t.TempDir(), "worker.env")
	require.NoError(t, os.WriteFile(file, []byte(shellExports([]string{"A=it's=1", "B=$HOME `x`"})), 0o600))
	out, err := exec.CommandContext(t.Context(), "sh", "-c", ". "+file+` && printf '%s|%s' "$A" "$B"`).Output()
	require.NoError(t, err)
	assert.Equal(t, "it's=1|$HOME `x`", string(out))
}

func TestKeepsRunning_OnATerminalUnlessDemoOnceSaysOtherwise(t *testing.T) {
	assert.True(t, keepsRunning("", true))
	assert.False(t, keepsRunning("", false), "a pipeline must end")
	assert.False(t, keepsRunning("1", true))
	assert.True(t, keepsRunning("0", false))
}

// The first process does not listen yet when the second one asks for a port.
func TestFreePort_ReturnsNoPortTwice(t *testing.T) {
	d := &demo{usedPorts: make(map[int]bool)}
	first, err := d.freePort(t.Context(), 29464, "worker")
	require.NoError(t, err)
	second, err := d.freePort(t.Context(), 29464, "ingest")
	require.NoError(t, err)
	assert.NotEqual(t, first, second)
}

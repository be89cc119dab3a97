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

func TestCheckFindsWhatIsWrong(t *testing.T) {
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	rejected := listed(ids)
	assert.Equal(t, map[string]bool{"9": true, "19": true}, rejected)

	good := func() account {
		a := account{delivered: map[string]int{}, seen: map[string]bool{}, dead: map[string]bool{}}
		for _, id := range ids {
			a.seen[id] = true
			if rejected[id] {
				a.dead[id] = true
			} else {
				a.delivered[id] = 1
			}
		}
		return a
	}
	assert.Empty(t, good().check(compliance, ids, rejected))
	assert.Equal(t, 20, good().settled())
	assert.Len(t, good().check(analytics, ids, rejected), 4, "elsewhere nothing is rejected")

	twice := good()
	twice.delivered["3"] = 2
	assert.Equal(t, []string{"compliance-service: event 3 was delivered 2 times, want 1"}, twice.check(compliance, ids, rejected))

	lost := good()
	delete(lost.delivered, "3")
	assert.Len(t, lost.check(compliance, ids, rejected), 1)
	assert.Equal(t, 1, lost.retrying())

	unrecorded := good()
	delete(unrecorded.dead, "9")
	assert.Len(t, unrecorded.check(compliance, ids, rejected), 1)

	strange := good()
	strange.seen["x"] = true
	assert.Equal(t, []string{"compliance-service: event x was never published"}, strange.check(compliance, ids, rejected))

	both := good()
	both.dead["3"] = true
	assert.Equal(t, 20, both.settled(), "an event that is delivered and dead is one event")
	assert.Len(t, both.check(compliance, ids, rejected), 1)
}

func TestCheckRecords(t *testing.T) {
	ids := []string{"a", "b"}
	rejected := map[string]bool{"b": true}
	name := deadletter.FileName(compliance, "b")
	right := deadletter.Record{EventID: "b", Reason: event.ReasonRejected, StatusCode: 422}
	for what, test := range map[string]struct {
		records map[string]deadletter.Record
		wrong   int
	}{
		"right":       {map[string]deadletter.Record{name: right}, 0},
		"missing":     {nil, 1},
		"damaged":     {map[string]deadletter.Record{name: {}}, 1},
		"exhausted":   {map[string]deadletter.Record{name: {EventID: "b", Reason: event.ReasonExhausted, StatusCode: 422}}, 1},
		"of no event": {map[string]deadletter.Record{name: right, "_undecodable_x.json": {}}, 1},
	} {
		assert.Len(t, checkRecords(test.records, ids, rejected), test.wrong, what)
	}
}

func TestCheckRuns(t *testing.T) {
	assert.Empty(t, checkRuns(map[string]int{"Completed": 18, "Failed": 2}, 20, 2))
	assert.Len(t, checkRuns(map[string]int{"Completed": 19, "Failed": 1}, 20, 2), 2)
	assert.Len(t, checkRuns(map[string]int{"Completed": 17, "Failed": 2}, 20, 2), 1)
}

func TestExports_CanBeSourcedByAShell(t *testing.T) {
	file := filepath.Join(t.TempDir(), "worker.env")
	require.NoError(t, os.WriteFile(file, []byte(exports([]string{"A=it's=1", "B=$HOME `x`"})), 0o600))
	out, err := exec.CommandContext(t.Context(), "sh", "-c", ". "+file+` && printf '%s|%s' "$A" "$B"`).Output()
	require.NoError(t, err)
	assert.Equal(t, "it's=1|$HOME `x`", string(out))
}

func TestStaysUp(t *testing.T) {
	assert.True(t, staysUp("", true))
	assert.False(t, staysUp("", false), "a pipeline must end")
	assert.False(t, staysUp("1", true))
	assert.True(t, staysUp("0", false))
}

// TestPort: two processes get two ports, though the first does not listen yet.
func TestPort(t *testing.T) {
	s := &stage{given: make(map[int]bool)}
	first, err := s.port(t.Context(), 29464, "worker")
	require.NoError(t, err)
	second, err := s.port(t.Context(), 29464, "ingest")
	require.NoError(t, err)
	assert.NotEqual(t, first, second)
}
